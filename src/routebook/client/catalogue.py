"""Owns the types of the catalogue: models, their endpoints, their prices.

Source: `GET /models` and `GET /models/{author}/{slug}/endpoints` of the API (OpenAPI of 2026-08-22).
A key that the server did not send is None. Enumerations are plain strings: new words may appear.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from .codec import Price, Shape


class PricingOverride(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """Prices that replace the base ones while all conditions hold; a price that is None is inherited.

    Attributes:
        min_prompt_tokens: applies when the prompt has strictly more tokens.
        utc_start, utc_end: time of day as HHMM numbers, half-open, may wrap midnight.
        the rest: USD per token, exact.
    """

    min_prompt_tokens: int | float | None = None
    utc_start: int | float | None = None
    utc_end: int | float | None = None
    prompt: Price | None = None
    completion: Price | None = None
    audio: Price | None = None
    input_audio_cache: Price | None = None
    input_cache_read: Price | None = None
    input_cache_write: Price | None = None
    input_cache_write_1h: Price | None = None


class Pricing(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """A price sheet: USD per unit, exact; None where the server gives no such price.

    Attributes:
        prompt, completion, image_token, audio, audio_output, input_audio_cache, internal_reasoning,
        input_cache_read, input_cache_write, input_cache_write_1h: per token (cache writes: 5-minute and 1-hour rate).
        request, image, image_output, web_search: per request, input image, output image, search.
        discount: fraction; prices are multiplied by (1 - discount).
        overrides: conditional prices.
    """

    prompt: Price | None = None
    completion: Price | None = None
    request: Price | None = None
    image: Price | None = None
    image_token: Price | None = None
    image_output: Price | None = None
    audio: Price | None = None
    audio_output: Price | None = None
    input_audio_cache: Price | None = None
    web_search: Price | None = None
    internal_reasoning: Price | None = None
    input_cache_read: Price | None = None
    input_cache_write: Price | None = None
    input_cache_write_1h: Price | None = None
    discount: Decimal | None = None
    overrides: list[PricingOverride] | None = None


class ModelArchitecture(Shape, frozen=True, kw_only=True):
    """What goes in and out: modalities such as `text`, `image`, `audio`; tokenizer and instruct format by name."""

    modality: str | None = None
    input_modalities: list[str] | None = None
    output_modalities: list[str] | None = None
    tokenizer: str | None = None
    instruct_type: str | None = None


class TopProvider(Shape, frozen=True, kw_only=True):
    """Limits of the model's first provider, in tokens, and whether it moderates."""

    context_length: int | None = None
    max_completion_tokens: int | None = None
    is_moderated: bool | None = None


class ModelData(Shape, frozen=True, kw_only=True):
    """One model.

    Attributes:
        id, canonical_slug: `author/slug`, and the slug that never changes its meaning.
        created: unix seconds.
        context_length: tokens.
        expiration_date, knowledge_cutoff: `YYYY-MM-DD`.
        supported_parameters: names of request parameters.
        default_parameters: values used where the caller gives none.
    """

    id: str | None = None
    canonical_slug: str | None = None
    name: str | None = None
    description: str | None = None
    created: int | None = None
    context_length: int | None = None
    architecture: ModelArchitecture | None = None
    pricing: Pricing | None = None
    top_provider: TopProvider | None = None
    supported_parameters: list[str] | None = None
    default_parameters: dict[str, Any] | None = None
    per_request_limits: dict[str, Any] | None = None
    supported_voices: list[str] | None = None
    hugging_face_id: str | None = None
    expiration_date: str | None = None
    knowledge_cutoff: str | None = None
    reasoning: dict[str, Any] | None = None
    alias_target: dict[str, Any] | None = None
    benchmarks: dict[str, Any] | None = None
    links: dict[str, Any] | None = None


class ListModelsResponseBody(Shape, frozen=True, kw_only=True):
    """The answer of `GET /models`. Iterate it for the models.

    Attributes:
        total_count: models that match, over all pages.
        links: `{"next": URL or None}`.
    """

    data: list[ModelData]
    total_count: int | None = None
    links: dict[str, Any] | None = None

    def __iter__(self) -> Iterator[ModelData]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)


class PercentileStats(Shape, frozen=True, kw_only=True):
    """Percentiles over the last 30 minutes, in the unit of the field that holds them."""

    p50: int | float | None = None
    p75: int | float | None = None
    p90: int | float | None = None
    p99: int | float | None = None


class EndpointData(Shape, frozen=True, kw_only=True):
    """One provider's offer of a model.

    Attributes:
        tag: the provider's slug, as `provider.order` takes it.
        context_length, max_prompt_tokens, max_completion_tokens: tokens.
        status: 0 is healthy, negative numbers are not.
        uptime_last_5m, uptime_last_30m, uptime_last_1d: percent.
        latency_last_30m: time to first token, milliseconds.
        throughput_last_30m: output tokens per second.
    """

    name: str | None = None
    model_id: str | None = None
    model_name: str | None = None
    provider_name: str | None = None
    tag: str | None = None
    quantization: str | None = None
    context_length: int | None = None
    max_prompt_tokens: int | None = None
    max_completion_tokens: int | None = None
    pricing: Pricing | None = None
    supported_parameters: list[str] | None = None
    supports_implicit_caching: bool | None = None
    supports_voice_cloning: bool | None = None
    status: int | None = None
    uptime_last_5m: int | float | None = None
    uptime_last_30m: int | float | None = None
    uptime_last_1d: int | float | None = None
    latency_last_30m: PercentileStats | None = None
    throughput_last_30m: PercentileStats | None = None


class ModelEndpointsData(Shape, frozen=True, kw_only=True):
    """A model and who serves it; `created` in unix seconds."""

    id: str | None = None
    name: str | None = None
    description: str | None = None
    created: int | None = None
    architecture: ModelArchitecture | None = None
    endpoints: list[EndpointData] | None = None


class ListEndpointsResponseBody(Shape, frozen=True, kw_only=True):
    """The answer of `GET /models/{author}/{slug}/endpoints`."""

    data: ModelEndpointsData
