"""The AI SDK with OpenRouter's own provider for it, unmodified, against the gateway: what a program sees of answers,
streams, tools in several steps, objects, reasoning, pictures, money and faults, whoever serves the model. Needs npm.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from tests.acceptance.coding import DIALECTS, configuration, cost, dot
from tests.acceptance.foreign import run_node
from tests.acceptance.gateway import RunningGateway, bearer
from tests.acceptance.turns import Say, Seen, Turns
from tests.acceptance.turns_said import CACHED, COMPLETION, FRESH, PROMPT, sealed

CITIES = ("Bern", "Rome")
THOUGHTS = ["I have to look.", "And there."]
TRIP = {"city": "Bern", "days": 3}

pytestmark = pytest.mark.timeout(400)
"""The first run installs the SDK."""


def script(seen: Seen) -> Say:
    """Asks for the weather of two cities, one after the other; gives an object where one is wanted."""
    said = json.dumps(seen.body)
    if "Say it as JSON." in said:
        return Say(json.dumps(TRIP))
    if "Weather?" in said and len(seen.results) < len(CITIES):
        words = "" if seen.results else "Let me see."
        return Say(words, THOUGHTS[len(seen.results)], ("weather", {"city": CITIES[len(seen.results)]}))
    return Say(" and ".join(seen.results) or "Plain words.", "Hm.")


@pytest.fixture(scope="module")
def provider() -> Iterator[Turns]:
    with Turns(script) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(provider: Turns, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with RunningGateway(tmp_path_factory.mktemp("ai") / "home", configuration(provider)) as running:
        yield running


@pytest.fixture(scope="module")
def key(gateway: RunningGateway) -> str:
    return gateway.new_key(name="ai")


@pytest.fixture(scope="module", params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def asked(provider: Turns) -> list[Seen]:
    """The requests of the run below, in order."""
    return []


@pytest.fixture(scope="module")
def got(gateway: RunningGateway, provider: Turns, key: str, dialect: str, asked: list[Seen]) -> dict[str, Any]:
    """What the driver printed; it ends badly if one of its calls does."""
    place = len(provider.asked)
    said = run_node("drive_ai.mjs", gateway.base, key, f"turns/{dialect}", b64encode(dot()).decode())
    parsed: dict[str, Any] = json.loads(said, parse_float=Decimal)
    asked[:] = provider.asked[place:]
    return parsed


def test_every_step_costs_what_its_record_says(gateway: RunningGateway, key: str, got: dict[str, Any]) -> None:
    steps = [got["plain"], *got["steps"], *got["stream"]["steps"], got["seen"]]
    assert len(steps) == 8
    for step in steps:
        assert step["id"] == step["generation"], "the answer's id is the record's"
        found = httpx2.get(f"{gateway.base}/generation", params={"id": step["id"]}, headers=bearer(key))
        record = json.loads(found.text, parse_float=Decimal)["data"]
        usage, own = step["usage"], step["own"]["usage"]
        assert own["cost"] == record["total_cost"] == cost(1, FRESH, CACHED, COMPLETION)
        assert own["costDetails"]["upstreamInferenceCost"] == record["upstream_inference_cost"]
        assert usage["inputTokens"] == own["promptTokens"] == record["native_tokens_prompt"] == PROMPT
        assert usage["inputTokenDetails"]["cacheReadTokens"] == record["native_tokens_cached"] == CACHED
        assert usage["outputTokens"] == record["native_tokens_completion"] == COMPLETION
        assert step["own"]["provider"] == record["provider_name"]


def test_tools_are_called_in_several_steps(got: dict[str, Any]) -> None:
    for steps in (got["steps"], got["stream"]["steps"]):
        assert [step["finish"] for step in steps] == ["tool-calls", "tool-calls", "stop"]
        assert [[call["input"] for call in step["calls"]] for step in steps] == [*([{"city": c}] for c in CITIES), []]
        assert steps[0]["text"] == "Let me see."
        assert steps[-1]["text"] == "sunny in Bern and sunny in Rome"
    assert got["stream"]["text"] == "Let me see.sunny in Bern and sunny in Rome"


def test_a_streams_parts_begin_and_end(got: dict[str, Any]) -> None:
    parts = got["stream"]["parts"]
    assert "error" not in parts
    for kind in ("text", "reasoning", "tool-input"):
        assert parts.count(f"{kind}-start") == parts.count(f"{kind}-end") > 0, kind
    assert (parts.count("tool-call"), parts.count("tool-result")) == (2, 2)
    assert (parts[0], parts[-1]) == ("start", "finish")


def test_reasoning_is_shown_and_goes_back_to_who_thought_it(
    got: dict[str, Any], asked: list[Seen], dialect: str
) -> None:
    assert got["plain"]["reasoning"] == "Hm."
    assert [step["reasoning"] for step in got["steps"]][:2] == THOUGHTS
    last = [seen for seen in asked if len(seen.results) == 2]
    assert len(last) == 2
    for seen in last:
        assert _thoughts(dialect, seen.body) == THOUGHTS


def _thoughts(dialect: str, body: dict[str, Any]) -> list[str]:
    """Reasoning that was handed back, in the form that this provider takes."""
    if dialect == "openai_responses":
        items = [item for item in body["input"] if item["type"] == "reasoning"]
        assert [item["encrypted_content"] for item in items] == [sealed(each) for each in THOUGHTS]
        return [part["text"] for item in items for part in item["summary"]]
    if dialect == "openai_chat":
        return [each["reasoning_content"] for each in body["messages"] if each.get("reasoning_content")]
    if dialect == "gemini":
        calls = [part for turn in body["contents"] for part in turn["parts"] if "functionCall" in part]
        assert [part["thoughtSignature"] for part in calls] == [sealed(each) for each in THOUGHTS]
        return THOUGHTS  # the thoughts themselves are not wanted back
    blocks = [block for turn in body["messages"] if turn["role"] == "assistant" for block in turn["content"]]
    thoughts = [block for block in blocks if block["type"] == "thinking"]
    assert [block["signature"] for block in thoughts] == [sealed(each) for each in THOUGHTS]
    return [block["thinking"] for block in thoughts]


def test_objects_are_what_the_schema_says(got: dict[str, Any]) -> None:
    assert got["objects"] == [TRIP] * 3
    assert got["partials"] >= 1


def test_a_picture_reaches_the_model(got: dict[str, Any], asked: list[Seen]) -> None:
    assert got["seen"]["text"] == "Plain words."
    sent = [json.dumps(seen.body) for seen in asked]
    assert sum(b64encode(dot()).decode() in body for body in sent) == 1


def test_faults_are_the_sdks_own(got: dict[str, Any]) -> None:
    faults = got["faults"]
    told = {name: (fault["name"], fault["status"], fault["retryable"]) for name, fault in faults.items()}
    assert told == {
        "key": ("AI_APICallError", 401, False),
        "model": ("AI_APICallError", 400, False),
        "limit": ("AI_APICallError", 400, False),
        "stream": ("AI_APICallError", 400, False),
    }
    assert "turns/nothing is not a valid model ID" in faults["model"]["message"]
    assert faults["stream"]["message"] == faults["model"]["message"]
