"""Usage objects of the chat completions family as canonical counts.

Source of the meaning: generation record, section 9.1. Vendor forms, read 2026-11 in their API references and in
their answers: OpenAI and OpenRouter `*_tokens_details`; DeepSeek `prompt_cache_hit_tokens`; Moonshot and Together
top-level `cached_tokens`; Mistral `num_cached_tokens`; xAI, whose `completion_tokens` leave the reasoning out;
Gemini's compatible API, whose `completion_tokens` leave the thoughts out and only the total has them; Perplexity
deep research, whose top-level `reasoning_tokens` are no part of the completion.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from routebook.core.usage import Usage
from routebook.dialects.openai_chat.common import common_usage
from routebook.wire import codec


def counts(raw: dict[str, Any]) -> Usage | None:
    """The canonical usage of one report, None if it counts nothing. Unknown is None; negative numbers are unknown."""
    written = codec.encode(raw)
    if (usage := common_usage(written)) is not None:
        return usage
    prompt_details = _part(raw, "prompt_tokens_details", "input_tokens_details")
    completion_details = _part(raw, "completion_tokens_details", "output_tokens_details")
    prompt = _first(raw, "prompt_tokens", "input_tokens")
    completion = _first(raw, "completion_tokens", "output_tokens")
    if prompt is None and completion is None:
        return None
    reasoning = _first(completion_details, "reasoning_tokens")
    apart = _first(raw, "reasoning_tokens") if reasoning is None else None
    completion = _whole(prompt, completion, reasoning, _first(raw, "total_tokens"))
    if apart is not None:
        reasoning = apart
        if completion is not None and apart > completion:
            completion += apart
    tools = _part(raw, "server_tool_use_details", "server_tool_use")
    return Usage(
        prompt=prompt,
        completion=completion,
        reasoning=reasoning,
        cached=_most(
            _first(prompt_details, "cached_tokens"),
            _first(raw, "prompt_cache_hit_tokens"),
            _first(raw, "cached_tokens"),
            _first(raw, "num_cached_tokens"),
            _first(raw, "cache_read_input_tokens"),
        ),
        cache_write=_most(
            _first(prompt_details, "cache_write_tokens", "cache_creation_tokens"),
            _first(raw, "cache_creation_input_tokens"),
        ),
        audio_prompt=_first(prompt_details, "audio_tokens"),
        audio_completion=_first(completion_details, "audio_tokens"),
        image_prompt=_first(prompt_details, "image_tokens"),
        video_prompt=_first(prompt_details, "video_tokens"),
        image_completion=_first(completion_details, "image_tokens"),
        accepted_prediction=_first(completion_details, "accepted_prediction_tokens"),
        rejected_prediction=_first(completion_details, "rejected_prediction_tokens"),
        web_searches=_most(_first(tools, "web_search_requests"), _first(raw, "num_search_queries")),
        raw=written,
    )


def _whole(prompt: int | None, completion: int | None, reasoning: int | None, total: int | None) -> int | None:
    """The completion with its reasoning, where the total shows that the provider counts reasoning apart."""
    if prompt is None or completion is None or total is None:
        return completion
    gap = total - prompt - completion
    if gap > 0 and reasoning in (None, 0, gap):
        return completion + gap
    return completion


def _part(raw: dict[str, Any], *names: str) -> dict[str, Any]:
    for name in names:
        if isinstance(part := raw.get(name), dict):
            return part
    return {}


def _first(part: dict[str, Any], *names: str) -> int | None:
    for name in names:
        if (number := _count(part.get(name))) is not None:
            return number
    return None


def _most(*values: int | None) -> int | None:
    """Vendors that report one fact twice sometimes fill only one of the places, the other being 0."""
    known = [value for value in values if value is not None]
    return max(known) if known else None


def _count(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, Decimal):
        value = int(value) if value.is_finite() and abs(value) < 10**15 and value == value.to_integral_value() else None
    return value if isinstance(value, int) and value >= 0 else None
