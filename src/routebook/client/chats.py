"""Owns the types of chat completions: the whole answer, and the chunks of a streamed one.

Source: `POST /chat/completions` of the API (sections 2.2 to 2.4 and, for usage, 9 of the specification, 2026-08-22).
A key that the server did not send is None (`choices`: empty). Enumerations are plain strings: new words may appear.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from .codec import Shape


class PromptTokensDetails(Shape, frozen=True, kw_only=True):
    """Parts of the prompt, in tokens: read from the provider's cache, written to it, audio, video."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_tokens: int | None = None
    video_tokens: int | None = None


class CompletionTokensDetails(Shape, frozen=True, kw_only=True):
    """Parts of the completion, in tokens."""

    reasoning_tokens: int | None = None
    image_tokens: int | None = None
    audio_tokens: int | None = None
    accepted_prediction_tokens: int | None = None
    rejected_prediction_tokens: int | None = None


class CostDetails(Shape, frozen=True, kw_only=True):
    """What the provider charges, USD, exact: in total, for the prompt, for the completion."""

    upstream_inference_cost: Decimal | None = None
    upstream_inference_prompt_cost: Decimal | None = None
    upstream_inference_completions_cost: Decimal | None = None


class ChatUsage(Shape, frozen=True, kw_only=True):
    """Tokens as the provider counted them, and money.

    Attributes:
        prompt_tokens, completion_tokens, total_tokens: cached and reasoning tokens included.
        cost: USD charged to the account, exact; the record's `total_cost`.
        is_byok: whether a caller-owned provider key was used.
        server_tool_use_details: counts of tools that the server ran.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: PromptTokensDetails | None = None
    completion_tokens_details: CompletionTokensDetails | None = None
    cost: Decimal | None = None
    is_byok: bool | None = None
    cost_details: CostDetails | None = None
    server_tool_use_details: dict[str, Any] | None = None


class FunctionCall(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """Name of the function and its arguments as JSON text (in a stream: the next piece of them)."""

    name: str | None = None
    arguments: str | None = None


class ToolCall(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """A call of a tool. In a stream, `index` says which call a piece belongs to; only the first has id and name."""

    id: str | None = None
    type: str | None = None
    index: int | None = None
    function: FunctionCall | None = None


class ChatMessage(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """The assistant's message, or in a stream the next piece of it. May be sent back as it is in `messages`.

    Attributes:
        content: text, or parts.
        reasoning, reasoning_content: visible reasoning, as text.
        reasoning_details: reasoning blocks; send them back unchanged and in order to keep the model's context.
        images: `[{"image_url": {"url": ...}}]`.
        audio: `{"data": base64, "transcript": ...}`.
        annotations: citations and parsed files.
    """

    role: str | None = None
    content: str | list[dict[str, Any]] | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    reasoning_details: list[dict[str, Any]] | None = None
    tool_calls: list[ToolCall] | None = None
    images: list[dict[str, Any]] | None = None
    audio: dict[str, Any] | None = None
    annotations: list[dict[str, Any]] | None = None

    @property
    def text(self) -> str:
        """The text of `content`, parts joined; empty if there is none."""
        if isinstance(self.content, str):
            return self.content
        parts = (part.get("text") for part in self.content or ())
        return "".join(part for part in parts if isinstance(part, str))


class TokenLogprob(Shape, frozen=True, kw_only=True):
    """One token and the natural logarithm of its probability; `top_logprobs` are the likeliest at its place."""

    token: str | None = None
    logprob: float | None = None
    bytes: list[int] | None = None
    top_logprobs: list[TokenLogprob] | None = None


class ChatLogprobs(Shape, frozen=True, kw_only=True):
    """Log probabilities of the tokens of the content and of a refusal."""

    content: list[TokenLogprob] | None = None
    refusal: list[TokenLogprob] | None = None


class ChatChoice(Shape, frozen=True, kw_only=True):
    """One answer of possibly several.

    Attributes:
        finish_reason: `stop`, `length`, `tool_calls`, `content_filter`, `error`, ...
        native_finish_reason: the provider's own word.
        error: with `finish_reason` "error", what went wrong after part of the text was there:
            `{"code": ..., "message": ..., "metadata": {"error_type": ...}}`.
    """

    index: int | None = None
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    message: ChatMessage | None = None
    logprobs: ChatLogprobs | None = None
    error: Any = None


class ChatCompletion(Shape, frozen=True, kw_only=True, dict=True):
    """A whole answer.

    Attributes:
        id: the generation's id, as `generations.get` takes it.
        created: unix seconds.
        model: slug of the model that answered.
        provider: display name of the provider that served it.
        service_tier: tier the provider reported.
        openrouter_metadata: how the request was routed, if the caller asked for it.
    """

    id: str | None = None
    object: str | None = None
    created: int | None = None
    model: str | None = None
    provider: str | None = None
    choices: list[ChatChoice] = msgspec.field(default_factory=list)
    usage: ChatUsage | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None
    openrouter_metadata: dict[str, Any] | None = None

    @property
    def generation_id(self) -> str | None:
        """`gen-...`: the header `X-Generation-Id` of the answer, else `id` if it is one."""
        return _generation_id(self.__dict__.get("header_id"), self.id)

    @property
    def text(self) -> str:
        """The text of the first choice; empty if there is none."""
        message = self.choices[0].message if self.choices else None
        return message.text if message else ""


class ChatChunkChoice(Shape, frozen=True, kw_only=True):
    """The next piece of one answer; `finish_reason` is set on its last one."""

    index: int | None = None
    delta: ChatMessage | None = None
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    logprobs: ChatLogprobs | None = None
    error: Any = None


class ChatChunk(Shape, frozen=True, kw_only=True):
    """One event of a streamed answer. `usage` comes once, on the last one. Fields as in `ChatCompletion`.

    Attributes:
        error: never set on a chunk that a stream hands out: the stream raises the typed error instead.
        debug: the body sent upstream, if the caller asked for it.
    """

    id: str | None = None
    object: str | None = None
    created: int | None = None
    model: str | None = None
    provider: str | None = None
    choices: list[ChatChunkChoice] = msgspec.field(default_factory=list)
    usage: ChatUsage | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None
    error: Any = None
    openrouter_metadata: dict[str, Any] | None = None
    debug: dict[str, Any] | None = None

    @property
    def text(self) -> str:
        """The text that this chunk adds to the first choice; empty if it adds none."""
        return "".join(choice.delta.text for choice in self.choices if choice.delta and not choice.index)


def _generation_id(header: Any, body_id: str | None) -> str | None:
    if isinstance(header, str) and header:
        return header
    return body_id if body_id and body_id.startswith("gen-") else None
