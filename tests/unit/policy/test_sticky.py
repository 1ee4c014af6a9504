"""Conversations stay where their prompt is cached. Source: routing, section 10."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from routebook.core.call import Call, Chat, Message, Part, ProviderWish
from routebook.core.catalog import Endpoint, Provider
from routebook.core.money import Prices, PriceSheet
from routebook.policy.sticky import LIFE_NS, Sticky, cacheable, conversation, sticks

NOW = 1_790_000_000_000_000_000
ACME = Provider("acme", "Acme", "openai_chat", "https://acme.example/v1")


def endpoint(read: str | None = "0.1", prompt: str | None = "1", name: str = "acme") -> Endpoint:
    prices = Prices(
        prompt=None if prompt is None else Decimal(prompt), input_cache_read=None if read is None else Decimal(read)
    )
    return Endpoint(f"{name}:m", "lab/one", ACME, "up", name, PriceSheet(prices))


def call(*said: Message, session: str | None = None, cache_key: str | None = None, **more: Any) -> Call:
    messages = list(said) or [Message("system", "Be brief."), Message("user", "Hi")]
    chat = Chat(messages=messages, prompt_cache_key=cache_key)
    return Call(surface="openai_chat", model="lab/one", chat=chat, raw={}, session_id=session, **more)


def key(of: Call, account: str = "me", model: str = "lab/one") -> bytes:
    return conversation(of, account, model)


def test_a_conversation_that_goes_on_has_the_same_key() -> None:
    first = [Message("system", "Be brief."), Message("user", "Hi")]
    assert key(call(*first)) == key(call(*first, Message("assistant", "Yes?"), Message("user", "Tell me more.")))


@pytest.mark.parametrize(
    "other",
    [
        call(Message("system", "Be long."), Message("user", "Hi")),
        call(Message("system", "Be brief."), Message("user", "Ho")),
        call(Message("user", "Be brief."), Message("user", "Hi")),
        call(Message("user", [Part("text", text="Hi")])),
        call(session="s"),
        call(cache_key="s"),
    ],
)
def test_another_opening_session_or_cache_key_is_another_conversation(other: Call) -> None:
    assert key(other) != key(call())


def test_the_session_counts_first_then_the_cache_key() -> None:
    assert key(call(session="s", cache_key="c")) == key(call(Message("user", "else"), session="s"))
    assert key(call(cache_key="c")) == key(call(Message("user", "else"), cache_key="c"))
    assert key(call(session="s")) != key(call(cache_key="s"))


def test_account_and_model_are_part_of_the_key() -> None:
    assert len({key(call(session="s"), account, model) for account in ("a", "b") for model in ("m", "n")}) == 4
    assert key(call(session="s"), "ab", "c") != key(call(session="s"), "a", "bc")


def test_a_place_is_forgotten_after_ten_minutes_without_use() -> None:
    sticky, place = Sticky(), key(call())
    sticky.keep(place, endpoint(), NOW)
    assert (found := sticky.find(place, NOW + LIFE_NS - 1)) is not None
    assert (found.endpoint_id, found.model) == ("acme:m", "lab/one")
    assert sticky.find(place, NOW + LIFE_NS) is None
    sticky.keep(place, endpoint(), NOW + LIFE_NS - 1)
    assert sticky.find(place, NOW + LIFE_NS) is not None


def test_the_memory_is_bounded_and_forgets_what_was_not_used_for_longest() -> None:
    sticky = Sticky(entries_max=2)
    for name in (b"a", b"b", b"a", b"c"):
        sticky.keep(name, endpoint(), NOW)
    assert [sticky.find(name, NOW) is not None for name in (b"a", b"b", b"c")] == [True, False, True]
    assert len(sticky) == 2


@pytest.mark.parametrize(
    ("read", "prompt", "cheaper"), [("0.1", "1", True), ("1", "1", False), (None, "1", False), ("0", None, False)]
)
def test_only_where_a_cached_token_is_cheaper(read: str | None, prompt: str | None, cheaper: bool) -> None:
    assert cacheable(endpoint(read, prompt)) is cheaper
    assert not cacheable(Endpoint("e", "m", ACME, "up", "acme"))


@pytest.mark.parametrize(
    ("of", "cached", "expected"),
    [
        (call(session="s"), None, True),
        (call(session="s"), 0, True),
        (call(), None, False),
        (call(), 0, False),
        (call(), 512, True),
        (call(cache_key="c"), 0, False),
        (call(session="s", provider=ProviderWish(order=["acme"])), 512, False),
    ],
)
def test_with_a_session_any_answer_sticks_and_without_one_only_a_used_cache(
    of: Call, cached: int | None, expected: bool
) -> None:
    assert sticks(of, endpoint(), cached) is expected
    assert not sticks(of, endpoint("1", "1"), cached)


def test_a_session_stays_with_the_model_a_router_chose_whatever_its_prices() -> None:
    assert sticks(call(session="s"), endpoint("1", "1"), None, routed=True)
    assert not sticks(call(), endpoint("1", "1"), 5, routed=True)
