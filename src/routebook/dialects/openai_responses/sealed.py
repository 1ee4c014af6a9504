"""Reasoning that a model of another family made, on its way through a client of this API.

An item of reasoning has `format` and `signature` here for what is not of this API's own models (inference API, sections
7 and 17). A client that knows the members of OpenAI's own items alone drops both, and readable thoughts too, but hands
`encrypted_content` back unread where it asked for it. So all of the item's details stand sealed in there as well.
"""

from __future__ import annotations

from typing import Any

import msgspec

from routebook.core.call import Call, Losses
from routebook.dialects.openai_responses.parts import FORMATS
from routebook.dialects.sealing import seal, unseal
from routebook.wire import codec

SEALED = "reasoning.encrypted_content"
"""what a caller includes to get such items"""

_TYPE = "reasoning.item"
_TEXTS = {"reasoning.text": "text", "reasoning.summary": "summary"}

Detail = dict[str, Any]
Item = dict[str, Any]


def wanted(call: Call) -> bool:
    """Whether the caller of this API will hand sealed reasoning back."""
    include = call.raw.get("include")
    return include is not None and SEALED in (codec.decode(bytes(include)) or ())


def grow(details: list[Detail], piece: Detail) -> None:
    """Add one piece to an item's details; pieces of one thought become one."""
    last = details[-1] if details else {}
    text = _TEXTS.get(piece.get("type", ""))
    if text is None or last.get("type") != piece.get("type") or last.get("index") != piece.get("index"):
        details.append(dict(piece))
        return
    joined = (last.get(text) or "") + (piece.get(text) or "")
    last.update({name: value for name, value in piece.items() if value is not None})
    if joined:
        last[text] = joined


def sealed(details: list[Detail]) -> str | None:
    """All of an item's details as its `encrypted_content`; None where the family is one of this API's own."""
    if not details or details[0].get("format") in FORMATS:
        return None
    return seal({"type": _TYPE, "details": details})


def opened(encrypted: Any) -> list[Detail] | None:
    """The details in there; None for what a provider sealed, or nobody."""
    found = unseal(encrypted)
    if found is None or found["type"] != _TYPE:
        return None
    details = found.get("details")
    return [one for one in details if isinstance(one, dict)] if isinstance(details, list) else None


def own_input(call: Call, router: bool, losses: Losses) -> Any:
    """The caller's input for a provider of this API: as it came, unless another family's reasoning is in it.

    Such a provider refuses that, so it is left out, which is a loss. A router gets it in the form that routers have.
    """
    raw: msgspec.Raw = call.raw["input"]
    formats = {detail.get("format") for message in call.chat.messages for detail in message.reasoning_details or ()}
    if formats <= FORMATS:
        return raw
    out = []
    for place, item in enumerate(codec.decode_exact(bytes(raw))):
        if not isinstance(item, dict) or item.get("type") != "reasoning":
            out.append(item)
            continue
        details = opened(item.get("encrypted_content"))
        if router:
            out.append(item if details is None else _routers(item, details))
        elif details is None and item.get("format", "") in ("", None, *FORMATS):
            out.append(item)
        else:
            losses.unsupported(f"input[{place}]", "only sealed reasoning of the same family can be handed back")
    return out


def _routers(item: Item, details: list[Detail]) -> Item:
    """An item with what its details say in the open."""
    made: Item = {"type": "reasoning", "id": item.get("id"), "summary": [], "format": details[0].get("format")}
    for detail in details:
        if detail.get("summary"):
            made["summary"].append({"type": "summary_text", "text": detail["summary"]})
        if detail.get("text"):
            made.setdefault("content", []).append({"type": "reasoning_text", "text": detail["text"]})
        if detail.get("signature"):
            made["signature"] = detail["signature"]
        if detail.get("data"):
            made["encrypted_content"] = detail["data"]
    return {name: value for name, value in made.items() if value is not None}
