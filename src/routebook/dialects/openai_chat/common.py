"""The commonest answers of the chat family as types, so that one decode reads them; all others take the full way.

A type names every member that means something to the full way: those that are plain here with their type, those that
would say more than text as null or empty. A member that is not named refuses the decode, so nothing is passed over.
Usage objects are the exception: members that the full way does not read may stand in them, they travel in `raw`.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from routebook.core.events import Finish, Start, Whole
from routebook.core.usage import COUNT_MAX, Usage
from routebook.dialects.openai_chat.reasons import REASONS
from routebook.wire import codec

Count = Annotated[int, msgspec.Meta(ge=0, le=COUNT_MAX)]


# --- usage ------------------------------------------------------------------------------------------------------------


class _Prompt(msgspec.Struct, gc=False):
    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    audio_tokens: Count | None = None
    image_tokens: Count | None = None
    video_tokens: Count | None = None
    cache_creation_tokens: None = None


class _Completion(msgspec.Struct, gc=False):
    reasoning_tokens: Count | None = None
    audio_tokens: Count | None = None
    image_tokens: Count | None = None
    accepted_prediction_tokens: Count | None = None
    rejected_prediction_tokens: Count | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count | None = None
    prompt_tokens_details: _Prompt | None = None
    completion_tokens_details: _Completion | None = None
    input_tokens_details: None = None
    output_tokens_details: None = None
    reasoning_tokens: None = None
    prompt_cache_hit_tokens: Count | None = None
    cached_tokens: Count | None = None
    num_cached_tokens: Count | None = None
    cache_read_input_tokens: None = None
    cache_creation_input_tokens: None = None
    server_tool_use_details: None = None
    server_tool_use: None = None
    num_search_queries: None = None


_usage = codec.decoder(_Usage)
_NO_PROMPT = _Prompt()
_NO_COMPLETION = _Completion()


def common_usage(raw: bytes) -> Usage | None:
    """The counts of a usage object in OpenAI's own form; None for any other form, which `usage.counts` reads."""
    try:
        found = _usage(raw)
    except codec.BAD:
        return None
    prompt = found.prompt_tokens_details or _NO_PROMPT
    made = found.completion_tokens_details or _NO_COMPLETION
    completion = found.completion_tokens
    if found.total_tokens is not None and found.total_tokens > found.prompt_tokens + completion:
        return None  # the provider counts something apart
    cached = prompt.cached_tokens
    for told in (found.prompt_cache_hit_tokens, found.cached_tokens, found.num_cached_tokens):
        if told is not None and (cached is None or told > cached):
            cached = told
    return Usage(
        found.prompt_tokens,
        completion,
        made.reasoning_tokens,
        cached,
        prompt.cache_write_tokens,
        None,
        prompt.audio_tokens,
        None,
        made.audio_tokens,
        prompt.image_tokens,
        prompt.video_tokens,
        made.image_tokens,
        made.accepted_prediction_tokens,
        made.rejected_prediction_tokens,
        None,
        None,
        raw,
    )


# --- whole answers ----------------------------------------------------------------------------------------------------


class _Message(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    content: Annotated[str, msgspec.Meta(min_length=1)]
    role: str | None = None
    refusal: None = None
    annotations: list[Any] | None = None
    tool_calls: list[Any] | None = None
    images: list[Any] | None = None
    reasoning_details: list[Any] | None = None
    function_call: None = None
    audio: None = None
    reasoning: None = None
    reasoning_content: None = None
    index: int | None = None


class _Choice(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    message: _Message
    finish_reason: str
    index: Annotated[int, msgspec.Meta(ge=0, lt=4096)] = 0
    native_finish_reason: str | None = None
    logprobs: None = None
    usage: None = None
    error: None = None
    text: None = None
    stop_reason: None = None
    matched_stop: None = None
    content_filter_results: None = None
    routed_experts: None = None
    token_ids: None = None
    seed: None = None


class _Answer(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    choices: list[_Choice]
    id: str | None = None
    object: str | None = None
    created: Any = None
    model: str | None = None
    usage: msgspec.Raw = msgspec.Raw()
    service_tier: str | None = None
    system_fingerprint: str | None = None
    provider: str | None = None
    obfuscation: Any = None
    status_code: Any = None
    error: None = None
    x_groq: None = None
    usage_breakdown: None = None
    metrics: None = None
    kv_transfer_params: None = None
    prompt_filter_results: None = None
    prompt_logprobs: None = None
    prompt_text: None = None
    prompt_token_ids: None = None


_answer = codec.decoder(_Answer)


def common_report(raw: bytes) -> Usage | None:
    """The same of a usage object whose bytes were not looked at yet.

    Members that nobody counts are not decoded, so nothing but ASCII without escapes is sure to be JSON.
    """
    return common_usage(raw) if raw.isascii() and 92 not in raw else None


def common_answer(body: bytes) -> Whole | None:
    """A whole answer with one choice that holds nothing but text, None for every other answer."""
    try:
        found = _answer(body)
    except codec.BAD:
        return None
    if len(found.choices) != 1 or found.object == "error":
        return None
    choice = found.choices[0]
    message = choice.message
    if message.annotations or message.tool_calls or message.images or message.reasoning_details:
        return None
    reason, report = choice.finish_reason, bytes(found.usage)
    usage = common_usage(report) if report.isascii() and 92 not in report else None  # as common_report
    if usage is None or not reason:
        return None
    normal = REASONS.get(reason) or REASONS.get(reason.lower(), "stop")
    return Whole(
        choice.index,
        message.role or None,
        message.content,
        start=Start(
            found.id or None,
            found.model or None,
            found.service_tier or None,
            found.system_fingerprint or None,
            found.provider or None,
        ),
        finish=Finish(normal, choice.native_finish_reason or reason, choice.index),
        usage=usage,
    )


# --- chunks -----------------------------------------------------------------------------------------------------------


class _Delta(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    role: str | None = None
    content: str | None = None
    refusal: None = None
    tool_calls: None = None
    function_call: None = None
    annotations: None = None
    images: None = None
    audio: None = None
    reasoning: None = None
    reasoning_content: None = None
    reasoning_details: None = None


_NOTHING = _Delta()


class _Piece(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    delta: _Delta = _NOTHING
    index: Annotated[int, msgspec.Meta(ge=0, lt=4096)] = 0
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    logprobs: None = None
    usage: None = None
    error: None = None
    stop_reason: None = None
    matched_stop: None = None
    token_ids: None = None
    seed: None = None


class CommonChunk(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A chunk of at most one choice whose delta holds nothing but role and text."""

    choices: list[_Piece]
    id: str | None = None
    object: str | None = None
    created: Any = None
    model: str | None = None
    usage: msgspec.Raw = msgspec.Raw()
    service_tier: str | None = None
    system_fingerprint: str | None = None
    provider: str | None = None
    obfuscation: Any = None
    error: None = None
    x_groq: None = None
    prompt_token_ids: None = None


_chunk = codec.decoder(CommonChunk)


def common_chunk(data: bytes) -> CommonChunk | None:
    """One chunk of a common form, None for every other."""
    try:
        chunk = _chunk(data)
    except codec.BAD:
        return None
    return chunk if len(chunk.choices) < 2 and chunk.object != "error" else None
