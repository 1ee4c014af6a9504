"""Anthropic's recorded answers, read three ways: every fact must equal what the recorded JSON says.

The oracle below reads the recordings with the stdlib alone. Where a recording strings several answers together, the
first is the answer: what follows an end mark is not part of it.
"""

from __future__ import annotations

from typing import Any

import pytest

from routebook.core.errors import UpstreamFault
from routebook.core.usage import Usage
from routebook.dialects.anthropic import UPSTREAM
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

FILE = "anthropic.messages"
ROWS = exchanges(FILE) if (FOLDER / f"{FILE}.jsonl").exists() else []

FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def message_of(exchange: Exchange) -> dict[str, Any]:
    """The whole message, put together from its events where it was streamed."""
    if exchange.content_type == "application/json":
        whole: dict[str, Any] = exchange.objects()[0]
        return whole
    message: dict[str, Any] = {}
    blocks: dict[int, dict[str, Any]] = {}
    json_text: dict[int, str] = {}
    for event in exchange.objects():
        kind = event["type"]
        if kind == "message_stop":
            break
        if kind == "message_start":
            message = dict(event["message"])
        elif kind == "content_block_start":
            blocks[event["index"]] = dict(event["content_block"])
        elif kind == "content_block_delta":
            block, delta = blocks[event["index"]], event["delta"]
            if delta["type"] == "input_json_delta":
                json_text[event["index"]] = json_text.get(event["index"], "") + delta["partial_json"]
            elif delta["type"] == "citations_delta":
                block["citations"] = [*(block.get("citations") or []), delta["citation"]]
            else:
                (key,) = delta.keys() - {"type"}
                block[key] = block.get(key, "") + delta[key]
        elif kind == "message_delta":
            message.update(event["delta"])
            message["usage"] = {**message["usage"], **event["usage"]}
    for index, text in json_text.items():
        if text:
            blocks[index]["input"] = parsed(text)
    message["content"] = [blocks[index] for index in sorted(blocks)]
    return message


def expected(exchange: Exchange) -> Facts:
    message = message_of(exchange)
    content, usage = message["content"], message["usage"]
    model = message["model"]
    for block in content:
        if block["type"] == "fallback":
            model = block["to"]["model"]
    calls = [(b["name"], b["input"]) for b in content if b["type"] == "tool_use"]
    native = message["stop_reason"]
    finish = FINISH[native]
    tier = usage.get("service_tier")
    return Facts(
        upstream_id=message["id"],
        model=model,
        text="".join(b["text"] for b in content if b["type"] == "text"),
        reasoning="".join(b["thinking"] for b in content if b["type"] == "thinking"),
        tool_calls=calls,
        finish="tool_calls" if finish == "stop" and calls else finish,
        native=native,
        usage=expected_usage(usage),
        annotations=sum("url" in c for b in content if b["type"] == "text" for c in b.get("citations") or []),
        service_tier="default" if tier == "standard" else tier,
    )


def expected_usage(usage: dict[str, Any]) -> Usage:
    """input_tokens excludes what was read from and written to the cache."""
    read, written = usage.get("cache_read_input_tokens"), usage.get("cache_creation_input_tokens")
    kinds = usage.get("cache_creation")
    tools = usage.get("server_tool_use") or {}
    hour = kinds["ephemeral_1h_input_tokens"] if kinds else None
    return Usage(
        prompt=usage["input_tokens"] + (read or 0) + (written or 0),
        completion=usage["output_tokens"],
        reasoning=(usage.get("output_tokens_details") or {}).get("thinking_tokens"),
        cached=read,
        cache_write=None if written is None else written - (hour or 0),
        cache_write_1h=hour,
        web_searches=tools.get("web_search_requests"),
        web_fetches=tools.get("web_fetch_requests"),
        raw=codec.encode(usage),
    )


@pytest.mark.skipif(
    not ROWS, reason=f"recorded exchanges are absent: {FILE}.jsonl is looked for in ../shared/exchanges"
)
def test_the_recordings_are_all_there() -> None:
    assert len(ROWS) == 179


@pytest.mark.parametrize("exchange", ROWS, ids=lambda exchange: exchange.name)
def test_a_recorded_answer_reads_three_ways_with_all_facts_equal(exchange: Exchange) -> None:
    if exchange.status != 200:
        fault = refused(UPSTREAM, exchange)
        assert isinstance(fault, UpstreamFault)
        assert fault.message
        check(FILE, exchange, [])
        return
    check(FILE, exchange, differences(read_three_ways(UPSTREAM, exchange), expected(exchange)))
