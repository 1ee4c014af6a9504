"""Proves the book: counts that must add up, a sequence without gaps, lines that sum, a store that says the same.

Works on committed rows, so beside a running gateway as well: every daybook is looked at up to the row that was the
last when the look began, and the store up to the cursor that belongs to the spend that was read. `interrupted` is no
failure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from decimal import Context, Decimal, Inexact, localcontext
from typing import Protocol

import msgspec

from routebook.core.errors import Unavailable
from routebook.core.generation import Folded, Row, State
from routebook.core.ids import locate
from routebook.core.money import ZERO, Charge, plain
from routebook.ledger.posting import posting_of, stored_of
from routebook.ledger.verify_revisions import RevisionProof, charge_faults, revision_in
from routebook.metering.folding import fold, unfold
from routebook.store.port import Posting, Retired, Spend, Store, Stored
from routebook.wire.codec import DecodeError

MAX_FAILURES = 20
"""failures that a check names; the others are counted"""

PAGE = 2000
_SNAPSHOT_TRIES = 1000
_EXACT = Context(prec=400, traps=[Inexact])


class Source(Protocol):
    """What is read of a daybook; `daybook.reading.ReadOnlyDaybook` has it."""

    @property
    def name(self) -> str: ...

    def rows(self, after: int, limit: int) -> list[Row]: ...

    def calls(self) -> Iterator[list[Row]]: ...

    def call(self, n: int) -> list[Row]: ...

    def highest(self) -> tuple[int, int]: ...

    def begins(self) -> tuple[int, int]: ...

    def findings(self) -> list[str]: ...


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


class Report(msgspec.Struct):
    """All checks. `holds` is what the exit code says."""

    daybooks: list[str]
    checks: list[Check]

    @property
    def holds(self) -> bool:
        return all(check.holds for check in self.checks)


class Snapshot(msgspec.Struct):
    """What the store says at one moment: the spend, and the cursor of each daybook that belongs to it."""

    cursors: dict[str, int]
    spends: list[Spend]
    retired: Retired = Retired(0, [])


async def verify(daybooks: Sequence[Source], store: Store | None, revisions: Sequence[Source] = ()) -> Report:
    """Look at all of it. `revisions`: the daybooks that charges made anew are written in. `store` None: nothing was
    ever shipped anywhere. Raises Unavailable if the store is away."""
    every = (*daybooks, *revisions)
    with localcontext(_EXACT):
        snapshot = Snapshot({}, []) if store is None else await _snapshot(every, store)
        books = [_BookProof(book) for book in every]
        proof = _StoreProof({book.name: book for book in daybooks}, snapshot)
        if store is not None:
            await proof.read(store)
            if await store.retired() != snapshot.retired:
                raise Unavailable("Old calls were deleted while the book was looked at; verify again.")
        for book in books:
            book.prove()
            proof.finish(book)
        proof.revise(revisions)
        proof.post()
    checks = _merged([check for book in books for check in book.checks])
    shipped = [] if store is None else [proof.shipped, proof.revisions, proof.postings]
    return Report([book.name for book in daybooks], checks + shipped)


async def _snapshot(daybooks: Sequence[Source], store: Store) -> Snapshot:
    """Spend and cursors that belong together: the shipper moves both in one transaction, so the cursors frame it."""
    before = {book.name: await store.cursor(book.name) for book in daybooks}
    retired = await store.retired()
    for _ in range(_SNAPSHOT_TRIES):
        spends = await store.spend()
        after = {book.name: await store.cursor(book.name) for book in daybooks}
        if after == before:
            return Snapshot(before, spends, retired)
        before = after
        await asyncio.sleep(0)
    raise Unavailable("The store takes rows faster than they can be looked at; verify again when there is less to do.")


class _BookProof:
    """Walks one daybook call by call."""

    def __init__(self, book: Source) -> None:
        self.book = book
        self.last, _ = book.highest()
        self.first, self.first_n = book.begins()
        self.ended: list[tuple[int, int, int]] = []
        """(n, seq of the terminal row, when it was accepted; 0 = its intent is gone) of every ended call"""
        self.calls = Check("calls", "every admitted call is settled, open or interrupted, and none is two of these")
        self.calls.figures = {"admitted": 0, "settled": 0, "open": 0, "interrupted": 0}
        self.sequence = Check("sequence", "no daybook row is missing")
        self.chain = Check("chain", "every row is as it was written, each commit vouches for the one before it")
        self.identity = Check("identity", "every call number has one intent, one id that names it, one end at most")
        self.lines = Check("lines", "the lines of every priced record sum to its total, each line to its amount")
        self.lines.figures = {"priced": 0, "unpriced": 0, "lines": 0, "over_hold": 0}
        self.charged = ZERO
        self.upstream = ZERO

    @property
    def checks(self) -> list[Check]:
        return [self.calls, self.sequence, self.chain, self.identity, self.lines]

    def prove(self) -> None:
        count = 0
        for group in self.book.calls():
            rows = [row for row in group if row.seq <= self.last]
            if rows:
                count += len(rows)
                self._call(rows)
        findings = self.book.findings()
        self.chain.figures = {"findings": len(findings)}
        for finding in findings:
            self.chain.fail(finding)
        gaps = self.last - self.first - count
        self.sequence.figures = {"rows": count, "gaps": gaps}
        if gaps:
            self._name_gaps()
        figures = {name: int(value) for name, value in self.calls.figures.items()}
        if figures["admitted"] != figures["settled"] + figures["open"] + figures["interrupted"]:
            self.calls.fail(f"daybook {self.book.name}: admitted is not settled + open + interrupted")
        self.lines.figures |= {"charged": plain(self.charged), "upstream": plain(self.upstream)}

    def _call(self, rows: list[Row]) -> None:
        n = rows[0].n
        if self._is_revision(rows):
            return
        if n < self.first_n and rows[0].state != State.INTENT:
            # Its beginning left with a segment past retention; the store's check looks at all of it.
            self.calls.count("begun_before")
            self.ended += [(n, row.seq, 0) for row in rows if row.state in State.TERMINAL]
            return
        intents = [row for row in rows if row.state == State.INTENT]
        ends = [row for row in rows if row.state in State.TERMINAL]
        self.calls.count("admitted", len(intents))
        for end in ends:
            self.calls.count("interrupted" if end.state == State.INTERRUPTED else "settled")
        if intents and not ends:
            self.calls.count("open")
        self.identity.count("calls")
        if len(intents) != 1 or len(ends) > 1 or rows[0].state != State.INTENT:
            self.identity.fail(
                f"call {n} of daybook {self.book.name} ({rows[0].id}): {len(intents)} intents, {len(ends)} ends"
            )
        try:
            call = fold(rows)
        except DecodeError as error:
            self.identity.fail(f"call {n} of daybook {self.book.name} ({rows[0].id}) cannot be read: {error}")
            return
        if call is None:
            return
        id = call.intent.id
        if call.intent.n != n or locate(id) != (self.book.name, n) or any(row.id != id for row in rows):
            self.identity.fail(f"call {n} of daybook {self.book.name}: the id {id} does not name it")
        if call.outcome is not None:
            self.ended.append((n, ends[0].seq, call.intent.accepted_ns))
            self._charge(call, call.outcome.charge)

    def _charge(self, call: Folded, charge: Charge) -> None:
        id = call.intent.id
        self.charged += charge.total
        self.upstream += charge.upstream or ZERO
        if call.intent.hold is not None and charge.total > call.intent.hold:
            self.lines.count("over_hold")
        for fault in charge_faults(id, charge):
            self.lines.fail(fault)
        self.lines.count("unpriced" if charge.lines is None else "priced")
        self.lines.count("lines", len(charge.lines or ()))

    def _is_revision(self, rows: list[Row]) -> bool:
        """A row about a call of another daybook, which the store's proof looks at."""
        try:
            return len(rows) == 1 and revision_in(rows[0]) is not None
        except DecodeError:
            return False

    def _name_gaps(self) -> None:
        expected = self.first + 1
        after = self.first
        while rows := self.book.rows(after, PAGE):
            for row in rows:
                if row.seq > self.last:
                    return
                if row.seq != expected:
                    span = str(expected) if row.seq == expected + 1 else f"{expected} to {row.seq - 1}"
                    self.sequence.fail(f"daybook {self.book.name}: row {span} is missing")
                expected = row.seq + 1
            after = rows[-1].seq


class _StoreProof:
    """Compares the store with the daybooks, and its spend with its generations."""

    def __init__(self, books: dict[str, Source], snapshot: Snapshot) -> None:
        self._books = books
        self._snapshot = snapshot
        self._seen: dict[str, set[int]] = {name: set() for name in books}
        self._expected: dict[tuple[str, str, str], Posting] = {}
        self.shipped = Check("shipped", "the store has every ended call up to its cursor, as the daybook has it")
        self.shipped.figures = {"shipped": 0, "waiting": 0, "without_daybook": 0}
        self.revisions = Check(
            "revisions", "every charge made anew replaces the one before it, explains itself, counts once"
        )
        self.postings = Check("postings", "the spend of each key and day is the sum of its shipped calls")
        self._revised = RevisionProof(self.revisions)

    async def read(self, store: Store) -> None:
        """Every generation of the store, page by page, newest first."""
        until: int | None = None
        limit = PAGE
        edge: set[str] = set()
        while True:
            page = await store.generations(account=None, until_ns=until, limit=limit)
            fresh = [stored for stored in page if stored.id not in edge]
            for stored in fresh:
                self._generation(stored)
            if len(page) < limit:
                return
            # The next page begins with the very nanosecond this one ended in, since more calls of it may exist.
            last = page[-1].accepted_ns
            limit = limit if fresh and page[0].accepted_ns != last else limit * 2
            edge = {stored.id for stored in page if stored.accepted_ns == last}
            until = last + 1

    def _generation(self, stored: Stored) -> None:
        book = self._books.get(stored.daybook)
        try:
            kept = unfold(stored.folded)
        except DecodeError as error:
            self.shipped.fail(f"{stored.id}: the store's copy cannot be read: {error}")
            return
        if kept.outcome is None:
            self.shipped.fail(f"{stored.id}: the store's copy has no outcome")
            return
        if book is None:
            self.shipped.count("without_daybook")
        else:
            cursor = self._snapshot.cursors[book.name]
            rows = book.call(stored.n)
            end = next((row.seq for row in rows if row.state in State.TERMINAL), None)
            if end is not None and end > cursor:
                return  # Shipped after the snapshot: the spend that was read does not have it yet.
            self._seen[book.name].add(stored.n)
            if stored.n < book.begins()[1] and (not rows or rows[0].state != State.INTENT):
                self.shipped.count("without_daybook")  # its segment is past retention
            else:
                self.shipped.count("shipped")
                self._same(stored, kept, rows, cursor)
        self._revised.call(kept)
        self._expect(posting_of(kept.intent, kept.outcome))

    def _same(self, stored: Stored, kept: Folded, rows: list[Row], cursor: int) -> None:
        due = max((row.seq for row in rows if row.seq <= cursor and row.state not in _SILENT), default=0)
        try:
            told = fold(row for row in rows if row.seq <= max(kept.seq, due))
        except DecodeError:
            return  # The daybook's own check names it.
        if told is None or told.outcome is None:
            self.shipped.fail(f"{stored.id}: the store has it, daybook {stored.daybook} has not")
            return
        own = tuple(each for each in kept.amendments if each.revision is None)
        kept = msgspec.structs.replace(kept, amendments=own)
        again = msgspec.structs.replace(stored_of(stored.daybook, told), folded=b"")
        if told != kept or again != msgspec.structs.replace(stored, folded=b""):
            self.shipped.fail(f"{stored.id}: the store's copy differs from the rows of daybook {stored.daybook}")

    def _expect(self, posting: Posting) -> None:
        place = (posting.key_hash, posting.account, posting.day)
        known = self._expected.get(place)
        if known is not None:
            posting = msgspec.structs.replace(
                posting,
                usage=known.usage + posting.usage,
                byok=known.byok + posting.byok,
                requests=known.requests + posting.requests,
            )
        self._expected[place] = posting

    def finish(self, book: _BookProof) -> None:
        """What the daybook has ended up to the cursor, and the store has not."""
        name = book.book.name
        cursor = self._snapshot.cursors.get(name, 0)
        for n, seq, accepted_ns in book.ended:
            if seq > cursor:
                self.shipped.count("waiting")
            elif n not in self._seen[name] and accepted_ns < self._snapshot.retired.kept_since_ns:
                self.shipped.count("deleted")
            elif n not in self._seen[name]:
                self.shipped.fail(f"call {n} of daybook {name} is below the cursor {cursor}, but not in the store")
        if cursor > book.last:
            self.shipped.fail(f"the store's cursor for daybook {name} is {cursor}, but its last row is {book.last}")

    def revise(self, books: Sequence[Source]) -> None:
        """The charges made anew, after everything else was read; and what was spent by calls that are deleted."""
        retired = self._snapshot.retired
        for posting in self._revised.finish(books, self._snapshot.cursors, retired.kept_since_ns):
            self._expect(posting)
        for gone in retired.spends:
            # What retention deleted stays spent.
            self._expect(Posting(gone.key_hash, gone.account, gone.day, gone.usage, gone.byok, gone.requests))

    def post(self) -> None:
        """The spend, key by key and day by day."""
        total = ZERO
        found = {(spend.key_hash, spend.account, spend.day): spend for spend in self._snapshot.spends}
        for place in sorted(found.keys() | self._expected.keys()):
            spend, posting = found.get(place), self._expected.get(place)
            usage, byok, requests = (ZERO, ZERO, 0) if spend is None else (spend.usage, spend.byok, spend.requests)
            due = (ZERO, ZERO, 0) if posting is None else (posting.usage, posting.byok, posting.requests)
            total += usage
            if (usage, byok, requests) != due:
                self.postings.fail(
                    f"key {place[0][:12]} on {place[2]}: posted {_spent(usage, byok, requests)}, "
                    f"its shipped calls make {_spent(*due)}"
                )
        self.postings.figures = {"keys_and_days": len(found), "posted": plain(total)}


_SILENT = frozenset({State.INTENT, State.PROGRESS})
"""rows that the shipper passes by without a word"""


def _spent(usage: Decimal, byok: Decimal, requests: int) -> str:
    own = f" + {plain(byok)} on own keys" if byok else ""
    return f"{plain(usage)}{own} in {requests} calls"


def _merged(checks: list[Check]) -> list[Check]:
    """The same check of several daybooks as one: figures added, failures in a row."""
    merged: dict[str, Check] = {}
    for check in checks:
        whole = merged.setdefault(check.name, Check(check.name, check.proves))
        for figure, value in check.figures.items():
            before = whole.figures.get(figure, 0)
            if isinstance(value, int):
                whole.figures[figure] = int(before) + value
            else:
                with localcontext(_EXACT):
                    whole.figures[figure] = plain(Decimal(before) + Decimal(value))
        for failure in check.failures:
            whole.fail(failure)
        whole.more += check.more
    return list(merged.values())
