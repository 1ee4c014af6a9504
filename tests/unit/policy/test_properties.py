"""What holds for every request: plans are functions of their arguments, and nothing depends on the catalogue's order
that should not."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from routebook.core.catalog import Catalog, Endpoint
from routebook.core.errors import Fault
from routebook.policy.breaker import Breaker
from routebook.policy.explain import explain
from routebook.policy.health import Stills, Tally, Vitals
from routebook.policy.routing import Outlook, Route
from tests.unit.policy.stock import NOW, call, endpoint, one, plan, provider, speed, tags

NAMES = ("a", "b", "c", "d", "e")

ENDPOINTS = st.lists(
    st.builds(
        lambda name, price, quantization, zdr, context, tools: endpoint(
            provider(name, zdr=zdr),
            price=price,
            quantization=quantization,
            context_length=context,
            supported_parameters=tools,
        ),
        st.sampled_from(NAMES),
        st.sampled_from([None, "0", "0.5", "1", "2", "3.25"]),
        st.sampled_from([None, "fp8", "int4"]),
        st.booleans(),
        st.sampled_from([None, 8_000, 100_000]),
        st.sampled_from([None, frozenset({"tools"}), frozenset({"seed"})]),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda e: e.tag,
)
NAMED = st.lists(st.sampled_from(NAMES), max_size=3, unique=True)
WISHES = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "order": NAMED,
        "ignore": NAMED,
        "allow_fallbacks": st.booleans(),
        "zdr": st.booleans(),
        "require_parameters": st.booleans(),
        "quantizations": st.lists(st.sampled_from(["fp8", "int4", "unknown"]), max_size=2),
        "sort": st.sampled_from(["price", "throughput", "latency", "exacto"]),
        "preferred_min_throughput": st.sampled_from([10, 50]),
        "max_price": st.sampled_from([{"prompt": "1"}, {"prompt": "10"}]),
    },
)
BODIES = st.fixed_dictionaries(
    {}, optional={"tools": st.just([{}]), "max_tokens": st.sampled_from([10, 50_000]), "seed": st.just(1)}
)
VITALS = st.builds(
    lambda ok, failed: Vitals(Tally(ok, failed), Tally(ok, failed), Tally(ok, failed), Tally(ok, failed)),
    st.integers(0, 300),
    st.integers(0, 40),
)
SPEEDS = st.builds(speed, st.sampled_from([5.0, 20.0, 80.0]), st.sampled_from([0.2, 1.0]))
OUTLOOKS = st.builds(
    lambda vitals, speeds, open_ones: Outlook(
        health=Stills(
            {f"{tag}:lab/one": each for tag, each in vitals.items()},
            {f"{tag}:lab/one": each for tag, each in speeds.items()},
        ),
        breakers={f"{tag}:lab/one": Breaker(opened=1, open_until_ns=NOW + 1) for tag in open_ones},
    ),
    st.dictionaries(st.sampled_from(NAMES), VITALS),
    st.dictionaries(st.sampled_from(NAMES), SPEEDS),
    st.sets(st.sampled_from(NAMES)),
)
SEEDS = st.none() | st.integers(0, 2**64)


def outcome(wish: Any, body: Any, here: Catalog, known: Outlook, seed: int | None) -> Route | str:
    try:
        return plan(call(wish=wish, **body), here, known, seed)
    except Fault as fault:
        return f"{type(fault).__name__}: {fault.message} {fault.metadata}"


@settings(max_examples=250, deadline=None)
@given(ENDPOINTS, WISHES, BODIES, OUTLOOKS, SEEDS)
def test_the_same_arguments_give_the_same_plan_and_its_explanation(
    endpoints: list[Endpoint], wish: Any, body: Any, known: Outlook, seed: int | None
) -> None:
    here = one(*endpoints)
    found = outcome(wish, body, here, known, seed)
    # A catalogue that is equal, not the same: nothing is remembered of the first that could change the second.
    assert outcome(wish, body, msgspec.convert(msgspec.to_builtins(here), Catalog), known, seed) == found
    told = explain(call(wish=wish, **body), here, outlook=known, now_ns=NOW, seed=seed)
    assert told.route == (None if isinstance(found, str) else found)
    assert {fate.endpoint_id for fate in told.fates} == {e.id for e in here.models["lab/one"].endpoints}
    assert all((fate.place is None) == (fate.dropped_by is not None) for fate in told.fates) or told.route is None


@settings(max_examples=200, deadline=None)
@given(ENDPOINTS, WISHES, BODIES, OUTLOOKS, SEEDS, st.randoms(use_true_random=False))
def test_who_may_serve_does_not_depend_on_the_order_of_the_catalogue(
    endpoints: list[Endpoint], wish: Any, body: Any, known: Outlook, seed: int | None, shuffle: Any
) -> None:
    mixed = list(endpoints)
    shuffle.shuffle(mixed)
    found, other = outcome(wish, body, one(*endpoints), known, seed), outcome(wish, body, one(*mixed), known, seed)
    if isinstance(found, str) or isinstance(other, str):
        assert found == other
    elif (wish or {}).get("allow_fallbacks", True):
        assert sorted(tags(found)) == sorted(tags(other))
    else:
        assert len(found.endpoints) == len(other.endpoints)


PRICED = st.lists(st.sampled_from(["0.5", "1", "2", "3.25", "7"]), min_size=1, max_size=5, unique=True)


@settings(max_examples=150, deadline=None)
@given(PRICED, OUTLOOKS, st.integers(0, 2**64), st.sampled_from([None, "price", "throughput"]), st.booleans())
def test_with_prices_apart_the_order_of_the_catalogue_changes_nothing(
    prices: list[str], known: Outlook, seed: int, sort: str | None, tools: bool
) -> None:
    endpoints = [endpoint(name, price=price) for name, price in zip(NAMES, prices, strict=False)]
    wish = None if sort is None else {"sort": sort}
    body: dict[str, Any] = {"tools": [{}]} if tools else {}
    orders = [outcome(wish, body, one(*each), known, seed) for each in (endpoints, endpoints[::-1])]
    assert not isinstance(orders[0], str)
    assert not isinstance(orders[1], str)
    assert tags(orders[0]) == tags(orders[1])


@settings(max_examples=150, deadline=None)
@given(ENDPOINTS, OUTLOOKS, SEEDS)
def test_health_and_breakers_never_take_an_endpoint_out(
    endpoints: list[Endpoint], known: Outlook, seed: int | None
) -> None:
    found = outcome(None, {}, one(*endpoints), known, seed)
    assert not isinstance(found, str)
    assert sorted(tags(found)) == sorted(e.tag for e in endpoints)
