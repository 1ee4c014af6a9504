"""The daybook that charges made anew are written in: one for a data folder, apart from those of the workers.

It lies in `<home>/repricing/`, so no gateway ever takes it for a book of its own, and repricing neither waits for a
gateway nor makes one wait. Its rows are amendments; each names the call it is about (docs/decisions/0016-repricing.md).
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from routebook.core.errors import Unavailable
from routebook.core.generation import Amendment, Revision
from routebook.core.ids import base62
from routebook.daybook import folder
from routebook.daybook.book import FileDaybook
from routebook.daybook.reading import ReadOnlyDaybook, read_daybooks
from routebook.daybook.segments import Sizes
from routebook.ledger.book import Book
from routebook.ledger.reprice import PAGE, ship
from routebook.observe.clock import Dice, SystemDice
from routebook.store.port import Store
from routebook.store.sheets import difference_in

_NAMES = 62**3


def home_of(home: Path) -> Path:
    """The folder that is to this daybook what the data folder is to the workers'."""
    return home / "repricing"


def read_revisions(home: Path) -> list[ReadOnlyDaybook]:
    """The daybooks of revisions of a data folder; empty where nothing was ever priced anew."""
    return read_daybooks(home_of(home))


class RevisionBook:
    """Writes revisions and brings them into force. One process at a time: it holds a lock from `take` to `close`."""

    def __init__(self, home: Path, name: str, lock: folder.Lock) -> None:
        self.name = name
        self._home = home_of(home)
        self._lock = lock
        self._book: FileDaybook | None = None
        self.written = 0

    @classmethod
    async def take(cls, home: Path, store: Store, dice: Dice | None = None) -> RevisionBook:
        """The book of that data folder, begun where there is none; what a killed run left is brought into force.

        Raises DaybookLocked while another process has it, Unavailable if the store is away.
        """
        own = home_of(home)
        folder.root(own).mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = folder.Lock(folder.root(own) / "lock")
        lock.acquire(0)
        try:
            name = await _usable(own, store) or await _fresh(home, store, dice or SystemDice())
            book = cls(home, name, lock)
            await book.ship(store)
        except BaseException:
            lock.release()
            raise
        return book

    async def write(self, revisions: list[Revision]) -> None:
        """Append them. They are on the disk, and in nobody's record yet, when this returns. Raises Unavailable."""
        if self._book is None:
            self._book = await asyncio.to_thread(
                FileDaybook, self._home, left_behind=self.name, durability="power", sizes=Sizes(reserve_bytes=0)
            )
        book = self._book
        for each in revisions:
            book.note(each.id, book.next_n(), Amendment(at_ns=each.at_ns, revision=each))
        book.rows(after=0, limit=1)  # writes what is pending
        if book.trouble is not None:
            raise Unavailable(f"The daybook of revisions cannot be written: {book.trouble}. No new charge is in force.")
        self.written += len(revisions)

    async def ship(self, store: Store) -> int:
        """Bring everything written into force; how many rows were carried to the store. Raises Unavailable."""
        await self._end_writing()
        if not folder.segments(folder.root(self._home) / self.name):
            return 0
        with ReadOnlyDaybook(self._home, self.name) as book:
            return await ship(book, store)

    async def close(self) -> None:
        await self._end_writing()
        self._lock.release()

    async def _end_writing(self) -> None:
        if self._book is not None:
            book, self._book = self._book, None
            await book.aclose()


class Follower:
    """Tells the balances of a running gateway what was charged anew meanwhile, by whichever process.

    A run that comes into force in the very moment between `begin` and the loading of the balances counts twice in them
    until the gateway starts again; the store counts it once.
    """

    def __init__(self, home: Path, store: Store) -> None:
        self._home = home_of(home)
        self._store = store
        self._seen: dict[str, int] = {}

    async def begin(self) -> None:
        """To be called before the balances are loaded from the store. Raises Unavailable."""
        for name in folder.names(self._home):
            self._seen[name] = await self._store.cursor(name)

    async def follow(self, book: Book) -> int:
        """Post what came into force since; how many revisions. Raises Unavailable, OSError, DaybookDamaged."""
        posted = 0
        for name in folder.names(self._home):
            cursor, seen = await self._store.cursor(name), self._seen.get(name, 0)
            if cursor <= seen:
                continue
            with ReadOnlyDaybook(self._home, name) as rows:
                while found := rows.rows(seen, min(PAGE, cursor - seen)):
                    # Read before the first is posted, and noted with the page: what fails later posts nothing twice.
                    differences = [difference for row in found if (difference := difference_in(row.blob)) is not None]
                    book.shipped(differences, own=False)
                    posted += len(differences)
                    seen = self._seen[name] = found[-1].seq
                    await asyncio.sleep(0)
            self._seen[name] = cursor
        return posted


async def _usable(own: Path, store: Store) -> str | None:
    """The name of the book that is there. One with fewer rows than the store has of it (a copy put back, a disk that
    forgot) is not written on: its next rows would be taken for old ones."""
    for book in read_daybooks(own):
        with book:
            if book.highest()[0] >= await store.cursor(book.name):
                return book.name
    return None


async def _fresh(home: Path, store: Store, dice: Dice) -> str:
    """A new book's folder, under a name that neither a worker's daybook here nor any that the store knows has."""
    taken = {*folder.names(home), *folder.names(home_of(home))}
    while True:
        name = base62(dice.roll(64) % _NAMES, 3)
        if name not in taken and not await store.cursor(name):
            (folder.root(home_of(home)) / name).mkdir(mode=0o700, exist_ok=True)
            return name
