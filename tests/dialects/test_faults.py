"""What providers' refusals mean, in every shape they come in; and that no key is ever shown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routebook.core.errors import (
    UpstreamCredential,
    UpstreamFault,
    UpstreamLimited,
    UpstreamLost,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimeout,
)
from routebook.dialects import faults
from routebook.wire.http import HttpHead


def answer(status: int, body: Any, **headers: str) -> UpstreamFault:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return faults.from_answer(
        HttpHead(status, {name.replace("_", "-"): value for name, value in headers.items()}), data
    )


OPENAI = {"error": {"message": "It went wrong.", "type": "some_error", "param": None, "code": "some_code"}}


@pytest.mark.parametrize(
    ("status", "kind", "shown"),
    [
        (301, UpstreamLost, 502),
        (400, UpstreamRefused, 400),
        (401, UpstreamCredential, 502),
        (402, UpstreamCredential, 502),
        (403, UpstreamCredential, 502),
        (404, UpstreamCredential, 502),
        (408, UpstreamTimeout, 504),
        (409, UpstreamRefused, 409),
        (413, UpstreamRefused, 413),
        (422, UpstreamRefused, 422),
        (429, UpstreamLimited, 429),
        (498, UpstreamOverloaded, 503),
        (500, UpstreamOverloaded, 503),
        (502, UpstreamOverloaded, 503),
        (503, UpstreamOverloaded, 503),
        (504, UpstreamTimeout, 504),
        (520, UpstreamOverloaded, 503),
        (524, UpstreamTimeout, 504),
        (529, UpstreamOverloaded, 503),
    ],
)
@pytest.mark.parametrize("body", [OPENAI, b"<html>nginx</html>", b""])
def test_the_status_decides_the_kind(status: int, kind: type[UpstreamFault], shown: int, body: Any) -> None:
    fault = answer(status, body)
    assert type(fault) is kind
    assert (fault.status, fault.provider_status) == (shown, status)
    assert fault.message


WITHIN = json.dumps(OPENAI)
SHAPES: list[tuple[Any, str, str | None]] = [
    (OPENAI, "It went wrong.", "some_code"),
    ({"error": "It went wrong.", "code": "bad"}, "It went wrong.", "bad"),
    ({"type": "error", "error": {"type": "invalid_request", "message": "It went."}}, "It went.", "invalid_request"),
    ([{"error": {"code": 400, "message": "It went wrong.", "status": "INVALID_ARGUMENT"}}], "It went wrong.", "400"),
    ({"object": "error", "message": "It went wrong.", "type": "invalid", "code": 3}, "It went wrong.", "3"),
    ({"message": "It went wrong.", "request_id": "r"}, "It went wrong.", None),
    ({"detail": "It went wrong."}, "It went wrong.", None),
    ({"detail": {"error": "It went wrong."}}, "It went wrong.", None),
    ({"detail": [{"loc": ["body", "seed"], "msg": "extra", "type": "extra"}]}, "body.seed: extra", "extra"),
    ({"object": "error", "message": {"detail": [{"loc": ["body"], "msg": "no"}]}}, "body: no", None),
    ({"error": ["It went", "wrong."]}, "It went; wrong.", None),
    ({"success": False, "errors": [{"code": 7003, "message": "It went wrong."}]}, "It went wrong.", "7003"),
    ({"__type": "com.x#ValidationException", "message": "It went wrong."}, "It went wrong.", "ValidationException"),
    ({"error": {"message": "Provider returned error", "metadata": {"raw": WITHIN}}}, "It went wrong.", None),
    (b'event: error\ndata: {"error":{"message":"It went wrong.","code":"c"}}\n\n', "It went wrong.", "c"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "message", "code"), SHAPES)
def test_every_known_shape_gives_its_message_and_code(body: Any, message: str, code: str | None) -> None:
    fault = answer(400, body)
    assert (fault.message, fault.provider_code) == (message, code)


@pytest.mark.parametrize(
    ("error", "error_type"),
    [
        ({"code": "context_length_exceeded", "message": "x"}, "context_length_exceeded"),
        ({"message": "This model's maximum context length is 8192 tokens."}, "context_length_exceeded"),
        ({"type": "exceed_context_size_error", "message": "x"}, "context_length_exceeded"),
        ({"message": "prompt is too long: 210000 tokens > 200000 maximum"}, "context_length_exceeded"),
        (
            {"message": "The input token count (9) exceeds the maximum number of tokens allowed (8)."},
            "context_length_exceeded",
        ),
        ({"code": "content_filter", "message": "x"}, "content_policy_violation"),
        ({"code": "invalid_image_url", "message": "x"}, "image_download_failed"),
        ({"code": "invalid_image_format", "message": "x"}, "unsupported_image_format"),
        ({"code": "string_above_max_length", "message": "x"}, "string_too_long"),
        ({"code": "unsupported_value", "message": "x"}, "invalid_request"),
    ],
)
def test_a_refusal_is_refined_where_the_provider_says_why(error: dict[str, Any], error_type: str) -> None:
    fault = answer(400, {"error": error})
    assert (type(fault), fault.error_type) == (UpstreamRefused, error_type)


def test_a_bad_key_is_a_credential_fault_even_where_the_provider_says_400() -> None:
    google = {"error": {"code": 400, "message": "API key not valid.", "details": [{"reason": "API_KEY_INVALID"}]}}
    xai = {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: xa***12."}
    for body in (google, xai):
        assert type(answer(400, body)) is UpstreamCredential


def test_a_credential_fault_shows_nothing_of_the_providers_text() -> None:
    body = {
        "error": {
            "message": "Incorrect API key provided: sk-proj-abcdef123456. org-77 is unpaid.",
            "code": "invalid_api_key",
        }
    }
    fault = answer(401, body)
    assert "org-77" not in fault.message
    assert "abcdef" not in fault.message
    assert fault.raw is not None
    assert "abcdef123456" not in fault.raw
    assert "[masked]" in fault.raw


def test_moderated_input_is_the_callers_refusal_and_not_our_credential() -> None:
    body = {"error": {"code": 403, "message": "flagged", "metadata": {"reasons": ["violence"], "flagged_input": "…"}}}
    fault = answer(403, body)
    assert (type(fault), fault.status, fault.error_type) == (UpstreamRefused, 403, "content_policy_violation")


@pytest.mark.parametrize(
    ("headers", "delay"),
    [
        ({"retry_after": "12"}, 12.0),
        ({"retry_after": "0.5"}, 0.5),
        ({"retry_after": "12", "retry_after_ms": "250"}, 0.25),
        ({"retry_after": "Tue, 24 Nov 2026 10:00:30 GMT", "date": "Tue, 24 Nov 2026 10:00:00 GMT"}, 30.0),
        ({"retry_after": "Tue, 24 Nov 2026 09:00:00 GMT", "date": "Tue, 24 Nov 2026 10:00:00 GMT"}, 0.0),
        ({"retry_after": "Tue, 24 Nov 2026 10:00:30 GMT"}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "-3"}, None),
        ({"retry_after": "1e300"}, None),
        ({"retry_after": "nan"}, None),
        ({"x_ratelimit_remaining_requests": "0", "x_ratelimit_reset_requests": "6m0.5s"}, 360.5),
        ({"x_ratelimit_remaining_tokens": "0", "x_ratelimit_reset_tokens": "120ms"}, 0.12),
        ({"x_ratelimit_remaining_tokens": "5", "x_ratelimit_reset_tokens": "6m"}, None),
        (
            {
                "anthropic_ratelimit_requests_remaining": "0",
                "anthropic_ratelimit_requests_reset": "2026-11-24T10:01:00Z",
                "date": "Tue, 24 Nov 2026 10:00:00 GMT",
            },
            60.0,
        ),
        ({}, None),
    ],
)
def test_the_delay_until_a_retry_is_read_from_the_headers(headers: dict[str, str], delay: float | None) -> None:
    assert answer(429, OPENAI, **headers).retry_after == delay


@pytest.mark.parametrize(
    ("error", "delay", "kind"),
    [
        ({"message": "Rate limit reached. Please try again in 7.66s."}, 7.66, "rate"),
        ({"message": "Please try again in 1m30s."}, 90.0, "rate"),
        ({"message": "Limit of tokens per day (TPD) reached. Please try again in 20 minutes."}, 1200.0, "day"),
        ({"message": "You exceeded your current quota", "code": "insufficient_quota"}, None, "quota"),
        (
            {
                "code": 429,
                "message": "Quota",
                "details": [
                    {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]},
                    {"retryDelay": "37s"},
                ],
            },
            37.0,
            "day",
        ),
        (
            {"code": 429, "message": "Quota", "details": [{"violations": [{"quotaId": "RequestsPerMinute"}]}]},
            None,
            "rate",
        ),
    ],
)  # fmt: skip
def test_the_body_may_tell_the_delay_and_what_is_exhausted(
    error: dict[str, Any], delay: float | None, kind: str
) -> None:
    fault = answer(429, {"error": error})
    assert (fault.retry_after, fault.metadata) == (delay, {"kind": kind})


SECRETS = [
    "sk-proj-AbCd1234567890",
    "sk-ant-api03-xyz_123456",
    "gsk_abcdefghijklmnop",
    "AIzaSyA1234567890abcdefg",
    "Bearer abc.def.ghi",
    "xai-0123456789abcdef",
    "hf_abcdefghijklmn",
    "AKIAIOSFODNN7EXAMPLE",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_anything_that_looks_like_a_key_is_masked(secret: str) -> None:
    fault = answer(400, {"error": {"message": f"You sent {secret}, which is odd.", "code": secret}})
    tail = secret.split()[-1][8:]
    for text in (fault.message, fault.raw or "", fault.provider_code or "", repr(fault), str(fault)):
        assert tail not in text
    assert "which is odd" in fault.message


def test_a_long_run_after_the_word_key_is_masked_and_plain_words_are_not() -> None:
    assert faults.masked("API key provided: 0123456789abcdef01234567.") == "API key provided: [masked]"
    assert "0123456789abcdef01" not in faults.masked('{"api_key": "0123456789abcdef0123"}')
    assert (
        faults.masked("a key of type authentication_error was given") == "a key of type authentication_error was given"
    )
    assert faults.masked("https://x.test/?key=abc123&a=1") == "https://x.test/?key=[masked]&a=1"


def test_what_is_shown_and_kept_is_bounded() -> None:
    fault = answer(400, {"error": {"message": "é" * 5000, "code": "c" * 500}})
    assert len(fault.message) == faults.MESSAGE_MAX
    assert fault.raw is not None
    assert len(fault.raw.encode()) <= faults.RAW_MAX


@pytest.mark.parametrize("depth", [10, 5000])
def test_deep_bodies_do_not_exhaust_the_stack(depth: int) -> None:
    assert answer(500, b'{"error":' * depth + b"1" + b"}" * depth).status == 503
    assert answer(500, b'{"message":' * depth + b"1" + b"}" * depth).status == 503


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "error message code type status details detail errors metadata raw loc msg violations quotaId".split()
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(st.integers(100, 999), JSONISH)
def test_no_body_makes_it_raise(status: int, body: Any) -> None:
    assert answer(status, body).message
    assert faults.from_object(body).message
