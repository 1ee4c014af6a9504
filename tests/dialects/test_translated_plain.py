"""The fast lanes of the Anthropic and the Gemini reader say what their full ways say, however the bytes are cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routebook.core.events import Delta, Failed, Plain
from routebook.dialects import anthropic, gemini
from routebook.wire.text import expand
from tests.dialects.lanes import WORDS, both_ways, ends_of, plain_pieces

START = {
    "type": "message_start",
    "message": {"id": "msg_1", "model": "claude-test-1", "usage": {"input_tokens": 3, "output_tokens": 1}},
}
STOP = (
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}},
    {"type": "message_stop"},
)


def opened(index: int, kind: str = "text", **more: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": {"type": kind, **more}}


def closed(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def said(text: str, index: int = 0) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}}


def cited(index: int) -> dict[str, Any]:
    citation = {"type": "web_search_result_location", "url": "https://x.test", "title": "X", "cited_text": "x"}
    return {
        "type": "content_block_delta",
        "index": index,
        "delta": {"type": "citations_delta", "citation": citation},
    }


def messages(*frames: dict[str, Any], end: str = "\n", compact: bool = True, named: bool = True) -> bytes:
    out = []
    for frame in (START, *frames, *STOP):
        name = f"event: {frame['type']}{end}" if named else ""
        value = json.dumps(frame, separators=(",", ":") if compact else None, ensure_ascii=compact)
        out.append(f"{name}data: {value}{end}{end}")
    return "".join(out).encode()


@pytest.mark.parametrize("together", [1, 3, 99])
@pytest.mark.parametrize(("end", "named"), [("\n", True), ("\r\n", True), ("\n", False)])
def test_messages_text_takes_the_lane_in_every_framing(together: int, end: str, named: bool) -> None:
    frames = (opened(0), *(said(word) for word in WORDS * 4), closed(0))
    body = messages(*frames, end=end, named=named)
    # The first frames come one by one, so that the lane knows the rest whatever a read holds.
    ends = list(ends_of(body, 1, end.encode() * 2))
    events = both_ways(anthropic.UPSTREAM, body, [*ends[:5], *ends[5::together]])
    assert plain_pieces(events) >= len(WORDS) * 4 - 2


def test_citations_behind_plain_text_know_where_their_text_lies() -> None:
    frames = [
        frame for at in range(3) for frame in (opened(at), *(said("wö", at) for _ in range(6)), cited(at), closed(at))
    ]
    body = messages(*frames)
    events = both_ways(anthropic.UPSTREAM, body, list(ends_of(body, 2)))
    notes = [note["url_citation"] for e in events if isinstance(e, Delta) for note in e.annotations or ()]
    assert [(note["start_index"], note["end_index"]) for note in notes] == [(0, 12), (12, 24), (24, 36)]
    assert plain_pieces(events) > 6


BLOCK = st.one_of(
    st.tuples(st.just("text"), st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=9)), max_size=9)),
    st.tuples(st.just("cited"), st.lists(st.sampled_from(WORDS), max_size=6)),
    st.tuples(st.just("thinking"), st.lists(st.sampled_from(WORDS), max_size=4)),
    st.tuples(st.just("tool_use"), st.lists(st.sampled_from(WORDS), max_size=4)),
    st.tuples(st.just("never opened"), st.lists(st.sampled_from(WORDS), max_size=4)),
    st.tuples(st.just("ping"), st.just([])),
)


def block_frames(index: int, kind: str, words: list[str]) -> list[dict[str, Any]]:
    if kind == "ping":
        return [{"type": "ping"}]
    if kind == "thinking":
        pieces = [{"type": "thinking_delta", "thinking": word} for word in words]
        deltas = [{"type": "content_block_delta", "index": index, "delta": piece} for piece in pieces]
        return [opened(index, "thinking"), *deltas, closed(index)]
    if kind == "tool_use":
        pieces = [{"type": "input_json_delta", "partial_json": word} for word in words]
        deltas = [{"type": "content_block_delta", "index": index, "delta": piece} for piece in pieces]
        return [opened(index, "tool_use", id="toolu_1", name="f", input={}), *deltas, closed(index)]
    frames = [said(word, index) for word in words]
    if kind == "never opened":
        return frames
    return [opened(index), *frames, *([cited(index)] if kind == "cited" else []), closed(index)]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(BLOCK, st.integers(0, 2)), max_size=6),
    st.booleans(),
    st.sampled_from(["\n", "\r\n"]),
    st.integers(1, 6),
    st.lists(st.integers(0, 10**5), max_size=9),
)
def test_any_messages_stream_reads_the_same_both_ways(
    blocks: list[tuple[tuple[str, list[str]], int]], compact: bool, end: str, together: int, cuts: list[int]
) -> None:
    frames = [frame for (kind, words), index in blocks for frame in block_frames(index, kind, words)]
    body = messages(*frames, end=end, compact=compact)
    events = both_ways(anthropic.UPSTREAM, body, cuts or ends_of(body, together, end.encode() * 2))
    assert not any(isinstance(event, Failed) for event in events)


# --- Gemini -----------------------------------------------------------------------------------------------------------


def generated(text: str | None, made: int | None = None, **more: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    value: dict[str, Any] = {"candidates": [candidate]}
    for name in ("finishReason", "groundingMetadata"):
        if name in more:
            candidate[name] = more.pop(name)
    if "parts" in more:
        candidate["content"]["parts"] = more.pop("parts")
    if made is not None:
        report = {"promptTokenCount": 7, "candidatesTokenCount": made, "totalTokenCount": 7 + made}
        details = [{"modality": "TEXT", "tokenCount": 7}]
        value["usageMetadata"] = {**report, "promptTokensDetails": details, **more.pop("report", {})}
    return {**value, "modelVersion": "gemini-3-pro", "responseId": "r-12", **more}


def contents(*frames: dict[str, Any], end: str = "\r\n\r\n", compact: bool = False) -> bytes:
    last = generated("", 99, finishReason="STOP")
    separators = (",", ":") if compact else None
    return "".join(f"data: {json.dumps(f, separators=separators)}{end}" for f in (*frames, last)).encode()


@pytest.mark.parametrize("together", [1, 3, 99])
@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n"])
@pytest.mark.parametrize("counted", [True, False])
def test_generated_text_takes_the_lane_though_its_counts_grow(together: int, end: str, counted: bool) -> None:
    frames = [generated(word, at * at if counted else None) for at, word in enumerate(WORDS * 4)]
    body = contents(*frames, end=end)
    ends = list(ends_of(body, 1, end.encode()))
    events = both_ways(gemini.UPSTREAM, body, [*ends[:4], *ends[4::together]])
    assert plain_pieces(events) >= len(WORDS) * 4 - 3
    runs = [event for event in events if isinstance(event, Plain)]
    assert all((run.report is not None) == counted for run in runs)


def test_a_stream_that_breaks_off_still_knows_the_last_counts() -> None:
    body = contents(*(generated("word", at) for at in range(1, 40)))
    cut = body.rfind(b"data:") - 1
    events = both_ways(gemini.UPSTREAM, body[:cut], list(ends_of(body, 1, b"\r\n\r\n")))
    assert isinstance(events[-1], Failed)
    last = [event for event in events if isinstance(event, Plain)][-1]
    assert last.report is not None
    assert last.report().usage.completion == 39


@pytest.mark.parametrize("number", ["01", "-1", "1.5", "1e3", '"7"', "null", "99999999999999999999", "", "1 2"])
def test_counts_of_another_form_take_the_full_way(number: str) -> None:
    frames = [generated("x", 4) for _ in range(8)]
    body = contents(*frames, compact=True)
    places = [at for at in range(len(body)) if body.startswith(b'"candidatesTokenCount":4', at)]
    at = places[5] + len(b'"candidatesTokenCount":')
    both_ways(gemini.UPSTREAM, body[:at] + number.encode() + body[at + 1 :], list(ends_of(body, 2, b"\r\n\r\n")))


GROUNDED = {
    "groundingChunks": [{"web": {"uri": "https://x.test", "title": "X"}}],
    "groundingSupports": [{"segment": {"startIndex": 1, "endIndex": 4}, "groundingChunkIndices": [0]}],
}

FRAME = st.one_of(
    st.builds(generated, st.one_of(st.sampled_from(WORDS), st.text(max_size=9)), st.integers(0, 10**6)),
    st.builds(generated, st.sampled_from(WORDS), st.none()),
    st.builds(generated, st.sampled_from(WORDS), st.integers(0, 99), report=st.just({"trafficType": "ON_DEMAND"})),
    st.builds(generated, st.sampled_from(WORDS), st.integers(0, 99), report=st.just({"thoughtsTokenCount": 5})),
    st.builds(generated, st.sampled_from(WORDS), st.integers(0, 9), groundingMetadata=st.just(GROUNDED)),
    st.builds(generated, st.none(), st.integers(0, 9), parts=st.just([{"text": "hm", "thought": True}])),
    st.builds(generated, st.none(), st.integers(0, 9), parts=st.just([{"text": "two"}, {"text": " parts"}])),
    st.builds(generated, st.none(), st.integers(0, 9), parts=st.just([{"text": "empty"}, {}])),
    st.builds(generated, st.none(), st.none(), parts=st.just([{"functionCall": {"name": "f", "args": {}}}])),
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(FRAME, st.integers(1, 5)), max_size=8),
    st.booleans(),
    st.sampled_from(["\n\n", "\r\n\r\n"]),
    st.integers(1, 6),
    st.lists(st.integers(0, 10**5), max_size=9),
)
def test_any_generated_stream_reads_the_same_both_ways(
    frames: list[tuple[dict[str, Any], int]], compact: bool, end: str, together: int, cuts: list[int]
) -> None:
    body = contents(*(frame for frame, times in frames for _ in range(times)), end=end, compact=compact)
    events = both_ways(gemini.UPSTREAM, body, cuts or ends_of(body, together, end.encode()))
    assert not any(isinstance(event, Failed) for event in events)
    assert expand(events)
