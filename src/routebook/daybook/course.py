"""Goes through the rows of a daybook in order of seq, and knows where it was: who reads on pays for what is new."""

from __future__ import annotations

from routebook.core.generation import Row
from routebook.daybook.frames import HEADER_SIZE, Damage, rows
from routebook.daybook.shelf import Shelf


class Course:
    """Over one shelf. Rows that damages took are not there; the others are."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._seq = -1
        self._number, self._at = 0, 0
        """a frame with no row above `_seq` before it"""

    @property
    def number(self) -> int:
        """The segment that the next rows are looked for in; no earlier one is needed any more."""
        return self._number

    def rows(self, after: int, limit: int) -> list[Row]:
        """Rows with seq > after, in order, at most `limit`."""
        if not self._begin(after):
            return []
        shelf, number, at = self._shelf, self._number, self._at
        found: list[Row] = []
        while True:
            # Looked for before the reading: once there is a next one, this one does not grow any more.
            following = shelf.after(number)
            for frame in shelf.frames(number, at):
                if isinstance(frame, Damage):
                    continue
                at = frame.start
                if frame.seq + frame.length - 1 <= after:
                    continue
                found += [row for row in rows(frame) if row.seq > after]
                if len(found) >= limit:
                    del found[limit:]
                    following = None
                    break
            self._seq, self._number, self._at = found[-1].seq if found else after, number, at
            if following is None:
                return found
            number, at = following, HEADER_SIZE

    def _begin(self, after: int) -> bool:
        """Be at a frame with no wanted row before it; False where there is no segment.

        Who read on from memory for a while comes back far behind: the segment of old may be shipped and gone since, and
        what lies between is not gone through.
        """
        on = after >= self._seq >= 0
        numbers = [number for number in self._shelf.numbers() if not on or number >= self._number]
        if not numbers:
            return False
        chosen = numbers[0]
        if not on or len(numbers) > 1 or chosen != self._number:
            for number in reversed(numbers):
                if self._shelf.header(number).seq <= after:
                    chosen = number
                    break
        if not on or chosen != self._number:
            self._number, self._at = chosen, self._shelf.seek_row(chosen, after)
        return True
