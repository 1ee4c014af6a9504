"""What one worker may still spend of a budget: the lease it has from the store, less what its calls cost and hold.

A budget is one limit in one window of days. Today every limit is a key's; a call that counts against several budgets
(a workspace's, a guardrail's) holds from the purse of each, so `budgets_of` is the one place that has to name more.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from routebook.core.money import ZERO, add, subtract
from routebook.core.people import Key
from routebook.ledger import windows
from routebook.store.lending import Window, key_budget, less


class Budget(msgspec.Struct, frozen=True):
    """One limit, USD, as it stands for the calls of some days. Days are day numbers, both included."""

    window: Window
    limit: Decimal
    first: int
    last: int


def budgets_of(key: Key, day: int) -> tuple[Budget, ...]:
    """What a call of the key on that day counts against; nothing for a key without limit and the operator's own."""
    if key.limit is None or key.admin:
        return ()
    first, last = windows.span(key.limit_reset, day)
    window = Window(key_budget(key.hash), windows.day_text(first), windows.day_text(last), key.include_byok_in_limit)
    return (Budget(window, key.limit, first, last),)


class Purse:
    """One worker's money of one budget. `free` is all that the hot path looks at."""

    __slots__ = ("amount", "budget", "first", "free", "last", "window")

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        """as the newest call knew it; the limit may have been another one before"""
        self.window = budget.window
        self.first = budget.first
        self.last = budget.last
        self.amount = ZERO
        """the lease, as the store has it"""
        self.free = ZERO
        """the lease less charges that are not shipped and less holds; below zero where charges passed their holds"""

    def __repr__(self) -> str:
        return f"<Purse {self.window.budget[:12]} {self.window.first}: {self.free} of {self.amount} free>"

    def lent(self, amount: Decimal) -> None:
        """The store has granted that much more."""
        self.amount = add(self.amount, amount)
        self.free = add(self.free, amount)

    def shipped(self, usage: Decimal, byok: Decimal) -> None:
        """The store has posted a charge and taken it off the lease, as far as there was one."""
        rest = less(self.amount, self.window.byok, usage, byok)
        counted = add(usage, byok) if self.window.byok else usage
        gone = subtract(self.amount, rest)
        self.amount = rest
        if gone < counted:
            # The charge was more than the lease. It counts whole in what is posted, so it need not count here again.
            self.free = add(self.free, subtract(counted, gone))


NO_PURSES: tuple[Purse, ...] = ()
