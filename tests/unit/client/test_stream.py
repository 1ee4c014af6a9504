"""Reading streams from bytes: event syntax, chunks, errors in the stream, the end of it."""

from __future__ import annotations

import json

import pytest

from routebook.client import (
    BadRequest,
    ChatChunk,
    ProviderUnavailable,
    RateLimited,
    ServerError,
    StreamCut,
)
from routebook.client.errors import RoutebookError, UnreadableAnswer
from routebook.client.stream import ChatReader, EventReader
from tests.unit.client.loopback import KEY, piece

SYNTAX = (
    b"\xef\xbb\xbf: a comment\n\n"
    b"event: named\nid: 7\nretry: 10\ndata: one\n\n"
    b"data:two\r\ndata:more\r\n\r\n"
    b"data: three\rdata: lines\r\r"
    b"data:  four\n\n\n\n"
    b"data\n\n"
    b"data: last"
)
EVENTS = [b"one", b"two\nmore", b"three\nlines", b" four", b"last"]


def read(*cuts: bytes) -> list[bytes]:
    reader = EventReader()
    found = [event for cut in cuts for event in reader.feed(cut)]
    return found + list(reader.end())


def test_events_are_read_by_the_standards_syntax() -> None:
    assert read(SYNTAX) == EVENTS


def test_events_are_the_same_byte_by_byte() -> None:
    assert read(*(SYNTAX[at : at + 1] for at in range(len(SYNTAX)))) == EVENTS


def test_events_are_the_same_wherever_the_bytes_are_cut_in_two() -> None:
    for at in range(len(SYNTAX) + 1):
        assert read(SYNTAX[:at], SYNTAX[at:]) == EVENTS, at


def test_an_event_is_there_as_soon_as_its_blank_line_is() -> None:
    assert list(EventReader().feed(b"data: now\r\n\r")) == [b"now"]


def chat(text: str, generation_id: str | None = None) -> tuple[list[ChatChunk], RoutebookError | None, ChatReader]:
    reader = ChatReader(generation_id, KEY)
    chunks: list[ChatChunk] = []
    try:
        chunks.extend(reader.feed(text.encode()))
        chunks.extend(reader.end())
    except RoutebookError as fault:
        return chunks, fault, reader
    return chunks, None, reader


def test_comments_are_skipped_and_nothing_after_the_end_marker_is_read() -> None:
    usage = piece(usage={"prompt_tokens": 1, "completion_tokens": 2, "cost": 0.1})
    text = ": PROCESSING\n\n" + piece("Hel") + ": PROCESSING\n\n" + piece("lo", "stop") + usage
    chunks, error, reader = chat(text + "data: [DONE]\n\n" + "data: junk\n\n")
    assert error is None
    assert "".join(chunk.text for chunk in chunks) == "Hello"
    assert reader.done
    assert reader.usage is not None
    assert str(reader.usage.cost) == "0.1"


def test_the_id_comes_from_the_header_or_else_from_the_first_chunk() -> None:
    assert chat(piece("x", "stop"), "gen-9-z")[2].generation_id == "gen-9-z"
    assert chat(piece("x", "stop"))[2].generation_id == "gen-1-a"
    assert chat(piece("x", "stop", id="chatcmpl-1"))[2].generation_id is None


def test_an_end_after_the_finish_is_an_end_even_without_the_marker() -> None:
    chunks, error, reader = chat(piece("x", "stop"))
    assert (len(chunks), error, reader.done) == (1, None, False)


@pytest.mark.parametrize("text", ["", ": PROCESSING\n\n", piece("x"), piece("x") + "data: {"])
def test_an_end_before_the_finish_is_an_error_that_names_the_generation(
    text: str,
) -> None:
    _, error, _ = chat(text, "gen-9-z")
    assert isinstance(error, (StreamCut, UnreadableAnswer))
    assert error.generation_id == "gen-9-z"
    assert "gen-9-z" in str(error)


def test_text_that_came_before_an_error_is_handed_out_first() -> None:
    error = {
        "code": 502,
        "message": f"Provider returned error for {KEY}",
        "metadata": {
            "error_type": "provider_unavailable",
            "provider_code": "conn_reset",
        },
    }
    chunks, fault, reader = chat(
        piece("Hel") + piece(finish="error", error=error) + "data: [DONE]\n\n",
        "gen-9-z",
    )
    assert [chunk.text for chunk in chunks] == ["Hel"]
    assert isinstance(fault, ProviderUnavailable)
    assert (fault.status, fault.error_type, fault.generation_id) == (
        502,
        "provider_unavailable",
        "gen-9-z",
    )
    assert fault.metadata["provider_code"] == "conn_reset"
    assert KEY not in repr((fault, str(fault), fault.metadata, fault.body))
    assert reader.usage is None


def test_usage_on_the_error_chunk_is_kept() -> None:
    _, fault, reader = chat(
        piece(
            error={"code": 400, "message": "Token limit"},
            usage={"completion_tokens": 10},
        )
    )
    assert isinstance(fault, BadRequest)
    assert reader.usage is not None
    assert reader.usage.completion_tokens == 10


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        ({"code": "server_error", "message": "x"}, ServerError, 500),
        ({"code": "429", "message": "x"}, RateLimited, 429),
        (
            {"message": "x", "metadata": {"error_type": "rate_limit_exceeded"}},
            RateLimited,
            429,
        ),
        (
            {"code": 0, "message": "x", "error_type": "provider_unavailable"},
            ProviderUnavailable,
            502,
        ),
        ("went wrong", ServerError, 500),
        ({}, None, None),
    ],
)
def test_errors_in_a_stream_are_typed_by_code_or_word(error: object, kind: type | None, status: int | None) -> None:
    _, fault, _ = chat(piece("x", "stop", error=error))
    assert (type(fault) if fault else None) is kind
    assert (fault.status if fault else None) == status


def test_an_error_on_the_choice_counts_as_well() -> None:
    choice = {
        "index": 0,
        "delta": {},
        "finish_reason": "error",
        "error": {"code": 503, "message": "full"},
    }
    _, fault, _ = chat("data: " + json.dumps({"choices": [choice]}) + "\n\n")
    assert fault is not None
    assert (fault.status, fault.message) == (503, "full")


@pytest.mark.parametrize(
    "junk",
    ["data: <html>\n\n", 'data: {"choices": 1}\n\n', "data: [1]\n\n", "data: \xff\n\n"],
)
def test_an_event_that_is_no_chunk_is_an_unreadable_answer(junk: str) -> None:
    chunks, fault, _ = chat(piece("x") + junk)
    assert len(chunks) == 1
    assert isinstance(fault, UnreadableAnswer)
