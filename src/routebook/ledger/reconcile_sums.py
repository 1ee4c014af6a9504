"""Reconciliation of exports in buckets: sums of every bucket and model, against the attempts that fall into it. Pure.

A provider puts a call into a bucket by its begin or by its end and does not say which; calls that span a boundary tell.
Both readings are tried on the whole file, and the one that leaves fewer differences counts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from routebook.core.money import ZERO, add, subtract
from routebook.ledger.bookside import Book, Entry
from routebook.ledger.export_lines import DAY_NS, Export, Line, Tokens, family
from routebook.ledger.reconcile import (
    Comparison,
    Difference,
    Kind,
    Report,
    Side,
    by_call,
    deltas_of,
    missing_in_export,
    replaced,
    side_of_entries,
    side_of_lines,
)

Place = tuple[int, int, str | None, bool]
"""start and end of the bucket, family (None = all models in one), web searches alone"""


def reconcile(export: Export, book: Book, since_ns: int, until_ns: int) -> Report:
    """Compare by call where the export has ids, else by sums."""
    if export.by_call:
        return by_call(export, book, since_ns, until_ns)
    whole = msgspec.structs.replace(export, lines=[_bucketed(line) for line in export.lines])
    begun = _Sums(whole, book, since_ns, until_ns, ended=False)
    begun.compare()
    ended = _Sums(whole, book, since_ns, until_ns, ended=True)
    ended.compare()
    if _serious(ended) < _serious(begun):
        return ended.report("bucket", ended.counted, ["calls are counted where they ended, as the export does"])
    return begun.report("bucket", begun.counted)


def _serious(work: Comparison) -> int:
    return sum(difference.kind is not Kind.ROUNDING for difference in work.differences)


def _bucketed(line: Line) -> Line:
    """A call without an id counts to its UTC day."""
    if line.end_ns is not None:
        return line
    start = line.start_ns - line.start_ns % DAY_NS
    return msgspec.structs.replace(line, start_ns=start, end_ns=start + DAY_NS, requests=1)


class _Sums(Comparison):
    def __init__(self, export: Export, book: Book, since_ns: int, until_ns: int, *, ended: bool) -> None:
        super().__init__(export, book, since_ns, until_ns)
        self._ended = ended
        self._one = bool(self.lines) and all(line.model is None for line in self.lines)
        self._families = {family(line.model) for line in self.lines if line.model is not None}
        self._searches = any(line.searches for line in self.lines)
        spans = {(line.start_ns, line.end_ns) for line in self.lines if line.end_ns is not None}
        self._spans = sorted(spans | {span for span in export.spans if self.holds(*span)})
        self._has_counts = any(line.tokens.known() for line in self.lines)
        self._starts = [start for start, _ in self._spans]
        widths = Counter(end - start for start, end in self._spans)
        self._width = widths.most_common(1)[0][0] if widths else DAY_NS
        self.counted: list[Entry] = []

    def compare(self) -> None:
        theirs: dict[Place, list[Line]] = {}
        for line in self.lines:
            theirs.setdefault(self._place_of_line(line), []).append(line)
        ours: dict[Place, list[Entry]] = {}
        for entry in self.book.entries:
            moment = entry.ended_ns if self._ended else entry.sent_ns
            start, end = self._bucket(moment)
            if self.holds(start, end) and not entry.own_key:
                ours.setdefault((start, end, self._family(entry), False), []).append(entry)
        self.counted = [entry for entries in ours.values() for entry in entries]
        places = {place for place in theirs if not place[3]} | ours.keys()
        for place in sorted(places, key=lambda place: (place[0], place[2] or "")):
            self._group(place, theirs.get(place, []), ours.get(place, []))
        if self._searches:
            self._search_lines(theirs, ours)
        self._renamed()

    def _place_of_line(self, line: Line) -> Place:
        assert line.end_ns is not None
        name = None if self._one or line.model is None else family(line.model)
        return (line.start_ns, line.end_ns, name, line.searches)

    def _bucket(self, moment: int) -> tuple[int, int]:
        """The bucket of a moment; one that the file leaves out, since it is empty, is as wide as the others."""
        place = bisect_right(self._starts, moment) - 1
        if place >= 0 and moment < self._spans[place][1]:
            return self._spans[place]
        base = self._starts[0] if self._starts else 0
        start = base + (moment - base) // self._width * self._width
        return start, start + self._width

    def _family(self, entry: Entry) -> str | None:
        if self._one:
            return None
        return next((name for name in entry.families if name in self._families), entry.families[0])

    def _group(self, place: Place, lines: list[Line], entries: list[Entry]) -> None:
        billed = [entry for entry in entries if entry.billed]
        theirs, ours = side_of_lines(lines), side_of_entries(billed)
        if self._searches and ours.cost is not None:
            ours = msgspec.structs.replace(ours, cost=subtract(ours.cost, _searched(billed)))
        if not any(theirs.tokens.known().values()) and not theirs.cost and not theirs.requests:
            if billed and (self._has_counts or ours.cost != ZERO):
                self._add(place, missing_in_export(billed, place[0], place[1]), lines)
            else:
                self.agreed += bool(lines or billed)
            return
        if not billed:
            self._add(place, _unknown(theirs, entries), lines)
            return
        found = self._missing(theirs, ours, billed, entries) or self.judge(theirs, ours, billed, len(lines))
        self.agreed += not found
        for difference in found:
            self._add(place, difference, lines)

    def _missing(self, theirs: Side, ours: Side, billed: list[Entry], entries: list[Entry]) -> list[Difference]:
        """Calls that one side has more of. Without a count of requests the tokens have to tell."""
        deltas = deltas_of(theirs.tokens, ours.tokens)
        if theirs.requests in (None, ours.requests) and _estimates_may_be(theirs, ours, billed):
            return []
        off = None if theirs.requests is None else theirs.requests - (ours.requests or 0)
        if off == 0 or (off is None and not deltas):
            return []
        if off is not None and not deltas and 0 < off <= len(entries) - len(billed):
            return []  # They count tries that cost nothing, and the book has as many of those.
        more = (off if off is not None else 0) > 0
        if off is None:
            counts = [deltas.get("prompt", 0), deltas.get("completion", 0)]
            if not all(count > 0 for count in counts) and not all(count < 0 for count in counts):
                return []
            more = counts[0] > 0
        told = ", ".join(f"{kind} {count:+,}" for kind, count in deltas.items()) or "no tokens"
        told = f"{told} in {off:+,} requests" if off is not None else f"{told}; the export counts no requests"
        cost = None if theirs.cost is None or ours.cost is None else subtract(theirs.cost, ours.cost)
        found = Difference(kind=Kind.MISSING_IN_BOOK, start_ns=0, export=theirs, book=ours, cost=cost, why=told)
        if more:
            return [_with_pending(found, entries)]
        named = _just(billed, {kind: -count for kind, count in deltas.items()}, -(off or -1))
        generations = named or tuple(dict.fromkeys(entry.generation for entry in billed))[:5]
        told = f"{told}; one call has just these counts" if named else f"{told}; it is among these calls"
        return [msgspec.structs.replace(replaced(found, Kind.MISSING_IN_EXPORT, told), generations=generations)]

    def _search_lines(self, theirs: dict[Place, list[Line]], ours: dict[Place, list[Entry]]) -> None:
        """Web searches, which such exports charge apart from any model."""
        for start, end in sorted({place[:2] for place in (*theirs, *ours)}):
            lines = [line for place, rows in theirs.items() if place[:2] == (start, end) and place[3] for line in rows]
            entries = [each for place, found in ours.items() if place[:2] == (start, end) for each in found]
            searched = [entry for entry in entries if entry.searches]
            left, right = side_of_lines(lines), Side(None, Tokens(), _searched(searched))
            place = (start, end, "web search", True)
            if not searched:
                if left.cost:
                    self._add(place, _unknown(left, []), lines)
                continue
            found = self.judge(Side(None, Tokens(), left.cost or ZERO), right, searched, max(1, len(lines)))
            self.agreed += not found
            for difference in found:
                self._add(place, difference, lines)

    def _add(self, place: Place, found: Difference, lines: list[Line]) -> None:
        keys = {line.key for line in lines if line.key}
        named = sorted({line.model for line in lines if line.model}) or ([place[2]] if place[2] else [])
        self.differences.append(
            msgspec.structs.replace(
                found,
                start_ns=place[0],
                end_ns=place[1],
                model=", ".join(named) or None,
                key=keys.pop() if len(keys) == 1 else None,
            )
        )

    def _renamed(self) -> None:
        """What is missing on both sides of a bucket with the same counts is one thing under two names."""
        for left in [found for found in self.differences if found.kind is Kind.MISSING_IN_BOOK and found.book is None]:
            for right in self.differences:
                if right.kind is not Kind.MISSING_IN_EXPORT or right.export is not None:
                    continue
                if (left.start_ns, left.end_ns) != (right.start_ns, right.end_ns):
                    continue
                assert left.export is not None
                assert right.book is not None
                same = left.export.tokens.known() and not deltas_of(left.export.tokens, right.book.tokens)
                if same and (left.export.cost is None or left.export.cost == right.book.cost):
                    self.differences.remove(left)
                    self.differences.remove(right)
                    self.agreed += 1
                    break


def _estimates_may_be(theirs: Side, ours: Side, billed: list[Entry]) -> bool:
    """Calls whose counts are estimated may explain the difference: their bills lie below their holds."""
    guessed = [entry for entry in billed if entry.estimated]
    room = ZERO
    for entry in guessed:
        if entry.cost is None or entry.hold is None:
            return True
        room = add(room, subtract(entry.hold, entry.cost))
    return bool(guessed) and (theirs.cost is None or ours.cost is None or subtract(theirs.cost, ours.cost) <= room)


def _searched(entries: Sequence[Entry]) -> Decimal:
    total = ZERO
    for entry in entries:
        total = add(total, entry.searches)
    return total


def _unknown(theirs: Side, entries: list[Entry]) -> Difference:
    found = Difference(kind=Kind.MISSING_IN_BOOK, start_ns=0, export=theirs, cost=theirs.cost)
    return _with_pending(found, entries)


def _with_pending(found: Difference, entries: list[Entry]) -> Difference:
    """Calls whose counts nobody knows explain what the provider has more of."""
    pending = [entry for entry in entries if entry.pending]
    if not pending:
        return found
    told = f"{len(pending)} of the book's calls here ended, or runs, without known counts"
    return msgspec.structs.replace(
        found,
        likely="unfinished",
        generations=tuple(dict.fromkeys(entry.generation for entry in pending))[:5],
        why=f"{found.why}; {told}" if found.why else told,
    )


def _just(entries: list[Entry], counts: dict[str, int], requests: int) -> tuple[str, ...]:
    """The one call that has exactly those counts, if there is exactly one."""
    if requests != 1:
        return ()
    wanted = Tokens(**counts)
    found = [entry for entry in entries if not deltas_of(wanted, entry.tokens)]
    return (found[0].generation,) if len(found) == 1 else ()
