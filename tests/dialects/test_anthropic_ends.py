"""How Anthropic's answers end or fail, and that no bytes make their reader raise."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routebook.core.errors import (
    UpstreamFault,
    UpstreamGarbage,
    UpstreamLimited,
    UpstreamLost,
    UpstreamOverloaded,
    UpstreamRefused,
)
from routebook.core.events import Counted, Event, Failed
from routebook.core.ids import Mint
from routebook.dialects.anthropic import UPSTREAM
from routebook.wire.http import HttpHead
from tests.dialects.anthropic_answers import (
    END,
    JSON,
    SAID,
    STREAM,
    Frame,
    comparable,
    message,
    only,
    pieces,
    read,
    start,
    stops,
    stream,
)


def test_the_finish_is_enough_of_an_end() -> None:
    events = read(stream(start(), *SAID, stops("end_turn", {"output_tokens": 3})), ended=False)
    assert isinstance(events[-1], Counted)


def test_a_last_event_without_its_blank_line_still_counts() -> None:
    body = stream(start(), *SAID, stops("end_turn", {"output_tokens": 3}))
    assert isinstance(read(body.rstrip(b"\n"), ended=False)[-1], Counted)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n\n",
        stream(start()),
        stream(start(), *SAID),
        stream(start(), *SAID)[:-7],
        stream(start(), *SAID) + b"data: [DONE]\n\n",
        stream(start(), stops(None, {"output_tokens": 3})),
    ],
    ids=["nothing", "blank", "start alone", "no finish", "inside an event", "a done of another dialect", "no reason"],
)
def test_a_stream_that_breaks_off_is_lost(body: bytes) -> None:
    assert isinstance(read(body, ended=False)[-1], Failed)
    assert isinstance(only(read(body, ended=False), Failed).fault, UpstreamLost)


def test_a_message_that_breaks_off_is_lost() -> None:
    whole = message({"type": "text", "text": 'quote \\" and brace {'})
    for cut in range(1, len(whole)):
        assert isinstance(only(pieces(JSON, [whole[:cut]]), Failed).fault, UpstreamLost)


@pytest.mark.parametrize(
    ("body", "head"),
    [
        (b"<html><body>Bad gateway</body></html>", HttpHead(200, {"content-type": "text/html"})),
        (b"<html>", STREAM),
        (b"upstream connect error", HttpHead(200, {"content-type": "text/plain"})),
        (b'"just a string"', JSON),
        (b"[1, 2]", JSON),
        (b'{"object": "chat.completion", "choices": []}', JSON),
        (b'{"a": }', JSON),
        (b'data: {"object":"chat.completion.chunk","choices":[]}\n\n', STREAM),
        (b"data: not json\n\n", STREAM),
        (b"data: [1]\n\n", STREAM),
        (b"data: " + b"[" * 5000 + b"\n\n", STREAM),
        (b'data: "\xff\xfe"\n\n', STREAM),
    ],
)
def test_bytes_of_no_dialect_are_garbage_once_and_then_silence(body: bytes, head: HttpHead) -> None:
    events = read(body, head)
    assert isinstance(only(events, Failed).fault, UpstreamGarbage)
    assert len(events) == 1


def test_an_event_without_end_is_garbage_before_it_fills_the_memory() -> None:
    reader = UPSTREAM.reader(STREAM, Mint(0, "x"))
    events: list[Event] = reader.feed(b"data: ")
    for _ in range(20):
        events += reader.feed(b"x" * 2**20)
    assert isinstance(only(events, Failed).fault, UpstreamGarbage)
    assert reader.feed(b"more") == []
    assert reader.end() == []


@pytest.mark.parametrize(
    ("kind", "fault", "status"),
    [
        ("overloaded_error", UpstreamOverloaded, 503),
        ("api_error", UpstreamOverloaded, 503),
        ("rate_limit_error", UpstreamLimited, 429),
        ("invalid_request_error", UpstreamRefused, 400),
    ],
)
def test_an_error_inside_an_answer_is_what_its_type_says(kind: str, fault: type[UpstreamFault], status: int) -> None:
    error = {"type": "error", "error": {"type": kind, "message": "No more of that."}}
    for body, head in (
        (stream(error), STREAM),
        (stream(start(), *SAID, error), STREAM),
        (json.dumps(error).encode(), JSON),
        (json.dumps(error).encode(), STREAM),
        (b"data: " + json.dumps({"error": error["error"]}).encode() + b"\n\n", STREAM),
    ):
        events = read(body, head)
        got = only(events, Failed).fault
        assert isinstance(events[-1], Failed)
        assert type(got) is fault
        assert (got.status, got.message) == (status, "No more of that.")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"", b"{", b"data: ", b"event: message_delta\ndata: {", b"["]))
def test_no_bytes_make_the_reader_raise_and_no_split_matters(tail: bytes, lead: bytes) -> None:
    body = lead + tail
    for head in (STREAM, JSON, HttpHead(200, {})):
        whole = comparable(pieces(head, [body]))
        assert comparable(pieces(head, [body[i : i + 1] for i in range(len(body))])) == whole


_JSONISH: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "text", "content", "usage", "input_tokens", "index", "url"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "type": st.sampled_from(
                    [
                        "message_start",
                        "content_block_start",
                        "content_block_delta",
                        "content_block_stop",
                        "message_delta",
                    ]
                )
            },
            optional={
                "index": _JSONISH,
                "message": _JSONISH,
                "delta": _JSONISH
                | st.fixed_dictionaries(
                    {"type": st.sampled_from(["text_delta", "citations_delta", "x"]), "text": _JSONISH}
                ),
                "content_block": _JSONISH
                | st.fixed_dictionaries(
                    {"type": st.sampled_from(["text", "tool_use", "thinking", "y"]), "citations": _JSONISH}
                ),
                "usage": _JSONISH,
                "error": _JSONISH,
            },
        ),
        max_size=6,
    )
)
def test_frames_with_members_of_any_type_never_make_the_reader_raise(frames: list[Frame]) -> None:
    body = stream(*frames, stops("end_turn"), END)
    assert comparable(pieces(STREAM, [body])) == comparable(pieces(STREAM, [body[:30], body[30:]]))
    for frame in frames:
        pieces(JSON, [json.dumps({**frame, "content": [frame.get("content_block")]}).encode()])


@settings(max_examples=200, deadline=None)
@given(_JSONISH)
def test_any_json_at_all_is_read_without_raising(value: Any) -> None:
    text = json.dumps(value).encode()
    for body, head in (
        (b"data: " + text + b"\n\n", STREAM),
        (b"event: ping\ndata: " + text + b"\n\n", STREAM),
        (text, JSON),
    ):
        assert pieces(head, [body])
