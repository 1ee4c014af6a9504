"""How budgets are lent out to daybooks: the words of it, and the arithmetic that every store does the same way. Pure.

A budget is one limit on spend in a window of days. A lease is what one daybook may still post to it; it counts as spent
until it is given back. What is posted and all leases together never pass the limit by a lease that is granted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import ROUND_FLOOR, Context, Decimal

import msgspec

from routebook.core.money import EXACT, ZERO, add, multiply, subtract
from routebook.store.port import Posting, Spend

FIRST_DAY, LAST_DAY = "0001-01-01", "9999-12-31"
"""the window of a limit that never resets"""

_STEP = Decimal("0.000001")
"""USD; a part of what is left is rounded down to it, so that amounts do not grow digits with every lease"""
_DOWN = Context(prec=EXACT.prec, Emin=EXACT.Emin, Emax=EXACT.Emax, rounding=ROUND_FLOOR, traps=[])


class Window(msgspec.Struct, frozen=True):
    """Which days of which budget; days are `YYYY-MM-DD`, both included."""

    budget: str
    """`key:` and a key's hash"""
    first: str
    last: str
    byok: bool = False
    """list-price spend on the callers' own provider keys counts too"""

    def holds(self, day: str) -> bool:
        return self.first <= day <= self.last

    def overlaps(self, other: Window) -> bool:
        return self.budget == other.budget and self.first <= other.last and self.last >= other.first


class Lease(msgspec.Struct, frozen=True):
    """What one daybook may still post in a window. USD."""

    window: Window
    daybook: str
    amount: Decimal


class Ask(msgspec.Struct, frozen=True):
    """A daybook asks for more of a window."""

    window: Window
    limit: Decimal
    need: Decimal
    """USD without which nothing is granted; above zero"""
    share: Decimal = Decimal(1)
    """of what is left, to be granted if that is more than `need`; 1 = all of it"""


class Lent(msgspec.Struct, frozen=True):
    """The answer. USD."""

    granted: Decimal
    """0: refused"""
    left: Decimal
    """the limit less what was posted and lent before; below zero where the limit was lowered or charges passed holds"""
    posted: Decimal
    lenders: tuple[str, ...] = ()
    """other daybooks that have some of it"""
    lent: Decimal = ZERO
    """what those have"""


def key_budget(key_hash: str) -> str:
    """The id of the budget that a key's limit is."""
    return f"key:{key_hash}"


def key_of(budget: str) -> str:
    """The key whose limit it is. ValueError for any other kind: this version knows no other."""
    kind, colon, key_hash = budget.partition(":")
    if kind != "key" or not colon:
        raise ValueError(f"no such kind of budget: {budget}")
    return key_hash


def lend(ask: Ask, daybook: str, leases: Iterable[Lease], spends: Iterable[Spend]) -> Lent:
    """The answer. `leases`: all of the budget that overlap the window; `spends`: of the budget since its first day.

    Days after the last one count as posted: a clock that was ahead for a while must not leave spend out of a budget.
    Leases of another shape count as well (the limit's reset was changed, and their calls still run).
    """
    posted = lent = own = ZERO
    lenders = set()
    for spend in spends:
        posted = add(posted, add(spend.usage, spend.byok) if ask.window.byok else spend.usage)
    for lease in leases:
        if lease.daybook == daybook:
            own = add(own, lease.amount)
        elif lease.amount:
            lent = add(lent, lease.amount)
            lenders.add(lease.daybook)
    left = subtract(ask.limit, add(add(posted, lent), own))
    granted = ZERO
    if left >= ask.need:
        granted = left if ask.share == 1 else max(ask.need, _part(left, ask.share))
    return Lent(granted, left, posted, tuple(sorted(lenders)), lent)


def _part(left: Decimal, share: Decimal) -> Decimal:
    return multiply(left, share).quantize(_STEP, context=_DOWN)


def shipped(postings: Iterable[Posting]) -> Iterator[tuple[str, str, Decimal, Decimal]]:
    """(budget, day, usage, byok) of everything that takes from a lease when it is posted."""
    for posting in postings:
        if posting.usage > 0 or posting.byok > 0:
            yield key_budget(posting.key_hash), posting.day, posting.usage, posting.byok


def less(amount: Decimal, byok_counts: bool, usage: Decimal, byok: Decimal) -> Decimal:
    """What is left of a lease when that was posted. Never below zero: a charge may be more than was held for it."""
    return max(ZERO, subtract(amount, add(usage, byok) if byok_counts else usage))
