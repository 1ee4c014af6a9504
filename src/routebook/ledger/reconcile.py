"""Compares a provider's usage export with the book and classifies every difference. Pure.

An export with a row for each call is matched by the provider's id of the call; one in buckets is compared by sums of
bucket and model. Nothing is tolerated but rounding: half of the last digit that the export writes, for each of its
rows, and the noise of a double where amounts were JSON numbers.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from decimal import Decimal
from enum import StrEnum

import msgspec

from routebook.core.money import EXACT, ZERO, add, plain, subtract
from routebook.ledger.bookside import Book, Entry, priced_again
from routebook.ledger.export_lines import KINDS, Export, Line, Tokens, family

NEAR_NS = 600 * 10**9
"""a row and a call without an id of the provider are the same if nothing else is that near"""
_NOISE = Decimal("1e-12")
_HALF = Decimal("0.5")


class Kind(StrEnum):
    """What a difference is."""

    MISSING_IN_BOOK = "missing_in_book"
    MISSING_IN_EXPORT = "missing_in_export"
    TOKENS = "tokens"
    PRICE = "price"
    COST = "cost"
    ESTIMATE = "estimate"
    UNPRICED = "unpriced"
    ROUNDING = "rounding"


MEANINGS = {
    Kind.MISSING_IN_BOOK: "the provider billed it, the book has no such call",
    Kind.MISSING_IN_EXPORT: "the book has it, the provider did not bill it",
    Kind.TOKENS: "the same calls, other counts",
    Kind.PRICE: "the same counts, another amount",
    Kind.COST: "another amount, and the export has no counts that could say why",
    Kind.ESTIMATE: "the book's counts are an estimate; the provider's are known now",
    Kind.UNPRICED: "the book has no price for this model",
    Kind.ROUNDING: "less than the export's own rounding: no disagreement",
}


class Side(msgspec.Struct, frozen=True):
    """What one side says. None = it does not say."""

    requests: int | None = None
    tokens: Tokens = Tokens()
    cost: Decimal | None = None


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One disagreement, with both sides as they are."""

    kind: Kind
    start_ns: int
    end_ns: int | None = None
    model: str | None = None
    id: str | None = None
    """the provider's id of the call"""
    generations: tuple[str, ...] = ()
    export: Side | None = None
    book: Side | None = None
    cost: Decimal | None = None
    """export less book, USD, as far as this difference makes it; None where it is unknown"""
    why: str = ""
    likely: str | None = None
    """of what the book lacks: off_gateway, lost_record, unfinished, before_the_book, or unknown"""
    key: str | None = None
    """whose the export says it is"""


def replaced(found: Difference, kind: Kind, why: str) -> Difference:
    """The same difference under another name."""
    return msgspec.structs.replace(found, kind=kind, why=why)


class Report(msgspec.Struct, kw_only=True):
    """The whole comparison."""

    format: str
    by: str
    """`call` or `bucket`"""
    since_ns: int
    until_ns: int
    export: Side
    book: Side
    agreed: int
    """calls or buckets that are equal to the last unit"""
    differences: list[Difference]
    notes: list[str] = []

    @property
    def agrees(self) -> bool:
        """Nothing differs by more than rounding."""
        return all(difference.kind is Kind.ROUNDING for difference in self.differences)


def period(export: Export) -> tuple[int, int] | None:
    """[since, until) in ns that the export speaks of, None for one without rows."""
    moments = [line.start_ns for line in export.lines if line.end_ns is None]
    since = [*moments, *(start for start, _ in export.spans)]
    until = [*(moment + 1 for moment in moments), *(end for _, end in export.spans)]
    return (min(since), max(until)) if since else None


class Comparison:
    """Both sides and what has been found so far; what the two ways of matching have in common."""

    def __init__(self, export: Export, book: Book, since_ns: int, until_ns: int) -> None:
        self.export = export
        self.book = book
        self.since_ns = since_ns
        self.until_ns = until_ns
        self.lines = [line for line in export.lines if self.holds(line.start_ns, line.end_ns)]
        self.differences: list[Difference] = []
        self.agreed = 0

    def holds(self, start: int, end: int | None) -> bool:
        """The whole of it is in the period; half a bucket could not be compared."""
        return self.since_ns <= start and (start + 1 if end is None else end) <= self.until_ns

    def inside(self, moment: int) -> bool:
        return self.since_ns <= moment < self.until_ns

    def report(self, by: str, ours: Iterable[Entry], notes: Sequence[str] = ()) -> Report:
        """`ours` are the entries that this period of the export is about."""
        counted = list(ours)
        self.differences.sort(key=lambda found: (list(Kind).index(found.kind), found.start_ns, found.model or ""))
        return Report(
            format=self.export.format,
            by=by,
            since_ns=self.since_ns,
            until_ns=self.until_ns,
            export=side_of_lines(self.lines),
            book=side_of_entries(counted),
            agreed=self.agreed,
            differences=self.differences,
            notes=[*self.export.notes, *notes, *self._left_out()],
        )

    def _left_out(self) -> list[str]:
        own = sum(entry.own_key and entry.billed and self.inside(entry.sent_ns) for entry in self.book.entries)
        notes = [f"{_calls(own)} on callers' own keys left out: they are on other bills"] if own else []
        if not self.book.entries and self.book.elsewhere:
            there = ", ".join(f"{slug} {count}" for slug, count in sorted(self.book.elsewhere.items()))
            notes.append(f"the book has no call of this provider in this time, but of others ({there}); see --provider")
        return notes

    def judge(self, theirs: Side, ours: Side, entries: Sequence[Entry], rows: int) -> list[Difference]:
        """How two sides of the same calls differ: nothing, one difference, or other counts and another price."""
        entry = entries[0]
        found = Difference(
            kind=Kind.ROUNDING,
            start_ns=entry.sent_ns,
            generations=_named(entries),
            export=theirs,
            book=ours,
            cost=_less(theirs.cost, ours.cost),
        )
        deltas = deltas_of(theirs.tokens, ours.tokens)
        if deltas:
            return self._counts(found, deltas, entries, rows)
        if theirs.cost is None or theirs.cost == ours.cost:
            return []
        if ours.cost is None:
            return [replaced(found, Kind.UNPRICED, "configure a price for it")] if theirs.cost else []
        if self._rounding(theirs.cost, ours.cost, rows):
            return [replaced(found, Kind.ROUNDING, f"the export writes amounts to {plain(self.export.unit or ZERO)}")]
        if not theirs.tokens.known():
            return [
                replaced(found, Kind.COST, "compare a usage export as well: it tells calls, counts and prices apart")
            ]
        return [replaced(found, Kind.PRICE, _ratio(theirs.cost, ours.cost))]

    def _counts(
        self, found: Difference, deltas: dict[str, int], entries: Sequence[Entry], rows: int
    ) -> list[Difference]:
        told = ", ".join(f"{kind} {count:+,}" for kind, count in deltas.items())
        assert found.export is not None
        if guessed := [entry for entry in entries if entry.estimated]:
            return [replaced(found, Kind.ESTIMATE, f"{told}; {_bounds(guessed, found.export.cost, len(entries))}")]
        alone = priced_again(entries[0], found.export.tokens) if len(entries) == 1 else None
        cost = found.export.cost
        if alone is None or cost is None or cost == alone or self._rounding(cost, alone, rows):
            return [replaced(found, Kind.TOKENS, told)]
        assert found.book is not None
        first = msgspec.structs.replace(replaced(found, Kind.TOKENS, told), cost=_less(alone, found.book.cost))
        why = f"the other counts alone would make {plain(alone)}; {_ratio(cost, alone)}"
        return [first, msgspec.structs.replace(replaced(found, Kind.PRICE, why), cost=subtract(cost, alone))]

    def _rounding(self, theirs: Decimal, ours: Decimal, rows: int) -> bool:
        off = abs(subtract(theirs, ours))
        unit = self.export.unit or ZERO
        return off <= EXACT.multiply(EXACT.multiply(unit, _HALF), Decimal(rows)) or off <= EXACT.multiply(
            abs(ours), _NOISE
        )


# --- rows that are calls ----------------------------------------------------------------------------------------------


def by_call(export: Export, book: Book, since_ns: int, until_ns: int) -> Report:
    """Match rows and attempts by the provider's id; what has none, by model and time."""
    work = Comparison(export, book, since_ns, until_ns)
    lines: dict[str, list[Line]] = {}
    for line in work.lines:
        lines.setdefault(line.id or f"\0{line.row}", []).append(line)
    entries: dict[str, list[Entry]] = {}
    for entry in book.entries:
        if entry.upstream_id is not None:
            entries.setdefault(entry.upstream_id, []).append(entry)
    nameless = [entry for entry in book.entries if entry.upstream_id is None and (entry.billed or entry.pending)]
    matched: list[Entry] = []
    keys: set[str] = set()
    lost: list[list[Line]] = []
    for name, rows in lines.items():
        ours = entries.get(name) or _nearest(rows[0], nameless)
        if not ours:
            lost.append(rows)
            continue
        matched += ours
        keys.update(row.key for row in rows if row.key)
        _same_call(work, rows, ours)
    known = {name for entry in book.entries for name in entry.families}
    for rows in lost:
        _not_in_book(work, rows, keys, known)
    taken = {id(entry) for entry in matched}
    named = {line.id for line in export.lines}
    left = [
        entry
        for entry in book.entries
        if id(entry) not in taken
        and (entry.upstream_id is None or entry.upstream_id not in named)
        and entry.billed
        and not entry.own_key
        and work.inside(entry.sent_ns)
    ]
    for entry in left:
        work.differences.append(missing_in_export([entry]))
    return work.report("call", [*matched, *left])


def _nearest(line: Line, nameless: list[Entry]) -> list[Entry]:
    """The call without an id that this row is of, taken out of the list: same model, near in time, best same counts."""
    first = bisect_left(nameless, line.start_ns - NEAR_NS, key=lambda entry: entry.sent_ns)
    last = bisect_right(nameless, line.start_ns + NEAR_NS, key=lambda entry: entry.sent_ns)
    near = [
        (bool(deltas_of(line.tokens, nameless[place].tokens)), abs(nameless[place].sent_ns - line.start_ns), place)
        for place in range(first, last)
        if line.model is None or family(line.model) in nameless[place].families
    ]
    return [nameless.pop(min(near)[2])] if near else []


def _same_call(work: Comparison, rows: list[Line], ours: list[Entry]) -> None:
    found = work.judge(side_of_lines(rows), side_of_entries(ours), ours, len(rows))
    work.agreed += not found
    for difference in found:
        why = difference.why
        if len(rows) > 1:
            why = f"{why}; the export has {len(rows)} rows of it"
        if rows[0].id is not None and ours[0].upstream_id is None:
            why = f"{why}; matched by model and time, since the provider's id never reached the gateway"
        work.differences.append(
            msgspec.structs.replace(
                difference, start_ns=rows[0].start_ns, model=rows[0].model, id=rows[0].id, key=rows[0].key, why=why
            )
        )


def _not_in_book(work: Comparison, rows: list[Line], keys: set[str], known: set[str]) -> None:
    line = rows[0]
    hints = []
    if line.key and keys and line.key not in keys:
        hints.append(f"no row that the book has is of its key {line.key!r}")
    if line.model and known and family(line.model) not in known:
        hints.append("the book has no call of its model")
    theirs = side_of_lines(rows)
    work.differences.append(
        Difference(
            kind=Kind.MISSING_IN_BOOK,
            start_ns=line.start_ns,
            model=line.model,
            id=line.id,
            export=theirs,
            cost=theirs.cost,
            why="; ".join(hints),
            key=line.key,
        )
    )


# --- what both ways share ---------------------------------------------------------------------------------------------


def missing_in_export(entries: Sequence[Entry], start_ns: int | None = None, end_ns: int | None = None) -> Difference:
    """Attempts that are on no bill."""
    ours = side_of_entries(entries)
    guessed = sum(entry.estimated for entry in entries)
    why = "an export may lag behind by hours" if not guessed else f"{_calls(guessed)} of it estimated"
    return Difference(
        kind=Kind.MISSING_IN_EXPORT,
        start_ns=entries[0].sent_ns if start_ns is None else start_ns,
        end_ns=end_ns,
        model=entries[0].families[0],
        id=entries[0].upstream_id if len(entries) == 1 else None,
        generations=_named(entries),
        book=ours,
        cost=None if ours.cost is None else subtract(ZERO, ours.cost),
        why=why,
    )


def side_of_lines(lines: Sequence[Line]) -> Side:
    """The sum of rows; unknown only where no row says it."""
    tokens = Tokens()
    requests: int | None = None
    cost: Decimal | None = None
    for line in lines:
        tokens = tokens.plus(line.tokens)
        one = 1 if line.end_ns is None else line.requests
        requests = requests if one is None else (requests or 0) + one
        cost = cost if line.cost is None else add(cost or ZERO, line.cost)
    return Side(requests, tokens, cost)


def side_of_entries(entries: Sequence[Entry]) -> Side:
    """The sum of attempts; the cost is unknown if that of one with counts is."""
    tokens = Tokens()
    cost: Decimal | None = ZERO
    for entry in entries:
        tokens = tokens.plus(entry.tokens)
        if entry.billed:
            cost = None if cost is None or entry.cost is None else add(cost, entry.cost)
    return Side(sum(entry.billed for entry in entries), tokens, cost)


def deltas_of(theirs: Tokens, ours: Tokens) -> dict[str, int]:
    """Export less book of every kind that the export says; a count that the book does not have is none of that kind."""
    deltas = {kind: count - (getattr(ours, kind) or 0) for kind, count in theirs.known().items()}
    return {kind: deltas[kind] for kind in KINDS if deltas.get(kind)}


def explain(report: Report, gapless: bool | None, first_ns: int | None) -> None:
    """Say of each row that the book lacks whether a record was lost or the call never came this way, and why.

    `gapless`: the daybooks have every row and call number, as `verify` proves it; None = there is no daybook here.
    """
    for place, found in enumerate(report.differences):
        if found.kind is not Kind.MISSING_IN_BOOK or found.likely is not None:
            continue
        if first_ns is None or (found.end_ns or found.start_ns + 1) <= first_ns:
            likely, why = "before_the_book", "it is older than the first call that the book has"
        elif gapless:
            likely, why = "off_gateway", "the book has no gap, so it did not pass the gateway"
        elif gapless is None:
            likely, why = "unknown", "there is no daybook here that could prove that no record was lost"
        else:
            likely, why = "lost_record", "the book has gaps, so a record may be lost: see `routebook ledger verify`"
        why = f"{why}; {found.why}" if found.why else why
        report.differences[place] = msgspec.structs.replace(found, likely=likely, why=why)


def _named(entries: Sequence[Entry]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(entry.generation for entry in entries))[:5]


def _less(theirs: Decimal | None, ours: Decimal | None) -> Decimal | None:
    return None if theirs is None or ours is None else subtract(theirs, ours)


def _calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count:,} calls"


def _ratio(theirs: Decimal, ours: Decimal) -> str:
    if not ours:
        return "the book's price is 0"
    return f"the provider charged {theirs / ours:.4g} times the book's price"


def _bounds(guessed: Sequence[Entry], cost: Decimal | None, entries: int) -> str:
    """Where the bill lies between the estimate and the hold, as it must for an interrupted call."""
    if entries > 1 or cost is None or guessed[0].cost is None or guessed[0].hold is None:
        return f"{_calls(len(guessed))} of {entries} estimated"
    estimate, hold = guessed[0].cost, guessed[0].hold
    place = "below the estimate" if cost < estimate else "above the hold" if cost > hold else "between both, as it must"
    return f"estimate {plain(estimate)}, hold {plain(hold)}, bill {plain(cost)}: {place}"
