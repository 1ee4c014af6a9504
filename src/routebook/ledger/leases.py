"""Where purses get their money: leases from the store, and what siblings can spare. No call waits here that fits its
worker's purse.

A worker that is alone asks once for all that is left of a budget. One of several asks for a share; before it refuses a
call it has the siblings give back what their calls do not need, so that a call is refused only where it does not fit
beside what all workers have spent and hold. All that a worker does to its leases in the store it does one after
another, shipping included: then its purses are, at any moment, what the store has.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from decimal import Decimal
from itertools import count
from typing import Any, TypeVar

import msgspec

from routebook.core.errors import Unavailable
from routebook.core.money import ZERO, add, subtract
from routebook.core.people import Key
from routebook.ledger import windows
from routebook.ledger.book import Book, Usages, exceeded
from routebook.ledger.people import People
from routebook.ledger.purse import Purse, budgets_of
from routebook.ledger.tally import Hold
from routebook.observe.log import log
from routebook.store.lending import Ask, Lease, Lent, Window, key_of
from routebook.store.port import Amended, Posting, Sheet, Spend, Store

T = TypeVar("T")

RECALL_SECONDS = 0.25
"""what siblings get to give back"""
DRY_NS = 500_000_000
"""A worker that is alone asks again after this for a budget of which nothing was left."""
ALL = Decimal(1)

Recall = Callable[[Sequence[str], str], Awaitable[bool]]
"""Has these daybooks' workers give back what is idle of a budget; done when all have, or time is up. False if there was
nothing. Never raises."""


async def no_siblings(daybooks: Sequence[str], budget: str) -> bool:
    """There is no other worker that could be asked."""
    return False


class _Found(msgspec.Struct, frozen=True):
    """What the store said, and what the budget's money was doing at that moment: never more than the limit together."""

    lent: Lent
    spent: Decimal
    """by all workers, shipped or not as far as it is this one"""
    held: Decimal
    """by running calls of this worker; and all that the others have, since they alone know what for"""


class _Line:
    """Who waits for money of one purse, and what was last found out about it."""

    __slots__ = ("dry_ns", "found", "least", "limit", "lock", "ticket")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.ticket = -1
        """A call with an older one was in line when `found` was asked for: what is refused to that is refused to it."""
        self.least = ZERO
        self.found: _Found | None = None
        self.limit = ZERO
        self.dry_ns = 0


class Leases:
    """The leases of one worker's daybook. All verbs belong to one event loop."""

    def __init__(
        self,
        book: Book,
        store: Store,
        daybook: str,
        now_ns: Callable[[], int],
        *,
        workers: int = 1,
        recall: Recall = no_siblings,
    ) -> None:
        self.book = book
        self.recall = recall
        self._store = store
        self._daybook = daybook
        self._now_ns = now_ns
        self._share = ALL if workers == 1 else (ALL / (2 * workers)).quantize(Decimal("0.0001"))
        self._lines: dict[Window, _Line] = {}
        self._tickets = count()
        self._in_turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._limits: dict[Window, Decimal] = {}

    async def begin(self) -> None:
        """Go on with what this daybook had before. The book is loaded and replayed. Raises Unavailable."""
        self.book.take_up(await self._store.leases(self._daybook))

    async def end(self) -> None:
        """Everything is settled and shipped: others may have the money. Raises Unavailable."""
        await self._surely(self._forfeit())

    # --- for calls ----------------------------------------------------------------------------------------------------

    async def hold(self, key: Key, bound: Decimal, accepted_ns: int, least: Decimal | None = None) -> Hold:
        """As `Book.hold`, asking for more where the purse is too small. With `least` the hold is as much of `bound` as
        there is, and not less than that.

        Raises PaymentRequired where the limit does not allow it, Unavailable where the store cannot say.
        """
        wanted = bound if least is None else least
        ticket = next(self._tickets)
        while True:
            hold = self.book.hold(key, bound, accepted_ns)
            if hold is not None:
                return hold
            purses = self.book.purses_of(key, accepted_ns)
            for purse in sorted(purses, key=lambda purse: purse.window.budget):
                line = self._lines.setdefault(purse.window, _Line())
                async with line.lock:
                    found = await self._fill(purse, line, ticket, bound, wanted)
                if found is not None:
                    raise exceeded(key, found.spent, found.held, bound, self._now_ns())
            if least is not None:
                there = min([bound, *(purse.free for purse in purses)])
                if there >= least:
                    bound = there

    async def extend(self, hold: Hold, more: Decimal) -> bool:
        """As `Book.extend`, asking for more where a purse is too small. Raises Unavailable."""
        ticket = next(self._tickets)
        while hold.open and not self.book.extend(hold, more):
            for purse in hold.purses:
                line = self._lines.setdefault(purse.window, _Line())
                async with line.lock:
                    if await self._fill(purse, line, ticket, more, more) is not None:
                        return False
        return hold.open

    # --- for siblings -------------------------------------------------------------------------------------------------

    async def give_back(self, budget: str) -> Decimal:
        """Give back to the store what no call here needs of a budget; how much. Raises Unavailable."""
        given = ZERO
        for purse in self.book.purses(budget):
            given = add(given, await self._surely(self._return(purse)))
        return given

    # --- for the shipper ----------------------------------------------------------------------------------------------

    async def ship(
        self,
        daybook: str,
        upto: int,
        generations: Sequence[Sheet],
        postings: Sequence[Posting],
        amendments: Sequence[Amended] = (),
    ) -> None:
        """As `Store.ship`, and the purses follow."""
        async with self._in_turn:
            await self._store.ship(daybook, upto, generations, postings, amendments)
            self.book.shipped(postings)

    # --- for people ---------------------------------------------------------------------------------------------------

    async def usage(self, key_hash: str, now_ns: int) -> Usages:
        """What a key has spent at all workers; what others have not shipped yet, half a second's worth, is not in it.
        While the store is away: as far as this worker knows."""
        if self._share == ALL:
            return self.book.usage(key_hash, now_ns)
        # In turn: between the store's posting and the book's, a charge would be there twice.
        async with self._in_turn:
            return self.book.usage(key_hash, now_ns, await self._posted(key_hash))

    async def account_usage(self, account: str) -> Decimal:
        """As `usage`, of all keys of an account, deleted ones included."""
        if self._share == ALL:
            return self.book.account_usage(account)
        async with self._in_turn:
            return self.book.account_usage(account, await self._posted(None))

    async def _posted(self, key_hash: str | None) -> list[Spend] | None:
        try:
            return await self._store.spend(key_hash)
        except Unavailable:
            return None

    # --- now and then -------------------------------------------------------------------------------------------------

    async def tidy(self, people: People) -> None:
        """Give back what is of no use here any more: of windows that are over, of keys that are gone or whose limit is
        another one now. Whoever needs it asks again, by the limit as it is. Raises Unavailable."""
        today = windows.day_number(self._now_ns())
        for purse in self.book.purses():
            key = people.by_hash(key_of(purse.window.budget))
            budgets = budgets_of(key, today) if key is not None else ()
            limit = next((each.limit for each in budgets if each.window == purse.window), None)
            if limit is None:
                await self._wind_up(purse)
                continue
            known = self._limits.get(purse.window, purse.budget.limit)
            if limit < known:
                await self._surely(self._return(purse))
            elif purse.free < 0:
                # A charge has passed its hold: the others must not be lent what it took.
                await self._surely(self._ask(purse, subtract(ZERO, purse.free), limit))
            self._limits[purse.window] = limit

    async def _wind_up(self, purse: Purse) -> None:
        if self.book.idle(purse):
            await self._surely(self._return(purse))
            if self.book.idle(purse) and not purse.amount:
                self.book.drop(purse)
                self._limits.pop(purse.window, None)
                line = self._lines.get(purse.window)
                if line is not None and not line.lock.locked():
                    del self._lines[purse.window]
        else:
            await self._surely(self._return(purse))

    # --- inside -------------------------------------------------------------------------------------------------------

    async def _fill(self, purse: Purse, line: _Line, ticket: int, most: Decimal, least: Decimal) -> _Found | None:
        """See to it that the purse has `most`, or as much as there is, `least` or more. None if it has, else what was
        found. In turn, by whoever holds the line."""
        need = subtract(most, purse.free)
        if need <= 0:
            return None
        limit = purse.budget.limit
        if line.found is not None and line.limit == limit and self._told(line, ticket, subtract(least, purse.free)):
            return line.found
        asked = next(self._tickets)
        found = await self._surely(self._ask(purse, need, limit))
        if not found.lent.granted and found.lent.lenders:
            found = await self._call_back(purse, most, found)
        left = found.lent.left
        if not found.lent.granted and left > 0 and add(purse.free, left) >= least:
            found = await self._surely(self._ask(purse, left, limit))
        if found.lent.granted or purse.free >= least:
            return None  # perhaps not all of `most`, if others were quicker; then the caller asks once more
        line.found, line.ticket, line.limit, line.least = found, asked, limit, subtract(least, purse.free)
        line.dry_ns = self._now_ns() + DRY_NS if self._share == ALL and not found.lent.lenders else 0
        return found

    async def _call_back(self, purse: Purse, most: Decimal, found: _Found) -> _Found:
        """Have the others give back what is idle and ask again, until they have nothing: what their calls set free
        while the last of them were asked is to be had as well."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RECALL_SECONDS):
                while not found.lent.granted and await self.recall(found.lent.lenders, purse.window.budget):
                    need = subtract(most, purse.free)
                    if need <= 0:
                        break
                    found = await self._surely(self._ask(purse, need, purse.budget.limit))
        return found

    def _told(self, line: _Line, ticket: int, need: Decimal) -> bool:
        """What was found out for another call answers this one, too: it was in line already, or a worker that is alone
        knows that nothing has come since."""
        return need >= line.least and (ticket < line.ticket or self._now_ns() < line.dry_ns)

    async def _ask(self, purse: Purse, need: Decimal, limit: Decimal) -> _Found:
        async with self._in_turn:
            lent = await self._store.lend(self._daybook, Ask(purse.window, limit, need, self._share))
            if lent.granted:
                purse.lent(lent.granted)
                self._limits.setdefault(purse.window, limit)
            owing = self.book.owing(purse)
            held = subtract(subtract(purse.amount, purse.free), owing)
            return _Found(lent, add(lent.posted, owing), add(lent.lent, held))

    async def _return(self, purse: Purse) -> Decimal:
        """Give back what is free; how much. From its first step on nobody holds from it, the store has it at the end.

        What is free is asked here and not by who wants this: a task begins later, and a call may have come between.
        """
        amount = purse.free
        if amount <= 0:
            return ZERO
        purse.free = subtract(purse.free, amount)
        try:
            async with self._in_turn:
                await self._store.give_back([Lease(purse.window, self._daybook, amount)])
                purse.amount = max(ZERO, subtract(purse.amount, amount))
        except BaseException:
            purse.free = add(purse.free, amount)
            raise
        return amount

    async def _forfeit(self) -> None:
        async with self._in_turn:
            if not self.book.holds_open:
                await self._store.forfeit(self._daybook)

    async def _surely(self, work: Coroutine[Any, Any, T]) -> T:
        """Done even if whoever waits for it is cancelled meanwhile: what the store has and what the purses have must
        not part."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, Unavailable):
            log.error("a lease could not be changed", exc_info=error)
