"""The official `openai` SDK for JavaScript, unmodified: its helpers for streams, tools and schemas. Needs npm."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from routebook.testing.provider import ScriptedProvider
from tests.acceptance.foreign import run_node
from tests.acceptance.gateway import RunningGateway, bearer

pytestmark = pytest.mark.timeout(400)
"""The first run installs the SDK."""


@pytest.fixture(scope="module")
def got(gateway: RunningGateway, key: str) -> dict[str, Any]:
    """What the driver printed; it ends badly if one of its calls does not work."""
    parsed: dict[str, Any] = json.loads(run_node("drive_openai.mjs", gateway.base, key), parse_float=Decimal)
    return parsed


def record_of(gateway: RunningGateway, key: str, id: str) -> dict[str, Any]:
    found = httpx2.get(f"{gateway.base}/generation", params={"id": id}, headers=bearer(key))
    data: dict[str, Any] = json.loads(found.text, parse_float=Decimal)["data"]
    return data


@pytest.mark.parametrize("name", ["whole", "streamed"])
def test_usage_and_cost_are_the_records(gateway: RunningGateway, key: str, got: dict[str, Any], name: str) -> None:
    record = record_of(gateway, key, got[name]["id"])
    usage = got[name]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == ((90, 20) if name == "whole" else (11, 9))
    assert usage["prompt_tokens"] == record["native_tokens_prompt"]
    assert usage["completion_tokens"] == record["native_tokens_completion"]
    assert usage["cost"] == record["total_cost"] > 0
    assert record["streamed"] is (name == "streamed")


def test_the_helper_for_streams_accumulates_the_answer(got: dict[str, Any]) -> None:
    assert got["whole"]["id"] == got["whole"]["header"]
    assert set(got["streamed"]["kinds"]) == {"content", "final"}
    assert len(got["streamed"]["text"].split()) == 4


def test_the_runner_calls_tools_until_there_is_an_answer(got: dict[str, Any]) -> None:
    assert got["tools"]["asked"] == {"city": "a city"}
    assert got["tools"]["roles"] == ["user", "assistant", "tool", "assistant"]
    assert got["tools"]["answer"]


def test_schemas_are_parsed_on_either_api(got: dict[str, Any]) -> None:
    assert got["parsed"] == [{"city": "a city", "days": 7, "tags": ["a tags"]}] * 2


def test_a_response_streams_with_its_reasoning(got: dict[str, Any]) -> None:
    assert {"response.reasoning_text.delta", "response.completed"} <= set(got["responses"]["events"])
    assert got["responses"]["usage"]["output_tokens_details"]["reasoning_tokens"] == 4
    assert got["responses"]["text"]


def test_a_loop_that_is_left_ends_the_call(
    gateway: RunningGateway, provider: ScriptedProvider, key: str, got: dict[str, Any]
) -> None:
    gateway.until(lambda: all(entry.intent.id != got["left"] for entry in gateway.gateway.app.entries))
    assert record_of(gateway, key, got["left"])["cancelled"] is True


def test_faults_are_the_sdks_own(got: dict[str, Any]) -> None:
    assert got["models"] >= 8
    assert {name: (fault["name"], fault["status"]) for name, fault in got["faults"].items()} == {
        "key": ("AuthenticationError", 401),
        "model": ("BadRequestError", 400),
        "provider": ("InternalServerError", 503),
        "limited": ("RateLimitError", 429),
    }
    assert "scripted/none is not a valid model ID" in got["faults"]["model"]["message"]
