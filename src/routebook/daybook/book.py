"""The file-backed daybook: one SQLite file, one owner, one commit per loop tick for everything that tick produced.

`open`, `close` and `note` put a row on a list; the first one of a tick asks the loop to flush after the tick's other
callbacks. The flush is one statement and wakes everybody who waits. There is no thread hop: a busy loop would starve a
writer thread. Every waiter has a future of its own, since cancelling a task cancels the future it awaits.

When a write fails (disk full, IO error) the waiting `open`s get Unavailable and new ones are refused; `close`s stay
listed and are tried again, because their money is spent already. Nothing is written in part: a flush is one
transaction.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from routebook.core.catalog import Accounting
from routebook.core.errors import Unavailable
from routebook.core.generation import Amendment, Folded, Intent, Outcome, Progress, Row, State
from routebook.daybook import folder, orphans, rows
from routebook.daybook.keeper import Keeper
from routebook.metering.folding import fold
from routebook.observe.clock import Dice, SystemDice
from routebook.wire import codec

RETRY_EVERY = 0.25
"""seconds between two tries of a failed write"""

GIVE_UP_AFTER = 5.0
"""seconds that a `close` waits for a failing disk"""

MAX_NOTES_KEPT = 10_000
"""rows nobody waits for that a failing disk may pile up; later ones are dropped"""


class NotOpen(Exception):
    """The call is not open in this daybook: it was closed already, or never opened."""


class _Pending:
    """A row on the list. `waiter` None: nobody waits. `deadline` None: not tried again after a failure."""

    __slots__ = ("deadline", "entry", "waiter")

    def __init__(
        self, entry: rows.Entry, waiter: asyncio.Future[int] | None = None, deadline: float | None = None
    ) -> None:
        self.entry = entry
        self.waiter = waiter
        self.deadline = deadline


class FileDaybook:
    """One worker's book of original entry in `<home>/daybooks/<name>/`. Implements `daybook.port.Daybook`.

    The constructor waits up to `wait` seconds for the folder's lock (raises DaybookLocked), and writes `interrupted`
    outcomes for all calls the last owner left open; then the book accepts. All verbs belong to one event loop.
    """

    def __init__(
        self,
        home: Path,
        *,
        durability: Literal["process", "power"] = "process",
        accounting: Accounting = Accounting(),
        wait: float = 10.0,
        dice: Dice | None = None,
        slots: int = 1,
        left_behind: str | None = None,
    ) -> None:
        """`slots`: how many processes the gateway has. `left_behind`: take over that daybook, at once or not at all."""
        if left_behind is not None:
            self.name, self._lock = left_behind, folder.adopt(home, left_behind)
        else:
            self.name, self._lock = folder.claim(home, wait, dice or SystemDice(), slots)
        try:
            self.path = folder.segment(home, self.name)
            folder.create_private(self.path)
            self._conn = _connect(self.path, durability)
            self._seq, last = rows.highest(self._conn)
            self._next = last + 1
            self.recovered = self._recover(accounting)
            """how many calls of the last owner were marked interrupted"""
            # From here on the loop owns the connection, and the loop never sleeps on a lock.
            self._conn.execute("PRAGMA busy_timeout = 0")
            self._keeper = Keeper(self.path, sync=durability == "process")
        except BaseException:
            self._lock.release()
            raise
        self._open: set[int] = set()
        self._pending: list[_Pending] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scheduled: asyncio.Handle | None = None
        self._down: str | None = None
        self._tried = 0.0
        self._closed = False
        self.commits = 0

    def next_n(self) -> int:
        n = self._next
        self._next = n + 1
        return n

    @property
    def trouble(self) -> str | None:
        """Why the book cannot be written at the moment; None if all is well."""
        return self._keeper.lost or self._down

    @property
    def open_calls(self) -> int:
        """Calls with an intent and without an outcome."""
        return len(self._open)

    async def open(self, intent: Intent) -> None:
        """Durable when it returns. Raises Unavailable if the book cannot be written.

        A caller that is cancelled in here may have an intent in the book: it closes it like any other.
        """
        loop = asyncio.get_running_loop()
        self._check_writable(loop)
        n = intent.n
        if n in self._open:
            raise NotOpen(f"call {n} is open already")
        self._open.add(n)
        waiter: asyncio.Future[int] = loop.create_future()
        self._append(loop, _Pending((n, intent.id, State.INTENT, codec.pack(intent)), waiter))
        try:
            await waiter
        except Unavailable:
            self._open.discard(n)
            raise

    async def close(self, id: str, n: int, state: int, outcome: Outcome) -> int:
        """Write the terminal row; durable when it returns; gives its sequence.

        Raises NotOpen for a call that is closed already, Unavailable when the disk failed for five seconds; then the
        call is still open and may be closed again. A caller that is cancelled in here leaves the row to be written.
        """
        if state not in State.TERMINAL:
            raise ValueError(f"{state} is not a terminal state")
        if n not in self._open:
            raise NotOpen(f"call {n} is not open; it has its outcome, or never had an intent")
        if self._closed:
            raise Unavailable("The gateway has shut its daybook; the call is marked interrupted at the next start.")
        loop = asyncio.get_running_loop()
        blob = codec.pack(outcome)
        self._open.discard(n)
        waiter: asyncio.Future[int] = loop.create_future()
        self._append(loop, _Pending((n, id, state, blob), waiter, loop.time() + GIVE_UP_AFTER))
        try:
            return await waiter
        except Unavailable:
            self._open.add(n)
            raise

    def note(self, id: str, n: int, row: Progress | Amendment) -> None:
        """Append a row that nobody waits for. Progress of a call that is not open any more is dropped."""
        state = State.PROGRESS if isinstance(row, Progress) else State.AMENDMENT
        if state == State.PROGRESS and n not in self._open:
            return
        self._append(asyncio.get_running_loop(), _Pending((n, id, state, codec.pack(row))))

    def read(self, n: int) -> Folded | None:
        """The call of that number with everything appended so far; None if there is none."""
        self._flush_now()
        return fold(rows.of_call(self._conn, n))

    def rows(self, after: int, limit: int) -> list[Row]:
        """Committed rows with seq > after, in order, at most `limit`."""
        self._flush_now()
        return rows.after(self._conn, after, limit)

    def scan(self) -> Iterator[Folded]:
        """Every call, in order of n."""
        self._flush_now()
        return rows.folds(self._conn)

    async def aclose(self) -> None:
        """Write what is pending, copy the log into the database, release the lock. Rows that cannot be written any
        more raise Unavailable where they are awaited."""
        if self._closed:
            return
        self._closed = True
        self._cancel_schedule()
        self._flush()  # also where the last try failed: this is the last chance
        self._cancel_schedule()
        for pending in self._pending:
            _reject(pending, Unavailable("The gateway is shutting down and its disk cannot be written; try again."))
        self._pending = []
        await asyncio.to_thread(self._keeper.stop)
        try:
            self._conn.execute("PRAGMA busy_timeout = 1000")
            self._conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error:
            pass  # The log holds the rows; the next owner reads it.
        finally:
            self._conn.close()
            self._lock.release()

    def _check_writable(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._closed:
            raise Unavailable("The gateway is shutting down; try again.")
        if self._keeper.lost is not None:
            raise Unavailable(f"No call is taken: {self._keeper.lost}. Restart the gateway after repairing the disk.")
        # Between two tries every call is refused; after the pause the next one is the try.
        if self._down is not None and loop.time() < self._tried + RETRY_EVERY:
            raise _unwritable(self._down)

    def _append(self, loop: asyncio.AbstractEventLoop, pending: _Pending) -> None:
        self._loop = loop
        self._pending.append(pending)
        if self._scheduled is None:
            self._scheduled = loop.call_soon(self._flush)

    def _cancel_schedule(self) -> None:
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None

    def _flush_now(self) -> None:
        if self._pending and self._down is None and not self._closed:
            self._cancel_schedule()
            self._flush()

    def _flush(self) -> None:
        self._scheduled = None
        batch = self._pending
        if not batch:
            return
        self._pending = []
        if self._keeper.lost is not None:
            self._failed(batch, self._keeper.lost)
            return
        seq = self._seq
        try:
            if self._keeper.nearly_copied:
                self._keeper.nearly_copied = False
                self._conn.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            rows.insert(self._conn, seq + 1, [pending.entry for pending in batch])
        except sqlite3.Error as error:
            self._failed(batch, str(error))
            return
        self._seq = seq + len(batch)
        self._down = None
        self.commits += 1
        self._keeper.touch()
        for pending in batch:
            seq += 1
            waiter = pending.waiter
            if waiter is not None and not waiter.done():
                waiter.set_result(seq)

    def _failed(self, batch: list[_Pending], reason: str) -> None:
        loop = self._loop
        assert loop is not None  # a batch has come through _append
        self._down, self._tried = reason, loop.time()
        kept: list[_Pending] = []
        notes = 0
        for pending in batch:
            if pending.waiter is None:
                notes += 1
                if notes <= MAX_NOTES_KEPT:
                    kept.append(pending)
            elif pending.deadline is not None and self._tried < pending.deadline:
                kept.append(pending)
            else:
                _reject(pending, _unwritable(reason))
        self._pending = kept
        if kept:
            self._scheduled = loop.call_later(RETRY_EVERY, self._flush)

    def _recover(self, accounting: Accounting) -> int:
        """Give every open call its `interrupted` outcome, before anything is accepted."""
        entries: list[rows.Entry] = []
        for n in rows.unfinished(self._conn):
            call = fold(rows.of_call(self._conn, n))
            if call is not None:
                outcome = orphans.interrupted(call, accounting)
                entries.append((n, call.intent.id, State.INTERRUPTED, codec.pack(outcome)))
        if entries:
            rows.insert(self._conn, self._seq + 1, entries)
            self._seq += len(entries)
        return len(entries)


def _connect(path: Path, durability: str) -> sqlite3.Connection:
    conn = sqlite3.connect(
        path, isolation_level=None, timeout=5.0, cached_statements=2 * rows.WIDEST, check_same_thread=False
    )
    conn.execute("PRAGMA journal_mode = WAL")
    conn.execute("PRAGMA wal_autocheckpoint = 0")
    conn.execute("PRAGMA synchronous = " + ("FULL" if durability == "power" else "NORMAL"))
    for statement in rows.SCHEMA:
        conn.execute(statement)
    return conn


def _unwritable(reason: str) -> Unavailable:
    return Unavailable(
        f"The daybook cannot be written ({reason}), so no call is taken; try again shortly.", retry_after=1
    )


def _reject(pending: _Pending, fault: Unavailable) -> None:
    if pending.waiter is not None and not pending.waiter.done():
        pending.waiter.set_exception(fault)
