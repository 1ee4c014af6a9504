"""Ollama's own chat API: requests say everything or tell what they cannot, lines are read in any split."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routebook.core.errors import (
    BadRequest,
    UpstreamCredential,
    UpstreamFault,
    UpstreamGarbage,
    UpstreamLost,
    UpstreamOverloaded,
    UpstreamRefused,
)
from routebook.core.events import Counted, Delta, Finish, Start, ToolDelta
from routebook.core.usage import Usage
from routebook.dialects.ollama import UPSTREAM
from routebook.wire import codec
from routebook.wire.http import HttpHead
from tests.dialects import reading
from tests.dialects.calling import Caller, image, text, tool, tool_call, user
from tests.dialects.reading import of

OLLAMA = Caller(UPSTREAM, "qwen3", "http://box:11434", None)
LINES = HttpHead(200, {"content-type": "application/x-ndjson"})
JSON = HttpHead(200, {"content-type": "application/json; charset=utf-8"})
COUNTS = {"prompt_eval_count": 7, "eval_count": 3}
COUNTED = Counted(Usage(prompt=7, completion=3, raw=codec.encode(COUNTS)))

body, lost, sent = OLLAMA.body, OLLAMA.lost, OLLAMA.sent


# --- requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", ["http://box:11434", "http://box:11434/api/", "http://box:11434/v1"])
def test_the_path_and_the_credentials_header(base: str) -> None:
    request = OLLAMA.request({"stream": True}, base=base, secret="key")
    assert request.url == "http://box:11434/api/chat"
    assert dict(request.headers)["authorization"] == "Bearer key"
    assert json.loads(request.body)["stream"] is True
    assert "authorization" not in dict(OLLAMA.request().headers)


def test_parameters_are_options_and_the_callers_own_options_win() -> None:
    got = body(
        {
            "max_tokens": 9,
            "temperature": 0.5,
            "repetition_penalty": 1.1,
            "seed": 1,
            "stop": "END",
            "keep_alive": "5m",
            "options": {"num_ctx": 8192, "seed": 2},
        }
    )
    assert got == {
        "model": "qwen3",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": False,
        "options": {
            "temperature": 0.5,
            "seed": 2,
            "stop": ["END"],
            "num_predict": 9,
            "repeat_penalty": 1.1,
            "num_ctx": 8192,
        },
        "keep_alive": "5m",
    }


def test_a_conversation_keeps_roles_pictures_calls_and_results() -> None:
    got = body(
        {
            "messages": [
                {"role": "developer", "content": "Be brief."},
                *user(text("Look"), image("data:image/png;base64,AAAA"), text("here")),
                {"role": "assistant", "reasoning": "Hm.", "tool_calls": [tool_call("t1", "f", '{"x":1.5}')]},
                {"role": "tool", "tool_call_id": "t1", "content": "ok"},
                {"role": "user", "content": "And?", "name": "Ann"},
            ]
        }
    )
    assert got["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Look\nhere", "images": ["AAAA"]},
        {
            "role": "assistant",
            "content": "",
            "thinking": "Hm.",
            "tool_calls": [{"id": "t1", "function": {"index": 0, "name": "f", "arguments": {"x": 1.5}}}],
        },
        {"role": "tool", "content": "ok", "tool_call_id": "t1", "tool_name": "f"},
        {"role": "user", "content": "Ann: And?"},
    ]


def test_tools_formats_and_thinking() -> None:
    schema = {"type": "object"}
    assert body({"tools": [tool(description="d")], "tool_choice": "auto"})["tools"] == [tool(description="d")]
    assert "tools" not in body({"tools": [tool()], "tool_choice": "none"})
    wish = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    assert body({"response_format": wish})["format"] == schema
    assert body({"response_format": {"type": "json_object"}})["format"] == "json"
    assert body({"reasoning": {"enabled": True}})["think"] is True
    assert body({"reasoning": {"effort": "none"}})["think"] is False
    assert body({"reasoning": {"effort": "xhigh"}}, model="gpt-oss:20b")["think"] == "high"
    assert sent({"reasoning": {"effort": "none"}}, model="gpt-oss:20b")[0]["think"] == "low"
    assert body({"logprobs": True, "top_logprobs": 2})["top_logprobs"] == 2


def test_what_ollama_cannot_say_is_told() -> None:
    given = {
        "messages": user(
            text("x", cache_control={"type": "ephemeral"}),
            image("https://a.example/x.png"),
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}},
        ),
        "tools": [tool(strict=True), {"type": "openrouter:datetime"}],
        "tool_choice": "required",
        "reasoning": {"effort": "low"},
        "parallel_tool_calls": False,
        "logit_bias": {"1": 1},
        "n": 2,
        "riddle": 1,
    }
    assert lost(given) == [
        "messages[0].content[0].cache_control",
        "messages[0].content[1].image_url.url",
        "messages[0].content[2]",
        "tools[0].function.strict",
        "tools[1]",
        "tool_choice",
        "reasoning.effort",
        "n",
        "logit_bias",
        "parallel_tool_calls",
        "riddle",
    ]


@pytest.mark.parametrize(
    "given",
    [
        {"messages": [{"role": "tool", "content": "x"}]},
        {"messages": [{"role": "oracle", "content": "x"}]},
        {"response_format": {"type": "json_schema"}},
        {"options": [1]},
    ],
)
def test_what_cannot_be_sent_is_the_callers_to_correct(given: Any) -> None:
    with pytest.raises(BadRequest):
        OLLAMA.request(given)


# --- answers ----------------------------------------------------------------------------------------------------------


def line(done: bool = False, **message: Any) -> dict[str, Any]:
    end = {"done_reason": "stop", "total_duration": 5, **COUNTS} if done else {}
    return {"model": "qwen3", "created_at": "2026-11-24T00:00:00Z", "message": message, "done": done, **end}


def lines(*values: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


STREAM = lines(line(role="assistant", content="Good "), line(role="assistant", content="day"), line(True, content=""))


def stream(*values: dict[str, Any]) -> list[Any]:
    return reading.read(UPSTREAM, LINES, lines(*values), b'{half\n\xff\n{"error":"x"}\n')


def whole(value: dict[str, Any]) -> list[Any]:
    return reading.read(UPSTREAM, JSON, json.dumps(value, indent=1).encode(), b"\n } tail {")


def test_a_stream_gives_start_deltas_finish_and_usage_in_order() -> None:
    want = [Start(model="qwen3"), Delta(text="Good "), Delta(text="day"), Finish("stop", "stop"), COUNTED]
    assert reading.read(UPSTREAM, LINES, STREAM, b"junk\n") == want
    assert reading.read(UPSTREAM, LINES, STREAM.rstrip()) == want, "the last line needs no end"
    assert reading.read(UPSTREAM, HttpHead(200, {}), STREAM.replace(b"\n", b"\r\n\r\n")) == want


def test_a_whole_answer_gives_the_same_with_one_delta() -> None:
    assert whole(line(True, role="assistant", content="Good day")) == [
        Start(model="qwen3"),
        Delta(role="assistant", text="Good day"),
        Finish("stop", "stop"),
        COUNTED,
    ]


def test_calls_arrive_whole_and_get_ids_where_they_have_none() -> None:
    first = {"function": {"index": 0, "name": "f", "arguments": {"x": 1.5}}}
    second = {"id": "call_9", "function": {"name": "g", "arguments": {}}}
    events = stream(line(thinking="Hm."), line(tool_calls=[first]), line(tool_calls=[second]), line(True, content=""))
    assert of(events, Delta)[0].reasoning == "Hm."
    assert [call for event in of(events, Delta) for call in event.tool_calls or ()] == [
        ToolDelta(0, "call_seed_0", "f", '{"x":1.5}'),
        ToolDelta(1, "call_9", "g", "{}"),
    ]
    assert of(events, Finish) == [Finish("tool_calls", "stop")]


def test_the_limit_is_a_finish_and_a_cached_prompt_is_unknown() -> None:
    end = {**line(True, content=""), "done_reason": "length"}
    del end["prompt_eval_count"]
    events = stream(line(content="a"), end)
    assert of(events, Finish) == [Finish("length", "length")]
    assert (reading.usage(events).prompt, reading.usage(events).completion) == (None, 3)


def test_an_error_in_the_stream_ends_it() -> None:
    events = reading.read(UPSTREAM, LINES, lines(line(content="a")) + b'{"error":"the runner broke"}\n')
    assert of(events, Delta) == [Delta(text="a")]
    assert events[-1] == (UpstreamOverloaded, "the runner broke")


def test_what_is_cut_or_damaged_fails_once() -> None:
    reading.ends_cut(UPSTREAM, LINES, STREAM)
    reading.survives_damage(UPSTREAM, LINES, STREAM)
    at_once = json.dumps(line(True, content="a")).encode()
    for at in range(len(at_once)):
        assert [event[0] for event in reading.fed(UPSTREAM, JSON, [at_once[:at]])] == [UpstreamLost]
    reading.survives_damage(UPSTREAM, JSON, at_once)


@pytest.mark.parametrize("data", [b"[]", b"{}", b'"x"', b"<html>", b"data: {}", b'{"embeddings":[1]}'])
def test_bytes_of_another_dialect_are_garbage(data: bytes) -> None:
    for head in (LINES, JSON):
        assert reading.read(UPSTREAM, head, data + b"\n")[-1][0] is UpstreamGarbage


@pytest.mark.parametrize(
    ("status", "kind"), [(400, UpstreamRefused), (404, UpstreamCredential), (500, UpstreamOverloaded)]
)
def test_a_refusal_is_the_fault_its_status_says(status: int, kind: type[UpstreamFault]) -> None:
    fault = UPSTREAM.fault(HttpHead(status, {}), b'{"error":"model not found"}')
    assert type(fault) is kind
    assert fault.provider_status == status
