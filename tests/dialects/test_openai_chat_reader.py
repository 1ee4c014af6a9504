"""The reader of the chat dialect: every known form, three ways each, and what is no answer at all."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routebook.core.errors import (
    Fault,
    UpstreamGarbage,
    UpstreamLimited,
    UpstreamLost,
    UpstreamOverloaded,
    UpstreamRefused,
)
from routebook.core.events import Counted, Delta, Event, Failed, Finish, Start, ToolDelta
from routebook.core.usage import Usage
from routebook.wire import codec
from tests.dialects.chat_cases import JSON, SSE, chunk, comparable, read, read_once, stream, unary


def deltas(events: list[Event]) -> list[Delta]:
    return [event for event in events if isinstance(event, Delta)]


def finish(events: list[Event]) -> Finish:
    found = [event for event in events if isinstance(event, Finish)]
    assert len(found) == 1
    return found[0]


def usage(events: list[Event]) -> Usage:
    return [event for event in events if isinstance(event, Counted)][-1].usage


def failed(events: list[Event]) -> Fault:
    assert isinstance(events[-1], Failed)
    assert [type(event) for event in events].count(Failed) == 1
    return events[-1].fault


def calls(events: list[Event]) -> list[tuple[int, str | None, str | None, str]]:
    return [(p.index, p.id, p.name, p.arguments) for d in deltas(events) for p in d.tool_calls or ()]


COUNT = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


def test_a_stream_gives_start_deltas_finish_and_usage_in_that_order() -> None:
    events = read(
        stream(
            chunk({"role": "assistant", "content": ""}, system_fingerprint="fp", service_tier="default"),
            chunk({"content": "Hé"}),
            chunk({"content": "llo"}),
            chunk({}, "stop"),
            chunk(usage=COUNT),
        )
    )
    assert events[0] == Start("chatcmpl-1", "m-1", "default", "fp")
    assert [d.text for d in deltas(events)] == ["", "Hé", "llo"]
    assert not deltas(events)[0].content
    assert events[-2] == Finish("stop", "stop")
    assert usage(events) == Usage(prompt=9, completion=4, raw=codec.encode(COUNT))


def test_a_whole_answer_gives_one_delta_a_choice() -> None:
    body = json.dumps(
        {
            "id": "x",
            "model": "m",
            "choices": [
                {"index": 1, "message": {"content": "b"}, "finish_reason": "length"},
                {"index": 0, "message": {"content": "a"}, "finish_reason": "stop"},
            ],
            "usage": COUNT,
        }
    ).encode()
    events = read(body, JSON)
    assert [(d.index, d.text) for d in deltas(events)] == [(1, "b"), (0, "a")]
    assert [(e.index, e.reason) for e in events if isinstance(e, Finish)] == [(1, "length"), (0, "stop")]


@pytest.mark.parametrize("kind", [SSE, JSON, "text/plain", ""])
def test_the_first_bytes_say_what_an_answer_is_whatever_its_content_type(kind: str) -> None:
    assert finish(read(stream(chunk({"content": "x"}), chunk({}, "stop")), kind)).reason == "stop"
    assert finish(read(b"\xef\xbb\xbf \n" + unary({"content": "x"}), kind)).reason == "stop"
    assert finish(read(b": hello\n\n" + stream(chunk({"content": "x"}, "stop")), kind)).reason == "stop"


@pytest.mark.parametrize(
    ("delta", "reasoning"),
    [
        ({"reasoning_content": "hm"}, "hm"),
        ({"reasoning": "hm"}, "hm"),
        ({"reasoning": "hm", "reasoning_content": "hm"}, "hm"),
        ({"reasoning": None, "reasoning_content": "hm"}, "hm"),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}, "hm"),
        ({"content": [{"type": "thinking", "thinking": "hm"}]}, "hm"),
    ],
)
def test_reasoning_is_found_under_every_name_it_goes_by(delta: dict[str, Any], reasoning: str) -> None:
    events = read(stream(chunk(delta), chunk({"content": "!"}, "stop")))
    assert deltas(events)[0].reasoning == reasoning
    assert deltas(events)[0].text is None
    assert deltas(events)[0].content


def test_content_as_a_list_keeps_text_images_and_unknown_parts() -> None:
    parts = [
        {"type": "text", "text": "see "},
        {"type": "reference", "reference_ids": [1]},
        {"type": "text", "text": "[1]"},
        {"type": "image_url", "image_url": {"url": "data:,"}},
    ]
    delta = deltas(read(unary({"content": parts}), JSON))[0]
    assert delta.text == "see [1]"
    assert delta.images == [parts[3]]
    assert delta.extra == {"content_parts": [parts[1]]}


def test_tool_calls_are_told_apart_by_index() -> None:
    events = read(
        stream(
            chunk(
                {
                    "tool_calls": [
                        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
                    ]
                }
            ),
            chunk({"tool_calls": [{"index": 1, "id": "b", "function": {"name": "g", "arguments": "{"}}]}),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}),
            chunk(
                {"tool_calls": [{"index": 1, "id": "", "type": "function", "function": {"name": "", "arguments": "}"}}]}
            ),
            chunk({}, "stop"),
        )
    )
    assert calls(events) == [(0, "a", "f", ""), (1, "b", "g", "{"), (0, None, None, "{}"), (1, None, None, "}")]
    assert finish(events) == Finish("tool_calls", "stop")


def test_tool_calls_without_index_or_with_one_index_for_all_are_told_apart_by_id() -> None:
    whole = [
        {"id": "a", "function": {"name": "f", "arguments": "{}"}},
        {"id": "b", "function": {"name": "f", "arguments": "{}"}},
    ]
    expected = [(0, "a", "f", "{}"), (1, "b", "f", "{}")]
    assert calls(read(stream(chunk({"tool_calls": whole}, "tool_calls")))) == expected
    zeros = [{**one, "index": 0} for one in whole]
    assert calls(read(stream(chunk({"tool_calls": zeros[:1]}), chunk({"tool_calls": zeros[1:]}, "stop")))) == expected


def test_a_call_without_id_gets_one_and_its_later_pieces_find_it() -> None:
    events = read(
        stream(
            chunk({"tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}),
            chunk({"tool_calls": [{"function": {"arguments": "}"}}]}, "tool_calls"),
        )
    )
    assert calls(events) == [(0, "call_gen-x_0", "f", "{"), (0, None, None, "}")]


def test_arguments_that_are_an_object_become_their_json() -> None:
    events = read(unary({"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": {"x": 1.50}}}]}), JSON)
    assert calls(events) == [(0, "a", "f", '{"x":1.5}')]


def test_the_legacy_function_call_is_a_tool_call() -> None:
    events = read(
        stream(
            chunk({"function_call": {"name": "f", "arguments": ""}}),
            chunk({"function_call": {"arguments": "{}"}}),
            chunk({}, "function_call"),
        )
    )
    assert calls(events) == [(0, "call_gen-x_0", "f", ""), (0, None, None, "{}")]
    assert finish(events) == Finish("tool_calls", "function_call")


def test_a_custom_tool_call_and_a_providers_attachment_are_kept() -> None:
    items = [
        {"id": "a", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}},
        {
            "id": "b",
            "type": "function",
            "function": {"name": "f", "arguments": "{}"},
            "extra_content": {"google": {"s": 1}},
        },
    ]
    pieces = deltas(read(unary({"tool_calls": items}), JSON))[0].tool_calls
    assert pieces == [
        ToolDelta(0, "a", "sql", "SELECT 1", "custom"),
        ToolDelta(1, "b", "f", "{}", extra={"extra_content": {"google": {"s": 1}}}),
    ]


@pytest.mark.parametrize(
    ("native", "reason"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("length", "length"),
        ("model_length", "length"),
        ("MAX_TOKENS", "length"),
        ("content_filter", "content_filter"),
        ("sensitive", "content_filter"),
        ("error", "error"),
        ("insufficient_system_resource", "error"),
        ("a-word-of-next-year", "stop"),
    ],
)
def test_finish_reasons_are_normalised_and_the_native_word_is_kept(native: str, reason: str) -> None:
    assert finish(read(stream(chunk({"content": "x"}, native)))) == Finish(reason, native)


def test_the_native_finish_reason_of_a_router_wins_over_its_own_word() -> None:
    choice = {"index": 0, "delta": {"content": "x"}, "finish_reason": "stop", "native_finish_reason": "end_turn"}
    assert finish(read(stream({"id": "g", "choices": [choice]}))) == Finish("stop", "end_turn")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"usage": COUNT}, Usage(prompt=9, completion=4)),
        ({"x_groq": {"id": "req", "usage": COUNT}}, Usage(prompt=9, completion=4)),
        ({"usage": {**COUNT, "prompt_cache_hit_tokens": 5}}, Usage(prompt=9, completion=4, cached=5)),
        ({"usage": {**COUNT, "cached_tokens": 5}}, Usage(prompt=9, completion=4, cached=5)),
        ({"usage": {**COUNT, "num_cached_tokens": 5}}, Usage(prompt=9, completion=4, cached=5)),
        (
            {"usage": {**COUNT, "prompt_tokens_details": {"cached_tokens": 0}, "prompt_cache_hit_tokens": 5}},
            Usage(prompt=9, completion=4, cached=5),
        ),
        (
            {"usage": {**COUNT, "total_tokens": 20, "completion_tokens_details": {"reasoning_tokens": 7}}},
            Usage(prompt=9, completion=11, reasoning=7),
        ),
        ({"usage": {**COUNT, "total_tokens": 20}}, Usage(prompt=9, completion=11)),
        (
            {"usage": {**COUNT, "completion_tokens_details": {"reasoning_tokens": 3}}},
            Usage(prompt=9, completion=4, reasoning=3),
        ),
        ({"usage": {**COUNT, "reasoning_tokens": 100}}, Usage(prompt=9, completion=104, reasoning=100)),
        ({"usage": {"prompt_tokens": 9, "completion_tokens": -4}}, Usage(prompt=9)),
        ({"usage": {"prompt_tokens": 9.0, "completion_tokens": True}}, Usage(prompt=9)),
    ],
)
def test_usage_is_found_and_normalised_in_every_known_form(more: dict[str, Any], expected: Usage) -> None:
    got = usage(read(stream(chunk({"content": "x"}, "stop", **more))))
    assert {name: getattr(got, name) for name in Usage.__struct_fields__ if name != "raw"} == {
        name: getattr(expected, name) for name in Usage.__struct_fields__ if name != "raw"
    }


def test_usage_inside_a_choice_counts_and_its_raw_form_keeps_every_digit() -> None:
    report = '{"prompt_tokens":1,"completion_tokens":2,"cost":0.10000000000000000001}'
    choice = f'{{"index":0,"delta":{{}},"finish_reason":"stop","usage":{report}}}'
    body = f'data: {{"id":"x","choices":[{choice}]}}\n\n'.encode()
    assert codec.decode_exact(usage(read(body)).raw or b"") == {
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "cost": Decimal("0.10000000000000000001"),
    }


def test_repeated_usage_is_reported_where_it_changes_and_the_last_one_counts() -> None:
    first, last = {"prompt_tokens": 1, "completion_tokens": 1}, {"prompt_tokens": 1, "completion_tokens": 2}
    events = read(
        stream(chunk({"content": "a"}, usage=first), chunk({"content": "b"}, usage=last), chunk({}, "stop", usage=last))
    )
    assert [e.usage.completion for e in events if isinstance(e, Counted)] == [1, 2]


def test_what_only_one_provider_sends_is_kept_with_its_level_and_repeated_only_when_it_changes() -> None:
    choice = {"index": 0, "delta": {"content": "a", "channel": "final"}, "finish_reason": None, "seed": 7}
    first = {"id": "x", "choices": [choice], "citations": ["u"]}
    last = {"id": "x", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "citations": ["u"]}
    events = read(stream(first, last))
    assert [d.extra for d in deltas(events)] == [{"answer.citations": ["u"], "choice.seed": 7, "channel": "final"}]


def test_audio_images_annotations_and_logprobs_arrive() -> None:
    probabilities = {"content": [{"token": "a", "logprob": -0.1, "bytes": None, "top_logprobs": []}]}
    choice = {
        "index": 0,
        "delta": {
            "audio": {"id": "au", "data": "QQ=="},
            "images": [{"type": "image_url", "image_url": {"url": "data:,"}}],
            "annotations": [{"type": "url_citation"}],
        },
        "logprobs": probabilities,
        "finish_reason": "stop",
    }
    delta = deltas(read(stream({"id": "x", "choices": [choice]})))[0]
    assert delta.audio == {"id": "au", "data": "QQ=="}
    assert len(delta.images or ()) == 1
    assert len(delta.annotations or ()) == 1
    assert delta.logprobs["content"][0]["logprob"] == Decimal("-0.1")


def test_a_stream_that_ends_after_its_finish_without_the_end_mark_is_good() -> None:
    events = read(stream(chunk({"content": "x"}), chunk({}, "stop"), done=False).rstrip(b"\n"))
    assert finish(events).reason == "stop"
    assert not isinstance(events[-1], Failed)


@pytest.mark.parametrize("done", [True, False])
def test_a_stream_without_its_finish_is_lost_however_cleanly_it_ended(done: bool) -> None:
    assert isinstance(failed(read_once(stream(chunk({"content": "x"}), done=done), SSE)), UpstreamLost)


def test_every_choice_that_began_has_to_finish() -> None:
    two = {"id": "x", "choices": [{"index": i, "delta": {"content": "a"}, "finish_reason": None} for i in (0, 1)]}
    assert isinstance(failed(read_once(stream(two, chunk({}, "stop")), SSE)), UpstreamLost)


@pytest.mark.parametrize(
    ("frame", "kind", "status"),
    [
        (
            'event: error\ndata: {"error":{"message":"bad tool","code":"tool_use_failed","status_code":400}}\n\n',
            UpstreamRefused,
            400,
        ),
        ('data: {"error":{"message":"slow down","type":"rate_limit_error","code":429}}\n\n', UpstreamLimited, 429),
        ('data: {"error":{"message":"full","type":"overloaded_error"}}\n\n', UpstreamOverloaded, 503),
        ('data: {"object":"error","message":"boom","code":500}\n\n', UpstreamOverloaded, 503),
        ('data: {"error":"something broke"}\n\n', UpstreamOverloaded, 503),
        ('data: {"detail":"Internal Server Error"}\n\n', UpstreamOverloaded, 503),
    ],
)
def test_an_error_in_the_stream_ends_it_with_the_right_kind(frame: str, kind: type[Fault], status: int) -> None:
    for events in (read(stream(frame)), read(stream(chunk({"content": "x"}), frame))):
        assert type(failed(events)) is kind
        assert failed(events).status == status


def test_an_error_beside_usage_and_choices_reports_the_usage_and_then_fails() -> None:
    bad = chunk({"content": ""}, usage=COUNT, error={"code": 502, "message": "gone"})
    events = read(stream(chunk({"content": "x"}), bad))
    assert isinstance(events[-2], Counted)
    assert isinstance(failed(events), UpstreamOverloaded)


def test_an_error_object_under_status_200_fails_before_any_content() -> None:
    raw = json.dumps({"error": {"message": "slow"}})
    error = {"message": "Provider returned error", "code": 429, "metadata": {"raw": raw}}
    body = json.dumps({"error": error, "user_id": "u"}).encode()
    events = read(body, JSON)
    assert type(failed(events)) is UpstreamLimited
    assert failed(events).message == "slow"
    assert deltas(events) == []


def test_a_whole_answer_that_failed_half_way_keeps_its_text_and_its_error() -> None:
    choice = {
        "index": 0,
        "message": {"content": "half"},
        "finish_reason": "error",
        "error": {"code": 502, "message": "cut"},
    }
    events = read(json.dumps({"id": "x", "choices": [choice], "usage": COUNT}).encode(), JSON)
    assert [d.text for d in deltas(events)] == ["half"]
    assert isinstance(failed(events), UpstreamOverloaded)
    assert not [e for e in events if isinstance(e, Finish)]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html><body>502</body></html>", "text/html"),
        (b"<html><body>502</body></html>", SSE),
        (b"hello", JSON),
        (b"dat", SSE[:0]),
        (b'{"id": "x", "choices": [', JSON),
        (b'{"ok": true}', JSON),
        (b'{"id": "x", "choices": []}', JSON),
        (b"[1, 2]", JSON),
        (b"data: {oops\n\n", SSE),
        (b"data: 7\n\n", SSE),
        (b"{" * 5000, JSON),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, JSON),
    ],
)
def test_bytes_that_are_not_the_dialect_are_one_garbage_event(body: bytes, kind: str) -> None:
    for events in (read_once(body, kind), read_once(body, kind, step=1)):
        assert all(isinstance(event, Start) for event in events[:-1])
        assert isinstance(failed(events), UpstreamGarbage)


@pytest.mark.parametrize("body", [b"", b" \n ", b": only comments\n\n"])
def test_an_empty_answer_is_lost(body: bytes) -> None:
    assert isinstance(failed(read_once(body, SSE)), UpstreamLost)


def test_nothing_is_said_after_a_failure() -> None:
    body = b"data: {oops\n\n" + stream(chunk({"content": "x"}, "stop"))
    assert [type(event) for event in read_once(body, SSE)] == [Failed]


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (b'"\\ud83d"', "�"),
        (b'"\\ud83d\\ude00"', "😀"),
        (b'"a\\\\ud83d"', "a\\ud83d"),
        (b'"\xff"', "�"),
        (b'"NaN"', "NaN"),
    ],
)
def test_text_that_json_forbids_is_repaired_and_not_lost(written: bytes, text: str) -> None:
    body = b'{"id":"x","choices":[{"index":0,"message":{"content":' + written + b'},"finish_reason":"stop","p":NaN}]}'
    assert deltas(read(body, JSON))[0].text == text


def test_an_event_too_large_to_be_an_answer_is_garbage() -> None:
    piece = b"x" * (1 << 20)
    from routebook.core.ids import Mint
    from routebook.dialects.openai_chat import UPSTREAM
    from routebook.wire.http import HttpHead

    reader = UPSTREAM.reader(HttpHead(200, {"content-type": SSE}), Mint(1, "g"))
    events = reader.feed(b'data: "')
    for _ in range(17):
        events += reader.feed(piece)
    assert isinstance(failed(events), UpstreamGarbage)
    assert reader.feed(b"more") == []
    assert reader.end() == []


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    "id model choices usage error index delta message content tool_calls function name arguments finish_reason "
    "logprobs audio images annotations reasoning reasoning_details x_groq prompt_tokens_details".split()
)
HOSTILE = st.recursive(
    JSONISH, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.dictionaries(NAMES, HOSTILE, max_size=4), max_size=3))
def test_no_answer_makes_the_reader_raise_or_speak_after_failing(values: list[dict[str, Any]]) -> None:
    for body, kind in ((stream(*values), SSE), (json.dumps(values[0] if values else {}).encode(), JSON)):
        events = read_once(body, kind)
        assert comparable(events) == comparable(read_once(body, kind, step=7))
        assert not any(isinstance(event, Failed) for event in events[:-1])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_raise(body: bytes) -> None:
    for kind in (SSE, JSON):
        assert comparable(read_once(body, kind)) == comparable(read_once(body, kind, step=1))
