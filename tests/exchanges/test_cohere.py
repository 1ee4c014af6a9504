"""Cohere's recorded answers, read three ways, against an oracle that uses the stdlib alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routebook.core.errors import UpstreamGarbage
from routebook.core.usage import Usage
from routebook.dialects.cohere import UPSTREAM
from routebook.wire import codec
from tests.exchanges.harness import Exchange, Facts, check, differences, exchanges, read_three_ways

FILE = "cohere.chat"
REASONS = {"COMPLETE": "stop", "TOOL_CALL": "tool_calls", "MAX_TOKENS": "length"}


def message_of(row: Exchange) -> dict[str, Any]:
    """The whole answer, put together from its events where it was streamed."""
    if not row.chunks:
        whole: dict[str, Any] = row.objects()[0]
        return whole
    out: dict[str, Any] = {}
    parts: dict[int, dict[str, str]] = {}
    calls: dict[int, dict[str, Any]] = {}
    plan = ""
    for event in row.objects():
        message = event.get("delta", {}).get("message", {})
        match event["type"]:
            case "message-start":
                out["id"] = event["id"]
            case "content-start" | "content-delta":
                part = parts.setdefault(event["index"], {})
                for name, text in message["content"].items():
                    if name != "type":
                        part[name] = part.get(name, "") + text
            case "tool-plan-delta":
                plan += message["tool_plan"]
            case "tool-call-start":
                calls[event["index"]] = message["tool_calls"]
            case "tool-call-delta":
                calls[event["index"]]["function"]["arguments"] += message["tool_calls"]["function"]["arguments"]
            case "message-end":
                out |= event["delta"]
    return {**out, "message": {"content": list(parts.values()), "tool_plan": plan, "tool_calls": list(calls.values())}}


def expected(row: Exchange) -> Facts:
    whole = message_of(row)
    if "message" not in whole:  # an embedding, filed under chat: it is no generation and must fail
        return Facts(failed=UpstreamGarbage())
    message, usage = whole["message"], whole["usage"]
    content = message.get("content") or []
    calls = [call["function"] for call in message.get("tool_calls") or []]
    return Facts(
        upstream_id=whole["id"],
        text="".join(part.get("text", "") for part in content),
        reasoning=(message.get("tool_plan") or "") + "".join(part.get("thinking", "") for part in content),
        tool_calls=[(call["name"], json.loads(call["arguments"] or "{}") or {}) for call in calls],
        finish=REASONS[whole["finish_reason"]],
        native=whole["finish_reason"],
        usage=Usage(
            prompt=usage["billed_units"]["input_tokens"],
            completion=usage["billed_units"]["output_tokens"],
            raw=codec.encode(usage),
        ),
        annotations=0,
    )


@pytest.mark.parametrize("row", exchanges(FILE), ids=lambda row: row.name)
def test_a_recorded_answer_reads_three_ways_with_all_facts_equal(row: Exchange) -> None:
    check(FILE, row, differences(read_three_ways(UPSTREAM, row), expected(row)))
