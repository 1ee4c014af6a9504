"""Counts x prices = charge. Examples: generation record, sections 4 and 14."""

from __future__ import annotations

from decimal import Context, Decimal, localcontext
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routebook.core.catalog import Accounting
from routebook.core.money import Charge, Override, Prices, PriceSheet, tidy
from routebook.core.usage import Usage
from routebook.metering.pricing import is_insured, is_priced, price, prices_for, rate_of
from tests.unit.metering.money import ACCOUNTINGS, FRACTIONS, RATES, sheets, total, usages
from tests.unit.metering.slow import slow_price


def sheet(discount: str = "0", overrides: tuple[Override, ...] = (), **prices: str) -> PriceSheet:
    table = {"prompt": "0.000003", "completion": "0.000015", **prices}
    return PriceSheet(Prices(**{key: Decimal(text) for key, text in table.items()}), Decimal(discount), overrides)


PLAIN = sheet()
CACHING = sheet(input_cache_read="0.0000003", input_cache_write="0.00000375")
USAGE = Usage(prompt=100, completion=20)


def items(charge: Charge) -> dict[str, Decimal]:
    return {line.item: line.amount for line in charge.lines or ()}


def test_a_charge_has_a_line_for_each_kind_of_token() -> None:
    charge = price(USAGE, PLAIN)
    assert items(charge) == {"prompt": Decimal("0.0003"), "completion": Decimal("0.0003")}
    assert charge.total == charge.upstream == Decimal("0.0006")
    assert (charge.upstream_prompt, charge.upstream_completion) == (Decimal("0.0003"), Decimal("0.0003"))


@pytest.mark.parametrize("pricing", [None, PriceSheet(), PriceSheet(Prices(audio=Decimal(1)))])
def test_without_a_price_nothing_is_charged_and_nothing_is_pretended(pricing: PriceSheet | None) -> None:
    assert price(USAGE, pricing) == Charge(unpriced=True)
    assert pricing is None or not is_priced(pricing)


def test_a_free_model_is_priced_at_nothing() -> None:
    charge = price(USAGE, sheet(prompt="0", completion="0"))
    assert (charge.total, charge.upstream, charge.unpriced) == (Decimal(0), Decimal(0), False)


def test_no_provider_was_reached_so_the_charge_is_a_known_zero() -> None:
    assert price(USAGE, PLAIN, contacted=False) == Charge(lines=())


NO_1H = "no input_cache_write_1h price: billed as"


@pytest.mark.parametrize(
    ("key", "prices", "rate", "note"),
    [
        ("input_cache_read", {}, "0.000003", "no input_cache_read price: billed as prompt"),
        ("input_cache_read", {"input_cache_read": "0"}, "0", None),
        ("input_cache_write_1h", {"input_cache_write": "0.1"}, "0.1", f"{NO_1H} input_cache_write"),
        ("input_cache_write_1h", {}, "0.000003", f"{NO_1H} prompt"),
        ("input_audio_cache", {"audio": "0.2"}, "0.2", "no input_audio_cache price: billed as audio"),
        ("input_audio_cache", {}, "0.000003", "no input_audio_cache price: billed as prompt"),
        ("audio_output", {}, "0.000015", "no audio_output price: billed as completion"),
        ("image_output", {}, "0.000015", "no image_output price: billed as completion"),
        ("internal_reasoning", {}, "0.000015", "no internal_reasoning price: billed as completion"),
        ("internal_reasoning", {"internal_reasoning": "0"}, "0", None),
    ],
)
def test_an_absent_price_falls_back_and_says_so(key: str, prices: dict[str, str], rate: str, note: str | None) -> None:
    assert rate_of(sheet("0", (), **prices).base, key) == (Decimal(rate), note)


def test_a_kind_without_any_price_is_a_line_that_is_not_billed() -> None:
    charge = price(USAGE, PriceSheet(Prices(prompt=Decimal("0.000003"))))
    assert charge.total == Decimal("0.0003")
    assert "not billed" in str((charge.lines or ())[-1].note)


@pytest.mark.parametrize(
    ("prompt", "hhmm", "expected"),
    [(200_000, 700, "1"), (200_001, 700, "2"), (1, 2300, "3"), (1, 559, "3"), (1, 600, "1"), (200_001, 100, "3")],
)
def test_overrides_hold_when_all_conditions_do_and_the_later_one_wins(prompt: int, hhmm: int, expected: str) -> None:
    table = sheet(
        prompt="1",
        overrides=(
            Override(Prices(prompt=Decimal(2)), min_prompt_tokens=200_000),
            Override(Prices(prompt=Decimal(3)), utc_start=2200, utc_end=600),
        ),
    )
    found = prices_for(table, prompt, hhmm)
    assert found.prompt == Decimal(expected)
    assert found.completion == Decimal("0.000015")


def test_a_discount_takes_its_part_of_the_tokens_and_not_of_searches() -> None:
    usage = msgspec.structs.replace(USAGE, web_searches=2)
    charge = price(usage, sheet(discount="0.5", web_search="0.01"))
    assert charge.total == Decimal("0.0003") + Decimal("0.02")
    assert items(charge)["discount"] == Decimal("-0.0003")


def test_a_markup_is_on_inference_and_its_own_line() -> None:
    usage = msgspec.structs.replace(USAGE, web_searches=1)
    charge = price(usage, sheet(web_search="0.01"), Accounting(Decimal("0.25")))
    assert charge.upstream == Decimal("0.0106")
    assert items(charge)["markup"] == Decimal("0.00015")
    assert charge.total == Decimal("0.01075")


def test_images_and_the_request_itself_have_prices() -> None:
    charge = price(USAGE, sheet(image="0.001", request="0.01"), images=2)
    assert items(charge)["image"] == Decimal("0.002")
    assert items(charge)["request"] == Decimal("0.01")


@pytest.mark.parametrize(
    ("usage", "saved"),
    [
        (Usage(prompt=12_000, completion=400, cached=10_000, cache_write=500), "0.026625"),
        (Usage(prompt=12_000, completion=100, cached=0, cache_write=10_000), "-0.0075"),
        (Usage(prompt=100, completion=1), None),
        (Usage(prompt=100, completion=1, cached=0), None),
    ],
)
def test_the_cache_discount_is_signed_and_null_without_traffic(usage: Usage, saved: str | None) -> None:
    assert price(usage, CACHING).cache_discount == (None if saved is None else Decimal(saved))


def test_the_cache_discount_is_null_where_the_endpoint_has_no_cache_prices() -> None:
    assert price(Usage(prompt=100, cached=50, completion=1), PLAIN).cache_discount is None


def test_the_cache_discount_is_in_charged_money() -> None:
    usage = Usage(prompt=100, cached=100, completion=0)
    assert price(usage, CACHING, Accounting(Decimal("0.25"))).cache_discount == Decimal("0.0003375")


@pytest.mark.parametrize(
    ("usage", "finish", "how", "insured"),
    [
        (Usage(prompt=10, completion=5), "error", {}, True),
        (Usage(prompt=10, completion=5), "error", {"cancelled": True}, False),
        (Usage(prompt=10, completion=0), None, {}, True),
        (Usage(prompt=10), None, {"delivered": True}, False),
        (Usage(prompt=10, completion=0), "stop", {}, False),
        (Usage(prompt=10, completion=1), None, {}, False),
        (Usage(prompt=10, completion=0), None, {"cancelled": True}, True),
        (Usage(prompt=10, completion=7), None, {"cancelled": True}, False),
    ],
)
def test_insurance_holds_for_nothing_made_or_an_error(
    usage: Usage, finish: str | None, how: dict[str, bool], insured: bool
) -> None:
    assert is_insured(usage, finish, **{"delivered": False, "cancelled": False, **how}) is insured


def test_insurance_takes_inference_back_and_leaves_searches() -> None:
    charge = price(msgspec.structs.replace(USAGE, web_searches=1), sheet(web_search="0.01"), insured=True)
    assert charge.total == Decimal("0.01")
    assert items(charge)["insurance"] == Decimal("-0.0006")
    assert charge.upstream == Decimal("0.0106")


def test_a_charge_is_exact_whatever_the_decimal_context_of_the_moment() -> None:
    pricing = sheet(prompt="0.000000123457", completion="0.1234567891")
    with localcontext(Context(prec=3)):
        charge = price(Usage(prompt=123_457, completion=765_433), pricing)
    assert charge.upstream_prompt == Decimal("0.015241630849")
    assert charge.upstream_completion == Decimal("94497.9004511803")
    assert charge.total == Decimal("94497.915692811149")
    assert total(charge.lines) == charge.total


@given(usages(), sheets(), ACCOUNTINGS, st.booleans(), st.booleans(), st.integers(0, 3), st.integers(0, 2359))
def test_the_lines_sum_to_the_total_exactly(
    usage: Usage, pricing: PriceSheet, accounting: Accounting, byok: bool, insured: bool, images: int, hhmm: int
) -> None:
    charge = price(usage, pricing, accounting, images=images, hhmm=hhmm, is_byok=byok, insured=insured)
    assert total(charge.lines) == charge.total
    assert charge.total >= 0
    assert charge.upstream is not None
    assert charge.upstream_prompt is not None
    assert charge.upstream_completion is not None
    assert charge.upstream_prompt + charge.upstream_completion == charge.upstream


SOME = st.sampled_from([Decimal(0), Decimal("0.000003"), Decimal("0.05"), Decimal("0.0120"), Decimal(2)]) | RATES
FREE = st.none() | SOME
TEXT_PRICES = {
    "prompt": SOME,
    "completion": SOME,
    "internal_reasoning": FREE,
    "input_cache_read": FREE,
    "input_cache_write": st.none() | SOME,
}
TEXT_SHEETS = st.builds(PriceSheet, base=st.builds(Prices, **TEXT_PRICES), revision=st.sampled_from(["", "r1"]))
"""Sheets that say what text costs and no more."""
SHEETS = st.builds(
    PriceSheet,
    base=st.builds(
        Prices,
        **{**TEXT_PRICES, "prompt": FREE, "completion": FREE},
        request=st.sampled_from([None, Decimal(0), Decimal("0.01")]),
        web_search=st.sampled_from([None, Decimal(0), Decimal("0.005")]),
    ),
    discount=st.sampled_from([Decimal(0), Decimal("0.000"), Decimal("0.1"), Decimal("-0.1")]),
)
"""Sheets that say a little more, or less."""
COUNTS = st.none() | st.integers(0, 300).map(lambda n: n * 10) | st.integers(0, 3_000_000)
TEXT_USAGES = st.tuples(COUNTS, COUNTS, COUNTS, COUNTS).map(
    lambda n: Usage((n[0] or 0) + (n[1] or 0), (n[2] or 0) + (n[3] or 0), reasoning=n[3], cached=n[1])
)
ODD_COUNTS = COUNTS | st.integers(-2, -1)
ODD_USAGES = st.builds(
    Usage,
    prompt=ODD_COUNTS,
    completion=ODD_COUNTS,
    reasoning=ODD_COUNTS,
    cached=ODD_COUNTS,
    video_prompt=st.none() | st.integers(0, 9),
    web_searches=st.sampled_from([None, 0, 3]),
)
MARKUPS = st.sampled_from([Decimal(0), Decimal("0.25"), Decimal(1)]) | FRACTIONS


def as_plainly(usage: Usage, pricing: PriceSheet, accounting: Accounting, **how: Any) -> None:
    """The charge is what the slow way finds, and its amounts are written as people expect them."""
    charge = price(usage, pricing, accounting, **how)
    if not is_priced(pricing):
        assert charge == Charge(unpriced=True)
        return
    plain = slow_price(usage, pricing, accounting, **how)
    assert charge == plain
    for name in ("total", "upstream", "upstream_prompt", "upstream_completion", "cache_discount"):
        found, meant = getattr(charge, name), getattr(plain, name)
        assert str(found) == str(None if meant is None else tidy(meant))


NEITHER = {"images": 0, "hhmm": 0, "is_byok": False, "insured": False}


@settings(max_examples=400, deadline=None)
@given(TEXT_USAGES, TEXT_SHEETS, MARKUPS)
def test_a_charge_for_text_is_the_plain_one_to_the_digit(usage: Usage, pricing: PriceSheet, markup: Decimal) -> None:
    as_plainly(usage, pricing, Accounting(markup), **NEITHER)


@settings(max_examples=400, deadline=None)
@given(
    TEXT_USAGES | ODD_USAGES | usages(),
    TEXT_SHEETS | SHEETS | sheets(),
    st.builds(Accounting, markup=MARKUPS, byok_fee=FRACTIONS),
    st.sampled_from([{}, {}, {"is_byok": True}, {"insured": True}, {"images": 2}, {"is_byok": True, "insured": True}]),
    st.integers(0, 2359),
)
def test_every_charge_is_the_plain_one_to_the_digit(
    usage: Usage, pricing: PriceSheet, accounting: Accounting, how: dict[str, Any], hhmm: int
) -> None:
    as_plainly(usage, pricing, accounting, **{**NEITHER, **how, "hhmm": hhmm})


@pytest.mark.parametrize("prices", [{"prompt": "-1"}, {"completion": "-1"}, {"input_cache_read": "-1"}])
def test_prices_below_zero_are_summed_like_all_others(prices: dict[str, str]) -> None:
    usage = Usage(prompt=600, completion=500, cached=100, reasoning=50)
    for markup in ("0", "0.1", "-0.5"):
        as_plainly(usage, sheet("0", (), **prices), Accounting(Decimal(markup)), **NEITHER)
    as_plainly(Usage(prompt=10**7, completion=0), sheet(), Accounting(Decimal("-0.9")), **NEITHER)


@given(
    usages(audio_cached=st.none()),
    sheets(input_cache_read=RATES),
    ACCOUNTINGS,
    st.booleans(),
    st.integers(0, 2359),
)
def test_with_the_cache_discount_a_call_costs_what_it_would_without_a_cache(
    usage: Usage, pricing: PriceSheet, accounting: Accounting, byok: bool, hhmm: int
) -> None:
    how: dict[str, Any] = {"hhmm": hhmm, "is_byok": byok}
    charge = price(usage, pricing, accounting, **how)
    uncached = price(without_cache(usage), pricing, accounting, **how)
    if charge.cache_discount is None:
        assert not (usage.cached or usage.cache_write or usage.cache_write_1h) or not usage.prompt
    else:
        assert charge.total + charge.cache_discount == uncached.total


def without_cache(usage: Usage) -> Usage:
    """The same call where every cached token is a plain prompt token. Parts that contradict the whole are cut in the
    order that counts.split takes them, so that the same tokens stay audio and images."""
    cached = min((usage.cached or 0) + (usage.cache_write or 0) + (usage.cache_write_1h or 0), usage.prompt or 0)
    left = (usage.prompt or 0) - cached
    audio = min(usage.audio_prompt or 0, left)
    image = min(usage.image_prompt or 0, left - audio)
    return msgspec.structs.replace(
        usage, cached=None, cache_write=None, cache_write_1h=None, audio_prompt=audio, image_prompt=image
    )
