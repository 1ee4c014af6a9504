"""Ollama's own chat API as an upstream: requests, and answers as one JSON value a line.

What is odd: parameters stand in `options`, pictures are bare base64 beside the text, a call's arguments are an object
and arrive whole, and a stream is lines of JSON without any framing, the last of which says `done`. Counts come with
that line; `prompt_eval_count` is missing where all of the prompt was cached. An error may be a line of the stream.
The same server speaks the chat API under `/v1` (the row `ollama` in vendors.toml); this dialect is for what only the
native one takes: `num_ctx`, `keep_alive`, `think`, schemas as `format`.
Sources, read 2026-11: docs.ollama.com "Generate a chat message", "Streaming", "Thinking", "Tool calling", "Structured
outputs", "Errors"; inference API, sections 2.1, 2.2 and 7; finish reasons: generation record, section 9.2.
"""

from __future__ import annotations

from typing import Any

from routebook.core.call import Call, Chat, Losses, Message, ReasoningWish
from routebook.core.catalog import Endpoint
from routebook.core.errors import BadRequest, UpstreamFault, UpstreamLost
from routebook.core.events import Counted, Delta, Event, Failed, Finish, Start, ToolDelta
from routebook.core.ids import Mint
from routebook.core.usage import Usage
from routebook.dialects import faults
from routebook.dialects.base import Reader
from routebook.dialects.lenient import decode, decode_leading
from routebook.dialects.parts import (
    Takes,
    arguments,
    broken_off,
    count_of,
    data_url,
    is_data_url,
    not_here,
    own_members,
    strangers,
    text_of,
)
from routebook.wire import codec
from routebook.wire.http import HttpHead, HttpRequest

LINE_BYTES_MAX = 64 * 2**20
"""A single value larger than this is no part of an answer."""

_OPTIONS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "seed": "seed",
    "stop": "stop",
    "max_tokens": "num_predict",
    "repetition_penalty": "repeat_penalty",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
}
_OWN = ("keep_alive", "options", "think", "truncate", "shift")
"""Ollama's own members, which a caller may send beside the chat API's; `options` goes over what we put there"""
_NOT_HERE = tuple(
    "n top_a logit_bias modalities audio image_config prediction verbosity prompt_cache_key cache_control service_tier "
    "user metadata parallel_tool_calls".split()
)
_LEVELS = {"max": "high", "xhigh": "high", "high": "high", "medium": "medium", "low": "low", "minimal": "low"}
_REASONS = {"stop": "stop", "length": "length", "load": "stop", "unload": "stop"}


class Ollama:
    """The dialect as a client of a server (`dialects.base.Upstream`)."""

    name = "ollama"

    def build(self, call: Call, endpoint: Endpoint, secret: str | None, losses: Losses) -> HttpRequest:
        """POST {base_url}/api/chat; a base_url that ends in /api or /v1 is tolerated. Raises BadRequest,
        CannotExpress."""
        body = _body(call, endpoint, losses)
        headers = [
            ("content-type", "application/json"),
            ("accept", "application/x-ndjson" if call.stream else "application/json"),
        ]
        if secret is not None:
            headers.append(("authorization", f"Bearer {secret}"))
        base = endpoint.provider.base_url.rstrip("/").removesuffix("/v1").removesuffix("/api")
        return HttpRequest("POST", f"{base}/api/chat", tuple(headers), codec.encode(body))

    def reader(self, head: HttpHead, mint: Mint) -> Reader:
        return OllamaReader(head, mint)

    def fault(self, head: HttpHead, body: bytes) -> UpstreamFault:
        """`{"error": "…"}` with a true status: what `faults.from_answer` reads anyway."""
        return faults.from_answer(head, body)


UPSTREAM = Ollama()


# --- the request ------------------------------------------------------------------------------------------------------


def _body(call: Call, endpoint: Endpoint, losses: Losses) -> dict[str, Any]:
    chat, takes = call.chat, Takes(endpoint, losses)
    names = {one.id: one.function.name for message in chat.messages for one in message.tool_calls or () if one.id}
    messages = [_message(message, names, f"messages[{at}]", losses) for at, message in enumerate(chat.messages)]
    body: dict[str, Any] = {"model": endpoint.upstream_model, "messages": messages, "stream": call.stream}
    options: dict[str, Any] = {}
    for name, theirs in _OPTIONS.items():
        value = getattr(chat, name)
        others = ("max_completion_tokens",) if name == "max_tokens" else ()
        if value is not None and takes(name, *others):
            options[theirs] = value
    if tools := _tools(chat, takes, losses):
        body["tools"] = tools
    if (form := _format(chat, takes, losses)) is not None:
        body["format"] = form
    wish = chat.reasoning
    if wish is not None and (wish.asked or wish.off) and takes("reasoning", "reasoning_effort", "include_reasoning"):
        body["think"] = _think(wish, endpoint.upstream_model, losses)
    if chat.logprobs and takes("logprobs"):
        body["logprobs"] = True
        if chat.top_logprobs is not None:
            body["top_logprobs"] = chat.top_logprobs
    own = own_members(call, _OWN)
    if (given := own.pop("options", None)) is not None:
        value = codec.decode_exact(bytes(given))
        if not isinstance(value, dict):
            raise BadRequest("options: expected an object.")
        options |= value
    if options:
        body["options"] = options
    not_here(call, _NOT_HERE, "Ollama", losses)
    strangers(call, _OWN, "Ollama", losses)
    return body | own


def _message(message: Message, names: dict[str, str], at: str, losses: Losses) -> dict[str, Any]:
    if message.role not in ("system", "developer", "user", "assistant", "tool"):
        raise BadRequest(f"{at}.role is {message.role!r}; use system, developer, user, assistant or tool.")
    if message.cache_control is not None:
        losses.unsupported(f"{at}.cache_control", "Ollama caches by itself")
    text, images = _content(message, at, losses)
    out: dict[str, Any] = {"role": "system" if message.role == "developer" else message.role, "content": text}
    if images:
        out["images"] = images
    if message.role == "tool":
        if not message.tool_call_id:
            raise BadRequest(f"{at}.tool_call_id is missing; name the call that this message answers.")
        out["tool_call_id"] = message.tool_call_id
        if (name := message.name or names.get(message.tool_call_id)) is not None:
            out["tool_name"] = name
    elif message.name and text:
        out["content"] = f"{message.name}: {text}"
    if message.role != "assistant":
        return out
    if thought := message.reasoning or message.reasoning_content or _thoughts(message, at, losses):
        out["thinking"] = thought
    for name in ("images", "audio"):
        if getattr(message, name):
            losses.unsupported(f"{at}.{name}", "Ollama takes back no media of an assistant")
    calls = []
    for place, call in enumerate(message.tool_calls or ()):
        here = f"{at}.tool_calls[{place}]"
        if call.extra_content:
            losses.unsupported(f"{here}.extra_content", "another provider's attachment")
        function = {
            "index": place,
            "name": call.function.name,
            "arguments": arguments(call.function.arguments, here, losses),
        }
        calls.append({**({"id": call.id} if call.id else {}), "function": function})
    if calls:
        out["tool_calls"] = calls
    return out


def _thoughts(message: Message, at: str, losses: Losses) -> str:
    details = message.reasoning_details or []
    if any(detail.get("data") or detail.get("signature") for detail in details):
        losses.unsupported(f"{at}.reasoning_details", "signatures and encrypted reasoning mean nothing to Ollama")
    texts = (detail.get("text") or detail.get("summary") for detail in details)
    return "".join(text for text in texts if isinstance(text, str))


def _content(message: Message, at: str, losses: Losses) -> tuple[str, list[str]]:
    """(text, pictures in base64); several parts of text are lines of one."""
    if not isinstance(message.content, list):
        return message.content or message.refusal or "", []
    texts: list[str] = []
    images: list[str] = []
    for place, part in enumerate(message.content):
        here = f"{at}.content[{place}]"
        if part.cache_control is not None or part.prompt_cache_breakpoint is not None:
            losses.unsupported(f"{here}.cache_control", "Ollama caches by itself")
        if part.text is not None and part.type in ("text", "input_text", "output_text", "refusal"):
            texts.append(part.text)
        elif part.image_url is not None and is_data_url(part.image_url.url):
            if part.image_url.detail not in (None, "auto"):
                losses.unsupported(f"{here}.image_url.detail", "Ollama has no levels of detail")
            images.append(data_url(part.image_url.url, f"{here}.image_url.url")[1])
        elif part.image_url is not None:
            why = "Ollama fetches no URLs; set fetches_urls = false on the provider, or send data"
            losses.unsupported(f"{here}.image_url.url", why)
        else:
            losses.unsupported(here, f"Ollama reads no part of type {part.type!r}")
    return "\n".join(texts), images


def _tools(chat: Chat, takes: Takes, losses: Losses) -> list[dict[str, Any]]:
    tools: list[dict[str, Any]] = []
    choice = chat.tool_choice
    for place, tool in enumerate(chat.tools or () if choice != "none" and chat.tools and takes("tools") else ()):
        if tool.type != "function" or tool.function is None:
            losses.unsupported(f"tools[{place}]", f"a tool of type {tool.type!r} is not run by this provider")
            continue
        if tool.function.strict:
            losses.unsupported(f"tools[{place}].function.strict", "Ollama does not hold tools to their schema")
        function: dict[str, Any] = {"name": tool.function.name}
        if tool.function.description is not None:
            function["description"] = tool.function.description
        function["parameters"] = tool.function.parameters or {"type": "object", "properties": {}}
        tools.append({"type": "function", "function": function})
    if choice not in (None, "auto", "none"):
        losses.unsupported("tool_choice", "Ollama cannot be told to call a tool")
    return tools


def _format(chat: Chat, takes: Takes, losses: Losses) -> Any:
    wish = chat.response_format or {}
    kind = wish.get("type", "text")
    if kind == "text" or not takes("response_format", "structured_outputs"):
        return None
    if kind == "json_object":
        return "json"
    if kind != "json_schema":
        losses.unsupported("response_format", f"Ollama has no format {kind!r}")
        return None
    named = wish.get("json_schema")
    schema = named.get("schema") if isinstance(named, dict) else None
    if not isinstance(schema, dict):
        raise BadRequest("response_format.json_schema.schema is missing; give the JSON schema of the answer.")
    return schema


def _think(wish: ReasoningWish, model: str, losses: Losses) -> bool | str:
    """On and off, and levels where the model has them (gpt-oss), which in turn cannot be switched off."""
    if "gpt-oss" in model:
        if wish.off:
            losses.mapped("reasoning", "this model always reasons; its lowest level was asked for")
            return "low"
        if wish.max_tokens is not None:
            losses.unsupported("reasoning.max_tokens", "this model takes a level, no number of tokens")
        return _LEVELS.get(wish.effort or "medium", "medium")
    if not wish.off and (wish.effort is not None or wish.max_tokens is not None):
        which = "effort" if wish.effort is not None else "max_tokens"
        losses.unsupported(f"reasoning.{which}", "Ollama only switches reasoning on and off")
    return not wish.off


# --- the answer -------------------------------------------------------------------------------------------------------


class OllamaReader:
    """Reads one answer of status 200 (`dialects.base.Reader`): lines of JSON, or one JSON value on several lines."""

    def __init__(self, head: HttpHead, mint: Mint) -> None:
        self._head = head
        self._mint = mint
        self._whole = head.content_type == "application/json"
        self._held: list[bytes] = []
        self._size = 0
        self._started = False
        self._calls = 0
        self._done = False

    def feed(self, data: bytes) -> list[Event]:
        if self._done or not data:
            return []
        lines: list[bytes] = []
        if not self._whole and b"\n" in data:
            *lines, data = b"".join((*self._held, data)).split(b"\n")
            self._held, self._size = [], 0
        self._held.append(data)
        self._size += len(data)
        out: list[Event] = []
        for line in lines:
            out += self._line(line)
            if self._done:
                return out
        if self._size > LINE_BYTES_MAX:
            return out + self._failed(faults.garbage("a single value is larger than any answer"))
        return out

    def end(self) -> list[Event]:
        if self._done:
            return []
        rest = b"".join(self._held).strip()
        out = self._line(rest) if rest and not broken_off(rest) else []
        if not self._done:
            out += self._failed(
                UpstreamLost(
                    "The provider's answer broke off before its end; try again.", provider_status=self._head.status
                )
            )
        self._done = True
        return out

    def _line(self, line: bytes) -> list[Event]:
        line = line.strip()
        if not line:
            return []
        try:
            value = decode_leading(line) if self._whole else decode(line)
        except codec.DecodeError:
            return self._failed(faults.garbage("a part of it is not JSON", line))
        if not isinstance(value, dict):
            return self._failed(faults.garbage("a part of it is no JSON object", line))
        if value.get("error"):
            return self._failed(faults.from_object(value, self._head))
        if "message" not in value and "done" not in value:
            return self._failed(faults.garbage("it is no chat answer of this dialect", line))
        return self._value(value)

    def _value(self, value: dict[str, Any]) -> list[Event]:
        out: list[Event] = []
        if not self._started:
            self._started = True
            out.append(Start(model=text_of(value.get("model"))))
        message = value.get("message")
        message = message if isinstance(message, dict) else {}
        listed = message.get("tool_calls")
        calls = [self._call(one) for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
        said = Delta(
            role="assistant" if self._whole else None,
            text=text_of(message.get("content")),
            reasoning=text_of(message.get("thinking")),
            tool_calls=calls or None,
            images=_pictures(message.get("images")),
            extra={"choice.logprobs": value["logprobs"]} if value.get("logprobs") else None,
        )
        if said != Delta():
            out.append(said)
        if value.get("done") is True or (self._whole and "done" not in value):
            self._done = True
            native = text_of(value.get("done_reason"))
            reason = _REASONS.get(native or "stop", "stop")
            out.append(Finish("tool_calls" if reason == "stop" and self._calls else reason, native=native))
            out += _counted(value)
        return out

    def _call(self, one: dict[str, Any]) -> ToolDelta:
        function = one.get("function")
        function = function if isinstance(function, dict) else {}
        given = function.get("arguments")
        written = given if isinstance(given, str) else codec.encode(given if given is not None else {}).decode()
        index, self._calls = self._calls, self._calls + 1
        call_id = text_of(one.get("id")) or self._mint.next("call")
        return ToolDelta(index, call_id, text_of(function.get("name")) or "", written or "{}")

    def _failed(self, fault: UpstreamFault) -> list[Event]:
        self._done = True
        self._held = []
        return [Failed(fault)]


def _counted(value: dict[str, Any]) -> list[Event]:
    names = ("prompt_eval_count", "eval_count")
    raw = {name: value[name] for name in names if value.get(name) is not None}
    prompt, completion = (count_of(value.get(name)) for name in names)
    return [Counted(Usage(prompt=prompt, completion=completion, raw=codec.encode(raw)))] if raw else []


def _pictures(images: Any) -> list[dict[str, Any]] | None:
    """Pictures that a model made: base64 without a media type, PNG as Ollama's image models make them."""
    found = [image for image in images if isinstance(image, str)] if isinstance(images, list) else []
    return [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}} for image in found] or None
