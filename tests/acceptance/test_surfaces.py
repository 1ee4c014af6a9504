"""One call through every surface, and one surface to every dialect: equal counts, equal money, equal words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from routebook.testing.provider import ScriptedProvider
from tests.acceptance.behind import gateway_behind
from tests.acceptance.gateway import ADMIN_KEY, RunningGateway, bearer

SAID = "Hi. [[prompt=90 cached=40 completion=20 reasoning=5]]"
MODEL = "scripted/cached"


def asked(surface: str, model: str = MODEL, said: str = SAID, stream: bool = False) -> tuple[str, dict[str, Any]]:
    """(path under the origin, body) of one and the same request."""
    if surface == "gemini":
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"/v1beta/models/{model}:{method}", {"contents": [{"role": "user", "parts": [{"text": said}]}]}
    more = {"stream": True} if stream else {}
    messages = [{"role": "user", "content": said}]
    if surface == "messages":
        return "/api/v1/messages", {"model": model, "max_tokens": 1000, "messages": messages, **more}
    if surface == "responses":
        return "/api/v1/responses", {"model": model, "input": said, **more}
    if surface == "completions":
        return "/api/v1/completions", {"model": model, "prompt": said, **more}
    return "/api/v1/chat/completions", {"model": model, "messages": messages, **more}


SURFACES = ("chat", "messages", "responses", "completions", "gemini")


def record_of(gateway: RunningGateway, key: str, id: str) -> dict[str, Any]:
    answer = httpx2.get(f"{gateway.base}/generation", params={"id": id}, headers=bearer(key))
    data: dict[str, Any] = answer.json()["data"]
    return data


def counts_of(surface: str, usage: dict[str, Any]) -> tuple[int, int, int, int]:
    """(prompt, completion, cached, reasoning), whatever the surface calls them and takes them to include."""
    if surface == "messages":
        cached = usage["cache_read_input_tokens"]
        thought = usage["output_tokens_details"]["thinking_tokens"]
        return usage["input_tokens"] + cached, usage["output_tokens"], cached, thought
    if surface == "gemini":
        thought = usage["thoughtsTokenCount"]
        made = usage["candidatesTokenCount"] + thought
        return usage["promptTokenCount"], made, usage["cachedContentTokenCount"], thought
    if surface == "responses":
        cached = usage["input_tokens_details"]["cached_tokens"]
        thought = usage["output_tokens_details"]["reasoning_tokens"]
        return usage["input_tokens"], usage["output_tokens"], cached, thought
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    thought = usage["completion_tokens_details"]["reasoning_tokens"]
    return usage["prompt_tokens"], usage["completion_tokens"], cached, thought


def usage_in(surface: str, answer: httpx2.Response, stream: bool) -> dict[str, Any]:
    """The last usage object that an answer holds."""
    lines = [line for line in answer.text.splitlines() if line.startswith("data: {")]
    objects = [json.loads(line[6:]) for line in lines] if stream else [answer.json()]
    name = "usageMetadata" if surface == "gemini" else "usage"
    places = [each.get("response", each) for each in objects]
    found: dict[str, Any] = [each[name] for each in places if each.get(name)][-1]
    return found


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_one_call_costs_and_counts_the_same_on_every_surface(gateway: RunningGateway, key: str, stream: bool) -> None:
    costs, told = set(), {}
    for surface in SURFACES:
        path, body = asked(surface, stream=stream)
        answer = httpx2.post(gateway.origin + path, json=body, headers=bearer(key))
        assert answer.status_code == 200, answer.text
        record = record_of(gateway, key, answer.headers["x-generation-id"])
        counts = [record[f"native_tokens_{name}"] for name in ("prompt", "completion", "cached", "reasoning")]
        assert counts == [90, 20, 40, 5], surface
        costs.add(record["total_cost"])
        usage = usage_in(surface, answer, stream)
        told[surface] = counts_of(surface, usage)
        assert usage["cost"] == record["total_cost"], surface
    assert len(costs) == 1
    assert set(told.values()) == {(90, 20, 40, 5)}, told


@pytest.fixture(scope="module")
def outer(gateway: RunningGateway, key: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with gateway_behind(gateway, key, tmp_path_factory.mktemp("behind") / "home") as running:
        yield running


def words_in(surface: str, answer: dict[str, Any]) -> str:
    if surface == "messages":
        return "".join(block["text"] for block in answer["content"] if block["type"] == "text")
    if surface == "gemini":
        parts = answer["candidates"][0]["content"]["parts"]
        return "".join(part["text"] for part in parts if not part.get("thought"))
    if surface == "responses":
        texts = [part["text"] for item in answer["output"] if item["type"] == "message" for part in item["content"]]
        return "".join(texts)
    choice = answer["choices"][0]
    words: str = choice["text"] if surface == "completions" else choice["message"]["content"]
    return words


DIALECTS = ("openai_chat", "openai_responses", "anthropic", "gemini")


def test_every_surface_reaches_every_dialect_with_the_same_words_counts_finish_and_money(outer: RunningGateway) -> None:
    key = outer.new_key(name="matrix")
    costs, finishes = set(), set()
    for surface in SURFACES:
        for dialect in DIALECTS:
            path, body = asked(surface, f"behind/{dialect}")
            answer = httpx2.post(outer.origin + path, json=body, headers=bearer(key))
            assert answer.status_code == 200, (surface, dialect, answer.text)
            words = words_in(surface, answer.json()).split()
            assert len(words) == 3, (surface, dialect, answer.text)
            assert counts_of(surface, usage_in(surface, answer, False)) == (90, 20, 40, 5), (surface, dialect)
            record = record_of(outer, key, answer.headers["x-generation-id"])
            costs.add(record["total_cost"])
            finishes.add(record["finish_reason"])
    assert len(costs) == 1
    assert finishes == {"stop"}


TOOL = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def test_a_tool_is_called_from_every_surface_that_has_tools_through_every_dialect(outer: RunningGateway) -> None:
    key = outer.new_key(name="tools")
    calls = set()
    for surface in ("chat", "messages", "gemini", "responses"):
        for dialect in DIALECTS:
            path, body = asked(surface, f"behind/{dialect}", "What is the weather?")
            if surface == "messages":
                body["tools"] = [{"name": "weather", "input_schema": TOOL}]
            elif surface == "gemini":
                body["tools"] = [{"functionDeclarations": [{"name": "weather", "parametersJsonSchema": TOOL}]}]
            elif surface == "responses":
                body["tools"] = [{"type": "function", "name": "weather", "parameters": TOOL}]
            else:
                body["tools"] = [{"type": "function", "function": {"name": "weather", "parameters": TOOL}}]
            answer = httpx2.post(outer.origin + path, json=body, headers=bearer(key)).json()
            if surface == "messages":
                assert answer["stop_reason"] == "tool_use", answer
                (block,) = answer["content"]
                calls.add((block["name"], json.dumps(block["input"])))
            elif surface == "gemini":
                (part,) = answer["candidates"][0]["content"]["parts"]
                calls.add((part["functionCall"]["name"], json.dumps(part["functionCall"]["args"])))
            elif surface == "responses":
                assert answer["status"] == "completed", answer
                (item,) = [item for item in answer["output"] if item["type"] == "function_call"]
                calls.add((item["name"], json.dumps(json.loads(item["arguments"]))))
            else:
                assert answer["choices"][0]["finish_reason"] == "tool_calls", answer
                (call,) = answer["choices"][0]["message"]["tool_calls"]
                arguments = json.loads(call["function"]["arguments"])
                calls.add((call["function"]["name"], json.dumps(arguments)))
    assert calls == {("weather", '{"city": "a city"}')}


# --- where the paths are, and where keys may stand --------------------------------------------------------------------


@pytest.mark.parametrize("base", ["/api/v1", "/v1", "/api"])
def test_messages_are_under_every_base_with_either_key(gateway: RunningGateway, key: str, base: str) -> None:
    _, body = asked("messages")
    for headers in (bearer(key), {"x-api-key": key, "anthropic-version": "2023-06-01"}):
        answer = httpx2.post(f"{gateway.origin}{base}/messages", json=body, headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (200, "message")
        assert answer.headers["x-generation-id"].startswith("gen-")


def test_a_coding_agents_request_is_taken_as_it_is_sent(gateway: RunningGateway, key: str) -> None:
    """What such agents send: a query, betas, cached instructions, a budget, edits of their context, a user in JSON."""
    mark = {"cache_control": {"type": "ephemeral"}}
    body = {
        "model": "scripted/cached",
        "max_tokens": 8000,
        "stream": True,
        "system": [{"type": "text", "text": "You are an agent."}, {"type": "text", "text": "Rules.", **mark}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": SAID, **mark}]}],
        "tools": [{"name": "Read", "description": "Reads.", "input_schema": {**TOOL, "$schema": "x"}}],
        "thinking": {"type": "enabled", "budget_tokens": 7999},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "metadata": {"user_id": '{"device_id":"d","session_id":"s"}'},
        "temperature": 1,
    }
    headers = {"x-api-key": key, "anthropic-version": "2023-06-01", "anthropic-beta": "a-2025-01-01,b-2025-02-02"}
    answer = httpx2.post(f"{gateway.origin}/v1/messages?beta=true", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    kinds = [line[7:] for line in answer.text.splitlines() if line.startswith("event: ")]
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")
    record = record_of(gateway, key, answer.headers["x-generation-id"])
    assert record["external_user"] == body["metadata"]["user_id"]  # type: ignore[index]
    losses = [loss["parameter"] for loss in record["routebook"]["losses"]]
    assert "context_management" in losses


@pytest.mark.parametrize("base", ["/v1beta", "/api/v1beta", "/v1", "/api/v1"])
def test_geminis_paths_are_under_every_base_with_the_key_in_any_place(
    gateway: RunningGateway, key: str, base: str
) -> None:
    _, body = asked("gemini")
    url = f"{gateway.origin}{base}/models/{MODEL}:generateContent"
    answers = [
        httpx2.post(url, json=body, headers={"x-goog-api-key": key}),
        httpx2.post(url, json=body, headers=bearer(key)),
        httpx2.post(f"{url}?key={key}", json=body),
        httpx2.post(url.replace(MODEL, MODEL.replace("/", "%2F")), json=body, headers=bearer(key)),
    ]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert all(answer.json()["modelVersion"] == MODEL for answer in answers)


def test_a_stream_of_geminis_is_one_array_unless_events_are_asked_for(gateway: RunningGateway, key: str) -> None:
    _, body = asked("gemini")
    url = f"{gateway.origin}/v1beta/models/{MODEL}:streamGenerateContent"
    array = httpx2.post(url, json=body, headers=bearer(key))
    events = httpx2.post(f"{url}?alt=sse", json=body, headers=bearer(key))
    assert array.headers["content-type"] == "application/json"
    assert events.headers["content-type"].startswith("text/event-stream")
    frames = array.json()
    assert len(frames) == events.text.count("data: ")
    assert [("usageMetadata" in frame) for frame in frames] == [False] * (len(frames) - 1) + [True]


def test_a_key_in_the_query_opens_no_other_surface(gateway: RunningGateway, key: str) -> None:
    path, body = asked("chat")
    assert httpx2.post(f"{gateway.origin}{path}?key={key}", json=body).status_code == 401


def test_a_method_of_geminis_that_is_not_here_is_not_found(gateway: RunningGateway, key: str) -> None:
    answer = httpx2.post(f"{gateway.origin}/v1beta/models/{MODEL}:embedContent", json={}, headers=bearer(key))
    assert (answer.status_code, answer.json()["error"]["status"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize("path", ["/api/v1/messages/count_tokens", f"/v1beta/models/{MODEL}:countTokens"])
def test_counting_makes_no_record_and_no_charge(
    gateway: RunningGateway, provider: ScriptedProvider, key: str, path: str
) -> None:
    before = provider.requests
    _, body = asked("gemini" if "models" in path else "messages")
    spent = httpx2.get(f"{gateway.base}/credits", headers=bearer(ADMIN_KEY)).json()["data"]["total_usage"]
    answer = httpx2.post(gateway.origin + path, json=body, headers=bearer(key))
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-routebook-count"] in ("reference", "estimate")
    assert "x-generation-id" not in answer.headers
    assert (answer.json().get("input_tokens") or answer.json().get("totalTokens")) > 5
    assert provider.requests == before
    assert httpx2.get(f"{gateway.base}/credits", headers=bearer(ADMIN_KEY)).json()["data"]["total_usage"] == spent


def test_a_promise_is_for_the_model_and_the_method_in_the_path_too(gateway: RunningGateway, key: str) -> None:
    _, body = asked("gemini")
    headers = {**bearer(key), "idempotency-key": "one-of-geminis"}

    def ask(tail: str) -> httpx2.Response:
        return httpx2.post(f"{gateway.origin}/v1beta/models/{tail}", json=body, headers=headers)

    first, again = ask(f"{MODEL}:generateContent"), ask(f"{MODEL}:generateContent")
    assert (first.status_code, again.content) == (200, first.content)
    for tail in ("scripted/plain:generateContent", f"{MODEL}:streamGenerateContent?alt=sse"):
        assert ask(tail).status_code == 422, tail
