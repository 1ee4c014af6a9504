"""The file-backed daybook: one series of append-only segments, one owner, one write per loop tick for everything that
tick produced.

`open`, `close` and `note` put a row on a list; the first one of a tick asks the loop to flush after the tick's other
callbacks. The flush makes one frame of all rows, writes it and wakes everybody who waits. There is no thread hop: a
busy loop would starve a writer thread. Every waiter has a future of its own, since cancelling a task cancels the future
it awaits.

When a write fails (disk full, IO error) the waiting `open`s get Unavailable and new ones are refused; `close`s stay
listed and are tried again, because their money is spent already. Nothing is written in part: a frame is whole or it is
taken back before the next one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from routebook.core.catalog import Accounting
from routebook.core.errors import Unavailable
from routebook.core.generation import Amendment, Folded, Intent, Outcome, Progress, Row, State
from routebook.daybook import folder, orphans, recovery
from routebook.daybook.calls import BITS, MASK, Calls
from routebook.daybook.course import Course
from routebook.daybook.frames import OFFSET_BITS, Header, pack_row, seal
from routebook.daybook.keeper import Keeper
from routebook.daybook.reading import ReadOnlyDaybook
from routebook.daybook.recent import Recent
from routebook.daybook.segments import Sizes, begin
from routebook.daybook.shelf import Shelf
from routebook.metering.folding import fold
from routebook.observe.clock import Dice, SystemClock, SystemDice
from routebook.observe.log import log
from routebook.wire.codec import pack

RETRY_EVERY = 0.25
"""seconds between two tries of a failed write"""

GIVE_UP_AFTER = 5.0
"""seconds that a `close` waits for a failing disk"""

MAX_NOTES_KEPT = 10_000
"""rows nobody waits for that a failing disk may pile up; later ones are dropped"""

_TERMINAL = State.TERMINAL
_ROWS_AT_ONCE = 500
"""rows in one frame of those that mark orphans"""

Waiter = asyncio.Future[int]
_Entry = tuple[int, str, int, bytes, Waiter | None]
"""n, id, state, blob, who waits: a row that has no sequence yet"""


class NotOpen(Exception):
    """The call is not open in this daybook: it was closed already, or never opened."""


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
        cursors: Mapping[str, int] = {},
        sizes: Sizes = Sizes(),
    ) -> None:
        """`slots`: how many processes the gateway has. `left_behind`: take over that daybook, at once or not at all.
        `cursors`: by name, the last row of each daybook that the store has. Raises DaybookDamaged, OSError."""
        if left_behind is not None:
            self.name, self._lock = left_behind, folder.adopt(home, left_behind)
        else:
            self.name, self._lock = folder.claim(home, wait, dice or SystemDice(), slots)
        self._home = home
        self._folder = folder.root(home) / self.name
        self._power = durability == "power"
        self._shelf = Shelf(self._folder)
        self._course = Course(self._shelf)
        self._recent = Recent()
        self._clock = SystemClock()
        try:
            shipped = cursors.get(self.name, 0)
            survey = recovery.survey_of(self._shelf, shipped)
            self._segment, self._seq, self._next = recovery.resume(self._shelf, survey, shipped, self._clock.now_ns())
            self._digest = survey.digest if survey is not None else self._shelf.header(1).digest
            self._calls = survey.calls if survey is not None else Calls()
            self._headers = survey.headers if survey is not None else []
            if not self._headers or self._headers[-1].number != self._segment.number:
                self._headers.append(self._shelf.header(self._segment.number))
        except BaseException:
            self._shelf.close()
            self._lock.release()
            raise
        damaged = survey.damaged if survey is not None else set()
        self._keeper = Keeper(self._folder, self._segment, sizes, damaged, sync=not self._power)
        self._open: set[int] = set()
        self._pending: list[_Entry] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._future: Callable[[], Waiter] | None = None
        self._scheduled: asyncio.Handle | None = None
        self._deadlines: dict[int, float] = {}
        """until when the `close` of that call is tried again"""
        self._down: str | None = None
        self._tried = 0.0
        self._closed = False
        self.commits = 0
        try:
            self.recovered = self._interrupt(survey.open if survey is not None else set(), accounting)
            """how many calls of the last owner were marked interrupted"""
        except BaseException:
            self._keeper.stop()
            self._shut()
            raise

    @property
    def path(self) -> Path:
        """The file that is written at the moment."""
        return self._segment.path

    def next_n(self) -> int:
        n = self._next
        self._next = n + 1
        return n

    @property
    def trouble(self) -> str | None:
        """Why the book takes no calls at the moment; None if all is well."""
        return self._keeper.trouble or self._down

    @property
    def lost(self) -> bool:
        """The disk refused a sync, so that rows already told to be safe may be gone: this owner has to end, and its
        successor reads what is there."""
        return self._keeper.lost

    @property
    def open_calls(self) -> int:
        """Calls with an intent and without an outcome."""
        return len(self._open)

    def open(self, intent: Intent) -> Awaitable[int]:
        """Durable when what it gives is awaited. Raises Unavailable, then or at once, if the book cannot be written.

        A caller that is cancelled while it waits may have an intent in the book: it closes it like any other.
        """
        if self._down is not None or self._keeper.trouble is not None or self._closed:
            self._check_writable()
        n = intent.n
        if n in self._open:
            raise NotOpen(f"call {n} is open already")
        blob = pack(intent)
        waiter = (self._future or self._bind())()
        self._open.add(n)
        self._pending.append((n, intent.id, State.INTENT, blob, waiter))
        if self._scheduled is None:
            self._scheduled = self._loop.call_soon(self._flush)  # type: ignore[union-attr]
        return waiter

    def close(self, id: str, n: int, state: int, outcome: Outcome) -> Awaitable[int]:
        """Write the terminal row; durable when what it gives is awaited; gives its sequence.

        Raises, then or at once, NotOpen for a call that is closed already, Unavailable when the disk failed for five
        seconds; then the call is still open and may be closed again. A caller that is cancelled while it waits leaves
        the row to be written.
        """
        if state not in _TERMINAL:
            raise ValueError(f"{state} is not a terminal state")
        if n not in self._open:
            raise NotOpen(f"call {n} is not open; it has its outcome, or never had an intent")
        if self._closed:
            raise Unavailable("The gateway has shut its daybook; the call is marked interrupted at the next start.")
        blob = pack(outcome)
        waiter = (self._future or self._bind())()
        self._open.discard(n)
        self._pending.append((n, id, state, blob, waiter))
        if self._scheduled is None:
            self._scheduled = self._loop.call_soon(self._flush)  # type: ignore[union-attr]
        return waiter

    def note(self, id: str, n: int, row: Progress | Amendment) -> None:
        """Append a row that nobody waits for. Progress of a call that is not open any more is dropped, and so is an
        amendment of one that ended so long ago that this book has forgotten it, and all that comes after `aclose`."""
        if self._closed:
            return
        if isinstance(row, Progress):
            state = State.PROGRESS
            if n not in self._open:
                return
        else:
            state = State.AMENDMENT
            if self._calls.forgot(n):
                return
        self._bind()
        self._pending.append((n, id, state, pack(row), None))
        if self._scheduled is None:
            self._scheduled = self._loop.call_soon(self._flush)  # type: ignore[union-attr]

    def read(self, n: int) -> Folded | None:
        """The call of that number with everything appended so far; None if there is none, or an old one."""
        self._flush_now()
        return fold(self._shelf.call(n, self._calls.last(n)))

    def rows(self, after: int, limit: int) -> list[Row]:
        """Committed rows with seq > after, in order, at most `limit`."""
        self._flush_now()
        if after >= self._seq:
            return []
        found = self._recent.after(after, limit)
        return self._course.rows(after, limit) if found is None else found

    def scan(self) -> Iterator[Folded]:
        """Every call that the files hold, in order of n."""
        self._flush_now()
        with ReadOnlyDaybook(self._home, self.name) as book:
            yield from book.scan()

    def shipped(self, seq: int) -> None:
        """The store has all rows up to that one: whatever is only kept for it may go, files past retention included."""
        self._recent.forget(seq)
        headers = self._headers
        if len(headers) == 1:
            return
        at = max((index for index, header in enumerate(headers) if header.seq <= seq), default=0)
        # A call that ends behind the cursor began in this segment, or was open when this segment began.
        needed = headers[at].since
        # One closed segment more stays known: amendments come a while after the end.
        self._calls.forget(min(headers[at].number, self._segment.number - 1) << OFFSET_BITS, self._next, self._open)
        self._keeper.keep_from(needed)
        self._shelf.drop(needed)
        self._headers = [header for header in headers if header.number >= needed]

    async def aclose(self) -> None:
        """Write what is pending, bring it to the disk, release the lock. Rows that cannot be written any more raise
        Unavailable where they are awaited."""
        if self._closed:
            return
        self._closed = True
        self._cancel_schedule()
        self._flush()  # also where the last try failed: this is the last chance
        self._cancel_schedule()
        for entry in self._pending:
            self._reject(entry, Unavailable("The gateway is shutting down and its disk cannot be written; try again."))
        self._pending = []
        await asyncio.to_thread(self._keeper.stop)
        self._shut()

    def _shut(self) -> None:
        self._segment.close()
        self._shelf.close()
        self._lock.release()

    # --- the write ---------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        self._scheduled = None
        batch = self._pending
        if not batch:
            return
        self._pending = []
        keeper = self._keeper
        if keeper.fresh is not None:
            self._roll(keeper.fresh, batch)
        if keeper.lost:
            self._failed(batch, keeper.trouble or "")
            return
        calls, segment = self._calls, self._segment
        parts = [b""]
        for n, id, state, blob, _ in batch:
            parts += (pack_row(n, calls[n >> BITS][n & MASK], len(blob), state, len(id)), id.encode(), blob)
        seq = self._seq
        frame, digest = seal(self._digest, seq + 1, self._next, len(batch), parts)
        place = segment.number << OFFSET_BITS | segment.size
        try:
            segment.append(frame)
        except OSError as error:
            if not keeper.release_reserve(error) or not self._again(frame):
                self._failed(batch, error.strerror or str(error))
                return
        if self._power and not self._synced():
            self._failed(batch, keeper.trouble or "")
            return
        self._digest = digest
        self._seq = seq + len(batch)
        self.commits += 1
        if self._down is not None:
            self._down = None
            self._deadlines.clear()
        if not keeper.dirty:
            keeper.touch()
        keep = self._recent.rows.append
        for n, id, state, blob, waiter in batch:
            seq += 1
            keep(Row(seq, n, id, state, blob))
            calls[n >> BITS][n & MASK] = place
            if waiter is not None and not waiter.done():
                waiter.set_result(seq)
        self._recent.trim()

    def _again(self, frame: bytes) -> bool:
        try:
            self._segment.append(frame)
        except OSError:
            return False
        return True

    def _synced(self) -> bool:
        try:
            os.fdatasync(self._segment.fd)
        except OSError as error:
            self._keeper.fail(error)
            return False
        return True

    def _roll(self, fresh: int, batch: list[_Entry]) -> None:
        """Go on in the next segment, which begins with the batch. Where that fails the old one is written on, and the
        next flush tries again."""
        closed = self._segment
        # A call that ends with this batch is open no more, and yet its intent may be in an older segment.
        ending = {n for n, _, state, _, _ in batch if state in _TERMINAL}
        since = self._since((self._open | ending).difference(n for n, _, state, _, _ in batch if state == State.INTENT))
        header = Header(self.name, closed.number + 1, self._seq, self._next, since, self._clock.now_ns(), self._digest)
        try:
            segment = begin(self._folder, fresh, header)
        except OSError as error:
            log.debug("daybook %s stays in its segment: %s", self.name, error)
            return
        self._segment = segment
        self._headers.append(header)
        self._keeper.rolled(segment)
        if self._power and self._synced():
            try:
                folder.sync_entries(self._folder)
            except OSError as error:
                self._keeper.fail(error)

    def _since(self, open_calls: set[int]) -> int:
        """The first segment that may have rows of these calls; the next one if there are none."""
        if not open_calls:
            return self._segment.number + 1
        lowest = min(open_calls)
        headers = self._headers
        return max((header.number for header in headers if header.top <= lowest), default=headers[0].number)

    def _failed(self, batch: list[_Entry], reason: str) -> None:
        loop = self._loop
        if loop is None:
            raise OSError(f"the daybook {self._folder} cannot be written: {reason}")  # at the start, by the constructor
        now = self._tried = loop.time()
        self._down = reason
        kept: list[_Entry] = []
        notes = 0
        for entry in batch:
            n, _, state, _, waiter = entry
            if waiter is None:
                notes += 1
                if notes <= MAX_NOTES_KEPT:
                    kept.append(entry)
            elif state != State.INTENT and now < self._deadlines.setdefault(n, now + GIVE_UP_AFTER):
                kept.append(entry)
            else:
                self._reject(entry, _unwritable(reason))
        self._pending = kept
        if kept:
            self._scheduled = loop.call_later(RETRY_EVERY, self._flush)

    def _reject(self, entry: _Entry, fault: Unavailable) -> None:
        """Tell who waits that the row is not in the book: the call is as open as it was before."""
        n, _, state, _, waiter = entry
        self._deadlines.pop(n, None)
        if state == State.INTENT:
            self._open.discard(n)
        elif state in _TERMINAL:
            self._open.add(n)
        if waiter is not None and not waiter.done():
            waiter.set_exception(fault)

    # --- around it -------------------------------------------------------------------------------------------

    def _bind(self) -> Callable[[], Waiter]:
        if self._future is None:
            self._loop = asyncio.get_running_loop()
            self._future = self._loop.create_future
        return self._future

    def _check_writable(self) -> None:
        if self._closed:
            raise Unavailable("The gateway is shutting down; try again.")
        keeper = self._keeper
        if keeper.lost:
            raise Unavailable(f"No call is taken: {keeper.trouble}. Restart the gateway after repairing the disk.")
        if keeper.trouble is not None:
            raise _unwritable(keeper.trouble)
        # Between two tries every call is refused; after the pause the next one is the try.
        if self._down is not None and self._loop is not None and self._loop.time() < self._tried + RETRY_EVERY:
            raise _unwritable(self._down)

    def _cancel_schedule(self) -> None:
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None

    def _flush_now(self) -> None:
        if self._pending and self._down is None and not self._closed:
            self._cancel_schedule()
            self._flush()

    def _interrupt(self, numbers: set[int], accounting: Accounting) -> int:
        """Give every open call its `interrupted` outcome, before anything is accepted."""
        found = [call for n in sorted(numbers) if (call := fold(self._shelf.call(n, self._calls.last(n)))) is not None]
        for first in range(0, len(found), _ROWS_AT_ONCE):
            self._pending = [
                (call.intent.n, call.intent.id, State.INTERRUPTED, pack(orphans.interrupted(call, accounting)), None)
                for call in found[first : first + _ROWS_AT_ONCE]
            ]
            self._flush()
        return len(found)


def _unwritable(reason: str) -> Unavailable:
    return Unavailable(
        f"The daybook cannot be written ({reason}), so no call is taken; try again shortly.", retry_after=1
    )
