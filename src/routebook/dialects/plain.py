"""The fast lane of every reader: frames of plain text, learned once, then read as bytes.

A frame is learned only where the full way found nothing in it but one piece of text, so equal bytes around the text
mean equal events: nothing new begins, nothing is counted, nothing ends. From then on a read that is a run of such
frames becomes one `Plain`: one split, one comparison and one decode that checks all its pieces, whatever their number.
The pieces stay as the provider wrote them, escapes included. Whatever does not fit takes the full way.

Some frames differ in more than their text: padding against traffic analysis, or counts that grow. A dialect says what
may differ behind the text by a `Loose`; such frames are read one by one, which is still much cheaper than decoding.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from routebook.core.events import Plain
from routebook.wire import codec, sse, text
from routebook.wire.codec import decode_text

TRIES_MAX = 8
"""A provider whose frames never repeat is not studied any longer than this."""
SINGLES_MAX = 16
"""Events at the beginning of a stream that are looked at one by one, although more came with them."""

HELD_MAX = 16 * 1024
"""Bytes of an incomplete frame that are kept here in the hope that it is one of those that were learned."""

_TEXT = rb'((?:[^"\\]++|\\.)*+)'
_REST = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


class Tail(NamedTuple):
    """What follows the text in a frame: fixed bytes; if `loose` is given, then what it matches, and the `rest`."""

    fixed: bytes
    loose: bytes | None = None
    """a pattern without groups"""
    rest: bytes = b""


Loose = Callable[[bytes], Tail]
"""How a dialect divides the bytes behind the text of one frame."""


@lru_cache(maxsize=256)
def _patterns(fixed: bytes, loose: bytes) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """(one text with what differs behind it, the same on a line of its own). Kept, because no id of an answer is in
    them: compiling one costs as much as a hundred frames."""
    pattern = _TEXT + re.escape(fixed) + b"(" + loose + b")"
    return re.compile(pattern, re.DOTALL), re.compile(pattern + b"\n", re.DOTALL)


class Lane:
    """Learns one kind of frame at a time.

    `begins` finds the start of the text in a payload; `prefixes` are what may stand before the payload of an event on
    the wire (`data: `); `loose` divides what stands behind the text.
    """

    __slots__ = (
        "_at",
        "_begins",
        "_blank",
        "_close",
        "_cut",
        "_first",
        "_from",
        "_gap",
        "_head",
        "_last",
        "_loose",
        "_many",
        "_one",
        "_prefixes",
        "_skip",
        "_step",
        "_tail",
        "_to",
        "_tries",
        "_two",
        "_wires",
        "index",
        "known",
        "varied",
    )

    def __init__(self, begins: re.Pattern[bytes], prefixes: tuple[bytes, ...], loose: Loose = Tail) -> None:
        self._begins = begins
        self._prefixes = prefixes
        self._loose = loose
        self._head = b""
        self._tail = Tail(b"")
        self._tries = 0
        self._wires = 0
        self._first = b""
        self._last = self._gap = self._blank = b""
        self._at = self._step = self._skip = self._two = 0
        self._cut: int | None = None
        self._from = 0
        self._to: int | None = None
        """where the text stands in a read of one frame, with its quotes"""
        self._close = b""
        """the fixed bytes at the end of a payload"""
        self._one: re.Pattern[bytes] | None = None
        """what stands between head and close, where it is more than text"""
        self._many: re.Pattern[bytes] | None = None
        self.index = 0
        self.known = False
        """a frame is learned"""
        self.varied = b""
        """what stood behind the fixed bytes of the last frame that was read"""

    @property
    def studies(self) -> bool:
        """Nothing is learned, and the next event may be what teaches it."""
        return not self.known and self._tries < TRIES_MAX

    # --- learning ---------------------------------------------------------------------------------------------

    def learn(self, data: bytes, said: str, index: int) -> None:
        """`data` is the payload of an event in which the full way found this text for this choice and nothing else."""
        if self._tries >= TRIES_MAX:
            return
        self._tries += 1
        self.forget()
        begin = self._begins.search(data)
        if begin is None or self._begins.search(data, begin.end()):
            return
        rest = _REST.match(data, begin.end())
        if rest is None:
            return
        tail = self._tail = self._loose(data[rest.end() - 1 :])
        self._close = tail.fixed if tail.loose is None else tail.rest
        self._one, self._many = (None, None) if tail.loose is None else _patterns(tail.fixed, tail.loose)
        self._head = data[: begin.end()]
        self.index = index
        found = self._piece(data, 0, len(data))
        if found and text.decoded(found) == said:
            self.known = True
        else:
            self.forget()

    def forget(self) -> None:
        """What the answer says as a whole has changed, so the learned frame would say something new now."""
        self.known = False
        self._first = b""
        self._two = 0

    def _learn_wire(self, data: bytes) -> bool:
        """How the learned frame is framed, from a read that begins with one."""
        if self._wires >= TRIES_MAX * len(self._prefixes):
            return False
        for prefix in self._prefixes:
            for end in (b"\n\n", b"\r\n\r\n"):
                self._wires += 1
                first = (prefix if end == b"\n\n" else prefix.replace(b"\n", b"\r\n")) + self._head
                stop = data.find(end) if data.startswith(first) else -1
                if stop < 0 or self._piece(data, len(first) - len(self._head), stop) is None:
                    continue
                self._first = first
                self._last = self._close + end
                self._gap = self._last + first
                self._blank = end[len(end) // 2 - 1 :]
                self._at = first.count(b"\n")
                self._step = self._at + 2
                self._skip = len(first) - first.rfind(b"\n") - 1
                self._cut = -len(self._close) - len(end) // 2 + 1 or None
                self._two = 2 * len(self._gap)
                self._from, self._to = len(first) - 1, 1 - len(self._last) or None
                if self._one is not None:
                    self._two += 2 * (len(self._tail.fixed) + len(self.varied))
                self._wires = 0
                return True
        return False

    # --- reading ----------------------------------------------------------------------------------------------

    def read(self, data: bytes) -> Plain | None:
        """The payload of one event; None if it is not what was learned."""
        if not self.known:
            return None
        piece = self._piece(data, 0, len(data))
        if not piece:
            return None
        self._tries = 0
        return text.plain(self.index, [piece])

    def one(self, data: bytes) -> Plain | None:
        """The commonest read of all: one learned frame and nothing else. None for everything that is not that."""
        if len(data) >= self._two or not data.startswith(self._first) or not data.endswith(self._last):
            return None
        quoted = data[self._from : self._to]
        if self._one is not None:
            piece = self._text_of(quoted[1:-1])
            run = text.plain(self.index, [piece]) if piece else None
        elif len(quoted) > 2:  # what text.plain does, without its calls: this runs once an event of a paced stream
            try:
                said = decode_text(quoted)
            except codec.BAD:
                return None
            chars = len(said)
            size = chars if said.isascii() else len(quoted) - 2 if 92 not in quoted else len(said.encode())
            run = Plain(self.index, [quoted[1:-1]], size, chars)
        else:
            return None
        if run is not None:
            self._tries = 0
        return run

    def take(self, data: bytes) -> tuple[Plain | None, bytes]:
        """(the run of learned frames that the bytes begin with, the bytes behind it); `data` begins with an event."""
        if not self.known or not (self._first or self._learn_wire(data)):
            return None, data
        pieces: list[bytes] | None = None
        if data.endswith(self._last):
            skip, cut = self._skip, self._cut
            pieces = [line[skip:cut] for line in data.split(b"\n")[self._at : -1 : self._step]]
            if self._first + self._gap.join(pieces) + self._last != data:
                pieces = None
            elif self._many is not None:
                pieces = self._texts_of(self._many, pieces)
        rest = b""
        if pieces is None:
            pieces, end = self._run(data)
            rest = data[end:]
        run = text.plain(self.index, pieces) if pieces and all(pieces) else None
        if run is None:
            return None, data
        self._tries = 0
        return run, rest

    def waits(self, rest: bytes) -> bool:
        """Whether these bytes, which end in the middle of an event, may become a learned frame."""
        first = self._first
        return (
            self.known
            and bool(first)
            and len(rest) < HELD_MAX
            and (rest.startswith(first) or first.startswith(rest))
            and self._blank not in rest
        )

    def cut(self, data: bytes) -> int:
        """Where the last event ends, for a read that ends in the middle of one: what follows may be read by the lane
        once its end is there. The length of the read where nothing is to be kept."""
        if not self.known or data.endswith(b"\n"):
            return len(data)
        end = max(data.rfind(b"\n\n") + 2, data.rfind(b"\n\r\n") + 3)
        return end if end > 2 and len(data) - end < HELD_MAX else len(data)

    def _run(self, data: bytes) -> tuple[list[bytes], int]:
        """Pieces of the learned frames at the beginning of the bytes, and where they end."""
        pieces: list[bytes] = []
        prefix, blank = len(self._first) - len(self._head), self._blank
        ending = len(self._last) - len(self._close)
        at = 0
        while data.startswith(self._first, at):
            stop = data.find(blank, at + len(self._first))
            if stop < 0:
                break
            stop += len(blank)
            piece = self._piece(data, at + prefix, stop - ending)
            if piece is None:
                break
            pieces.append(piece)
            at = stop
        return pieces, at

    def _piece(self, data: bytes, begin: int, stop: int) -> bytes | None:
        """The text in the payload that lies between the two places, None if it is not what was learned."""
        close = len(self._close)
        at, end = begin + len(self._head), stop - close
        if end < at or not data.startswith(self._head, begin) or not data.endswith(self._close, at, stop):
            return None
        return data[at:end] if self._one is None else self._text_of(data[at:end])

    def _text_of(self, middle: bytes) -> bytes | None:
        """The text of what stands between head and close."""
        match = self._one.fullmatch(middle) if self._one is not None else None
        if match is None:
            return None
        self.varied = match[2]
        return match[1]

    def _texts_of(self, many: re.Pattern[bytes], middles: list[bytes]) -> list[bytes] | None:
        """The same of several at once; None if one is not what was learned."""
        lines = b"\n".join(middles) + b"\n"
        found = many.findall(lines)
        each = len(self._tail.fixed) + 1
        if len(found) != len(middles) or sum([len(a) + len(b) + each for a, b in found]) != len(lines):
            return None
        self.varied = found[-1][1]
        return [piece for piece, _ in found]


def _first_end(data: bytes) -> int:
    """Where the first event of several ends; 0 where there is no more than one."""
    ends = [at + size for mark, size in ((b"\n\n", 2), (b"\n\r\n", 3)) if (at := data.find(mark)) >= 0]
    end = min(ends, default=0)
    return end if end < len(data) else 0


class Frames:
    """A stream's bytes as events, with the lane first: runs of learned frames never see the decoder."""

    __slots__ = ("_decoder", "_lane", "_rest", "_singles", "clear")

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._singles = SINGLES_MAX
        self._decoder = sse.SseDecoder()
        self._rest = b""
        """the beginning of an event, kept back because the lane may be able to read all of it"""
        self.clear = False
        """the next byte begins an event and nothing is kept back, so `Lane.one` may be asked first"""

    def feed(self, data: bytes) -> tuple[Plain | None, list[sse.SseEvent], bytes]:
        """A run that comes first, the events after it, and bytes to feed next, once these events have been looked at:
        one of them may teach the lane how to read what is left. Raises TooLong."""
        run: Plain | None = None
        if self._rest or self.clear:
            data, self._rest = self._rest + data, b""
            run, data = self._lane.take(data)
            self.clear = not data
            if not data:
                return run, [], b""
            if self._lane.waits(data):
                self._rest = data
                return run, [], b""
        if self._singles and self._lane.studies and (end := _first_end(data)):
            self._singles -= 1
            events = self._decoder.feed(data[:end])
            self.clear = self._decoder.idle
            return run, events, data[end:]
        cut = self._lane.cut(data)
        if cut == len(data):
            events = self._decoder.feed(data)
            self.clear = self._decoder.idle
            return run, events, b""
        events = self._decoder.feed(data[:cut])
        self.clear = False
        if self._decoder.idle:
            self._rest = data[cut:]
        else:
            events += self._decoder.feed(data[cut:])
        return run, events, b""

    def end(self) -> list[sse.SseEvent]:
        """The events that EOF completes. Raises TooLong."""
        rest, self._rest, self.clear = self._rest, b"", False
        return [*self._decoder.feed(rest), *self._decoder.end()]

    def drop(self) -> None:
        """What follows is not looked at any more."""
        self._rest, self.clear = b"", False
        self._decoder = sse.SseDecoder()
