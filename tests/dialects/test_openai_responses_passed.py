"""What a provider of the responses API said, for callers of it: passed through, and both ways equal."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routebook.core.errors import UpstreamLost
from routebook.core.events import Counted, Delta, Event, Finish, Plain, ToolDelta
from routebook.core.usage import Usage
from routebook.dialects.base import Receipt
from tests.dialects.responses_cases import (
    JSON,
    SSE,
    events_of,
    heard,
    natives,
    numbered,
    response,
    stream,
    text_stream,
    three_ways,
)
from tests.dialects.responses_cases import message as item_of
from tests.dialects.test_openai_chat_writer import CHARGE, STAMP
from tests.dialects.test_openai_responses_writer import written
from tests.exchanges.harness import Facts, facts


def spoken(events: Sequence[Event], **members: Any) -> Facts:
    receipt = Receipt(next((e.usage for e in reversed(events) if isinstance(e, Counted)), Usage()), CHARGE)
    body = written(events, receipt=receipt, **members)
    return facts(three_ways(body, SSE if members.get("stream") else JSON))


SEARCH = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x"}}
PASSED = stream(
    {"type": "response.created", "response": response(status="in_progress", tools=[{"type": "web_search"}])},
    {"type": "response.output_item.added", "output_index": 0, "item": {**SEARCH, "status": "in_progress"}},
    {"type": "response.web_search_call.searching", "output_index": 0, "item_id": "ws_1"},
    {"type": "response.output_item.done", "output_index": 0, "item": SEARCH},
    {"type": "response.something.new", "surprise": [1, {"a": None}]},
    {"type": "response.completed", "response": response([SEARCH, item_of("x", phase="final_answer")], mood="fine")},
)


def test_events_that_only_this_api_has_pass_as_they_came() -> None:
    body = written(heard(PASSED), stream=True)
    for frame in PASSED.split(b"\n\n")[1:-2]:
        assert frame.partition(b"data: ")[2] in body
    end = events_of(body)[-1]["response"]
    assert (end["mood"], end["output"][1]["phase"], end["output_text"]) == ("fine", "final_answer", "x")


def test_what_is_the_gateways_to_say_is_written_over_the_providers() -> None:
    for in_stream in (True, False):
        body = written(heard(PASSED), user="ann", stream=in_stream)
        values = events_of(body) if in_stream else [{"response": json.loads(body)}]
        responses = [event["response"] for event in values if "response" in event]
        for got in responses:
            assert (got["id"], got["model"], got["user"]) == ("resp_abcdefghijklmnopqrst", "acme/large", "ann")
            assert got["created_at"] == STAMP.created
        assert responses[-1]["usage"]["cost"] == 0.0000375
        assert "somebody-hashed" not in body.decode()


def test_a_provider_that_does_not_number_or_numbers_otherwise_is_numbered() -> None:
    numberings: list[Callable[[int], dict[str, int]]] = [lambda n: {}, lambda n: {"sequence_number": n * 2 + 5}]
    for numbers in numberings:
        frames = []
        for number, frame in enumerate(PASSED.split(b"\n\n")[:-1]):
            value = json.loads(frame.partition(b"data: ")[2])
            del value["sequence_number"]
            frames.append(b"data: " + json.dumps({**value, **numbers(number)}).encode() + b"\n\n")
        numbered(written(heard(b"".join(frames)), stream=True))


def test_a_whole_answer_of_a_provider_can_be_streamed_and_a_stream_be_whole() -> None:
    body = json.dumps(response([SEARCH, item_of("Hello", "you")])).encode()
    events = [event["type"] for event in numbered(written(heard(body, JSON), stream=True))]
    assert events.count("response.output_item.done") == 2
    assert spoken(heard(body, JSON), stream=True).text == "Helloyou"
    assert json.loads(written(heard(PASSED)))["output"][0] == SEARCH


def test_a_bare_end_gets_the_items_that_were_done() -> None:
    bare = text_stream("He", "llo", end={"type": "response.completed", "response": response([])})
    for in_stream in (True, False):
        assert spoken(heard(bare), stream=in_stream).text == "Hello"
    assert json.loads(written(heard(bare)))["output_text"] == "Hello"


def test_an_incomplete_end_passes_with_its_own_reason() -> None:
    said = response([item_of("x")], "incomplete", incomplete_details={"reason": "something new"})
    events = heard(text_stream("x", end={"type": "response.incomplete", "response": said}))
    end = events_of(written(events, stream=True))[-1]
    assert (end["type"], end["response"]["incomplete_details"]) == ("response.incomplete", {"reason": "something new"})


def test_a_provider_that_fails_in_the_middle_leaves_its_items_and_a_failure() -> None:
    cut = text_stream("Hello")
    events = heard(cut[: cut.rindex(b"event: response.completed")])[:-1]
    end = numbered(written(events, UpstreamLost("Gone."), stream=True))[-1]
    assert (end["type"], end["response"]["output_text"]) == ("response.failed", "Hello")
    assert end["response"]["error_type"] == "provider_unavailable"


# --- both ways say the same -------------------------------------------------------------------------------------------

WORDS = st.sampled_from(["a", "b", "ü\n", 'say "x"', "\\", "日本\u2028", "😀", "z", ""])


@settings(max_examples=200, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=12), st.lists(st.integers(0, 5000), max_size=6), st.booleans())
def test_the_short_way_says_what_the_full_way_says(words: list[str], cuts: list[int], padded: bool) -> None:
    body = text_stream(*words)
    if padded:
        body = body.replace(b'"logprobs": []}', b'"logprobs": [], "obfuscation": "xyz"}')
    quick = heard(body, cuts=cuts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("routebook.dialects.openai_responses.reader.text_event", lambda data: None)
        full = heard(body)
    assert not any(isinstance(event, Plain) for event in full)
    if "" not in words:  # an empty piece says nothing, so it goes the full way
        kinds = [native.kind for native in natives(full) if native.kind != "response.output_text.delta"]
        assert [native.kind for native in natives(quick)] == kinds
    plain = [msgspec.structs.replace(event, native=None) if isinstance(event, Delta) else event for event in full]
    for in_stream in (True, False):
        one, two, slow = (spoken(events, stream=in_stream) for events in (quick, full, plain))
        assert one == two
        assert one.text == slow.text == "".join(words)
        assert (one.finish, one.usage) == (slow.finish, slow.usage)


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
PIECES = st.one_of(
    TEXT.map(lambda text: Delta(text=text)),
    TEXT.map(lambda text: Delta(reasoning=text)),
    TEXT.map(lambda text: Delta(refusal=text)),
    st.tuples(st.integers(0, 2), TEXT).map(lambda pair: Delta(tool_calls=[ToolDelta(pair[0], arguments=pair[1])])),
    st.just(Delta(images=[{"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}}])),
    st.just(Delta(annotations=[{"type": "url_citation", "url_citation": {"url": "https://x.test", "title": "X"}}])),
)


def begun(events: list[Delta]) -> list[Event]:
    """With the first piece of every call as providers send it."""
    out: list[Event] = []
    known: set[int] = set()
    for event in events:
        for piece in event.tool_calls or ():
            if piece.index not in known:
                known.add(piece.index)
                out.append(Delta(tool_calls=[ToolDelta(piece.index, f"call_{piece.index}", f"f{piece.index}")]))
        out.append(event)
    return out


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES, max_size=14), st.booleans())
def test_what_is_written_is_read_back_as_what_was_said(pieces: list[Delta], in_stream: bool) -> None:
    calls = any(piece.tool_calls for piece in pieces)
    said = [
        *begun(pieces),
        Finish("tool_calls" if calls else "stop"),
        Counted(Usage(prompt=1, completion=2, reasoning=0, cached=0)),
    ]
    before, after = facts(said), spoken(said, stream=in_stream)
    assert (after.text, after.reasoning, after.refusal) == (before.text, before.reasoning, before.refusal)
    assert sorted(map(str, after.tool_calls)) == sorted(map(str, before.tool_calls))
    assert (after.finish, after.images, after.annotations) == (before.finish, before.images, before.annotations)
    assert after.usage is not None
    assert (after.usage.prompt, after.usage.completion) == (1, 2)
