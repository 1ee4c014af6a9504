"""Text that travels in its JSON escapes: pieces as they stood between the quotes of JSON strings.

A piece is valid if it is the inside of one JSON string: no bare quote, no control character, whole escapes, valid
UTF-8. Pieces are checked together: joined by a blank they make one string that is valid exactly if each of them is,
because neither an escape nor a character of UTF-8 can reach over the blank.
"""

from __future__ import annotations

from collections.abc import Iterable

from routebook.core.events import Delta, Event, Plain, Whole
from routebook.wire import codec


def plain(index: int, pieces: list[bytes], role: str | None = None) -> Plain | None:
    """The event of these pieces of one choice's text, none of them empty; None if one of them is not valid."""
    gaps = len(pieces) - 1
    joined = b" ".join(pieces) if gaps else pieces[0]
    try:
        said = codec.decode_text(b'"' + joined + b'"')
    except codec.BAD:
        return None
    chars = len(said)
    size = chars if said.isascii() else len(joined) if 92 not in joined else len(said.encode())
    return Plain(index, pieces, size - gaps, chars - gaps, role)


def decoded(piece: bytes) -> str | None:
    """One piece as text, None if it is not valid."""
    try:
        return codec.decode_text(b'"' + piece + b'"')
    except codec.BAD:
        return None


def texts(event: Plain) -> list[str]:
    """The pieces as texts."""
    return [codec.decode_text(b'"' + piece + b'"') for piece in event.texts]


def expand(events: Iterable[Event]) -> list[Event]:
    """The same events in their plainest form: a Delta for every piece of text."""
    out: list[Event] = []
    for event in events:
        if isinstance(event, Plain):
            first, *others = texts(event)
            out.append(Delta(index=event.index, role=event.role, text=first))
            out += [Delta(index=event.index, text=said) for said in others]
            if event.report is not None:
                out.append(event.report())
        elif isinstance(event, Whole):
            out += event.parts()
        else:
            out.append(event)
    return out
