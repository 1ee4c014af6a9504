"""A canonical call as a request to Cohere's chat API, version 2.

Part of the dialect in `cohere.py`. Sources, read 2026-11: docs.cohere.com "Chat" (request body), "Tool use",
"Reasoning", "Structured outputs", "Image inputs"; inference API, sections 2.1, 2.2, 5, 6 and 7.
"""

from __future__ import annotations

from typing import Any

from routebook.core.call import Call, Chat, Losses, Message, Part
from routebook.core.catalog import Endpoint
from routebook.core.errors import BadRequest
from routebook.dialects.parts import Takes, not_here, own_members, strangers
from routebook.wire import codec
from routebook.wire.http import HttpRequest

STOPS_MAX = 5
_PERCENT = {"max": 95, "xhigh": 95, "high": 80, "medium": 50, "low": 20, "minimal": 10}
"""of max_tokens that an effort may think. Source: inference API, section 7"""

_NAMES = (
    ("temperature", "temperature"),
    ("top_p", "p"),
    ("top_k", "k"),
    ("frequency_penalty", "frequency_penalty"),
    ("presence_penalty", "presence_penalty"),
    ("seed", "seed"),
    ("max_tokens", "max_tokens"),
)
_OWN = tuple("documents citation_options safety_mode strict_tools raw_prompting priority".split())
"""Cohere's own members, which a caller may send beside the chat API's"""
_NOT_HERE = tuple(
    "n min_p top_a repetition_penalty logit_bias logprobs top_logprobs modalities audio image_config prediction "
    "verbosity prompt_cache_key cache_control service_tier user metadata".split()
)


def build(call: Call, endpoint: Endpoint, secret: str | None, losses: Losses) -> HttpRequest:
    """POST {base_url}/v2/chat; a base_url that already ends in /v2 is tolerated. Raises BadRequest, CannotExpress."""
    chat, takes = call.chat, Takes(endpoint, losses)
    body: dict[str, Any] = {
        "model": endpoint.upstream_model,
        "messages": [_message(message, f"messages[{at}]", losses) for at, message in enumerate(chat.messages)],
        "stream": call.stream,
    }
    for name, theirs in _NAMES:
        value = getattr(chat, name)
        others = ("max_completion_tokens",) if name == "max_tokens" else ()
        if value is not None and takes(name, *others):
            body[theirs] = value
    _limits(body, losses)
    if chat.stop and takes("stop"):
        body["stop_sequences"] = chat.stop[:STOPS_MAX]
        if len(chat.stop) > STOPS_MAX:
            losses.unsupported("stop", f"Cohere takes {STOPS_MAX} stop sequences; the first {STOPS_MAX} were sent")
    _tools(chat, body, takes, losses)
    _format(chat, body, takes, losses)
    _thinking(chat, endpoint, body, takes, losses)
    not_here(call, _NOT_HERE, "Cohere", losses)
    strangers(call, _OWN, "Cohere", losses)
    body |= own_members(call, _OWN)
    headers = [
        ("content-type", "application/json"),
        ("accept", "text/event-stream" if call.stream else "application/json"),
    ]
    if secret is not None:
        headers.append(("authorization", f"Bearer {secret}"))
    base = endpoint.provider.base_url.rstrip("/").removesuffix("/v2")
    return HttpRequest("POST", f"{base}/v2/chat", tuple(headers), codec.encode(body))


def _limits(body: dict[str, Any], losses: Losses) -> None:
    """Cohere's ranges are narrower than the chat API's: what lies outside is sent as the nearest that lies inside."""
    for name, low, high in (("temperature", 0, 1), ("frequency_penalty", 0, 1), ("presence_penalty", 0, 1)):
        value = body.get(name)
        if value is not None and not low <= value <= high:
            losses.mapped(name, f"Cohere takes {low} to {high}: sent as {low if value < low else high}")
            body[name] = low if value < low else high


# --- messages ---------------------------------------------------------------------------------------------------------


def _message(message: Message, at: str, losses: Losses) -> dict[str, Any]:
    if message.cache_control is not None:
        losses.unsupported(f"{at}.cache_control", "Cohere knows no cache markers")
    content = _content(message, at, losses)
    if message.role in ("system", "developer", "user"):
        return {"role": "user" if message.role == "user" else "system", "content": content}
    if message.role == "tool":
        if not message.tool_call_id:
            raise BadRequest(f"{at}.tool_call_id is missing; name the call that this message answers.")
        return {"role": "tool", "tool_call_id": message.tool_call_id, "content": content}
    if message.role != "assistant":
        raise BadRequest(f"{at}.role is {message.role!r}; use system, developer, user, assistant or tool.")
    return _assistant(message, content, at, losses)


def _assistant(message: Message, content: Any, at: str, losses: Losses) -> dict[str, Any]:
    out: dict[str, Any] = {"role": "assistant"}
    thoughts = message.reasoning or message.reasoning_content or _thoughts(message, at, losses)
    if message.refusal and not content:
        content = message.refusal
    if thoughts and not message.tool_calls:
        rest = content if isinstance(content, list) else [{"type": "text", "text": content}] if content else []
        content = [{"type": "thinking", "thinking": thoughts}, *rest]
    elif thoughts:
        out["tool_plan"] = thoughts
    if content:
        out["content"] = content
    for name in ("images", "audio"):
        if getattr(message, name):
            losses.unsupported(f"{at}.{name}", "Cohere takes back no media of an assistant")
    calls = []
    for place, call in enumerate(message.tool_calls or ()):
        if not call.id:
            raise BadRequest(f"{at}.tool_calls[{place}].id is missing; send the id that the model gave the call.")
        if call.extra_content:
            losses.unsupported(f"{at}.tool_calls[{place}].extra_content", "another provider's attachment")
        function = {"name": call.function.name, "arguments": call.function.arguments or "{}"}
        calls.append({"id": call.id, "type": "function", "function": function})
    if calls:
        out["tool_calls"] = calls
    return out


def _thoughts(message: Message, at: str, losses: Losses) -> str:
    """The text of reasoning that comes as details alone; signatures mean nothing to Cohere."""
    details = message.reasoning_details or []
    if any(detail.get("data") or detail.get("signature") for detail in details):
        losses.unsupported(f"{at}.reasoning_details", "signatures and encrypted reasoning mean nothing to Cohere")
    texts = (detail.get("text") or detail.get("summary") for detail in details)
    return "".join(text for text in texts if isinstance(text, str))


def _content(message: Message, at: str, losses: Losses) -> Any:
    name = f"{message.name}: " if message.name and message.role != "tool" else ""
    if not isinstance(message.content, list):
        return f"{name}{message.content}" if message.content else ""
    parts = [_part(part, message.role, f"{at}.content[{i}]", losses) for i, part in enumerate(message.content)]
    kept = [part for part in parts if part is not None]
    if name and kept and kept[0]["type"] == "text":
        kept[0]["text"] = name + kept[0]["text"]
    return kept


def _part(part: Part, role: str, at: str, losses: Losses) -> dict[str, Any] | None:
    if part.cache_control is not None or part.prompt_cache_breakpoint is not None:
        losses.unsupported(f"{at}.cache_control", "Cohere knows no cache markers")
    if part.text is not None and part.type in ("text", "input_text", "output_text", "refusal"):
        return {"type": "text", "text": part.text}
    if part.image_url is not None and role == "user":
        url: dict[str, Any] = {"url": part.image_url.url}
        if part.image_url.detail is not None:
            url["detail"] = part.image_url.detail
        return {"type": "image_url", "image_url": url}
    losses.unsupported(at, f"Cohere reads no {part.type} in a message of role {role}")
    return None


# --- parameters -------------------------------------------------------------------------------------------------------


def _tools(chat: Chat, body: dict[str, Any], takes: Takes, losses: Losses) -> None:
    tools: list[dict[str, Any]] = []
    strict = False
    for place, tool in enumerate(chat.tools or () if chat.tools and takes("tools", "tool_choice") else ()):
        if tool.type != "function" or tool.function is None:
            losses.unsupported(f"tools[{place}]", f"a tool of type {tool.type!r} is not run by this provider")
            continue
        if tool.cache_control is not None:
            losses.unsupported(f"tools[{place}].cache_control", "Cohere knows no cache markers")
        function: dict[str, Any] = {"name": tool.function.name}
        if tool.function.description is not None:
            function["description"] = tool.function.description
        function["parameters"] = tool.function.parameters or {"type": "object", "properties": {}}
        strict = strict or bool(tool.function.strict)
        tools.append({"type": "function", "function": function})
    choice = chat.tool_choice
    if isinstance(choice, dict):
        choice = _named(choice, tools, losses)
    if not tools:
        if choice not in (None, "none", "auto"):
            losses.unsupported("tool_choice", "no tool is sent that could be forced")
        return
    body["tools"] = tools
    if strict:
        body["strict_tools"] = True
    if choice in ("required", "none"):
        body["tool_choice"] = choice.upper()
    elif choice not in (None, "auto"):
        losses.unsupported("tool_choice", "Cohere knows auto, none and required")
    if chat.parallel_tool_calls is False:
        losses.unsupported("parallel_tool_calls", "Cohere cannot keep a model from calling several tools at once")


def _named(choice: dict[str, Any], tools: list[dict[str, Any]], losses: Losses) -> str:
    """One named function: it alone is offered, and a call required. That leaves the others out, so it is told."""
    function = choice.get("function")
    name = function.get("name") if isinstance(function, dict) else choice.get("name")
    wanted = [tool for tool in tools if tool["function"]["name"] == name]
    if not wanted:
        return "unknown"
    if len(tools) > 1:
        losses.mapped("tool_choice", "Cohere cannot name a function: the other tools were left out")
    tools[:] = wanted
    return "required"


def _format(chat: Chat, body: dict[str, Any], takes: Takes, losses: Losses) -> None:
    wish = chat.response_format or {}
    kind = wish.get("type", "text")
    if kind == "text" or not takes("response_format", "structured_outputs"):
        return
    if kind not in ("json_object", "json_schema"):
        losses.unsupported("response_format", f"Cohere has no format {kind!r}")
        return
    form: dict[str, Any] = {"type": "json_object"}
    if kind == "json_schema":
        named = wish.get("json_schema")
        schema = named.get("schema") if isinstance(named, dict) else None
        if not isinstance(schema, dict):
            raise BadRequest("response_format.json_schema.schema is missing; give the JSON schema of the answer.")
        form["json_schema"] = schema
    body["response_format"] = form


def _thinking(chat: Chat, endpoint: Endpoint, body: dict[str, Any], takes: Takes, losses: Losses) -> None:
    """A switch and a budget in tokens; an effort becomes its share of the limit, where one is known."""
    wish = chat.reasoning
    if wish is None or not (wish.asked or wish.off) or not takes("reasoning", "reasoning_effort", "include_reasoning"):
        return
    if wish.summary in ("concise", "detailed"):
        losses.unsupported("reasoning.summary", "Cohere has no kinds of summary")
    if wish.off:
        body["thinking"] = {"type": "disabled"}
        return
    thinking: dict[str, Any] = {"type": "enabled"}
    limit = chat.max_tokens or endpoint.max_completion_tokens
    if wish.max_tokens is not None:
        thinking["token_budget"] = wish.max_tokens
    elif wish.effort in _PERCENT and limit:
        thinking["token_budget"] = budget = max(limit * _PERCENT[wish.effort] // 100, 1)
        losses.mapped("reasoning.effort", f"Cohere takes a budget: {budget} tokens", agreed=True)
    elif wish.effort is not None:
        losses.unsupported("reasoning.effort", "Cohere takes a budget of tokens, and no limit is known to share")
    body["thinking"] = thinking
