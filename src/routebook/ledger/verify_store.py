"""Compares the store with the daybooks, and its spend with its generations, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from routebook.core.generation import Folded, Row, State
from routebook.core.money import ZERO, add, plain
from routebook.ledger.checks import PAGE, Check, Progress, Snapshot, Source, no_progress
from routebook.ledger.pages import pages
from routebook.ledger.posting import posting_of, stored_of
from routebook.ledger.verify_book import BookProof
from routebook.ledger.verify_revisions import RevisionProof
from routebook.metering.folding import fold, unfold
from routebook.store.lending import key_budget
from routebook.store.port import Posting, RetiredBook, Store, Stored
from routebook.wire.codec import DecodeError


class StoreProof:
    """Compares the store with the daybooks, and its spend with its generations."""

    def __init__(self, books: dict[str, Source], snapshot: Snapshot) -> None:
        self._books = books
        self._snapshot = snapshot
        self._gone = {book.daybook: book for book in snapshot.retired.books}
        self._seen: dict[str, set[int]] = {name: set() for name in books}
        self._expected: dict[tuple[str, str, str], Posting] = {}
        self.shipped = Check("shipped", "the store has every ended call up to its cursor, as the daybook has it")
        self.shipped.figures = {"shipped": 0, "waiting": 0, "without_daybook": 0}
        self.revisions = Check(
            "revisions", "every charge made anew replaces the one before it, explains itself, counts once"
        )
        self.retention = Check("retention", "what retention deleted is counted, and its spend stays")
        self.postings = Check("postings", "the spend of each key and day is the sum of its shipped calls")
        self.leases = Check("leases", "what is lent of each budget is an amount that a daybook may still spend")
        self._revised = RevisionProof(self.revisions)

    @property
    def checks(self) -> list[Check]:
        return [self.shipped, self.retention, self.revisions, self.postings, self.leases]

    async def read(self, store: Store, progress: Progress = no_progress) -> None:
        """Every generation of the store, page by page, newest first."""
        done, of = 0, sum((await store.states(None, 0, None)).values())
        async for page in pages(store, limit=PAGE):
            for stored in page:
                self._generation(stored)
            done += len(page)
            progress("the store's calls", done, max(done, of))

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

    def finish(self, book: BookProof) -> None:
        """What the daybook has ended up to the cursor, and the store has not."""
        name = book.book.name
        cursor = self._snapshot.cursors.get(name, 0)
        gone, deleted = self._gone.get(name, RetiredBook(name, 0, 0)), 0
        for n, seq, accepted_ns in book.ended:
            if seq > cursor:
                self.shipped.count("waiting")
            elif n in self._seen[name]:
                continue
            elif seq <= gone.seq and accepted_ns < self._snapshot.retired.kept_since_ns:
                deleted += 1
            else:
                self.shipped.fail(f"call {n} of daybook {name} is below the cursor {cursor}, but not in the store")
        if deleted:
            self.shipped.count("deleted", deleted)
        if deleted > gone.calls:
            self.retention.fail(
                f"daybook {name}: {deleted} calls are not in the store, but retention deleted {gone.calls} of it"
            )
        if cursor > book.last:
            self.shipped.fail(f"the store's cursor for daybook {name} is {cursor}, but its last row is {book.last}")

    def revise(self, books: Sequence[Source]) -> None:
        """The charges made anew, after everything else was read; and what was spent by calls that are deleted."""
        retired = self._snapshot.retired
        for posting in self._revised.finish(books, self._snapshot.cursors, retired.kept_since_ns):
            self._expect(posting)
        counted, spent = sum(book.calls for book in retired.books), sum(each.requests for each in retired.spends)
        self.retention.figures = {"deleted": counted}
        for book in retired.books:
            self.retention.figures[f"{book.daybook} up to row"] = book.seq
        if counted != spent:
            self.retention.fail(f"{counted} calls were deleted, but the spend that was kept is of {spent}")
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

    def lend(self) -> None:
        """The leases: who has one, and that it is one."""
        lent = ZERO
        known = self._snapshot.cursors.keys()
        self.leases.figures = {"leases": 0, "elsewhere": 0, "above_limit": self._above_limit()}
        for lease in self._snapshot.leases:
            window, what = lease.window, f"lease of {lease.window.budget[:16]} to daybook {lease.daybook}"
            self.leases.count("leases")
            if lease.daybook not in known:
                self.leases.count("elsewhere")
            if not lease.amount.is_finite() or lease.amount <= 0:
                self.leases.fail(f"{what}: {lease.amount} is no amount that can be lent")
                continue
            if window.first > window.last:
                self.leases.fail(f"{what}: its days {window.first} to {window.last} are no window")
            lent = add(lent, lease.amount)
        self.leases.figures["lent"] = plain(lent)

    def _above_limit(self) -> int:
        """Keys of which more is posted and lent than their limit: it was lowered, or charges passed their holds."""
        limits = {key_budget(key.hash): key.limit for key in self._snapshot.keys if key.limit is not None}
        above = set()
        for lease in self._snapshot.leases:
            window, limit = lease.window, limits.get(lease.window.budget)
            if limit is None:
                continue
            taken = ZERO
            for other in self._snapshot.leases:
                if window.overlaps(other.window):
                    taken = add(taken, other.amount)
            for spend in self._snapshot.spends:
                if key_budget(spend.key_hash) == window.budget and window.holds(spend.day):
                    taken = add(taken, add(spend.usage, spend.byok) if window.byok else spend.usage)
            if taken > limit:
                above.add(window.budget)
        return len(above)


_SILENT = frozenset({State.INTENT, State.PROGRESS})
"""rows that the shipper passes by without a word"""


def _spent(usage: Decimal, byok: Decimal, requests: int) -> str:
    own = f" + {plain(byok)} on own keys" if byok else ""
    return f"{plain(usage)}{own} in {requests} calls"
