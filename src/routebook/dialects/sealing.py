"""Reasoning of one provider on its way through a caller who speaks another's dialect.

A caller of such a dialect hands back an opaque signature (or sealed data) with each piece of reasoning, unread. Where
the reasoning is not of that dialect's own models, the rest of its detail travels as that signature: base64 of a mark
and JSON. Whoever reads it back has the detail again, word for word, for the provider that made it.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

from routebook.wire import codec

_MARK = b"routebook:1:"
"""twelve bytes, so that its base64 is the same whatever follows"""
BEGINS = b64encode(_MARK).decode()


def seal(detail: dict[str, Any]) -> str:
    """A reasoning detail as a signature; standard base64."""
    return b64encode(_MARK + codec.encode(detail)).decode()


def unseal(signature: Any) -> dict[str, Any] | None:
    """The detail again; None for every other signature, damaged ones of ours included."""
    if not isinstance(signature, str) or not signature.startswith(BEGINS):
        return None
    try:
        detail = codec.decode_exact(b64decode(signature, validate=True)[len(_MARK) :])
    except (ValueError, codec.DecodeError):
        return None
    return detail if isinstance(detail, dict) and isinstance(detail.get("type"), str) else None
