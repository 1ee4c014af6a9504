"""Anthropic's own Python SDK, unmodified, in an environment of its own: with an upstream of OpenAI's dialect, and with
one of its own (a gateway behind the gateway)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from routebook.testing.provider import ScriptedProvider
from tests.acceptance.behind import gateway_behind
from tests.acceptance.foreign import python_sdk
from tests.acceptance.gateway import RunningGateway, bearer

DRIVER = Path(__file__).with_name("drive_anthropic.py")

pytestmark = pytest.mark.timeout(400)
"""The first run installs the SDK."""


def drive(base: str, key: str, model: str) -> dict[str, Any]:
    """What the driver printed; it ends badly if one of its calls does not work."""
    command = [str(python_sdk("anthropic")), str(DRIVER), base, key, model]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    parsed: dict[str, Any] = json.loads(done.stdout)
    return parsed


@pytest.fixture(scope="module", params=["openai", "anthropic", "anthropic through /api"])
def met(
    request: pytest.FixtureRequest, gateway: RunningGateway, key: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[dict[str, Any], RunningGateway, str, str]]:
    """(what the SDK got, the gateway that it spoke to, its key, the provider's name)."""
    if request.param == "openai":
        yield drive(gateway.origin, key, "scripted/plain"), gateway, key, "Infermatic"
        return
    path = "/api" if request.param.endswith("/api") else ""
    with gateway_behind(gateway, key, tmp_path_factory.mktemp("behind") / "home") as outer:
        own = outer.new_key(name="sdk")
        yield drive(outer.origin + path, own, "behind/anthropic"), outer, own, "Anthropic"


Met = tuple[dict[str, Any], RunningGateway, str, str]


def test_a_message_has_its_parts_and_its_counts_without_the_cache(met: Met) -> None:
    got, gateway, key, provider = met
    message = got["message"]["message"]
    assert [block["type"] for block in message["content"]] == ["thinking", "text"]
    assert (message["type"], message["role"], message["stop_reason"]) == ("message", "assistant", "end_turn")
    assert message["id"].startswith("msg_")
    assert message["provider"] == provider
    usage = message["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (40, 40, 20)
    assert usage["cache_creation_input_tokens"] == 10
    assert usage["output_tokens_details"] == {"thinking_tokens": 5}
    id = got["message"]["generation"]
    record = httpx2.get(f"{gateway.base}/generation", params={"id": id}, headers=bearer(key)).json()["data"]
    assert (record["native_tokens_prompt"], record["native_tokens_completion"]) == (90, 20)
    assert (record["native_tokens_cached"], record["native_tokens_reasoning"]) == (40, 5)
    assert float(record["total_cost"]) == pytest.approx(usage["cost"], abs=0)


def test_a_stream_is_understood_event_by_event(met: Met) -> None:
    got = met[0]["stream"]
    kinds = [kind for kind in got["kinds"] if kind != "text"]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert kinds.count("content_block_delta") == 4
    message = got["message"]
    assert len(message["content"][0]["text"].split()) == 4
    assert (message["stop_reason"], message["usage"]["input_tokens"], message["usage"]["output_tokens"]) == (
        "end_turn",
        11,
        9,
    )


def test_thinking_is_streamed_as_a_block_and_may_be_handed_back(met: Met) -> None:
    got = met[0]["thinking"]
    assert [block["type"] for block in got["first"]["content"]] == ["thinking", "text"]
    assert got["first"]["content"][0]["thinking"] == "Let me think about it."
    assert got["second"]["content"][-1]["type"] == "text"
    assert got["second"]["usage"]["output_tokens"] == 6


def test_a_tool_is_called_and_its_result_with_a_picture_is_taken(met: Met) -> None:
    got = met[0]["tools"]
    for name in ("whole", "streamed"):
        (call,) = got[name]["content"]
        assert (call["type"], call["name"], call["input"]) == ("tool_use", "weather", {"city": "a city", "days": 7})
        assert got[name]["stop_reason"] == "tool_use"
    assert got["last"]["stop_reason"] == "end_turn"
    assert got["last"]["content"][0]["text"]


def test_structured_output_is_asked_for_by_its_schema(met: Met) -> None:
    assert json.loads(met[0]["structured"]["message"]["content"][0]["text"]) == {"city": "a city"}


def test_tokens_are_counted_without_a_call(met: Met, provider: ScriptedProvider) -> None:
    got = met[0]["counted"]
    assert got["tokens"] > 0
    # The tokenizer is another process, which a busy machine may keep waiting.
    assert got["how"] in (("provider",) if met[3] == "Anthropic" else ("reference", "estimate"))
    assert all("How long" not in str(item) for item in provider.bill)


def test_each_fault_is_the_sdks_own_error(met: Met) -> None:
    got = met[0]["faults"]
    assert got["temperature"] == ["BadRequestError", 400, "invalid_request_error"]
    assert got["model"][:2] == ["BadRequestError", 400]
    assert got["limited"] == ["RateLimitError", 429, "rate_limit_error"]
    assert got["down"][1:] == [503, "overloaded_error"]
    assert got["nobody"] == ["AuthenticationError", 401, "authentication_error"]
    assert "The model crashed." in got["in the stream"][2]
