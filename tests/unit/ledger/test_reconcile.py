"""Reconciliation: equal books agree in every format; each planted difference is found, alone, and called what it is."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from routebook.ledger.bookside import Book, Entry
from routebook.ledger.export_lines import DAY_NS, Export, Tokens
from routebook.ledger.exports import mapping_of, read
from routebook.ledger.reconcile import Kind, Report, explain, missing_in_export, period
from routebook.ledger.reconcile_sums import reconcile
from tests.unit.ledger import exports_samples as samples
from tests.unit.ledger.exports_samples import (
    DAY_START_NS,
    HOUR,
    OPENROUTER_CSV,
    SECOND,
    book,
    cost,
    csv,
    entry,
    openrouter_csv,
    openrouter_row,
)

NOON = 12 * 3600
OPENAI_BOOK = (entry(1, 60, cached=500, cost=cost(1000, 100, 500)), entry(2, 120), entry(3, 180))
ANTHROPIC_BOOK = (
    entry(1, 60, "claude-sonnet-4-5-20250929", cached=500, written=300),
    entry(2, 120, "claude-sonnet-4-5-20250929"),
    entry(3, 180, "claude-sonnet-4-5-20250929"),
)
FITTING = {
    "openai-usage": (samples.OPENAI_USAGE_JSON, OPENAI_BOOK),
    "openai-usage-dashboard": (samples.OPENAI_USAGE_CSV, OPENAI_BOOK),
    "openai-costs": (samples.OPENAI_COSTS_JSON, OPENAI_BOOK),
    "openai-costs-csv": (samples.OPENAI_COSTS_CSV, OPENAI_BOOK),
    "anthropic-usage": (samples.ANTHROPIC_USAGE_JSON, ANTHROPIC_BOOK),
    "anthropic-usage-csv": (samples.ANTHROPIC_USAGE_CSV, ANTHROPIC_BOOK),
    "anthropic-costs": (samples.ANTHROPIC_COSTS_JSON, ANTHROPIC_BOOK),
    "openrouter-generations": (samples.OPENROUTER_CSV, OPENAI_BOOK),
    "openrouter-activity": (samples.OPENROUTER_ACTIVITY, OPENAI_BOOK),
}
COUNTED = ("openai-usage", "openai-usage-dashboard", "openrouter-generations", "openrouter-activity")
"""formats that say how many requests there were"""
TOKENS_ALONE = ("anthropic-usage", "anthropic-usage-csv")
COSTS_ALONE = ("openai-costs", "openai-costs-csv", "anthropic-costs")
WITH_BOTH = ("openrouter-generations", "openrouter-activity")


def compare(export: Export | bytes, ours: Book, since: int | None = None, until: int | None = None) -> Report:
    whole = export if isinstance(export, Export) else read(export)
    covered = period(whole) or (0, 0)
    return reconcile(whole, ours, covered[0] if since is None else since, covered[1] if until is None else until)


def kinds(report: Report) -> list[str]:
    return [found.kind.value for found in report.differences]


def changed(entries: tuple[Entry, ...], place: int, **changes: Any) -> Book:
    """The book with one call otherwise."""
    other = msgspec.structs.replace(entries[place], **changes)
    return book(*entries[:place], other, *entries[place + 1 :])


# --- every format -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FITTING)
def test_equal_books_agree(name: str) -> None:
    data, entries = FITTING[name]
    report = compare(data, book(*entries))
    assert report.agrees
    assert report.differences == []
    assert report.agreed == (3 if name == "openrouter-generations" else 1)
    assert report.notes == []
    if report.export.cost is not None:
        assert report.export.cost == report.book.cost


def test_an_export_in_cents_agrees_by_rounding_and_says_so() -> None:
    report = compare(samples.ANTHROPIC_COSTS_CSV, book(*ANTHROPIC_BOOK))
    assert kinds(report) == ["rounding"]
    assert report.agrees
    assert report.differences[0].cost == Decimal("0.01") - Decimal("0.012375")
    # Three rows, each off by half a cent at most: 1.5 cents are the most that rounding makes.
    dear = changed(ANTHROPIC_BOOK, 0, cost=Decimal("0.016"))
    assert kinds(compare(samples.ANTHROPIC_COSTS_CSV, dear)) == ["rounding"]
    dear = changed(ANTHROPIC_BOOK, 0, cost=Decimal("0.0160001"))
    assert kinds(compare(samples.ANTHROPIC_COSTS_CSV, dear)) == ["cost"]


@pytest.mark.parametrize("name", [name for name in FITTING if name not in COSTS_ALONE])
def test_a_call_that_the_book_lacks_is_found(name: str) -> None:
    data, entries = FITTING[name]
    report = compare(data, book(*entries[:2]))
    assert kinds(report) == ["missing_in_book"]
    (found,) = report.differences
    if name in WITH_BOTH:
        assert found.cost == Decimal("0.0045")
    if name == "openrouter-generations":
        assert (found.id, found.key) == ("up-3", "gateway")
    if name in COUNTED:
        assert (report.export.requests, report.book.requests) == (3, 2)


def test_what_is_missing_in_an_export_is_told_with_every_digit() -> None:
    exact = Decimal("1.2345678901234567890123456789012345")
    found = missing_in_export([entry(1, 60, cost=exact)])
    assert found.cost is not None
    assert found.cost.as_tuple() == Decimal(f"-{exact}").as_tuple()


@pytest.mark.parametrize("name", [name for name in FITTING if name not in COSTS_ALONE])
def test_a_call_that_the_export_lacks_is_found_and_named(name: str) -> None:
    data, entries = FITTING[name]
    report = compare(
        data, book(*entries, entry(4, 130, "gpt-4o" if "anthropic" not in name else "claude-sonnet-4-5", 77, 7))
    )
    assert kinds(report) == ["missing_in_export"]
    (found,) = report.differences
    assert found.generations == ("gen-4",)
    if name in WITH_BOTH:
        assert found.cost == -cost(77, 7)


@pytest.mark.parametrize("name", [name for name in FITTING if name not in COSTS_ALONE])
def test_another_count_is_a_token_difference(name: str) -> None:
    data, entries = FITTING[name]
    tokens = msgspec.structs.replace(entries[1].tokens, completion=99)
    report = compare(data, changed(entries, 1, tokens=tokens, cost=cost(1000, 99)))
    assert kinds(report) == ["tokens"]
    assert report.differences[0].why == "completion +1"
    if name in WITH_BOTH:
        assert report.differences[0].cost == Decimal("0.000015")


@pytest.mark.parametrize("name", WITH_BOTH)
def test_another_price_of_the_same_counts_is_a_price_difference(name: str) -> None:
    data, entries = FITTING[name]
    report = compare(data, changed(entries, 1, cost=Decimal("0.004")))
    assert kinds(report) == ["price"]
    assert report.differences[0].cost == Decimal("0.0005")
    assert "times the book's price" in report.differences[0].why


@pytest.mark.parametrize("name", COSTS_ALONE)
def test_an_export_of_costs_alone_finds_another_amount_and_claims_no_cause(name: str) -> None:
    data, entries = FITTING[name]
    report = compare(data, changed(entries, 1, cost=Decimal("0.004")))
    assert kinds(report) == ["cost"]
    assert report.differences[0].cost == Decimal("0.0005")


@pytest.mark.parametrize("name", COSTS_ALONE)
def test_costs_of_a_model_that_the_book_never_called_are_missing_in_it(name: str) -> None:
    data, entries = FITTING[name]
    report = compare(
        data, book(*(msgspec.structs.replace(each, families=("other",), cost=Decimal(0)) for each in entries))
    )
    assert kinds(report) == ["missing_in_book"]


@pytest.mark.parametrize("name", FITTING)
def test_a_model_without_a_price_is_unknown_and_not_free(name: str) -> None:
    data, entries = FITTING[name]
    report = compare(data, changed(entries, 1, cost=None))
    if report.export.cost is None:
        assert report.agrees
    else:
        assert kinds(report) == ["unpriced"]
        assert report.differences[0].cost is None
        assert report.book.cost is None


# --- call by call -----------------------------------------------------------------------------------------------------


def test_other_counts_and_another_price_at_once_are_two_differences_that_sum() -> None:
    data = openrouter_csv(openrouter_row(1, 60, completion=200, cost="0.009"))
    report = compare(data, book(entry(1, 60)))
    assert kinds(report) == ["tokens", "price"]
    tokens, price = report.differences
    assert tokens.cost == cost(1000, 200) - cost(1000, 100)
    assert price.cost == Decimal("0.009") - cost(1000, 200)
    assert tokens.generations == price.generations == ("gen-1",)


def test_a_count_that_explains_the_amount_is_one_difference() -> None:
    data = openrouter_csv(openrouter_row(1, 60, cached=1000, cost="0.0018"))
    (found,) = compare(data, book(entry(1, 60, cached=500))).differences
    assert (found.kind, found.why) == (Kind.TOKENS, "cached +500")


def test_a_failed_try_that_was_billed_is_a_difference_of_its_tokens() -> None:
    failed = msgspec.structs.replace(entry(1, 60), tokens=Tokens(), cost=None, lines=(), billed=False, pending=True)
    (found,) = compare(openrouter_csv(openrouter_row(1, 60)), book(failed)).differences
    assert found.kind is Kind.TOKENS
    assert found.why == "prompt +1,000, completion +100"


def test_a_try_that_cost_nothing_needs_no_row() -> None:
    failed = msgspec.structs.replace(entry(4, 70), tokens=Tokens(), cost=None, billed=False)
    assert compare(OPENROUTER_CSV, book(*OPENAI_BOOK, failed)).agrees


def test_calls_on_the_callers_own_key_are_on_another_bill() -> None:
    own = msgspec.structs.replace(entry(4, 70), own_key=True)
    report = compare(OPENROUTER_CSV, book(*OPENAI_BOOK, own))
    assert report.agrees
    assert report.notes == ["1 call on callers' own keys left out: they are on other bills"]
    sums = compare(samples.OPENAI_USAGE_JSON, book(*OPENAI_BOOK, own))
    assert sums.agrees
    assert sums.notes == report.notes


def test_an_interrupted_call_is_an_estimate_between_whose_bounds_the_bill_lies() -> None:
    guessed = msgspec.structs.replace(entry(1, 60, completion=40), estimated=True, cost=cost(1000, 40))
    data = openrouter_csv(openrouter_row(1, 60))
    (found,) = compare(data, book(guessed)).differences
    assert found.kind is Kind.ESTIMATE
    assert found.why == "completion +60; estimate 0.0036, hold 0.5, bill 0.0045: between both, as it must"
    tight = msgspec.structs.replace(guessed, hold=Decimal("0.004"))
    assert compare(data, book(tight)).differences[0].why.endswith("above the hold")


def test_a_call_whose_id_never_came_is_matched_by_model_and_time() -> None:
    nameless = msgspec.structs.replace(entry(1, 61, completion=40), upstream_id=None, estimated=True)
    other = msgspec.structs.replace(entry(2, 60), upstream_id=None, families=("other",))
    report = compare(openrouter_csv(openrouter_row(1, 60)), book(nameless, other), DAY_START_NS, DAY_START_NS + HOUR)
    assert kinds(report) == ["missing_in_export", "estimate"]
    assert report.differences[0].generations == ("gen-2",)
    assert "matched by model and time" in report.differences[1].why
    late = msgspec.structs.replace(nameless, sent_ns=nameless.sent_ns + 700 * SECOND)
    report = compare(openrouter_csv(openrouter_row(1, 60)), book(late), DAY_START_NS, DAY_START_NS + HOUR)
    assert kinds(report) == ["missing_in_book", "missing_in_export"]


def test_of_several_near_calls_the_one_with_the_same_counts_is_it() -> None:
    near = msgspec.structs.replace(entry(1, 60, prompt=5), upstream_id=None)
    same = msgspec.structs.replace(entry(2, 200), upstream_id=None)
    report = compare(openrouter_csv(openrouter_row(9, 60)), book(near, same), DAY_START_NS, DAY_START_NS + HOUR)
    assert report.agreed == 1
    assert [found.generations for found in report.differences] == [("gen-1",)]


def test_a_call_that_is_billed_twice_is_told() -> None:
    data = openrouter_csv(openrouter_row(1, 60), openrouter_row(1, 60))
    (found,) = compare(data, book(entry(1, 60))).differences
    assert found.kind is Kind.TOKENS
    assert found.why.endswith("the export has 2 rows of it")


def test_what_lies_outside_the_period_is_not_missed_but_still_matched() -> None:
    outside = entry(4, 3000)
    assert compare(OPENROUTER_CSV, book(*OPENAI_BOOK, outside)).agrees
    early = msgspec.structs.replace(OPENAI_BOOK[0], sent_ns=DAY_START_NS - HOUR)
    assert compare(OPENROUTER_CSV, book(early, *OPENAI_BOOK[1:])).agrees
    # The row is stamped after the end of the period, the call was sent in it.
    report = compare(OPENROUTER_CSV, book(*OPENAI_BOOK), DAY_START_NS, DAY_START_NS + 180 * SECOND + 1)
    assert report.agrees
    assert report.agreed == 2


def test_a_double_does_not_make_a_price_difference() -> None:
    data = csv("at,ref,usd", "2026-04-01T00:01:00,up-1,0.30000000000000004")
    report = compare(read(data, mapping=mapping_of("time=at,id=ref,cost=usd")), book(entry(1, 60, cost=Decimal("0.3"))))
    assert kinds(report) == ["rounding"]
    report = compare(
        read(data, mapping=mapping_of("time=at,id=ref,cost=usd")), book(entry(1, 60, cost=Decimal("0.3000000001")))
    )
    assert kinds(report) == ["cost"]


# --- sums -------------------------------------------------------------------------------------------------------------


def usage(*lines: tuple[int, int, int, int], width: int = 60) -> Export:
    """An export of buckets that long: (start in seconds, requests, prompt, completion)."""
    rows = [
        f"{samples.DAY + start},{samples.DAY + start + width},{requests},gpt-4o,{prompt},{completion}"
        for start, requests, prompt, completion in lines
    ]
    return read(csv("start_time,end_time,num_model_requests,model,input_tokens,output_tokens", *rows))


def test_a_call_over_a_boundary_is_where_the_export_counts_it() -> None:
    calls = [
        msgspec.structs.replace(entry(n, 59 + 60 * n), ended_ns=DAY_START_NS + (61 + 60 * n) * SECOND) for n in range(3)
    ]
    begun = compare(usage(*((60 * n, 1, 1000, 100) for n in range(3))), book(*calls))
    assert begun.agrees
    assert begun.notes == []
    ended = compare(usage(*((60 * n + 60, 1, 1000, 100) for n in range(3))), book(*calls))
    assert ended.agrees
    assert ended.notes == ["calls are counted where they ended, as the export does"]


def test_a_day_that_the_export_leaves_out_has_no_calls_in_it() -> None:
    day = 86400
    export = usage((0, 1, 1000, 100), (2 * day, 1, 1000, 100), width=day)
    calls = (entry(1, NOON), entry(2, day + NOON), entry(3, 2 * day + NOON))
    (found,) = compare(export, book(*calls)).differences
    assert (found.kind, found.generations) == (Kind.MISSING_IN_EXPORT, ("gen-2",))
    assert (found.start_ns, found.end_ns) == (DAY_START_NS + DAY_NS, DAY_START_NS + 2 * DAY_NS)


def test_a_bucket_that_is_cut_by_the_period_is_not_compared() -> None:
    day = 86400
    export = usage((0, 1, 1000, 100), (day, 1, 1000, 100), width=day)
    calls = (entry(1, NOON), entry(2, day + NOON))
    report = compare(export, book(*calls), DAY_START_NS + HOUR)
    assert report.agrees
    assert (report.export.requests, report.book.requests) == (1, 1)
    until = DAY_START_NS + 2 * DAY_NS
    assert compare(export, book(*calls), until=until).agreed == 2
    assert compare(export, book(*calls), until=until - 1).agreed == 1


def test_refused_tries_may_be_counted_or_not() -> None:
    refused = msgspec.structs.replace(entry(2, 70), tokens=Tokens(), cost=None, billed=False)
    calls = book(entry(1, 60), refused)
    assert compare(usage((0, 1, 1000, 100), width=3600), calls).agrees
    assert compare(usage((0, 2, 1000, 100), width=3600), calls).agrees
    assert kinds(compare(usage((0, 3, 1000, 100), width=3600), calls)) == ["missing_in_book"]


def test_a_call_without_known_counts_explains_what_the_export_has_more() -> None:
    unknown = msgspec.structs.replace(entry(2, 70), tokens=Tokens(), cost=None, billed=False, pending=True)
    (found,) = compare(usage((0, 2, 1500, 150), width=3600), book(entry(1, 60), unknown)).differences
    assert (found.kind, found.likely, found.generations) == (Kind.MISSING_IN_BOOK, "unfinished", ("gen-2",))


@pytest.mark.parametrize(("usd", "kind"), [(cost(2000, 200), "estimate"), (Decimal("0.51"), "missing_in_book")])
def test_an_estimate_explains_a_bucket_as_far_as_its_hold_reaches(usd: Decimal, kind: str) -> None:
    guessed = msgspec.structs.replace(entry(2, 70, completion=40), cost=cost(1000, 40), estimated=True)
    data = csv("at,in,out,usd", f"2026-04-01,2100,200,{usd}")
    export = read(data, mapping=mapping_of("time=at,prompt=in,completion=out,cost=usd"))
    assert kinds(compare(export, book(entry(1, 60), guessed))) == [kind]


def test_an_estimate_in_a_bucket_with_as_many_requests_is_an_estimate() -> None:
    guessed = msgspec.structs.replace(entry(2, 70, completion=40), estimated=True)
    assert kinds(compare(usage((0, 2, 2000, 200), width=3600), book(entry(1, 60), guessed))) == ["estimate"]
    assert kinds(compare(usage((0, 3, 3000, 300), width=3600), book(entry(1, 60), guessed))) == ["missing_in_book"]


def test_one_model_under_two_names_is_recognised_by_its_counts() -> None:
    data = csv(
        "start_time,end_time,num_model_requests,model,input_tokens,output_tokens",
        f"{samples.DAY},{samples.DAY + 3600},1,big-2411,1000,100",
    )
    assert compare(data, book(entry(1, 60, "big"))).agrees
    assert kinds(compare(data, book(entry(1, 60, "big", completion=99)))) == ["missing_in_book", "missing_in_export"]


def test_web_searches_that_are_charged_apart_are_compared_apart() -> None:
    header = "usage_date_utc,model,token_type,cost_usd,cost_type"
    rows = ["2026-04-01,Claude Sonnet 4.5,output,0.0045,token", "2026-04-01,,,0.0200,web_search"]
    searching = entry(1, 60, "claude-sonnet-4-5", cost=Decimal("0.0245"), searches=Decimal("0.02"))
    assert compare(csv(header, *rows), book(searching)).agrees
    other = msgspec.structs.replace(searching, cost=Decimal("0.0145"), searches=Decimal("0.01"))
    (found,) = compare(csv(header, *rows), book(other)).differences
    assert (found.kind, found.model, found.cost) == (Kind.COST, "web search", Decimal("0.01"))
    none = msgspec.structs.replace(searching, cost=Decimal("0.0045"), searches=Decimal(0))
    assert kinds(compare(csv(header, *rows), book(none))) == ["missing_in_book"]


def test_an_export_without_models_is_compared_as_a_whole() -> None:
    data = csv("at,calls,in", "2026-04-01,2,2000")
    mapping = mapping_of("time=at,requests=calls,prompt=in")
    assert compare(read(data, mapping=mapping), book(entry(1, 60), entry(2, 70, "another"))).agrees


def test_calls_without_an_id_are_summed_by_day() -> None:
    data = csv("at,model,in", "2026-04-01T00:01:00,gpt-4o,1000", "2026-04-01T09:00:00,gpt-4o,500")
    export = read(data, mapping=mapping_of("time=at,model=model,prompt=in"))
    report = compare(export, book(entry(1, 60), entry(2, 9 * 3600, prompt=500)), DAY_START_NS, DAY_START_NS + DAY_NS)
    assert report.agrees
    assert report.by == "bucket"


def test_an_empty_export_over_a_named_time_misses_every_call() -> None:
    report = compare(openrouter_csv(), book(*OPENAI_BOOK), DAY_START_NS, DAY_START_NS + DAY_NS)
    assert kinds(report) == ["missing_in_export"]
    assert report.differences[0].book is not None
    assert report.differences[0].book.requests == 3


# --- why the book lacks it --------------------------------------------------------------------------------------------


def lacking() -> Report:
    return compare(
        openrouter_csv(openrouter_row(1, 60), openrouter_row(7, 90, key="laptop", model="x/unseen")), book(entry(1, 60))
    )


def test_a_book_without_gaps_says_that_the_call_did_not_pass_the_gateway() -> None:
    report = lacking()
    explain(report, True, DAY_START_NS)
    (found,) = report.differences
    assert found.likely == "off_gateway"
    assert found.why == (
        "the book has no gap, so it did not pass the gateway; "
        "no row that the book has is of its key 'laptop'; the book has no call of its model"
    )


def test_a_book_with_gaps_says_that_a_record_may_be_lost() -> None:
    report = lacking()
    explain(report, False, DAY_START_NS)
    assert report.differences[0].likely == "lost_record"


def test_without_a_daybook_nothing_is_claimed() -> None:
    report = lacking()
    explain(report, None, DAY_START_NS)
    assert report.differences[0].likely == "unknown"


def test_what_is_older_than_the_book_is_no_lost_record() -> None:
    report = lacking()
    explain(report, False, DAY_START_NS + HOUR)
    assert report.differences[0].likely == "before_the_book"


def test_a_wrong_provider_is_told() -> None:
    nothing = Book([], DAY_START_NS, {"acme": 4, "beta": 1})
    (note,) = compare(OPENROUTER_CSV, nothing).notes
    assert note == "the book has no call of this provider in this time, but of others (acme 4, beta 1); see --provider"
