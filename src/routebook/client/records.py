"""Owns the types of the generation record: what one call did, how long it took and what it cost.

Source: the API's generation record (sections 2 and 3 of the project's specification of it, dated 2026-08-22).
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from .codec import Shape, instant


class ProviderResponse(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """One try at one provider, in the order of the tries.

    Attributes:
        status: HTTP status from that provider; None when there was no HTTP answer (timeout, connect error).
        provider_name: display name of the provider, any string.
        model_permaslug: canonical slug of the model tried.
        endpoint_id: stable id of the endpoint (model at a provider) tried.
        id: the provider's id of its answer.
        latency: milliseconds from dispatch to the answer's beginning, or to the failure.
        is_byok: whether a caller-owned provider key was used.
        routed_service_tier: tier the try was routed to (`flex`, `priority`, ...); the billed one may differ.
    """

    # A factory, so that `status` is written even when it is None: it is the one key that the API always sends.
    status: int | None = msgspec.field(default_factory=lambda: None)
    provider_name: str | None = None
    model_permaslug: str | None = None
    endpoint_id: str | None = None
    id: str | None = None
    latency: int | float | None = None
    is_byok: bool | None = None
    routed_service_tier: str | None = None


class GetGenerationData(Shape, frozen=True, kw_only=True):
    """The record of one generation. A key that the server did not send is None.

    Identity and attribution:
        id: `gen-...`, the value of the header `X-Generation-Id`.
        request_id: groups all generations of one API request.
        upstream_id: the provider's own id for the completion.
        created_at: ISO 8601 with offset; `created_datetime` gives it as a datetime.
        model: slug of the model that answered.
        router: router alias the request used, e.g. `openrouter/auto`.
        preset_id: id of the preset applied.
        provider_name: display name of the provider that served it.
        api_type: `completions`, `embeddings`, `rerank`, `tts`, `stt`, `video`, `image`, or a newer word.
        app_id: number of the app that made the request.
        origin: origin URL of the request; may be empty.
        http_referer, user_agent: those headers of the request.
        external_user: end-user id that the caller gave.
        session_id: groups the generations of a session.
        workspace_id: workspace charged.
        data_region: `global`, `europe`, `us`, or a newer word.
        response_cache_source_id: generation that filled the response cache, where the answer came from it.
        is_byok: whether a caller-owned provider key was used.

    Outcome:
        streamed, cancelled: whether the answer was streamed; whether the generation was cancelled.
        finish_reason: `stop`, `length`, `tool_calls`, `content_filter`, `error`; None if it never ended.
        native_finish_reason: the provider's own word.
        service_tier: tier the provider reported.
        provider_responses: every try, failed ones included.

    Timing, all in milliseconds:
        latency: the whole call (OpenRouter also uses the word for time to first token).
        moderation_latency: the moderation call before it; None when there was none.
        generation_time: from the dispatch of the successful try to its last byte.

    Tokens:
        tokens_prompt, tokens_completion: counted with one reference tokenizer; nothing is billed on them.
        native_tokens_prompt: as the provider counted, cache reads and writes included.
        native_tokens_completion: as the provider counted, reasoning included.
        native_tokens_reasoning: part of the completion.
        native_tokens_cached: part of the prompt that was read from the provider's cache.
        native_tokens_completion_images: image tokens within the completion.

    Counters:
        num_media_prompt, num_input_audio_prompt, num_media_completion: media items in and out.
        num_search_results, num_fetches: web results included, web pages fetched.
        web_search_engine: engine that was used.

    Money, USD, exact:
        total_cost: what the generation cost, by the newest prices it was charged by.
        usage: what the account was charged.
        upstream_inference_cost: what providers charge, failed tries included; None where unknown.
        cache_discount: saved by the provider's prompt cache; negative when cache writes cost more than they saved.

    Extension:
        routebook: Routebook's own additions (outcome, usage source, cost lines, price revision, all charges the call
            ever had, what retries cost, timing marks, attempts, ...); None from other servers. Fractions in it are
            `Decimal`.
    """

    id: str | None = None
    request_id: str | None = None
    upstream_id: str | None = None
    created_at: str | None = None
    model: str | None = None
    router: str | None = None
    preset_id: str | None = None
    provider_name: str | None = None
    api_type: str | None = None
    app_id: int | None = None
    origin: str | None = None
    http_referer: str | None = None
    user_agent: str | None = None
    external_user: str | None = None
    session_id: str | None = None
    workspace_id: str | None = None
    data_region: str | None = None
    response_cache_source_id: str | None = None
    is_byok: bool | None = None

    streamed: bool | None = None
    cancelled: bool | None = None
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    service_tier: str | None = None
    provider_responses: list[ProviderResponse] | None = None

    latency: int | float | None = None
    moderation_latency: int | float | None = None
    generation_time: int | float | None = None

    tokens_prompt: int | None = None
    tokens_completion: int | None = None
    native_tokens_prompt: int | None = None
    native_tokens_completion: int | None = None
    native_tokens_reasoning: int | None = None
    native_tokens_cached: int | None = None
    native_tokens_completion_images: int | None = None

    num_media_prompt: int | None = None
    num_input_audio_prompt: int | None = None
    num_media_completion: int | None = None
    num_search_results: int | None = None
    num_fetches: int | None = None
    web_search_engine: str | None = None

    total_cost: Decimal | None = None
    usage: Decimal | None = None
    upstream_inference_cost: Decimal | None = None
    cache_discount: Decimal | None = None

    routebook: dict[str, Any] | None = None

    @property
    def created_datetime(self) -> datetime | None:
        """`created_at` as an aware datetime; None if absent or unreadable."""
        return instant(self.created_at)


class CancelGenerationData(Shape, frozen=True, kw_only=True):
    """What became of the wish to stop a generation.

    Attributes:
        id: the generation.
        cancelled: True; a server that cannot stop it answers with an error instead.
    """

    id: str | None = None
    cancelled: bool | None = None


class CancelGenerationResponseBody(Shape, frozen=True, kw_only=True):
    """The answer of `POST /generation/{id}/cancel`, which is Routebook's own."""

    data: CancelGenerationData


class GetGenerationResponseBody(Shape, frozen=True, kw_only=True):
    """The answer of `GET /generation`: the record under `data`."""

    data: GetGenerationData
