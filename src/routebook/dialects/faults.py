"""What a provider's refusal means: one classification for every dialect, and the masking of what is shown of it.

Error bodies come in a dozen shapes, and a custom base URL says nothing about who answers, so all shapes are read here
whatever the dialect. Public: `from_answer` (an HTTP status other than 200), `from_object` (an error inside an answer
of status 200), `masked`, `retry_after`.

Sources, read 2026-11: OpenAI "Error codes"; Anthropic "Errors" and "Rate limits"; Google `google.rpc.Status` with
ErrorInfo, QuotaFailure and RetryInfo; Mistral and FastAPI validation bodies; OpenRouter "Errors"; RFC 9110 section
10.2.3 (Retry-After). Statuses and error types: inference API, section 14.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from routebook.core.errors import (
    UpstreamCredential,
    UpstreamFault,
    UpstreamGarbage,
    UpstreamLimited,
    UpstreamLost,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimeout,
)
from routebook.dialects.fault_shapes import Told, first_event, masked, retry_after, told
from routebook.wire import codec
from routebook.wire.http import HttpHead

__all__ = ["from_answer", "from_object", "garbage", "masked", "retry_after"]

MESSAGE_MAX = 500
"""characters of a provider's message that a caller sees"""
RAW_MAX = 2048
"""bytes of a provider's error body that the record keeps"""


def from_answer(head: HttpHead, body: bytes) -> UpstreamFault:
    """The fault that an HTTP answer with a status other than 200 stands for. Never raises."""
    value: Any = None
    try:
        value = codec.decode(body)
    except (codec.DecodeError, RecursionError, UnicodeDecodeError):
        value = first_event(body)
    raw = masked(body[: RAW_MAX * 2].decode("utf-8", "replace")).encode()[:RAW_MAX].decode("utf-8", "ignore")
    return _fault(head.status, told(value), head.headers, raw)


def from_object(value: Any, head: HttpHead | None = None) -> UpstreamFault:
    """The fault that an error object inside an answer of status 200 stands for. `value` is the whole JSON value that
    holds the error (an `error` member, or an error itself). Never raises."""
    said = told(value)
    try:
        raw = masked(codec.encode(value).decode("utf-8", "replace")).encode()[:RAW_MAX].decode("utf-8", "ignore")
    except (TypeError, ValueError, RecursionError):
        raw = ""
    return _fault(said.status, said, head.headers if head is not None else {}, raw)


def garbage(what: str, sample: bytes = b"") -> UpstreamGarbage:
    """Bytes that are not the promised dialect; `what` is a plain clause such as `its body is not JSON`."""
    raw = masked(sample[:RAW_MAX].decode("utf-8", "replace")) or None
    return UpstreamGarbage(
        f"The provider's answer could not be read: {what}. Check the provider's base_url and dialect.", raw=raw
    )


# --- which kind -------------------------------------------------------------------------------------------------------


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_KINDS: tuple[tuple[type[UpstreamFault], frozenset[str]], ...] = (
    (
        UpstreamCredential,
        _words(
            "authentication authentication_error unauthenticated unauthorized invalid_api_key api_key_invalid "
            "api_key_expired invalid_authentication_error incorrect_api_key_error permission_error "
            "permission_denied forbidden billing_error billing_hard_limit_reached insufficient_balance "
            "payment_required account_deactivated model_not_found not_found not_found_error access_denied "
            "accessdeniedexception unrecognizedclientexception resourcenotfoundexception model_not_available "
            "invalid_model wrong_api_key"
        ),
    ),
    (
        UpstreamLimited,
        _words(
            "rate_limit rate_limit_exceeded rate_limit_error rate_limited rate_limit_reached_error "
            "too_many_requests resource_exhausted throttlingexception insufficient_quota quota_exceeded "
            "exceeded_current_quota_error servicequotaexceededexception requests tokens"
        ),
    ),
    (
        UpstreamTimeout,
        _words("timeout timeout_error gateway_timeout deadline_exceeded request_timeout modeltimeoutexception"),
    ),
    (
        UpstreamOverloaded,
        _words(
            "overloaded overloaded_error server_error internal_error internal_server_error internal api_error "
            "unavailable service_unavailable service_unavailable_error server_overloaded engine_overloaded "
            "engine_overloaded_error provider_overloaded provider_unavailable server upstream_error unknown "
            "serviceunavailableexception internalserverexception modelnotreadyexception internalservererror "
            "server_is_overloaded"
        ),
    ),
)

_CREDENTIAL_400 = re.compile(
    r"\b(?:incorrect|invalid|expired)\b.{0,12}\bapi[ _-]?key\b|\bapi[ _-]?key (?:not valid|expired)", re.IGNORECASE
)

_REFINED: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), error_type)
    for pattern, error_type in (
        (
            (
                r"context_length|exceed_context_size|context (?:length|window|size)|maximum context|prompt is too long|"
                r"input (?:token count|is too long|length)|too many (?:input )?tokens|reduce the length"
            ),
            "context_length_exceeded",
        ),
        (
            r"content_policy|content_filter|content_management|moderation|safety_violation|usage_policy",
            "content_policy_violation",
        ),
        (r"string_above_max_length|string_too_long", "string_too_long"),
        (r"image_too_large|image exceeds", "image_too_large"),
        (r"image_too_small", "image_too_small"),
        (r"unsupported_image|invalid_image_format", "unsupported_image_format"),
        (
            r"image_download|invalid_image_url|(?:download|fetch)\w* (?:the )?(?:image|file|url)",
            "image_download_failed",
        ),
        (r"invalid_image|image_parse_error|could not process image", "invalid_image"),
        (r"invalid_prompt", "invalid_prompt"),
        (r"max_tokens_exceeded", "max_tokens_exceeded"),
    )
)

_STATUS_TYPES = {
    404: "not_found",
    412: "precondition_failed",
    413: "payload_too_large",
    422: "unprocessable",
}


def _fault(status: int | None, said: Told, headers: Mapping[str, str], raw: str) -> UpstreamFault:
    kind = _kind(status, said)
    rest: dict[str, Any] = {
        "provider_status": status,
        "provider_code": masked(said.codes[0])[:80] if said.codes else None,
        "raw": raw or None,
    }
    shown = masked(said.message.strip())[:MESSAGE_MAX] if said.message and said.message.strip() else None
    if kind is UpstreamCredential:
        # The provider's own words may name our account or key, so the caller gets none of them.
        return UpstreamCredential(
            "The provider refused the gateway's credential, account or model name; the operator has to correct it.",
            **rest,
        )
    if kind is UpstreamLost:
        return UpstreamLost(
            f"The provider redirected the request (status {status}); redirects are never followed. "
            "Correct the provider's base_url.",
            **rest,
        )
    if kind is UpstreamRefused:
        own = status if status is not None and 400 <= status < 500 else 400
        return UpstreamRefused(shown, status=own, error_type=_refined(own, said), **rest)
    delay = retry_after(headers, said.delay)
    if kind is UpstreamLimited:
        return UpstreamLimited(shown, retry_after=delay, metadata={"kind": said.limit or "rate"}, **rest)
    return kind(shown, retry_after=delay, **rest)


def _kind(status: int | None, said: Told) -> type[UpstreamFault]:
    named = next((kind for code in said.codes for kind, words in _KINDS if code.lower() in words), None)
    if status is None or status < 300 or status > 599:
        return named or (UpstreamRefused if said.flagged or _says_invalid(said) else UpstreamOverloaded)
    if status < 400:
        return UpstreamLost
    if said.flagged and status in (400, 403):
        return UpstreamRefused
    if status in (401, 402, 403, 404):
        return UpstreamCredential
    if status == 429:
        return UpstreamLimited
    if status in (408, 504, 524):
        return UpstreamTimeout
    if status >= 500 or status == 498:  # 498: Groq's flex tier has no capacity
        return UpstreamOverloaded
    if status == 400 and (named is UpstreamCredential or _CREDENTIAL_400.search(said.message or "")):
        return UpstreamCredential  # Gemini and xAI say 400 of a bad key
    return UpstreamRefused


def _says_invalid(said: Told) -> bool:
    return any(
        word in code.lower()
        for code in said.codes
        for word in ("invalid", "context_length", "content_", "unsupported", "bad_request", "tool_use_failed")
    )


def _refined(status: int, said: Told) -> str:
    text = " ".join(said.codes)
    for part in (text, said.message or ""):
        for pattern, error_type in _REFINED:
            if pattern.search(part):
                return error_type
    if said.flagged:
        return "content_policy_violation"
    return _STATUS_TYPES.get(status, "invalid_request")
