"""What stands around an answer: the `response` object, its usage and its errors, and the error envelope.

Source: inference API, sections 4 and 14; the usage object: generation record, section 9. The members of a response
repeat the request, as the API's schema of results wants it; what the caller did not say is its default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routebook.core.call import Call
from routebook.core.errors import Fault, Internal, UpstreamFault
from routebook.core.usage import Usage
from routebook.dialects.base import Receipt, Stamp
from routebook.wire import codec

ERROR_TYPES = frozenset(
    (
        "context_length_exceeded max_tokens_exceeded token_limit_exceeded string_too_long authentication "
        "permission_denied payment_required rate_limit_exceeded provider_overloaded provider_unavailable "
        "invalid_request invalid_prompt not_found precondition_failed payload_too_large unprocessable "
        "content_policy_violation refusal invalid_image image_too_large image_too_small unsupported_image_format "
        "image_not_found image_download_failed server timeout unmapped"
    ).split()
)
"""What the API's schema lets an `error_type` be; ours that are not among them are written as `unmapped`."""
LENGTH = frozenset("context_length_exceeded max_tokens_exceeded token_limit_exceeded string_too_long".split())
"""Errors that end an answer by its length instead of failing it."""
_CODES = {
    "rate_limit_exceeded": "rate_limit_exceeded",
    "context_length_exceeded": "invalid_prompt",
    "invalid_request": "invalid_prompt",
    "invalid_prompt": "invalid_prompt",
    "content_policy_violation": "image_content_policy_violation",
}
_DEFAULTS: dict[str, Any] = {
    "background": False,
    "frequency_penalty": None,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "presence_penalty": None,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": None,
    "safety_identifier": None,
    "service_tier": "auto",
    "store": False,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}
OURS = frozenset(
    "id object created_at model usage store user safety_identifier previous_response_id background".split()
)
"""Members that are the gateway's to say, whatever a provider wrote there."""
_NULL = b"null"


def echo(call: Call) -> dict[str, Any]:
    """The members that repeat the request."""
    out = dict(_DEFAULTS)
    for name, value in call.raw.items():
        if name in out and name not in ("background", "store", "previous_response_id") and bytes(value) != _NULL:
            out[name] = value
    return out


def response(stamp: Stamp, id: str, repeated: Mapping[str, Any], members: Mapping[str, Any]) -> dict[str, Any]:
    """A whole `response` object; `members` beat what is repeated of the request."""
    return {
        "id": id,
        "object": "response",
        "created_at": stamp.created,
        "model": stamp.model,
        "status": "in_progress",
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "output": [],
        "output_text": "",
        **repeated,
        **members,
    }


def response_id(stamp: Stamp) -> str:
    """`resp_` and the random part of the generation id, which names daybook and call."""
    return f"resp_{stamp.id.rpartition('-')[2]}"


def usage_object(receipt: Receipt) -> dict[str, Any]:
    """The usage member: unknown totals are 0, unknown details but the two that must be are left out; money is exact."""
    usage, charge = receipt.usage, receipt.charge
    prompt, completion = usage.prompt or 0, usage.completion or 0
    given: dict[str, Any] = {"cached_tokens": usage.cached or 0}
    if usage.cache_write is not None or usage.cache_write_1h is not None:
        given["cache_write_tokens"] = _written(usage)
    out: dict[str, Any] = {
        "input_tokens": prompt,
        "input_tokens_details": given,
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning or 0},
        "total_tokens": prompt + completion,
        "cost": charge.total,
        "is_byok": receipt.is_byok,
    }
    if charge.upstream_prompt is not None and charge.upstream_completion is not None:
        out["cost_details"] = {
            "upstream_inference_cost": charge.upstream,
            "upstream_inference_input_cost": charge.upstream_prompt,
            "upstream_inference_output_cost": charge.upstream_completion,
        }
    if usage.web_searches is not None:
        out["server_tool_use_details"] = {"web_search_requests": usage.web_searches}
    return out


def _written(usage: Usage) -> int:
    """Cache writes of both lifetimes together."""
    return (usage.cache_write or 0) + (usage.cache_write_1h or 0)


def failure(fault: Fault) -> dict[str, Any]:
    """The members of a response that failed: `error` in the API's few codes, `error_type` says which it was."""
    kind = _kind(fault)
    message = Internal().message if fault.status == 500 else fault.message
    return {"error": {"code": _CODES.get(kind, "server_error"), "message": message}, "error_type": kind}


def error_body(fault: Fault) -> bytes:
    """The body of an answer that has a true HTTP status."""
    kind = _kind(fault)
    metadata: dict[str, Any] = {"error_type": kind}
    message = fault.message
    if fault.status == 500:  # masked: what broke inside is in the log under the generation id
        message = Internal().message
    else:
        if isinstance(fault, UpstreamFault) and fault.provider_code is not None:
            metadata["provider_code"] = fault.provider_code
        metadata = {**fault.metadata, **metadata}
    error = {"code": fault.status, "message": message, "metadata": metadata}
    body: dict[str, Any] = {"error": error, "error_type": kind, "metadata": None}
    if fault.routing is not None:
        body["openrouter_metadata"] = fault.routing
    return codec.encode(body)


def _kind(fault: Fault) -> str:
    return fault.error_type if fault.error_type in ERROR_TYPES else "unmapped"
