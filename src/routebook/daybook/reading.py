"""Reads the daybooks of a data folder from any process, beside a running gateway or without one. It never writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from routebook.core.generation import Folded, Row
from routebook.daybook import folder
from routebook.daybook.course import Course
from routebook.daybook.frames import HEADER_SIZE, Damage
from routebook.daybook.shelf import DaybookDamaged, Shelf
from routebook.daybook.survey import Survey
from routebook.ledger.chain import Break, Link
from routebook.metering.folding import fold

_NEAR_THE_END = 1 << 20
_SET_ASIDE = frozenset({".damaged", ".torn"})


class ReadOnlyDaybook:
    """One daybook as it stands on the disk: committed rows only. Use as a context manager, or `close()` it.

    Segments that its owner unlinks meanwhile stay readable here. Raises FileNotFoundError where no daybook is, and
    DaybookDamaged, here or in any verb, where a file is none of a daybook's.
    """

    def __init__(self, home: Path, name: str) -> None:
        self.name = name
        self.path = folder.root(home) / name
        self._shelf = Shelf(self.path)
        self._course = Course(self._shelf)
        self._survey: Survey | None = None
        numbers = self._shelf.numbers()
        if not numbers:
            raise FileNotFoundError(f"there is no daybook in {self.path}")
        try:
            for number in reversed(numbers):
                self._shelf.header(number)
        except FileNotFoundError:
            pass  # Just unlinked, and so are all before it.
        except BaseException:
            self._shelf.close()
            raise
        self._first = self._shelf.first()

    def rows(self, after: int, limit: int) -> list[Row]:
        """Rows with seq > after, in order, at most `limit`."""
        return self._course.rows(after, limit)

    def scan(self) -> Iterator[Folded]:
        """Every call folded, in order of n; calls whose intent is not there any more are left out."""
        for rows in self.calls():
            folded = fold(rows)
            if folded is not None:
                yield folded

    def calls(self) -> Iterator[list[Row]]:
        """The rows of every call as they are, in order of n: for who proves the book."""
        for n in self._surveyed().calls.numbers():
            yield self.call(n)

    def read(self, n: int) -> Folded | None:
        """The call of that number, None if there is none."""
        return fold(self.call(n))

    def call(self, n: int) -> list[Row]:
        """The rows of one call number as they are, in order."""
        return self._shelf.call(n, self._surveyed().calls.last(n))

    def unfinished(self) -> list[int]:
        """Numbers of the calls without an outcome: under way, or left by a gateway that died and not started since."""
        return sorted(self._surveyed().open)

    def findings(self) -> list[str]:
        """What is not as it was written: damages, gaps, frames that do not continue the hash chain. A sentence each."""
        return list(self._surveyed().findings)

    def breaks(self) -> list[Break]:
        """The same, with what kind of break each is."""
        return list(self._surveyed().breaks)

    def links(self) -> list[Link]:
        """The segments, in order, with what each of them holds and where its chain ends."""
        return self._surveyed().links

    def set_aside(self) -> list[str]:
        """Names of the files that were taken out of the series: damaged ones, and a last one that never was whole."""
        return sorted(each.name for each in self.path.iterdir() if each.suffix in _SET_ASIDE)

    def digest_at(self, seq: int) -> str | None:
        """Hex digest of the commit that ended with that row; None if no commit here did."""
        numbers = [number for number in self._shelf.numbers() if number >= self._first]
        for number in reversed(numbers):
            header = self._shelf.header(number)
            if header.seq == seq:
                return header.digest.hex()
            if header.seq > seq:
                continue
            for frame in self._shelf.frames(number, HEADER_SIZE):
                if not isinstance(frame, Damage) and frame.seq + frame.length - 1 == seq:
                    return frame.digest.hex()
            return None
        return None

    def begins(self) -> tuple[int, int]:
        """(seq, n): rows up to that seq, and calls below that number, may have left with segments past retention."""
        header = self._shelf.header(self._first)
        return header.seq, header.top

    def highest(self) -> tuple[int, int]:
        """(seq of the last row, highest call number given out before it was written); 0 where the book is empty."""
        number = self._first
        while (following := self._shelf.after(number)) is not None:
            number = following
        header = self._shelf.header(number)
        seq, top = header.seq, header.top
        near = self._shelf.size(number) - _NEAR_THE_END
        at = HEADER_SIZE if near <= HEADER_SIZE else self._shelf.begin_near(number, near)
        for frame in self._shelf.frames(number, at):
            if not isinstance(frame, Damage):
                seq, top = frame.seq + frame.length - 1, frame.top
        return seq, top - 1

    def close(self) -> None:
        self._shelf.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _surveyed(self) -> Survey:
        if self._survey is None:
            self._survey = Survey(self._shelf, self._first)
        self._survey.follow()
        return self._survey


def read_daybooks(home: Path) -> list[ReadOnlyDaybook]:
    """All daybooks of the data folder, in order of name; empty where no gateway ever ran.

    Raises DaybookDamaged for a folder with files of an older form: they are not read, and not passed over either.
    """
    found: list[ReadOnlyDaybook] = []
    try:
        for name in folder.names(home):
            path = folder.root(home) / name
            # A gateway that was killed while making its folder leaves an empty one, which is no daybook yet.
            if folder.segments(path):
                found.append(ReadOnlyDaybook(home, name))
            elif (old := folder.older_form(path)) is not None:
                raise DaybookDamaged(folder.told_of_older_form(old))
    except BaseException:
        for book in found:
            book.close()
        raise
    return found
