"""Server-sent events: any split of the bytes gives the same events, and nothing grows without bound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routebook.wire import sse
from routebook.wire.sse import EVENT_BYTES_MAX, SseDecoder, SseEvent, TooLong, comment, frame


def events(*pieces: bytes) -> list[SseEvent]:
    decoder = SseDecoder()
    out = [event for piece in pieces for event in decoder.feed(piece)]
    return out + decoder.end()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"data: a\n\n", [("", b"a")]),
        (b"data:a\n\n", [("", b"a")]),
        (b"data:  a\n\n", [("", b" a")]),
        (b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", [("", b"a"), ("", b"b"), ("", b"c")]),
        (b"data: a\ndata: b\n\n", [("", b"a\nb")]),
        (b"event: x\ndata: a\n\ndata: b\n\n", [("x", b"a"), ("", b"b")]),
        (b"event: lost\n\ndata: b\n\n", [("", b"b")]),
        (b": comment\nid: 7\nretry: 3\nunknown\ndata: a\n\n", [("", b"a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [("", b"a")]),
        (b"data\n\n", [("", b"")]),
        (b"data: a", [("", b"a")]),
        (b"data: a\n", [("", b"a")]),
        (b"", []),
        (b"\n\n\n", []),
    ],
)
def test_events_are_read_as_the_standard_says_in_any_split(data: bytes, expected: list[tuple[str, bytes]]) -> None:
    assert events(data) == expected
    assert events(*(data[at : at + 1] for at in range(len(data)))) == expected
    for cut in range(len(data)):
        assert events(data[:cut], data[cut:]) == expected


@given(st.lists(st.binary(max_size=12)), st.integers(1, 5))
def test_no_split_of_any_bytes_changes_what_is_read(pieces: list[bytes], step: int) -> None:
    data = b"data: x\n" + b"".join(pieces)
    assert events(data) == events(*(data[at : at + step] for at in range(0, len(data), step)))


def test_a_line_that_never_ends_is_too_long_however_it_comes() -> None:
    decoder = SseDecoder()
    piece = b"x" * (1 << 20)
    for _ in range(EVENT_BYTES_MAX // len(piece)):
        assert decoder.feed(piece) == []
    with pytest.raises(TooLong):
        decoder.feed(piece)
    with pytest.raises(TooLong):
        SseDecoder().feed(b"data: " + b"x" * (EVENT_BYTES_MAX + 1) + b"\n")


def test_an_event_of_many_lines_is_too_long_even_where_the_lines_are_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "EVENT_BYTES_MAX", 1000)
    with pytest.raises(TooLong):
        SseDecoder().feed(b"data:\n" * 1001)


def test_a_long_line_in_single_bytes_is_copied_once_and_not_once_a_byte() -> None:
    decoder = SseDecoder()
    decoder.feed(b"data: ")
    for _ in range(50_000):
        decoder.feed(b"x")
    # 50,000 pieces held, none joined: joining on every byte would have copied 1.25 GB by now.
    assert len(decoder._pieces) >= 50_000
    assert decoder.feed(b"\n\n") == [("", b"x" * 50_000)]


def test_frames_and_comments_are_what_the_decoder_reads() -> None:
    assert events(comment("alive") + frame(b"{}", "x") + frame(b"[DONE]")) == [("x", b"{}"), ("", b"[DONE]")]
