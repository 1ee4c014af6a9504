"""The catalogue's words: provider, model, endpoint. One immutable snapshot, swapped whole."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from routebook.core.money import PriceSheet


class Dated(msgspec.Struct, frozen=True):
    """A price sheet and when it comes into force."""

    since_ns: int
    """unix time in ns; 0 = it held from the beginning"""
    sheet: PriceSheet


class Provider(msgspec.Struct, frozen=True):
    """Who serves models. Holds no credential: those live with the transport."""

    slug: str
    name: str
    """display name, shown verbatim as provider_name"""
    dialect: str
    base_url: str
    vendor: str | None = None
    """the row of vendors.toml whose quirks apply to what is sent; None = none"""
    key_env: str | None = None
    """environment variable the credential comes from"""
    data_collection: str = "allow"
    """`deny`: neither stores nor trains"""
    zdr: bool = False
    moderated: bool = False
    """callers' input goes through the moderation port first"""
    abortable: bool = False
    """closing the connection stops the bill"""
    fetches_urls: bool = True
    """reads URLs of images, videos and files by itself; False = takes data URLs alone"""
    privacy_policy_url: str | None = None
    terms_of_service_url: str | None = None
    status_page_url: str | None = None
    headquarters: str | None = None
    datacenters: tuple[str, ...] | None = None
    publishes: bool = False
    """prompts to free endpoints may be made public"""
    also: tuple[str, ...] = ()
    """other dialects that the same base URL serves"""

    def spoken_with(self, surface: str) -> str:
        """The dialect in which it is asked for callers of that one: their own where it knows it, since nothing is lost
        between the same."""
        return surface if surface in self.also else self.dialect


class Endpoint(msgspec.Struct, frozen=True):
    """One provider's offer of one model."""

    id: str
    """stable: provider slug, model slug and upstream name"""
    model: str
    """slug of the model it serves"""
    provider: Provider
    upstream_model: str
    tag: str
    """provider slug, or `provider/variant`"""
    pricing: PriceSheet | None = None
    """the sheet in force when the catalogue was made; None = unpriced"""
    context_length: int | None = None
    max_prompt_tokens: int | None = None
    max_completion_tokens: int | None = None
    quantization: str | None = None
    supported_parameters: frozenset[str] | None = None
    """None = unknown: nothing is dropped or filtered for it"""
    supports_implicit_caching: bool = False
    schedule: tuple[Dated, ...] = ()
    """every sheet with its date, in order of time; empty where `pricing` holds whenever it is asked"""
    service_tier: str | None = None
    """`flex` or `priority`: never considered unless a request asks for it"""
    region: str | None = None
    """where it runs, as in-region routing names it (`eu`, `us`)"""
    enabled: bool = True
    input_modalities: frozenset[str] | None = None
    """None = unknown: nothing is filtered for it"""
    output_modalities: frozenset[str] | None = None

    def at(self, moment_ns: int) -> Endpoint:
        """This endpoint with the prices that hold at that moment: what a call pays is decided when it is accepted."""
        if not self.schedule:
            return self
        sheet = None
        for dated in self.schedule:
            if dated.since_ns > moment_ns:
                break
            sheet = dated.sheet
        return self if sheet is self.pricing else msgspec.structs.replace(self, pricing=sheet)


class Model(msgspec.Struct, frozen=True):
    """A model and who offers it, in configured order."""

    slug: str
    name: str
    endpoints: tuple[Endpoint, ...]
    canonical_slug: str | None = None
    created: int = 0
    """unix seconds"""
    description: str = ""
    context_length: int | None = None
    input_modalities: tuple[str, ...] = ("text",)
    output_modalities: tuple[str, ...] = ("text",)
    tokenizer: str = "Other"
    instruct_type: str | None = None
    hugging_face_id: str | None = None
    knowledge_cutoff: str | None = None
    aliases: tuple[str, ...] = ()
    distillable: bool | None = None
    """its author allows training on its text; None = unknown, which nobody who enforces it may take for yes"""
    hidden: bool = False
    """served to those who name it, found by no router and by no `~…-latest`"""
    coding_score: Decimal | None = None
    """0 to 1: what `openrouter/pareto-code` ranks by"""


class Catalog(msgspec.Struct, frozen=True):
    """Everything this gateway can serve, at one version."""

    models: Mapping[str, Model]
    """by slug, in listing order"""
    providers: Mapping[str, Provider]
    """by slug"""
    aliases: Mapping[str, str] = {}
    """other spelling -> slug"""
    version: str = ""

    def find(self, slug: str) -> Model | None:
        """The model of that slug or alias, None if there is none."""
        model = self.models.get(slug)
        if model is None and (target := self.aliases.get(slug)) is not None:
            model = self.models.get(target)
        return model


class Accounting(msgspec.Struct, frozen=True):
    """How charges are made from provider prices. Fractions, exact."""

    markup: Decimal = Decimal(0)
    byok_fee: Decimal = Decimal(0)
    unpriced_ceiling: Decimal | None = None
    """USD a call on an unpriced model holds for keys with a budget; None = such calls are refused"""
