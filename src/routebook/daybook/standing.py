"""Looks at all daybooks of a data folder again and again, and reads only what is new: for `ledger.completeness`.

Reads in short slices, so that the loop of a busy gateway goes on in between. Of a daybook it remembers which calls are
open and where the chain stands, nothing for each call.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from routebook.core.errors import Unavailable
from routebook.core.generation import Folded, State
from routebook.daybook import folder
from routebook.daybook.frames import HEADER_SIZE, OFFSET_BITS, Damage, Frame, marks
from routebook.daybook.shelf import DaybookDamaged, Shelf
from routebook.daybook.survey import Survey
from routebook.ledger.chain import Head
from routebook.ledger.completeness import WAITING_MAX, Standing
from routebook.metering.folding import fold
from routebook.wire.codec import DecodeError

_SLICE = 128 << 10
"""bytes that are read before others get their turn; about a millisecond"""


class Standings:
    """One for a process; looks one after another."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._books: dict[str, _Followed] = {}
        self._looking = asyncio.Lock()

    def names(self) -> list[str]:
        """Of the daybooks that are there."""
        return [name for name in folder.names(self._home) if folder.segments(folder.root(self._home) / name)]

    async def look(self, cursors: dict[str, int]) -> list[Standing]:
        """As `ledger.completeness.Look`. Raises Unavailable where files cannot be read."""
        async with self._looking:
            names = self.names()
            for name in self._books.keys() - set(names):
                self._books.pop(name).close()
            return [await self._standing(name, cursors.get(name, 0)) for name in names]

    def close(self) -> None:
        while self._books:
            self._books.popitem()[1].close()

    async def _standing(self, name: str, cursor: int) -> Standing:
        try:
            book = self._books.get(name)
            if book is None or book.lost():
                book = await self._anew(name)
            else:
                await book.follow()
                if book.survey.breaks:
                    # Its owner may have taken segments away under our eyes; whoever begins anew sees what is there.
                    book = await self._anew(name)
            return await book.standing(cursor)
        except (OSError, DaybookDamaged) as error:
            if (known := self._books.pop(name, None)) is not None:
                known.close()
            raise Unavailable(f"Daybook {name} cannot be read ({error}).", retry_after=1) from error

    async def _anew(self, name: str) -> _Followed:
        if (old := self._books.pop(name, None)) is not None:
            old.close()
        book = self._books[name] = _Followed(folder.root(self._home) / name)
        await book.follow()
        return book


class _Followed:
    def __init__(self, path: Path) -> None:
        self._shelf = Shelf(path)
        first = self._shelf.numbers()[0]
        self.survey = Survey(self._shelf, first)
        self._begun: dict[int, int] = {}
        """of calls that are open: number -> place of the last frame with a row of it"""
        self._behind = (first, HEADER_SIZE)
        """a segment and offset; no row before it was waiting to be shipped at the last look"""

    def lost(self) -> bool:
        """The segment that was read last is gone, and perhaps others behind it."""
        return self.survey.number not in self._shelf.numbers()

    async def follow(self) -> None:
        survey = self.survey
        whole = False
        while not whole:
            whole = survey.follow(_SLICE)
            places = {n: survey.calls.last(n) or self._begun.get(n, 0) for n in survey.open}
            self._begun = places
            survey.calls.clear()
            await asyncio.sleep(0)

    async def standing(self, cursor: int) -> Standing:
        """Raises Unavailable where too many rows wait to be shipped."""
        survey = self.survey
        name, first, last = self._shelf.path.name, survey.headers[0], survey.seq
        if last - max(cursor, first.seq) > WAITING_MAX:
            raise Unavailable(
                f"{last - cursor} rows of daybook {name} wait to be shipped to the store; ask again when it has them.",
                retry_after=5,
            )
        told = Standing(
            daybook=name,
            after=first.seq,
            rows=survey.rows,
            gaps=max(0, last - first.seq - survey.rows),
            segments=len(survey.links),
            ends=survey.ends,
            strays=survey.strays,
            breaks=survey.findings,
            head=Head(name, last, survey.digest.hex()),
            late=[],
            under_way=[],
        )
        begun = self._begun
        await self._late(cursor, last, told.late)
        for n, place in sorted(begun.items()):
            if (call := self._call(n, place)) is not None:
                told.under_way.append(call)
        self._shelf.drop(self._behind[0])
        return told

    async def _late(self, cursor: int, upto: int, late: list[tuple[int, int, Folded | None]]) -> None:
        """The calls that ended with a row in (cursor, upto]."""
        shelf = self._shelf
        number, at = self._behind
        read = 0
        while True:
            for frame in shelf.frames(number, at):
                if isinstance(frame, Damage):
                    continue
                if frame.seq > upto:
                    return
                read += frame.end - frame.start
                if frame.seq + frame.length - 1 <= cursor:
                    self._behind = (number, frame.end)
                else:
                    self._ends_in(frame, number, cursor, late)
                if read > _SLICE:
                    read = 0
                    await asyncio.sleep(0)
            following = shelf.after(number)
            if following is None or number >= self.survey.number:
                return
            number, at = following, HEADER_SIZE

    def _ends_in(self, frame: Frame, number: int, cursor: int, late: list[tuple[int, int, Folded | None]]) -> None:
        place = number << OFFSET_BITS | frame.start
        for seq, (n, state) in enumerate(marks(frame), frame.seq):
            if seq > cursor and state in State.TERMINAL:
                late.append((seq, state, self._call(n, place)))

    def _call(self, n: int, place: int) -> Folded | None:
        """None where the call has no intent here, or one that cannot be read."""
        try:
            return fold(self._shelf.call(n, place))
        except DecodeError:
            return None

    def close(self) -> None:
        self._shelf.close()
