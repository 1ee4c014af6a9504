"""The book's side: what attempts of real rows are worth to a provider, from the daybook and from the store."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import msgspec

from routebook.core.catalog import Accounting
from routebook.core.generation import Amendment, Folded, Progress, Revision, State
from routebook.core.money import Charge, Line, Prices, PriceSheet
from routebook.core.usage import Usage
from routebook.daybook.book import FileDaybook
from routebook.daybook.orphans import interrupted
from routebook.daybook.reading import read_daybooks
from routebook.ledger.bookside import Book, Entry, attempts_of, gather, priced_again
from routebook.ledger.export_lines import DAY_NS, Tokens
from routebook.ledger.ship import Shipper
from routebook.metering.pricing import price
from routebook.store.memory import MemoryStore
from tests.unit.daybook.samples import ACCEPTED_NS, SHEET, attempt, charge, intent, outcome

NAMES = frozenset({"acme"})


def ended(**changes: object) -> Folded:
    return Folded(2, intent(5), None, outcome(**changes), State.DONE)


def only(call: Folded) -> Entry:
    ((_, entry),) = attempts_of(call)
    return entry


def test_an_attempt_that_answered_has_the_providers_price_and_its_own_time() -> None:
    rows = (attempt(usage=Usage(prompt=100, completion=20), charge=charge(), endpoint_id="acme:acme/large:big-2026"),)
    entry = only(ended(attempts=rows, upstream_model="big-2026-01-02"))
    assert entry.tokens == Tokens(prompt=100, completion=20)
    assert entry.cost == Decimal("0.0006")
    assert entry.families == ("big", "big-2026", "large")
    assert entry.sent_ns == ACCEPTED_NS + 2_000_000
    assert entry.billed
    assert not entry.estimated


def test_every_attempt_is_on_its_own_providers_bill() -> None:
    failed = attempt(
        provider_slug="beta",
        provider_name="Beta",
        status=None,
        error="UpstreamLost",
        usage=Usage(prompt=9),
        charge=charge(),
    )
    refused = attempt(provider_slug="gamma", status=429, error="RateLimited", upstream_id=None)
    won = attempt(usage=Usage(prompt=100, completion=20), charge=charge())
    found = {provider[0]: entry for provider, entry in attempts_of(ended(attempts=(refused, failed, won)))}
    assert found["beta"].tokens == Tokens(prompt=9)
    assert found["beta"].billed
    assert (found["gamma"].billed, found["gamma"].pending, found["gamma"].cost) == (False, False, None)
    assert found["acme"].billed


def test_a_try_that_was_sent_and_never_answered_may_be_on_the_bill() -> None:
    lost = attempt(status=None, error="UpstreamTimeout", upstream_id=None, head_ns=None, first_ns=None)
    entry = only(ended(attempts=(lost,), usage=Usage(), charge=Charge(lines=())))
    assert entry.pending
    assert not entry.billed


def test_an_outcome_whose_attempts_have_no_counts_lends_them_its_own() -> None:
    entry = only(ended())
    assert entry.tokens == Tokens(prompt=100, completion=20)
    assert entry.cost == Decimal("0.0006")


def test_the_markup_is_not_on_the_providers_bill_and_a_callers_key_is_marked() -> None:
    marked = price(Usage(prompt=100, completion=20), SHEET, Accounting(markup=Decimal("0.5")))
    assert only(ended(charge=marked)).cost == Decimal("0.0006")
    assert only(ended(attempts=(attempt(is_byok=True),))).own_key


def test_an_interrupted_call_is_estimated_and_an_open_one_pending() -> None:
    progress = Progress(
        at_ns=ACCEPTED_NS + 10**9,
        model="acme/large",
        provider_name="Acme",
        endpoint_id="acme:acme/large:big-2026",
        upstream_id="chatcmpl-9",
        frames=3,
        usage=Usage(prompt=100, completion=7),
    )
    call = Folded(3, intent(5), progress, None, None)
    open_call = only(call)
    assert open_call.pending
    assert not open_call.billed
    provider, entry = attempts_of(msgspec.structs.replace(call, outcome=interrupted(call, Accounting())))[0]
    assert provider == ("acme", "Acme")
    assert entry.estimated
    assert (entry.upstream_id, entry.tokens, entry.cost) == (
        "chatcmpl-9",
        Tokens(prompt=100, completion=7),
        Decimal("0.000405"),
    )


def test_a_charge_made_anew_counts_and_the_attempts_sum_to_it() -> None:
    failed = attempt(
        provider_slug="beta", error="UpstreamLost", usage=Usage(prompt=100, completion=20), charge=charge()
    )
    won = attempt(usage=Usage(prompt=100, completion=20), charge=charge())
    call = ended(attempts=(failed, won))
    newest = msgspec.structs.replace(charge(), upstream=Decimal("0.0021"))
    revision = Revision(
        id=call.intent.id,
        daybook="ABC",
        n=5,
        number=1,
        at_ns=ACCEPTED_NS + DAY_NS,
        account="default",
        key_hash=call.intent.key_hash,
        accepted_ns=ACCEPTED_NS,
        before=Decimal("0.0006"),
        charge=newest,
    )
    anew = (Amendment(at_ns=revision.at_ns, revision=revision),)
    entries = [entry for _, entry in attempts_of(msgspec.structs.replace(call, amendments=anew))]
    assert [entry.cost for entry in entries] == [Decimal("0.0006"), Decimal("0.0015")]
    lone = msgspec.structs.replace(ended(attempts=(won,)), amendments=anew)
    assert only(lone).cost == Decimal("0.0021")


def test_web_searches_are_known_apart() -> None:
    sheet = PriceSheet(Prices(prompt=Decimal("0.1"), completion=Decimal("0.2"), web_search=Decimal("0.01")))
    usage = Usage(prompt=1, completion=1, web_searches=2)
    entry = only(ended(usage=usage, charge=price(usage, sheet)))
    assert entry.cost == Decimal("0.32")
    assert entry.searches == Decimal("0.02")


def test_other_counts_are_priced_at_the_records_own_rates() -> None:
    sheet = PriceSheet(
        Prices(
            prompt=Decimal("0.1"),
            completion=Decimal("0.2"),
            input_cache_read=Decimal("0.01"),
            request=Decimal("0.5"),
            web_search=Decimal("1"),
        ),
        discount=Decimal("0.25"),
    )
    usage = Usage(prompt=10, completion=4, cached=2, web_searches=1)
    entry = only(ended(usage=usage, charge=price(usage, sheet, Accounting(markup=Decimal("0.1")))))
    other = Usage(prompt=20, completion=5, cached=3, web_searches=1)
    assert priced_again(entry, Tokens(prompt=20, completion=5, cached=3)) == price(other, sheet).upstream
    assert priced_again(entry, Tokens(cache_write=1)) is None
    odd = msgspec.structs.replace(entry, lines=(*entry.lines, Line("audio_prompt", Decimal(1), 1, Decimal(1))))
    assert priced_again(odd, Tokens(prompt=20)) is None
    assert priced_again(msgspec.structs.replace(entry, lines=()), Tokens(prompt=20)) is None


def read(home: Path, store: MemoryStore | None, **more: int) -> Book:
    books = read_daybooks(home)
    try:
        return asyncio.run(
            gather(books, store, NAMES, more.get("since", ACCEPTED_NS), more.get("until", ACCEPTED_NS + DAY_NS))
        )
    finally:
        for each in books:
            each.close()


def test_a_provider_is_known_by_its_slug_and_by_its_name_only_without_one(tmp_path: Path) -> None:
    async def fill() -> None:
        daybook = FileDaybook(tmp_path)
        namesakes = (attempt(provider_slug="acme-eu"), attempt(provider_slug="", provider_name="Acme"))
        for row in namesakes:
            call = intent(daybook.next_n(), daybook.name)
            await daybook.open(call)
            await daybook.close(call.id, call.n, State.DONE, outcome(attempts=(row,)))
        await daybook.aclose()

    asyncio.run(fill())
    found = read(tmp_path, None)
    assert len(found.entries) == 1
    assert found.elsewhere == {"acme-eu": 1}


def test_calls_are_found_shipped_or_not_and_each_once(tmp_path: Path) -> None:
    store = MemoryStore()

    async def fill() -> None:
        daybook = FileDaybook(tmp_path)
        for place in range(5):
            call = intent(daybook.next_n(), daybook.name, accepted_ns=ACCEPTED_NS + place * 10**9)
            await daybook.open(call)
            other = attempt(provider_slug="beta", provider_name="Beta")
            await daybook.close(call.id, call.n, State.DONE, outcome(attempts=(other,)) if place == 4 else outcome())
            if place == 2:
                await Shipper(daybook, store).ship_once()
        await daybook.aclose()

    asyncio.run(fill())
    both = read(tmp_path, store)
    assert len(both.entries) == 4
    assert len({entry.generation for entry in both.entries}) == 4
    assert both.elsewhere == {"beta": 1}
    assert both.first_ns == ACCEPTED_NS
    assert read(tmp_path, None).entries == both.entries
    assert len(read(tmp_path / "nowhere", store).entries) == 3
    far = ACCEPTED_NS + 10 * DAY_NS
    assert read(tmp_path, store, since=far, until=far + 1).entries == []
