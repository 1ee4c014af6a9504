"""Messages and tools as one vendor takes them. Untouched bytes wherever nothing has to change."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from routebook.core.call import Losses, Message, Part, Tool
from routebook.dialects.vendors import Quirks
from routebook.wire import codec

_REFUSED = {"breakpoints": ("cache_control",), "strip": ("cache_control", "prompt_cache_breakpoint")}
_REASONING = ("reasoning", "reasoning_content", "reasoning_details")


def written(value: Any) -> Any:
    """A canonical value as the dialect writes it: with the types of tools, tool calls and cache markers, which their
    structs leave out because they have defaults."""
    if isinstance(value, list):
        return [written(item) for item in value]
    if not isinstance(value, msgspec.Struct):
        return value
    out = {name: written(getattr(value, name)) for name in value.__struct_fields__}
    return {name: member for name, member in out.items() if member is not None}


ELSEWHERE = "The result is in the message of the user that follows."


def portable(messages: list[Message], losses: Losses) -> list[Message]:
    """Messages of a caller of another dialect, whose tools may give back pictures and files: here a tool's message is
    text, so the rest follows in a message of the user. Source: OpenAI's reference "Create chat completion", read
    2026-11."""
    out: list[Message] = []
    media: list[Part] = []
    for place, message in enumerate(messages):
        parts = message.content if message.role == "tool" and isinstance(message.content, list) else []
        others = [part for part in parts if part.type != "text"]
        if media and message.role != "tool":
            out.append(Message("user", media))
            media = []
        if others:
            texts = [part for part in parts if part.type == "text"]
            message = replace(message, content=texts or ELSEWHERE)
            media = [*media, *others]
            losses.mapped(f"messages[{place}].content", "what is no text follows in a user's message", agreed=True)
        out.append(message)
    return [*out, Message("user", media)] if media else out


def messages_for(value: bytes, messages: list[Message], quirks: Quirks, losses: Losses) -> bytes:
    """`value` is the caller's `messages`, `messages` the same decoded."""
    if not any(_touched(message, quirks) for message in messages):
        return value
    rows: list[dict[str, Any]] = codec.decode_exact(value)
    lost: dict[str, str] = {}
    for row in rows:
        if row.get("role") == "developer" and not quirks.developer:
            row["role"] = "system"
        if quirks.history != "keep":
            _reasoning(row, quirks.history, lost)
        if quirks.cache != "keep":
            _markers(row, _REFUSED[quirks.cache], lost)
    for name, why in lost.items():
        losses.unsupported(name, why)
    return codec.encode(rows)


def _touched(message: Message, quirks: Quirks) -> bool:
    if message.role == "developer" and not quirks.developer:
        return True
    if quirks.history != "keep" and (
        message.reasoning is not None or message.reasoning_content is not None or message.reasoning_details is not None
    ):
        return True
    if quirks.cache == "keep":
        return False
    if message.cache_control is not None:
        return True
    parts = message.content if isinstance(message.content, list) else ()
    return any(getattr(part, name) is not None for part in parts for name in _REFUSED[quirks.cache])


def _reasoning(row: dict[str, Any], history: str, lost: dict[str, str]) -> None:
    """Keep the text of an earlier turn's reasoning under the one name the vendor knows, or under none."""
    found = {name: row.pop(name, None) for name in _REASONING}
    text = found["reasoning"] or found["reasoning_content"] or _text_of(found["reasoning_details"])
    if history != "strip":
        if isinstance(text, str) and text:
            row[history] = text
        details = found["reasoning_details"]
        if isinstance(details, list) and any(
            isinstance(d, dict) and (d.get("data") or d.get("signature")) for d in details
        ):
            lost["messages.reasoning_details"] = "signatures and encrypted reasoning mean nothing to the provider"
    elif text or found["reasoning_details"]:
        lost["messages.reasoning"] = "the provider takes no reasoning of earlier turns"


def _text_of(details: Any) -> str:
    items = details if isinstance(details, list) else []
    texts = (item.get("text") or item.get("summary") for item in items if isinstance(item, dict))
    return "".join(text for text in texts if isinstance(text, str))


def _markers(row: dict[str, Any], names: tuple[str, ...], lost: dict[str, str]) -> None:
    parts = row.get("content")
    for part in (row, *(parts if isinstance(parts, list) else ())):
        if isinstance(part, dict):
            for name in names:
                if part.pop(name, None) is not None:
                    lost[f"messages.{name}"] = "the provider knows no cache markers"


def tools_for(value: bytes, tools: list[Tool], quirks: Quirks, losses: Losses) -> bytes | None:
    """The tools that the vendor can use, None if none is left. Tools that a router would run itself are not among
    them unless the vendor is a router; other types than function are the vendor's own and travel as they are."""
    foreign = [tool.type for tool in tools if tool.type.startswith("openrouter:")] if not quirks.router else []
    marked = quirks.cache != "keep" and any(tool.cache_control is not None for tool in tools)
    if not foreign and not marked:
        return value
    for kind in dict.fromkeys(foreign):
        losses.unsupported("tools", f"{kind} is a server tool that neither the gateway nor the provider runs")
    rows: list[dict[str, Any]] = codec.decode_exact(value)
    if marked:
        losses.unsupported("tools.cache_control", "the provider knows no cache markers")
        for row in rows:
            row.pop("cache_control", None)
    kept = [row for row in rows if quirks.router or not str(row.get("type", "")).startswith("openrouter:")]
    return codec.encode(kept) if kept else None
