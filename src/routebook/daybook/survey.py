"""Reads a daybook frame by frame and says what it holds: its calls, which are open, and whatever is not right with it.

The next owner recovers with it, readers follow a growing book with it, and the proof of the book takes its findings.
"""

from __future__ import annotations

from routebook.core.generation import State
from routebook.daybook.calls import BITS, MASK, Calls
from routebook.daybook.folder import file_name
from routebook.daybook.frames import HEADER_SIZE, OFFSET_BITS, Damage, Frame, marks
from routebook.daybook.shelf import Shelf
from routebook.ledger.chain import Break, Link

_INTENT, _TERMINAL = State.INTENT, State.TERMINAL


class Survey:
    """Begins with a segment; `follow()` reads what is new. Raises FileNotFoundError if that segment is not there."""

    def __init__(self, shelf: Shelf, number: int) -> None:
        header = shelf.header(number)
        self._shelf = shelf
        self.headers = [header]
        """of the segments that were read"""
        self.number, self.at = number, HEADER_SIZE
        """the segment, and the offset up to which it was read"""
        self.seq, self.top, self.digest = header.seq, header.top, header.digest
        self.calls = Calls()
        self.open: set[int] = set()
        """numbers of the calls that have an intent and no outcome"""
        self.frames = 0
        self.rows = 0
        self.intents = 0
        self.ends = 0
        """terminal rows"""
        self.strays = 0
        """terminal rows of calls that should have begun here and are not open: a second end, or an end of nothing"""
        self.breaks: list[Break] = []
        """damages, gaps, and frames that do not continue the chain"""
        self._links: list[Link] = []
        """of the segments that were read to their end"""
        self._frames_before = 0
        self.damaged: set[int] = set()
        """segments with such a finding"""

    @property
    def findings(self) -> list[str]:
        """The breaks, each a sentence."""
        return [each.what for each in self.breaks]

    @property
    def links(self) -> list[Link]:
        """The segments that were read, in order; the last one may grow."""
        return [*self._links, self._link()]

    def follow(self, most: int | None = None) -> bool:
        """Read on, through as many segments as there are; True when all was read. `most`: bytes, about, after which
        to come back early."""
        left = most
        while True:
            # Looked for before the reading: once there is a next one, this one does not grow any more.
            following = self._shelf.after(self.number)
            begun = self.at
            if not self._read(left):
                return False
            if left is not None:
                left = max(0, left - (self.at - begun))
            if following is None:
                return True
            if (size := self._shelf.size(self.number)) > self.at:
                self._find(self.number, "damaged", f"bytes {self.at} to {size} are damaged")
            header = self._shelf.header(following)
            self._links.append(self._link())
            self._frames_before = self.frames
            self.headers.append(header)
            self.number, self.at = following, HEADER_SIZE
            if header.digest != self.digest:
                self._find(following, "torn", "it does not continue the segment before it")
            self._expect(header.seq + 1)
            self.digest, self.top = header.digest, max(self.top, header.top)
            self.seq = max(self.seq, header.seq)

    def open_since(self) -> int:
        """The first segment that may have a row of a call that is open; a high number if none is."""
        lowest = min(self.open, default=self.top)
        return max((header.number for header in self.headers if header.top <= lowest), default=self.headers[0].number)

    @property
    def tail(self) -> int:
        """Bytes behind the last whole frame: torn, or being written."""
        return self._shelf.size(self.number) - self.at

    def _read(self, most: int | None) -> bool:
        """The rest of the segment; False if `most` bytes were not all."""
        until = None if most is None else self.at + most
        for found in self._shelf.frames(self.number, self.at):
            if until is not None and self.at >= until:
                return False
            if isinstance(found, Damage):
                self._find(self.number, "damaged", f"bytes {found.start} to {found.end} are damaged")
            else:
                self._take(found)
            self.at = found.end
        return True

    def _link(self) -> Link:
        header = self.headers[-1]
        return Link(
            file=file_name(self.number),
            began_ns=header.made_ns,
            first=header.seq + 1,
            last=self.seq,
            frames=self.frames - self._frames_before,
            size=self.at,
            head=self.digest.hex(),
        )

    def _take(self, frame: Frame) -> None:
        if frame.seq != self.seq + 1:
            self._expect(frame.seq)
        if frame.before != self.digest:
            self._find(self.number, "unchained", f"row {frame.seq} does not continue the hash chain")
        place = self.number << OFFSET_BITS | frame.start
        calls, still_open = self.calls, self.open
        found = marks(frame)
        for n, state in found:
            calls[n >> BITS][n & MASK] = place
            if state == _INTENT:
                self.intents += 1
                still_open.add(n)
            elif state in _TERMINAL:
                self.ends += 1
                if n in still_open:
                    still_open.remove(n)
                elif n >= self.headers[0].top:
                    self.strays += 1
        if len(found) != frame.length:
            told = f"the frame of row {frame.seq} has {len(found)} rows, not {frame.length}"
            self._find(self.number, "miscounted", told)
        self.seq = frame.seq + frame.length - 1
        if frame.top > self.top:
            self.top = frame.top
        self.digest = frame.digest
        self.frames += 1
        self.rows += frame.length

    def _expect(self, seq: int) -> None:
        due = self.seq + 1
        if seq > due:
            missing = f"row {due} is" if seq == due + 1 else f"rows {due} to {seq - 1} are"
            self._find(self.number, "missing", f"{missing} missing")
        elif seq < due:
            self._find(self.number, "twice", f"row {seq} is there twice")

    def _find(self, number: int, kind: str, what: str) -> None:
        self.breaks.append(Break(kind, f"daybook {self._shelf.path.name}, {file_name(number)}: {what}"))
        self.damaged.add(number)
