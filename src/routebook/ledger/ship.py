"""The shipper: carries a daybook's new rows into the store, each row once, and puts a book together at start-up.

The cursor moves in the transaction that writes what it stands for. Whoever is killed at any point therefore ships the
same rows again from the same cursor, and the store takes a batch whole or not at all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from routebook.core.errors import Unavailable
from routebook.core.generation import Folded, Row, State
from routebook.ledger.book import Book
from routebook.ledger.posting import Batch
from routebook.store.port import Amended, Posting, Sheet, Store
from routebook.wire.codec import pack

_log = logging.getLogger("routebook.ledger")

BATCH = 4096
"""rows in one transaction"""
EVERY = 0.5
"""seconds between two looks at the daybook"""
PATIENCE = 5.0
"""seconds that a shutdown waits for a store that is away"""
_SLICE = 256
"""rows taken up before other work gets its turn"""
_OPEN_AT_HAND = 10_000
"""open calls whose intent is kept in memory; above that the daybook is asked again"""


class Source(Protocol):
    """What the ledger reads of a daybook; `daybook.port.Daybook` and its read-only sibling have it."""

    @property
    def name(self) -> str: ...

    def rows(self, after: int, limit: int) -> list[Row]: ...

    def read(self, n: int) -> Folded | None:
        """The call of that number; of an open call also when its rows so far were `shipped`."""


class Shippable(Source, Protocol):
    """A daybook that is told what the store has."""

    def shipped(self, seq: int) -> None:
        """The store has every row up to `seq`, and keeps it: of calls that have ended. Of a call that is open only the
        cursor has moved, its intent and progress are needed once more when it ends: `read` must go on giving it.
        An amendment needs nothing of its call. Called after each batch, and once with the first look."""


class _Taker:
    """Takes rows up in order and puts ended calls together."""

    def __init__(self, daybook: Source) -> None:
        self._daybook = daybook
        self._intents: dict[int, bytes] = {}
        """of calls that are open, by number, so that they need not be read and packed again when they end"""
        self._progress: dict[int, bytes] = {}

    def take(self, rows: list[Row], batch: Batch, amendments: list[Amended]) -> None:
        """Calls that end with one of these rows go to the batch."""
        intents, progress = self._intents, self._progress
        ends: list[Row] = []
        opened: list[bytes] = []
        begun, terminal, pop = State.INTENT, State.TERMINAL, intents.pop
        for row in rows:
            state = row.state
            if state == begun:
                intents[row.n] = row.blob
            elif state in terminal:
                intent = pop(row.n, b"") or self._opened(row.n)
                if intent:
                    ends.append(row)
                    opened.append(intent)
            elif state == State.PROGRESS:
                progress[row.n] = row.blob
            else:
                amendments.append(Amended(batch.daybook, row.n, row.seq, row.blob))
        if ends:
            batch.add(ends, opened, progress)
        if len(intents) > _OPEN_AT_HAND:
            intents.clear()
            progress.clear()

    def finish(self, batch: Batch) -> None:
        """Nothing more comes into this batch."""
        batch.finish(self._progress)

    def _opened(self, n: int) -> bytes:
        """The intent of a call that was opened before what was taken here; its last progress goes to the others.

        Empty where the daybook has lost it (a damaged file): whose money the call was is not known any more, and the
        calls after it must not wait for that. `ledger verify` goes on naming it.
        """
        folded = self._daybook.read(n)
        if folded is None:
            _log.error("call %d of daybook %s has an end and no beginning: it is not shipped", n, self._daybook.name)
            return b""
        if folded.progress is not None:
            self._progress[n] = pack(folded.progress)
        return pack(folded.intent)


class Carry(Protocol):
    """`Store.ship`, or what does the same and more."""

    async def __call__(
        self,
        daybook: str,
        upto: int,
        generations: Sequence[Sheet],
        postings: Sequence[Posting],
        amendments: Sequence[Amended] = (),
    ) -> None: ...


class Shipper:
    """Ships one daybook. `trouble` says why it is behind, None while it is not."""

    def __init__(
        self,
        daybook: Shippable,
        store: Store,
        every: float = EVERY,
        patience: float = PATIENCE,
        carry: Carry | None = None,
    ) -> None:
        """`carry` ships instead of the store itself: whoever has to know what was posted (`Leases.ship`)."""
        self._daybook = daybook
        self._store = store
        self._carry = carry
        self._every = every
        self._patience = patience
        self._taker = _Taker(daybook)
        self._told = -1
        self.trouble: str | None = None

    async def ship_once(self) -> int:
        """Ship the next rows, at most `BATCH`; how many they were, 0 = nothing new. Raises Unavailable."""
        name = self._daybook.name
        cursor = await self._store.cursor(name)
        self._tell(cursor)
        batch = Batch(name)
        amendments: list[Amended] = []
        upto, count = cursor, 0
        while count < BATCH and (rows := self._daybook.rows(after=upto, limit=min(_SLICE, BATCH - count))):
            self._taker.take(rows, batch, amendments)
            upto, count = rows[-1].seq, count + len(rows)
            if len(rows) < _SLICE:
                break
            await asyncio.sleep(0)
        if count:
            self._taker.finish(batch)
            await (self._carry or self._store.ship)(name, upto, batch.sheets, batch.postings(), amendments)
            self._tell(upto)
        return count

    def _tell(self, seq: int) -> None:
        if seq != self._told:
            self._told = seq
            self._daybook.shipped(seq)

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
        after, taker = await store.cursor(daybook.name), _Taker(daybook)
        while rows := daybook.rows(after=after, limit=BATCH):
            after, batch = rows[-1].seq, Batch(daybook.name)
            taker.take(rows, batch, [])
            taker.finish(batch)
            for posting in batch.postings():
                book.replay(posting)
                replayed += posting.requests
    return replayed
