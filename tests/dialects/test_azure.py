"""Azure: the chat family at deployments, by a row of data; its filters' verdicts are kept, its refusals understood."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest

from routebook.core.errors import UpstreamLimited, UpstreamRefused
from routebook.core.events import Delta, Finish
from routebook.dialects import registry
from routebook.dialects.vendors import parse, placed
from routebook.wire.http import HttpHead
from tests.dialects import reading
from tests.dialects.calling import Caller
from tests.dialects.chat_cases import SSE, chunk, stream, unary
from tests.dialects.reading import of

ROWS = {
    slug: placed(row, {})
    for slug, row in parse((files("routebook.dialects") / "vendors.toml").read_text("utf-8")).items()
}
AZURE = registry.upstreams(ROWS)["azure"]
CALLER = Caller(AZURE, "gpt 4o/eu", "https://acme.openai.azure.com", "azure-secret")
SAFE = {"hate": {"filtered": False, "severity": "safe"}}


def test_the_deployment_and_the_version_are_in_the_url() -> None:
    request = CALLER.request({"stream": True})
    assert request.url == (
        "https://acme.openai.azure.com/openai/deployments/gpt%204o%2Feu/chat/completions?api-version=2024-10-21"
    )
    assert json.loads(request.body)["stream_options"] == {"include_usage": True}


def test_a_base_url_of_the_newer_api_needs_neither() -> None:
    request = CALLER.request(base="https://acme.openai.azure.com/openai/v1")
    assert request.url == "https://acme.openai.azure.com/openai/v1/chat/completions"


def test_a_known_vendors_own_row_counts_under_any_name_of_the_dialect() -> None:
    named = Caller(AZURE, "d", "https://x.example", "k", vendor="azure")
    assert named.request().url == "https://x.example/openai/deployments/d/chat/completions?api-version=2024-10-21"
    version = placed(ROWS["azure"], {})
    assert "{AZURE" not in version.quirks.path


def test_keys_have_a_header_of_their_own_and_tokens_go_as_bearer() -> None:
    key = dict(CALLER.request().headers)
    assert key["api-key"] == "azure-secret"
    assert "authorization" not in key
    token = dict(CALLER.request(secret="eyJhbGciOi.x.y").headers)
    assert token["authorization"] == "Bearer eyJhbGciOi.x.y"
    assert "api-key" not in token


def test_what_azure_refuses_is_told() -> None:
    got, lost = CALLER.sent({"max_tokens": 5, "top_k": 3, "cache_control": {"type": "ephemeral"}})
    assert got["max_completion_tokens"] == 5
    assert lost == ["top_k", "cache_control"]


def test_the_filters_verdicts_travel_as_the_providers_own_members() -> None:
    prompt = [{"prompt_index": 0, "content_filter_results": SAFE}]
    at_once = unary({"content": "Hi"}, prompt_filter_results=prompt)
    value = json.loads(at_once)
    value["choices"][0]["content_filter_results"] = SAFE
    events = reading.read(AZURE, HttpHead(200, {"content-type": "application/json"}), json.dumps(value).encode())
    extra: dict[str, Any] = of(events, Delta)[0].extra
    assert extra == {"answer.prompt_filter_results": prompt, "choice.content_filter_results": SAFE}
    first = {"choices": [], "id": "", "model": "", "prompt_filter_results": prompt}
    second = chunk({"content": "Hi"})
    second["choices"][0]["content_filter_results"] = SAFE
    streamed = reading.read(AZURE, HttpHead(200, {"content-type": SSE}), stream(first, second, chunk(finish="stop")))
    told = [event.extra for event in of(streamed, Delta) if event.extra]
    assert told == [{"answer.prompt_filter_results": prompt}, {"choice.content_filter_results": SAFE}]


def test_an_answer_that_a_filter_ended_says_so() -> None:
    body = stream(chunk({"content": "Hi"}), chunk(finish="content_filter"))
    events = reading.read(AZURE, HttpHead(200, {"content-type": SSE}), body)
    assert of(events, Finish) == [Finish("content_filter", "content_filter")]


@pytest.mark.parametrize(
    ("status", "error", "kind", "error_type"),
    [
        (
            400,
            {
                "message": "The response was filtered.",
                "code": "content_filter",
                "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": SAFE},
            },
            UpstreamRefused,
            "content_policy_violation",
        ),
        (429, {"message": "Retry after 3 seconds.", "code": "429"}, UpstreamLimited, "rate_limit_exceeded"),
    ],
)
def test_a_refusal_is_the_fault_it_names(status: int, error: Any, kind: type[Any], error_type: str) -> None:
    fault = AZURE.fault(HttpHead(status, {"retry-after": "3"}), json.dumps({"error": error}).encode())
    assert type(fault) is kind
    assert fault.error_type == error_type
    assert fault.retry_after == (3 if kind is UpstreamLimited else None)
