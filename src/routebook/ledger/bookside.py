"""The book's side of a reconciliation: one entry for every attempt that a provider may have billed.

A provider bills attempts, not calls: a try that failed after it produced tokens is on its bill as well. An attempt
belongs to the moment it was sent. What an attempt cost is the provider's price (`Charge.upstream`), never what the
account was charged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal, localcontext
from typing import Protocol

import msgspec

from routebook.core.generation import AttemptRow, Folded, Intent, Outcome
from routebook.core.money import EXACT, ZERO, Charge, Line, add, subtract
from routebook.core.usage import Usage
from routebook.ledger.export_lines import DAY_NS, KINDS, Tokens, family
from routebook.ledger.pages import pages
from routebook.metering.counts import split
from routebook.metering.folding import unfold
from routebook.store.port import Store

PAGE = 2000


class Source(Protocol):
    """What is read of a daybook; `daybook.reading.ReadOnlyDaybook` has it."""

    def scan(self) -> Iterator[Folded]: ...


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at one provider."""

    generation: str
    upstream_id: str | None
    sent_ns: int
    ended_ns: int
    families: tuple[str, ...]
    """what its model may be called in an export, the likeliest first"""
    tokens: Tokens = Tokens()
    cost: Decimal | None = None
    """USD at the provider's price sheet; None = unpriced, or not known yet"""
    searches: Decimal = ZERO
    """of that, web searches"""
    lines: tuple[Line, ...] = ()
    billed: bool = False
    """it has tokens or a price, so it should be on a bill"""
    pending: bool = False
    """under way, or ended without anybody knowing its counts: the provider may have billed it"""
    estimated: bool = False
    hold: Decimal | None = None
    own_key: bool = False
    """made on the caller's own key: on another bill"""


class Book(msgspec.Struct):
    """All attempts at one provider around a period."""

    entries: list[Entry] = []
    first_ns: int | None = None
    """when the first call of the whole book was accepted, whoever served it"""
    elsewhere: dict[str, int] = {}
    """attempts in that time at other providers, by slug"""


async def gather(
    daybooks: Sequence[Source], store: Store | None, names: frozenset[str], since_ns: int, until_ns: int
) -> Book:
    """Attempts at the provider that goes by those names (lower case: slug, display name) sent about that time.

    A day more on both sides is read: an attempt may begin or end in another bucket than its call, and calls are also
    found by the provider's id. Raises Unavailable if the store is away.
    """
    book = Book()
    seen: set[str] = set()
    if store is not None:
        # The store first: it alone knows charges that were made anew.
        async for page in pages(store, until_ns=until_ns + DAY_NS, limit=PAGE):
            for stored in page:
                seen.add(stored.id)
                _take(book, unfold(stored.folded), names, since_ns - DAY_NS, until_ns + DAY_NS)
    for daybook in daybooks:
        for call in daybook.scan():
            if call.intent.id not in seen:
                _take(book, call, names, since_ns - DAY_NS, until_ns + DAY_NS)
    book.entries.sort(key=lambda entry: (entry.sent_ns, entry.generation))
    return book


def _take(book: Book, call: Folded, names: frozenset[str], since_ns: int, until_ns: int) -> None:
    accepted = call.intent.accepted_ns
    book.first_ns = accepted if book.first_ns is None else min(book.first_ns, accepted)
    if accepted >= until_ns or accepted < since_ns:
        return
    for (slug, name), entry in attempts_of(call):
        # Two providers may share a display name; it only stands in where the slug is not known.
        who = slug or name or "?"
        if who.lower() in names:
            book.entries.append(entry)
        elif entry.billed:
            book.elsewhere[who] = book.elsewhere.get(who, 0) + 1


Provider = tuple[str | None, str | None]
"""slug, display name"""


def attempts_of(call: Folded) -> list[tuple[Provider, Entry]]:
    """The attempts of a call with the provider of each; of a call without any, the one that was planned."""
    intent, outcome = call.intent, call.outcome
    if outcome is None:
        return [_planned(intent, intent.accepted_ns, Usage(), None, None)]
    if not outcome.attempts:
        if not outcome.interrupted:
            return []
        newest = call.revisions[-1].charge if call.revisions else outcome.charge
        return [_planned(intent, outcome.ended_ns, outcome.usage, newest, outcome)]
    counted = any(row.usage is not None for row in outcome.attempts)
    last = outcome.attempts[-1]
    found: list[tuple[Provider, Entry]] = []
    charge: Charge | None
    for row in outcome.attempts:
        usage, charge = row.usage or Usage(), row.charge
        if row is last and not counted:
            usage, charge = outcome.usage, outcome.charge
        if row is last and call.revisions:
            charge = _revised(call.revisions[-1].charge, outcome.attempts[:-1])
        found.append(((row.provider_slug, row.provider_name), _entry(call, row, usage, charge, row is last)))
    return found


def _entry(call: Folded, row: AttemptRow, usage: Usage, charge: Charge | None, last: bool) -> Entry:
    outcome = call.outcome
    assert outcome is not None
    said = outcome.upstream_model if last else None
    sent = row.sent_ns or row.started_ns or call.intent.accepted_ns
    answered = row.status is None or row.status < 400
    entry = Entry(
        generation=call.intent.id,
        upstream_id=row.upstream_id or (outcome.upstream_id if last else None),
        sent_ns=sent,
        ended_ns=row.ended_ns or outcome.ended_ns,
        families=_families(said, row.endpoint_id, row.model),
        pending=usage.empty and row.sent_ns is not None and answered,
        estimated=last and (outcome.usage_source == "estimated" or outcome.interrupted),
        hold=call.hold,
        own_key=row.is_byok,
    )
    return _priced(entry, usage, charge)


def _revised(charge: Charge, others: Sequence[AttemptRow]) -> Charge:
    """What a charge made anew leaves to the last attempt, so that all of them sum to it."""
    cost = charge.upstream
    for row in others:
        if cost is not None and row.charge is not None and row.charge.upstream is not None:
            cost = subtract(cost, row.charge.upstream)
    return msgspec.structs.replace(charge, upstream=cost)


def _planned(
    intent: Intent, ended_ns: int, usage: Usage, charge: Charge | None, outcome: Outcome | None
) -> tuple[Provider, Entry]:
    endpoint = (outcome.endpoint_id if outcome else None) or intent.endpoint_id or ""
    name = (outcome.provider_name if outcome else None) or intent.provider_name
    entry = Entry(
        generation=intent.id,
        upstream_id=None if outcome is None else outcome.upstream_id,
        sent_ns=intent.accepted_ns,
        ended_ns=ended_ns,
        families=_families(None, endpoint, intent.model or intent.requested_model),
        pending=usage.empty,
        estimated=outcome is not None,
        hold=intent.hold,
    )
    return (endpoint.partition(":")[0] or None, name), _priced(entry, usage, charge)


def _priced(entry: Entry, usage: Usage, charge: Charge | None) -> Entry:
    """With tokens and money. Without counts nothing is known to be owed, and the cost is unknown, not 0."""
    if usage.empty:
        return entry
    lines = () if charge is None else charge.lines or ()
    searches = ZERO
    for line in lines:
        searches = add(searches, line.amount) if line.item == "web_search" else searches
    cost = None if charge is None else charge.upstream
    return msgspec.structs.replace(
        entry,
        tokens=Tokens(*(getattr(usage, kind) for kind in KINDS)),
        cost=cost,
        searches=searches,
        lines=lines,
        billed=bool(usage.prompt or usage.completion or cost),
    )


def _families(said: str | None, endpoint: str, slug: str) -> tuple[str, ...]:
    """The model as the provider called it, as it was asked for, and as the gateway calls it."""
    _, _, rest = endpoint.partition(":")
    asked = rest.removeprefix(f"{slug}:") if rest.startswith(f"{slug}:") else None
    return tuple(dict.fromkeys(family(name) for name in (said, asked, slug) if name))


_PRICED_AGAIN = frozenset(
    "prompt cache_read cache_write cache_write_1h completion reasoning image request web_search discount".split()
)
_MARKUPS = frozenset("markup byok byok_fee insurance note hold unanswered".split())
"""lines of what the account pays, not of what the provider charges"""


def priced_again(entry: Entry, tokens: Tokens) -> Decimal | None:
    """What those counts cost at the rates of the entry's own lines; None where a rate is missing.

    Tells whether another count alone explains another amount.
    """
    lines = [line for line in entry.lines if line.item not in _MARKUPS]
    if not lines or any(line.item not in _PRICED_AGAIN for line in lines):
        return None
    rates = {line.item: line.rate for line in lines}
    counts = split(msgspec.structs.replace(Usage(), **{**entry.tokens.known(), **tokens.known()}))
    with localcontext(EXACT):
        inference = sum((line.amount for line in lines if line.item in ("image", "request")), ZERO)
        for item in counts.__struct_fields__:
            count = getattr(counts, item)
            if item == "note" or not count:
                continue
            rate = rates.get(item)
            if rate is None:
                return None
            inference += rate * count
        return inference * (1 - (rates.get("discount") or ZERO)) + entry.searches
