"""Callers' own keys in a plan. Source: routing, 5.6."""

from __future__ import annotations

from typing import Any

import pytest

from routebook.policy.byok import Offer, OwnKey, offers
from tests.unit.policy.stock import call, catalog, endpoint, model, one, plan

BEDROCK, VERTEX = endpoint("bedrock"), endpoint("vertex")


def shown(found: list[Offer]) -> list[str]:
    return [each.endpoint.tag + (f"({each.own_key})" if each.own_key else "") for each in found]


def arranged(*keys: OwnKey, **more: Any) -> list[str]:
    return shown(offers([BEDROCK, VERTEX], keys, "hash", **more))


def key(id: str = "k", provider: str = "vertex", **more: Any) -> OwnKey:
    return OwnKey(id, provider, **more)


def test_own_keys_go_first_even_against_provider_order() -> None:
    planned = plan(call(wish={"order": ["bedrock", "vertex"]}), one(BEDROCK, VERTEX)).endpoints
    assert shown(offers(planned, [key()], "hash")) == ["vertex(k)", "bedrock", "vertex"]


def test_prioritised_keys_then_shared_capacity_then_fallback_keys() -> None:
    keys = (key("last", is_fallback=True), key("two", sort_order=2), key("one", sort_order=1))
    assert arranged(*keys) == ["vertex(one)", "vertex(two)", "bedrock", "vertex", "vertex(last)"]


def test_a_key_that_is_always_used_takes_the_place_of_the_shared_capacity() -> None:
    assert arranged(key(always=True)) == ["vertex(k)", "bedrock"]
    assert arranged(key(always=True, is_fallback=True)) == ["bedrock", "vertex", "vertex(k)"]


@pytest.mark.parametrize(
    ("conditions", "user", "used"),
    [
        ({}, None, True),
        ({"disabled": True}, None, False),
        ({"allowed_models": frozenset({"lab/one"})}, None, True),
        ({"allowed_models": frozenset({"lab/two"})}, None, False),
        ({"allowed_api_key_hashes": frozenset({"hash"})}, None, True),
        ({"allowed_api_key_hashes": frozenset({"other"})}, None, False),
        ({"allowed_user_ids": frozenset({"me"})}, "me", True),
        ({"allowed_user_ids": frozenset({"me"})}, None, False),
        ({"allowed_models": frozenset({"lab/one"}), "allowed_user_ids": frozenset({"me"})}, "you", False),
    ],
)
def test_every_condition_of_a_key_has_to_hold(conditions: dict[str, Any], user: str | None, used: bool) -> None:
    assert ("vertex(k)" in arranged(key(**conditions), user=user)) is used


def test_own_keys_cross_models_only_where_the_sort_does() -> None:
    here = catalog(model("lab/one", BEDROCK), model("lab/two", VERTEX))
    planned = plan(call("lab/one", "lab/two"), here).endpoints
    assert shown(offers(planned, [key()], "hash")) == ["bedrock", "vertex(k)", "vertex"]
    assert shown(offers(planned, [key()], "hash", across=True)) == ["vertex(k)", "bedrock", "vertex"]


def test_without_keys_the_plan_is_the_plan() -> None:
    assert arranged() == ["bedrock", "vertex"]
