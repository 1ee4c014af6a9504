"""Watches all daybooks of a data folder: calls are given out as they end, to whoever wants to see them live."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from routebook.core.generation import Folded, Row, State
from routebook.daybook import folder
from routebook.daybook.course import Course
from routebook.daybook.frames import HEADER_SIZE, Damage
from routebook.daybook.shelf import Shelf
from routebook.daybook.tail import Tail
from routebook.metering.folding import fold

_PAGE = 1000
_OPEN_AT_HAND = 10_000
"""calls under way whose rows are kept; of others the daybook is asked when they end"""
_NEAR_THE_END = 1 << 20


class Watch:
    """From the moment it is made on. Daybooks that are begun later are watched from their beginning."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._books = {name: _Book(home, name, from_now=True) for name in _names(home)}

    def ended(self) -> list[Folded]:
        """Calls that ended since the last time, in the order of their ends within a daybook. Raises DaybookDamaged."""
        for name in _names(self._home):
            if name not in self._books:
                self._books[name] = _Book(self._home, name, from_now=False)
        return [call for book in self._books.values() for call in book.ended()]

    def close(self) -> None:
        for book in self._books.values():
            book.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Book:
    def __init__(self, home: Path, name: str, *, from_now: bool) -> None:
        path = folder.root(home) / name
        self._shelf = Shelf(path)
        self._course = Course(self._shelf)
        self._tail = Tail(path)
        self._under_way: dict[int, list[Row]] = {}
        self._seq = self._last() if from_now else 0

    def ended(self) -> list[Folded]:
        found: list[Folded] = []
        while rows := self._course.rows(self._seq, _PAGE):
            self._seq = rows[-1].seq
            for row in rows:
                if (call := self._take(row)) is not None:
                    found.append(call)
        # Nobody comes back for a row of an older file here, and its owner may want to be rid of it.
        self._shelf.drop(self._course.number)
        return found

    def close(self) -> None:
        self._shelf.close()
        self._tail.close()

    def _take(self, row: Row) -> Folded | None:
        if row.state == State.INTENT:
            if len(self._under_way) >= _OPEN_AT_HAND:
                self._under_way.clear()
            self._under_way[row.n] = [row]
        elif row.state == State.PROGRESS:
            if row.n in self._under_way:
                self._under_way[row.n][1:] = [row]
        elif row.state in State.TERMINAL:
            rows = self._under_way.pop(row.n, None)
            return fold([*rows, row]) if rows is not None else self._tail.read(row.n)
        return None

    def _last(self) -> int:
        """The seq of the last row that is there now."""
        number = self._shelf.numbers()[-1]
        seq = self._shelf.header(number).seq
        near = self._shelf.size(number) - _NEAR_THE_END
        at = HEADER_SIZE if near <= HEADER_SIZE else self._shelf.begin_near(number, near)
        for frame in self._shelf.frames(number, at):
            if not isinstance(frame, Damage):
                seq = frame.seq + frame.length - 1
        return seq


def _names(home: Path) -> list[str]:
    return [name for name in folder.names(home) if folder.segments(folder.root(home) / name)]
