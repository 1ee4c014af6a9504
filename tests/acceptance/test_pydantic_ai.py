"""Pydantic AI, unmodified, in an environment of its own: an agent on each of its models that can be pointed at a
gateway, with tools, typed output, streams and thinking; what it counts and what the record says are compared."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from routebook.testing.provider import ScriptedProvider
from tests.acceptance.foreign import python_sdk
from tests.acceptance.gateway import MODELS, RunningGateway, bearer, configuration

DRIVER = Path(__file__).with_name("drive_pydantic_ai.py")

pytestmark = pytest.mark.timeout(400)
"""The first run installs Pydantic AI."""

RATES = MODELS["cached-1"]
NAMED = "\n".join(
    f"""
[[models]]
slug = "{slug}"
context_length = 400000
[[models.endpoints]]
provider = "scripted"
upstream_model = "cached-1"
max_completion_tokens = 128000
[models.endpoints.pricing]
prompt = "{RATES.prompt}"
completion = "{RATES.completion}"
input_cache_read = "{RATES.input_cache_read}"
input_cache_write = "{RATES.input_cache_write}"
internal_reasoning = "{RATES.internal_reasoning}"
request = "{RATES.request}"
"""
    for slug in ("openai/gpt-5.2", "anthropic/claude-sonnet-4.5")
)
"""Names that Pydantic AI knows, whose models it asks in their own ways."""
AGENTS = (
    "OpenRouterModel",
    "OpenRouterModel, Claude",
    "OpenAIChatModel",
    "OpenAIResponsesModel",
    "AnthropicModel",
)
TOLD_INSIDE = (
    ("OpenRouterModel", "messages[3].configuration_update"),
    ("OpenRouterModel, Claude", "messages[3].configuration_update"),
    ("OpenAIResponsesModel", "input[3]"),
)
"""Agents that say a change of the effort in the conversation, and where."""
Got = dict[str, Any]


@pytest.fixture(scope="module")
def serving(provider: ScriptedProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    home = tmp_path_factory.mktemp("pydantic") / "home"
    with RunningGateway(home, configuration(provider, NAMED, markup="0.25")) as running:
        yield running


@pytest.fixture(scope="module")
def own_key(serving: RunningGateway) -> str:
    return serving.new_key(name="pydantic")


@pytest.fixture(scope="module")
def everything(serving: RunningGateway, own_key: str) -> dict[str, Got]:
    """What the driver printed, by agent; it ends badly if one of its calls does not work."""
    command = [str(python_sdk("pydantic-ai")), str(DRIVER), serving.origin, own_key]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    parsed: dict[str, Got] = json.loads(done.stdout)
    assert tuple(parsed) == AGENTS
    return parsed


@pytest.fixture(params=AGENTS)
def got(request: pytest.FixtureRequest, everything: dict[str, Got]) -> Got:
    found: Got = everything[request.param]
    return found


@pytest.mark.parametrize("step", ["agent_with_tool_and_report", "streamed_agent"])
def test_an_agent_calls_its_tool_and_reports_in_a_type(got: Got, step: str) -> None:
    found = got[step]
    assert found["called"] == [["Oslo", 3]]
    assert found["output"] == {"city": "Oslo", "days": 3, "places": [{"name": "a name", "height": 7}]}
    assert [answer["parts"] for answer in found["answers"]] == [["tool-call"], ["tool-call"]]


def test_the_usage_of_a_run_is_the_sum_of_its_answers(got: Got) -> None:
    found = got["agent_with_tool_and_report"]
    assert found["requests"] == len(found["answers"]) == 2
    assert found["usage"]["input"] == sum(answer["usage"]["input"] for answer in found["answers"])
    assert found["usage"]["output"] == sum(answer["usage"]["output"] for answer in found["answers"])


def test_a_model_that_is_told_to_try_again_goes_on(got: Got) -> None:
    found = got["tool_that_is_asked_again"]
    assert found["called"] == ["Oslo"]
    assert found["output"]
    assert [answer["finish"] for answer in found["answers"]][-1] == "stop"


def test_typed_output_without_a_tool(got: Got) -> None:
    assert got["native_output"]["output"] == {
        "city": "Oslo",
        "days": 4,
        "places": [{"name": "a name", "height": 7}],
    }


def test_a_stream_comes_in_pieces_with_every_kind_of_token(got: Got) -> None:
    found = got["streamed_text"]
    assert len(found["pieces"]) == 4
    assert found["usage"] == {"input": 90, "cached": 40, "written": 10, "output": 24, "reasoning": 0}


def test_thoughts_are_seen_and_handed_back(got: Got) -> None:
    found = got["thinking"]
    assert found["thoughts"] == ["Let me think about it."]
    assert [answer["usage"]["output"] for answer in found["answers"]] == [20, 6]
    assert found["answers"][0]["usage"]["reasoning"] == 8
    assert found["output"]


@pytest.mark.parametrize(("agent", "place"), TOLD_INSIDE)
def test_a_change_of_the_effort_within_a_conversation_is_heard(
    everything: dict[str, Got], agent: str, place: str, serving: RunningGateway, own_key: str
) -> None:
    id = everything[agent]["changed_effort"]["generations"][1]
    found = httpx2.get(f"{serving.base}/generation", params={"id": id}, headers=bearer(own_key)).json()["data"]
    assert {"parameter": place, "detail": "told as the effort of the whole request: high", "mapped": True} in found[
        "routebook"
    ]["losses"]


def test_a_picture_and_a_document_are_sent_on(got: Got) -> None:
    assert got["picture_and_document"]["output"]


def test_faults_have_their_status(got: Got) -> None:
    assert {name: got["faults"][name] for name in ("refused", "down")} == {"refused": 400, "down": 503}


@pytest.mark.parametrize("agent", AGENTS[:2])
def test_what_only_openrouters_model_can_be_told_is_understood(everything: dict[str, Got], agent: str) -> None:
    (answer,) = everything[agent]["openrouters_settings"]["answers"]
    assert answer["parts"] == ["thinking", "text"]
    assert answer["usage"]["reasoning"] == 3


def test_every_answer_counts_what_its_record_counts(got: Got, serving: RunningGateway, own_key: str) -> None:
    counts = {
        "input": "native_tokens_prompt",
        "cached": "native_tokens_cached",
        "output": "native_tokens_completion",
        "reasoning": "native_tokens_reasoning",
    }
    seen = 0
    with httpx2.Client(base_url=serving.base, headers=bearer(own_key)) as client:
        for name, found in got.items():
            if name == "faults":
                continue
            assert len(found["generations"]) == len(found["answers"]), name
            for id, answer in zip(found["generations"], found["answers"], strict=True):
                record = client.get("/generation", params={"id": id}).json()["data"]
                assert {kind: record[field] for kind, field in counts.items()} == {
                    kind: answer["usage"][kind] for kind in counts
                }, name
                assert record["model"] == answer["model"]
                seen += 1
    assert seen >= 13


@pytest.mark.parametrize("agent", AGENTS[:2])
def test_the_cost_that_the_agent_sees_is_the_records(
    everything: dict[str, Got], agent: str, serving: RunningGateway, own_key: str, provider: ScriptedProvider
) -> None:
    bill = {item.id: item.cost for item in provider.bill}
    with httpx2.Client(base_url=serving.base, headers=bearer(own_key)) as client:
        for found in everything[agent].values():
            for answer in found.get("answers", ()):
                record = client.get("/generation", params={"id": answer["id"]}).json()["data"]
                details = answer["details"]
                assert details["cost"] == record["total_cost"] == float(bill[record["upstream_id"]] * 5 / 4)
                assert details["upstream_inference_cost"] == record["upstream_inference_cost"]
                assert details["downstream_provider"] == record["provider_name"]
