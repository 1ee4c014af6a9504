"""What is not valid, on each surface: refused in its own envelope, with no call made and nothing booked; at least
twenty kinds on each. The figures stand at the end of the run.
"""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from routebook.testing.provider import ScriptedProvider
from tests.acceptance import figures
from tests.acceptance.gateway import RunningGateway, bearer

MODEL = "scripted/cached"
TURN = [{"role": "user", "content": "Hi"}]
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}

BAD_MESSAGES: list[Any] = [
    b"",
    b"{",
    b"[]",
    b'"text"',
    b"\xff\xfe{}",
    b"[" * 100,
    {"messages": TURN},
    {"model": MODEL},
    {"model": MODEL, "messages": []},
    {"model": 7, "messages": TURN},
    {"model": MODEL, "messages": "Hi"},
    {"model": MODEL, "messages": [{"role": "tool", "content": "Hi"}]},
    {"model": MODEL, "messages": [{"role": "user"}]},
    {"model": MODEL, "messages": [{"role": "user", "content": [{"text": "Hi"}]}]},
    {"model": MODEL, "messages": [{"role": "user", "content": [{"type": "text"}]}]},
    {"model": MODEL, "messages": [{"role": "user", "content": [{"type": "image"}]}]},
    {"model": MODEL, "messages": [{"role": "user", "content": [{"type": "tool_result", "content": "x"}]}]},
    {"model": MODEL, "messages": [{"role": "assistant", "content": [{"type": "tool_use", "name": "f"}]}]},
    {"model": MODEL, "messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f",
                                                                     "input": [1]}]}]},
    {"model": MODEL, "messages": TURN, "system": [IMAGE]},
    {"model": MODEL, "messages": TURN, "max_tokens": 0},
    {"model": MODEL, "messages": TURN, "temperature": "hot"},
    {"model": MODEL, "messages": TURN, "temperature": 3},
    {"model": MODEL, "messages": TURN, "tools": [{"name": "f"}]},
    {"model": MODEL, "messages": TURN, "tools": [{"input_schema": {}}]},
    {"model": MODEL, "messages": TURN, "tool_choice": {"type": "some"}},
    {"model": MODEL, "messages": TURN, "tool_choice": {"type": "tool"}},
    {"model": MODEL, "messages": TURN, "thinking": {"type": "enabled"}},
    {"model": MODEL, "messages": TURN, "thinking": {"type": "much"}},
    {"model": MODEL, "messages": TURN, "output_config": {"format": {"type": "xml"}}},
    {"model": MODEL, "messages": TURN, "output_config": {"effort": "huge"}},
    {"model": MODEL, "messages": TURN, "models": ["a/b"], "fallbacks": [{"model": "c/d"}]},
    {"model": MODEL, "messages": TURN, "fallbacks": [{"model": "c/d"}] * 4},
    {"model": MODEL, "messages": TURN, "fallbacks": [{"model": "c/d", "effort": "low"}]},
    {"model": MODEL, "messages": TURN, "provider": {"nobody": 1}},
    {"model": MODEL, "messages": TURN, "user": "u" * 300},
    {"model": "nobody/nothing", "messages": TURN},
]  # fmt: skip

SAY = [{"role": "user", "parts": [{"text": "Hi"}]}]
BAD_GEMINI: list[Any] = [
    b"",
    b"{",
    b"[]",
    b"7",
    b"\xff\xfe{}",
    b"[" * 100,
    {},
    {"contents": []},
    {"contents": "Hi"},
    {"contents": [{"role": "system", "parts": [{"text": "Hi"}]}]},
    {"contents": [{"role": "user"}]},
    {"contents": [{"role": "user", "parts": []}]},
    {"contents": [{"role": "user", "parts": [{"text": 7}]}]},
    {"contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": "image/png"}}]}]},
    {"contents": [{"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]}]},
    {"contents": [{"role": "model", "parts": [{"functionCall": {"args": {}}}]}]},
    {"contents": [{"role": "model", "parts": [{"functionCall": {"name": "f", "args": "x"}}]}]},
    {"contents": SAY, "systemInstruction": {"parts": [{"inlineData": {"data": "AA"}}]}},
    {"contents": SAY, "generationConfig": []},
    {"contents": SAY, "generationConfig": {"temperature": "hot"}},
    {"contents": SAY, "generationConfig": {"temperature": 3}},
    {"contents": SAY, "generationConfig": {"maxOutputTokens": 0}},
    {"contents": SAY, "generation_config": {"max_output_tokens": -1}},
    {"contents": SAY, "generationConfig": {"stopSequences": "x"}},
    {"contents": SAY, "generationConfig": {"thinkingConfig": {"thinkingLevel": "HUGE"}}},
    {"contents": SAY, "tools": [{"functionDeclarations": [{"description": "no name"}]}]},
    {"contents": SAY, "tools": [{"functionDeclarations": {}}]},
    {"contents": SAY, "toolConfig": {"functionCallingConfig": {"mode": "SOME"}}},
    {"contents": SAY, "provider": {"nobody": 1}},
    {"contents": SAY, "provider": {"sort": "beauty"}},
    {"contents": SAY, "session_id": "s" * 300},
]

BAD_TEXT: list[Any] = [
    b"",
    b"{",
    b"[]",
    b"true",
    b"\xff\xfe{}",
    b"[" * 100,
    {"model": MODEL},
    {"prompt": "Hi"},
    {"model": MODEL, "prompt": 7},
    {"model": MODEL, "prompt": {}},
    {"model": MODEL, "prompt": []},
    {"model": MODEL, "prompt": ["a", "b"]},
    {"model": MODEL, "prompt": [1, 2, 3]},
    {"model": MODEL, "prompt": [[1, 2], [3]]},
    {"model": MODEL, "prompt": [[1, 2]]},
    {"model": MODEL, "prompt": "Hi", "max_tokens": -1},
    {"model": MODEL, "prompt": "Hi", "max_tokens": 0},
    {"model": MODEL, "prompt": "Hi", "n": 0},
    {"model": MODEL, "prompt": "Hi", "n": 3, "best_of": 2},
    {"model": MODEL, "prompt": "Hi", "best_of": 2, "stream": True},
    {"model": MODEL, "prompt": "Hi", "logprobs": -1},
    {"model": MODEL, "prompt": "Hi", "temperature": 3},
    {"model": MODEL, "prompt": "Hi", "stop": 7},
    {"model": MODEL, "prompt": "Hi", "echo": "yes"},
    {"model": MODEL, "prompt": "Hi", "provider": {"nobody": 1}},
    {"model": MODEL, "prompt": "Hi", "metadata": {"a": 1}},
    {"model": "nobody/nothing", "prompt": "Hi"},
]

BROKEN: list[Any] = [b"", b"{", b"[]", b'"text"', b"\xff\xfe{}", b"[" * 100]
"""what is no JSON object, on any surface"""
HI: dict[str, Any] = {"model": MODEL, "messages": TURN}

BAD_CHAT: list[Any] = [
    *BROKEN,
    {"messages": TURN},
    {"model": MODEL},
    {"model": MODEL, "messages": []},
    {"model": 7, "messages": TURN},
    {"model": "", "messages": TURN},
    {"model": MODEL, "messages": "Hi"},
    {"model": MODEL, "messages": ["Hi"]},
    {"model": MODEL, "messages": [{"content": "Hi"}]},
    {"model": MODEL, "messages": [{"role": "nobody", "content": "Hi"}]},
    {"model": MODEL, "messages": [{"role": "user", "content": 7}]},
    {"model": MODEL, "messages": [{"role": "user", "content": [{"text": "Hi"}]}]},
    {"model": MODEL, "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": 7}]}]},
    {"model": MODEL, "messages": [{"role": "assistant", "tool_calls": {}}]},
    {**HI, "max_tokens": 0},
    {**HI, "max_tokens": -1},
    {**HI, "temperature": "hot"},
    {**HI, "temperature": 3},
    {**HI, "top_p": -1},
    {**HI, "n": 0},
    {**HI, "stop": 7},
    {**HI, "stream": "yes"},
    {**HI, "tools": {}},
    {**HI, "tools": [{"type": "function"}]},
    {**HI, "seed": "lucky"},
    {**HI, "logit_bias": []},
    {**HI, "reasoning": {"effort": "huge"}},
    {**HI, "reasoning": {"effort": "low"}, "reasoning_effort": "high"},
    {**HI, "models": "a/b"},
    {**HI, "provider": {"nobody": 1}},
    {**HI, "provider": {"sort": "beauty"}},
    {**HI, "metadata": {"a": 1}},
    {**HI, "user": 7},
    {**HI, "session_id": "s" * 300},
    {**HI, "model": "nobody/nothing"},
]
SAID: dict[str, Any] = {"model": MODEL, "input": "Hi"}
BAD_RESPONSES: list[Any] = [
    *BROKEN,
    {"model": MODEL},
    {"input": "Hi"},
    {"model": 7, "input": "Hi"},
    {"model": MODEL, "input": 7},
    {"model": MODEL, "input": []},
    {"model": MODEL, "input": ["Hi"]},
    {"model": MODEL, "input": [{"role": "nobody", "content": "Hi"}]},
    {"model": MODEL, "input": [{"type": "function_call", "name": "f"}]},
    {"model": MODEL, "input": [{"type": "function_call_output", "output": "x"}]},
    {**SAID, "store": True},
    {**SAID, "previous_response_id": "resp_1"},
    {**SAID, "conversation": "conv_1"},
    {**SAID, "max_output_tokens": 0},
    {**SAID, "temperature": "hot"},
    {**SAID, "temperature": 3},
    {**SAID, "stream": "yes"},
    {**SAID, "tools": {}},
    {**SAID, "tools": [{"type": "function"}]},
    {**SAID, "text": {"format": {"type": "json_schema"}}},
    {**SAID, "reasoning": {"effort": "huge"}},
    {**SAID, "instructions": 7},
    {**SAID, "provider": {"nobody": 1}},
    {**SAID, "metadata": {"a": 1}},
    {**SAID, "user": "u" * 300},
    {**SAID, "model": "nobody/nothing"},
]

PATHS: dict[str, list[Any]] = {
    "/api/v1/chat/completions": BAD_CHAT,
    "/api/v1/completions": BAD_TEXT,
    "/api/v1/responses": BAD_RESPONSES,
    "/api/v1/messages": BAD_MESSAGES,
    "/api/v1/messages/count_tokens": BAD_MESSAGES,
    f"/v1beta/models/{MODEL}:generateContent": BAD_GEMINI,
    f"/v1beta/models/{MODEL}:streamGenerateContent": BAD_GEMINI,
    f"/v1beta/models/{MODEL}:countTokens": BAD_GEMINI,
    "/v1beta/models/nobody/nothing:generateContent": [{"contents": SAY}],
}
KINDS_MIN = 20


@pytest.mark.parametrize("path", PATHS, ids=[path.rpartition("/v1")[2] for path in PATHS])
def test_what_is_not_valid_is_refused_in_the_surfaces_own_envelope_and_nothing_is_called(
    gateway: RunningGateway, provider: ScriptedProvider, key: str, path: str
) -> None:
    before = provider.requests
    wrong, kinds = [], set()
    with httpx2.Client(headers={**bearer(key), "content-type": "application/json"}) as client:
        for body in PATHS[path]:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            answer = client.post(gateway.origin + path, content=data)
            trouble = told_wrongly(path, answer)
            if trouble:
                wrong.append((data[:200], trouble, answer.text[:200]))
            else:
                kinds.add(data)
    assert wrong == []
    assert provider.requests == before
    if len(PATHS[path]) > 1:
        assert len(kinds) >= KINDS_MIN
        figures.append(f"not valid, {path}: {len(kinds)} kinds, each refused in its own envelope, no call made")


def told_wrongly(path: str, answer: httpx2.Response) -> str:
    """What is wrong with a refusal; empty if nothing is."""
    if answer.status_code != 400:
        return f"status {answer.status_code}"
    if "x-generation-id" in answer.headers:
        return "a call was booked"
    said = answer.json()
    error = said["error"]
    if len(error["message"]) <= 10:
        return "nothing is said"
    if "messages" in path:
        good = (
            (said["type"], set(said) >= {"type", "error", "request_id"}) == ("error", True)
            and error["type"] in ("invalid_request_error", "not_found_error")
            and error["error_type"] in ("invalid_request", "not_found")
        )
    elif "models" in path:
        good = (error["code"], error["status"]) == (400, "INVALID_ARGUMENT") and error["details"][0]["reason"] in (
            "INVALID_REQUEST", "NOT_FOUND",
        )  # fmt: skip
    elif "responses" in path:
        good = said["error_type"] in ("invalid_request", "not_found") and bool(error["code"])
    else:
        good = error["code"] == 400 and error["metadata"]["error_type"] in ("invalid_request", "not_found")
    return "" if good else "another envelope"


@pytest.mark.parametrize("path", PATHS, ids=[path.rpartition("/v1")[2] for path in PATHS])
def test_a_missing_key_is_told_in_the_surfaces_own_envelope(gateway: RunningGateway, path: str) -> None:
    answer = httpx2.post(gateway.origin + path, json={})
    assert answer.status_code == 401
    error = answer.json()["error"]
    assert error.get("type", error.get("status", error.get("code"))) in ("authentication_error", "UNAUTHENTICATED", 401)
