"""Balances in memory: what each key has spent, what running calls hold, and whether another call fits its limit.

One worker owns the book, so a hold is a comparison and an addition, with no await in between: any number of parallel
calls stays within the limit as long as each charge stays within its hold. A charge is never cut to its hold: an excess
is posted and flagged. The book starts from the store's days plus the daybook's rows that are not shipped yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from routebook.core.errors import PaymentRequired
from routebook.core.money import ZERO, add, plain, subtract
from routebook.core.people import Key
from routebook.ledger import windows
from routebook.store.port import Posting, Spend

_KEPT_DAYS = 48
"""a month, the week around its first day, and days of a clock that was wrong for a while"""


class _Sum:
    """Money of one span of time: posted, and held by calls that are still running."""

    __slots__ = ("byok", "held", "usage")

    def __init__(self, usage: Decimal = ZERO, byok: Decimal = ZERO, held: Decimal = ZERO) -> None:
        self.usage = usage
        self.byok = byok
        self.held = held

    def post(self, usage: Decimal, byok: Decimal) -> None:
        if usage:
            self.usage = add(self.usage, usage)
        if byok:
            self.byok = add(self.byok, byok)

    def plus(self, other: _Sum) -> _Sum:
        return _Sum(add(self.usage, other.usage), add(self.byok, other.byok), add(self.held, other.held))


class _Tally:
    """One key: its whole life and its recent days.

    A window is its current day plus what stood on its other days when it was last asked about: so a call touches two
    sums, not one for each window. Holds of a key without a limit are only kept, and added up when somebody asks or the
    key gets a limit: most keys have none.
    """

    __slots__ = ("at", "days", "loose", "others", "total")

    def __init__(self) -> None:
        self.total = _Sum()
        self.days: dict[int, _Sum] = {}
        self.at: int | None = None
        """the day that `others` belongs to; None = to be added up again"""
        self.others: tuple[_Sum, ...] = ()
        self.loose: set[Hold] = set()
        """holds that are in no sum yet"""

    def span(self, reset: str | None, day: int) -> _Sum:
        """The sum of the window of that kind that holds `day`."""
        if self.loose:
            self.firm_up()
        if reset is None:
            return self.total
        if self.at != day:
            self._turn(day)
        others, today = self.others[windows.index(reset)], self.days.get(day)
        return others if today is None else others.plus(today)

    def _turn(self, day: int) -> None:
        # Days after `day` count too: a clock that was ahead for a while must not leave spend out of the budget.
        sums = [_Sum(), _Sum(), _Sum()]
        for number, each in self.days.items():
            for place, start in enumerate(windows.starts(day)):
                if number >= start and number != day:
                    sums[place] = sums[place].plus(each)
        self.at, self.others = day, tuple(sums)

    def post(self, day: int, usage: Decimal, byok: Decimal) -> None:
        self.total.post(usage, byok)
        self._day(day).post(usage, byok)

    def hold(self, day: int, amount: Decimal) -> None:
        """Add to what is held; a release adds the negative."""
        sums, total = self._day(day), self.total
        total.held = add(total.held, amount)
        sums.held = add(sums.held, amount)

    def firm_up(self) -> None:
        """Add up the loose holds."""
        for hold in self.loose:
            self.hold(hold.day, hold.amount or ZERO)
        self.loose.clear()

    def _day(self, day: int) -> _Sum:
        """The sum of a day, to be changed."""
        if day != self.at:
            self.at = None
        sums = self.days.get(day)
        if sums is None:
            if len(self.days) >= _KEPT_DAYS:
                # The oldest day is in no window any more; its spend stays in `total`. One that is held stays.
                old = min((number for number, each in self.days.items() if not each.held), default=day)
                self.days.pop(old, None)
            sums = self.days[day] = _Sum()
        return sums


class Hold:
    """Money reserved for one call. Exactly one of `Book.settle` and `Book.release` ends it."""

    __slots__ = ("account", "amount", "byok_counts", "day", "key_hash", "limited", "open", "over_hold")

    def __init__(self, key: Key, amount: Decimal | None, day: int, limited: bool) -> None:
        self.key_hash = key.hash
        self.account = key.account
        self.amount = amount
        """USD; None where nobody could say what the call may cost (unpriced, and the key has no limit)"""
        self.day = day
        """the day the call was accepted on: its spend belongs to that day, whenever it ends"""
        self.limited = limited
        """the amount counts against a limit of the key"""
        self.byok_counts = key.include_byok_in_limit
        self.open = True
        self.over_hold = False
        """set by settle: the charge was more than the amount"""

    def __repr__(self) -> str:
        return f"<Hold {self.amount} on {self.key_hash[:8]} {'open' if self.open else 'ended'}>"


@dataclass(frozen=True, slots=True)
class Usages:
    """What a key has spent, USD: in its whole life and in the current UTC day, week and month."""

    total: Decimal = ZERO
    daily: Decimal = ZERO
    weekly: Decimal = ZERO
    monthly: Decimal = ZERO
    byok_total: Decimal = ZERO
    byok_daily: Decimal = ZERO
    byok_weekly: Decimal = ZERO
    byok_monthly: Decimal = ZERO


class Book:
    """All balances of one worker. Times are nanoseconds of unix time, money is USD."""

    def __init__(self) -> None:
        self._tallies: dict[str, _Tally] = {}
        self._accounts: dict[str, Decimal] = {}
        self.holds_open = 0
        self.over_holds = 0
        """charges that were more than their hold, since the start"""

    def load(self, spends: list[Spend]) -> None:
        """The store's days, once, into an empty book."""
        if self._tallies:
            raise AssertionError("a book is loaded once, before anything is posted to it")
        for spend in sorted(spends, key=lambda spend: spend.day):
            self._post(spend.key_hash, spend.account, windows.day_of_text(spend.day), spend.usage, spend.byok)

    def replay(self, posting: Posting) -> None:
        """Calls of one key and day that are in the daybook and not in the store yet."""
        self._post(posting.key_hash, posting.account, windows.day_of_text(posting.day), posting.usage, posting.byok)

    def hold(self, key: Key, bound: Decimal | None, accepted_ns: int) -> Hold:
        """Reserve `bound`, the most the call can cost; None = unpriced, nobody knows.

        Raises PaymentRequired if it does not fit the key's limit beside what is spent and held, and if the key has a
        limit and the bound is unknown. A key without limit, and the operator's own, always gets its hold.
        """
        if bound is not None and (not bound.is_finite() or bound < 0):
            raise ValueError(f"a hold must be a positive amount or zero, not {bound}")
        day = windows.day_number(accepted_ns)
        limited = key.limit is not None and not key.admin
        tally = self._tally(key.hash)
        if limited:
            self._fits(key, tally.span(key.limit_reset, day), bound, accepted_ns)
        hold = Hold(key, bound, day, limited)
        if limited and bound:
            tally.hold(day, bound)
        elif bound:
            tally.loose.add(hold)
        self.holds_open += 1
        return hold

    def settle(self, hold: Hold, charge: Decimal, byok: Decimal = ZERO) -> None:
        """Replace a hold by what the call cost: `charge` to the account, `byok` at list price on the caller's own key.

        Exactly once for each hold; a second end of a hold is an AssertionError.
        """
        self._end(hold)
        self._post(hold.key_hash, hold.account, hold.day, charge, byok)
        counted = add(charge, byok) if hold.byok_counts else charge
        if hold.amount is not None and counted > hold.amount:
            hold.over_hold = True
            self.over_holds += 1

    def release(self, hold: Hold) -> None:
        """Give a hold back without a charge, because the call was never written down. Exactly once, as settle."""
        self._end(hold)

    def held(self, key_hash: str) -> Decimal:
        """What running calls of a key hold."""
        tally = self._tallies.get(key_hash)
        return tally.span(None, 0).held if tally else ZERO

    def usage(self, key_hash: str, now_ns: int) -> Usages:
        """What a key has spent; zeros for a key that never called."""
        tally = self._tallies.get(key_hash)
        if tally is None:
            return Usages()
        day = windows.day_number(now_ns)
        sums = [tally.total, *(tally.span(reset, day) for reset in windows.RESETS)]
        return Usages(*(each.usage for each in sums), *(each.byok for each in sums))

    def account_usage(self, account: str) -> Decimal:
        """What all keys of an account were charged, deleted ones included."""
        return self._accounts.get(account, ZERO)

    def _tally(self, key_hash: str) -> _Tally:
        tally = self._tallies.get(key_hash)
        if tally is None:
            tally = self._tallies[key_hash] = _Tally()
        return tally

    def _post(self, key_hash: str, account: str, day: int, usage: Decimal, byok: Decimal) -> None:
        self._tally(key_hash).post(day, usage, byok)
        if usage:
            self._accounts[account] = add(self._accounts.get(account, ZERO), usage)

    def _end(self, hold: Hold) -> None:
        if not hold.open:
            raise AssertionError(f"{hold!r} was settled or released before")
        hold.open = False
        self.holds_open -= 1
        if not hold.amount:
            return
        tally = self._tallies[hold.key_hash]
        if hold in tally.loose:
            tally.loose.remove(hold)
        else:
            # copy_negate: the minus sign would round to the default context
            tally.hold(hold.day, hold.amount.copy_negate())

    @staticmethod
    def _fits(key: Key, span: _Sum, bound: Decimal | None, now_ns: int) -> None:
        limit = key.limit if key.limit is not None else ZERO
        spent = add(span.usage, span.byok) if key.include_byok_in_limit else span.usage
        if bound is None:
            raise PaymentRequired(
                "This key has a spending limit and the model has no known price, so its cost cannot be kept within "
                "the limit. Use a priced model, give the model a [models.endpoints.pricing] table, or set "
                "accounting.unpriced_ceiling, the USD to reserve for such a call.",
                metadata={"limit": limit, "spent": spent, "held": span.held},
            )
        if add(add(spent, span.held), bound) > limit:
            raise _exceeded(key, limit, spent, span.held, bound, windows.next_reset(key.limit_reset, now_ns))


def remaining(key: Key, usages: Usages) -> Decimal | None:
    """limit - spend in the current window, USD; None without a limit; negative if charges passed their holds."""
    if key.limit is None:
        return None
    spent, byok = {
        None: (usages.total, usages.byok_total),
        "daily": (usages.daily, usages.byok_daily),
        "weekly": (usages.weekly, usages.byok_weekly),
        "monthly": (usages.monthly, usages.byok_monthly),
    }[key.limit_reset]
    return subtract(key.limit, add(spent, byok) if key.include_byok_in_limit else spent)


def _exceeded(
    key: Key, limit: Decimal, spent: Decimal, held: Decimal, needed: Decimal, reset_at: str | None
) -> PaymentRequired:
    every = {None: "", "daily": " a day", "weekly": " a week", "monthly": " a month"}[key.limit_reset]
    wait = f"wait for the reset at {reset_at}, " if reset_at else ""
    metadata: dict[str, Any] = {"limit": limit, "limit_reset": key.limit_reset, "spent": spent, "held": held}
    return PaymentRequired(
        f"Key limit reached: ${plain(limit)}{every}, ${plain(spent)} spent, ${plain(held)} held by running calls, and "
        f"this call may need ${plain(needed)}. Ask for fewer max_tokens, {wait}or raise the key's limit.",
        metadata={**metadata, "needed": needed, "reset_at": reset_at},
    )
