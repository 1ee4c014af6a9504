"""Whether the book is complete, as one answer for a monitor: counts by state, rows, cursors, chain heads, a verdict.

Cheaper than the whole proof (`ledger.verify`): no record is read and no charge is added up. What it proves: no row of
the daybooks here is missing or changed, every call that ended is in the store or waits to be, and no call ended twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from routebook.core.errors import Unavailable
from routebook.core.generation import Folded, State
from routebook.ledger.chain import Head
from routebook.store.port import RetiredBook, Store

WAITING_MAX = 50_000
"""rows that may wait to be shipped; with more nobody is told anything but that"""

_TRIES = 50


class Standing(msgspec.Struct, frozen=True):
    """One daybook as its files are now."""

    daybook: str
    after: int
    """rows up to that one left with segments past retention, if there were any"""
    rows: int
    gaps: int
    """rows that are missing among those that are there"""
    segments: int
    ends: int
    """calls that ended with one of these rows"""
    strays: int
    """ends of calls that had ended before, or had never begun"""
    breaks: list[str]
    head: Head
    """`seq`: the last row"""
    late: list[tuple[int, int, Folded | None]]
    """(row, state, the call) of each call that ended behind the cursor that was asked about; None: it has no intent"""
    under_way: list[Folded]


Look = Callable[[dict[str, int]], Awaitable[list[Standing]]]
"""Looks at the daybooks of this host, given what the store has of each by name (absent: nothing)."""


class Counts(msgspec.Struct):
    """Calls of one account, or of all, that were accepted in a period."""

    done: int = 0
    error: int = 0
    cancelled: int = 0
    interrupted: int = 0
    blocked: int = 0
    open: int = 0

    def add(self, state: int | None, by: int = 1) -> None:
        name = "open" if state is None else State.NAMES[state]
        setattr(self, name, getattr(self, name) + by)

    @property
    def settled(self) -> int:
        return self.done + self.error + self.cancelled + self.blocked


class Shelved(msgspec.Struct, frozen=True):
    """A daybook beside what the store has of it."""

    standing: Standing
    shipped: int
    """the store has all rows up to that one"""
    waiting: int
    """rows behind that one"""
    deleted: int
    """calls of it that retention deleted from the store"""


class Completeness(msgspec.Struct, frozen=True):
    """The answer; `reasons` says what is wrong, empty where nothing is."""

    counts: Counts
    admitted: int
    """calls with an intent; `settled + open + interrupted` is the same where all is well"""
    deleted: int
    """calls that retention deleted, of all accounts and times; none of them is in the counts"""
    kept_since_ns: int
    daybooks: list[Shelved]
    reasons: list[str]


async def completeness(
    names: Sequence[str], look: Look, store: Store, account: str | None, since_ns: int, until_ns: int | None
) -> Completeness:
    """Counts of calls accepted in [since_ns, until_ns) by `account` (None = all), and all daybooks called `names`.

    Raises Unavailable where the store is away, or so far behind that counting would take long.
    """
    cursors, states = await _states(names, store, account, since_ns, until_ns)
    # The files are looked at after the store: whatever it had by then is among their rows.
    standings = await look(cursors)
    retired = await store.retired()
    gone = {book.daybook: book for book in retired.books}
    counts, reasons = Counts(), []  # type: Counts, list[str]
    for state, count in states.items():
        counts.add(state, count)
    admitted = sum(states.values())
    shelved = []
    for each in standings:
        cursor = cursors.get(each.daybook, 0)
        for _, state, call in each.late:
            if call is None:
                counts.add(state)  # nobody knows whose it is or when it began, and it is wrong in any case
            elif _wanted(call, account, since_ns, until_ns):
                counts.add(state)
                admitted += 1
        for call in each.under_way:
            if _wanted(call, account, since_ns, until_ns):
                counts.add(None)
                admitted += 1
        reasons += await _wrong(each, cursor, gone.get(each.daybook), store)
        deleted = gone[each.daybook].calls if each.daybook in gone else 0
        shelved.append(Shelved(each, cursor, max(0, each.head.seq - max(cursor, each.after)), deleted))
    if admitted != counts.settled + counts.open + counts.interrupted:
        reasons.append(
            f"{admitted} calls were admitted, but {counts.settled} are settled, {counts.open} open and "
            f"{counts.interrupted} interrupted"
        )
    deleted = sum(book.calls for book in retired.books)
    return Completeness(counts, admitted, deleted, retired.kept_since_ns, shelved, reasons)


async def _states(
    names: Sequence[str], store: Store, account: str | None, since_ns: int, until_ns: int | None
) -> tuple[dict[str, int], dict[int, int]]:
    """Cursors and counts that belong together: the shipper moves both in one transaction, so the cursors frame it."""
    before = {name: await store.cursor(name) for name in names}
    for _ in range(_TRIES):
        states = await store.states(account, since_ns, until_ns)
        after = {name: await store.cursor(name) for name in names}
        if after == before:
            return before, states
        before = after
    raise Unavailable("The store takes rows faster than they can be counted; ask again, or for a shorter period.")


async def _wrong(each: Standing, cursor: int, gone: RetiredBook | None, store: Store) -> list[str]:
    """What is wrong with one daybook; a sentence each."""
    found = list(each.breaks)
    if each.strays:
        found.append(f"daybook {each.daybook}: {each.strays} calls ended twice, or without having begun")
    if cursor > each.head.seq:
        found.append(f"daybook {each.daybook} ends at row {each.head.seq}, but the store has its rows up to {cursor}")
        return found
    due = each.ends - len(each.late)
    kept = await store.ended(each.daybook, each.after, cursor)
    deleted = gone.calls if gone is not None and gone.seq > each.after else 0
    if not due - deleted <= kept <= due:
        found.append(f"daybook {each.daybook}: {due} calls ended up to row {cursor}, but the store has {kept} of them")
    return found


def _wanted(call: Folded, account: str | None, since_ns: int, until_ns: int | None) -> bool:
    intent = call.intent
    return (
        account in (None, intent.account)
        and intent.accepted_ns >= since_ns
        and (until_ns is None or intent.accepted_ns < until_ns)
    )
