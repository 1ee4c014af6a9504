"""The segment files of one daybook, open for reading: by its owner, and by any other process beside it or after it.

Nobody here writes. A frame is seen when it is whole; what is being written at this moment is not there yet.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from routebook.core.generation import Row
from routebook.daybook import folder
from routebook.daybook.frames import (
    HEADER_SIZE,
    OFFSET_BITS,
    OFFSET_MASK,
    Damage,
    Frame,
    Header,
    frame_at,
    needed,
    next_frame,
    of_call,
    unpack_header,
)

_BLOCK = 1 << 20
_CACHED = 64
"""frames that are kept: calls near each other are in the same ones"""
_NARROW = 1 << 16
"""a search by halves ends where so many bytes are left; the rest is read through"""


class DaybookDamaged(Exception):
    """A daybook's files are not what its format says; the message says which and what to do."""


class Shelf:
    """Files are opened when they are first asked for, and stay readable when the owner unlinks them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fds: dict[int, int] = {}
        self._headers: dict[int, Header] = {}
        self._frames: dict[int, Frame] = {}

    def numbers(self) -> list[int]:
        """Of the segments that exist now, in order."""
        return folder.segments(self.path)

    def first(self) -> int:
        """The lowest segment that is open here; its header was read."""
        return min(self._headers)

    def after(self, number: int) -> int | None:
        """The segment that follows, None if that one is the last."""
        if os.path.exists(self._file(number + 1)):
            return number + 1
        # Numbers have a gap only where segments were taken away, so this is about a reader that slept through it.
        later = [other for other in self.numbers() if other > number]
        return later[0] if later else None

    def header(self, number: int) -> Header:
        """Raises FileNotFoundError, and DaybookDamaged if the file begins with none."""
        known = self._headers.get(number)
        if known is None:
            known = unpack_header(os.pread(self._fd(number), HEADER_SIZE, 0))
            if known is None or known.number != number or known.name != self.path.name:
                raise DaybookDamaged(
                    f"{self._file(number)} does not begin like segment {number} of daybook {self.path.name}; "
                    "put the file back from a copy, or move it away to go on without its rows"
                )
            self._headers[number] = known
        return known

    def size(self, number: int) -> int:
        """Bytes of that file now."""
        return os.fstat(self._fd(number)).st_size

    def frame(self, place: int) -> Frame | None:
        """The frame at a place; None if its segment is gone, or nothing whole is there."""
        known = self._frames.get(place)
        if known is not None:
            return known
        number, at = place >> OFFSET_BITS, place & OFFSET_MASK
        try:
            fd = self._fd(number)
        except FileNotFoundError:
            return None
        data = os.pread(fd, 1 << 12, at)
        if (size := needed(data, 0)) > len(data):
            data = os.pread(fd, min(size, self.size(number)), at)
        found = frame_at(data, 0, at)
        if found is not None:
            if len(self._frames) >= _CACHED:
                self._frames.clear()
            self._frames[place] = found
        return found

    def call(self, n: int, place: int) -> list[Row]:
        """The rows of a call in order, from the place of its last one; short if some are gone."""
        found: list[Row] = []
        while place:
            frame = self.frame(place)
            if frame is None:
                break
            rows, place = of_call(frame, n)
            found[:0] = rows
        return found

    def frames(self, number: int, at: int) -> Iterator[Frame | Damage]:
        """The frames of one segment from an offset where one begins, with the damages between them.

        Ends where no whole frame follows: at the end, or at a tail that is torn or being written.
        """
        fd = self._fd(number)
        data, base = b"", at
        while True:
            frame = frame_at(data, at - base, base)
            if frame is not None:
                yield frame
                at = frame.end
                continue
            here = len(data) - (at - base)
            left = self.size(number) - at
            if left <= 0:
                return
            wanted = min(needed(data, at - base), left)
            if here < wanted:
                data, base = os.pread(fd, min(max(wanted, _BLOCK), left), at), at
                continue
            rest = os.pread(fd, left, at)
            jump = next_frame(rest, 1)
            if jump is None:
                return
            yield Damage(at, at + jump)
            data, base = rest, at
            at += jump

    def seek(self, number: int, n: int) -> int:
        """An offset in the segment where a frame begins, with no row of call `n` or of later ones before it."""
        return self._halved(number, lambda frame: frame.top > n)

    def seek_row(self, number: int, seq: int) -> int:
        """An offset in the segment where a frame begins, with no row above `seq` before it."""
        return self._halved(number, lambda frame: frame.seq > seq)

    def begin_near(self, number: int, at: int) -> int:
        """Where the first frame at that offset or behind it begins; the end of the file if there is none."""
        frame = self._from(number, max(at, HEADER_SIZE), self.size(number))
        return self.size(number) if frame is None else frame.start

    def drop(self, before: int) -> None:
        """Close the files of segments before that one: their owner may want to be rid of them."""
        for number in [number for number in self._fds if number < before]:
            self.forget(number)

    def forget(self, number: int) -> None:
        """Close that file: another one takes its number."""
        os.close(self._fds.pop(number))
        self._headers.pop(number, None)

    def close(self) -> None:
        while self._fds:
            os.close(self._fds.popitem()[1])

    def _halved(self, number: int, beyond: Callable[[Frame], bool]) -> int:
        """An offset where a frame begins, not far before the first frame that is `beyond` what is looked for."""
        low, high = HEADER_SIZE, self.size(number)
        while high - low > _NARROW:
            middle = (low + high) // 2
            frame = self._from(number, middle, high)
            if frame is None or beyond(frame):
                high = middle
            else:
                low = frame.start
        return low

    def _from(self, number: int, at: int, end: int) -> Frame | None:
        size = _NARROW
        while True:
            data = os.pread(self._fd(number), size, at)
            jump = next_frame(data, 0)
            if jump is not None:
                return frame_at(data, jump, at)
            if at + size >= end:
                return None
            size *= 4

    def _fd(self, number: int) -> int:
        fd = self._fds.get(number)
        if fd is None:
            fd = self._fds[number] = os.open(self._file(number), os.O_RDONLY | os.O_CLOEXEC)
        return fd

    def _file(self, number: int) -> str:
        return os.path.join(self.path, folder.file_name(number))
