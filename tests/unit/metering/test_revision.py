"""A charge made anew, and what a try costs that did not answer."""

from __future__ import annotations

from decimal import Decimal
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from routebook.core.catalog import Accounting
from routebook.core.generation import Amendment, Folded, Outcome, Revision, State
from routebook.core.money import ZERO, Charge, Override, Prices, PriceSheet, add
from routebook.core.usage import Usage
from routebook.metering.pricing import price
from routebook.metering.revision import (
    charge_of,
    differs,
    hidden_spend,
    price_again,
    unanswered,
    with_revisions,
    with_unanswered,
)
from tests.unit.daybook.samples import ACCEPTED_NS, SHEET, attempt, intent, outcome

USAGE = Usage(prompt=100, completion=20)
DEARER = PriceSheet(Prices(prompt=Decimal("0.000004"), completion=Decimal("0.000015")), revision="2024-08")
MARKUP = Accounting(markup=Decimal("0.1"))


def call(end: Outcome, state: int = State.DONE, **changes: Any) -> Folded:
    return Folded(9, intent(5, **changes), None, end, state)


def charged(usage: Usage = USAGE, sheet: PriceSheet | None = SHEET, how: Accounting = Accounting(), **more: Any) -> Any:
    return outcome(usage=usage, charge=price(usage, sheet, how, **more))


def by(sheet: PriceSheet | None) -> Any:
    return lambda endpoint, model: sheet


def lines_sum(charge: Charge) -> Decimal:
    return reduce(add, (line.amount for line in charge.lines or ()), ZERO)


# --- tries that did not answer


def test_a_try_that_did_not_answer_costs_the_provider_price_and_the_account_nothing() -> None:
    charge = unanswered(USAGE, SHEET, MARKUP, images=0, hhmm=0)
    assert (charge.total, charge.upstream) == (ZERO, Decimal("0.0006"))
    assert lines_sum(charge) == 0
    assert [line.item for line in charge.lines or ()][-1] == "unanswered"


def test_what_it_searched_is_not_charged_either() -> None:
    sheet = PriceSheet(Prices(prompt=Decimal(1), web_search=Decimal("0.01")))
    charge = unanswered(Usage(prompt=1, completion=0, web_searches=2), sheet, Accounting(), images=0, hhmm=0)
    assert (charge.total, charge.upstream, lines_sum(charge)) == (ZERO, Decimal("1.02"), ZERO)


def test_the_upstream_cost_of_a_call_is_the_sum_of_all_its_tries_and_its_total_that_of_the_last() -> None:
    own = price(USAGE, SHEET, MARKUP)
    lost = unanswered(Usage(prompt=50, completion=1), SHEET, MARKUP, images=0, hhmm=0)
    whole = with_unanswered(own, [lost, lost])
    assert (whole.total, whole.lines) == (own.total, own.lines)
    assert whole.upstream == Decimal("0.0006") + 2 * Decimal("0.000165")
    assert (whole.upstream_prompt, whole.upstream_completion) == (Decimal("0.0006"), Decimal("0.00033"))


def test_an_unknown_price_makes_the_upstream_cost_unknown_and_leaves_the_total() -> None:
    own = price(USAGE, SHEET)
    whole = with_unanswered(own, [unanswered(USAGE, None, Accounting(), images=0, hhmm=0)])
    assert (whole.total, whole.upstream) == (own.total, None)


def test_a_last_try_that_cost_nothing_is_a_known_zero() -> None:
    lost = unanswered(USAGE, SHEET, Accounting(), images=0, hhmm=0)
    assert with_unanswered(Charge(lines=()), [lost]).upstream == Decimal("0.0006")


def test_a_call_with_one_try_keeps_its_very_charge() -> None:
    own = price(USAGE, SHEET)
    assert with_unanswered(own, []) is own


def test_hidden_spend_is_the_sum_of_the_tries_that_did_not_answer() -> None:
    lost = attempt(error="UpstreamOverloaded", usage=USAGE, charge=unanswered(USAGE, SHEET, MARKUP, images=0, hhmm=0))
    refused = attempt(error="UpstreamRateLimited", status=429)
    good = attempt(charge=price(USAGE, SHEET), usage=USAGE)
    assert hidden_spend(outcome(attempts=(lost, refused, lost, good)), good) == Decimal("0.0012")
    assert hidden_spend(outcome(attempts=(good,)), good) == 0
    unknown = replace(lost, charge=Charge(unpriced=True))
    assert hidden_spend(outcome(attempts=(unknown, good)), good) is None


# --- a second price


def test_a_call_is_priced_by_the_sheet_it_is_given() -> None:
    new = price_again(call(charged()), by(DEARER), Accounting())
    assert new is not None
    assert new.total == Decimal("0.0007")
    assert new.price_revision == "2024-08"
    assert differs(charged().charge, new)


def test_the_same_prices_under_another_name_are_no_difference() -> None:
    renamed = replace(SHEET, source="another list", revision="2031-01-01 abc")
    new = price_again(call(charged()), by(renamed), Accounting())
    assert new is not None
    assert not differs(charged().charge, new)


def test_the_markup_a_call_was_charged_with_stays() -> None:
    new = price_again(call(charged(how=MARKUP)), by(DEARER), Accounting(markup=Decimal("0.5")))
    assert new is not None
    assert new.total == Decimal("0.0007") * Decimal("1.1")


def test_an_unpriced_call_gets_its_price_and_the_present_markup() -> None:
    end = charged(sheet=None)
    assert end.charge.unpriced
    new = price_again(call(end), by(SHEET), MARKUP)
    assert new is not None
    assert (new.unpriced, new.total) == (False, Decimal("0.00066"))


def test_a_fee_on_the_callers_own_key_stays() -> None:
    rules = Accounting(byok_fee=Decimal("0.05"))
    end = replace(charged(how=rules, is_byok=True), is_byok=True)
    new = price_again(call(end), by(DEARER), Accounting())
    assert new is not None
    assert (new.total, new.upstream) == (Decimal("0.000035"), Decimal("0.0007"))


def test_an_insured_call_stays_free() -> None:
    new = price_again(call(charged(insured=True)), by(DEARER), Accounting())
    assert new is not None
    assert (new.total, new.upstream, new.insured) == (ZERO, Decimal("0.0007"), True)


def test_an_unpriced_call_that_failed_is_insured_when_it_gets_a_price() -> None:
    end = replace(charged(sheet=None), finish_reason="error")
    new = price_again(call(end, State.ERROR), by(SHEET), Accounting())
    assert new is not None
    assert (new.total, new.insured) == (ZERO, True)


def test_an_interrupted_call_is_never_charged_above_its_hold() -> None:
    end = replace(charged(), interrupted=True, attempts=())
    new = price_again(call(end, State.INTERRUPTED, hold=Decimal("0.00065")), by(DEARER), Accounting())
    assert new is not None
    assert (new.total, lines_sum(new)) == (Decimal("0.00065"), Decimal("0.00065"))


@pytest.mark.parametrize(
    ("end", "sheet"),
    [
        (charged(), None),
        (charged(), PriceSheet()),
        (outcome(charge=Charge(lines=())), DEARER),
    ],
    ids=["no sheet", "an empty sheet", "nothing was sent"],
)
def test_a_price_is_never_taken_away(end: Outcome, sheet: PriceSheet | None) -> None:
    assert price_again(call(end), by(sheet), Accounting()) is None


def test_an_open_call_has_no_charge_to_make_anew() -> None:
    assert price_again(Folded(1, intent(5)), by(DEARER), Accounting()) is None


def test_every_try_is_priced_by_the_sheet_of_its_own_endpoint() -> None:
    lost = attempt(
        error="UpstreamOverloaded",
        endpoint_id="beta:large",
        usage=Usage(prompt=50, completion=1),
        charge=unanswered(Usage(prompt=50, completion=1), SHEET, Accounting(), images=0, hhmm=0),
    )
    sheets = {"beta:large": DEARER, "acme:large": SHEET}
    end = replace(charged(), attempts=(lost, attempt()))
    new = price_again(call(end), lambda endpoint, model: sheets[endpoint], Accounting())
    assert new is not None
    assert (new.total, new.upstream) == (Decimal("0.0006"), Decimal("0.0006") + Decimal("0.000215"))


def test_images_are_counted_as_they_were() -> None:
    sheet = PriceSheet(Prices(prompt=Decimal(1), image=Decimal(5)))
    end = charged(Usage(prompt=1, completion=0), sheet, images=2)
    dear = PriceSheet(Prices(prompt=Decimal(1), image=Decimal(7)))
    new = price_again(call(end, num_media_prompt=3), by(dear), Accounting())
    assert new is not None
    assert new.total == 15


@pytest.mark.parametrize(("window", "total"), [((2300, 2359), "0.0006"), ((1200, 1300), "900")])
def test_prices_with_hours_see_the_minute_of_acceptance(window: tuple[int, int], total: str) -> None:
    """The call was accepted at 23:33 UTC."""
    override = Override(SHEET.base, utc_start=window[0], utc_end=window[1])
    sheet = PriceSheet(Prices(prompt=Decimal(9), completion=ZERO), overrides=(override,))
    new = price_again(call(charged()), by(sheet), Accounting())
    assert new is not None
    assert new.total == Decimal(total)


prices = st.decimals(min_value=0, max_value=1, places=12, allow_nan=False, allow_infinity=False)


@given(prices, prices, prices, st.integers(1, 10**9), st.integers(0, 10**9))
def test_the_lines_of_a_new_charge_sum_and_a_second_pass_finds_nothing(
    prompt: Decimal, completion: Decimal, markup: Decimal, tokens_in: int, tokens_out: int
) -> None:
    usage = Usage(prompt=tokens_in, completion=tokens_out)
    first = call(charged(usage, SHEET, Accounting(markup=markup)))
    sheet = PriceSheet(Prices(prompt=prompt, completion=completion))
    new = price_again(first, by(sheet), Accounting())
    assert new is not None
    assert lines_sum(new) == new.total
    anew = replace(first, amendments=(revised(new),))
    assert charge_of(anew) is new
    again = price_again(anew, by(sheet), Accounting())
    assert again is not None
    assert not differs(new, again)


def revision(new: Charge, number: int = 1) -> Revision:
    call = intent(5)
    return Revision(
        id=call.id,
        daybook="ABC",
        n=5,
        number=number,
        at_ns=ACCEPTED_NS + 10**15,
        account=call.account,
        key_hash=call.key_hash,
        accepted_ns=call.accepted_ns,
        before=Decimal("0.0006"),
        upstream_before=Decimal("0.0006"),
        charge=new,
    )


def revised(new: Charge, number: int = 1) -> Amendment:
    return Amendment(at_ns=ACCEPTED_NS + 10**15, revision=revision(new, number))


def test_of_several_revisions_the_newest_is_in_force_in_whatever_order_they_come() -> None:
    one, two = price(USAGE, DEARER), price(USAGE, SHEET, MARKUP)
    late = replace(call(charged()), amendments=(revised(two, 2), revised(one, 1)))
    assert charge_of(late) is two
    assert [each.number for each in late.revisions] == [1, 2]


def test_the_revisions_that_only_the_store_knows_are_added_once() -> None:
    counted = Amendment(at_ns=1, tokens_prompt=7)
    own = replace(call(charged()), amendments=(counted,))
    stored = replace(own, amendments=(counted, revised(price(USAGE, DEARER))))
    merged = with_revisions(own, stored)
    assert merged == stored
    assert with_revisions(merged, stored) is merged
    assert with_revisions(own, own) is own


def test_the_difference_of_a_revision_is_what_is_posted() -> None:
    new = price(USAGE, DEARER)
    assert revision(new).difference == Decimal("0.0001")
    assert revision(new).byok_difference == 0
    assert replace(revision(new), is_byok=True).byok_difference == Decimal("0.0001")
