"""What a book knows of one key: what it has spent, day by day, and what its running calls hold. Money is USD."""

from __future__ import annotations

from decimal import Decimal

from routebook.core.money import ZERO, add, subtract
from routebook.core.people import Key
from routebook.ledger import windows
from routebook.ledger.purse import NO_PURSES, Purse

_KEPT_DAYS = 48
"""a month, the week around its first day, and days of a clock that was wrong for a while"""


class Sum:
    """Money of one span of time, and how much of it the store has."""

    __slots__ = ("byok", "stored_byok", "stored_usage", "usage")

    def __init__(self) -> None:
        self.usage = self.byok = self.stored_usage = self.stored_byok = ZERO

    def post(self, usage: Decimal, byok: Decimal) -> None:
        if usage:
            self.usage = add(self.usage, usage)
        if byok:
            self.byok = add(self.byok, byok)

    def store(self, usage: Decimal, byok: Decimal) -> None:
        self.stored_usage = add(self.stored_usage, usage)
        self.stored_byok = add(self.stored_byok, byok)

    def owing(self, byok_counts: bool) -> Decimal:
        """What is not in the store yet."""
        owing = subtract(self.usage, self.stored_usage)
        return add(owing, subtract(self.byok, self.stored_byok)) if byok_counts else owing


class Tally:
    """One key: its whole life, its recent days, and its running calls."""

    __slots__ = ("days", "first", "holds", "key", "last", "purses", "total")

    def __init__(self) -> None:
        self.total = Sum()
        self.days: dict[int, Sum] = {}
        self.holds: set[Hold] = set()
        self.key: Key | None = None
        self.first = self.last = 0
        self.purses = NO_PURSES
        """of calls of that very key on the days from `first` to `last`"""

    def spent(self, reset: str | None, day: int) -> tuple[Decimal, Decimal]:
        """(usage, byok) of the window of that kind that holds `day`.

        Days after `day` count too: a clock that was ahead for a while must not leave spend out of the budget.
        """
        if reset is None:
            return self.total.usage, self.total.byok
        usage = byok = ZERO
        first = windows.starts(day)[windows.index(reset)]
        for number, sums in self.days.items():
            if number >= first:
                usage, byok = add(usage, sums.usage), add(byok, sums.byok)
        return usage, byok

    def waiting(self, reset: str | None, day: int) -> tuple[Decimal, Decimal]:
        """As `spent`, of that what the store does not know yet."""
        sums = [self.total]
        if reset is not None:
            first = windows.starts(day)[windows.index(reset)]
            sums = [each for number, each in self.days.items() if number >= first]
        usage = byok = ZERO
        for each in sums:
            usage = add(usage, subtract(each.usage, each.stored_usage))
            byok = add(byok, subtract(each.byok, each.stored_byok))
        return usage, byok

    def outstanding(self, first: int, byok_counts: bool) -> Decimal:
        """What calls since that day hold, and what they cost as far as the store does not know it yet."""
        found = ZERO
        if first <= 1:
            found = self.total.owing(byok_counts)
        else:
            for number, sums in self.days.items():
                if number >= first:
                    found = add(found, sums.owing(byok_counts))
        return add(found, self.held(first))

    def held(self, first: int = 0) -> Decimal:
        found = ZERO
        for hold in self.holds:
            if hold.day >= first and hold.amount:
                found = add(found, hold.amount)
        return found

    def post(self, day: int, usage: Decimal, byok: Decimal) -> None:
        self.total.post(usage, byok)
        self.day(day).post(usage, byok)

    def day(self, day: int) -> Sum:
        """The sum of a day, to be changed."""
        sums = self.days.get(day)
        if sums is None:
            if len(self.days) >= _KEPT_DAYS:
                self._forget()
            sums = self.days[day] = Sum()
        return sums

    def _forget(self) -> None:
        """The oldest day is in no window any more; its spend stays in `total`. One that is still owed for stays."""
        held = {hold.day for hold in self.holds}
        free = (number for number, sums in self.days.items() if number not in held and not sums.owing(True))
        oldest = min(free, default=None)
        if oldest is not None:
            del self.days[oldest]


class Hold:
    """Money reserved for one call. Exactly one of `Book.settle` and `Book.release` ends it."""

    __slots__ = ("account", "amount", "day", "id", "key_hash", "open", "over_hold", "purses", "reclaimed", "since_ns")

    def __init__(self, key: Key, amount: Decimal | None, day: int, since_ns: int, purses: tuple[Purse, ...]) -> None:
        self.key_hash = key.hash
        self.account = key.account
        self.amount = amount
        """USD; None where nobody could say what the call may cost (unpriced, and the key has no limit)"""
        self.day = day
        """the day the call was accepted on: its spend belongs to that day, whenever it ends"""
        self.since_ns = since_ns
        self.purses = purses
        """what the amount is taken from; none for a key without limit"""
        self.id: str | None = None
        """of the call, once it has one"""
        self.open = True
        self.reclaimed = False
        """it was given back because its call seemed to be gone; if the call ends after all, its charge still counts"""
        self.over_hold = False
        """set by settle: the charge was more than the amount"""

    def __repr__(self) -> str:
        return f"<Hold {self.amount} on {self.key_hash[:8]} {'open' if self.open else 'ended'}>"
