"""The shipper: carries a daybook's new rows into the store, each row once, and puts a book together at start-up.

The cursor moves in the transaction that writes what it stands for. Whoever is killed at any point therefore ships the
same rows again from the same cursor, and the store takes a batch whole or not at all.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from routebook.core.errors import Unavailable
from routebook.core.generation import Folded, Row, State
from routebook.ledger.book import Book
from routebook.ledger.posting import posting_of, shipped_of, stored_of
from routebook.store.port import Posting, Store, Stored

_log = logging.getLogger("routebook.ledger")

BATCH = 1000
"""rows in one transaction"""
EVERY = 0.5
"""seconds between two looks at the daybook"""
PATIENCE = 5.0
"""seconds that a shutdown waits for a store that is away"""
_SLICE = 50
"""calls folded before other work gets its turn"""


class Source(Protocol):
    """What the ledger reads of a daybook; `daybook.port.Daybook` and its read-only sibling have it."""

    @property
    def name(self) -> str: ...

    def rows(self, after: int, limit: int) -> list[Row]: ...

    def read(self, n: int) -> Folded | None: ...


class Shipper:
    """Ships one daybook. `trouble` says why it is behind, None while it is not."""

    def __init__(self, daybook: Source, store: Store, every: float = EVERY, patience: float = PATIENCE) -> None:
        self._daybook = daybook
        self._store = store
        self._every = every
        self._patience = patience
        self.trouble: str | None = None

    async def ship_once(self) -> int:
        """Ship the next rows, at most `BATCH`; how many they were, 0 = nothing new. Raises Unavailable."""
        name = self._daybook.name
        cursor = await self._store.cursor(name)
        rows = self._daybook.rows(after=cursor, limit=BATCH)
        if not rows:
            return 0
        calls: dict[int, list[Row]] = {}
        ended: set[int] = set()
        # An amendment follows the outcome: without the outcome in this batch, its posting is in the store already.
        touched: set[int] = set()
        for row in rows:
            calls.setdefault(row.n, []).append(row)
            if row.state in State.TERMINAL:
                ended.add(row.n)
                touched.add(row.n)
            elif row.state == State.AMENDMENT:
                touched.add(row.n)
        generations: list[Stored] = []
        postings: list[Posting] = []
        for count, n in enumerate(sorted(touched), start=1):
            if (whole := shipped_of(name, calls[n])) is not None:
                generations.append(whole[0])
                postings.append(whole[1])
                continue
            folded = self._daybook.read(n)
            if folded is None or folded.outcome is None:
                raise AssertionError(f"call {n} of daybook {name} has a terminal row or an amendment but no outcome")
            generations.append(stored_of(name, folded))
            if n in ended:
                postings.append(posting_of(folded.intent, folded.outcome))
            if count % _SLICE == 0:
                await asyncio.sleep(0)
        await self._store.ship(name, rows[-1].seq, generations, postings)
        return len(rows)

    async def run(self, stop: asyncio.Event) -> None:
        """Ship until `stop` is set, then whatever is left.

        Raises Unavailable if the store could not take the rest: the rows wait in the daybook, and the process should
        end with a failure so that somebody looks.
        """
        while not stop.is_set():
            shipped = await self._try()
            if shipped < BATCH:
                try:
                    await asyncio.wait_for(stop.wait(), self._every)
                except TimeoutError:
                    continue
        deadline = asyncio.get_running_loop().time() + self._patience
        while True:
            shipped = await self._try()
            if self.trouble is None and not shipped:
                return
            if self.trouble is not None:
                if asyncio.get_running_loop().time() >= deadline:
                    raise Unavailable(f"Rows of daybook {self._daybook.name} are not in the store yet: {self.trouble}")
                await asyncio.sleep(min(0.25, self._patience))

    async def _try(self) -> int:
        try:
            shipped = await self.ship_once()
        except Unavailable as fault:
            if self.trouble is None:
                _log.warning("shipping of daybook %s waits: %s", self._daybook.name, fault.message)
            self.trouble = fault.message
            return 0
        except Exception as error:
            # A batch that cannot be shipped must not end the shipper in silence.
            if self.trouble is None:
                _log.exception("shipping of daybook %s failed", self._daybook.name)
            self.trouble = f"{type(error).__name__} while shipping; the log has the details"
            return 0
        if self.trouble is not None:
            _log.info("shipping of daybook %s goes on", self._daybook.name)
            self.trouble = None
        return shipped


async def restore(book: Book, store: Store, daybooks: list[Source]) -> int:
    """Fill an empty book: the store's days, and every ended call that a daybook has and the store has not.

    To be called before the first call is accepted and before a shipper runs; gives the number of calls replayed.
    """
    book.load(await store.spend())
    replayed = 0
    for daybook in daybooks:
        after = await store.cursor(daybook.name)
        while rows := daybook.rows(after=after, limit=BATCH):
            after = rows[-1].seq
            for row in rows:
                if row.state not in State.TERMINAL:
                    continue
                folded = daybook.read(row.n)
                if folded is None or folded.outcome is None:
                    raise AssertionError(f"call {row.n} of daybook {daybook.name} ended without an outcome")
                book.replay(posting_of(folded.intent, folded.outcome))
                replayed += 1
    return replayed
