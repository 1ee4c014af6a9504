"""The commonest whole message as a type: one text block and nothing beside it. All others take the full way.

Part of the dialect in `anthropic.py`. The types name every member that `read_message` looks at; what is plain has its
type, what would say more than text must be null.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from routebook.core.events import Event
from routebook.dialects.anthropic_fold import Fold
from routebook.wire import codec
from routebook.wire.text import plain


class _Text(msgspec.Struct, gc=False):
    type: Literal["text"]
    text: msgspec.Raw
    citations: None = None


class _Message(msgspec.Struct, gc=False):
    content: tuple[_Text]
    stop_reason: str
    usage: msgspec.Raw
    type: Literal["message"] = "message"
    id: str | None = None
    model: str | None = None
    stop_sequence: str | None = None
    stop_details: None = None
    container: None = None
    context_management: None = None
    error: None = None


_message = codec.decoder(_Message)


def common_message(body: bytes) -> list[Event] | None:
    """The events of a message that is one text, None for every other message."""
    try:
        found = _message(body)
        usage = codec.decode_exact(bytes(found.usage))
    except codec.BAD:
        return None
    text = bytes(found.content[0].text)
    if len(text) < 3 or text[0] != 34 or not found.stop_reason or not isinstance(usage, dict):
        return None
    said = plain(0, [text[1:-1]], "assistant")
    if said is None:
        return None
    fold = Fold()
    start = fold.start({"id": found.id, "model": found.model, "usage": usage})
    return [start, said, *fold.finish(found.stop_reason, found.stop_sequence or None), *fold.counted()]
