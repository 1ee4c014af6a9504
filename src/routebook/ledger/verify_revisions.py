"""Proves charges that were made anew: each continues the one before it, explains itself, and is posted once.

A revision is written in a daybook of its own and counts when the store has it. So the store's copies are gathered first
and the rows are read after that: whatever the store has was written by then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from routebook.core.generation import Amendment, Folded, Revision, Row, State
from routebook.core.money import ZERO, Charge, add, plain
from routebook.store.port import Posting
from routebook.store.sheets import posting_of_revision
from routebook.wire.codec import DecodeError, unpack

_PAGE = 2000


class Source(Protocol):
    """What is read of a daybook."""

    @property
    def name(self) -> str: ...

    def rows(self, after: int, limit: int) -> list[Row]: ...


class Findings(Protocol):
    """Where figures and failures go; `ledger.verify.Check` has it."""

    figures: dict[str, int | str]

    def fail(self, what: str) -> None: ...

    def count(self, figure: str, by: int = 1) -> None: ...


def revision_in(row: Row) -> Revision | None:
    """The revision that a row carries, None for any other row. Raises DecodeError."""
    return unpack(row.blob, Amendment).revision if row.state == State.AMENDMENT else None


def charge_faults(name: str, charge: Charge) -> Iterable[str]:
    """What does not add up in a charge: its lines to its total, each line to its amount."""
    if charge.lines is None:
        if not charge.unpriced:
            yield f"{name}: no cost lines, though it is not marked unpriced"
        return
    total = ZERO
    for line in charge.lines:
        total = add(total, line.amount)
        if line.count is not None and line.rate is not None and line.count * line.rate != line.amount:
            yield f"{name}: {line.item}: {line.count} x {plain(line.rate)} is not {plain(line.amount)}"
    if total != charge.total:
        yield f"{name}: the lines sum to {plain(total)}, the total is {plain(charge.total)}"


class RevisionProof:
    """Gathers what the store says of revised calls; `finish` compares it with the rows."""

    def __init__(self, check: Findings) -> None:
        self._check = check
        check.figures = {"revised": 0, "revisions": 0, "waiting": 0, "difference": "0"}
        self._kept: dict[tuple[str, int], Revision] = {}

    def call(self, call: Folded) -> None:
        """A call of the store, with its revisions."""
        before = call.outcome.charge if call.outcome is not None else Charge()
        for due, revision in enumerate(call.revisions, start=1):
            name = f"{call.intent.id}, revision {revision.number}"
            if revision.number != due:
                self._check.fail(f"{name}: revision {due} was due")
            if (revision.before, revision.upstream_before) != (before.total, before.upstream):
                self._check.fail(f"{name} does not replace {plain(before.total)}, the charge that was in force")
            if (revision.id, revision.account, revision.key_hash, revision.accepted_ns) != (
                call.intent.id,
                call.intent.account,
                call.intent.key_hash,
                call.intent.accepted_ns,
            ):
                self._check.fail(f"{name} is about another call")
            for fault in charge_faults(name, revision.charge):
                self._check.fail(fault)
            self._kept[revision.id, revision.number] = revision
            before = revision.charge
        if call.revisions:
            self._check.count("revised")

    def finish(self, books: Sequence[Source], cursors: dict[str, int], gone_before_ns: int = 0) -> list[Posting]:
        """What the revisions in force add to the postings. `cursors`: what the store has of each book, as of the spend
        that was read. Calls accepted before `gone_before_ns` may have left the store with their revisions."""
        later: set[tuple[str, int]] = set()
        for book in books:
            for row, revision in self._written(book):
                place = (revision.id, revision.number)
                kept = self._kept.get(place)
                if row.seq > cursors.get(book.name, 0):
                    self._check.count("waiting")
                    later.add(place)
                elif kept is None and revision.accepted_ns >= gone_before_ns:
                    self._check.fail(f"{revision.id}: the store does not have revision {revision.number}")
                elif kept is not None and kept != revision:
                    self._check.fail(
                        f"{revision.id}: the store has another revision {revision.number} than was written"
                    )
        due, difference = [], ZERO
        for place, revision in self._kept.items():
            if place not in later:
                due.append(posting_of_revision(revision))
                difference = add(difference, revision.difference)
        self._check.count("revisions", len(due))
        self._check.figures["difference"] = plain(difference)
        return due

    def _written(self, book: Source) -> Iterable[tuple[Row, Revision]]:
        after = 0
        while rows := book.rows(after, _PAGE):
            after = rows[-1].seq
            for row in rows:
                try:
                    revision = revision_in(row)
                except DecodeError as error:
                    self._check.fail(f"row {row.seq} of daybook {book.name} cannot be read: {error}")
                    continue
                if revision is not None:
                    yield row, revision
