"""The catalogue's paths: what this gateway serves, at which price. Public, no key needed.

    GET /models                             list, filtered, sorted, in pages
    GET /models/count                       how many
    GET /model/{author}/{slug}              one model, by slug or alias
    GET /models/{author}/{slug}/endpoints   who serves it, and how that goes
    GET /endpoints/zdr                      offers of providers that retain nothing
    GET /providers                          who serves anything

Shapes and filters: platform, section 14, and the API's schema. Where nothing is known:

- prices of an unpriced endpoint, and a price that its sheet does not give, are "-1" (`prompt` and `completion` only,
  because the schema requires them; OpenRouter's routers do the same); "0" always means free;
- `supported_parameters` unknown to us is an empty list; such models pass the filter, because nothing is refused them;
- an endpoint's unknown `context_length` is 0, because the schema requires a number;
- uptime is null below 100 requests in its window; latency (ms to the first content) and throughput (tokens a second)
  are null where nothing was measured, and for callers without a key. Each worker tells what it has seen itself, from
  when it started on. `status` is 0: what its other values mean is not documented;
- `native_tools`, `service_tier`, `supports_diarization` and `supports_tool_choice` are not in the schema of 2026-08,
  but OpenRouter's own SDKs refuse an endpoint without them (openrouter 1.3.84, 2026-11). Nobody has tested the values
  of `tool_choice` here: all are taken to work where the parameter is said to be supported;
- `created` is 0 for models of the price list, which has no dates.

Filters and sorts: see `catalog_filter`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from routebook.config.catalog import QUANTIZATIONS
from routebook.control.catalog_filter import read_filter
from routebook.control.desk import answer
from routebook.core.catalog import Catalog, Endpoint, Model
from routebook.core.errors import NotFound
from routebook.core.money import PRICE_KEYS, Prices, PriceSheet, plain
from routebook.policy.histogram import Percentiles
from routebook.policy.vitals import Listing

BASE = "/api/v1"
Figures = Callable[[Endpoint], Listing]
"""how an endpoint has fared lately, as far as the caller may know"""
UNKNOWN_PRICE = "-1"

PARAMETERS = frozenset(
    "temperature top_p top_k min_p top_a frequency_penalty presence_penalty repetition_penalty max_tokens"
    " max_completion_tokens logit_bias logprobs top_logprobs prediction seed response_format structured_outputs stop"
    " tools tool_choice parallel_tool_calls include_reasoning reasoning reasoning_effort web_search_options"
    " verbosity".split()
)
"""The names that a listing may show. Source: platform, section 14."""


def models_body(catalog: Catalog, query: Mapping[str, str]) -> dict[str, Any]:
    """`{data, total_count, links}`. Without offset and limit the full list. Raises BadRequest naming the parameter."""
    wanted = read_filter(query)
    found = wanted.sorted([model for model in catalog.models.values() if wanted.passes(model)])
    page, following = found, None
    if wanted.page is not None:
        offset, limit = wanted.page
        page = found[offset : offset + limit]
        if offset + limit < len(found):
            more = {**query, "offset": str(offset + limit), "limit": str(limit)}
            following = f"{BASE}/models?{urlencode(more)}"
    return {"data": [model_data(model) for model in page], "total_count": len(found), "links": {"next": following}}


def count_body(catalog: Catalog, query: Mapping[str, str]) -> dict[str, Any]:
    """`{data: {count}}` of the models that `GET /models` would list under the same `output_modalities`."""
    wanted = read_filter(query, frozenset({"output_modalities"}))
    return {"data": {"count": sum(wanted.passes(model) for model in catalog.models.values())}}


def model_body(catalog: Catalog, slug: str) -> dict[str, Any]:
    """`{data: Model}`. Raises NotFound."""
    return {"data": model_data(_find(catalog, slug))}


def unseen(endpoint: Endpoint) -> Listing:
    """The figures of an endpoint that nobody asked yet."""
    return Listing()


def endpoints_body(model: Model, figures: Figures = unseen) -> dict[str, Any]:
    """`{data: {id, name, …, endpoints}}`: every offer of the model, in configured order."""
    return {
        "data": {
            "id": model.slug,
            "name": model.name,
            "created": model.created,
            "description": model.description,
            "architecture": _architecture(model),
            "endpoints": [_endpoint_data(model, endpoint, figures(endpoint)) for endpoint in model.endpoints],
        }
    }


def zdr_body(catalog: Catalog, figures: Figures = unseen) -> dict[str, Any]:
    """`{data: [endpoint]}`: what `zdr` leaves of all that is served, hidden models left out."""
    return {
        "data": [
            _endpoint_data(model, endpoint, figures(endpoint))
            for model in catalog.models.values()
            if not model.hidden
            for endpoint in model.endpoints
            if endpoint.provider.zdr and endpoint.enabled
        ]
    }


def providers_body(catalog: Catalog) -> dict[str, Any]:
    """`{data: [provider]}`."""
    return {
        "data": [
            {
                "name": provider.name,
                "slug": provider.slug,
                "privacy_policy_url": provider.privacy_policy_url,
                "terms_of_service_url": provider.terms_of_service_url,
                "status_page_url": provider.status_page_url,
                "headquarters": provider.headquarters,
                "datacenters": None if provider.datacenters is None else list(provider.datacenters),
            }
            for provider in catalog.providers.values()
        ]
    }


def model_data(model: Model) -> dict[str, Any]:
    """One model as the listing shows it; price and limits are those of its first endpoint."""
    top = model.endpoints[0] if model.endpoints else None
    data: dict[str, Any] = {
        "id": model.slug,
        "canonical_slug": model.canonical_slug or model.slug,
        "name": model.name,
        "created": model.created,
        "description": model.description,
        "context_length": model.context_length,
        "architecture": _architecture(model),
        "pricing": pricing_data(top.pricing if top else None),
        "top_provider": {
            "context_length": top.context_length if top else None,
            "max_completion_tokens": top.max_completion_tokens if top else None,
            "is_moderated": top.provider.moderated if top else False,
        },
        "per_request_limits": None,
        "supported_parameters": sorted(PARAMETERS & _parameters(model.endpoints)),
        "default_parameters": None,
        "supported_voices": None,
        "links": {"details": f"{BASE}/models/{model.slug}/endpoints"},
        "knowledge_cutoff": model.knowledge_cutoff,
        "expiration_date": None,
    }
    if model.hugging_face_id is not None:
        data["hugging_face_id"] = model.hugging_face_id
    return data


def pricing_data(sheet: PriceSheet | None) -> dict[str, Any]:
    """A price sheet as the API writes it: USD per unit, plain decimal strings."""
    if sheet is None:
        return {"prompt": UNKNOWN_PRICE, "completion": UNKNOWN_PRICE}
    data: dict[str, Any] = {"prompt": UNKNOWN_PRICE, "completion": UNKNOWN_PRICE, **_prices(sheet.base)}
    if sheet.discount:
        data["discount"] = sheet.discount
    if sheet.overrides:
        data["overrides"] = [
            {
                **{
                    name: value
                    for name in ("min_prompt_tokens", "utc_start", "utc_end")
                    if (value := getattr(override, name)) is not None
                },
                **_prices(override.prices),
            }
            for override in sheet.overrides
        ]
    return data


def routes(
    catalog: Callable[[], Catalog],
    listing: Callable[[str], Listing] | None = None,
    known: Callable[[Request], bool] = lambda request: False,
) -> list[Route]:
    """The paths under the API's base; `catalog` gives the version a request is answered from, `listing` the figures of
    an endpoint by its id, None where nothing is measured; `known`: whoever asks has a key."""

    whole: tuple[Catalog, Response] | None = None

    async def models(request: Request) -> Response:
        # The full list takes 9 ms to write for 858 models, on the loop that streams run on: once per catalogue.
        nonlocal whole
        now = catalog()
        if request.query_params:
            return answer(models_body(now, request.query_params))
        if whole is None or whole[0] is not now:
            whole = (now, answer(models_body(now, {})))
        return Response(whole[1].body, media_type="application/json")

    async def count(request: Request) -> Response:
        return answer(count_body(catalog(), request.query_params))

    async def model(request: Request) -> Response:
        return answer(model_body(catalog(), _slug(request)))

    async def endpoints(request: Request) -> Response:
        return answer(endpoints_body(_find(catalog(), _slug(request)), figures(request)))

    async def zdr(request: Request) -> Response:
        return answer(zdr_body(catalog(), figures(request)))

    def figures(request: Request) -> Figures:
        if listing is None:
            return unseen
        shown = listing
        if known(request):
            return lambda endpoint: shown(endpoint.id)
        return lambda endpoint: _uptime_alone(shown(endpoint.id))

    async def providers(request: Request) -> Response:
        return answer(providers_body(catalog()))

    return [
        Route("/models", models),
        Route("/models/count", count),
        Route("/models/{author}/{slug:path}/endpoints", endpoints),
        Route("/endpoints/zdr", zdr),
        Route("/model/{author}/{slug:path}", model),
        Route("/providers", providers),
    ]


def _slug(request: Request) -> str:
    return f"{request.path_params['author']}/{request.path_params['slug']}"


def _find(catalog: Catalog, slug: str) -> Model:
    model = catalog.find(slug)
    if model is None:
        raise NotFound(f"No model {slug} here; GET {BASE}/models lists those this gateway serves.")
    return model


def _uptime_alone(listing: Listing) -> Listing:
    return Listing(listing.uptime_last_5m, listing.uptime_last_30m, listing.uptime_last_1d)


def _endpoint_data(model: Model, endpoint: Endpoint, figures: Listing) -> dict[str, Any]:
    chooses = "tool_choice" in _parameters([endpoint])
    return {
        "name": f"{endpoint.provider.name} | {model.slug}",
        "model_id": model.slug,
        "model_name": model.name,
        "provider_name": endpoint.provider.name,
        "tag": endpoint.tag,
        "context_length": endpoint.context_length or model.context_length or 0,
        "pricing": pricing_data(endpoint.pricing),
        "quantization": endpoint.quantization if endpoint.quantization in QUANTIZATIONS else None,
        "max_completion_tokens": endpoint.max_completion_tokens,
        "max_prompt_tokens": endpoint.max_prompt_tokens,
        "supported_parameters": sorted(PARAMETERS & _parameters([endpoint])),
        "supports_implicit_caching": endpoint.supports_implicit_caching,
        "supports_voice_cloning": False,
        "supports_diarization": False,
        "supports_tool_choice": dict.fromkeys(("auto", "none", "required", "function"), chooses),
        "native_tools": {},
        "service_tier": None,
        "status": 0,
        "uptime_last_5m": _percent(figures.uptime_last_5m),
        "uptime_last_30m": _percent(figures.uptime_last_30m),
        "uptime_last_1d": _percent(figures.uptime_last_1d),
        "latency_last_30m": _percentiles(figures.latency_last_30m),
        "throughput_last_30m": _percentiles(figures.throughput_last_30m),
    }


def _percent(uptime: float | None) -> float | None:
    return None if uptime is None else round(uptime, 2)


def _percentiles(found: Percentiles | None) -> dict[str, float] | None:
    """Measured within some percent, so that more digits would say nothing."""
    return None if found is None else {name: round(found.of(name), 2) for name in ("p50", "p75", "p90", "p99")}


def _architecture(model: Model) -> dict[str, Any]:
    inputs, outputs = list(model.input_modalities), list(model.output_modalities)
    return {
        "modality": f"{'+'.join(inputs)}->{'+'.join(outputs)}",
        "input_modalities": inputs,
        "output_modalities": outputs,
        "tokenizer": model.tokenizer,
        "instruct_type": model.instruct_type,
    }


def _prices(prices: Prices) -> dict[str, str]:
    return {name: plain(value) for name in PRICE_KEYS if (value := getattr(prices, name)) is not None}


def _parameters(endpoints: Iterable[Endpoint]) -> frozenset[str]:
    return frozenset().union(*(endpoint.supported_parameters or () for endpoint in endpoints))
