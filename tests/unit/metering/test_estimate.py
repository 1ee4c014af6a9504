"""Bounds before a call, estimates after one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routebook.core.call import Call, Chat, Message
from routebook.core.catalog import Accounting, Endpoint, Provider
from routebook.core.money import Override, Prices, PriceSheet
from routebook.core.usage import Usage
from routebook.metering.estimate import completion_bound, cost_bound, estimate, prompt_bound, tokens_of
from routebook.metering.pricing import price
from tests.unit.metering.money import ACCOUNTINGS, sheets, usages
from tests.unit.metering.slow import slow_bound

PROVIDER = Provider("acme", "Acme", "openai_chat", "https://acme.example/v1")


def call(body_bytes: int = 100, messages: int = 1, **more: Any) -> Call:
    chat = {name: more.pop(name) for name in ("max_tokens", "n") if name in more}
    return Call(
        surface="openai_chat",
        model="m",
        chat=Chat(messages=[Message("user", "Hi")] * messages, **chat),
        raw={},
        body_bytes=body_bytes,
        **more,
    )


def endpoint(pricing: PriceSheet | None = None, **more: Any) -> Endpoint:
    return Endpoint("e", "m", PROVIDER, "m-1", "acme", pricing, **more)


def sheet(**prices: str) -> PriceSheet:
    return PriceSheet(Prices(**{key: Decimal(text) for key, text in prices.items()}))


@pytest.mark.parametrize(
    ("asked", "offered", "bound"),
    [
        (call(100), endpoint(), 100 + 512 + 16),
        (call(100, messages=3), endpoint(), 100 + 512 + 48),
        (call(100_000), endpoint(context_length=8192), 8192),
        (call(100, media_prompt=2), endpoint(context_length=4096), 4096),
        (call(100, media_prompt=1), endpoint(), 100 + 512 + 16 + 131_072),
        (call(100, audio_prompt=1), endpoint(), 100 + 512 + 16 + 131_072),
    ],
)
def test_a_prompt_has_at_most_a_token_for_each_byte_and_a_template(asked: Call, offered: Endpoint, bound: int) -> None:
    assert prompt_bound(asked, offered) == bound


@pytest.mark.parametrize(
    ("asked", "offered", "bound"),
    [
        (call(max_tokens=50), endpoint(), 50),
        (call(max_tokens=50, n=3), endpoint(), 150),
        (call(), endpoint(max_completion_tokens=1000), 1000),
        (call(), endpoint(), 4096),
    ],
)
def test_a_completion_is_bounded_by_the_caller_then_the_endpoint(asked: Call, offered: Endpoint, bound: int) -> None:
    assert completion_bound(asked, offered) == bound


@pytest.mark.parametrize("pricing", [None, PriceSheet(), sheet(audio="1")])
def test_nobody_can_bound_what_has_no_price(pricing: PriceSheet | None) -> None:
    assert cost_bound(call(), endpoint(pricing), Accounting()) is None


def test_a_price_for_the_request_alone_is_a_price() -> None:
    assert cost_bound(call(), endpoint(sheet(request="0.01")), Accounting()) == Decimal("0.01")


def test_the_dearest_kind_of_token_counts_for_all_of_them() -> None:
    dear = sheet(prompt="0", completion="0", input_audio_cache="0.5")
    assert cost_bound(call(100, max_tokens=1), endpoint(dear), Accounting()) == (100 + 512 + 16) * Decimal("0.5")


def test_a_markup_is_held_too() -> None:
    assert cost_bound(call(), endpoint(sheet(request="1")), Accounting(markup=Decimal("0.25"))) == Decimal("1.25")


def test_prices_that_may_come_into_force_are_held_at_their_highest() -> None:
    table = PriceSheet(
        Prices(prompt=Decimal(1), completion=Decimal(1)),
        overrides=(Override(Prices(completion=Decimal(9)), min_prompt_tokens=10),),
    )
    assert cost_bound(call(100, max_tokens=1), endpoint(table), Accounting()) == 628 + 9


@given(
    sheets() | st.builds(PriceSheet, discount=st.just(Decimal("-0.2")), base=st.just(Prices(request=Decimal(1)))),
    ACCOUNTINGS | st.just(Accounting()),
    st.integers(0, 10**6),
    st.none() | st.integers(1, 10**6),
    st.none() | st.integers(0, 3),
    st.integers(0, 2),
)
def test_every_bound_is_the_plain_one(
    pricing: PriceSheet, accounting: Accounting, size: int, most: int | None, n: int | None, media: int
) -> None:
    asked = call(size, max_tokens=most, n=n, media_prompt=media)
    assert cost_bound(asked, endpoint(pricing), accounting) == slow_bound(asked, endpoint(pricing), accounting)


@given(
    sheets(),
    ACCOUNTINGS,
    st.integers(1, 20),
    st.integers(0, 2),
    st.integers(0, 2359),
    st.data(),
)
def test_no_usage_within_the_bounds_costs_more_than_the_bound(
    pricing: PriceSheet, accounting: Accounting, most: int, media: int, hhmm: int, data: st.DataObject
) -> None:
    """Searches are no part of the bound: nobody can say beforehand how many there will be."""
    asked = call(100, max_tokens=most, media_prompt=media)
    offered = endpoint(pricing, context_length=400)
    usage = data.draw(usages(prompt=st.integers(0, prompt_bound(asked, offered)), completion=st.integers(0, most)))
    usage = Usage(**{name: getattr(usage, name) for name in usage.__struct_fields__ if name != "web_searches"})
    bound = cost_bound(asked, offered, accounting)
    assert bound is not None
    assert price(usage, pricing, accounting, images=media, hhmm=hhmm).total <= bound


@pytest.mark.parametrize(("size", "frames", "tokens"), [(0, 0, 0), (1, 1, 1), (4, 1, 1), (5, 1, 2), (37, 37, 37)])
def test_delivered_text_has_a_token_for_four_bytes_and_one_a_frame(size: int, frames: int, tokens: int) -> None:
    assert tokens_of(size, frames) == tokens


@pytest.mark.parametrize(
    ("known", "prompt", "completion"),
    [
        (Usage(), 100, 3),
        (Usage(prompt=80), 80, 3),
        (Usage(prompt=80, completion=1), 80, 3),
        (Usage(prompt=80, completion=9), 80, 9),
    ],
)
def test_an_estimate_keeps_what_the_provider_said(known: Usage, prompt: int, completion: int) -> None:
    found = estimate(400, 12, 2, known)
    assert (found.prompt, found.completion) == (prompt, completion)


def test_an_estimate_keeps_the_cache_counts_that_came_early() -> None:
    known = Usage(prompt=80, cached=70, cache_write=5, raw=b'{"input_tokens":5}')
    found = estimate(400, 12, 2, known)
    assert (found.cached, found.cache_write, found.raw) == (70, 5, b'{"input_tokens":5}')
