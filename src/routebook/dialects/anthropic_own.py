"""Anthropic Messages where caller and vendor both speak it: the caller's own members, verbatim, are the request.

Part of the dialect in `anthropic.py`. What is the gateway's own is not sent; `model`, `max_tokens` (it may have been
lowered), `stream` and the end user's name (hashed: inference API, section 2.1) are written anew; a parameter that the
endpoint is known not to take goes to `losses.unsupported`; reasoning of other vendors is taken out of the messages.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from routebook.core.call import Call, Losses
from routebook.core.catalog import Endpoint
from routebook.dialects.anthropic_fold import FORMAT
from routebook.dialects.sealing import BEGINS, unseal
from routebook.wire import codec

_NOT_SENT = frozenset(
    """model models fallbacks provider plugins preset route session_id stop_server_tools_when trace user debug stream
    max_tokens metadata""".split()
)
_NAMES = {
    "tools": ("tools", "tool_choice"),
    "tool_choice": ("tools", "tool_choice"),
    "thinking": ("reasoning", "include_reasoning", "reasoning_effort"),
    "stop_sequences": ("stop",),
    "temperature": ("temperature",),
    "top_p": ("top_p",),
    "top_k": ("top_k",),
}
"""a member -> what lists of supported parameters call it"""
_FOREIGN = re.compile(
    rb'%b|"signature"\s*:\s*""|"(?:id|tool_use_id)"\s*:\s*"[a-zA-Z0-9_-]*(?:[^a-zA-Z0-9_"-]|[a-zA-Z0-9_-]{65})'
    % BEGINS.encode()
)
"""what may stand in a conversation that another vendor's model began, and Anthropic refuses"""
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_FILE = re.compile(rb'"type"\s*:\s*"file"')


def own_body(call: Call, endpoint: Endpoint, losses: Losses, default_max: int) -> tuple[bytes, bool]:
    """(the request's body, whether it names files of the vendor's own store)."""
    maximum = call.chat.max_tokens or endpoint.max_completion_tokens or default_max
    body: dict[str, Any] = {"model": endpoint.upstream_model, "max_tokens": maximum}
    known = endpoint.supported_parameters
    for name, value in call.raw.items():
        if name in _NOT_SENT or bytes(value) == b"null":
            continue
        if known is not None and name in _NAMES and known.isdisjoint(_NAMES[name]):
            losses.unsupported(name, "this endpoint does not take it")
        elif name == "messages":
            body[name] = _messages(value, losses) if _FOREIGN.search(bytes(value)) else value
        elif name == "tools":
            if tools := _tools(value):
                body[name] = tools
        elif name == "service_tier":
            if (tier := _tier(call.chat.service_tier, losses)) is not None:
                body[name] = tier
        else:
            body[name] = value
    if "tools" not in body:
        body.pop("tool_choice", None)
    if call.stream:
        body["stream"] = True
    if call.user is not None:
        body["metadata"] = {"user_id": hashlib.sha256(call.user.encode()).hexdigest()[:32]}
    return codec.encode(body), bool(_FILE.search(bytes(call.raw["messages"])))


def _tools(value: codec.Raw) -> codec.Raw | list[codec.Raw]:
    """The caller's tools without those that only a gateway could run; the surface has named them."""
    if b"openrouter:" not in bytes(value):
        return value
    rows = codec.decode_as(bytes(value), list[codec.Raw])
    return [row for row in rows if not str(codec.decode(bytes(row)).get("type") or "").startswith("openrouter:")]


def _tier(wanted: str | None, losses: Losses) -> str | None:
    """`auto` uses the account's priority capacity where there is some, `standard_only` never does."""
    if wanted in (None, "auto", "priority", "fast"):
        return None if wanted is None else "auto"
    if wanted == "default":
        return "standard_only"
    losses.unsupported("service_tier", f"Anthropic has no {wanted} tier")
    return None


def _messages(value: codec.Raw, losses: Losses) -> list[dict[str, Any]]:
    """The messages without other vendors' reasoning, and with ids of tool calls as Anthropic takes them."""
    rows: list[dict[str, Any]] = codec.decode_exact(bytes(value))
    lost = False
    for row in rows:
        blocks = row.get("content")
        if not isinstance(blocks, list):
            continue
        kept = []
        for block in blocks:
            if block.get("type") in ("thinking", "redacted_thinking") and _is_foreign(block):
                lost = True
                continue
            for name in ("id", "tool_use_id"):
                if isinstance(given := block.get(name), str) and block.get("type") in ("tool_use", "tool_result"):
                    block[name] = tool_id(given)
            kept.append(block)
        row["content"] = kept
    if lost:
        losses.unsupported("messages.thinking", "reasoning of another provider cannot be handed back")
    return [row for row in rows if row.get("content") != []]


def _is_foreign(block: dict[str, Any]) -> bool:
    sealed = unseal(block.get("data") if block["type"] == "redacted_thinking" else block.get("signature"))
    if sealed is not None:
        return sealed.get("format") != FORMAT
    return block["type"] == "thinking" and not block.get("signature")


def tool_id(text: str) -> str:
    """The id as Anthropic accepts ids; other providers put colons and dots into theirs. Equal ids stay equal."""
    if _ID.fullmatch(text):
        return text
    plain = re.sub(r"[^a-zA-Z0-9_-]", "_", text)[:48]
    return f"{plain}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
