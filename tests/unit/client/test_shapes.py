"""The client's types against the published schema and against answers that OpenRouter really gave."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from routebook.client import (
    ChatChoice,
    ChatChunk,
    ChatChunkChoice,
    ChatCompletion,
    ChatMessage,
    ChatUsage,
    CreditsData,
    CurrentKeyData,
    EndpointData,
    GetGenerationData,
    GetGenerationResponseBody,
    KeyData,
    ListModelsResponseBody,
    ModelArchitecture,
    ModelData,
    ModelEndpointsData,
    Pricing,
    PricingOverride,
    ProviderResponse,
    RoutebookError,
    TopProvider,
)
from routebook.client.stream import ChatReader
from tests.unit.client.test_records import SEED

SHARED = Path(__file__).resolve().parents[3].parent / "shared"
SCHEMA = SHARED / "spec" / "openrouter-openapi.yaml"
RECORDED = SHARED / "exchanges" / "openrouter.chat.jsonl"

needs_schema = pytest.mark.skipif(not SCHEMA.exists(), reason="the published schema is not beside the project")
needs_recorded = pytest.mark.skipif(not RECORDED.exists(), reason="recorded exchanges are not beside the project")


@cache
def schema() -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    parsed: dict[str, Any] = yaml.load(SCHEMA.read_text(), Loader=loader)
    return parsed


def component(name: str) -> dict[str, Any]:
    found: dict[str, Any] = schema()["components"]["schemas"][name]["properties"]
    return found


def data_of(path: str) -> dict[str, Any]:
    answers = schema()["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    data = answers["properties"]["data"]
    found: dict[str, Any] = data.get("items", data)["properties"]
    return found


@needs_schema
@pytest.mark.parametrize(
    ("kind", "where", "ours"),
    [
        (GetGenerationData, "GenerationResponse", {"routebook"}),
        (ProviderResponse, "ProviderResponse", set()),
        (ModelData, "Model", set()),
        (ModelArchitecture, "ModelArchitecture", set()),
        (TopProvider, "TopProviderInfo", set()),
        (ListModelsResponseBody, "ModelsListResponse", set()),
        (ModelEndpointsData, "ListEndpointsResponse", set()),
        (EndpointData, "PublicEndpoint", set()),
        (Pricing, "PublicPricing", set()),
        (PricingOverride, "PricingOverride", set()),
        (KeyData, "/keys", set()),
        (CurrentKeyData, "/key", set()),
        (CreditsData, "/credits", set()),
        (ChatUsage, "ChatUsage", set()),
        (ChatCompletion, "ChatResult", {"provider"}),
        (ChatChoice, "ChatChoice", {"native_finish_reason", "error"}),
        (ChatChunk, "ChatStreamChunk", {"provider", "debug"}),
        (ChatChunkChoice, "ChatStreamChoice", {"native_finish_reason", "error"}),
        (
            ChatMessage,
            "ChatStreamDelta",
            {"reasoning_content", "images", "annotations"},
        ),
    ],
)
def test_every_published_field_has_its_attribute(kind: Any, where: str, ours: set[str]) -> None:
    fields = data_of(where) if where.startswith("/") else component(where)
    if where == "GenerationResponse":
        fields = fields["data"]["properties"]
    assert set(kind.__struct_encode_fields__) == set(fields) | ours


@needs_schema
def test_the_record_that_the_client_writes_is_valid_by_the_published_schema() -> None:
    top = {
        "$ref": "#/components/schemas/GenerationResponse",
        "components": schema()["components"],
    }
    providers = [
        {**SEED["provider_responses"][0], "provider_name": "OpenAI"},
        {"status": None},
    ]
    body = GetGenerationResponseBody.from_json(json.dumps({"data": {**SEED, "provider_responses": providers}}))
    jsonschema_rs.validator_for(top).validate(json.loads(body.to_json()))


@needs_schema
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (ModelData, "Model"),
        (EndpointData, "PublicEndpoint"),
        (ModelEndpointsData, "ListEndpointsResponse"),
    ],
)
def test_every_value_of_a_published_example_is_written_as_it_was_read(kind: Any, name: str) -> None:
    example = schema()["components"]["schemas"][name]["example"]
    written = json.loads(kind.from_json(json.dumps(example)).to_json())
    assert {key: value for key, value in written.items() if key in example and key != "endpoints"} == {
        key: value for key, value in example.items() if key != "endpoints"
    }
    assert len(written.get("endpoints", [])) == len(example.get("endpoints", []))


def test_prices_are_exact_and_written_as_the_strings_that_they_came_as() -> None:
    pricing = Pricing.from_json(b'{"prompt":"0.00000015","completion":0.0000006,"image":"0","discount":0.1}')
    assert pricing.prompt is not None
    assert pricing.prompt * 1_000_000 == Decimal("0.15")
    assert pricing.completion == Decimal("0.0000006")
    assert json.loads(pricing.to_json()) == {
        "prompt": "0.00000015",
        "completion": "0.0000006",
        "image": "0",
        "discount": 0.1,
    }


def recorded(stream: bool) -> Iterator[dict[str, Any]]:
    for line in RECORDED.read_text().splitlines():
        row = json.loads(line)
        if row["stream"] is stream:
            yield row


@needs_recorded
def test_recorded_answers_read_with_the_text_tokens_and_cost_they_have() -> None:
    rows = list(recorded(stream=False))
    assert rows
    for row in rows:
        raw = json.loads(row["response"]["text"], parse_float=Decimal)
        completion = ChatCompletion.from_json(row["response"]["text"])
        assert completion.generation_id == raw["id"]
        assert completion.text == (raw["choices"][0]["message"].get("content") or "")
        assert completion.usage is not None
        assert completion.usage.prompt_tokens == raw["usage"]["prompt_tokens"]
        assert completion.usage.completion_tokens == raw["usage"]["completion_tokens"]
        assert completion.usage.cost == raw["usage"].get("cost")


@needs_recorded
@pytest.mark.parametrize("step", [1, 7, 1_000_000])
def test_recorded_streams_read_alike_however_they_are_cut(step: int) -> None:
    rows = list(recorded(stream=True))
    assert rows
    for row in rows:
        text = row["response"]["text"]
        raw = [json.loads(line[6:], parse_float=Decimal) for line in text.splitlines() if line.startswith("data: {")]
        reader = ChatReader(None, None)
        chunks: list[ChatChunk] = []
        error: RoutebookError | None = None
        data = text.encode()
        try:
            for start in range(0, len(data), step):
                chunks.extend(reader.feed(data[start : start + step]))
            chunks.extend(reader.end())
        except RoutebookError as fault:
            error = fault
        broken = next((index for index, chunk in enumerate(raw) if chunk.get("error")), None)
        assert (error is None) is (broken is None)
        assert [chunk.id for chunk in chunks] == [chunk["id"] for chunk in raw[:broken]]
        assert "".join(chunk.text for chunk in chunks) == "".join(
            choice["delta"].get("content") or "" for chunk in raw[:broken] for choice in chunk["choices"]
        )
        assert reader.generation_id == raw[0]["id"]
        assert reader.usage is not None
        assert reader.usage.cost == next(chunk["usage"] for chunk in reversed(raw) if chunk.get("usage")).get("cost")
