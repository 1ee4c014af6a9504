"""Charges past calls anew by the prices that held when they were accepted, and says what that changes.

Works on what the store has. A new charge is a row in a daybook of its own (docs/decisions/0016-repricing.md); it is in
force, and its difference posted, when the store has taken that row. So a run that is killed at any point loses nothing
that was said to be done, and the next one finds only what is still to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Protocol

import msgspec

from routebook.core.catalog import Accounting
from routebook.core.generation import Amendment, Folded, Revision, Row
from routebook.core.money import ZERO, Charge, add, subtract
from routebook.ledger.pages import pages
from routebook.metering.folding import unfold
from routebook.metering.revision import Sheets, charge_of, differs, price_again
from routebook.store.port import Amended, Posting, Store, Stored
from routebook.store.sheets import posting_of_revision
from routebook.wire.codec import unpack

PAGE = 1000
"""calls looked at, and rows shipped, in one go"""


class Source(Protocol):
    """What is read of the daybook with the revisions; `daybook.port.Daybook` has it."""

    @property
    def name(self) -> str: ...

    def rows(self, after: int, limit: int) -> list[Row]: ...


class Difference(msgspec.Struct):
    """What changes for the calls of one model at one provider. USD, exact."""

    model: str
    provider: str
    calls: int = 0
    """calls that get another charge"""
    old: Decimal = ZERO
    new: Decimal = ZERO
    upstream_old: Decimal = ZERO
    upstream_new: Decimal = ZERO
    """at the providers' prices, as far as they are known"""

    @property
    def difference(self) -> Decimal:
        return subtract(self.new, self.old)

    @property
    def upstream_difference(self) -> Decimal:
        return subtract(self.upstream_new, self.upstream_old)


class Repriced(msgspec.Struct):
    """The report of one run."""

    looked_at: int = 0
    changed: int = 0
    unchanged: int = 0
    left: int = 0
    """calls left as they are, because no price of their endpoint is known for their time, or nothing was sent"""
    groups: dict[tuple[str, str], Difference] = {}
    unknown: dict[tuple[str, str], int] = {}
    """(model, provider) -> calls among `left` that did send something"""

    @property
    def differences(self) -> list[Difference]:
        """In order of model and provider."""
        return [self.groups[place] for place in sorted(self.groups)]

    @property
    def whole(self) -> Difference:
        """All of them together."""
        total = Difference("", "")
        for each in self.differences:
            _add(total, each.calls, (each.old, each.new), (each.upstream_old, each.upstream_new))
        return total


async def reprice(
    store: Store,
    sheets_at: Callable[[int], Sheets],
    accounting: Accounting,
    now_ns: int,
    write: Callable[[list[Revision]], Awaitable[None]] | None,
    *,
    since_ns: int,
    until_ns: int | None = None,
    model: str | None = None,
) -> Repriced:
    """Look at every ended call accepted in [since_ns, until_ns) and write what has to change, page by page.

    `sheets_at`: the price sheets in force at a moment. `write` None: a dry run. Raises Unavailable with the store.
    """
    report = Repriced()
    async for page in pages(store, since_ns, until_ns, model, limit=PAGE):
        revisions: list[Revision] = []
        for stored in page:
            revision = _looked_at(report, stored, unfold(stored.folded), sheets_at, accounting, now_ns)
            if revision is not None:
                revisions.append(revision)
        if write is not None and revisions:
            await write(revisions)
        await asyncio.sleep(0)
    return report


async def ship(daybook: Source, store: Store) -> int:
    """Bring the daybook's revisions into force and post their differences; how many rows were carried over."""
    carried = 0
    cursor = await store.cursor(daybook.name)
    while rows := daybook.rows(after=cursor, limit=PAGE):
        cursor = rows[-1].seq
        amendments: list[Amended] = []
        postings: list[Posting] = []
        for row in rows:
            revision = unpack(row.blob, Amendment).revision
            if revision is not None:
                amendments.append(Amended(revision.daybook, revision.n, row.seq, row.blob))
                postings.append(posting_of_revision(revision))
        await store.ship(daybook.name, cursor, [], postings, amendments)
        carried += len(rows)
    return carried


def _looked_at(
    report: Repriced,
    stored: Stored,
    call: Folded,
    sheets_at: Callable[[int], Sheets],
    accounting: Accounting,
    now_ns: int,
) -> Revision | None:
    report.looked_at += 1
    old = charge_of(call)
    new = price_again(call, sheets_at(stored.accepted_ns), accounting)
    place = (stored.model or "", stored.provider or "")
    if new is None:
        report.left += 1
        if old.lines != ():
            report.unknown[place] = report.unknown.get(place, 0) + 1
        return None
    if not differs(old, new):
        report.unchanged += 1
        return None
    report.changed += 1
    group = report.groups.setdefault(place, Difference(*place))
    _add(group, 1, (old.total, new.total), (old.upstream or ZERO, new.upstream or ZERO))
    return _revision(stored, call, old, new, now_ns)


def _revision(stored: Stored, call: Folded, old: Charge, new: Charge, now_ns: int) -> Revision:
    intent, outcome = call.intent, call.outcome
    assert outcome is not None  # `price_again` gives nothing for an open call
    return Revision(
        id=intent.id,
        daybook=stored.daybook,
        n=stored.n,
        number=len(call.revisions) + 1,
        at_ns=now_ns,
        account=intent.account,
        key_hash=intent.key_hash,
        accepted_ns=intent.accepted_ns,
        is_byok=outcome.is_byok,
        before=old.total,
        upstream_before=old.upstream,
        charge=new,
    )


def _add(group: Difference, calls: int, charged: tuple[Decimal, Decimal], upstream: tuple[Decimal, Decimal]) -> None:
    group.calls += calls
    group.old, group.new = add(group.old, charged[0]), add(group.new, charged[1])
    group.upstream_old, group.upstream_new = add(group.upstream_old, upstream[0]), add(group.upstream_new, upstream[1])
