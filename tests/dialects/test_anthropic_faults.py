"""What Anthropic's error answers mean, in the shapes its API documents."""

from __future__ import annotations

import json

import pytest

from routebook.core.errors import (
    UpstreamCredential,
    UpstreamFault,
    UpstreamLimited,
    UpstreamLost,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimeout,
)
from routebook.dialects.anthropic import UPSTREAM
from routebook.wire.http import HttpHead


def fault(status: int, kind: str, message: str = "No.", **headers: str) -> UpstreamFault:
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return UPSTREAM.fault(HttpHead(status, {"content-type": "application/json", **named}), json.dumps(body).encode())


@pytest.mark.parametrize(
    ("status", "kind", "expected", "shown"),
    [
        (400, "invalid_request_error", UpstreamRefused, 400),
        (401, "authentication_error", UpstreamCredential, 502),
        (402, "billing_error", UpstreamCredential, 502),
        (403, "permission_error", UpstreamCredential, 502),
        (404, "not_found_error", UpstreamCredential, 502),
        (413, "request_too_large", UpstreamRefused, 413),
        (429, "rate_limit_error", UpstreamLimited, 429),
        (500, "api_error", UpstreamOverloaded, 503),
        (504, "timeout_error", UpstreamTimeout, 504),
        (529, "overloaded_error", UpstreamOverloaded, 503),
        (302, "moved", UpstreamLost, 502),
    ],
)
def test_a_status_has_its_kind(status: int, kind: str, expected: type[UpstreamFault], shown: int) -> None:
    got = fault(status, kind)
    assert type(got) is expected
    assert (got.status, got.provider_status, got.provider_code) == (shown, status, kind)


def test_a_refusal_keeps_the_providers_words_and_a_credential_fault_has_none_of_them() -> None:
    refused = fault(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum")
    assert refused.message == "prompt is too long: 210000 tokens > 200000 maximum"
    assert refused.error_type == "context_length_exceeded"
    assert (
        "workspace" not in fault(401, "authentication_error", "workspace 7: invalid x-api-key sk-ant-api03-abc").message
    )


@pytest.mark.parametrize(
    "words",
    [
        "Your credit balance is too low to access the Anthropic API.",
        "You have reached your specified API usage limits. You will regain access on 2026-12-01.",
    ],
)
def test_an_empty_account_is_no_fault_of_the_callers(words: str) -> None:
    got = fault(400, "invalid_request_error", words)
    assert type(got) is UpstreamCredential
    assert (got.status, got.provider_status) == (502, 400)
    assert words not in got.message


def test_a_limit_says_when_to_come_back() -> None:
    assert fault(429, "rate_limit_error", retry_after="12").retry_after == 12
    reset = fault(
        429,
        "rate_limit_error",
        date="Mon, 02 Nov 2026 10:00:00 GMT",
        anthropic_ratelimit_requests_remaining="0",
        anthropic_ratelimit_requests_reset="2026-11-02T10:00:30Z",
    )
    assert reset.retry_after == 30
    assert fault(429, "rate_limit_error").retry_after is None


def test_a_body_that_is_no_json_still_has_a_kind_and_a_message() -> None:
    got = UPSTREAM.fault(HttpHead(529, {"content-type": "text/html"}), b"<html>\xff overloaded")
    assert type(got) is UpstreamOverloaded
    assert got.message
