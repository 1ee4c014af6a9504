"""Hard filters that do not come from the `provider` object, and soft preferences. Source: routing, sections 3 and 4."""

from __future__ import annotations

from typing import Any

import pytest

from routebook.core.errors import BadRequest, Forbidden, NotFound
from routebook.dialects.openai_responses import SURFACE
from routebook.policy.filters import is_sent, takers
from routebook.policy.house import House, narrowed, wild
from routebook.policy.routing import Outlook
from tests.unit.policy.stock import call, catalog, endpoint, model, one, outlook, picture, plan, provider, tags, tried


def house(**rules: Any) -> Outlook:
    return Outlook(house=House(**rules))


def test_an_endpoint_that_is_switched_off_is_never_tried() -> None:
    assert tried(call(), one(endpoint("acme", enabled=False), endpoint("beta"))) == ["beta"]


def test_a_region_keeps_only_its_endpoints() -> None:
    here = one(endpoint("acme", region="eu"), endpoint("beta", region="us"), endpoint("gamma"))
    assert tried(call(), here, house(region="eu")) == ["acme"]
    with pytest.raises(Forbidden, match="`region`") as seen:
        plan(call(), here, house(region="ap"))
    assert seen.value.metadata["availability"]["code"] == "region_restricted"


TWO = one(endpoint("acme"), endpoint("beta"))


def test_account_lists_and_guardrails_hold_for_providers_and_models() -> None:
    assert tried(call(), TWO, house(only=("beta",))) == ["beta"]
    assert tried(call(), TWO, house(ignore=("Acme",))) == ["beta"]
    assert tried(call(), TWO, house(models=("lab/*",))) == ["acme", "beta"]
    with pytest.raises(NotFound, match=r"guardrail\.models"):
        plan(call(), TWO, house(not_models=("lab/o*",)))
    dated = one(endpoint("acme"), canonical_slug="lab/one-2026-01-31")
    assert tried(call(), dated, house(models=("lab/one-2026-01-31",))) == ["acme"]


def test_a_request_never_widens_what_the_account_allows() -> None:
    with pytest.raises(NotFound, match=r"provider\.only"):
        plan(call(wish={"only": ["acme"]}), TWO, house(only=("beta",)))


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({}, ["dear", "gratis", "open", "kept"]),
        ({"training_paid": False}, ["gratis", "open", "kept"]),
        ({"training_free": False}, ["dear", "kept"]),
        ({"training_paid": False, "training_free": False}, ["kept"]),
        ({"publication_free": False}, ["dear", "gratis", "kept"]),
    ],
)
def test_training_and_publication_are_switched_apart_for_paid_and_free(
    rules: dict[str, bool], expected: list[str]
) -> None:
    here = one(
        endpoint("dear", price="5"),
        endpoint("gratis", price="0"),
        endpoint(provider("open", publishes=True), price="0"),
        endpoint(provider("kept", data_collection="deny"), price="0"),
    )
    assert tried(call(), here, house(**rules)) == expected


def test_the_longest_answer_has_to_be_producible() -> None:
    here = one(endpoint("acme", max_completion_tokens=1000), endpoint("beta"))
    assert tried(call(max_tokens=1001), here) == ["beta"]
    assert tried(call(max_tokens=1000), here) == ["acme", "beta"]
    with pytest.raises(NotFound, match="max_tokens"):
        plan(call(max_tokens=1001), one(endpoint("acme", max_completion_tokens=1000)))


SIZED = one(endpoint("small", context_length=10_000), endpoint("large", context_length=100_000))


def test_what_cannot_fit_is_left_out_and_what_may_not_fit_goes_behind() -> None:
    assert tried(call(body_bytes=4_000), SIZED) == ["small", "large"]
    assert tried(call(body_bytes=60_000), SIZED) == ["large", "small"]
    assert tried(call(body_bytes=200_000), SIZED) == ["large"]
    assert tried(call(body_bytes=80_000, max_tokens=6_000), SIZED) == ["large"]


def test_a_prompt_that_fits_nowhere_is_told_how_to_fit() -> None:
    with pytest.raises(BadRequest, match="context-compression") as seen:
        plan(call(body_bytes=2_000_000), SIZED)
    assert (seen.value.status, seen.value.error_type) == (400, "context_length_exceeded")


def test_compression_relaxes_the_context_to_half_of_what_is_needed_else_the_largest() -> None:
    asked: dict[str, Any] = {"plugins": [{"id": "context-compression"}]}
    assert tried(call(body_bytes=16 * 150_000, **asked), SIZED) == ["large"]
    assert tried(call(body_bytes=16 * 15_000, **asked), SIZED) == ["large", "small"]
    assert tried(call(body_bytes=16 * 900_000, **asked), SIZED) == ["large"]
    tiny = one(endpoint("tiny", context_length=8192))
    assert tried(call(body_bytes=16 * 10_000), tiny) == ["tiny"]
    with pytest.raises(BadRequest):
        plan(call(body_bytes=16 * 10_000, transforms=[]), tiny)
    assert tried(call(body_bytes=16 * 15_000), one(endpoint("x", context_length=9_000)), house(compress=True)) == ["x"]


def test_media_are_not_measured_by_their_bytes() -> None:
    assert tried(call(messages=[picture()], media_prompt=1, body_bytes=9_000_000), SIZED) == ["small", "large"]


def test_inputs_and_outputs_that_an_endpoint_is_known_not_to_have_leave_it_out() -> None:
    here = one(
        endpoint("blind", input_modalities=frozenset({"text"}), output_modalities=frozenset({"text"})),
        endpoint("seeing", input_modalities=frozenset({"text", "image"})),
        endpoint("unknown", output_modalities=frozenset({"text", "image"})),
    )
    assert tried(call(messages=[picture()], media_prompt=1), here) == ["seeing", "unknown"]
    assert tried(call(modalities=["text", "image"]), here) == ["seeing", "unknown"]
    alone = one(endpoint("blind", input_modalities=frozenset({"text"})))
    with pytest.raises(NotFound, match="modality:input"):
        plan(call(messages=[picture()], media_prompt=1), alone)
    with pytest.raises(NotFound, match="modality:output"):
        plan(call(modalities=["audio"]), one(endpoint("blind", output_modalities=frozenset({"text"}))))


# --- service tiers ----------------------------------------------------------------------------------------------------

TIERED = one(
    endpoint("acme", price="4"),
    endpoint("acme", price="2", tag="acme/flex", service_tier="flex"),
    endpoint("acme", price="8", tag="acme/priority", service_tier="priority"),
    endpoint("beta", price="3"),
)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (call(), ["acme", "beta"]),
        (call(service_tier="default"), ["acme", "beta"]),
        (call(service_tier="flex"), ["acme/flex"]),
        (call(service_tier="priority"), ["acme/priority", "beta", "acme"]),
        (call(service_tier="fast"), ["acme/priority", "beta", "acme"]),
        (call(wish={"only": ["acme"]}), ["acme"]),
        (call(wish={"only": ["acme/flex"]}), ["acme/flex"]),
        (call(wish={"order": ["acme/priority"]}), ["acme/priority", "acme", "beta"]),
        (call(wish={"order": ["acme"]}), ["acme", "beta"]),
        (call(service_tier="flex", wish={"only": ["acme"]}), ["acme/flex"]),
        (call("lab/one:floor"), ["acme/flex", "beta", "acme"]),
        (call("lab/one:nitro"), ["beta", "acme", "acme/priority"]),
        (call("lab/one:floor", service_tier="default"), ["beta", "acme"]),
        (call("lab/one:nitro", wish={"order": ["acme"]}), ["acme", "beta"]),
    ],
)
def test_a_service_tier_is_tried_only_where_it_is_asked_for(asked: Any, expected: list[str]) -> None:
    assert tried(asked, TIERED, outlook()) == expected


def test_flex_where_there_is_none_is_ordinary_routing() -> None:
    assert tried(call(service_tier="flex"), TWO) == ["acme", "beta"]


# --- soft preferences -------------------------------------------------------------------------------------------------

TAKING = one(
    endpoint("plain", supported_parameters=frozenset({"temperature"})),
    endpoint("able", supported_parameters=frozenset({"tools", "response_format", "verbosity"})),
    endpoint("unknown"),
)


@pytest.mark.parametrize("sent", [{"tools": [{}]}, {"response_format": {"type": "json_object"}}, {"verbosity": "low"}])
def test_where_some_take_what_matters_only_they_are_used(sent: dict[str, Any]) -> None:
    assert tried(call(**sent), TAKING) == ["able", "unknown"]


def test_where_nobody_takes_it_it_is_ignored_and_no_model_is_lost_for_it() -> None:
    plain = endpoint("plain", supported_parameters=frozenset({"temperature"}))
    here = catalog(model("lab/one", plain), model("lab/two", endpoint("able")))
    assert tags(plan(call("lab/one", "lab/two", tools=[{}]), here)) == ["plain", "able"]


def test_any_other_unsupported_parameter_takes_nobody_out() -> None:
    assert tried(call(top_k=5), TAKING) == ["plain", "able", "unknown"]


# --- house rules ------------------------------------------------------------------------------------------------------


def test_two_houses_allow_what_both_allow_and_rule_out_what_either_does() -> None:
    outer = House(
        only=("acme", "beta/fp8"), ignore=("x",), zdr_groups=frozenset({"xai"}), sort="price", models=("lab/*",)
    )
    inner = House(only=("acme/turbo", "beta"), ignore=("y",), zdr=True, training_free=False, models=("lab/one", "b/c"))
    both = narrowed(outer, inner)
    assert both.only == ("beta/fp8", "acme/turbo")
    assert both.ignore == ("x", "y")
    assert both.models == ("lab/one",)
    assert both.zdr
    assert not both.training_free
    assert both.sort == "price"
    assert not both.lenient
    assert narrowed(House(), House()).lenient
    assert narrowed(House(only=("a",)), House(only=("b",))).only == ()


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/bc", False),
        ("a/*", "a/bc", True),
        ("*", "", True),
        ("*b*", "abc", True),
        ("a*a", "a", False),
        ("a*b*c", "a-c-b-c", True),
        ("a*b*c", "a-c-b", False),
        ("*:free", "x/y:free", True),
        ("a**b", "ab", True),
    ],
)
def test_a_star_stands_for_any_characters(pattern: str, text: str, matches: bool) -> None:
    assert wild(pattern, text) is matches


def test_parameters_count_as_sent_in_whatever_dialect_they_were_said() -> None:
    asked = SURFACE.read(b'{"model":"lab/one","input":"Hi","text":{"format":{"type":"json_object"}}}', {})
    assert is_sent(asked, "response_format")
    assert not is_sent(asked, "tools")
    first = endpoint("acme", supported_parameters=frozenset({"temperature"}))
    second = endpoint("beta", supported_parameters=frozenset({"response_format"}))
    assert list(takers([first, second], asked)) == [second]
    plain = SURFACE.read(b'{"model":"lab/one","input":"Hi","max_output_tokens":5}', {})
    assert is_sent(plain, "max_tokens")
    assert list(takers([first, second], plain)) == [first, second]
