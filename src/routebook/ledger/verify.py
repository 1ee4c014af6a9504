"""Proves the book: counts that must add up, a sequence without gaps, lines that sum, a store that says the same.

Works on committed rows, so beside a running gateway as well: every daybook is looked at up to the row that was the
last when the look began, and the store up to the cursor that belongs to the spend that was read. `interrupted` is no
failure, and neither is what retention deleted: it is counted, and its spend stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import localcontext

import msgspec

from routebook.core.errors import Unavailable
from routebook.ledger.chain import Chain, Head, against, chain_of
from routebook.ledger.checks import (
    EXACT,
    MAX_FAILURES,
    PAGE,
    Check,
    Progress,
    Snapshot,
    Source,
    merged,
    no_progress,
)
from routebook.ledger.verify_book import BookProof
from routebook.ledger.verify_store import StoreProof
from routebook.store.port import Store

__all__ = ["MAX_FAILURES", "PAGE", "Check", "Report", "Source", "verify"]

_SNAPSHOT_TRIES = 1000
_LOOKS = 5


class Report(msgspec.Struct):
    """All checks. `holds` is what the exit code says."""

    daybooks: list[str]
    checks: list[Check]
    chains: list[Chain] = []
    """of every daybook, those of revisions included"""

    @property
    def holds(self) -> bool:
        return all(check.holds for check in self.checks)


async def verify(
    daybooks: Sequence[Source],
    store: Store | None,
    revisions: Sequence[Source] = (),
    progress: Progress = no_progress,
    heads: Sequence[Head] = (),
) -> Report:
    """Look at all of it. `revisions`: the daybooks that charges made anew are written in. `store` None: nothing was
    ever shipped anywhere. `heads`: where chains stood when somebody noted it. Raises Unavailable if the store is away.
    """
    for _ in range(_LOOKS):
        with localcontext(EXACT):
            report = await _look(daybooks, store, revisions, progress, heads)
        if report is not None:
            return report
    raise Unavailable("Retention deleted calls each time the book was looked at; verify again in an hour.")


async def _look(
    daybooks: Sequence[Source],
    store: Store | None,
    revisions: Sequence[Source],
    progress: Progress,
    heads: Sequence[Head],
) -> Report | None:
    """None if retention deleted calls meanwhile: then some were read and are counted as deleted as well."""
    every = (*daybooks, *revisions)
    snapshot = Snapshot({}, []) if store is None else await _snapshot(every, store)
    books = [BookProof(book) for book in every]
    proof = StoreProof({book.name: book for book in daybooks}, snapshot)
    if store is not None:
        await proof.read(store, progress)
        if await store.retired() != snapshot.retired:
            return None
    for book in books:
        book.prove(progress)
        proof.finish(book)
    proof.revise(revisions)
    proof.post()
    proof.lend()
    checks = merged([check for book in books for check in book.checks])
    chains = [chain_of(book) for book in every]
    if heads:
        _compare(heads, every, next(check for check in checks if check.name == "chain") if checks else None, checks)
    return Report([book.name for book in daybooks], checks + ([] if store is None else proof.checks), chains)


def _compare(heads: Sequence[Head], books: Sequence[Source], chain: Check | None, checks: list[Check]) -> None:
    """Heads that were noted earlier against what is here."""
    if chain is None:
        chain = Check("chain", BookProof.CHAIN)
        checks.append(chain)
    standing, breaks = against(heads, books)
    chain.figures["heads"] = standing
    for each in breaks:
        chain.fail(each.what)


async def _snapshot(daybooks: Sequence[Source], store: Store) -> Snapshot:
    """Spend and cursors that belong together: the shipper moves both in one transaction, so the cursors frame it."""
    before = {book.name: await store.cursor(book.name) for book in daybooks}
    retired = await store.retired()
    for _ in range(_SNAPSHOT_TRIES):
        spends = await store.spend()
        after = {book.name: await store.cursor(book.name) for book in daybooks}
        if after == before:
            return Snapshot(before, spends, retired, await store.leases(), await store.keys())
        before = after
        await asyncio.sleep(0)
    raise Unavailable("The store takes rows faster than they can be looked at; verify again when there is less to do.")
