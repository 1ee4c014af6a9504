"""Large JSON bodies: the base64 of pictures, sound and files stays out of everything that decodes, copies and encodes.

A body above LARGE bytes is collected as a `LargeBody`, piece by piece as the socket gives them. `stow` gives the same
JSON with each long base64 text replaced by a stand-in of a few bytes. Reading, checking and translating work on that
alone; `restored` puts the pieces back where the stand-ins have got to, as the very bytes that came in.

Why: what one step does with 20 MB in one go, everybody else on the loop waits for, and each fresh copy of them costs
page faults besides. Here no step has more than one read of the socket in its hands, and there is no copy.

A stand-in is a number between two U+FDD0, which Unicode keeps free for a program's own use. A body that has this
character in it already is not stowed, so nobody can forge one. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from routebook.wire import codec

Piece = bytes | memoryview
Bulk = tuple[tuple[memoryview, ...], ...]
"""By number: the pieces of each text that was stowed."""

LARGE = 256 * 1024
"""Bytes of a body up to which decoding it whole is quick enough."""
MARK = "\ufdd0"

_RUN = 16 * 1024
"""Shorter stretches of a text are not worth a stand-in."""
_LOOK = 64 * 1024
"""Smaller pieces are joined until there is so much to look at."""
_HEAD = 128
"""Bytes at the beginning of a stowed text that stay where they are: dialects read the media type there."""
_MARK = MARK.encode()
_ESCAPED_MARK = re.compile(rb"\\u[fF][dD][dD]0")
_DATA_URL = re.compile(rb"data:(?:image/|audio/|video/|application/pdf)[a-zA-Z0-9.+=;-]{0,60};base64,", re.IGNORECASE)
_DATA_KEY = re.compile(rb'"data"[ \t\r\n]*:[ \t\r\n]*$')
_skim = codec.decoder(codec.Raw)


class LargeBody:
    """A body as it comes in. Stretches that may be base64 are kept as they are, the rest is gathered."""

    __slots__ = ("_few", "_few_bytes", "_parts", "_text", "size")

    def __init__(self, pieces: Iterable[bytes] = ()) -> None:
        self.size = 0
        self._parts: list[bytearray | memoryview] = []
        """a memoryview is a stretch inside one JSON string that means itself: no quote, escape, blank or control"""
        self._text: bytearray | None = None
        """the last part, if that is text"""
        self._few: list[bytes] = []
        self._few_bytes = 0
        for piece in pieces:
            self.add(piece)

    def __len__(self) -> int:
        return self.size

    def add(self, data: bytes) -> None:
        """The next piece. Costs a few passes over this piece and nothing else, so that the work is spread."""
        self.size += len(data)
        if self._few or len(data) < _LOOK:
            self._few.append(data)
            self._few_bytes += len(data)
            if self._few_bytes < _LOOK:
                return
            data = b"".join(self._few)
            self._few, self._few_bytes = [], 0
        self._look(data)

    def _look(self, data: bytes) -> None:
        """Take the stretches without a quote out of a piece. Each step goes on behind the last quote it can see."""
        view = memoryview(data)
        taken = start = 0
        while len(data) - start >= _RUN:
            quote = data.rfind(b'"', start, start + _RUN)
            if quote >= 0:
                start = quote + 1
                continue
            end = data.find(b'"', start + _RUN)
            end = len(data) if end < 0 else end
            if _means_itself(b"".join((b'"', view[start:end], b'"'))):
                self._add_text(view[taken:start])
                self._parts.append(view[start:end])
                self._text = None
                taken = end
            start = end + 1
        self._add_text(view[taken:])

    def _add_text(self, text: Piece) -> None:
        if not text:
            return
        if self._text is None:
            self._text = bytearray()
            self._parts.append(self._text)
        self._text += text

    def _flush(self) -> None:
        if self._few:
            data = b"".join(self._few)
            self._few, self._few_bytes = [], 0
            self._look(data)

    def whole(self) -> bytes:
        """The body in one piece: slow for what this class is for."""
        self._flush()
        return b"".join(self._parts)

    def pieces(self) -> list[Piece]:
        """The body as it is kept, in order: joined they are the bytes that came. Not to be changed meanwhile."""
        self._flush()
        return [memoryview(part) for part in self._parts]

    def stow(self) -> Stowed | None:
        """The body with stand-ins; None if there is nothing in it that could be stowed."""
        self._flush()
        stowed = Stowed(self.size)
        stretch: list[memoryview] = []
        for part in self._parts:
            if isinstance(part, memoryview):
                stretch.append(part)
                continue
            stowed.take(stretch)
            stretch = []
            stowed.text_so_far += part
        stowed.take(stretch)
        return stowed if stowed.close() else None


def _means_itself(quoted: bytes) -> bool:
    """Whether it is a string of JSON that is its own content; blanks, which base64 has not, rule prose out early."""
    if b" " in quoted or b"\\" in quoted or not quoted.isascii():
        return False
    try:
        _skim(quoted)
    except codec.BAD:
        return False
    return True


@dataclass(slots=True)
class Stowed:
    """A body with stand-ins: `text` is its JSON, `bulk` what they stand for."""

    size: int
    """of the body as it came"""
    text_so_far: bytearray = field(default_factory=bytearray)
    text: bytes = b""
    _places: list[int] = field(default_factory=list)
    _stretches: list[tuple[memoryview, ...]] = field(default_factory=list)

    @property
    def bulk(self) -> Bulk:
        return tuple(self._stretches)

    def take(self, stretch: list[memoryview]) -> None:
        """The next stretch of one JSON string: stowed if it is base64 of something, else text."""
        if not stretch:
            return
        text = self.text_so_far
        first, *others = stretch
        if not _is_media(text, first):
            text += b"".join(stretch)
            return
        text += first[:_HEAD]
        self._places.append(len(text))
        text += stand_in(len(self._stretches))
        self._stretches.append((first[_HEAD:], *others))

    def close(self) -> bool:
        """No more comes. False if there is no bulk, or the body has a stand-in's character of its own."""
        text = self.text = bytes(self.text_so_far)
        self.text_so_far = bytearray()
        marks = 2 * len(self._stretches)
        return bool(marks) and text.count(_MARK) == marks and _ESCAPED_MARK.search(text) is None

    def place(self, at: int) -> int:
        """Where a byte of `text` stood in the body."""
        passed = [number for number, place in enumerate(self._places) if place < at]
        return at + sum(sum(map(len, self._stretches[number])) - len(stand_in(number)) for number in passed)


def stand_in(number: int) -> bytes:
    """What stands for the stowed text of this number."""
    return b"%b%d%b" % (_MARK, number, _MARK)


def _is_media(text: bytearray, first: memoryview) -> bool:
    """Whether the string that goes on with this stretch is a data URL of media, or base64 under the name `data`."""
    quote = text.rfind(b'"', max(0, len(text) - _RUN))
    if quote < 0 or text[max(0, quote - 1)] == 0x5C:  # an escaped one begins nothing
        return False
    begins = bytes(text[quote + 1 : quote + 1 + _HEAD]) + bytes(first[:_HEAD])
    return bool(_DATA_URL.match(begins) or _DATA_KEY.search(bytes(text[max(0, quote - 40) : quote])))


def restored(text: bytes, bulk: Bulk) -> tuple[Piece, ...]:
    """The bytes of `text` with everything in its place again, in pieces; what was stowed is not copied."""
    pieces: list[Piece] = []
    for place, part in enumerate(text.split(_MARK)):
        if place % 2:
            pieces += bulk[int(part)]
        elif part:
            pieces.append(part)
    return tuple(pieces)
