"""Prices from the library, against the library's own arithmetic.

The oracle: for every offer the sheet, resolved by the metering room for a prompt size and a time of day, must give the
price that the library itself would use for that model at that moment.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal

import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)

from routebook.config.catalog import Offer
from routebook.core.money import Override, Prices
from routebook.load.catalog import known_vendors
from routebook.load.prices import PriceList
from routebook.metering.pricing import prices_for

NOW = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
HOURS = (0, 2, 5, 8, 12, 16, 17, 23)
SIZES = (1, 100_000, 128_001, 200_000, 200_001, 300_000, 2_000_000)

OURS = {
    "input_mtok": ("prompt", 1_000_000),
    "output_mtok": ("completion", 1_000_000),
    "cache_read_mtok": ("input_cache_read", 1_000_000),
    "cache_write_mtok": ("input_cache_write", 1_000_000),
    "cache_write_1h_mtok": ("input_cache_write_1h", 1_000_000),
    "input_audio_mtok": ("audio", 1_000_000),
    "output_audio_mtok": ("audio_output", 1_000_000),
    "cache_audio_read_mtok": ("input_audio_cache", 1_000_000),
    "input_image_mtok": ("image_token", 1_000_000),
    "output_image_mtok": ("image_output", 1_000_000),
    "output_reasoning_mtok": ("internal_reasoning", 1_000_000),
    "web_searches_kcount": ("web_search", 1000),
    "requests_kcount": ("request", 1000),
}

LISTED = {row.slug: row.pricing_provider for row in known_vendors().values() if row.pricing_provider}


@pytest.fixture(scope="module")
def library() -> dict[str, Provider]:
    return {provider.id: provider for provider in get_snapshot().providers}


@pytest.fixture(scope="module")
def prices(library: dict[str, Provider]) -> PriceList:
    return PriceList(library, NOW)


def stated(price: ModelPrice, key: str, prompt_tokens: int) -> Decimal | None:
    """The library's price of that name for a prompt of that size, in its own unit."""
    value = getattr(price, key)
    if isinstance(value, TieredPrices):
        above = [tier.price for tier in value.tiers if prompt_tokens > tier.start]
        return above[-1] if above else value.base
    assert value is None or isinstance(value, Decimal)
    return value


@pytest.mark.parametrize(("vendor", "pricing_provider"), sorted(LISTED.items()))
def test_every_price_of_every_vendor_equals_the_librarys_own(
    vendor: str, pricing_provider: str, library: dict[str, Provider], prices: PriceList
) -> None:
    offers = prices.offers(vendor, vendor, pricing_provider)
    assert offers, f"the library has no models for {vendor}"
    compared = 0
    for offer in offers:
        model = next(
            m
            for m in library[pricing_provider].models
            if m.id == offer.upstream_model or m.is_match(offer.upstream_model)
        )
        for hour in HOURS:
            moment = NOW.replace(hour=hour)
            price = model.get_prices(moment)
            for size in SIZES:
                compared += equal(offer, price, size, hour * 100 + moment.minute)
    assert compared > 0


def equal(offer: Offer, price: ModelPrice, size: int, hhmm: int) -> int:
    """Number of prices compared, all of which are equal."""
    if offer.pricing is None:
        assert not any(stated(price, key, size) for key in ("input_mtok", "output_mtok", "requests_kcount"))
        return 0
    ours = prices_for(offer.pricing, size, hhmm)
    for key, (name, per) in OURS.items():
        theirs = stated(price, key, size)
        mine: Decimal | None = getattr(ours, name)
        if name == "completion" and theirs is None and "text" not in offer.output_modalities:
            assert mine == 0
            continue
        if name == "input_cache_write" and theirs is None:
            theirs = stated(price, "cache_write_5m_mtok", size)
        assert (mine is None) == (theirs is None), (offer.upstream_model, name)
        assert mine is None or mine * per == theirs, (offer.upstream_model, name, size, hhmm)
    return len(OURS)


def one_model(prices: ModelPrice | list[ConditionalPrice], now: datetime = NOW) -> Offer:
    model = ModelInfo(id="large", match=ClauseEquals("large"), prices=prices)
    library = {"acme": Provider(id="acme", name="Acme", api_pattern="x", models=[model])}
    return PriceList(library, now).offers("acme", "acme", "acme")[0]


def at(start: date, price: str) -> ConditionalPrice:
    return ConditionalPrice(StartDateConstraint(start), prices=ModelPrice(input_mtok=Decimal(price)))


def test_a_million_tokens_of_a_price_with_many_digits_is_that_price_again() -> None:
    sheet = one_model(ModelPrice(input_mtok=Decimal("0.123456789012345678901234567890123"))).pricing
    assert sheet is not None
    assert sheet.base.prompt is not None
    assert str(sheet.base.prompt) == "1.23456789012345678901234567890123E-7"


def test_the_dated_price_in_force_on_the_day_counts_and_the_next_one_is_announced() -> None:
    dated = [
        ConditionalPrice(prices=ModelPrice(input_mtok=Decimal(1))),
        at(date(2026, 11, 24), "2"),
        at(date(2026, 12, 1), "3"),
    ]
    found = {}
    for day in (datetime(2026, 11, 23, 23, 59, tzinfo=UTC), NOW, datetime(2026, 12, 1, tzinfo=UTC)):
        sheet = one_model(dated, day).pricing
        assert sheet is not None
        found[day.date().isoformat()] = sheet.base.prompt
    assert found == {
        "2026-11-23": Decimal("0.000001"),
        "2026-11-24": Decimal("0.000002"),
        "2026-12-01": Decimal("0.000003"),
    }


def test_the_next_change_is_the_first_day_to_come() -> None:
    model = ModelInfo(
        id="m",
        match=ClauseEquals("m"),
        prices=[at(date(2026, 11, 24), "1"), at(date(2027, 3, 4), "2"), at(date(2027, 1, 2), "3")],
    )
    listed = PriceList({"acme": Provider(id="acme", name="Acme", api_pattern="x", models=[model])}, NOW)
    assert listed.next_change(["acme", "unknown"]) == "2027-01-02"
    assert listed.next_change([]) is None


def test_tiers_become_overrides_strictly_above_their_start() -> None:
    tiered = TieredPrices(Decimal(1), [Tier(200_000, Decimal(3)), Tier(128_000, Decimal(2))])
    sheet = one_model(ModelPrice(input_mtok=tiered, output_mtok=Decimal(4))).pricing
    assert sheet is not None
    assert sheet.overrides == (
        Override(Prices(prompt=Decimal("0.000002")), min_prompt_tokens=128_000),
        Override(Prices(prompt=Decimal("0.000003")), min_prompt_tokens=200_000),
    )
    assert prices_for(sheet, 200_000, 0).prompt == Decimal("0.000002")
    assert prices_for(sheet, 200_001, 0).prompt == Decimal("0.000003")
    assert prices_for(sheet, 200_001, 0).completion == Decimal("0.000004")


def test_a_time_of_day_after_the_price_in_force_becomes_a_window() -> None:
    night = TimeOfDateConstraint(time(22, 30, tzinfo=UTC), time(1, 0, tzinfo=UTC))
    sheet = one_model(
        [
            ConditionalPrice(night, prices=ModelPrice(input_mtok=Decimal(9))),  # before the one in force: never chosen
            at(date(2026, 1, 1), "2"),
            ConditionalPrice(night, prices=ModelPrice(input_mtok=Decimal(1))),
        ]
    ).pricing
    assert sheet is not None
    assert sheet.overrides == (Override(Prices(prompt=Decimal("0.000001")), utc_start=2230, utc_end=100),)
    assert sheet.base.prompt == Decimal("0.000002")


def test_a_model_without_any_price_is_unpriced_not_free() -> None:
    assert one_model(ModelPrice()).pricing is None
    assert one_model([]).pricing is None


def test_what_a_sheet_has_no_name_for_is_said() -> None:
    offer = one_model(ModelPrice(input_mtok=Decimal(1), output_citation_mtok=Decimal(2)))
    assert offer.note == "Not on the price sheet: output citation tokens."


def test_a_sheet_says_where_it_is_from(prices: PriceList) -> None:
    offer = prices.offers("openai", "openai", "openai")[0]
    assert offer.pricing is not None
    assert offer.pricing.source.startswith("genai-prices ")
    assert offer.pricing.revision.startswith("2026-11-24 ")


def by_slug(prices: PriceList, vendor: str) -> dict[str, Offer]:
    return {offer.slug: offer for offer in prices.offers(vendor, vendor, LISTED[vendor] or "")}


def test_upstream_names_are_those_the_vendor_answers_to(prices: PriceList) -> None:
    fireworks, anthropic = by_slug(prices, "fireworks"), by_slug(prices, "anthropic")
    assert fireworks["openai/gpt-oss-120b"].upstream_model == "accounts/fireworks/models/gpt-oss-120b"
    assert anthropic["anthropic/claude-opus-4.5"].upstream_model == "claude-opus-4-5"
    assert by_slug(prices, "mistral")["mistralai/codestral-latest"].upstream_model == "codestral-latest"


def test_dated_names_in_the_list_are_models_of_their_own(prices: PriceList) -> None:
    openai = by_slug(prices, "openai")
    assert openai["openai/gpt-4o-2024-11-20"].pricing == openai["openai/gpt-4o"].pricing
    assert openai["openai/gpt-4o-2024-05-13"].pricing != openai["openai/gpt-4o"].pricing


def test_what_this_api_cannot_call_is_left_out(prices: PriceList) -> None:
    openai, google = by_slug(prices, "openai"), by_slug(prices, "google-ai-studio")
    assert not [slug for slug in openai if "realtime" in slug or slug.startswith("openai/ft:") or "gpt-oss" in slug]
    assert not [slug for slug in google if "claude" in slug], "those are on Vertex AI only"
    assert not [slug for slug in by_slug(prices, "openrouter") if slug.endswith(":batch") or "/" not in slug]


def test_a_name_that_is_not_listed_is_matched_as_the_library_matches(prices: PriceList) -> None:
    dated = prices.match("anthropic", "anthropic", "anthropic", "claude-opus-4-5-20251101")
    assert dated is not None
    assert dated.upstream_model == "claude-opus-4-5-20251101"
    assert dated.pricing == by_slug(prices, "anthropic")["anthropic/claude-opus-4.5"].pricing
    tuned = prices.match("openai", "openai", "openai", "ft:gpt-4o-mini-2024-07-18:org::id")
    assert tuned is not None
    assert tuned.pricing is not None
    assert prices.match("openai", "openai", "openai", "gpt-99") is None
    assert prices.match("openai", "openai", "openai", "gpt-4o-realtime-preview") is None
