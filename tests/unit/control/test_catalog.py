"""The catalogue's paths: shapes, filters, and the API's published schema."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import jsonschema_rs
import msgspec
import pytest
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse

from routebook.control.catalog import count_body, endpoints_body, model_body, models_body, pricing_data, routes
from routebook.core.catalog import Catalog, Endpoint, Model, Provider
from routebook.core.errors import BadRequest, Fault, NotFound
from routebook.core.money import Override, Prices, PriceSheet
from routebook.load.catalog import load_stock
from routebook.load.settings import load_settings
from routebook.wire.codec import encode

SPEC = Path(__file__).resolve().parents[4] / "shared" / "spec" / "openrouter-openapi.yaml"

OPENAI = Provider("openai", "OpenAI", "openai_chat", "https://api.openai.test/v1", zdr=True, headquarters="US")
GROQ = Provider("groq", "Groq", "openai_chat", "https://api.groq.test/v1", moderated=True)


def endpoint(model: str, provider: Provider, prompt: str | None = None, **more: Any) -> Endpoint:
    sheet = None if prompt is None else PriceSheet(Prices(prompt=Decimal(prompt), completion=Decimal(prompt) * 4))
    return Endpoint(
        id=f"{provider.slug}:{model}",
        model=model,
        provider=provider,
        upstream_model=model,
        tag=provider.slug,
        pricing=sheet,
        **more,
    )


def catalog_of(*models: Model) -> Catalog:
    return Catalog(
        models={model.slug: model for model in models},
        providers={"openai": OPENAI, "groq": GROQ},
        aliases={"gpt-4o": "openai/gpt-4o"},
    )


GPT = Model(
    "openai/gpt-4o",
    "GPT-4o",
    (
        endpoint("openai/gpt-4o", OPENAI, "0.0000025", supported_parameters=frozenset({"tools", "stream", "seed"})),
        endpoint("openai/gpt-4o", GROQ, None, quantization="fp8", max_completion_tokens=100),
    ),
    created=1715367049,
    context_length=128000,
    input_modalities=("text", "image"),
    tokenizer="GPT",
)
CHEAP = Model("acme/cheap", "Cheap one", (endpoint("acme/cheap", GROQ, "0.0000001"),), created=5, context_length=8000)
FREE = Model("acme/free", "Free one", (endpoint("acme/free", GROQ, "0", supported_parameters=frozenset({"seed"})),))
UNPRICED = Model("acme/local", "Local one", (endpoint("acme/local", GROQ),), context_length=200000)
EMBED = Model("openai/embed", "Embed", (endpoint("openai/embed", OPENAI, "0.1"),), output_modalities=("embeddings",))
CATALOG = catalog_of(GPT, CHEAP, FREE, UNPRICED, EMBED)


def slugs(**query: str) -> list[str]:
    return [model["id"] for model in models_body(CATALOG, query)["data"]]


TEXT_MODELS = ["openai/gpt-4o", "acme/cheap", "acme/free", "acme/local"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, TEXT_MODELS),
        ({"output_modalities": "all"}, [*TEXT_MODELS, "openai/embed"]),
        ({"output_modalities": "embeddings"}, ["openai/embed"]),
        ({"input_modalities": "text,image"}, ["openai/gpt-4o"]),
        ({"q": "CHEAP"}, ["acme/cheap"]),
        ({"q": "gpt"}, ["openai/gpt-4o"]),
        ({"supported_parameters": "tools"}, ["openai/gpt-4o", "acme/cheap", "acme/local"]),
        ({"context": "128000"}, ["openai/gpt-4o", "acme/local"]),
        ({"max_price": "2.5"}, ["openai/gpt-4o", "acme/cheap", "acme/free"]),
        ({"max_price": "2.499"}, ["acme/cheap", "acme/free"]),
        ({"max_price": "0"}, ["acme/free"]),
        ({"min_price": "0.1"}, ["openai/gpt-4o", "acme/cheap"]),
        ({"min_output_price": "0.4", "max_output_price": "0.4"}, ["acme/cheap"]),
        ({"arch": "gpt"}, ["openai/gpt-4o"]),
        ({"model_authors": "openai"}, ["openai/gpt-4o"]),
        ({"providers": "OpenAI"}, ["openai/gpt-4o"]),
        ({"zdr": "true"}, ["openai/gpt-4o"]),
        ({"sort": "pricing-low-to-high"}, ["acme/free", "acme/cheap", "openai/gpt-4o", "acme/local"]),
        ({"sort": "pricing-high-to-low"}, ["openai/gpt-4o", "acme/cheap", "acme/free", "acme/local"]),
        ({"sort": "newest"}, ["openai/gpt-4o", "acme/cheap", "acme/free", "acme/local"]),
        ({"sort": "context-high-to-low"}, ["acme/local", "openai/gpt-4o", "acme/cheap", "acme/free"]),
        ({"sort": "most-popular"}, TEXT_MODELS),
    ],
)
def test_a_filter_lets_through_what_it_says(query: dict[str, str], found: list[str]) -> None:
    assert slugs(**query) == found


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({"category": "programming"}, "category"),
        ({"min_coding_index": "3"}, "min_coding_index"),
        ({"sort": "random"}, "sort"),
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"offset": "-1"}, "offset"),
        ({"context": "many"}, "context"),
        ({"max_price": "cheap"}, "max_price"),
        ({"min_price": "NaN"}, "min_price"),
        ({"zdr": "false"}, "zdr"),
        ({"output_modalities": "smell"}, "output_modalities"),
    ],
)
def test_what_cannot_be_filtered_is_refused_and_not_ignored(query: dict[str, str], name: str) -> None:
    for catalog in (CATALOG, catalog_of()):
        with pytest.raises(BadRequest, match=f"`{name}`"):
            models_body(catalog, query)


def test_pages_join_to_the_whole_list() -> None:
    seen: list[str] = []
    query = {"limit": "3", "output_modalities": "all"}
    while True:
        body = models_body(CATALOG, query)
        assert body["total_count"] == 5
        seen += [model["id"] for model in body["data"]]
        if body["links"]["next"] is None:
            break
        query = dict(httpx2.URL(body["links"]["next"]).params)
        assert query["output_modalities"] == "all"
    assert seen == slugs(output_modalities="all")


def test_the_count_is_that_of_the_list() -> None:
    assert count_body(CATALOG, {}) == {"data": {"count": 4}}
    assert count_body(CATALOG, {"output_modalities": "all"}) == {"data": {"count": 5}}
    with pytest.raises(BadRequest, match="`q`"):
        count_body(CATALOG, {"q": "x"})


def test_a_price_is_a_plain_decimal_and_unknown_is_not_free() -> None:
    sheet = PriceSheet(
        Prices(prompt=Decimal("2.5E-7"), completion=Decimal("0.00000100"), input_cache_read=Decimal("0E-7")),
        Decimal("0.5"),
        (
            Override(Prices(prompt=Decimal("5E-7")), min_prompt_tokens=200000),
            Override(Prices(), utc_start=30, utc_end=100),
        ),
    )
    assert pricing_data(sheet) == {
        "prompt": "0.00000025",
        "completion": "0.000001",
        "input_cache_read": "0",
        "discount": Decimal("0.5"),
        "overrides": [{"min_prompt_tokens": 200000, "prompt": "0.0000005"}, {"utc_start": 30, "utc_end": 100}],
    }
    assert pricing_data(None) == {"prompt": "-1", "completion": "-1"}
    assert pricing_data(PriceSheet(Prices(prompt=Decimal(0)))) == {"prompt": "0", "completion": "-1"}


def test_endpoints_show_every_offer_in_order() -> None:
    data = endpoints_body(GPT)["data"]
    assert [e["provider_name"] for e in data["endpoints"]] == ["OpenAI", "Groq"]
    first, second = data["endpoints"]
    assert first["supported_parameters"] == ["seed", "tools"], "names outside the API's list are not shown"
    assert first["pricing"]["prompt"] == "0.0000025"
    assert (second["quantization"], second["max_completion_tokens"]) == ("fp8", 100)
    assert second["context_length"] == 128000


def test_a_model_is_found_by_slug_and_alias() -> None:
    assert model_body(CATALOG, "openai/gpt-4o")["data"]["id"] == "openai/gpt-4o"
    assert model_body(CATALOG, "gpt-4o")["data"]["id"] == "openai/gpt-4o"
    with pytest.raises(NotFound, match="openai/gpt-99"):
        model_body(CATALOG, "openai/gpt-99")


def get(path: str, catalogs: list[Catalog] | None = None) -> httpx2.Response:
    """The answer over ASGI; `catalogs` are in force one request after the other, the last answer is given."""

    def envelope(request: Request, fault: Exception) -> JSONResponse:
        assert isinstance(fault, Fault)
        return JSONResponse({"error": {"code": fault.status, "message": fault.message}}, fault.status)

    in_force = catalogs or [CATALOG]
    app = Starlette(routes=routes(lambda: in_force[0]), exception_handlers={Fault: envelope})

    async def ask() -> httpx2.Response:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://gateway") as client:
            answer = await client.get(path)
            while len(in_force) > 1:
                in_force.pop(0)
                answer = await client.get(path)
            return answer

    return asyncio.run(ask())


def test_the_paths_answer_without_a_key() -> None:
    for path in ("/models", "/models/count", "/model/openai/gpt-4o", "/models/openai/gpt-4o/endpoints", "/providers"):
        answer = get(path)
        assert answer.status_code == 200, path
        assert answer.headers["content-type"] == "application/json"
    assert get("/models/openai/gpt-99/endpoints").status_code == 404
    assert get("/model/openai/gpt-99").status_code == 404
    assert get("/models?category=x").status_code == 400


def test_slugs_with_a_variant_are_found() -> None:
    tuned = msgspec.structs.replace(FREE, slug="deepseek/r1:free")
    answer = get("/models/deepseek/r1:free/endpoints", [catalog_of(tuned)])
    assert answer.json()["data"]["id"] == "deepseek/r1:free"


def test_a_new_catalogue_is_shown_at_once() -> None:
    assert [m["id"] for m in get("/models", [CATALOG, CATALOG, catalog_of(CHEAP)]).json()["data"]] == ["acme/cheap"]


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    if not SPEC.exists():
        pytest.skip(f"the API's schema is not beside the repository: {SPEC}")
    document: dict[str, Any] = yaml.safe_load(SPEC.read_text("utf-8"))
    return document


def validator(spec: dict[str, Any], path: str) -> jsonschema_rs.Validator:
    schema = spec["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    components = json.loads(json.dumps(spec["components"], default=str))
    # Names of providers are an open set here: the API's own enumeration lists OpenRouter's.
    components["schemas"]["ProviderName"] = {"type": "string"}
    return jsonschema_rs.validator_for({**schema, "components": components})


def plain_json(body: dict[str, Any]) -> Any:
    return json.loads(encode(body))


def test_every_answer_validates_against_the_published_schema(spec: dict[str, Any]) -> None:
    paths = {
        "/models": "/models?output_modalities=all",
        "/models/count": "/models/count",
        "/model/{author}/{slug}": "/model/openai/gpt-4o",
        "/models/{author}/{slug}/endpoints": "/models/openai/gpt-4o/endpoints",
        "/providers": "/providers",
    }
    for template, path in paths.items():
        validator(spec, template).validate(get(path).json())


def test_the_schema_would_notice(spec: dict[str, Any]) -> None:
    broken = plain_json(models_body(CATALOG, {}))
    broken["data"][0]["pricing"]["prompt"] = 0.1
    with pytest.raises(jsonschema_rs.ValidationError):
        validator(spec, "/models").validate(broken)


def test_the_whole_known_catalogue_validates_too(spec: dict[str, Any]) -> None:
    environ = dict.fromkeys(
        [
            "OPENAI_API_KEY",
            "ANTHROPIC_API_KEY",
            "GEMINI_API_KEY",
            "GROQ_API_KEY",
            "DEEPSEEK_API_KEY",
            "OPENROUTER_API_KEY",
        ],
        "x",
    )
    stock = load_stock(load_settings(None, environ), environ, datetime(2026, 11, 24, tzinfo=UTC))
    validator(spec, "/models").validate(plain_json(models_body(stock.catalog, {"output_modalities": "all"})))
    check = validator(spec, "/models/{author}/{slug}/endpoints")
    for model in stock.catalog.models.values():
        check.validate(plain_json(endpoints_body(model)))
    assert len(stock.catalog.models) > 500
