"""The usage object of an answer as callers of the chat API get it: counts, and what they cost.

Source: generation record, section 9. Structs, because one is encoded several times faster than the same dict.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from routebook.core.usage import Usage
from routebook.dialects.base import Receipt

_Optional = int | msgspec.UnsetType
UNSET = msgspec.UNSET


class PromptDetails(msgspec.Struct, gc=False):
    """Parts of the prompt; a count that nobody gave is left out."""

    cached_tokens: int
    cache_write_tokens: _Optional = UNSET
    audio_tokens: _Optional = UNSET
    video_tokens: _Optional = UNSET
    image_tokens: _Optional = UNSET


class CompletionDetails(msgspec.Struct, gc=False):
    """Parts of the completion; a count that nobody gave is left out."""

    reasoning_tokens: int
    audio_tokens: _Optional = UNSET
    image_tokens: _Optional = UNSET
    accepted_prediction_tokens: _Optional = UNSET
    rejected_prediction_tokens: _Optional = UNSET


class CostDetails(msgspec.Struct, gc=False):
    """What the provider charges, exact USD."""

    upstream_inference_cost: Decimal | None
    upstream_inference_prompt_cost: Decimal
    upstream_inference_completions_cost: Decimal


class Searches(msgspec.Struct, gc=False):
    """Searches that the provider ran."""

    web_search_requests: int


class UsageObject(msgspec.Struct, gc=False):
    """The `usage` member."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cost: Decimal
    is_byok: bool
    prompt_tokens_details: PromptDetails
    cost_details: CostDetails | None
    completion_tokens_details: CompletionDetails
    server_tool_use: Searches | msgspec.UnsetType = UNSET
    server_tool_use_details: Searches | msgspec.UnsetType = UNSET


def usage_object(receipt: Receipt) -> UsageObject:
    """The usage member: unknown totals are 0 and unknown details are left out; money is exact; no price, no cost
    details."""
    usage, charge = receipt.usage, receipt.charge
    prompt, completion = usage.prompt or 0, usage.completion or 0
    cost = None
    if charge.upstream_prompt is not None and charge.upstream_completion is not None:
        cost = CostDetails(charge.upstream, charge.upstream_prompt, charge.upstream_completion)
    searches = UNSET if usage.web_searches is None else Searches(usage.web_searches)
    return UsageObject(
        prompt,
        completion,
        prompt + completion,
        charge.total,
        receipt.is_byok,
        PromptDetails(
            usage.cached or 0,
            UNSET if usage.cache_write is None and usage.cache_write_1h is None else _written(usage),
            UNSET if usage.audio_prompt is None else usage.audio_prompt,
            UNSET if usage.video_prompt is None else usage.video_prompt,
            UNSET if usage.image_prompt is None else usage.image_prompt,
        ),
        cost,
        CompletionDetails(
            usage.reasoning or 0,
            UNSET if usage.audio_completion is None else usage.audio_completion,
            UNSET if usage.image_completion is None else usage.image_completion,
            UNSET if usage.accepted_prediction is None else usage.accepted_prediction,
            UNSET if usage.rejected_prediction is None else usage.rejected_prediction,
        ),
        searches,
        searches,
    )


def _written(usage: Usage) -> int:
    """Cache writes of both lifetimes together."""
    return (usage.cache_write or 0) + (usage.cache_write_1h or 0)
