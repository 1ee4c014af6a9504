"""The daybook's format: rows in frames, frames in segment files. Bytes in, bytes out; nothing here opens a file.

A frame is what one commit wrote: its rows, the sequence of the first, the next call number, and the digest of the frame
before it. SHA-256 over all that is the frame's own digest; eight bytes of it stand before the frame. So a frame proves
by itself that it is whole, and each frame proves the one before it: the hash chain runs over all rows of a daybook.

    segment  header, then frames
    frame    magic 4 | size of the body 4 | check 8 | body
    body     digest before 32 | seq of the first row 8 | next n 8 | rows 4 | row, row, …
    row      n 8 | back 8 | size of the blob 4 | state 1 | size of the id 1 | id | blob

All numbers are little endian. `back` is the place of the frame that has the row of the call before this one, 0 if this
is its first. A place is `segment << 40 | offset`.
"""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import NamedTuple

from routebook.core.generation import Row, State

MAGIC = b"\xf7Rb\x01"
"""No text in UTF-8 has it, so that the search for the next frame after a damage hits few places in vain."""

_LEAD = struct.Struct("<4sI8s")
_HEAD = struct.Struct("<32sQQI")
_ROW = struct.Struct("<QQIBB")
_HEADER = struct.Struct("<24s3sQQQQQ32s")
_TITLE = b"routebook daybook 1\n\0\0\0\0"
_CHECK = 8

LEAD_SIZE = _LEAD.size
HEADER_SIZE = _HEADER.size + _CHECK

NO_DIGEST = bytes(32)
"""what the first frame of a daybook stands on"""

OFFSET_BITS = 40
OFFSET_MASK = (1 << OFFSET_BITS) - 1

pack_row = _ROW.pack
"""(n, back, size of the blob, state, size of the id) -> the bytes before id and blob"""


class Header(NamedTuple):
    """What a segment begins with: where the one before it ended."""

    name: str
    """of the daybook"""
    number: int
    """of the segment"""
    seq: int
    """of the last row before it"""
    top: int
    """the next call number"""
    since: int
    """no call that was open when it began has a row in a segment before that one"""
    made_ns: int
    """when it began, unix time"""
    digest: bytes
    """of the last frame before it"""


class Frame(NamedTuple):
    """One commit, proved whole."""

    start: int
    """offset in its file"""
    end: int
    seq: int
    """of its first row"""
    length: int
    """how many rows"""
    top: int
    before: bytes
    """digest of the frame before it"""
    digest: bytes
    body: bytes


class Damage(NamedTuple):
    """A stretch of a file that is no frame, with frames behind it."""

    start: int
    end: int


def pack_header(header: Header) -> bytes:
    """HEADER_SIZE bytes."""
    name, *numbers, digest = header
    data = _HEADER.pack(_TITLE, name.encode(), *numbers, digest)
    return data + sha256(data).digest()[:_CHECK]


def unpack_header(data: bytes) -> Header | None:
    """The header that a file begins with; None if it begins with none that is whole."""
    if len(data) < HEADER_SIZE:
        return None
    packed = data[: _HEADER.size]
    if sha256(packed).digest()[:_CHECK] != data[_HEADER.size : HEADER_SIZE]:
        return None
    title, name, number, seq, top, since, made_ns, digest = _HEADER.unpack(packed)
    if title != _TITLE:
        return None
    return Header(name.decode("latin-1"), number, seq, top, since, made_ns, digest)


def seal(before: bytes, seq: int, top: int, count: int, parts: list[bytes]) -> tuple[bytes, bytes]:
    """(frame, digest) of `count` rows. `parts`: anything, then for each row `pack_row(…)`, id, blob.

    The first part is the head's place: that saves the frame's rows one copy.
    """
    parts[0] = _HEAD.pack(before, seq, top, count)
    body = b"".join(parts)
    digest = sha256(body).digest()
    return _LEAD.pack(MAGIC, len(body), digest[:_CHECK]) + body, digest


def frame_at(data: bytes, at: int, base: int = 0) -> Frame | None:
    """The frame that begins there, None if none does that is whole and true. `base`: the data's offset in its file."""
    start = at + LEAD_SIZE
    if start > len(data):
        return None
    magic, size, check = _LEAD.unpack_from(data, at)
    end = start + size
    if magic != MAGIC or end > len(data) or size < _HEAD.size:
        return None
    body = data[start:end]
    digest = sha256(body).digest()
    if digest[:_CHECK] != check:
        return None
    before, seq, top, length = _HEAD.unpack_from(body)
    return Frame(base + at, base + end, seq, length, top, before, digest, body)


def needed(data: bytes, at: int) -> int:
    """How many bytes from there on must be known to say whether a frame begins there."""
    if len(data) - at < LEAD_SIZE:
        return LEAD_SIZE
    magic, size, _ = _LEAD.unpack_from(data, at)
    return LEAD_SIZE + int(size) if magic == MAGIC else LEAD_SIZE


def next_frame(data: bytes, at: int) -> int | None:
    """Where the next whole frame begins, at that place or behind it; None if there is none."""
    while (at := data.find(MAGIC, at)) >= 0:
        if frame_at(data, at) is not None:
            return at
        at += 1
    return None


def marks(frame: Frame) -> list[tuple[int, int]]:
    """(n, state) of each row of the frame: all that recovery and an index need."""
    body, at, found = frame.body, _HEAD.size, []
    while at < len(body):
        n, _, size, state, width = _ROW.unpack_from(body, at)
        found.append((n, state))
        at += _ROW.size + width + size
    return found


def rows(frame: Frame) -> list[Row]:
    """The rows of the frame, in order."""
    body, at, seq, found = frame.body, _HEAD.size, frame.seq, []
    while at < len(body):
        n, _, size, state, width = _ROW.unpack_from(body, at)
        at += _ROW.size
        blob = at + width
        found.append(Row(seq, n, body[at:blob].decode("ascii", "replace"), state, body[blob : blob + size]))
        at = blob + size
        seq += 1
    return found


def of_call(frame: Frame, n: int) -> tuple[list[Row], int]:
    """(the rows of one call in the frame, the place of the frame that has the one before them; 0 = there is none)."""
    body, at, seq, found, before = frame.body, _HEAD.size, frame.seq, [], 0
    while at < len(body):
        number, back, size, state, width = _ROW.unpack_from(body, at)
        at += _ROW.size
        blob = at + width
        if number == n:
            found.append(Row(seq, n, body[at:blob].decode("ascii", "replace"), state, body[blob : blob + size]))
            before = back
        at = blob + size
        seq += 1
    return found, before


def ends_call(frame: Frame, n: int) -> bool | None:
    """Whether the frame has the call's outcome; None if it has no row of that call."""
    states = [state for number, state in marks(frame) if number == n]
    return any(state in State.TERMINAL for state in states) if states else None
