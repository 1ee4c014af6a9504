"""Every recorded answer of the responses API, read three ways, against an oracle that uses the stdlib alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from routebook.core.errors import UpstreamFault, UpstreamLimited
from routebook.core.usage import Usage
from routebook.dialects.openai_responses import UPSTREAM
from routebook.wire import codec
from tests.exchanges.harness import (
    FOLDER,
    Exchange,
    Facts,
    check,
    differences,
    exchanges,
    parsed,
    read_three_ways,
    refused,
)

FILES = (
    "openai.responses",
    "xai.responses",
    "deepseek.responses",
    "open-responses.responses",
    "openrouter.responses",
    "amazon-bedrock-openai.responses",
)
ELSEWHERE = "azure.chat"
"""Azure's answers of this API are filed under chat"""
ENDS = ("response.completed", "response.incomplete", "response.failed")


def rows_of(file: str) -> list[Exchange]:
    rows = exchanges(file)
    return rows if file != ELSEWHERE else [row for row in rows if '"object":"response"' in row.text.replace(" ", "")]


NAMES = {
    file: [row.name for row in rows_of(file)] if (FOLDER / f"{file}.jsonl").exists() else ["(absent)"]
    for file in (*FILES, ELSEWHERE)
}


def expected_usage(response: dict[str, Any]) -> Usage | None:
    """Counts by the rules of the generation record, section 9.1, in the plainest words possible."""
    usage = response.get("usage")
    if not usage:
        return None
    given, made = usage["input_tokens_details"], usage["output_tokens_details"]
    searches = (usage.get("server_side_tool_usage_details") or {}).get("web_search_calls")
    if searches is None:
        searches = ((response.get("tool_usage") or {}).get("web_search") or {}).get("num_requests")
    if searches is None:
        calls = [item for item in response["output"] if item["type"] == "web_search_call"]
        searches = sum((call.get("action") or {}).get("type", "search") == "search" for call in calls) or None
    return Usage(
        prompt=usage["input_tokens"],
        completion=usage["output_tokens"],
        reasoning=made["reasoning_tokens"],
        cached=given["cached_tokens"],
        cache_write=given.get("cache_write_tokens"),
        web_searches=searches,
        raw=codec.encode(usage),
    )


def last_response(exchange: Exchange) -> dict[str, Any]:
    """The whole answer: the body, or what the last event of a stream says it was; its pieces, where that is bare."""
    values = exchange.objects()
    if exchange.content_type == "application/json":
        whole: dict[str, Any] = values[0]
        return whole
    # Where a recording strings several answers together, the first is the answer.
    end = next(place for place, value in enumerate(values) if value["type"] in ENDS)
    values = values[: end + 1]
    response = dict(values[-1]["response"], id=values[0]["response"]["id"])
    if not response["output"]:
        done = {v["output_index"]: v["item"] for v in values if v["type"] == "response.output_item.done"}
        response["output"] = [done[place] for place in sorted(done)]
    return response


def thoughts(item: dict[str, Any]) -> Iterator[str]:
    summary = [part["text"] for part in item.get("summary") or ()]
    yield "\n\n".join(summary)
    yield from (part["text"] for part in item.get("content") or ())


def expected(exchange: Exchange) -> Facts:
    response = last_response(exchange)
    messages = [item for item in response["output"] if item["type"] == "message"]
    parts = [part for item in messages for part in item["content"]]
    calls = [item for item in response["output"] if item["type"] in ("function_call", "custom_tool_call")]
    images = [item for item in response["output"] if item["type"] == "image_generation_call" and item.get("result")]
    reasoning = [item for item in response["output"] if item["type"] == "reasoning"]
    tier = response.get("service_tier")
    return Facts(
        upstream_id=response["id"],
        model=response["model"],
        text="".join(part.get("text", "") for part in parts),
        reasoning="".join(text for item in reasoning for text in thoughts(item)),
        refusal="".join(part.get("refusal", "") for part in parts),
        tool_calls=[(call["name"], parsed(call.get("arguments", call.get("input")))) for call in calls],
        finish="tool_calls" if calls else "stop",
        native=response["status"],
        usage=expected_usage(response),
        images=len(images),
        annotations=sum(len(part.get("annotations") or ()) for part in parts),
        service_tier=None if tier == "auto" else tier,
    )


def well_formed(exchange: Exchange) -> bool:
    try:
        last_response(exchange)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(("file", "name"), [(file, name) for file, names in NAMES.items() for name in names])
def test_a_recorded_answer_gives_the_facts_its_json_holds(file: str, name: str) -> None:
    exchange = next(row for row in rows_of(file) if row.name == name)
    label = file if file != ELSEWHERE else "azure.responses"
    if exchange.status != 200 and exchange.content_type != "text/event-stream":
        fault = refused(UPSTREAM, exchange)
        assert isinstance(fault, UpstreamFault)
        assert fault.provider_status == exchange.status
        said = json.loads(exchange.text)["error"]["message"]
        check(
            label,
            exchange,
            [] if fault.message and (fault.message[:40] in said or fault.status == 502) else [fault.message],
        )
        return
    facts = read_three_ways(UPSTREAM, replace(exchange, status=200))
    if exchange.status != 200:  # an error in the middle of a stream
        check(label, exchange, [] if isinstance(facts.failed, UpstreamLimited) else [f"failed: {facts.failed!r}"])
        return
    if not well_formed(exchange):
        check(label, exchange, ["not JSON"] if facts.failed is not None else [])
        return
    check(label, exchange, differences(facts, expected(exchange)))
