"""Cohere's chat API: requests say everything or tell what they cannot, answers are read in any split."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routebook.core.errors import (
    BadRequest,
    UpstreamCredential,
    UpstreamFault,
    UpstreamGarbage,
    UpstreamLimited,
    UpstreamLost,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimeout,
)
from routebook.core.events import Counted, Delta, Finish, Start, ToolDelta
from routebook.core.usage import Usage
from routebook.dialects.cohere import UPSTREAM
from routebook.wire import codec
from routebook.wire.http import HttpHead
from tests.dialects import reading
from tests.dialects.calling import Caller, image, text, tool, tool_call, user
from tests.dialects.reading import of

COHERE = Caller(UPSTREAM, "command-a", "https://api.example", "co-secret")
SSE = HttpHead(200, {"content-type": "text/event-stream"})
JSON = HttpHead(200, {"content-type": "application/json"})
USAGE = {"billed_units": {"input_tokens": 7, "output_tokens": 3}, "tokens": {"input_tokens": 500, "output_tokens": 5}}
COUNTED = Counted(Usage(prompt=7, completion=3, raw=codec.encode(USAGE)))

body, lost, sent = COHERE.body, COHERE.lost, COHERE.sent


# --- requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", ["https://api.example", "https://api.example/", "https://api.example/v2"])
def test_the_path_and_the_credentials_header(base: str) -> None:
    request = COHERE.request({"stream": True}, base=base)
    assert request.url == "https://api.example/v2/chat"
    assert dict(request.headers)["authorization"] == "Bearer co-secret"
    assert dict(request.headers)["accept"] == "text/event-stream"
    assert "authorization" not in dict(COHERE.request(secret=None).headers)


def test_parameters_have_coheres_names() -> None:
    given = {
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 20,
        "seed": 1,
        "stop": ["END"],
        "frequency_penalty": 0.5,
    }
    got = body({**given, "presence_penalty": 0, "safety_mode": "OFF", "documents": ["d"], "nothing": None})
    assert got == {
        "model": "command-a",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": False,
        "max_tokens": 9,
        "temperature": 0.5,
        "p": 0.9,
        "k": 20,
        "seed": 1,
        "stop_sequences": ["END"],
        "frequency_penalty": 0.5,
        "presence_penalty": 0,
        "safety_mode": "OFF",
        "documents": ["d"],
    }


def test_values_beyond_coheres_ranges_are_sent_as_the_nearest_and_told() -> None:
    got, missing = sent({"temperature": 1.5, "frequency_penalty": -1, "stop": list("abcdef")})
    assert (got["temperature"], got["frequency_penalty"], got["stop_sequences"]) == (1, 0, list("abcde"))
    assert missing == ["temperature", "frequency_penalty", "stop"]


def test_a_conversation_keeps_roles_calls_results_and_pictures() -> None:
    got = body(
        {
            "messages": [
                {"role": "developer", "content": "Be brief."},
                *user(text("Look"), image("https://a.example/x.png", detail="low")),
                {"role": "assistant", "reasoning": "I look.", "tool_calls": [tool_call("t1", "f", "")]},
                {"role": "tool", "tool_call_id": "t1", "content": [text("ok")]},
                {"role": "assistant", "content": "So.", "reasoning": "Hm."},
                {"role": "user", "content": "And?", "name": "Ann"},
            ]
        }
    )
    assert got["messages"] == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look"},
                {"type": "image_url", "image_url": {"url": "https://a.example/x.png", "detail": "low"}},
            ],
        },
        {
            "role": "assistant",
            "tool_plan": "I look.",
            "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "t1", "content": [{"type": "text", "text": "ok"}]},
        {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "So."}],
        },
        {"role": "user", "content": "Ann: And?"},
    ]


@pytest.mark.parametrize(
    ("choice", "said", "missing"),
    [
        ("auto", None, []),
        ("required", "REQUIRED", []),
        ("none", "NONE", []),
        ({"type": "function", "function": {"name": "f"}}, "REQUIRED", ["tool_choice"]),
        ({"type": "function", "function": {"name": "unheard"}}, None, ["tool_choice"]),
    ],
)
def test_tools_and_their_choice(choice: Any, said: str | None, missing: list[str]) -> None:
    got, told = sent({"tools": [tool(strict=True), tool("g")], "tool_choice": choice})
    assert got.get("tool_choice") == said
    assert got["strict_tools"] is True
    assert [one["function"]["name"] for one in got["tools"]] == (["f"] if missing and said else ["f", "g"])
    assert told == missing


def test_formats_and_thinking() -> None:
    schema = {"type": "object"}
    wish = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    assert body({"response_format": wish})["response_format"] == {"type": "json_object", "json_schema": schema}
    assert body({"response_format": {"type": "json_object"}})["response_format"] == {"type": "json_object"}
    assert body({"reasoning": {"max_tokens": 50}})["thinking"] == {"type": "enabled", "token_budget": 50}
    assert body({"reasoning": {"effort": "low"}, "max_tokens": 100})["thinking"]["token_budget"] == 20
    assert body({"reasoning": {"effort": "none"}})["thinking"] == {"type": "disabled"}
    assert lost({"reasoning": {"effort": "low"}}) == ["reasoning.effort"]
    with pytest.raises(BadRequest):
        body({"response_format": {"type": "json_schema"}})


def test_what_cohere_cannot_say_is_told() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    given = {
        "messages": user(text("x", **mark), {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}),
        "tools": [{"type": "openrouter:datetime"}],
        "n": 2,
        "logit_bias": {"1": 1},
        "verbosity": "low",
        "service_tier": "flex",
        "riddle": 1,
    }
    assert lost(given) == [
        "messages[0].content[0].cache_control",
        "messages[0].content[1]",
        "tools[0]",
        "n",
        "logit_bias",
        "verbosity",
        "service_tier",
        "riddle",
    ]


@pytest.mark.parametrize(
    "message",
    [
        {"role": "tool", "content": "x"},
        {"role": "oracle", "content": "x"},
        {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]},
    ],
)
def test_messages_that_cannot_be_sent_are_the_callers_to_correct(message: Any) -> None:
    with pytest.raises(BadRequest):
        COHERE.request({"messages": [message]})


# --- answers ----------------------------------------------------------------------------------------------------------


def sse(*events: dict[str, Any]) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (e["type"].encode(), json.dumps(e).encode()) for e in events)


def delta(kind: str, index: int | None = None, **message: Any) -> dict[str, Any]:
    return {"type": kind, **({} if index is None else {"index": index}), "delta": {"message": message}}


START = {"type": "message-start", "id": "c-1", "delta": {"message": {"role": "assistant"}}}
END = {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": USAGE}}
STREAM = sse(
    START,
    delta("content-start", 0, content={"type": "text", "text": ""}),
    delta("content-delta", 0, content={"text": "Good "}),
    delta("content-delta", 0, content={"text": "day"}),
    {"type": "content-end", "index": 0},
    END,
)


def stream(*events: dict[str, Any]) -> list[Any]:
    return reading.read(UPSTREAM, SSE, sse(START, *events), b"\n\ndata: {half\n\n\xff")


def whole(reason: str = "COMPLETE", **message: Any) -> list[Any]:
    value = {"id": "c-1", "message": {"role": "assistant", **message}, "finish_reason": reason, "usage": USAGE}
    return reading.read(UPSTREAM, JSON, json.dumps(value, indent=1).encode(), b"\n } tail {")


def test_a_stream_gives_start_deltas_finish_and_usage_in_order() -> None:
    events = reading.read(UPSTREAM, SSE, STREAM)
    assert events == [Start("c-1"), Delta(text="Good "), Delta(text="day"), Finish("stop", "COMPLETE"), COUNTED]


def test_a_whole_answer_gives_the_same_with_one_delta() -> None:
    said = Delta(role="assistant", text="Good day")
    assert whole(content=[text("Good "), text("day")]) == [Start("c-1"), said, Finish("stop", "COMPLETE"), COUNTED]
    assert whole(content="Good day") == whole(content=[text("Good day")])


def test_calls_plans_and_thoughts() -> None:
    events = stream(
        delta("tool-plan-delta", tool_plan="I look."),
        delta("content-start", 0, content={"type": "thinking", "thinking": "Hm."}),
        delta("tool-call-start", 0, tool_calls={"id": "a", "function": {"name": "f", "arguments": ""}}),
        delta("tool-call-delta", 0, tool_calls={"function": {"arguments": '{"x":'}}),
        delta("tool-call-delta", 0, tool_calls={"function": {"arguments": "1}"}}),
        {"type": "tool-call-end", "index": 0},
        delta("tool-call-start", 1, tool_calls={"id": "b", "function": {"name": "g", "arguments": ""}}),
        {"type": "tool-call-end", "index": 1},
        {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL", "usage": USAGE}},
    )
    assert "".join(event.reasoning or "" for event in of(events, Delta)) == "I look.Hm."
    assert [call for event in of(events, Delta) for call in event.tool_calls or ()] == [
        ToolDelta(0, "a", "f"),
        ToolDelta(0, arguments='{"x":'),
        ToolDelta(0, arguments="1}"),
        ToolDelta(1, "b", "g"),
        ToolDelta(1, arguments="{}"),
    ]
    calls = [tool_call("a", "f", '{"x":1}'), tool_call("b", "g", "null")]
    at_once = whole("TOOL_CALL", tool_plan="I look.", tool_calls=calls)
    assert of(at_once, Delta) == [
        Delta(
            role="assistant",
            reasoning="I look.",
            tool_calls=[ToolDelta(0, "a", "f", '{"x":1}'), ToolDelta(1, "b", "g", "{}")],
        )
    ]
    assert of(events, Finish) == of(at_once, Finish) == [Finish("tool_calls", "TOOL_CALL")]


def test_citations_of_documents_with_a_url_are_annotations() -> None:
    cited = {
        "start": 0,
        "end": 4,
        "text": "Good",
        "sources": [
            {"type": "document", "document": {"url": "https://a.example", "title": "T", "snippet": "s"}},
            {"type": "tool", "id": "x"},
        ],
    }
    note = {"url": "https://a.example", "title": "T", "content": "s", "start_index": 0, "end_index": 4}
    want = Delta(annotations=[{"type": "url_citation", "url_citation": note}], extra={"citations": [cited]})
    assert of(stream(delta("citation-start", 0, citations=cited), END), Delta) == [want]
    got = of(whole(content="Good", citations=[cited]), Delta)[0]
    assert (got.annotations, got.extra) == (want.annotations, want.extra)


@pytest.mark.parametrize(
    ("native", "reason"), [("STOP_SEQUENCE", "stop"), ("MAX_TOKENS", "length"), ("ERROR_TOXIC", "content_filter")]
)
def test_finish_reasons_are_the_apis_with_the_providers_word_beside(native: str, reason: str) -> None:
    assert of(whole(native, content="a"), Finish) == [Finish(reason, native)]


@pytest.mark.parametrize(("native", "kind"), [("ERROR", UpstreamOverloaded), ("TIMEOUT", UpstreamTimeout)])
def test_a_generation_that_failed_is_a_failure_with_its_counts(native: str, kind: type[UpstreamFault]) -> None:
    events = stream({"type": "message-end", "delta": {"finish_reason": native, "usage": USAGE, "error": "It broke."}})
    assert events == [Start("c-1"), COUNTED, (kind, "It broke.")]


def test_counts_fall_back_to_what_the_model_saw() -> None:
    value = {"message": {"content": "a"}, "finish_reason": "COMPLETE", "usage": {"tokens": USAGE["tokens"]}}
    found = reading.usage(reading.read(UPSTREAM, JSON, json.dumps(value).encode()))
    assert (found.prompt, found.completion) == (500, 5)


def test_what_is_cut_or_damaged_fails_once() -> None:
    reading.ends_cut(UPSTREAM, SSE, STREAM)
    reading.survives_damage(UPSTREAM, SSE, STREAM)
    at_once = json.dumps({"message": {"content": "a"}, "finish_reason": "COMPLETE"}).encode()
    for at in range(len(at_once)):
        assert [event[0] for event in reading.fed(UPSTREAM, JSON, [at_once[:at]])] == [UpstreamLost]
    reading.survives_damage(UPSTREAM, JSON, at_once)


@pytest.mark.parametrize("data", [b"[]", b"{}", b'{"type":7}', b"{half", b'"x"'])
def test_nonsense_in_a_stream_fails_once(data: bytes) -> None:
    events = reading.read(UPSTREAM, SSE, b"data: " + data + b"\n\n")
    assert isinstance(events[-1], tuple)


def test_bytes_of_another_dialect_are_garbage_and_errors_are_errors() -> None:
    for given in (b'{"embeddings":[1]}', b"<html>", b"[1]"):
        assert reading.read(UPSTREAM, JSON, given)[0][0] is UpstreamGarbage
    assert reading.read(UPSTREAM, JSON, b'{"message":"invalid request: x"}')[0][1] == "invalid request: x"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, UpstreamRefused),
        (401, UpstreamCredential),
        (403, UpstreamCredential),
        (404, UpstreamCredential),
        (422, UpstreamRefused),
        (429, UpstreamLimited),
        (498, UpstreamRefused),
        (500, UpstreamOverloaded),
        (503, UpstreamOverloaded),
        (504, UpstreamTimeout),
    ],
)
def test_a_refusal_is_the_fault_its_status_says(status: int, kind: type[UpstreamFault]) -> None:
    fault = UPSTREAM.fault(HttpHead(status, {}), b'{"message":"No.","id":"x"}')
    assert type(fault) is kind
    assert fault.provider_status == status
    assert (fault.error_type == "content_policy_violation") == (status == 498)
