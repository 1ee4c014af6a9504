"""What a proof is made of: checks with their figures and failures, what is read of a daybook, and what of the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Context, Decimal, Inexact, localcontext
from typing import Protocol

import msgspec

from routebook.core.generation import Row
from routebook.core.money import plain
from routebook.core.people import Key
from routebook.ledger.chain import Break, Link
from routebook.store.lending import Lease
from routebook.store.port import Retired, Spend

MAX_FAILURES = 20
"""failures that a check names; the others are counted"""

PAGE = 2000
EXACT = Context(prec=400, traps=[Inexact])

Progress = Callable[[str, int, int | None], None]
"""(what is looked at, how many were, of how many if that is known); called often"""


class Source(Protocol):
    """What is read of a daybook; `daybook.reading.ReadOnlyDaybook` has it."""

    @property
    def name(self) -> str: ...

    def rows(self, after: int, limit: int) -> list[Row]: ...

    def calls(self) -> Iterator[list[Row]]: ...

    def call(self, n: int) -> list[Row]: ...

    def highest(self) -> tuple[int, int]: ...

    def begins(self) -> tuple[int, int]: ...

    def links(self) -> list[Link]: ...

    def breaks(self) -> list[Break]: ...

    def set_aside(self) -> list[str]: ...

    def digest_at(self, seq: int) -> str | None: ...


class Check(msgspec.Struct):
    """One thing that was proved, or not: what it means, its figures, and which records break it."""

    name: str
    proves: str
    figures: dict[str, int | str] = {}
    failures: list[str] = []
    more: int = 0
    """failures beyond those named"""

    @property
    def holds(self) -> bool:
        return not self.failures

    def fail(self, what: str) -> None:
        if len(self.failures) < MAX_FAILURES:
            self.failures.append(what)
        else:
            self.more += 1

    def count(self, figure: str, by: int = 1) -> None:
        self.figures[figure] = int(self.figures.get(figure, 0)) + by


class Snapshot(msgspec.Struct):
    """What the store says at one moment: the spend, and the cursor of each daybook that belongs to it."""

    cursors: dict[str, int]
    spends: list[Spend]
    retired: Retired = Retired(0, [])
    leases: list[Lease] = []
    keys: list[Key] = []


def no_progress(what: str, done: int, of: int | None) -> None:
    """Nobody watches."""


def merged(checks: list[Check]) -> list[Check]:
    """The same check of several daybooks as one: figures added, failures in a row."""
    merged: dict[str, Check] = {}
    for check in checks:
        whole = merged.setdefault(check.name, Check(check.name, check.proves))
        for figure, value in check.figures.items():
            before = whole.figures.get(figure, 0)
            if isinstance(value, int):
                whole.figures[figure] = int(before) + value
            else:
                with localcontext(EXACT):
                    whole.figures[figure] = plain(Decimal(before) + Decimal(value))
        for failure in check.failures:
            whole.fail(failure)
        whole.more += check.more
    return list(merged.values())
