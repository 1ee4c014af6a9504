"""One request for a generation, in canonical form, whatever dialect the caller spoke.

Messages and tools keep the shapes of the chat API (the hub): surfaces read into them, upstream dialects write from
them. `Call.raw` holds the caller's own top-level members as bytes, for the lane where both sides speak one dialect.
Source: inference API, sections 2.1, 2.2 and 7; provider preferences: routing, section 2.

Nothing here can be part of a reference cycle, being frozen and made of JSON; so the collector need not know of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec


class ImageUrl(msgspec.Struct, frozen=True, omit_defaults=True):
    url: str
    detail: str | None = None


class InputAudio(msgspec.Struct, frozen=True, omit_defaults=True):
    data: str
    """base64"""
    format: str


class VideoUrl(msgspec.Struct, frozen=True, omit_defaults=True):
    url: str


class FilePart(msgspec.Struct, frozen=True, omit_defaults=True):
    file_data: str | None = None
    """http(s) URL or data URL"""
    file_id: str | None = None
    filename: str | None = None


class CacheControl(msgspec.Struct, frozen=True, omit_defaults=True):
    type: str = "ephemeral"
    ttl: str | None = None
    """5m or 1h"""


class Part(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One part of a message's content; `type` says which member is filled: text, image_url, input_audio, video_url
    (or input_video), file. Other types are kept by the same-dialect lane and unsupported elsewhere."""

    type: str
    text: str | None = None
    image_url: ImageUrl | None = None
    input_audio: InputAudio | None = None
    video_url: VideoUrl | None = None
    input_video: VideoUrl | None = None
    file: FilePart | None = None
    cache_control: CacheControl | None = None
    prompt_cache_breakpoint: dict[str, Any] | None = None


class FunctionCall(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    name: str = ""
    arguments: str = ""


class ToolCall(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A call the model made earlier. `extra_content` is a provider's own attachment (a thought signature)."""

    function: FunctionCall = FunctionCall()
    id: str | None = None
    type: str = "function"
    extra_content: dict[str, Any] | None = None


class Message(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """role: system, developer, user, assistant, tool."""

    role: str
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    reasoning_details: list[dict[str, Any]] | None = None
    images: list[dict[str, Any]] | None = None
    audio: dict[str, Any] | None = None
    cache_control: CacheControl | None = None
    configuration_update: Any = None
    """as a caller of the chat API sent it; its surface takes it out, no provider's dialect meets it"""


class FunctionTool(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(msgspec.Struct, frozen=True, omit_defaults=True):
    """type `function`, or a server tool by its own type (its options stay in the raw body)."""

    type: str = "function"
    function: FunctionTool | None = None
    cache_control: CacheControl | None = None


class ReasoningWish(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the caller wants of reasoning; all None = provider's default."""

    effort: str | None = None
    """max, xhigh, high, medium, low, minimal, none"""
    max_tokens: int | None = None
    exclude: bool = False
    enabled: bool | None = None
    summary: str | None = None

    @property
    def off(self) -> bool:
        return self.effort == "none" or self.enabled is False

    @property
    def asked(self) -> bool:
        """True if the caller asked for reasoning in any way."""
        return not self.off and (self.effort is not None or self.max_tokens is not None or bool(self.enabled))


class MaxPrice(msgspec.Struct, frozen=True, omit_defaults=True):
    """USD per million tokens (prompt, completion) or per unit; inclusive."""

    prompt: Decimal | None = None
    completion: Decimal | None = None
    image: Decimal | None = None
    audio: Decimal | None = None
    request: Decimal | None = None


class ProviderWish(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The `provider` object of a request; unknown keys are refused. Source: routing, section 2."""

    order: list[str] | None = None
    only: list[str] | None = None
    ignore: list[str] | None = None
    allow_fallbacks: bool | None = None
    require_parameters: bool | None = None
    data_collection: str | None = None
    zdr: bool | None = None
    enforce_distillable_text: bool | None = None
    quantizations: list[str] | None = None
    sort: str | dict[str, Any] | None = None
    preferred_min_throughput: Any = None
    preferred_max_latency: Any = None
    max_price: MaxPrice | None = None
    options: dict[str, Any] | None = None


class Chat(msgspec.Struct, frozen=True, gc=False):
    """The whole prompt and its parameters, decoded: what an upstream dialect translates."""

    messages: list[Message]
    tools: list[Tool] | None = None
    tool_choice: Any = None
    """none, auto, required, {type: function, function: {name}}"""
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    reasoning: ReasoningWish | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    top_a: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    max_tokens: int | None = None
    """max_completion_tokens, else max_tokens"""
    stop: list[str] | None = None
    n: int | None = None
    verbosity: str | None = None
    modalities: list[str] | None = None
    audio: dict[str, Any] | None = None
    image_config: dict[str, Any] | None = None
    prediction: dict[str, Any] | None = None
    cache_control: CacheControl | None = None
    prompt_cache_key: str | None = None
    service_tier: str | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None


class Call(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a surface read from one request body."""

    surface: str
    """the caller's dialect, `openai_chat`"""
    model: str
    models: tuple[str, ...] = ()
    """fallbacks after `model`, in order"""
    stream: bool = False
    chat: Chat
    raw: Mapping[str, msgspec.Raw]
    """the body's top-level members, verbatim"""
    bulk: tuple[tuple[memoryview, ...], ...] = ()
    """the base64 of a large body, by number; its URLs and data, here and in `raw`, then end in stand-ins for it (see
    `wire.bulk`), which the request to the provider exchanges for the real bytes"""
    provider: ProviderWish | None = None
    user: str | None = None
    """the caller's end user: kept raw in the record, hashed before it goes upstream"""
    session_id: str | None = None
    body_bytes: int = 0
    """length of the request body: an upper bound of the prompt's tokens, one token having at least one byte"""
    media_prompt: int = 0
    """image, video and file parts over all messages"""
    audio_prompt: int = 0
    """input_audio parts over all messages"""
    ignored: tuple[tuple[str, str], ...] = ()
    """(parameter, why) that the gateway itself does not act on: recorded, never dropped in silence"""
    untold: tuple[Loss, ...] = ()
    """what the caller's dialect says and `chat` has no word for: a loss wherever the provider speaks another one"""
    betas: tuple[str, ...] = ()
    """names of a provider's beta features that the caller asks for in a header"""
    common: bool = False
    """`raw` holds nothing but members that mean the same to everybody who speaks the caller's dialect: none is null,
    and of two that say the same there is only one"""

    @property
    def images(self) -> int:
        """Pictures over all messages: what a price for each input image counts."""
        if not self.media_prompt:
            return 0
        lists = [message.content for message in self.chat.messages if isinstance(message.content, list)]
        return sum(part.type == "image_url" for parts in lists for part in parts)


class Loss(msgspec.Struct, frozen=True, gc=False):
    """One thing the target could not express."""

    parameter: str
    detail: str
    mapped: bool = False
    """it reached the target as the nearest thing that the target has"""


class Losses:
    """Collects what a dialect cannot say to its target; if strict, the first one refuses the endpoint."""

    __slots__ = ("items", "strict")

    def __init__(self, strict: bool = False) -> None:
        self.strict = strict
        self.items: list[Loss] = []

    def unsupported(self, parameter: str, detail: str) -> None:
        """Record that `parameter` does not reach the provider, and why. Raises CannotExpress if strict."""
        if self.strict:
            raise CannotExpress(parameter, detail)
        self.items.append(Loss(parameter, detail))

    def mapped(self, parameter: str, detail: str, *, agreed: bool = False) -> None:
        """Record that `parameter` reaches the provider as something near it, and as what. Raises CannotExpress if
        strict, unless it was `agreed`: the API itself says that it maps this (inference API, sections 2.1 and 7)."""
        if self.strict and not agreed:
            raise CannotExpress(parameter, detail)
        self.items.append(Loss(parameter, detail, mapped=True))


class CannotExpress(Exception):
    """The endpoint cannot honour a parameter that the caller requires."""

    def __init__(self, parameter: str, detail: str) -> None:
        super().__init__(f"{parameter}: {detail}")
        self.parameter = parameter
        self.detail = detail
