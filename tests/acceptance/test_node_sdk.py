"""OpenRouter's own SDK for JavaScript, unmodified: what its types made of our answers. Needs node and npm."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from routebook.testing.provider import ScriptedProvider
from tests.acceptance.foreign import LATE, run_node
from tests.acceptance.gateway import RunningGateway, bearer

pytestmark = pytest.mark.timeout(400)
"""The first run installs the SDK."""


@pytest.fixture(scope="module")
def got(gateway: RunningGateway, key: str) -> dict[str, Any]:
    """What the driver printed; it ends badly if one of its calls does not work."""
    parsed: dict[str, Any] = json.loads(run_node("drive.mjs", gateway.base, key))
    return parsed


def snake(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name)


@pytest.mark.parametrize("name", ["chat", "stream"])
def test_the_sdks_record_has_every_field_with_our_value(
    gateway: RunningGateway, key: str, got: dict[str, Any], name: str
) -> None:
    record = {snake(field): value for field, value in got[name]["record"].items()}
    found = httpx2.get(f"{gateway.base}/generation", params={"id": record["id"]}, headers=bearer(key))
    ours = found.json()["data"]
    responses = record.pop("provider_responses")
    assert {field: record[field] for field in record.keys() - LATE} == {f: ours[f] for f in record.keys() - LATE}
    assert all(type(record[field]) is int for field in LATE)
    assert [response["status"] for response in responses] == [200]
    assert set(ours) - set(record) == {"provider_responses", "routebook"}


def test_a_chat_and_a_stream_say_what_the_provider_billed(got: dict[str, Any], provider: ScriptedProvider) -> None:
    bill = {item.id: item for item in provider.bill}
    chat, stream = got["chat"], got["stream"]
    for record, usage in ((chat["record"], chat["answer"]["usage"]), (stream["record"], stream["usage"])):
        item = bill[record["upstreamId"]]
        assert record["totalCost"] == record["usage"] == float(item.cost * 5 / 4)
        assert record["upstreamInferenceCost"] == float(item.cost)
        assert record["nativeTokensPrompt"] == usage["promptTokens"] == item.prompt
        assert record["nativeTokensCompletion"] == usage["completionTokens"] == item.completion
    assert chat["record"]["nativeTokensCached"] == 40
    assert chat["record"]["nativeTokensReasoning"] == 5
    assert len(stream["text"].split()) == 4


def test_models_and_faults_are_the_sdks_own(got: dict[str, Any]) -> None:
    assert got["models"] >= 8
    assert got["refused"] == {"name": "NotFoundResponseError", "status": 404}
