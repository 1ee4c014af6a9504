"""Usage objects of the responses family as canonical counts.

Source of the meaning: generation record, section 9.1: `input_tokens` include cached reads, `output_tokens` include
reasoning. Vendor forms, read 2026-11 in their API references and in their answers: OpenAI and Azure
`*_tokens_details`, and `tool_usage` beside the usage; OpenRouter `server_tool_use_details`; xAI
`server_side_tool_usage_details`; servers that answer with the chat API's names.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from routebook.core.usage import Usage
from routebook.wire import codec


def counts(raw: Any, beside: Any, searched: int) -> Usage | None:
    """The canonical usage of one report, None if it counts nothing. `beside`: the answer's `tool_usage`; `searched`:
    searches that stand in the answer itself, which count where the provider reports none. Unknown is None."""
    if not isinstance(raw, dict):
        return None
    given = _part(raw, "input_tokens_details", "prompt_tokens_details")
    made = _part(raw, "output_tokens_details", "completion_tokens_details")
    prompt = _first(raw, "input_tokens", "prompt_tokens")
    completion = _first(raw, "output_tokens", "completion_tokens")
    if prompt is None and completion is None:
        return None
    searches = _first(_part(raw, "server_tool_use_details"), "web_search_requests")
    if searches is None:
        searches = _first(_part(raw, "server_side_tool_usage_details"), "web_search_calls")
    if searches is None:
        searches = _first(_part(beside if isinstance(beside, dict) else {}, "web_search"), "num_requests")
    return Usage(
        prompt=prompt,
        completion=completion,
        reasoning=_first(made, "reasoning_tokens"),
        cached=_first(given, "cached_tokens"),
        cache_write=_first(given, "cache_write_tokens"),
        audio_prompt=_first(given, "audio_tokens"),
        audio_completion=_first(made, "audio_tokens"),
        image_prompt=_first(given, "image_tokens"),
        image_completion=_first(made, "image_tokens"),
        web_searches=searches if searches is not None else searched or None,
        raw=codec.encode(raw),
    )


def _part(raw: dict[str, Any], *names: str) -> dict[str, Any]:
    for name in names:
        if isinstance(part := raw.get(name), dict):
            return part
    return {}


def _first(part: dict[str, Any], *names: str) -> int | None:
    for name in names:
        value = part.get(name)
        if isinstance(value, Decimal):
            value = int(value) if value.is_finite() and value == value.to_integral_value() and value < 10**15 else None
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None
