"""Which endpoints may serve a call, and in which order they are tried. Pure: same request and catalogue, same plan.

Source: routing, sections 2 to 5 and 7. What this version does not weigh (live speed, load balancing, variants) is
given back as a loss, never ignored in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

import msgspec

from routebook.core.call import Call, Loss, MaxPrice, ProviderWish
from routebook.core.catalog import Catalog, Endpoint, Model
from routebook.core.errors import BadRequest, Fault, ModelUnknown, NotFound
from routebook.metering.pricing import rate_of

MILLION = Decimal(1_000_000)

NOT_WEIGHED = ("preferred_min_throughput", "preferred_max_latency", "enforce_distillable_text", "options")

_COVERS = {"fp4": ("fp4", "mxfp4", "nvfp4"), "fp8": ("fp8", "mxfp8")}


class Route(msgspec.Struct, frozen=True):
    """Endpoints in the order they are tried, over all models of the request, and what could not be honoured."""

    endpoints: tuple[Endpoint, ...]
    losses: tuple[Loss, ...] = ()


def route(call: Call, catalog: Catalog, passthrough: Callable[[str], Model | None] = lambda slug: None) -> Route:
    """The plan for a call. `passthrough` offers a model for providers with open catalogues (a local server).

    Raises ModelUnknown when no requested model exists, NotFound naming the filter that removed the last endpoint.
    """
    if call.provider is None and not call.models and (model := catalog.find(call.model)) is not None:
        endpoints = model.endpoints
        if endpoints and (call.chat.max_tokens is None or _uncapped(endpoints)):
            # no wish, no filter: the common call
            return Route(endpoints if _PREFERRED.isdisjoint(call.raw) else tuple(_preferred(endpoints, call)))
    wish = call.provider or ProviderWish()
    losses = [Loss(f"provider.{name}", "not weighed by this version") for name in NOT_WEIGHED if getattr(wish, name)]
    by_price = _sort(wish, losses)
    found = [(slug, catalog.find(slug) or passthrough(slug)) for slug in (call.model, *call.models)]
    models = [model for _, model in found if model is not None]
    if not models:
        raise _unknown([slug for slug, _ in found], catalog)
    for slug, model in found:
        if model is None:
            losses.append(Loss("models", f"no model {slug} here; skipped"))
    _check_names(wish, catalog)
    kept_all: list[Endpoint] = []
    gone = "endpoints"
    for model in models:
        kept, removed_by = _filter(model.endpoints, wish, call)
        gone = removed_by or gone
        kept_all += _order(_preferred(kept, call), wish, by_price)
    if not kept_all:
        raise _nothing_left(call, models, gone)
    if wish.allow_fallbacks is False:
        kept_all = _primary(kept_all, wish)
    return Route(tuple(kept_all), tuple(losses))


def _uncapped(endpoints: Sequence[Endpoint]) -> bool:
    for endpoint in endpoints:  # noqa: SIM110 - a generator costs more than all the rest of the common call
        if endpoint.max_completion_tokens is not None:
            return False
    return True


def _sort(wish: ProviderWish, losses: list[Loss]) -> bool:
    """True to sort by price; every other sort is a loss."""
    sort = wish.sort.get("by") if isinstance(wish.sort, dict) else wish.sort
    if isinstance(wish.sort, dict) and wish.sort.get("partition") not in (None, "model"):
        losses.append(Loss("provider.sort.partition", "endpoints are sorted within each model"))
    if sort is None or sort == "price":
        return sort == "price"
    if sort not in ("throughput", "latency", "exacto"):
        raise BadRequest("provider.sort must be one of price, throughput, latency, exacto")
    losses.append(Loss("provider.sort", f"{sort} is not measured by this version; configured order is used"))
    return False


def _matches(endpoint: Endpoint, name: str) -> bool:
    """A provider slug or display name matches all its endpoints, a full tag exactly one variant."""
    provider = endpoint.provider
    return name in (provider.slug, endpoint.tag) or name.lower() in (provider.name.lower(), provider.slug)


def _check_names(wish: ProviderWish, catalog: Catalog) -> None:
    if wish.data_collection not in (None, "allow", "deny"):
        raise BadRequest("provider.data_collection must be allow or deny")
    for name in wish.only or ():
        base = name.partition("/")[0].lower()
        if not any(base in (p.slug, p.name.lower()) for p in catalog.providers.values()):
            here = ", ".join(catalog.providers) or "none"
            raise NotFound(f"provider.only names {name!r}, which is not configured here; providers: {here}")


def _filter(endpoints: Iterable[Endpoint], wish: ProviderWish, call: Call) -> tuple[list[Endpoint], str | None]:
    """(endpoints that pass every hard filter, the filter that removed the last one)."""
    kept = list(endpoints)
    for name, keep in _filters(wish, call):
        before, kept = kept, [e for e in kept if keep(e)]
        if before and not kept:
            return [], name
    return kept, None


def _filters(wish: ProviderWish, call: Call) -> list[tuple[str, Callable[[Endpoint], bool]]]:
    filters: list[tuple[str, Callable[[Endpoint], bool]]] = []
    if wish.only is not None:
        only = wish.only
        filters.append(("provider.only", lambda e: any(_matches(e, name) for name in only)))
    if wish.ignore:
        ignore = wish.ignore
        filters.append(("provider.ignore", lambda e: not any(_matches(e, name) for name in ignore)))
    if wish.data_collection == "deny":
        filters.append(("data_policy:training", lambda e: e.provider.data_collection == "deny" or e.provider.zdr))
    if wish.zdr:
        filters.append(("data_policy:zdr", lambda e: e.provider.zdr))
    if wish.quantizations:
        wanted = {q for name in wish.quantizations for q in _COVERS.get(name, (name,))}
        filters.append(("quantization", lambda e: (e.quantization or "unknown") in wanted))
    if wish.max_price is not None:
        ceiling = wish.max_price
        filters.append(("max_price", lambda e: _affordable(e, ceiling)))
    asked = call.chat.max_tokens
    if asked is not None:
        filters.append(("max_tokens", lambda e: e.max_completion_tokens is None or asked <= e.max_completion_tokens))
    if wish.require_parameters:
        sent = frozenset(name for name in CHECKED_PARAMETERS if _sent(call, name))
        filters.append(
            ("require_parameters", lambda e: e.supported_parameters is None or _supported(sent, e.supported_parameters))
        )
    return filters


CHECKED_PARAMETERS = frozenset(
    "temperature top_p top_k min_p top_a frequency_penalty presence_penalty repetition_penalty seed logit_bias logprobs"
    " top_logprobs max_tokens max_completion_tokens stop tools tool_choice parallel_tool_calls response_format"
    " structured_outputs reasoning reasoning_effort include_reasoning verbosity prediction web_search_options".split()
)
PREFERRED_PARAMETERS = ("tools", "response_format", "verbosity")
"""Where some endpoints of a model take one of these and others do not, only the former are used. Routing, section 4."""
_PREFERRED = frozenset(PREFERRED_PARAMETERS)


def _sent(call: Call, name: str) -> bool:
    """True if the caller sent that parameter; null is as good as nothing."""
    return name in call.raw and bytes(call.raw[name]) != b"null"


def _preferred(endpoints: Sequence[Endpoint], call: Call) -> Sequence[Endpoint]:
    """The endpoints that take what matters most, if any does; whose parameters are unknown may take them."""
    for name in PREFERRED_PARAMETERS:
        if _sent(call, name):
            takers = [e for e in endpoints if e.supported_parameters is None or name in e.supported_parameters]
            endpoints = takers or endpoints
    return endpoints


_SAME = (
    frozenset({"max_tokens", "max_completion_tokens"}),
    frozenset({"reasoning", "reasoning_effort", "include_reasoning"}),
    frozenset({"tools", "tool_choice"}),
    frozenset({"response_format", "structured_outputs"}),
)


def _supported(sent: frozenset[str], supported: frozenset[str]) -> bool:
    for name in sent:
        group = next((g for g in _SAME if name in g), frozenset({name}))
        if not group & supported:
            return False
    return True


def _affordable(endpoint: Endpoint, ceiling: MaxPrice) -> bool:
    """Prices at most the ceiling, inclusive; an unpriced endpoint is affordable to nobody who sets one."""
    if endpoint.pricing is None:
        return False
    for name, per in (("prompt", MILLION), ("completion", MILLION), ("image", 1), ("audio", 1), ("request", 1)):
        limit: Decimal | None = getattr(ceiling, name)
        rate, _ = rate_of(endpoint.pricing.base, name)
        if limit is not None and rate is not None and rate * per > limit:
            return False
    return True


def _order(endpoints: Sequence[Endpoint], wish: ProviderWish, by_price: bool) -> Sequence[Endpoint]:
    if by_price:
        endpoints = sorted(endpoints, key=_blend)
    if not wish.order:
        return endpoints
    first = [e for name in wish.order for e in endpoints if _matches(e, name)]
    ordered = list(dict.fromkeys(e.id for e in first))
    by_id = {e.id: e for e in endpoints}
    return [by_id[i] for i in ordered] + [e for e in endpoints if e.id not in set(ordered)]


def _blend(endpoint: Endpoint) -> tuple[bool, Decimal]:
    """Three prompt tokens for one of completion; endpoints without a price last."""
    if endpoint.pricing is None:
        return True, Decimal(0)
    base = endpoint.pricing.base
    return False, 3 * (base.prompt or Decimal(0)) + (base.completion or Decimal(0))


def _primary(endpoints: list[Endpoint], wish: ProviderWish) -> list[Endpoint]:
    if wish.order:
        listed = [e for e in endpoints if any(_matches(e, name) for name in wish.order)]
        if not listed:
            raise NotFound("provider.order names no endpoint of this model and allow_fallbacks is false")
        return listed
    return endpoints[:1]


def _unknown(slugs: list[str], catalog: Catalog) -> Fault:
    if not catalog.models and not catalog.providers:
        return NotFound(
            "No provider is configured: set a provider's key variable (OPENAI_API_KEY, ANTHROPIC_API_KEY, …) or write "
            "[[providers]] and [[models]] in the configuration file, then restart.",
            metadata={"availability": {"code": "no_endpoints", "retryable": False, "requested_models": slugs}},
        )
    near = [s for s in catalog.models if s.rpartition("/")[2] == slugs[0].rpartition("/")[2]][:3]
    hint = f" Did you mean {', '.join(near)}?" if near else " GET /api/v1/models lists what is served here."
    return ModelUnknown(
        f"{slugs[0]} is not a valid model ID here.{hint}",
        metadata={"availability": {"code": "model_not_found", "retryable": False, "requested_models": slugs}},
    )


def _nothing_left(call: Call, models: list[Model], gone: str) -> Fault:
    slugs = [m.slug for m in models]
    return NotFound(
        f"No endpoint of {', '.join(slugs)} is left after the filter `{gone}`; relax it or add a provider.",
        metadata={
            "availability": {
                "code": "privacy_restricted" if gone.startswith("data_policy") else "constraint_filtered",
                "retryable": False,
                "requested_models": slugs,
                "excluded_by": gone,
            }
        },
    )
