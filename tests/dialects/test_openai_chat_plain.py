"""The short way for frames of plain text says exactly what the full way says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routebook.core.events import Delta, Event, Failed
from routebook.dialects.openai_chat import plain
from tests.dialects.chat_cases import SSE, chunk, comparable, read_once, stream


def both_ways(body: bytes) -> list[Event]:
    """The events, after a look at what the full way alone makes of the same bytes."""
    short = read_once(body, SSE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "TRIES_MAX", 0)
        full = read_once(body, SSE)
    assert comparable(short) == comparable(full)
    return short


def test_the_short_way_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    learned: list[str] = []
    read, learn = plain.PlainText.read, plain.PlainText.learn

    def noted(self: plain.PlainText, data: bytes) -> str | None:
        text = read(self, data)
        if text is not None:
            taken.append(text)
        return text

    def studied(self: plain.PlainText, data: bytes, text: str, index: int) -> None:
        learn(self, data, text, index)
        learned.append(text)
        taken.clear()  # reading the frame back is the proof of learning, not the short way

    monkeypatch.setattr(plain.PlainText, "read", noted)
    monkeypatch.setattr(plain.PlainText, "learn", studied)
    words = ["a", "b", "ü\n", 'say "x"', "\\", "", "z"]
    for padded in (False, True):
        learned.clear()
        frames = [chunk({"content": w}, **({"obfuscation": f"p{n}"} if padded else {})) for n, w in enumerate(words)]
        events = read_once(stream(*frames, chunk({}, "stop")), SSE)
        assert [event.text for event in events if isinstance(event, Delta)] == words
        # The first frame also begins the answer, the second is learned from, all others go the short way.
        assert (learned, taken) == (words[1:2], words[2:])


@pytest.mark.parametrize(
    "middle",
    [
        'x","role":"system',
        'x"},"finish_reason":"stop"}],"y":[{"a":{"b":"',
        "\\",
        'a\\"',
        "\\u12",
        "\x01",
        '","content":"twice',
    ],
)
def test_a_frame_that_only_looks_like_the_learned_one_takes_the_full_way(middle: str) -> None:
    frame = 'data: {"id":"x","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}\n\n'
    both_ways(stream(*(frame % text for text in ("a", "b", "c", middle, "d")), chunk({}, "stop")))


PIECES = st.one_of(
    st.text(max_size=20).map(lambda text: chunk({"content": text})),
    st.text(max_size=20).map(lambda text: chunk({"content": text}, obfuscation="Ab1")),
    st.text(max_size=9).map(lambda text: chunk({"reasoning": text})),
    st.text(max_size=9).map(lambda text: chunk({"content": text, "role": "assistant"})),
    st.text(max_size=9).map(lambda text: chunk({"content": text}, created=2)),
    st.integers(0, 9).map(
        lambda count: chunk({"content": "n"}, usage={"prompt_tokens": 1, "completion_tokens": count})
    ),
    st.sampled_from("ab").map(lambda tier: chunk({"content": "t"}, service_tier=tier)),
    st.sampled_from("ab").map(lambda url: chunk({"content": "c"}, citations=[url])),
    st.just(chunk({"content": "x"}, "stop")),
    st.just({"id": "chatcmpl-1", "choices": [{"index": 1, "delta": {"content": "other"}, "finish_reason": None}]}),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=14), st.booleans())
def test_any_stream_reads_the_same_both_ways(pieces: list[dict[str, Any]], compact: bool) -> None:
    frames = [f"data: {json.dumps(piece, separators=(',', ':') if compact else None)}\n\n" for piece in pieces]
    events = both_ways(stream(*frames, chunk({}, "stop")))
    assert not any(isinstance(event, Failed) for event in events[:-1])
