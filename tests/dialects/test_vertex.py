"""Gemini and Claude on Vertex: their own bodies at Vertex's places, and answers told apart by their bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routebook.core.errors import UpstreamCredential, UpstreamGarbage, UpstreamLimited, UpstreamRefused
from routebook.core.events import Delta, Finish
from routebook.dialects import registry
from routebook.wire.http import HttpHead
from tests.dialects import reading
from tests.dialects.calling import Caller, user
from tests.dialects.reading import of, usage

UPSTREAMS = registry.upstreams({})
VERTEX = UPSTREAMS["vertex"]
BASE = "https://eu-aiplatform.example/v1/projects/p/locations/eu"
GEMINI = Caller(VERTEX, "gemini-2.5-flash", BASE, "ya29.token")
CLAUDE = Caller(VERTEX, "claude-sonnet-4-5@20250929", BASE, "ya29.token")
SSE = HttpHead(200, {"content-type": "text/event-stream"})
JSON = HttpHead(200, {"content-type": "application/json; charset=UTF-8"})


# --- requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "stream", "place"),
    [
        (GEMINI, False, "publishers/google/models/gemini-2.5-flash:generateContent"),
        (GEMINI, True, "publishers/google/models/gemini-2.5-flash:streamGenerateContent?alt=sse"),
        (CLAUDE, False, "publishers/anthropic/models/claude-sonnet-4-5@20250929:rawPredict"),
        (CLAUDE, True, "publishers/anthropic/models/claude-sonnet-4-5@20250929:streamRawPredict"),
    ],
)
def test_the_path_names_publisher_model_and_method(caller: Caller, stream: bool, place: str) -> None:
    request = caller.request({"stream": stream})
    assert request.url == f"{BASE}/{place}"
    headers = dict(request.headers)
    assert headers["authorization"] == "Bearer ya29.token"
    assert headers["accept"] == ("text/event-stream" if stream else "application/json")
    assert not headers.keys() & {"x-goog-api-key", "x-api-key", "anthropic-version"}


@pytest.mark.parametrize(
    ("model", "base", "place"),
    [
        ("publishers/anthropic/models/mine", BASE, "publishers/anthropic/models/mine:rawPredict"),
        ("endpoints/123", BASE, "endpoints/123:generateContent"),
        ("mine", f"{BASE}/publishers/anthropic", "publishers/anthropic/models/mine:rawPredict"),
        ("mine", f"{BASE}/publishers/google/", "publishers/google/models/mine:generateContent"),
    ],
)
def test_publishers_may_be_named_by_model_or_url(model: str, base: str, place: str) -> None:
    assert GEMINI.request(model=model, base=base).url == f"{BASE}/{place}"


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("global", "aiplatform.googleapis.com"),
        ("europe-west4", "europe-west4-aiplatform.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
    ],
)
def test_a_region_is_asked_at_its_own_host(location: str, host: str) -> None:
    path = f"/v1/projects/p/locations/{location}"
    url = GEMINI.request(base=f"https://aiplatform.googleapis.com{path}").url
    assert url.startswith(f"https://{host}{path}/publishers/google/")


@pytest.mark.parametrize("key", ["AIzaSyExample", "AQ.Ab8Example"])
def test_an_api_key_stays_in_its_own_header(key: str) -> None:
    headers = dict(GEMINI.request(secret=key).headers)
    assert headers["x-goog-api-key"] == key
    assert "authorization" not in headers
    assert "authorization" not in dict(GEMINI.request(secret=None).headers)


def test_the_bodies_are_those_of_their_own_apis() -> None:
    assert GEMINI.body({"temperature": 0.5, "max_tokens": 7}) == {
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
        "generationConfig": {"temperature": 0.5, "maxOutputTokens": 7},
    }
    assert CLAUDE.body({"stream": True, "temperature": 0.5, "max_tokens": 7}) == {
        "anthropic_version": "vertex-2023-10-16",
        "max_tokens": 7,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        "stream": True,
        "temperature": 0.5,
    }


def test_tiers_betas_and_automatic_caching_are_vertexs_own() -> None:
    request = GEMINI.request({"service_tier": "flex"})
    assert dict(request.headers)["x-vertex-ai-llm-shared-request-type"] == "flex"
    assert b"serviceTier" not in request.body
    assert CLAUDE.lost({"service_tier": "priority", "cache_control": {"type": "ephemeral"}}) == [
        "cache_control",
        "service_tier",
    ]
    with_file = CLAUDE.request({"messages": user({"type": "file", "file": {"file_id": "file_1"}})})
    assert dict(with_file.headers)["anthropic-beta"] == "files-api-2025-04-14"
    assert GEMINI.lost({"verbosity": "low"}) == ["verbosity"]


# --- answers ----------------------------------------------------------------------------------------------------------

CLAUDES = (
    {"type": "message_start", "message": {"id": "msg_1", "model": "claude", "usage": {"input_tokens": 7}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Good day"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
    {"type": "message_stop"},
)
GEMINIS = (
    {"candidates": [{"content": {"role": "model", "parts": [{"text": "Good day"}]}, "finishReason": "STOP"}]},
    {"usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10}},
)
WHOLE = {"role": "model", "parts": [{"text": "Good day"}]}


def sse(events: Any, named: bool = False, before: bytes = b"") -> bytes:
    lines = [
        (b"event: %b\n" % e["type"].encode() if named else b"") + b"data: " + json.dumps(e).encode() for e in events
    ]
    return before + b"".join(line + b"\r\n\r\n" for line in lines)


@pytest.mark.parametrize(
    "body",
    [
        sse(CLAUDES, named=True),
        sse(CLAUDES),
        sse(CLAUDES, named=True, before=b'event: vertex_event\ndata: {"type": "ping"}\n\n'),
        sse(CLAUDES, before=b": keep-alive\n\n"),
        sse(GEMINIS),
        sse(GEMINIS, before=b"\xef\xbb\xbf"),
        sse(GEMINIS, before=b": hello {\n\n"),
    ],
)
def test_a_stream_is_whose_its_first_event_is(body: bytes) -> None:
    events = reading.read(VERTEX, SSE, body, b"\n\ndata: {half\n\n")
    assert "".join(event.text or "" for event in of(events, Delta)) == "Good day"
    assert [event.reason for event in of(events, Finish)] == ["stop"]
    assert (usage(events).prompt, usage(events).completion) == (7, 3)


@pytest.mark.parametrize(
    "value",
    [
        {
            "model": "claude",
            "id": "msg_1",
            "type": "message",
            "content": [{"type": "text", "text": "Good day"}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 7, "output_tokens": 3},
        },
        {
            "candidates": [{"content": WHOLE, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 3},
        },
        {
            "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 3},
            "candidates": [{"content": WHOLE, "finishReason": "STOP"}],
        },
    ],
)
def test_a_whole_answer_is_whose_its_first_member_is(value: Any) -> None:
    events = reading.read(VERTEX, JSON, json.dumps(value, indent=1).encode(), b" } tail")
    assert of(events, Delta)[0].text == "Good day"
    assert (usage(events).prompt, usage(events).completion) == (7, 3)


def test_what_is_neither_is_garbage_and_never_raises() -> None:
    for body in (b"<html>" * 2000, b"", b"{", b"[]", b"data: {}\n\n", b"event: " + b":" * 9000, b"{" * 9000):
        assert isinstance(reading.fed(VERTEX, SSE, [body])[-1], tuple)
    assert reading.read(VERTEX, JSON, b"<html>")[-1][0] is UpstreamGarbage
    for body in (sse(CLAUDES, named=True), sse(GEMINIS)):
        reading.survives_damage(VERTEX, SSE, body)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, {"error": {"code": 429, "message": "Quota.", "status": "RESOURCE_EXHAUSTED"}}, UpstreamLimited),
        (401, {"error": {"code": 401, "message": "No token.", "status": "UNAUTHENTICATED"}}, UpstreamCredential),
        (400, {"type": "error", "error": {"type": "invalid_request_error", "message": "Too long."}}, UpstreamRefused),
        (429, {"type": "error", "error": {"type": "rate_limit_error", "message": "Slow."}}, UpstreamLimited),
    ],
)
def test_errors_come_in_googles_form_or_in_anthropics(status: int, body: Any, kind: type[Any]) -> None:
    fault = VERTEX.fault(HttpHead(status, {}), json.dumps(body).encode())
    assert type(fault) is kind
    assert fault.provider_status == status
