"""Anthropic Messages, what callers are told of counts, money and errors.

Part of the dialect in `anthropic.py`. Sources: generation record, section 9 (usage); inference API, section 14
(errors); platform.claude.com "Errors", read 2026-11.
"""

from __future__ import annotations

from typing import Any

from routebook.core.errors import Fault, Internal, UpstreamFault
from routebook.core.usage import Usage
from routebook.dialects.base import Receipt
from routebook.metering.counts import split
from routebook.wire import codec

# --- usage ------------------------------------------------------------------------------------------------------------


def usage_object(usage: Usage, tier: str | None, own: bool = False) -> dict[str, Any]:
    """Anthropic's usage of the counts that are charged: `input_tokens` without cache reads and writes.

    Unknown totals are 0, unknown details null, and so are tiers that the API's schema has no word for. `own`: the
    provider spoke this dialect too, so what it said beside the counts (`iterations`, `speed`, …) is said again.
    """
    said: dict[str, Any] = {}
    if own and usage.raw is not None:
        found = codec.decode_exact(usage.raw)
        said = {name: value for name, value in found.items() if name not in _COUNTS} if isinstance(found, dict) else {}
    counts = split(usage)
    short, long = counts.cache_write, counts.cache_write_1h
    read = counts.cache_read + counts.audio_cache_read
    known = usage.cache_write is not None or usage.cache_write_1h is not None
    searches = {"web_search_requests": usage.web_searches or 0, "web_fetch_requests": usage.web_fetches or 0}
    searched = usage.web_searches is not None or usage.web_fetches is not None
    return {
        "inference_geo": None,
        **said,
        "input_tokens": counts.prompt + counts.image_prompt + counts.audio_prompt,
        "output_tokens": usage.completion or 0,
        "output_tokens_details": None if usage.reasoning is None else {"thinking_tokens": counts.reasoning},
        "cache_creation_input_tokens": short + long if known else None,
        "cache_read_input_tokens": None if usage.cached is None else read,
        "cache_creation": {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long} if known else None,
        "server_tool_use": searches if searched else None,
        "service_tier": {"default": "standard", "priority": "priority", "batch": "batch"}.get(tier or ""),
    }


_COUNTS = frozenset(
    """input_tokens output_tokens output_tokens_details cache_creation_input_tokens cache_read_input_tokens
    cache_creation server_tool_use service_tier""".split()
)


def charged(receipt: Receipt, tier: str | None, own: bool) -> dict[str, Any]:
    """The usage object at the end of an answer: counts, and what they cost, exact."""
    charge = receipt.charge
    details = None
    if charge.upstream_prompt is not None and charge.upstream_completion is not None:
        details = {
            "upstream_inference_cost": charge.upstream,
            "upstream_inference_prompt_cost": charge.upstream_prompt,
            "upstream_inference_completions_cost": charge.upstream_completion,
        }
    return {
        **usage_object(receipt.usage, tier, own),
        "cost": charge.total,
        "is_byok": receipt.is_byok,
        "cost_details": details,
    }


# --- errors -----------------------------------------------------------------------------------------------------------

_TYPES = {
    "authentication": "authentication_error",
    "permission_denied": "permission_error",
    "payment_required": "billing_error",
    "not_found": "not_found_error",
    "image_not_found": "not_found_error",
    "rate_limit_exceeded": "rate_limit_error",
    "provider_overloaded": "overloaded_error",
    "timeout": "timeout_error",
}
_SCHEMA = frozenset(
    (
        "context_length_exceeded max_tokens_exceeded token_limit_exceeded string_too_long authentication "
        "permission_denied payment_required rate_limit_exceeded provider_overloaded provider_unavailable "
        "invalid_request invalid_prompt not_found precondition_failed payload_too_large unprocessable "
        "content_policy_violation refusal invalid_image image_too_large image_too_small unsupported_image_format "
        "image_not_found image_download_failed server timeout unmapped"
    ).split()
)
"""What the API's schema lets an `error_type` be; ours that are not among them are written as `unmapped`."""


def error_object(fault: Fault) -> dict[str, Any]:
    """`{type, message, error_type}` as a caller may see it."""
    error_type = fault.error_type if fault.error_type in _SCHEMA else "unmapped"
    kind = _TYPES.get(fault.error_type)
    if kind is None:
        kind = "invalid_request_error" if fault.status < 500 else "api_error"
    message = Internal().message if fault.status == 500 else fault.message
    return {"type": kind, "message": message, "error_type": error_type}


def error_body(fault: Fault, generation_id: str | None) -> bytes:
    """The envelope of an error with a true HTTP status."""
    body: dict[str, Any] = {"type": "error", "error": error_object(fault), "request_id": generation_id}
    metadata = dict(fault.metadata) if fault.status != 500 else {}
    if isinstance(fault, UpstreamFault) and fault.provider_code is not None and fault.status != 500:
        metadata["provider_code"] = fault.provider_code
    if metadata:
        body["metadata"] = metadata
    if fault.routing is not None:
        body["openrouter_metadata"] = fault.routing
    return codec.encode(body)
