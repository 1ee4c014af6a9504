"""In which order endpoints are tried. Source: routing, sections 5, 8.3 and 10."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from routebook.core.call import Message
from routebook.policy.breaker import Breakers
from routebook.policy.health import Health, Seen, Tally, Vitals
from routebook.policy.house import House
from routebook.policy.routing import Outlook, route
from routebook.policy.sticky import Sticky, conversation
from tests.unit.policy.stock import (
    DEGRADED,
    DOWN,
    GOOD,
    NOW,
    NS,
    OUT,
    call,
    catalog,
    endpoint,
    model,
    one,
    outlook,
    plan,
    sheet,
    speed,
    tags,
    tried,
)

DRAWS = 100_000


def firsts(here: Any, known: Outlook, asked: Any = None, draws: int = DRAWS) -> dict[str, float]:
    """Share of draws in which each endpoint comes first, by tag."""
    wanted = call() if asked is None else asked
    count = Counter(plan(wanted, here, known, seed).endpoints[0].tag for seed in range(draws))
    return {tag: number / draws for tag, number in count.items()}


A_B_C = one(endpoint("a", price="1"), endpoint("b", price="2"), endpoint("c", price="3"))


def test_the_worked_example_holds_within_one_percent() -> None:
    """A costs 1 USD, B 2 with an outage a moment ago, C 3: nine in ten begin at A, one at C, and B comes last."""
    known = outlook({"a": GOOD, "b": OUT, "c": GOOD})
    share = firsts(A_B_C, known)
    assert share == {"a": pytest.approx(0.9, abs=0.01), "c": pytest.approx(0.1, abs=0.01)}
    assert {tried(call(), A_B_C, known, seed)[2] for seed in range(200)} == {"b"}


def test_all_that_stand_well_are_drawn_by_the_inverse_square_of_their_price() -> None:
    share = firsts(A_B_C, Outlook())
    weights = {"a": 1.0, "b": 1 / 4, "c": 1 / 9}
    total = sum(weights.values())
    assert share == {tag: pytest.approx(weight / total, abs=0.01) for tag, weight in weights.items()}


def test_the_long_way_draws_as_the_short_one() -> None:
    asked = call(wish={"data_collection": "allow"})
    assert [tried(asked, A_B_C, seed=s) for s in range(300)] == [tried(call(), A_B_C, seed=s) for s in range(300)]


def test_the_fallbacks_follow_by_rising_price() -> None:
    drawn = {tuple(tried(call(), A_B_C, seed=seed)) for seed in range(500)}
    assert drawn == {("a", "b", "c"), ("b", "a", "c"), ("c", "a", "b")}


def test_the_price_is_three_parts_of_prompt_to_one_of_completion_less_the_discount() -> None:
    here = one(
        endpoint("a", pricing=sheet("1", "13")),  # 4 a token
        endpoint("b", pricing=sheet("4", "4", discount="0.5")),  # 2
        endpoint("c", pricing=sheet("3", "3")),
    )
    assert tried(call(wish={"sort": "price"}), here) == ["b", "c", "a"]


def test_a_free_endpoint_is_drawn_nearly_always_and_an_unpriced_one_never_before_a_priced() -> None:
    here = one(endpoint("none", price=None), endpoint("paid", price="1"), endpoint("free", price="0"))
    share = firsts(here, Outlook(), draws=5_000)
    assert share["free"] > 0.999
    assert "none" not in share
    assert tried(call(), here, seed=1) == ["free", "paid", "none"]


def test_where_no_price_is_known_all_have_the_same_chance() -> None:
    here = one(*[endpoint(name, price=None) for name in "abcd"])
    assert firsts(here, Outlook(), draws=20_000) == {name: pytest.approx(0.25, abs=0.02) for name in "abcd"}


def test_without_a_seed_or_by_configuration_the_order_is_that_of_the_file() -> None:
    here = one(endpoint("dear", price="9"), endpoint("cheap", price="1"))
    assert tried(call(), here) == ["dear", "cheap"]
    configured = Outlook(house=House(balance=False))
    assert {tuple(tried(call(), here, configured, seed)) for seed in range(50)} == {("dear", "cheap")}
    assert tried(call(temperature=1, wish={"zdr": False}), here, configured, 1) == ["dear", "cheap"]


def test_an_outage_of_the_last_thirty_seconds_puts_an_endpoint_back_and_ends_by_itself() -> None:
    health = Health()
    for _ in range(3):
        health.record(Seen("a:lab/one", NOW, False))
    known = Outlook(health=health)
    assert route(call(), A_B_C, outlook=known, now_ns=NOW, seed=1).endpoints[2].tag == "a"
    later = {tags(route(call(), A_B_C, outlook=known, now_ns=NOW + 40 * NS, seed=s))[0] for s in range(20)}
    assert "a" in later


def test_where_all_are_out_the_draw_goes_on() -> None:
    known = outlook({"a": OUT, "b": OUT, "c": OUT})
    assert set(firsts(A_B_C, known, draws=500)) == {"a", "b", "c"}


def test_a_degraded_endpoint_goes_behind_and_one_that_is_down_behind_that() -> None:
    known = outlook({"a": DOWN, "b": DEGRADED, "c": GOOD})
    assert {tuple(tried(call(), A_B_C, known, seed)) for seed in range(50)} == {("c", "b", "a")}


# --- explicit sorts ---------------------------------------------------------------------------------------------------

MEASURED = outlook(speeds={"a": speed(20, 0.9), "b": speed(90, 1.9), "c": speed(90, 0.2)})


@pytest.mark.parametrize(
    ("sort", "expected"),
    [("price", ["a", "b", "c"]), ("throughput", ["b", "c", "a"]), ("latency", ["c", "a", "b"])],
)
def test_explicit_sorts_are_strict_with_any_seed(sort: str, expected: list[str]) -> None:
    for seed in (None, 1, 2, 3):
        assert tried(call(wish={"sort": sort}), A_B_C, MEASURED, seed) == expected
        assert tried(call(), A_B_C, Outlook(house=House(sort=sort), health=MEASURED.health), seed) == expected


def test_who_is_not_measured_sorts_last() -> None:
    known = outlook(speeds={"c": speed(5, 9.0)})
    for sort in ("throughput", "latency"):
        assert tried(call(wish={"sort": sort}), A_B_C, known) == ["c", "a", "b"]


def test_without_measurements_a_sort_by_speed_is_a_loss() -> None:
    found = plan(call(wish={"sort": "latency", "preferred_min_throughput": 5}), A_B_C)
    assert [loss.parameter for loss in found.losses] == ["provider.sort", "provider.preferred_min_throughput"]


def test_an_outage_reorders_a_sort_but_not_what_the_caller_names() -> None:
    known = outlook({"a": OUT, "b": GOOD, "c": DEGRADED})
    assert tried(call(wish={"sort": "price"}), A_B_C, known) == ["b", "c", "a"]
    assert tried(call(wish={"order": ["a", "c"]}), A_B_C, known) == ["a", "c", "b"]
    assert set(firsts(A_B_C, known, call(wish={"only": ["a", "b"]}), draws=300)) == {"a", "b"}


def test_the_rest_of_an_order_goes_by_price_and_standing() -> None:
    known = outlook({"a": OUT, "b": GOOD})
    assert tried(call(wish={"order": ["c"]}), A_B_C, known, seed=1) == ["c", "b", "a"]


def test_a_sort_over_all_models_and_within_each() -> None:
    here = catalog(
        model("lab/one", endpoint("a", price="3"), endpoint("b", price="5")), model("lab/two", endpoint("c", price="4"))
    )
    within = plan(call("lab/one", "lab/two", wish={"sort": {"by": "price", "partition": "model"}}), here)
    across = plan(call("lab/one", "lab/two", wish={"sort": {"by": "price", "partition": "none"}}), here)
    assert tags(within) == ["a", "b", "c"]
    assert tags(across) == ["a", "c", "b"]
    for wish, partition, expected in (
        ({"sort": "price"}, "sort", ["a", "c", "b"]),
        ({"sort": "price"}, "fallback", ["a", "b", "c"]),
        ({"sort": {"by": "price", "partition": "model"}}, "sort", ["a", "b", "c"]),
        ({"order": ["b"]}, "sort", ["b", "a", "c"]),
    ):
        assert tags(plan(call("lab/one", "lab/two", wish=wish, route=partition), here)) == expected


# --- tools ------------------------------------------------------------------------------------------------------------


def tool_vitals(ok: int, failed: int) -> Vitals:
    return Vitals(last_5m=Tally(100), last_30m=Tally(500), tools=Tally(ok, failed))


FIVE = one(*[endpoint(name, price=str(price)) for price, name in enumerate("abcde", 1)])
QUALITY = outlook(
    {
        name: tool_vitals(*counts)
        for name, counts in zip("abcd", [(150, 150), (290, 10), (291, 9), (295, 5)], strict=True)
    },
    {name: speed(rate) for name, rate in zip("abcd", (50, 10, 52, 55), strict=True)},
)
"""a fails half of its tool calls, b is slow, c and d are good, nothing is known of e"""
TOOLS: dict[str, Any] = {"tools": [{}]}


def test_with_tools_good_endpoints_come_first_then_unknown_then_those_put_back() -> None:
    orders = {tuple(tried(call(**TOOLS), FIVE, QUALITY, seed)) for seed in range(100)}
    assert orders == {("c", "d", "e", "a", "b"), ("d", "c", "e", "a", "b")}


@pytest.mark.parametrize(
    "asked",
    [
        call(**TOOLS, wish={"sort": "price"}),
        call("lab/one:floor", **TOOLS),
    ],
)
def test_quality_is_opted_out_of_by_a_sort_by_price(asked: Any) -> None:
    assert tried(asked, FIVE, QUALITY, 1) == list("abcde")


def test_quality_is_opted_out_of_by_the_account() -> None:
    known = Outlook(house=House(sort="price"), health=QUALITY.health)
    assert tried(call(**TOOLS), FIVE, known, 1) == list("abcde")


def test_without_tools_quality_counts_only_where_it_is_asked_for() -> None:
    assert tried(call(), FIVE, QUALITY)[0] == "a"
    for asked in (call("lab/one:exacto"), call(wish={"sort": "exacto"})):
        assert tried(asked, FIVE, QUALITY, 1) == ["c", "d", "e", "a", "b"]


def test_an_explicit_sort_by_price_throughput_or_latency_beats_exacto() -> None:
    assert tried(call("lab/one:exacto", wish={"sort": "price"}), FIVE, QUALITY, 1) == list("abcde")
    assert tried(call("lab/one:floor", wish={"sort": "exacto"}), FIVE, QUALITY, 1) == list("abcde")


def test_with_fewer_than_four_providers_nobody_is_put_back() -> None:
    three = outlook(
        {name: tool_vitals(*counts) for name, counts in zip("abc", [(10, 290), (290, 10), (291, 9)], strict=True)},
        {name: speed(rate) for name, rate in zip("abc", (1, 50, 52), strict=True)},
    )
    assert set(firsts(A_B_C, three, call(**TOOLS), draws=300)) == {"a", "b", "c"}


def test_too_few_requests_are_insufficient_data() -> None:
    few = outlook(
        {name: Vitals(last_30m=Tally(99), tools=Tally(0, 199)) for name in "abcde"},
        {name: speed(rate) for name, rate in zip("abcde", (1, 50, 50, 50, 50), strict=True)},
    )
    assert "a" in firsts(FIVE, few, call(**TOOLS), draws=300)


# --- breakers ---------------------------------------------------------------------------------------------------------


def breakers(*failing: str) -> Breakers:
    found = Breakers()
    for tag in failing:
        for _ in range(5):
            found.failed(f"{tag}:lab/one", NOW, 1)
    return found


def test_an_open_breaker_puts_an_endpoint_last_and_never_takes_it_out() -> None:
    known = Outlook(breakers=breakers("a").of)
    assert {tuple(tried(call(), A_B_C, known, seed)[2:]) for seed in range(50)} == {("a",)}
    alone = one(endpoint("a"))
    assert tried(call(), alone, known, 1) == ["a"]
    assert len(tried(call(), A_B_C, Outlook(breakers=breakers("a", "b", "c").of), 1)) == 3


def test_order_and_only_override_the_breaker() -> None:
    known = Outlook(breakers=breakers("a").of)
    assert tried(call(wish={"order": ["a"]}), A_B_C, known, 1)[0] == "a"
    assert "a" in firsts(A_B_C, known, call(wish={"only": ["a", "b"]}), draws=100)


def test_who_comes_back_starts_with_a_tenth_of_its_weight() -> None:
    found = breakers("a")
    back_ns = found.of["a:lab/one"].open_until_ns
    found.enter("a:lab/one", back_ns)
    found.succeeded("a:lab/one", back_ns)
    two = one(endpoint("a", price="1"), endpoint("b", price="1"))
    known = Outlook(breakers=found.of)
    count = Counter(route(call(), two, outlook=known, now_ns=back_ns, seed=s).endpoints[0].tag for s in range(20_000))
    assert count["a"] / 20_000 == pytest.approx(1 / 11, abs=0.01)


def test_an_endpoint_that_asked_for_a_pause_is_left_alone_while_others_are_there() -> None:
    found = Breakers()
    found.limited("a:lab/one", NOW, 10)
    assert {tried(call(), A_B_C, Outlook(breakers=found.of), seed)[2] for seed in range(20)} == {"a"}


# --- conversations ----------------------------------------------------------------------------------------------------

CACHED = one(
    *[endpoint(name, pricing=sheet(price, input_cache_read="0.00000001")) for name, price in (("a", "1"), ("b", "9"))]
)


def at_home(asked: Any, here: Any, tag: str, known: Outlook | None = None, seed: int = 1) -> list[str]:
    """Order for a conversation that was served by the endpoint with that tag."""
    sticky = Sticky()
    everyone = [e for each in here.models.values() for e in each.endpoints]
    sticky.keep(conversation(asked, "me", asked.model), next(e for e in everyone if e.tag == tag), NOW)
    known = known or Outlook()
    stuck = Outlook(house=known.house, health=known.health, breakers=known.breakers, sticky=sticky)
    return tags(plan(asked, here, stuck, seed, account="me"))


def test_a_conversation_goes_on_where_its_prompt_is_cached() -> None:
    assert {tuple(at_home(call(session_id="s"), CACHED, "b", seed=seed)) for seed in range(30)} == {("b", "a")}
    assert tried(call(session_id="s"), CACHED, seed=1) == ["a", "b"]


def test_order_takes_no_notice_of_it() -> None:
    assert at_home(call(session_id="s", wish={"order": ["a"]}), CACHED, "b") == ["a", "b"]


def test_an_endpoint_that_is_out_is_no_home() -> None:
    assert at_home(call(session_id="s"), CACHED, "b", outlook({"b": OUT})) == ["a", "b"]
    assert at_home(call(session_id="s"), CACHED, "b", Outlook(breakers=breakers("b").of)) == ["a", "b"]


def test_a_plan_names_its_conversation_for_whoever_keeps_it() -> None:
    known = Outlook(sticky=Sticky())
    found = plan(call(session_id="s"), CACHED, known, 1, account="me")
    assert found.conversation == conversation(call(session_id="s"), "me", "lab/one")
    assert plan(call(session_id="s"), CACHED, Outlook(), 1).conversation is None
    assert plan(call(), one(endpoint("a")), known, 1).conversation is None


def test_a_home_at_a_fallback_model_does_not_go_before_the_model_asked_for() -> None:
    here = catalog(
        model("lab/one", endpoint("a"), endpoint("b")),
        model("lab/two", *[endpoint(n, pricing=sheet("1", input_cache_read="0")) for n in ("c", "d")]),
    )
    asked = call("lab/one", "lab/two", messages=[Message("user", "Hi")])
    found = at_home(asked, here, "d")
    assert (found[2:], set(found[:2])) == (["d", "c"], {"a", "b"})
