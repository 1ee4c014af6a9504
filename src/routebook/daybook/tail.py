"""The newest part of a daybook that another process writes, followed as it grows: for look-ups by call number."""

from __future__ import annotations

from pathlib import Path

from routebook.core.generation import Folded
from routebook.daybook.frames import HEADER_SIZE, OFFSET_BITS, Damage, ends_call, marks
from routebook.daybook.shelf import Shelf
from routebook.metering.folding import fold

WINDOW = 8 << 20
"""bytes at the end that are gone through at the first look-up, and after a long pause"""

_FAR = 64 << 20
"""bytes behind a call's beginning that are searched for its end"""

_REMEMBERED = 50_000


class Tail:
    """A call that ended a moment ago is found in the window; an older one is searched from where its number was given.

    Calls that ended long ago are shipped, so who does not find one here asks the store.
    """

    def __init__(self, path: Path) -> None:
        self._shelf = Shelf(path)
        self._number, self._at = 0, 0
        self._places: dict[int, int] = {}
        self._older: dict[int, int] = {}

    def read(self, n: int) -> Folded | None:
        """The call as far as it is written; None if it is not here. Raises OSError, DaybookDamaged."""
        self._follow()
        place = self._places.get(n) or self._older.get(n) or self._search(n)
        return fold(self._shelf.call(n, place)) if place else None

    def close(self) -> None:
        self._shelf.close()

    def _follow(self) -> None:
        shelf = self._shelf
        if not self._number or self._behind() > WINDOW:
            if not (numbers := shelf.numbers()):
                return
            self._number = numbers[-1]
            near = shelf.size(self._number) - WINDOW
            self._at = HEADER_SIZE if near <= HEADER_SIZE else shelf.begin_near(self._number, near)
            self._places, self._older = {}, {}
            shelf.drop(numbers[0])
        while True:
            following = shelf.after(self._number)
            for frame in shelf.frames(self._number, self._at):
                self._at = frame.end
                if isinstance(frame, Damage):
                    continue
                place = self._number << OFFSET_BITS | frame.start
                for n, _ in marks(frame):
                    self._places[n] = place
            if len(self._places) > _REMEMBERED:
                self._places, self._older = {}, self._places
            if following is None:
                return
            self._number, self._at = following, HEADER_SIZE
            # What its owner has removed must not go on taking room because it is open here.
            shelf.drop(min(shelf.numbers(), default=following))

    def _behind(self) -> int:
        """Bytes that were written since the last look."""
        number = self._number
        unread = self._shelf.size(number) - self._at
        while (following := self._shelf.after(number)) is not None:
            number = following
            unread += self._shelf.size(number)
        return unread

    def _search(self, n: int) -> int:
        """The place of the last row of a call from before the window, 0 if it cannot be told."""
        shelf = self._shelf
        numbers = shelf.numbers()
        # No row of a call is in a segment that ended before its number was given.
        begun = [number for number in numbers if shelf.header(number).top <= n]
        if not begun:
            return 0
        number, at = begun[-1], shelf.seek(begun[-1], n)
        place, gone = 0, 0
        while number <= self._number:
            for frame in shelf.frames(number, at):
                if number == self._number and frame.start >= self._at:
                    break
                if isinstance(frame, Damage) or frame.top <= n:
                    continue
                gone += frame.end - frame.start
                ended = ends_call(frame, n)
                if ended is not None:
                    place = number << OFFSET_BITS | frame.start
                if ended or gone > _FAR or (not place and gone > WINDOW):
                    return place if ended else 0
            following = shelf.after(number)
            if following is None:
                break
            number, at = following, HEADER_SIZE
        if place:
            self._places[n] = place
        return place
