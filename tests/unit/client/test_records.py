"""The generation record as a type: every field, exact money, tolerant of older and newer servers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from routebook.client import (
    GetGenerationData,
    GetGenerationResponseBody,
    ProviderResponse,
)

SEED: dict[str, Any] = {
    "id": "gen-3bhGkxlo4XFrqiabUM7NDtwDzWwG",
    "upstream_id": "chatcmpl-791bcf62-080e-4568-87d0-94c72e3b4946",
    "total_cost": 0.0015,
    "cache_discount": 0.0002,
    "upstream_inference_cost": 0.0012,
    "created_at": "2024-07-15T23:33:19.433273+00:00",
    "model": "sao10k/l3-stheno-8b",
    "app_id": 12345,
    "streamed": True,
    "cancelled": False,
    "provider_name": "Infermatic",
    "latency": 1250,
    "moderation_latency": 50,
    "generation_time": 1200,
    "finish_reason": "stop",
    "native_finish_reason": "stop",
    "tokens_prompt": 10,
    "tokens_completion": 25,
    "native_tokens_prompt": 10,
    "native_tokens_completion": 25,
    "native_tokens_completion_images": 0,
    "native_tokens_reasoning": 5,
    "native_tokens_cached": 3,
    "num_media_prompt": 1,
    "num_input_audio_prompt": 0,
    "num_media_completion": 0,
    "num_search_results": 5,
    "num_fetches": 0,
    "web_search_engine": "exa",
    "origin": "https://openrouter.ai/",
    "http_referer": None,
    "user_agent": "curl/8",
    "external_user": "user-123",
    "usage": 0.0015,
    "is_byok": False,
    "api_type": "completions",
    "router": "openrouter/auto",
    "preset_id": None,
    "service_tier": "priority",
    "data_region": "global",
    "request_id": "req-1727282430-aBcDeFgHiJkLmNoPqRsT",
    "session_id": None,
    "workspace_id": None,
    "response_cache_source_id": None,
    "provider_responses": [
        {
            "status": 429,
            "provider_name": "Acme",
            "latency": 120.5,
            "is_byok": False,
            "routed_service_tier": "flex",
        },
        {
            "status": None,
            "provider_name": "NobodyYet",
            "endpoint_id": "ep_1",
            "id": "x",
            "model_permaslug": "a/b",
        },
    ],
    "routebook": None,
}


def read(**fields: Any) -> GetGenerationData:
    return GetGenerationResponseBody.from_json(json.dumps({"data": fields})).data


def test_the_seed_example_round_trips_key_by_key() -> None:
    body = GetGenerationResponseBody.from_json(json.dumps({"data": SEED}))
    assert json.loads(body.to_json()) == {"data": SEED}
    assert GetGenerationResponseBody.from_json(body.to_json()) == body


def test_the_seed_example_reads_with_exact_money_and_plain_milliseconds() -> None:
    data = read(**SEED)
    assert (data.total_cost, data.usage) == (Decimal("0.0015"), Decimal("0.0015"))
    assert (data.cache_discount, data.upstream_inference_cost) == (
        Decimal("0.0002"),
        Decimal("0.0012"),
    )
    assert (data.latency, data.moderation_latency, data.generation_time) == (
        1250,
        50,
        1200,
    )
    assert data.provider_responses is not None
    assert data.provider_responses[0].latency == 120.5
    assert data.created_datetime == datetime(2024, 7, 15, 23, 33, 19, 433273, tzinfo=UTC)


def test_a_dict_of_it_keeps_money_as_decimal() -> None:
    data = read(**SEED).to_dict()
    assert data["total_cost"] == Decimal("0.0015")
    assert isinstance(data["total_cost"], Decimal)
    assert data["provider_responses"][1]["status"] is None


def test_money_keeps_more_digits_than_a_float_has() -> None:
    body = b'{"data":{"total_cost":0.12345678901234567890123,"usage":3,"cache_discount":-1.5e-9}}'
    data = GetGenerationResponseBody.from_json(body).data
    assert data.total_cost == Decimal("0.12345678901234567890123")
    assert data.usage == 3
    assert data.cache_discount == Decimal("-0.0000000015")
    assert b'"total_cost":0.12345678901234567890123,' in data.to_json()


def test_an_empty_record_of_an_older_server_is_none_everywhere() -> None:
    data = read()
    assert all(getattr(data, name) is None for name in data.__struct_fields__)
    assert data.created_datetime is None


def test_an_empty_try_of_an_older_server_is_none_everywhere_and_still_writes_its_status() -> None:
    tried = ProviderResponse.from_json(b"{}")
    assert all(getattr(tried, name) is None for name in tried.__struct_fields__)
    assert tried.to_json() == b'{"status":null}'


def test_keys_and_words_of_a_newer_server_are_tolerated() -> None:
    data = read(
        invented={"deep": [1]},
        api_type="telepathy",
        data_region="moon",
        finish_reason="bored",
        service_tier="x",
    )
    assert (data.api_type, data.data_region, data.finish_reason) == (
        "telepathy",
        "moon",
        "bored",
    )


def test_the_extension_keeps_its_money_exact() -> None:
    lines = '[{"amount":0.1},{"amount":0.2},{"amount":1e-24}]'
    body = f'{{"data":{{"routebook":{{"unpriced":false,"cost_lines":{lines}}}}}}}'
    extension = GetGenerationResponseBody.from_json(body).data.routebook
    assert extension is not None
    assert sum(line["amount"] for line in extension["cost_lines"]) == Decimal("0.300000000000000000000001")
    assert extension["unpriced"] is False


def test_a_body_without_data_is_refused_by_name() -> None:
    with pytest.raises(msgspec.ValidationError, match="data"):
        GetGenerationResponseBody.from_json(b'{"error":"x"}')


@pytest.mark.parametrize("text", ["yesterday", ""])
def test_a_timestamp_that_is_none_is_unknown(text: str) -> None:
    data = read(created_at=text)
    assert (data.created_at, data.created_datetime) == (text, None)


@pytest.mark.parametrize("text", ["2024-07-15T23:33:19Z", "2024-07-15T23:33:19", "2024-07-16T01:33:19+02:00"])
def test_timestamps_of_any_zone_name_the_same_instant(text: str) -> None:
    assert read(created_at=text).created_datetime == datetime(2024, 7, 15, 23, 33, 19, tzinfo=UTC)
