"""Reads a caller's chat request. What is not valid is refused with its place and what to do; what the gateway does not
act on is named in `Call.ignored`; everything else is kept, decoded and verbatim.

Source: inference API, sections 2.1, 2.2 and 7. Where that document states no limit, none is checked: providers know
their own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec

from routebook.core.call import CacheControl, Call, Chat, Message, ProviderWish, ReasoningWish, Tool
from routebook.core.errors import BadRequest, Fault
from routebook.dialects.base import Writer
from routebook.dialects.openai_chat.common_request import (
    BYTES_MAX,
    Penalty,
    Positive,
    Temperature,
    Unit,
    common_call,
)
from routebook.dialects.openai_chat.writer import StreamWriter, UnaryWriter, error_body
from routebook.wire import codec
from routebook.wire.bulk import LARGE, MARK, LargeBody, Stowed

DEPTH_MAX = 64
"""levels of nesting of a request body"""

Effort = Literal["max", "xhigh", "high", "medium", "low", "minimal", "none"]


class _Reasoning(msgspec.Struct):
    effort: Effort | None = None
    max_tokens: Positive | None = None
    exclude: bool | None = None
    enabled: bool | None = None
    summary: str | None = None


class _Body(msgspec.Struct, gc=False):
    """The members of Chat first and in its order, so that one slice of the values makes one."""

    messages: list[Message] | None = None
    tools: list[Tool] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    reasoning: _Reasoning | None = None
    temperature: Temperature | None = None
    top_p: Unit | None = None
    top_k: int | None = None
    min_p: float | None = None
    top_a: float | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    repetition_penalty: Temperature | None = None
    seed: int | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    max_tokens: Positive | None = None
    stop: str | list[str] | None = None
    n: Positive | None = None
    verbosity: str | None = None
    modalities: list[str] | None = None
    audio: dict[str, Any] | None = None
    image_config: dict[str, Any] | None = None
    prediction: dict[str, Any] | None = None
    cache_control: CacheControl | None = None
    prompt_cache_key: str | None = None
    service_tier: str | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    # What is no part of Chat:
    prompt: str | list[str] | None = None
    model: str | None = None
    models: list[str] | None = None
    stream: bool | None = None
    provider: ProviderWish | None = None
    reasoning_effort: Effort | None = None
    include_reasoning: bool | None = None
    max_completion_tokens: Positive | None = None
    session_id: str | None = None
    trace: dict[str, Any] | None = None


_CHAT = len(Chat.__struct_fields__)
_REASONING_AT = Chat.__struct_fields__.index("reasoning")
_MAX_TOKENS_AT = Chat.__struct_fields__.index("max_tokens")
_STOP_AT = Chat.__struct_fields__.index("stop")
assert _Body.__struct_fields__[:_CHAT] == Chat.__struct_fields__

_body = codec.decoder(_Body)
_members = codec.decoder(dict[str, codec.Raw])


_IGNORED = {
    "route": "deprecated; use provider.sort",
    "plugins": "the gateway runs no plugins",
    "transforms": "the gateway does not shorten prompts",
    "preset": "the gateway has no presets",
    "debug": "the gateway does not echo upstream bodies",
    "trace": "the gateway broadcasts no traces",
    "stop_server_tools_when": "the gateway runs no server tools",
    "max_tool_calls": "the gateway runs no server tools",
    "x_search_filter": "the gateway runs no search",
    "structured_outputs": "response_format says it",
}

_ROLES = ("system", "developer", "user", "assistant", "tool")


class ChatSurface:
    """The dialect as callers speak it."""

    name = "openai_chat"

    def read(self, body: bytes | LargeBody, headers: Mapping[str, str]) -> Call:
        """The call a body asks for; header names in lower case. Raises BadRequest."""
        if isinstance(body, bytes):
            if len(body) <= BYTES_MAX:
                session = _session(None, headers) if "x-session-id" in headers else None
                if (common := common_call(body, session)) is not None:
                    return common
            return self._read(body, headers)
        stowed = body.stow()
        if stowed is not None:
            try:
                call = self._read(stowed.text, headers, stowed)
            except BadRequest as error:
                error.message = _BYTE.sub(lambda found: f"(byte {stowed.place(int(found[1]))})", error.message)
                raise
            if _stand_ins(call.chat.messages) == len(stowed.bulk):
                return call
        return self._read(body.whole(), headers)

    def _read(self, body: bytes, headers: Mapping[str, str], stowed: Stowed | None = None) -> Call:
        _check_bytes(body)
        try:
            wish = _body(body)
            raw = _members(body)
        except codec.BAD:
            raise BadRequest(_what_is_wrong(body)) from None
        messages = _messages(wish)
        if wish.messages is None:
            raw["messages"] = codec.Raw(codec.encode(messages))
        model, models = _models(wish)
        chat = _chat(wish, messages)
        media, audio = _media(messages)
        return Call(
            surface=self.name,
            model=model,
            models=models,
            stream=bool(wish.stream),
            chat=chat,
            raw=raw,
            provider=_provider(wish.provider),
            user=wish.user,
            session_id=_session(wish.session_id, headers),
            bulk=stowed.bulk if stowed is not None else (),
            body_bytes=stowed.size if stowed is not None else len(body),
            media_prompt=media,
            audio_prompt=audio,
            ignored=_ignored(raw, wish.tools),
        )

    def writer(self, call: Call) -> Writer:
        """The writer of this call's answer, streamed as the caller asked."""
        wish = call.chat.reasoning
        exclude = wish is not None and wish.exclude
        return StreamWriter(exclude) if call.stream else UnaryWriter(exclude)

    def error_body(self, fault: Fault, generation_id: str | None) -> bytes:
        """`{"error": {code, message, metadata}}`; the generation id travels in its header alone."""
        return error_body(fault)


# --- bytes ------------------------------------------------------------------------------------------------------------

_TOO_DEEP = f"The request body is nested more than {DEPTH_MAX} levels deep; send a flatter one."
_BRACKETS = b"{}[]"
_OTHERS = bytes(sorted(set(range(256)) - set(_BRACKETS)))


def _check_bytes(body: bytes) -> None:
    if not body or body.isspace():
        raise BadRequest("The request body is empty; send a JSON object with `model` and `messages`.")
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise BadRequest(f"The request body is not UTF-8 (byte {error.start}); send JSON in UTF-8.") from None
    if _brackets(body) > DEPTH_MAX and _depth(body) > DEPTH_MAX:
        raise BadRequest(_TOO_DEEP)


def _brackets(body: bytes) -> int:
    """Opening brackets; of a large body that has many, not all of them."""
    if len(body) <= LARGE:
        return body.count(b"{") + body.count(b"[")
    found = 0
    for bracket in (b"{", b"["):  # finding each is quicker than counting where there are few
        at = body.find(bracket)
        while at >= 0 and found <= DEPTH_MAX:
            found += 1
            at = body.find(bracket, at + 1)
    return found


def _depth(body: bytes) -> int:
    """Levels of nesting; strings are left out, so that brackets in text do not count."""
    depth = deepest = 0
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    for char in b"".join(body.split(b'"')[::2]).translate(None, _OTHERS):
        if char in b"{[":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest


def _what_is_wrong(body: bytes) -> str:
    """Why a body cannot be decoded, with the place."""
    try:
        codec.decode_as(body, _Body)
        codec.decode_as(body, dict[str, codec.Raw])
    except codec.DecodeError as error:
        return _placed(str(error))
    except RecursionError:
        return _TOO_DEEP
    return _placed("JSON is malformed")


_PLACE = re.compile(r"^(.*?)(?: - at `(?:key in )?\$\.?(.*)`)?$", re.DOTALL)


def _placed(error: str) -> str:
    """The decoder's sentence with the place in front: `messages[0].role: Expected `str`, got `int`.`"""
    match = _PLACE.match(error)
    said, place = (match[1], match[2]) if match else (error, None)
    if place:
        return f"{place}: {said}. Correct it and send the request again."
    if said.startswith(("JSON is malformed", "Input data was truncated")):
        return f"The request body is not JSON: {said}. Correct it and send the request again."
    return f"The request body is not valid: {said}. Send a JSON object with `model` and `messages`."


# --- members ----------------------------------------------------------------------------------------------------------


def _messages(wish: _Body) -> list[Message]:
    messages = wish.messages
    if messages is None and wish.prompt is not None:
        if isinstance(wish.prompt, list) and len(wish.prompt) != 1:
            raise BadRequest("prompt: one text is taken, not a list of them; use messages.")
        return [Message("user", wish.prompt if isinstance(wish.prompt, str) else wish.prompt[0])]
    if messages is None:
        raise BadRequest("messages: missing; send a list with at least one message.")
    if not messages:
        raise BadRequest("messages: empty; send at least one message.")
    for place, message in enumerate(messages):
        if isinstance(message.content, str) and message.role in _SIMPLE:
            continue
        if message.role not in _ROLES:
            raise BadRequest(f"messages[{place}].role: `{message.role[:40]}` is not one of {', '.join(_ROLES)}.")
        if message.role == "tool" and not message.tool_call_id:
            raise BadRequest(f"messages[{place}].tool_call_id: missing; name the tool call that this answers.")
        if message.role != "assistant" and message.content is None:
            raise BadRequest(f"messages[{place}].content: missing; send a text or a list of parts.")
        for at, part in enumerate(message.content if isinstance(message.content, list) else ()):
            if part.type in _FILLED and getattr(part, part.type) is None:
                raise BadRequest(f"messages[{place}].content[{at}].{part.type}: missing in a part of that type.")
    return messages


_SIMPLE = frozenset(_ROLES) - {"tool"}
_FILLED = frozenset({"text", "image_url", "input_audio", "video_url", "input_video", "file"})


def _models(wish: _Body) -> tuple[str, tuple[str, ...]]:
    if wish.model and not wish.models:
        return wish.model, ()
    names = [name for name in (wish.model, *(wish.models or ())) if name]
    if not names:
        raise BadRequest("model: missing; name a model, GET /api/v1/models lists those this gateway serves.")
    names = list(dict.fromkeys(names))
    return names[0], tuple(names[1:])


def _chat(wish: _Body, messages: list[Message]) -> Chat:
    _check_members(wish)
    values = list(msgspec.structs.astuple(wish)[:_CHAT])
    values[0] = messages
    values[_REASONING_AT] = _reasoning(wish)
    if wish.max_completion_tokens is not None:
        values[_MAX_TOKENS_AT] = wish.max_completion_tokens
    if isinstance(wish.stop, str):
        values[_STOP_AT] = [wish.stop]
    return Chat(*values)


def _check_members(wish: _Body) -> None:
    for place, tool in enumerate(wish.tools or ()):
        if tool.type == "function" and (tool.function is None or not tool.function.name):
            raise BadRequest(f"tools[{place}].function: missing; a function tool has a function with a name.")
    choice = wish.tool_choice
    if isinstance(choice, str) and choice not in ("none", "auto", "required"):
        raise BadRequest("tool_choice: expected none, auto, required or an object that names a function.")
    if choice is not None and not isinstance(choice, (str, dict)):
        raise BadRequest("tool_choice: expected a text or an object.")
    if wish.response_format is not None and not isinstance(wish.response_format.get("type"), str):
        raise BadRequest("response_format.type: missing; send text, json_object or json_schema.")
    if wish.metadata is not None:
        _check_metadata(wish.metadata)


def _check_metadata(metadata: dict[str, str]) -> None:
    if len(metadata) > 16:
        raise BadRequest("metadata: at most 16 pairs.")
    for key, value in metadata.items():
        if len(key) > 64 or "[" in key or "]" in key:
            raise BadRequest("metadata: a key has at most 64 characters and no brackets.")
        if len(value) > 512:
            raise BadRequest("metadata: a value has at most 512 characters.")


def _reasoning(wish: _Body) -> ReasoningWish | None:
    """`reasoning`, `reasoning_effort` and `include_reasoning` as one wish; None if the caller said nothing."""
    own = wish.reasoning
    if own is None and wish.reasoning_effort is None and wish.include_reasoning is None:
        return None
    own = own or _Reasoning()
    if own.effort is not None and wish.reasoning_effort is not None and own.effort != wish.reasoning_effort:
        raise BadRequest("reasoning_effort: differs from reasoning.effort; send one of them.")
    effort = own.effort or wish.reasoning_effort
    if effort is not None and own.max_tokens is not None:
        raise BadRequest("reasoning: effort and max_tokens exclude each other; send one of them.")
    exclude = own.exclude
    if wish.include_reasoning is not None:
        if exclude is not None and exclude == wish.include_reasoning:
            raise BadRequest("include_reasoning: contradicts reasoning.exclude; send one of them.")
        exclude = not wish.include_reasoning
    return ReasoningWish(
        effort=effort, max_tokens=own.max_tokens, exclude=bool(exclude), enabled=own.enabled, summary=own.summary
    )


def _provider(wish: ProviderWish | None) -> ProviderWish | None:
    if wish is None:
        return None
    if wish.data_collection not in (None, "allow", "deny"):
        raise BadRequest("provider.data_collection: expected allow or deny.")
    if isinstance(wish.sort, str) and wish.sort not in ("price", "throughput", "latency", "exacto"):
        raise BadRequest("provider.sort: expected price, throughput or latency.")
    prices = () if wish.max_price is None else msgspec.structs.astuple(wish.max_price)
    if any(isinstance(price, Decimal) and (not price.is_finite() or price < 0) for price in prices):
        raise BadRequest("provider.max_price: a price is a number of 0 or more.")
    return wish


def _session(own: str | None, headers: Mapping[str, str]) -> str | None:
    session = own if own is not None else headers.get("x-session-id")
    if session is not None and len(session) > 256:
        raise BadRequest("session_id: at most 256 characters.")
    return session or None


def _media(messages: list[Message]) -> tuple[int, int]:
    """(image, video and file parts, audio parts) over all messages."""
    media = audio = 0
    for message in messages:
        if not isinstance(message.content, list):
            continue
        for part in message.content:
            media += part.type in ("image_url", "video_url", "input_video", "file")
            audio += part.type == "input_audio"
    return media, audio


_BYTE = re.compile(r"\(byte ([0-9]+)\)")


def _stand_ins(messages: list[Message]) -> int:
    """How many stand-ins are where media is: all others have to be what they stand for, to be checked or counted."""
    found = 0
    for message in messages:
        for part in message.content if isinstance(message.content, list) else ():
            for url in (part.image_url, part.video_url, part.input_video):
                found += url.url.count(MARK) if url is not None else 0
            if part.file is not None and part.file.file_data is not None:
                found += part.file.file_data.count(MARK)
            if part.input_audio is not None:
                found += part.input_audio.data.count(MARK)
    return found // 2


def _ignored(raw: Mapping[str, msgspec.Raw], tools: list[Tool] | None) -> tuple[tuple[str, str], ...]:
    if not tools and _IGNORED.keys().isdisjoint(raw):
        return ()
    found = [(name, _IGNORED[name]) for name in raw if name in _IGNORED and bytes(raw[name]) not in _EMPTY]
    for place, tool in enumerate(tools or ()):
        if tool.type.startswith("openrouter:"):
            found.append((f"tools[{place}]", f"the gateway does not run {tool.type[:60]}"))
    return tuple(found)


_EMPTY = frozenset((b"null", b"[]", b"{}", b"false"))
