"""Recorded Converse answers and Claude's own on invoke, read three ways: every fact must equal the recorded JSON.

The oracle uses the stdlib alone. What was recorded as one event's JSON a line is framed as AWS frames it.
"""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from routebook.core.errors import UpstreamCredential, UpstreamGarbage, UpstreamRefused
from routebook.core.events import Delta
from routebook.core.usage import Usage
from routebook.dialects import registry
from routebook.wire import codec
from routebook.wire.aws_events import AwsDecoder, event
from tests.exchanges.harness import Exchange, Facts, check, differences, exchanges, read, read_three_ways, refused

STREAM = "application/vnd.amazon.eventstream"
CONVERSE = registry.upstreams({})["bedrock"]
INVOKE = registry.upstreams({})["bedrock_anthropic"]
REASONS = {"end_turn": "stop", "tool_use": "tool_calls", "max_tokens": "length"}


def converse() -> list[Exchange]:
    """The answers as the wire carries them."""
    rows = []
    for row in exchanges("amazon-bedrock.converse"):
        if row.chunks:
            events = [json.loads(line) for line in row.text.splitlines() if line.strip()]
            frames = [event(name, json.dumps(value).encode()) for found in events for name, value in found.items()]
            row = replace(row, body=b"".join(frames), content_type=STREAM)
        rows.append(row)
    return rows


ROWS = converse()
INVOKED = exchanges("amazon-bedrock.invoke")


def message_of(row: Exchange) -> dict[str, Any]:
    """The whole answer, put together from its events where it was streamed."""
    if row.content_type != STREAM:
        whole: dict[str, Any] = json.loads(row.text, parse_float=Decimal)
        return whole
    out: dict[str, Any] = {"usage": None}
    blocks: dict[int, dict[str, Any]] = {}
    for found in AwsDecoder().feed(row.body):
        value = json.loads(found.payload)
        if found.name == "contentBlockStart":
            blocks[value["contentBlockIndex"]] = {
                name: {**inner, "input": ""} for name, inner in value["start"].items()
            }
        elif found.name == "contentBlockDelta":
            block = blocks.setdefault(value["contentBlockIndex"], {})
            for name, piece in value["delta"].items():
                if name == "text":
                    block["text"] = block.get("text", "") + piece
                elif name == "toolUse":
                    block["toolUse"]["input"] += piece["input"]
                elif "text" in piece:
                    old = block.setdefault("reasoningContent", {"reasoningText": {"text": ""}})
                    old["reasoningText"]["text"] += piece["text"]
        elif found.name == "messageStop":
            out["stopReason"] = value["stopReason"]
        elif found.name == "metadata":
            out["usage"] = value["usage"]
    for block in blocks.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"] or "{}")
    return {**out, "output": {"message": {"content": [blocks[at] for at in sorted(blocks)]}}}


def expected_usage(usage: dict[str, Any]) -> Usage:
    """inputTokens excludes what was read from and written to the cache: totalTokens says so."""
    read, written = usage.get("cacheReadInputTokens"), usage.get("cacheWriteInputTokens")
    prompt = usage["totalTokens"] - usage["outputTokens"]
    assert prompt == usage["inputTokens"] + (read or 0) + (written or 0)
    return Usage(
        prompt=prompt,
        completion=usage["outputTokens"],
        cached=read,
        cache_write=written,
        cache_write_1h=0 if "cacheDetails" in usage else None,
        raw=codec.encode(usage),
    )


def expected(row: Exchange) -> Facts:
    message = message_of(row)
    content = message["output"]["message"]["content"]
    calls = [
        (b["toolUse"]["name"], b["toolUse"]["input"])
        for b in content
        if "toolUse" in b and b["toolUse"].get("type") != "server_tool_use"
    ]
    thoughts = [
        b["reasoningContent"].get("reasoningText", {}).get("text", "") for b in content if "reasoningContent" in b
    ]
    finish = REASONS[message["stopReason"]]
    return Facts(
        upstream_id=row.headers.get("x-amzn-requestid"),
        text="".join(b.get("text", "") for b in content),
        reasoning="".join(thoughts),
        tool_calls=[(name, plain(given)) for name, given in calls],
        finish="stop" if finish == "tool_calls" and not calls else finish,
        native=message["stopReason"],
        usage=None if message["usage"] is None else expected_usage(message["usage"]),
        service_tier=(message.get("serviceTier") or {}).get("type"),
    )


def plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=float))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.name}-{row.stream}")
def test_a_recorded_converse_answer_reads_three_ways_with_all_facts_equal(row: Exchange) -> None:
    if row.status == 200:
        check("amazon-bedrock.converse", row, differences(read_three_ways(CONVERSE, row), expected(row)))
        return
    fault = refused(CONVERSE, row)
    told = json.loads(row.text)["message"]
    operators = "model identifier is invalid" in told
    kind = UpstreamCredential if operators else UpstreamRefused
    wrong = [] if type(fault) is kind else [f"kind: {type(fault).__name__}, expected {kind.__name__}"]
    if not operators and fault.message != told:
        wrong.append(f"message: {fault.message!r}")
    assert fault.provider_status == row.status
    check("amazon-bedrock.converse", row, wrong)


@pytest.mark.parametrize("row", INVOKED, ids=lambda row: row.name)
def test_a_recorded_invoke_answer_is_claudes_message_or_none_of_ours(row: Exchange) -> None:
    got = read_three_ways(INVOKE, row)
    whole = json.loads(row.text)
    if whole.get("type") != "message":  # an embedding: it is no generation and must fail
        assert isinstance(got.failed, UpstreamGarbage)
        check("amazon-bedrock.invoke", row, [])
        return
    usage = whole["usage"]
    want = Facts(
        upstream_id=whole["id"],
        model=whole["model"],
        text="".join(b["text"] for b in whole["content"] if b["type"] == "text"),
        reasoning="".join(b["thinking"] for b in whole["content"] if b["type"] == "thinking"),
        tool_calls=[(b["name"], b["input"]) for b in whole["content"] if b["type"] == "tool_use"],
        finish={"end_turn": "stop", "max_tokens": "length", "tool_use": "tool_calls"}[whole["stop_reason"]],
        native=whole["stop_reason"],
        usage=Usage(
            prompt=usage["input_tokens"]
            + usage.get("cache_read_input_tokens", 0)
            + usage.get("cache_creation_input_tokens", 0),
            completion=usage["output_tokens"],
            reasoning=usage.get("output_tokens_details", {}).get("thinking_tokens"),
            cached=usage.get("cache_read_input_tokens"),
            cache_write=usage.get("cache_creation_input_tokens"),
            cache_write_1h=usage.get("cache_creation", {}).get("ephemeral_1h_input_tokens"),
            raw=codec.encode(usage),
        ),
        service_tier={"standard": "default"}.get(usage.get("service_tier"), usage.get("service_tier")),
    )
    check("amazon-bedrock.invoke", row, differences(got, want))


def test_redacted_thinking_is_named_as_claudes_own_api_names_it() -> None:
    """The recorded bytes are one more base64 of what Anthropic sends."""
    for row in ROWS:
        if row.status != 200 or row.content_type == STREAM or "redactedContent" not in row.text:
            continue
        blocks = [b.get("reasoningContent", {}) for b in message_of(row)["output"]["message"]["content"]]
        sealed = [b64decode(b["redactedContent"]).decode("ascii") for b in blocks if "redactedContent" in b]
        events = read(CONVERSE, row.head, [row.body])
        details = [d for e in events if isinstance(e, Delta) for d in e.reasoning_details or ()]
        assert [d["data"] for d in details if d["type"] == "reasoning.encrypted"] == sealed != []
