"""Bedrock's answers: Converse and Claude's own, streamed in binary and whole, good, broken and refused."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from routebook.core.errors import (
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
from routebook.dialects import registry
from routebook.wire import codec
from routebook.wire.aws_events import event, exception, message
from routebook.wire.http import HttpHead
from tests.dialects import reading
from tests.dialects.reading import of, usage

CONVERSE = registry.upstreams({})["bedrock"]
INVOKE = registry.upstreams({})["bedrock_anthropic"]
BINARY = HttpHead(200, {"content-type": "application/vnd.amazon.eventstream", "x-amzn-requestid": "r-1"})
JSON = HttpHead(200, {"content-type": "application/json", "x-amzn-requestid": "r-1"})
JUNK = {id(BINARY): b"\x00\x01\x02 no message at all", id(JSON): b" } tail {"}
COUNTS = {"inputTokens": 7, "outputTokens": 3, "totalTokens": 10}


def read(body: bytes, head: HttpHead = BINARY) -> list[Any]:
    return reading.read(CONVERSE, head, body, JUNK[id(head)])


def frames(*events: tuple[str, dict[str, Any]]) -> bytes:
    return b"".join(event(name, json.dumps({**value, "p": "abc"}).encode()) for name, value in events)


def delta(index: int, **what: Any) -> tuple[str, dict[str, Any]]:
    return "contentBlockDelta", {"contentBlockIndex": index, "delta": what}


def stop(index: int) -> tuple[str, dict[str, Any]]:
    return "contentBlockStop", {"contentBlockIndex": index}


START = ("messageStart", {"role": "assistant"})
END = ("messageStop", {"stopReason": "end_turn"})
TOLD = ("metadata", {"usage": COUNTS, "metrics": {"latencyMs": 5}})
STREAM = frames(START, delta(0, text="Good "), delta(0, text="day"), stop(0), END, TOLD)


def whole(*blocks: dict[str, Any], reason: str = "end_turn", **members: Any) -> list[Any]:
    value = {"output": {"message": {"role": "assistant", "content": list(blocks)}}, "stopReason": reason, **members}
    return read(json.dumps({"usage": COUNTS, **value}).encode(), JSON)


def test_a_stream_gives_start_deltas_finish_and_usage_in_order() -> None:
    assert read(STREAM) == [
        Start("r-1"),
        Delta(text="Good "),
        Delta(text="day"),
        Finish("stop", "end_turn"),
        Counted(Usage(prompt=7, completion=3, raw=codec.encode(COUNTS))),
    ]


def test_a_whole_answer_gives_the_same_with_one_delta() -> None:
    assert whole({"text": "Good "}, {"text": "day"}) == [
        Start("r-1"),
        Delta(role="assistant", text="Good day"),
        Finish("stop", "end_turn"),
        Counted(Usage(prompt=7, completion=3, raw=codec.encode(COUNTS))),
    ]


def test_the_bytes_say_stream_or_whole_where_the_content_type_does_not() -> None:
    for body in (STREAM, json.dumps({"output": {}, "stopReason": "end_turn"}).encode()):
        events = reading.read(CONVERSE, HttpHead(200, {}), body)
        assert of(events, Finish) == [Finish("stop", "end_turn")]


def test_calls_come_in_pieces_side_by_side_and_without_arguments() -> None:
    start = {"toolUse": {"toolUseId": "t-1", "name": "weather"}}
    second = {"toolUse": {"toolUseId": "t-2", "name": "now"}}
    events = read(
        frames(
            START,
            ("contentBlockStart", {"contentBlockIndex": 0, "start": {}}),
            delta(0, text="I look."),
            stop(0),
            ("contentBlockStart", {"contentBlockIndex": 1, "start": start}),
            ("contentBlockStart", {"contentBlockIndex": 2, "start": second}),
            delta(1, toolUse={"input": '{"city":'}),
            delta(2, toolUse={"input": ""}),
            delta(1, toolUse={"input": '"Bern"}'}),
            stop(1),
            stop(2),
            ("messageStop", {"stopReason": "tool_use"}),
            TOLD,
        )
    )
    assert [call for event in of(events, Delta) for call in event.tool_calls or ()] == [
        ToolDelta(0, "t-1", "weather"),
        ToolDelta(1, "t-2", "now"),
        ToolDelta(0, arguments='{"city":'),
        ToolDelta(0, arguments='"Bern"}'),
        ToolDelta(1, arguments="{}"),
    ]
    assert of(events, Finish) == [Finish("tool_calls", "tool_use")]


def test_a_whole_call_keeps_every_digit_of_its_arguments() -> None:
    events = whole({"toolUse": {"toolUseId": "t", "name": "f", "input": {"a": 0.1, "b": [1]}}}, reason="tool_use")
    assert of(events, Delta)[0].tool_calls == [ToolDelta(0, "t", "f", '{"a":0.1,"b":[1]}')]


def test_what_the_provider_runs_itself_is_no_call_of_the_callers() -> None:
    ran = {"toolUse": {"toolUseId": "s", "name": "code", "input": {}, "type": "server_tool_use"}}
    events = whole(ran, {"text": "42"}, reason="tool_use")
    assert of(events, Delta)[0].tool_calls is None
    assert of(events, Delta)[0].extra == {"content_blocks": [ran]}
    assert of(events, Finish) == [Finish("stop", "tool_use")]


def test_thinking_is_reasoning_and_its_signature_can_be_handed_back() -> None:
    sealed = b64encode(b"opaque").decode()
    streamed = read(
        frames(
            START,
            delta(0, reasoningContent={"text": "Let me "}),
            delta(0, reasoningContent={"text": "see."}),
            delta(0, reasoningContent={"signature": "sig"}),
            stop(0),
            delta(1, reasoningContent={"redactedContent": sealed}),
            stop(1),
            delta(2, text="42"),
            stop(2),
            END,
        )
    )
    pieces = [detail for event in of(streamed, Delta) for detail in event.reasoning_details or ()]
    assert pieces == [
        {"type": "reasoning.text", "text": "Let me ", "index": 0},
        {"type": "reasoning.text", "text": "see.", "index": 0},
        {"type": "reasoning.text", "signature": "sig", "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.encrypted", "data": "opaque", "format": "anthropic-claude-v1", "index": 1},
    ]
    assert "".join(event.reasoning or "" for event in of(streamed, Delta)) == "Let me see."
    at_once = whole({"reasoningContent": {"reasoningText": {"text": "Let me see.", "signature": "sig"}}})
    assert of(at_once, Delta)[0].reasoning_details == [
        {
            "type": "reasoning.text",
            "text": "Let me see.",
            "signature": "sig",
            "format": "anthropic-claude-v1",
            "index": 0,
        }
    ]


def test_citations_of_the_web_are_annotations() -> None:
    cited = {"title": "T", "location": {"web": {"url": "https://a.example"}}, "sourceContent": [{"text": "said"}]}
    note = {
        "type": "url_citation",
        "url_citation": {
            "url": "https://a.example",
            "title": "T",
            "content": "said",
            "start_index": 5,
            "end_index": 8,
        },
    }
    at_once = whole({"text": "I say"}, {"citationsContent": {"content": [{"text": "yes"}], "citations": [cited]}})
    assert of(at_once, Delta)[0].annotations == [note]
    streamed = read(
        frames(START, delta(0, text="I say"), stop(0), delta(1, text="yes"), delta(1, citation=cited), stop(1), END)
    )
    assert [event.annotations for event in of(streamed, Delta) if event.annotations] == [[note]]


def test_cache_reads_and_writes_are_part_of_the_prompt() -> None:
    counts = {
        "inputTokens": 3,
        "outputTokens": 5,
        "totalTokens": 38,
        "cacheReadInputTokens": 10,
        "cacheWriteInputTokens": 20,
        "cacheDetails": [{"ttl": "1h", "inputTokens": 15}, {"ttl": "5m", "inputTokens": 5}],
    }
    found = usage(whole({"text": "a"}, usage=counts))
    assert (found.prompt, found.completion, found.cached) == (33, 5, 10)
    assert (found.cache_write, found.cache_write_1h) == (5, 15)
    older = usage(whole({"text": "a"}, usage={"inputTokens": 3, "outputTokens": 5, "cacheReadInputTokenCount": 10}))
    assert (older.prompt, older.cached, older.cache_write) == (13, 10, None)


@pytest.mark.parametrize(
    ("native", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("malformed_tool_use", "error"),
        ("malformed_model_output", "error"),
        ("something_new", "stop"),
    ],
)
def test_finish_reasons_are_the_apis_with_the_providers_word_beside(native: str, reason: str) -> None:
    assert of(whole({"text": "a"}, reason=native), Finish) == [Finish(reason, native)]


def test_the_stop_sequence_the_tier_and_the_guardrails_words_are_told() -> None:
    events = whole(
        {"text": "a"},
        reason="stop_sequence",
        additionalModelResponseFields={"stop_sequence": "END"},
        serviceTier={"type": "flex"},
        trace={"guardrail": {"actionReason": "Guardrail blocked."}},
    )
    assert of(events, Start) == [Start("r-1", service_tier="flex")]
    assert of(events, Finish) == [
        Finish("stop", "stop_sequence", stop_sequence="END", message="Guardrail blocked."),
    ]


# --- Claude's own body ------------------------------------------------------------------------------------------------

CLAUDE = (
    {"type": "message_start", "message": {"id": "msg_1", "model": "claude", "usage": {"input_tokens": 7}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Good day"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
    {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 7}},
)


def chunks(*events: dict[str, Any]) -> bytes:
    inner = [b64encode(json.dumps(value).encode()).decode() for value in events]
    return b"".join(event("chunk", json.dumps({"bytes": text, "p": "ab"}).encode()) for text in inner)


@pytest.mark.parametrize("upstream", [CONVERSE, INVOKE], ids=["bedrock", "bedrock_anthropic"])
def test_claudes_own_stream_is_read_inside_the_binary_one(upstream: Any) -> None:
    events = reading.read(upstream, BINARY, chunks(*CLAUDE), b"\x00junk and more of it")
    assert of(events, Start)[0] == Start("msg_1", "claude")
    assert of(events, Delta) == [Delta(text="Good day")]
    assert of(events, Finish) == [Finish("stop", "end_turn")]
    assert (usage(events).prompt, usage(events).completion) == (7, 3)


def test_claudes_whole_message_is_read_on_invoke() -> None:
    body = {
        "id": "msg_1",
        "type": "message",
        "model": "claude",
        "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "max_tokens",
        "usage": {"input_tokens": 7, "output_tokens": 3},
    }
    events = reading.read(INVOKE, JSON, json.dumps(body).encode(), b" } tail")
    assert of(events, Finish) == [Finish("length", "max_tokens")]
    assert usage(events).prompt == 7


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("upstream", "body"), [(CONVERSE, STREAM), (INVOKE, chunks(*CLAUDE))], ids=["converse", "claude"]
)
def test_a_stream_that_is_cut_is_never_taken_for_a_whole_one(upstream: Any, body: bytes) -> None:
    reading.ends_cut(upstream, BINARY, body)
    reading.survives_damage(upstream, BINARY, body)


def test_a_whole_answer_that_is_cut_or_damaged_fails_once() -> None:
    body = json.dumps({"output": {"message": {"content": [{"text": "a"}]}}, "stopReason": "end_turn"}).encode()
    for at in range(len(body)):
        events = reading.fed(CONVERSE, JSON, [body[:at]])
        assert [type(event) for event in events] == [tuple]
        assert events[0][0] is UpstreamLost
    reading.survives_damage(CONVERSE, JSON, body)


def test_events_that_pass_their_checksum_and_hold_nonsense_never_raise() -> None:
    for payload in (
        b"[]",
        b"{",
        b'{"delta":[]}',
        b'{"delta":{"text":7},"contentBlockIndex":"x"}',
        b'{"usage":3}',
        b"\xff",
    ):
        for name in ("contentBlockDelta", "contentBlockStart", "contentBlockStop", "messageStop", "metadata", "chunk"):
            events = reading.read(CONVERSE, BINARY, event(name, payload))
            assert sum(isinstance(one, tuple) for one in events) == (0 if of(events, Finish) else 1)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("throttlingException", UpstreamLimited),
        ("serviceUnavailableException", UpstreamOverloaded),
        ("internalServerException", UpstreamOverloaded),
        ("modelStreamErrorException", UpstreamOverloaded),
        ("modelTimeoutException", UpstreamTimeout),
        ("validationException", UpstreamRefused),
    ],
)
def test_an_exception_in_a_stream_is_the_fault_it_names(name: str, kind: type[UpstreamFault]) -> None:
    body = frames(START, delta(0, text="Good")) + exception(name, b'{"message":"No more."}')
    events = read(body)
    assert events[-1] == (kind, "No more.")
    assert of(events, Delta) == [Delta(text="Good")]


def test_an_error_message_has_its_words_in_a_header() -> None:
    body = message({":message-type": "error", ":error-code": "InternalFailure", ":error-message": "It broke."})
    assert read(body) == [(UpstreamOverloaded, "It broke.")]


def test_an_exception_after_the_finish_spoils_nothing() -> None:
    events = read(frames(START, delta(0, text="a"), END) + exception("throttlingException", b"{}"))
    assert not of(events, tuple)


def test_bytes_of_another_dialect_are_garbage() -> None:
    for body in (b'{"embedding":[1]}', b"<html>", b"[]", b'"x"'):
        assert read(body, JSON)[0][0] is UpstreamGarbage
    assert read(b'{"message":"Slow down.","__type":"ThrottlingException"}', JSON) == [(UpstreamLimited, "Slow down.")]
    assert read(b"", BINARY)[0][0] is UpstreamLost


@pytest.mark.parametrize(
    ("status", "name", "text", "kind"),
    [
        (429, "ThrottlingException:http://x/", "Too many tokens.", UpstreamLimited),
        (400, "ServiceQuotaExceededException", "Over the quota.", UpstreamLimited),
        (403, "AccessDeniedException", "Account 123 may not.", UpstreamCredential),
        (403, "ExpiredTokenException", "Token of 123 expired.", UpstreamCredential),
        (404, "ResourceNotFoundException", "No model 123.", UpstreamCredential),
        (400, "ValidationException", "The provided model identifier is invalid.", UpstreamCredential),
        (400, "ValidationException", "messages: text is empty.", UpstreamRefused),
        (408, "ModelTimeoutException", "Too slow.", UpstreamTimeout),
        (424, "ModelErrorException", "It failed.", UpstreamOverloaded),
        (429, "ModelNotReadyException", "Loading.", UpstreamOverloaded),
        (500, "InternalServerException", "Oops.", UpstreamOverloaded),
        (503, "ServiceUnavailableException", "Busy.", UpstreamOverloaded),
    ],
)
def test_a_refusal_is_the_fault_that_its_header_names(
    status: int, name: str, text: str, kind: type[UpstreamFault]
) -> None:
    head = HttpHead(status, {"content-type": "application/json", "x-amzn-errortype": name})
    fault = CONVERSE.fault(head, json.dumps({"message": text}).encode())
    assert type(fault) is kind
    assert fault.provider_status == status
    assert fault.provider_code == name.partition(":")[0]
    if kind is UpstreamCredential:
        assert "123" not in fault.message
    else:
        assert fault.message == text


@pytest.mark.parametrize("body", [b"", b"<html>busy</html>", b"null", b'{"Message":"No."}', b"[1]"])
def test_a_refusal_in_any_form_is_a_fault(body: bytes) -> None:
    assert type(CONVERSE.fault(HttpHead(503, {}), body)) is UpstreamOverloaded
