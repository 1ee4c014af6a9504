"""Why a plan is as it is, and what a caller may be told of it. Source: inference API, section 12."""

from __future__ import annotations

from typing import Any

import pytest

from routebook.core.errors import NotFound
from routebook.policy.explain import DRAWS, Explanation, Fate, Tried, explain, firsts, router_metadata
from routebook.policy.house import House
from routebook.policy.routing import NOTHING_KNOWN, Outlook
from routebook.policy.sticky import Sticky, conversation
from tests.unit.policy.stock import (
    DEGRADED,
    GOOD,
    NOW,
    OUT,
    call,
    endpoint,
    one,
    outlook,
    plan,
    provider,
    sheet,
    speed,
)
from tests.unit.policy.test_ordering import FIVE, QUALITY, TOOLS, breakers

HERE = one(
    endpoint("acme", price="3"),
    endpoint("beta", price="1", supported_parameters=frozenset({"tools"})),
    endpoint(provider("gamma", zdr=True), price=None, supported_parameters=frozenset({"seed"})),
)


def told(asked: Any, known: Outlook = NOTHING_KNOWN, seed: int | None = 1, here: Any = HERE) -> dict[str, Fate]:
    found = explain(asked, here, outlook=known, now_ns=NOW, seed=seed)
    return {fate.tag: fate for fate in found.fates}


def test_a_dropped_endpoint_names_its_filter_and_what_that_asked() -> None:
    fates = told(call(wish={"only": ["beta"], "zdr": False}))
    assert fates["beta"].place == 1
    assert (fates["acme"].place, fates["acme"].dropped_by, fates["acme"].wanted) == (
        None,
        "provider.only",
        "is one of beta",
    )


def test_prices_stand_beside_and_unknown_ones_are_none() -> None:
    fates = told(call())
    assert (fates["acme"].prompt_price, fates["gamma"].prompt_price) == ("0.000003", None)


def test_who_others_take_a_parameter_for_is_dropped_by_name() -> None:
    assert told(call(tools=[{}]))["gamma"].dropped_by == "preferred_parameters"


def test_who_is_left_out_for_want_of_fallbacks_says_so() -> None:
    assert {f.dropped_by for f in told(call(wish={"allow_fallbacks": False})).values()} == {
        None,
        "provider.allow_fallbacks",
    }


@pytest.mark.parametrize(
    ("asked", "known", "tag", "note"),
    [
        (call(), outlook({"beta": OUT, "acme": GOOD}), "beta", "an outage: 3 of 4 failed within 30 s"),
        (call(), outlook({"beta": DEGRADED}), "beta", "degraded"),
        (call(), Outlook(breakers=breakers("beta").of), "beta", "its breaker is open"),
        (call(wish={"order": ["acme"]}), NOTHING_KNOWN, "acme", "named by provider.order"),
        (
            call(wish={"preferred_min_throughput": 50}),
            outlook(speeds={"acme": speed(9)}),
            "acme",
            "throughput p50 is 9",
        ),
        (call(wish={"preferred_max_latency": 1}), outlook(), "acme", "latency is not measured"),
    ],
)
def test_what_moved_an_endpoint_is_noted(asked: Any, known: Outlook, tag: str, note: str) -> None:
    assert any(note in each for each in told(asked, known)[tag].notes)


def test_the_draw_quality_room_and_the_conversation_are_noted() -> None:
    assert any("drawn by price among" in note for fate in told(call()).values() for note in fate.notes)
    quality = told(call(**TOOLS), QUALITY, here=FIVE)
    assert "put back: slow or bad with tools" in quality["a"].notes
    tight = told(call(body_bytes=40_000), here=one(endpoint("x", context_length=9_000), endpoint("y")))
    assert any("may not fit" in note for note in tight["x"].notes)
    cached = one(*[endpoint(n, pricing=sheet("1", input_cache_read="0")) for n in ("a", "b")])
    sticky = Sticky()
    sticky.keep(conversation(call(session_id="s"), "", "lab/one"), cached.models["lab/one"].endpoints[1], NOW)
    home = told(call(session_id="s"), Outlook(sticky=sticky), here=cached)["b"]
    assert home.place == 1
    assert "has this conversation in its cache" in home.notes


def test_a_request_that_cannot_be_routed_is_explained_with_its_fault() -> None:
    found = explain(call(wish={"zdr": True}), one(endpoint("acme"), endpoint("beta")))
    assert isinstance(found.fault, NotFound)
    assert found.route is None
    assert [fate.dropped_by for fate in found.fates] == ["data_policy:zdr"] * 2
    unknown = explain(call("lab/none"), HERE)
    assert unknown == Explanation(("lab/none",), (), fault=unknown.fault)


def test_an_explanation_is_of_the_very_plan() -> None:
    for seed in range(30):
        for wish in (None, {"sort": "price"}, {"order": ["gamma"]}, {"ignore": ["beta"]}):
            for known in (NOTHING_KNOWN, outlook({"acme": OUT}), Outlook(house=House(balance=False))):
                found = explain(call(wish=wish), HERE, outlook=known, now_ns=NOW, seed=seed)
                planned = plan(call(wish=wish), HERE, known, seed)
                assert found.route is not None
                assert found.route.endpoints == planned.endpoints
                assert [f.endpoint_id for f in found.fates if f.place] == [e.id for e in planned.endpoints]


def test_the_metadata_tells_what_was_there_what_was_tried_and_who_answered() -> None:
    planned = plan(call(), HERE)
    tried = [Tried("Acme", "lab/one", 503), Tried("Beta", "lab/one", 200)]
    assert router_metadata(call(), planned, tried, selected=planned.endpoints[1].id) == {
        "requested": "lab/one",
        "strategy": "direct",
        "region": None,
        "summary": "3 endpoints could serve it; Beta answered, 2 tried",
        "attempt": 2,
        "is_byok": False,
        "endpoints": {
            "total": 3,
            "available": [
                {"provider": "Acme", "model": "lab/one", "selected": False},
                {"provider": "Beta", "model": "lab/one", "selected": True},
                {"provider": "Gamma", "model": "lab/one", "selected": False},
            ],
        },
        "attempts": [
            {"provider": "Acme", "model": "lab/one", "status": 503},
            {"provider": "Beta", "model": "lab/one", "status": 200},
        ],
    }


def test_the_metadata_of_a_call_that_reached_nobody_has_attempt_zero() -> None:
    body = router_metadata(call(), None)
    assert (body["attempt"], body["endpoints"]) == (0, {"total": 0, "available": []})
    assert "attempts" not in body
    failed = router_metadata(call(), plan(call(), one(endpoint("acme"))), [Tried("Acme", "lab/one", 0)])
    assert failed["summary"] == "1 endpoint could serve it; none answered, 1 tried"


def test_how_often_each_is_the_first_is_counted_over_draws_that_can_be_made_again() -> None:
    drawn = firsts(call(), HERE)
    # 3 and 1 USD, so 1 to 9; who has no price is never drawn.
    assert set(drawn) == {"acme:lab/one", "beta:lab/one"}
    assert sum(each.times for each in drawn.values()) == DRAWS
    assert drawn["beta:lab/one"].times == pytest.approx(900, abs=30)
    for id, each in drawn.items():
        assert plan(call(), HERE, seed=each.seed).endpoints[0].id == id
