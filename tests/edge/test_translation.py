"""`X-Routebook-Translation` on the wire of either edge, of every kind of path, and for pages of other origins."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.acceptance.gateway import RunningGateway, bearer

ASKS = {"x-routebook-translation": "enabled", "origin": "https://page.test"}
HI: list[dict[str, Any]] = [{"role": "user", "content": "Hi"}]
TURN = {
    "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
    "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT"}],
}
MODEL = "scripted/plain"

CASES: list[tuple[str, dict[str, Any], str]] = [
    ("/api/v1/chat/completions", {"model": MODEL, "messages": HI, "plugins": [{"id": "web-fetch"}]}, "lost=plugins"),
    ("/api/v1/completions", {"model": MODEL, "prompt": "Hi", "suffix": "!"}, "lost=suffix"),
    ("/api/v1/responses", {"model": MODEL, "input": "Hi", "truncation": "auto"}, "lost=truncation"),
    ("/api/v1/messages", {"model": MODEL, "max_tokens": 9, "messages": HI, "container": "c"}, "lost=container"),
    (f"/v1beta/models/{MODEL}:generateContent", TURN, "lost=safetySettings"),
    (f"/v1beta/models/{MODEL}:streamGenerateContent", TURN, "lost=safetySettings"),
    (f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse", TURN, "lost=safetySettings"),
    ("/api/v1/messages/count_tokens", {"model": MODEL, "messages": HI}, "none"),
    (f"/v1beta/models/{MODEL}:countTokens", TURN, "none"),
]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("path", "said", "lost"), CASES, ids=[path for path, _, _ in CASES])
def test_every_path_tells_what_was_lost_to_who_asks(
    gateway: RunningGateway, key: str, path: str, said: dict[str, Any], lost: str, stream: bool
) -> None:
    body = {**said, "stream": True} if stream and "model" in said and "count" not in path else said
    answer = httpx2.post(gateway.origin + path, json=body, headers={**bearer(key), **ASKS})
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-routebook-translation"] == lost
    assert "X-Routebook-Translation" in answer.headers["access-control-expose-headers"]
    silent = httpx2.post(gateway.origin + path, json=body, headers=bearer(key))
    assert (silent.status_code, "x-routebook-translation" in silent.headers) == (200, False)


def test_a_member_with_a_line_break_in_its_name_ends_no_line(gateway: RunningGateway, key: str) -> None:
    body = {"model": MODEL, "input": "Hi", "a\r\nx-injected: yes\r\n\r\n": 1}
    answer = httpx2.post(f"{gateway.origin}/api/v1/responses", json=body, headers={**bearer(key), **ASKS})
    assert answer.status_code == 200
    assert answer.headers["x-routebook-translation"].startswith("lost=a__x-injected:_yes")
    assert "x-injected" not in answer.headers
