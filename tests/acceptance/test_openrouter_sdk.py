"""OpenRouter's own Python SDK, unmodified, in an environment of its own: what its types made of our answers."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx2
import pytest

from routebook.testing.provider import Billed, ScriptedProvider
from tests.acceptance.foreign import LATE, python_sdk
from tests.acceptance.gateway import ADMIN_KEY, RunningGateway, bearer

DRIVER = Path(__file__).with_name("drive_openrouter.py")

pytestmark = pytest.mark.timeout(400)
"""The first run installs the SDK."""


@pytest.fixture(scope="module")
def got(gateway: RunningGateway, key: str) -> dict[str, Any]:
    """What the driver printed; it ends badly if one of its calls does not work."""
    command = [str(python_sdk()), str(DRIVER), gateway.base, key, ADMIN_KEY]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    parsed: dict[str, Any] = json.loads(done.stdout)
    return parsed


@pytest.fixture
def bill(provider: ScriptedProvider) -> dict[str, Billed]:
    return {item.id: item for item in provider.bill}


def cost(item: Billed) -> float:
    """With the 25 % that this gateway adds."""
    return float(item.cost * 5 / 4)


def raw(gateway: RunningGateway, key: str, id: str) -> dict[str, Any]:
    data: dict[str, Any] = httpx2.get(f"{gateway.base}/generation", params={"id": id}, headers=bearer(key)).json()[
        "data"
    ]
    return data


@pytest.mark.parametrize("name", ["chat", "stream", "failed_over"])
def test_the_sdks_record_has_every_field_with_our_value(
    gateway: RunningGateway, key: str, got: dict[str, Any], name: str
) -> None:
    record = got[name]["record"]
    ours = raw(gateway, key, record["id"])
    assert {field: record[field] for field in record.keys() - LATE} == {f: ours[f] for f in record.keys() - LATE}
    assert all(type(record[field]) is int for field in LATE)
    assert set(ours) - set(record) == {"routebook"}


def test_a_chat_and_its_record_say_what_the_provider_billed(got: dict[str, Any], bill: dict[str, Billed]) -> None:
    answer, record = got["chat"]["answer"], got["chat"]["record"]
    item = bill[record["upstream_id"]]
    assert (item.prompt, item.cached, item.written, item.completion, item.reasoning) == (90, 40, 10, 20, 5)
    assert record["total_cost"] == record["usage"] == answer["usage"]["cost"] == cost(item)
    assert record["upstream_inference_cost"] == float(item.cost)
    assert (record["native_tokens_prompt"], record["native_tokens_completion"]) == (90, 20)
    assert (record["native_tokens_cached"], record["native_tokens_reasoning"]) == (40, 5)
    assert (record["api_type"], record["streamed"], record["cancelled"]) == ("completions", False, False)
    assert (record["external_user"], record["session_id"]) == ("u-1", "s-1")
    assert (record["http_referer"], record["origin"]) == ("https://app.example/chat", "https://app.example/")
    assert record["app_id"] is not None
    assert record["id"] == answer["id"]
    assert answer["choices"][0]["message"]["content"]
    assert answer["choices"][0]["message"]["reasoning_details"][0]["type"] == "reasoning.text"


def test_a_stream_and_its_record_say_what_the_provider_billed(got: dict[str, Any], bill: dict[str, Billed]) -> None:
    stream, record = got["stream"], got["stream"]["record"]
    assert len(stream["text"].split()) == 4
    assert (stream["usage"]["prompt_tokens"], stream["usage"]["completion_tokens"]) == (11, 9)
    assert record["streamed"] is True
    assert record["total_cost"] == stream["usage"]["cost"] == cost(bill[record["upstream_id"]])


def test_a_tool_call_makes_its_round_trip(got: dict[str, Any]) -> None:
    assert got["tools"]["finish"] == "tool_calls"
    assert got["tools"]["name"] == "weather"
    assert json.loads(got["tools"]["arguments"]) == {"city": "a city"}
    assert got["tools"]["answer"]


def test_the_provider_that_failed_is_on_the_record(got: dict[str, Any]) -> None:
    first, second = got["failed_over"]["record"]["provider_responses"]
    assert (first["status"], first["provider_name"]) == (503, "Infermatic")
    assert (second["status"], second["provider_name"]) == (200, "Novita")


def test_the_catalogue_is_read(got: dict[str, Any]) -> None:
    catalogue = got["catalogue"]
    assert "scripted/cached" in catalogue["models"]
    assert catalogue["model"] == catalogue["endpoint"]["pricing"]["prompt"] == "0.0000025"
    assert catalogue["endpoint"]["provider_name"] == "Infermatic"
    assert catalogue["providers"] == ["Infermatic", "Novita", "DeepInfra"]


def test_keys_and_credits_are_read_and_changed(got: dict[str, Any]) -> None:
    accounts = got["accounts"]
    assert accounts["credits"]["total_usage"] >= got["me"]["usage"] > 0
    assert accounts["text"].startswith("sk-rb-v1-")
    assert (accounts["made"]["limit"], accounts["made"]["limit_reset"]) == (1.5, "daily")
    assert accounts["hash"] in accounts["listed"]
    assert (accounts["changed"], accounts["shown"], accounts["deleted"]) == (True, "from the SDK", True)


@pytest.mark.parametrize(
    ("name", "kind", "status"),
    [
        ("unknown model", "BadRequestResponseError", 400),
        ("nobody", "UnauthorizedResponseError", 401),
        ("limited", "TooManyRequestsResponseError", 429),
        ("down", "ServiceUnavailableResponseError", 503),
        ("no record", "NotFoundResponseError", 404),
    ],
)
def test_each_fault_is_the_sdks_own_error(got: dict[str, Any], name: str, kind: str, status: int) -> None:
    assert got["faults"][name][:2] == [kind, status]
    assert json.loads(got["faults"][name][2])["error"]["code"] == status
