"""The catalogue from its three sources: configuration, known vendors, price list. Configuration wins.

A provider is there when the configuration names it or when its variable is set. A model is there when the configuration
describes it, or when the price list knows it at a provider that is there; a configured model replaces the known one
with all its endpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from routebook.config.names import AUTHORS, OPEN, inputs_of, tokenizer_of
from routebook.config.problems import ConfigError, KeyPath, misspelt
from routebook.config.settings import EndpointTable, ModelTable, ProviderTable, Settings
from routebook.config.sheet import schedule
from routebook.core.catalog import Catalog, Endpoint, Model, Provider
from routebook.core.money import PriceSheet

QUANTIZATIONS = frozenset("int4 int8 fp4 mxfp4 nvfp4 fp6 fp8 mxfp8 fp16 bf16 fp32 unknown".split())
INPUTS = frozenset("text image file audio video".split())
OUTPUTS = frozenset("text image embeddings audio video rerank speech transcription".split())
"""The API's words. Source: platform, section 14, and the API's schema."""


END_OF_TIME_NS = 2**63 - 1


class VendorRow(Protocol):
    """What this room needs of a known vendor's row."""

    @property
    def slug(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def dialect(self) -> str: ...
    @property
    def base_url(self) -> str | None: ...
    @property
    def also(self) -> Mapping[str, str]: ...
    @property
    def key_env(self) -> tuple[str, ...]: ...
    @property
    def abortable(self) -> bool: ...
    @property
    def fetches_urls(self) -> bool: ...
    @property
    def headquarters(self) -> str | None: ...


class Offer(msgspec.Struct, frozen=True):
    """One model at one provider, as the price list knows it."""

    provider: str
    """slug of the provider"""
    slug: str
    upstream_model: str
    name: str | None = None
    context_length: int | None = None
    pricing: PriceSheet | None = None
    input_modalities: tuple[str, ...] = ("text",)
    output_modalities: tuple[str, ...] = ("text",)
    note: str = ""
    """what the price list says that a price sheet cannot"""


def build_providers(
    settings: Settings,
    vendors: Mapping[str, VendorRow],
    present: Mapping[str, str | None],
    dialects: Collection[str],
) -> dict[str, Provider]:
    """Providers by slug, configured ones first. `present`: slug of each vendor that the environment gives -> its base
    URL there, None for the row's own. `dialects`: names of those that can be spoken. Raises ConfigError."""
    found: dict[str, Provider] = {}
    for index, table in enumerate(settings.providers):
        if table.slug in found:
            raise ConfigError(f'a second provider "{table.slug}"; slugs are unique', ("providers", index, "slug"))
        path: KeyPath = ("providers", index)
        provider = found[table.slug] = _configured(table, vendors, present, path)
        if provider.dialect not in dialects:
            hint = misspelt(provider.dialect, dialects)
            raise ConfigError(f'this version does not speak "{provider.dialect}"{hint}', (*path, "dialect"))
    for slug, url in present.items():
        if slug not in found:
            found[slug] = _known(vendors[slug], url)
    return found


def build_catalog(
    settings: Settings,
    providers: Mapping[str, Provider],
    known: Iterable[Offer] = (),
    *,
    dated: str = "",
    version: str = "",
    now_ns: int = END_OF_TIME_NS,
) -> Catalog:
    """The snapshot as it holds at `now_ns`. `dated` is the day of the configuration, for its price revisions.

    Raises ConfigError.
    """
    models: dict[str, Model] = {}
    for index, table in enumerate(settings.models):
        path: KeyPath = ("models", index)
        if table.slug in models:
            raise ConfigError(f'a second model "{table.slug}"; give it two endpoints instead', (*path, "slug"))
        models[table.slug] = _in_force(_model(table, providers, path, dated), now_ns)
    offers: dict[str, list[Offer]] = {}
    for offer in known:
        if offer.slug not in models and offer.provider in providers:
            offers.setdefault(offer.slug, []).append(offer)
    for slug in sorted(offers):
        models[slug] = _offered(slug, offers[slug], providers)
    return _with_aliases(models, providers, version)


def passthrough(
    catalog: Catalog, slug: str, known: Callable[[Provider, str], Offer | None] = lambda provider, upstream: None
) -> Model | None:
    """A model that is in no list but that a provider may serve all the same; None if nobody here may.

    `ollama/llama3.2`: `llama3.2` at the provider `ollama`; so with every vendor of `names.OPEN`. An `openrouter/…` slug
    without a second slash is OpenRouter's own (`openrouter/auto`) and goes there whole. Unpriced, unless `known` has a
    price. `openai/gpt-4o-2024-11-20`, or the same without its author: at the author's own provider if `known`, the
    price list's matching of dated and tuned names, has a price for it.
    """
    head, _, rest = slug.partition("/")
    provider = catalog.providers.get(head)
    if provider is not None and rest and (provider.vendor or provider.slug) in OPEN:
        own = (provider.vendor or provider.slug) == "openrouter" and "/" not in rest
        upstream = f"openrouter/{rest}" if own else rest
        return _lone(slug, upstream, provider, known(provider, upstream))
    found = []
    for provider in catalog.providers.values():
        author = AUTHORS.get(provider.vendor or provider.slug)
        if author is None or (rest and author != head):
            continue
        if (offer := known(provider, rest or slug)) is not None:
            found.append(_lone(slug if rest else f"{author}/{slug}", rest or slug, provider, offer))
    return found[0] if len(found) == 1 else None


def _lone(slug: str, upstream: str, provider: Provider, offer: Offer | None) -> Model:
    offer = offer or Offer(provider.slug, slug, upstream, input_modalities=inputs_of(upstream))
    return _offered(
        slug, [msgspec.structs.replace(offer, slug=slug, upstream_model=upstream)], {provider.slug: provider}
    )


def _configured(
    table: ProviderTable, vendors: Mapping[str, VendorRow], present: Mapping[str, str | None], path: KeyPath
) -> Provider:
    if table.vendor is not None and table.vendor not in vendors:
        raise ConfigError(f'"{table.vendor}" is no known vendor{misspelt(table.vendor, vendors)}', (*path, "vendor"))
    vendor = table.vendor or table.slug
    row = vendors.get(vendor)
    base = _known(row, present.get(vendor)) if row else None
    dialect = table.dialect or (base.dialect if base else None)
    base_url = table.base_url or (base.base_url if base else None)
    if dialect is None:
        hint = misspelt(table.slug, vendors)
        raise ConfigError(f'"{table.slug}" is no known vendor, so it needs `dialect` and `base_url`{hint}', path)
    if not base_url:
        raise ConfigError(f'"{table.slug}" needs `base_url`: where is it served?', path)
    base = base or Provider(table.slug, table.slug, dialect, base_url)
    return msgspec.structs.replace(
        base,
        slug=table.slug,
        name=table.name or (base.name if table.vendor is None else table.slug),
        dialect=dialect,
        base_url=base_url.rstrip("/"),
        key_env=table.api_key_env or (None if table.api_key else base.key_env),
        data_collection=table.data_collection or base.data_collection,
        zdr=base.zdr if table.zdr is None else table.zdr,
        moderated=base.moderated if table.moderated is None else table.moderated,
        abortable=base.abortable if table.abortable is None else table.abortable,
        fetches_urls=base.fetches_urls if table.fetches_urls is None else table.fetches_urls,
        publishes=bool(table.publishes),
        # Who names a dialect or another place gets that, and nothing that is known of the vendor's own.
        also=() if table.dialect is not None or table.base_url is not None else base.also,
    )


def _known(row: VendorRow, url: str | None) -> Provider:
    return Provider(
        slug=row.slug,
        name=row.name,
        dialect=row.dialect,
        base_url=(url or row.base_url or "").rstrip("/"),
        vendor=row.slug,
        key_env=row.key_env[0] if row.key_env else None,
        abortable=row.abortable,
        fetches_urls=row.fetches_urls,
        headquarters=row.headquarters,
        also=() if url else tuple(row.also),
    )


def _model(table: ModelTable, providers: Mapping[str, Provider], path: KeyPath, dated: str) -> Model:
    endpoints: list[Endpoint] = []
    for index, entry in enumerate(table.endpoints):
        here = (*path, "endpoints", index)
        endpoint = _endpoint(entry, table, providers, here, dated)
        if any(endpoint.id == other.id for other in endpoints):
            raise ConfigError("the same provider, upstream_model and tag twice; give one a tag of its own", here)
        endpoints.append(endpoint)
    _words(table.input_modalities, INPUTS, (*path, "input_modalities"))
    _words(table.output_modalities, OUTPUTS, (*path, "output_modalities"))
    lengths = [e.context_length for e in endpoints if e.context_length is not None]
    return Model(
        slug=table.slug,
        name=table.name or table.slug,
        endpoints=tuple(endpoints),
        created=table.created or 0,
        description=table.description,
        context_length=table.context_length or max(lengths, default=None),
        input_modalities=tuple(table.input_modalities or ("text",)),
        output_modalities=tuple(table.output_modalities or ("text",)),
        tokenizer=tokenizer_of(table.slug),
        distillable=table.distillable,
        hidden=table.hidden,
        coding_score=table.coding_score,
    )


def _in_force(model: Model, now_ns: int) -> Model:
    return msgspec.structs.replace(model, endpoints=tuple(endpoint.at(now_ns) for endpoint in model.endpoints))


def next_change_ns(catalog: Catalog, now_ns: int) -> int | None:
    """When the next dated price sheet comes into force, unix time in ns; None if none is to come."""
    coming = [
        dated.since_ns
        for model in catalog.models.values()
        for endpoint in model.endpoints
        for dated in endpoint.schedule
        if dated.since_ns > now_ns
    ]
    return min(coming, default=None)


def _endpoint(
    entry: EndpointTable, model: ModelTable, providers: Mapping[str, Provider], path: KeyPath, dated: str
) -> Endpoint:
    provider = providers.get(entry.provider)
    if provider is None:
        hint = misspelt(entry.provider, providers) if providers else ""
        raise ConfigError(
            f'no provider "{entry.provider}" here: add it under [[providers]] or set its key variable{hint}',
            (*path, "provider"),
        )
    if entry.quantization is not None:
        _words([entry.quantization], QUANTIZATIONS, (*path, "quantization"))
    for name in ("context_length", "max_prompt_tokens", "max_completion_tokens"):
        if (value := getattr(entry, name)) is not None and value < 1:
            raise ConfigError("tokens, 1 or more", (*path, name))
    tag = entry.tag or provider.slug
    supported = entry.supported_parameters
    sheets = () if entry.pricing is None else schedule(entry.pricing, (*path, "pricing"), dated)
    always = len(sheets) == 1 and sheets[0].since_ns == 0
    return Endpoint(
        id=endpoint_id(model.slug, provider.slug, entry.upstream_model, tag),
        model=model.slug,
        provider=provider,
        upstream_model=entry.upstream_model,
        tag=tag,
        pricing=sheets[0].sheet if always else None,
        context_length=entry.context_length or model.context_length,
        max_prompt_tokens=entry.max_prompt_tokens,
        max_completion_tokens=entry.max_completion_tokens,
        quantization=entry.quantization,
        supported_parameters=None if supported is None else frozenset(supported),
        schedule=() if always else sheets,
        service_tier=entry.service_tier or _tier_of(tag),
        region=entry.region,
        enabled=entry.enabled,
        input_modalities=_known_set(model.input_modalities),
        output_modalities=_known_set(model.output_modalities),
    )


def _tier_of(tag: str) -> str | None:
    """`acme/flex` is the flex tier of acme. Source: routing, 8.3."""
    suffix = tag.rpartition("/")[2]
    return suffix if suffix in ("flex", "priority") and "/" in tag else None


def _known_set(words: Sequence[str] | None) -> frozenset[str] | None:
    """What the file says of modalities; None where it says nothing, and nothing is filtered."""
    return None if words is None else frozenset(words)


def endpoint_id(model: str, provider: str, upstream: str, tag: str) -> str:
    """`provider:model:upstream`, and `:tag` where the tag is not the provider's slug: stable over restarts."""
    return f"{provider}:{model}:{upstream}" + ("" if tag == provider else f":{tag}")


def _offered(slug: str, offers: Sequence[Offer], providers: Mapping[str, Provider]) -> Model:
    """One model of what the price list knows: the author's own provider first, the rest in the order of providers."""
    order = list(providers)
    author = slug.partition("/")[0]

    def rank(offer: Offer) -> tuple[bool, int]:
        provider = providers[offer.provider]
        return AUTHORS.get(provider.vendor or provider.slug) != author, order.index(offer.provider)

    ranked = sorted(offers, key=rank)
    endpoints: dict[str, Endpoint] = {}
    for offer in ranked:
        # Where a provider has two names for one slug, its first is the plainer one.
        if offer.provider not in endpoints:
            endpoints[offer.provider] = Endpoint(
                id=endpoint_id(slug, offer.provider, offer.upstream_model, offer.provider),
                model=slug,
                provider=providers[offer.provider],
                upstream_model=offer.upstream_model,
                tag=offer.provider,
                pricing=offer.pricing,
                context_length=offer.context_length,
            )
    first = ranked[0]
    return Model(
        slug=slug,
        name=next((offer.name for offer in ranked if offer.name), slug),
        endpoints=tuple(endpoints.values()),
        description=first.note,
        context_length=max((o.context_length for o in ranked if o.context_length is not None), default=None),
        input_modalities=first.input_modalities,
        output_modalities=first.output_modalities,
        tokenizer=tokenizer_of(slug),
    )


def _with_aliases(models: dict[str, Model], providers: Mapping[str, Provider], version: str) -> Catalog:
    """Callers may also write a provider's own id, or a slug in that provider's spelling, where it means one model."""
    meant: dict[str, set[str]] = {}
    for model in models.values():
        author, _, name = model.slug.partition("/")
        for upstream in (name, *(endpoint.upstream_model for endpoint in model.endpoints)):
            meant.setdefault(upstream, set()).add(model.slug)
            meant.setdefault(f"{author}/{upstream}", set()).add(model.slug)
    aliases = {alias: min(slugs) for alias, slugs in meant.items() if len(slugs) == 1 and alias not in models}
    by_slug: dict[str, list[str]] = {}
    for alias, slug in aliases.items():
        by_slug.setdefault(slug, []).append(alias)
    named = {
        slug: msgspec.structs.replace(model, aliases=tuple(by_slug.get(slug, ()))) for slug, model in models.items()
    }
    return Catalog(models=named, providers=dict(providers), aliases=aliases, version=version)


def _words(given: Iterable[str] | None, allowed: frozenset[str], path: KeyPath) -> None:
    for word in given or ():
        if word not in allowed:
            raise ConfigError(f'"{word}" is none of the choices{misspelt(word, allowed)}', path)
