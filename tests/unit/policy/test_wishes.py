"""The whole `provider` object, one row after the other. Source: routing, sections 2, 3 and 9."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from routebook.core.call import ProviderWish
from routebook.core.catalog import Catalog
from routebook.core.errors import BadRequest, Fault, NotFound
from routebook.policy.house import House
from routebook.policy.routing import NOTHING_KNOWN, Outlook
from routebook.policy.wishes import NO_WISH, read_wish
from routebook.wire import codec
from tests.unit.policy.stock import (
    call,
    catalog,
    endpoint,
    model,
    one,
    outlook,
    plan,
    provider,
    sheet,
    speed,
    tags,
    tried,
)

THREE = one(endpoint("acme", price="3"), endpoint("beta", price="1"), endpoint("gamma", price="2"))


def test_order_tries_the_named_first_and_the_others_after_them() -> None:
    assert tried(call(wish={"order": ["gamma", "acme"]}), THREE) == ["gamma", "acme", "beta"]


@pytest.mark.parametrize("seed", range(5))
def test_order_switches_load_balancing_off(seed: int) -> None:
    assert tried(call(wish={"order": ["acme"]}), THREE, seed=seed) == ["acme", "beta", "gamma"]


def test_order_wins_over_a_sort() -> None:
    assert tried(call(wish={"order": ["acme"], "sort": "price"}), THREE)[0] == "acme"


def test_only_allows_nobody_else() -> None:
    assert sorted(tried(call(wish={"only": ["beta", "gamma"]}), THREE, seed=1)) == ["beta", "gamma"]


def test_only_is_within_what_the_account_allows_and_nothing_left_is_404() -> None:
    known = Outlook(house=House(only=("acme", "beta")))
    assert tried(call(wish={"only": ["beta", "gamma"]}), THREE, known) == ["beta"]
    with pytest.raises(NotFound, match=r"provider\.only"):
        plan(call(wish={"only": ["gamma"]}), THREE, known)


def test_ignore_leaves_out_what_request_or_account_name() -> None:
    assert tried(call(wish={"ignore": ["acme"]}), THREE) == ["beta", "gamma"]
    assert tried(call(wish={"ignore": ["acme"]}), THREE, Outlook(house=House(ignore=("beta",)))) == ["gamma"]


def test_without_fallbacks_there_is_one_endpoint_or_the_named_ones() -> None:
    found = plan(call(wish={"allow_fallbacks": False}), THREE)
    assert tags(found) == ["acme"]
    assert not found.fallbacks
    assert tried(call(wish={"allow_fallbacks": False, "order": ["gamma", "beta"]}), THREE) == ["gamma", "beta"]
    assert tried(call(wish={"allow_fallbacks": True}), THREE) == ["acme", "beta", "gamma"]
    with pytest.raises(NotFound, match=r"provider\.order"):
        plan(call(wish={"allow_fallbacks": False, "order": ["nobody"]}), THREE)


def test_required_parameters_leave_out_who_does_not_take_every_one_sent() -> None:
    here = one(
        endpoint("acme", supported_parameters=frozenset({"seed"})),
        endpoint("beta", supported_parameters=frozenset({"seed", "top_k"})),
        endpoint("gamma"),
    )
    assert tried(call(wish={"require_parameters": True}, seed=1, top_k=5), here) == ["beta", "gamma"]
    assert tried(call(seed=1, top_k=5), here) == ["acme", "beta", "gamma"]


KEEPING = one(
    endpoint("acme"),
    endpoint(provider("beta", data_collection="deny")),
    endpoint(provider("gamma", data_collection="deny", zdr=True)),
)


def test_data_collection_denied_leaves_out_who_stores_or_trains() -> None:
    assert tried(call(wish={"data_collection": "deny"}), KEEPING) == ["beta", "gamma"]
    assert tried(call(wish={"data_collection": "allow"}), KEEPING) == ["acme", "beta", "gamma"]


@pytest.mark.parametrize(
    ("wish", "house", "expected"),
    [
        ({"zdr": True}, House(), ["gamma"]),
        ({"zdr": False}, House(), ["acme", "beta", "gamma"]),
        ({"zdr": False}, House(zdr=True), ["gamma"]),
        ({}, House(zdr=True), ["gamma"]),
        ({}, House(zdr_groups=frozenset({"other"})), ["gamma"]),
        ({}, House(zdr_groups=frozenset({"openai"})), ["acme", "beta", "gamma"]),
    ],
)
def test_zdr_is_what_request_or_account_want_and_false_relaxes_nothing(
    wish: dict[str, Any], house: House, expected: list[str]
) -> None:
    assert tried(call(wish=wish), KEEPING, Outlook(house=house)) == expected


def test_the_group_of_a_vendor_is_its_own_and_not_its_slug() -> None:
    here = one(endpoint(provider("mine", vendor="openai")), endpoint("acme"))
    assert tried(call(), here, Outlook(house=House(zdr_groups=frozenset({"openai"})))) == ["acme"]


@pytest.mark.parametrize(("distillable", "kept"), [(True, True), (False, False), (None, False)])
def test_distillable_text_is_enforced_and_unknown_is_no_yes(distillable: bool | None, kept: bool) -> None:
    here = one(endpoint("acme"), distillable=distillable)
    asked = call(wish={"enforce_distillable_text": True})
    if kept:
        assert tried(asked, here) == ["acme"]
    else:
        with pytest.raises(NotFound, match="distillable"):
            plan(asked, here)


QUANTIZED = one(
    *[endpoint(q or "none", quantization=q) for q in ("fp4", "mxfp4", "nvfp4", "fp8", "mxfp8", "bf16", None)]
)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (["fp4"], ["fp4", "mxfp4", "nvfp4"]),
        (["mxfp4"], ["mxfp4"]),
        (["fp8"], ["fp8", "mxfp8"]),
        (["bf16", "unknown"], ["bf16", "none"]),
        ([], ["fp4", "mxfp4", "nvfp4", "fp8", "mxfp8", "bf16", "none"]),
    ],
)
def test_quantizations_keep_those_named_and_what_they_cover(asked: list[str], expected: list[str]) -> None:
    assert tried(call(wish={"quantizations": asked}), QUANTIZED) == expected


def test_a_sort_is_strict_and_may_be_an_object() -> None:
    for sort in ("price", {"by": "price"}, {"by": "price", "partition": "model"}):
        assert tried(call(wish={"sort": sort}), THREE, seed=3) == ["beta", "gamma", "acme"]


SPEEDS = outlook(speeds={"acme": speed(50, 2.0), "beta": speed(30, 1.0), "gamma": speed(80, 3.0)})


def test_too_slow_endpoints_go_to_the_end_and_are_not_left_out() -> None:
    asked = call(wish={"preferred_min_throughput": 40})
    assert tried(asked, THREE, SPEEDS) == ["acme", "gamma", "beta"]
    assert tried(asked, THREE, SPEEDS, seed=1)[2] == "beta"
    assert tried(call(wish={"preferred_min_throughput": 1000}), THREE, SPEEDS) == ["acme", "beta", "gamma"]


def test_too_late_endpoints_go_to_the_end_in_seconds() -> None:
    assert tried(call(wish={"preferred_max_latency": 1.5}), THREE, SPEEDS) == ["beta", "acme", "gamma"]


def test_every_percentile_that_is_given_has_to_hold() -> None:
    bars = {"p50": 10, "p99": 40}
    assert tried(call(wish={"preferred_min_throughput": bars}), THREE, SPEEDS) == ["acme", "gamma", "beta"]
    both = {"preferred_min_throughput": {"p90": 40}, "preferred_max_latency": {"p50": 2.5, "p75": None}}
    assert tried(call(wish=both), THREE, SPEEDS) == ["acme", "beta", "gamma"]


def test_who_is_not_measured_stands_between_who_meets_a_bar_and_who_misses_it() -> None:
    known = outlook(speeds={"acme": speed(10), "gamma": speed(80)})
    assert tried(call(wish={"preferred_min_throughput": 40}), THREE, known) == ["gamma", "beta", "acme"]


@pytest.mark.parametrize(
    ("ceiling", "expected"),
    [
        ({"prompt": "1"}, ["beta"]),
        ({"prompt": "2", "completion": "2"}, ["beta", "gamma"]),
        ({"prompt": "1.999999"}, ["beta"]),
        ({"completion": "3"}, ["acme", "beta", "gamma"]),
        ({"request": "0.001"}, ["acme", "beta", "gamma"]),
    ],
)
def test_max_price_is_per_million_tokens_and_inclusive(ceiling: dict[str, str], expected: list[str]) -> None:
    assert tried(call(wish={"max_price": ceiling}), THREE) == expected


def test_max_price_counts_the_discount_and_refuses_the_unpriced() -> None:
    here = one(
        endpoint("acme", pricing=sheet("2", discount="0.5")),
        endpoint("beta", price=None),
        endpoint("gamma", pricing=sheet("1", image="0.01", request="0.1")),
    )
    assert tried(call(wish={"max_price": {"prompt": 1}}), here) == ["acme", "gamma"]
    assert tried(call(wish={"max_price": {"prompt": 1, "image": "0.005"}}), here) == ["acme"]
    assert tried(call(wish={"max_price": {"prompt": 1, "request": "0.1"}}), here) == ["acme", "gamma"]


def test_an_unknown_key_of_the_provider_object_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="colour"):
        codec.convert({"colour": "red"}, ProviderWish)


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"sort": "beauty"}, "price, throughput, latency, exacto"),
        ({"sort": {"by": "price", "colour": 1}}, "colour"),
        ({"sort": {"by": "price", "partition": "all"}}, "partition must be model or none"),
        ({"sort": {"by": 5}}, "must be one of"),
        ({"data_collection": "maybe"}, "allow or deny"),
        ({"quantizations": ["int3"]}, "int3"),
        ({"preferred_min_throughput": "quick"}, "a number of 0 or more"),
        ({"preferred_min_throughput": True}, "a number of 0 or more"),
        ({"preferred_min_throughput": -1}, "0 or more"),
        ({"preferred_max_latency": {"p95": 1}}, "p50, p75, p90, p99"),
        ({"max_price": {"prompt": "-1"}}, "0 or more"),
        ({"max_price": {"prompt": "NaN"}}, "0 or more"),
    ],
)
def test_a_member_that_is_none_is_refused_with_what_it_may_be(wish: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        plan(call(wish=wish), THREE)


def test_what_was_read_of_the_same_bytes_is_taken_again_only_if_they_were_decoded_to_the_same() -> None:
    raw = msgspec.Raw(b'{"order":["a"]}')
    first = read_wish(codec.convert({"order": ["a"]}, ProviderWish), raw)
    assert read_wish(codec.convert({"order": ["a"]}, ProviderWish), raw) is first
    assert read_wish(codec.convert({"order": ["b"]}, ProviderWish), raw).order == ("b",)
    assert read_wish(codec.convert({"order": ["a"]}, ProviderWish)) == first
    assert read_wish(None, raw) is NO_WISH


def test_options_for_providers_are_a_loss() -> None:
    assert [loss.parameter for loss in plan(call(wish={"options": {"acme": {}}}), THREE).losses] == ["provider.options"]


# --- slugs and tags ---------------------------------------------------------------------------------------------------

TAGGED = one(
    endpoint("acme", tag="acme/us-east5"),
    endpoint("acme", tag="acme/turbo"),
    endpoint(provider("bedrock", name="Amazon Bedrock"), tag="bedrock/fp8"),
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("acme", ["acme/us-east5", "acme/turbo"]),
        ("acme/turbo", ["acme/turbo"]),
        ("ACME/Turbo", ["acme/turbo"]),
        ("bedrock", ["bedrock/fp8"]),
        ("bedrock/fp8", ["bedrock/fp8"]),
        ("Amazon Bedrock", ["bedrock/fp8"]),
        ("amazon bedrock", ["bedrock/fp8"]),
    ],
)
def test_a_slug_or_name_is_every_endpoint_of_a_provider_and_a_tag_exactly_one(name: str, expected: list[str]) -> None:
    assert tried(call(wish={"only": [name]}), TAGGED) == expected
    assert tried(call(wish={"order": [name]}), TAGGED)[: len(expected)] == expected
    assert not set(tried(call(wish={"ignore": [name]}), TAGGED)) & set(expected)


def test_a_provider_that_is_not_here_is_named_in_the_error() -> None:
    with pytest.raises(NotFound, match=r"nobody.*acme"):
        plan(call(wish={"only": ["nobody"]}), TAGGED)


# --- the error names the filter ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "here", "known", "code", "by"),
    [
        ({"only": ["acme"]}, THREE, Outlook(house=House(ignore=("acme",))), "constraint_filtered", "allowed_providers"),
        ({"ignore": ["acme", "beta", "gamma"]}, THREE, NOTHING_KNOWN, "constraint_filtered", "allowed_providers"),
        ({"zdr": True}, THREE, NOTHING_KNOWN, "privacy_restricted", "data_policy:zdr"),
        ({"data_collection": "deny"}, THREE, NOTHING_KNOWN, "privacy_restricted", "data_policy:training"),
        ({"quantizations": ["int4"]}, THREE, NOTHING_KNOWN, "constraint_filtered", "quantization"),
        ({"max_price": {"prompt": 0}}, THREE, NOTHING_KNOWN, "constraint_filtered", "max_price"),
        ({}, THREE, Outlook(house=House(region="eu")), "region_restricted", "data_region"),
        ({}, THREE, Outlook(house=House(only=("delta",))), "constraint_filtered", "allowed_providers"),
        ({}, THREE, Outlook(house=House(models=("other/*",))), "constraint_filtered", "guardrail.models"),
        ({}, one(endpoint("acme", enabled=False)), NOTHING_KNOWN, "no_endpoints", "endpoints"),
        ({}, catalog(model("lab/one")), NOTHING_KNOWN, "no_endpoints", "endpoints"),
    ],
)
def test_the_error_names_the_filter_that_removed_the_last_endpoint(
    wish: dict[str, Any], here: Catalog, known: Outlook, code: str, by: str
) -> None:
    with pytest.raises(Fault, match="No endpoint of lab/one is left after the filter") as seen:
        plan(call(wish=wish), here, known)
    assert seen.value.status == (403 if code == "region_restricted" else 404)
    availability = seen.value.metadata["availability"]
    assert (availability["code"], availability["excluded_by"]) == (code, by)
