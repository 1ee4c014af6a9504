"""The fast lane of the chat reader says exactly what the full way says, however the bytes are cut."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routebook.core.events import Event, Failed, Plain
from routebook.dialects import plain
from routebook.dialects.openai_chat import UPSTREAM
from routebook.wire import text
from tests.dialects import lanes
from tests.dialects.chat_cases import chunk, stream
from tests.dialects.lanes import WORDS, ends_of


def both_ways(body: bytes, cuts: Iterable[int] = ()) -> list[Event]:
    return lanes.both_ways(UPSTREAM, body, cuts)


def answer(words: Sequence[str], **more: Any) -> bytes:
    return stream(*(chunk({"content": word}, **more) for word in words), chunk({}, "stop"))


def test_frames_of_one_read_become_one_event_with_their_bytes() -> None:
    body = answer(WORDS)
    events = both_ways(body, [*list(ends_of(body, 1))[:3], body.find(b'"finish_reason": "stop"')])
    run = next(event for event in events if isinstance(event, Plain) and len(event.texts) > 1)
    assert run.texts == [json.dumps(word)[1:-1].encode() for word in WORDS[3:]]
    assert (run.size, run.chars) == (len("".join(WORDS[3:]).encode()), len("".join(WORDS[3:])))


@pytest.mark.parametrize("together", [1, 2, 3, 50])
@pytest.mark.parametrize("more", [{}, {"usage": None}, {"system_fingerprint": "f", "citations": ["x"]}])
def test_any_number_of_frames_a_read_takes_the_lane(together: int, more: dict[str, Any]) -> None:
    body = answer(WORDS * 6, **more)
    events = both_ways(body, list(ends_of(body, together)))
    assert sum(len(event.texts) for event in events if isinstance(event, Plain)) >= len(WORDS) * 6 - 2


def test_text_that_was_not_escaped_takes_the_lane_frame_by_frame_and_is_measured_in_utf8() -> None:
    frames = [json.dumps(chunk({"content": word}), ensure_ascii=False) for word in WORDS * 3]
    body = stream(*(f"data: {frame}\n\n" for frame in frames), chunk({}, "stop"))
    runs = [event for event in both_ways(body, list(ends_of(body, 1))) if isinstance(event, Plain)]
    assert len(runs) >= len(WORDS) * 3 - 2
    for run in runs:
        said = "".join(text.texts(run))
        assert (run.size, run.chars) == (len(said.encode()), len(said))


@pytest.mark.parametrize("framing", ["data:%s\n\n", "data: %s\r\n\r\n", "data:%s\r\n\r\n"])
def test_every_common_framing_takes_the_lane(framing: str) -> None:
    body = "".join(framing % json.dumps(chunk({"content": word})) for word in WORDS * 3)
    body += framing % json.dumps(chunk({}, "stop")) + framing % "[DONE]"
    events = both_ways(body.encode(), [300, 600, 900, 1200])
    assert any(isinstance(event, Plain) and len(event.texts) > 1 for event in events)


def test_padding_that_differs_from_frame_to_frame_takes_the_lane() -> None:
    frames = [chunk({"content": word}, obfuscation="x" * (place % 7)) for place, word in enumerate(WORDS * 3)]
    body = stream(*frames, chunk({}, "stop"))
    events = both_ways(body, list(ends_of(body, 4)))
    assert any(isinstance(event, Plain) and len(event.texts) == 4 for event in events)


def test_a_frame_in_several_reads_is_held_back_and_takes_the_lane() -> None:
    body = answer(WORDS * 4)
    events = both_ways(body, range(0, len(body), 100))
    assert sum(len(event.texts) for event in events if isinstance(event, Plain)) >= len(WORDS) * 4 - 2


def test_a_frame_that_never_ends_is_given_to_the_decoder() -> None:
    head, tail = stream(chunk({"content": "@"}), done=False).split(b"@")
    long = head + b"y" * (plain.HELD_MAX * 2) + tail
    body = stream(*(chunk({"content": "x"}) for _ in range(4)), done=False) + long + stream(chunk({}, "stop"))
    both_ways(body, range(0, len(body), 1000))


@pytest.mark.parametrize("cut", range(0, 140, 7))
def test_an_answer_that_breaks_off_in_the_middle_of_a_learned_frame_is_lost(cut: int) -> None:
    body = stream(*(chunk({"content": "word"}) for _ in range(5)), done=False)
    events = both_ways(body[: len(body) - cut], [150, 300, 450])
    assert isinstance(events[-1], Failed)


@pytest.mark.parametrize(
    "middle",
    [
        "",
        'x","role":"system',
        'x"},"finish_reason":"stop"}],"y":[{"a":{"b":"',
        "\\",
        'a\\"',
        "\\u12",
        "\\ud83d",
        "\\udc00",
        "\x01",
        "\r",
        "\n",
        "\n\n",
        "\udce4",
        '","content":"twice',
        'x"},"finish_reason":null}]}\n\ndata: {"id":"x","choices":[{"index":0,"delta":{"content":"y',
        'x"},"finish_reason":null}]}\n\nevent: error\ndata: {"id":"x","choices":[{"index":0,"delta":{"content":"y',
        'x"},"finish_reason":null}]}\n\n: hello\n\ndata: {"id":"x","choices":[{"index":0,"delta":{"content":"y',
    ],
)
@pytest.mark.parametrize("together", [1, 2, 9])
def test_a_frame_that_only_looks_like_the_learned_one_takes_the_full_way(middle: str, together: int) -> None:
    frame = 'data: {"id":"x","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}\n\n'
    texts = ("a", "b", "c", middle, "d", "e")
    body = "".join(frame % text for text in texts).encode("utf-8", "surrogateescape") + stream(chunk({}, "stop"))
    both_ways(body, [len(frame) * at for at in range(1, 9, together)])


def test_created_times_that_move_on_are_learned_anew_for_as_long_as_they_are_useful() -> None:
    frames = [chunk({"content": "x"}, created=second) for second in range(20) for _ in range(4)]
    body = stream(*frames, chunk({}, "stop"))
    events = both_ways(body, list(ends_of(body, 1)))
    assert sum(isinstance(event, Plain) for event in events) >= 20


PIECES = st.one_of(
    st.text(max_size=20).map(lambda text: chunk({"content": text})),
    st.sampled_from(WORDS).map(lambda text: chunk({"content": text})),
    st.sampled_from(WORDS).map(lambda text: chunk({"content": text}, obfuscation="Ab1")),
    st.text(max_size=9).map(lambda text: chunk({"reasoning": text})),
    st.text(max_size=9).map(lambda text: chunk({"content": text, "role": "assistant"})),
    st.text(max_size=9).map(lambda text: chunk({"content": text}, created=2)),
    st.integers(0, 9).map(
        lambda count: chunk({"content": "n"}, usage={"prompt_tokens": 1, "completion_tokens": count})
    ),
    st.sampled_from("ab").map(lambda tier: chunk({"content": "t"}, service_tier=tier)),
    st.sampled_from("ab").map(lambda url: chunk({"content": "c"}, citations=[url])),
    st.just(chunk({"content": "x"}, "stop")),
    st.sampled_from(["length", "STOP", "", "tool_calls", "odd"]).map(lambda word: chunk({}, word)),
    st.sampled_from(
        [
            chunk({"role": "assistant", "content": "", "refusal": None}),
            chunk({"content": None, "tool_calls": []}),
            chunk({"content": None, "tool_calls": [{"index": 0, "id": "c", "function": {"name": "f"}}]}),
            chunk({"content": "p", "reasoning_content": None}, logprobs=None, model="other", id=None),
            chunk({"content": ["part"]}),
            chunk({"content": "e"}, error={"message": "no"}),
            chunk(usage={"prompt_tokens": 1, "completion_tokens": 2, "x": "\\"}),
            chunk(usage={"prompt_tokens": 1, "completion_tokens": 2, "prompt_cache_hit_tokens": 1}),
            chunk(usage={"input_tokens": 3, "output_tokens": 4.0}),
            chunk(usage={}),
            chunk(usage=[1]),
            {"choices": None, "id": "late"},
            {"id": "late", "choices": [], "object": "error"},
            {"choices": [{"delta": {}, "index": 0, "native_finish_reason": "n", "finish_reason": "stop", "usage": {}}]},
            {"choices": [{"index": 0, "delta": {"content": "a"}}, {"index": 1, "delta": {"content": "b"}}]},
        ]
    ),
    st.just({"id": "chatcmpl-1", "choices": [{"index": 1, "delta": {"content": "other"}, "finish_reason": None}]}),
)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(PIECES, st.integers(1, 4)), max_size=12),
    st.booleans(),
    st.sampled_from(["\n\n", "\r\n\r\n"]),
    st.lists(st.integers(0, 10**5), max_size=12),
    st.booleans(),
)
def test_any_stream_reads_the_same_both_ways_however_it_is_cut(
    pieces: list[tuple[dict[str, Any], int]], compact: bool, end: str, cuts: list[int], between: bool
) -> None:
    separators = (",", ":") if compact else None
    chunks = [piece for piece, times in pieces for _ in range(times)]
    frames = [f"data: {json.dumps(piece, separators=separators, ensure_ascii=compact)}{end}" for piece in chunks]
    body = stream(*frames, chunk({}, "stop"))
    events = both_ways(body, list(ends_of(body, cuts[0] % 5 + 1)) if between and cuts else cuts)
    assert not any(isinstance(event, Failed) for event in events[:-1])
    assert events
