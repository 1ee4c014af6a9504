"""Which endpoints may serve a call, in which order. Source: routing, sections 2 to 5 and 7."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from routebook.core.call import Call, Chat, Message, ProviderWish
from routebook.core.catalog import Catalog, Endpoint, Model, Provider
from routebook.core.errors import BadRequest, Fault, ModelUnknown, NotFound
from routebook.core.money import Prices, PriceSheet
from routebook.policy.routing import Route, route
from routebook.wire import codec


def provider(slug: str, **more: Any) -> Provider:
    return Provider(slug, more.pop("name", slug.capitalize()), "openai_chat", f"https://{slug}.example/v1", **more)


PROVIDERS = {
    each.slug: each
    for each in (
        provider("acme"),
        provider("beta", data_collection="deny"),
        provider("gamma", data_collection="deny", zdr=True),
        provider("bedrock", name="Amazon Bedrock"),
    )
}


def sheet(prompt: str, completion: str = "0", **more: str) -> PriceSheet:
    return PriceSheet(
        Prices(prompt=Decimal(prompt), completion=Decimal(completion), **{k: Decimal(v) for k, v in more.items()})
    )


def endpoint(name: str, model: str = "lab/one", pricing: PriceSheet | None = None, **more: Any) -> Endpoint:
    tag = more.pop("tag", name)
    return Endpoint(f"{tag}:{model}", model, PROVIDERS[name], f"{model}-up", tag, pricing, **more)


ONE = Model(
    "lab/one",
    "One",
    (
        endpoint("acme", pricing=sheet("0.000003", "0.000015"), quantization="fp8", max_completion_tokens=1000),
        endpoint("beta", pricing=sheet("0.000001", "0.000002"), quantization="mxfp4"),
        endpoint("gamma", supported_parameters=frozenset({"temperature", "max_completion_tokens", "reasoning"})),
    ),
)
TWO = Model("lab/two", "Two", tuple(endpoint("acme", "lab/two", tag=tag) for tag in ("acme/fast", "acme/slow")))
TOOLS = Model(
    "lab/tools",
    "Tools",
    (
        endpoint("acme", "lab/tools", supported_parameters=frozenset({"temperature"})),
        endpoint("beta", "lab/tools", supported_parameters=frozenset({"tools", "temperature"})),
        endpoint("gamma", "lab/tools"),
    ),
)
CLOUD = Model("lab/cloud", "Cloud", (endpoint("bedrock", "lab/cloud"),))
CATALOG = Catalog({m.slug: m for m in (ONE, TWO, CLOUD, TOOLS)}, PROVIDERS, {"one-latest": "lab/one"})


def call(model: str = "lab/one", *models: str, wish: dict[str, Any] | None = None, **body: Any) -> Call:
    chat = {name: body[name] for name in ("max_tokens",) if name in body}
    return Call(
        surface="openai_chat",
        model=model,
        models=models,
        chat=Chat(messages=[Message("user", "Hi")], **chat),
        raw={name: msgspec.Raw(codec.encode(value)) for name, value in body.items()},
        provider=None if wish is None else codec.convert(wish, ProviderWish),
    )


def tags(found: Route) -> list[str]:
    return [each.tag for each in found.endpoints]


def test_without_wishes_the_configured_order_is_used() -> None:
    found = route(call(), CATALOG)
    assert tags(found) == ["acme", "beta", "gamma"]
    assert found.losses == ()


def test_an_alias_is_the_model() -> None:
    assert tags(route(call("one-latest"), CATALOG)) == ["acme", "beta", "gamma"]


def test_the_models_of_a_list_follow_each_other() -> None:
    found = route(call("lab/cloud", "lab/one"), CATALOG)
    assert tags(found) == ["bedrock", "acme", "beta", "gamma"]
    assert [each.model for each in found.endpoints][:2] == ["lab/cloud", "lab/one"]


def test_a_model_of_the_list_that_is_not_here_is_a_loss() -> None:
    found = route(call("lab/none", "lab/cloud"), CATALOG)
    assert tags(found) == ["bedrock"]
    assert [loss.parameter for loss in found.losses] == ["models"]


def test_an_open_catalogue_offers_what_the_list_does_not_have() -> None:
    offered = Model("local/any", "any", (endpoint("acme", "local/any"),))
    found = route(call("local/any"), CATALOG, lambda slug: offered if slug == "local/any" else None)
    assert found.endpoints == offered.endpoints


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({"only": ["beta"]}, ["beta"]),
        ({"only": ["Beta", "gamma"]}, ["beta", "gamma"]),
        ({"ignore": ["acme"]}, ["beta", "gamma"]),
        ({"only": ["acme", "beta"], "ignore": ["acme"]}, ["beta"]),
        ({"data_collection": "deny"}, ["beta", "gamma"]),
        ({"data_collection": "allow"}, ["acme", "beta", "gamma"]),
        ({"zdr": True}, ["gamma"]),
        ({"zdr": False}, ["acme", "beta", "gamma"]),
        ({"quantizations": ["fp8"]}, ["acme"]),
        ({"quantizations": ["fp4"]}, ["beta"]),
        ({"quantizations": ["unknown"]}, ["gamma"]),
        ({"max_price": {"prompt": "3"}}, ["acme", "beta"]),
        ({"max_price": {"prompt": "2.99"}}, ["beta"]),
        ({"max_price": {"completion": "15"}}, ["acme", "beta"]),
        ({"order": ["gamma", "acme"]}, ["gamma", "acme", "beta"]),
        ({"order": ["nobody", "beta"]}, ["beta", "acme", "gamma"]),
        ({"order": ["gamma", "beta"], "allow_fallbacks": False}, ["gamma", "beta"]),
        ({"allow_fallbacks": False}, ["acme"]),
        ({"sort": "price"}, ["beta", "acme", "gamma"]),
        ({"sort": {"by": "price"}}, ["beta", "acme", "gamma"]),
    ],
    ids=str,
)
def test_wishes_filter_and_order(wish: dict[str, Any], expected: list[str]) -> None:
    assert tags(route(call(wish=wish), CATALOG)) == expected


def test_a_full_tag_is_one_variant_and_a_slug_is_all_of_them() -> None:
    assert tags(route(call("lab/two", wish={"only": ["acme/slow"]}), CATALOG)) == ["acme/slow"]
    assert tags(route(call("lab/two", wish={"only": ["acme"]}), CATALOG)) == ["acme/fast", "acme/slow"]
    assert tags(route(call("lab/two", wish={"order": ["acme/slow"]}), CATALOG)) == ["acme/slow", "acme/fast"]


@pytest.mark.parametrize("name", ["bedrock", "Amazon Bedrock", "amazon bedrock"])
def test_a_provider_is_known_by_slug_and_by_display_name(name: str) -> None:
    assert tags(route(call("lab/cloud", wish={"only": [name]}), CATALOG)) == ["bedrock"]


def test_an_endpoint_that_cannot_make_so_many_tokens_is_left_out() -> None:
    assert tags(route(call(max_tokens=1001), CATALOG)) == ["beta", "gamma"]
    assert tags(route(call(max_tokens=1000), CATALOG)) == ["acme", "beta", "gamma"]


@pytest.mark.parametrize(
    ("body", "gamma"),
    [
        ({"temperature": 0.5}, True),
        ({"max_tokens": 5}, True),
        ({"reasoning_effort": "low"}, True),
        ({"top_p": 0.5}, False),
        ({"tools": []}, False),
        ({"stream": True, "user": "u", "top_p": None}, True),
    ],
)
def test_required_parameters_leave_out_who_is_known_not_to_take_them(body: dict[str, Any], gamma: bool) -> None:
    found = route(call(wish={"require_parameters": True}, **body), CATALOG)
    assert ("gamma" in tags(found)) is gamma
    assert tags(found)[:2] == ["acme", "beta"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"tools": [{}]}, ["beta", "gamma"]),
        ({"tools": None}, ["acme", "beta", "gamma"]),
        ({"temperature": 1}, ["acme", "beta", "gamma"]),
        ({"response_format": {}}, ["gamma"]),
        ({"tools": [{}], "verbosity": "low"}, ["gamma"]),
    ],
)
def test_who_takes_tools_and_formats_is_used_where_others_do_not(body: dict[str, Any], expected: list[str]) -> None:
    assert tags(route(call("lab/tools", **body), CATALOG)) == expected


def test_where_nobody_takes_a_parameter_it_removes_nobody() -> None:
    assert tags(route(call("lab/tools", wish={"only": ["acme"]}, tools=[{}]), CATALOG)) == ["acme"]


@pytest.mark.parametrize(
    ("wish", "code", "excluded_by"),
    [
        ({"quantizations": ["int4"]}, "constraint_filtered", "quantization"),
        ({"max_price": {"prompt": "0.1"}}, "constraint_filtered", "max_price"),
        ({"ignore": ["acme", "beta", "gamma"]}, "constraint_filtered", "allowed_providers"),
        ({"only": ["acme"], "data_collection": "deny"}, "privacy_restricted", "data_policy:training"),
        ({"only": ["beta"], "zdr": True}, "privacy_restricted", "data_policy:zdr"),
    ],
)
def test_the_filter_that_removed_the_last_endpoint_is_named(wish: dict[str, Any], code: str, excluded_by: str) -> None:
    with pytest.raises(NotFound, match="is left after the filter `") as seen:
        route(call(wish=wish), CATALOG)
    availability = seen.value.metadata["availability"]
    assert (availability["code"], availability["excluded_by"]) == (code, excluded_by)


@pytest.mark.parametrize(
    ("asked", "catalog", "kind", "said"),
    [
        (call("lab/none"), CATALOG, ModelUnknown, "not a valid model ID"),
        (call("other/one"), CATALOG, ModelUnknown, "Did you mean lab/one"),
        (call("lab/T.W-o:nitro"), CATALOG, ModelUnknown, "Did you mean lab/two"),
        (call("clo"), CATALOG, ModelUnknown, "Did you mean lab/cloud"),
        (call("lab/t"), CATALOG, ModelUnknown, "GET /api/v1/models lists"),
        (call(), Catalog({}, {}), NotFound, "No provider is configured"),
        (call(wish={"only": ["nobody"]}), CATALOG, NotFound, "nobody"),
        (call(wish={"sort": "beauty"}), CATALOG, BadRequest, "sort"),
        (call(wish={"order": ["nobody"], "allow_fallbacks": False}), CATALOG, NotFound, "order"),
    ],
)
def test_what_cannot_be_routed_says_why(asked: Call, catalog: Catalog, kind: type[Fault], said: str) -> None:
    with pytest.raises(kind, match=said):
        route(asked, catalog)


@pytest.mark.parametrize(
    "wish",
    [
        {"sort": "throughput"},
        {"preferred_min_throughput": 50},
        {"preferred_max_latency": {"p50": 1}},
        {"options": {"acme": {}}},
    ],
)
def test_what_is_not_weighed_is_a_loss_and_never_silence(wish: dict[str, Any]) -> None:
    assert len(route(call(wish=wish), CATALOG).losses) == 1


def test_the_same_call_gives_the_same_plan() -> None:
    wish = {"sort": "price", "ignore": ["gamma"]}
    assert route(call(wish=wish), CATALOG) == route(call(wish=wish), CATALOG)
