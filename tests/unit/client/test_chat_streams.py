"""Streamed answers of a real server on a loopback socket, read by both clients."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from routebook.client import (
    PaymentRequired,
    ProviderUnavailable,
    Routebook,
    StreamCut,
    TimedOut,
    UnreadableAnswer,
)
from tests.unit.client.loopback import (
    KEY,
    Driver,
    Loopback,
    answer,
    events,
    piece,
)

HELLO: list[Any] = [{"role": "user", "content": "Hi"}]


def test_a_stream_gives_its_chunks_id_and_usage(server: Loopback, driver: Driver) -> None:
    usage = piece(usage={"prompt_tokens": 9, "completion_tokens": 2, "cost": 0.0000375})
    server.say(
        events(
            ": PROCESSING\n\n",
            piece("Hel")[:20],
            piece("Hel")[20:],
            piece("lo", "stop") + usage,
            "data: [DONE]\n\n",
            x_generation_id="gen-9-z",
        )
    )
    heard = driver.listen()
    assert (heard.text, heard.error) == ("Hello", None)
    assert (heard.early_generation_id, heard.stream.generation_id) == (
        "gen-9-z",
        "gen-9-z",
    )
    assert heard.stream.usage.cost == Decimal("0.0000375")
    assert heard.chunks[1].choices[0].finish_reason == "stop"
    (seen,) = server.seen
    assert seen.json["stream"] is True
    assert (seen.headers["accept"], seen.headers["accept-encoding"]) == (
        "text/event-stream",
        "identity",
    )


def test_a_stream_ends_at_its_marker_even_if_the_server_stays(server: Loopback, driver: Driver) -> None:
    server.say(events(piece("x", "stop"), "data: [DONE]\n\n", wait_for_hangup=True))
    assert driver.listen(before_close=server.saw_the_client_leave).text == "x"


def test_leaving_a_stream_hangs_up_at_once(server: Loopback, driver: Driver) -> None:
    server.say(events(piece("x"), wait_for_hangup=True))
    assert driver.listen(until=1, before_close=server.saw_the_client_leave).text == "x"


def test_an_error_in_a_stream_is_raised_after_the_text_before_it(server: Loopback, driver: Driver) -> None:
    error = {
        "code": 502,
        "message": "Provider returned error",
        "metadata": {"error_type": "provider_unavailable"},
    }
    server.say(
        events(
            piece("x"),
            piece(finish="error", error=error),
            wait_for_hangup=True,
            x_generation_id="gen-9-z",
        )
    )
    heard = driver.listen(before_close=server.saw_the_client_leave)
    assert heard.text == "x"
    assert isinstance(heard.error, ProviderUnavailable)
    assert heard.error.generation_id == "gen-9-z"


def test_a_stream_that_stops_before_its_end_is_an_error(server: Loopback, driver: Driver) -> None:
    server.say(events(piece("x")))
    heard = driver.listen()
    assert heard.text == "x"
    assert isinstance(heard.error, StreamCut)
    assert heard.error.generation_id == "gen-1-a"


def test_a_stream_that_falls_silent_is_timed_out_and_names_its_generation(server: Loopback, driver: Driver) -> None:
    server.say(events(piece("x"), wait_for_hangup=True))
    heard = driver.listen(timeout=0.2)
    assert heard.text == "x"
    assert isinstance(heard.error, TimedOut)
    assert heard.error.generation_id == "gen-1-a"


def test_a_stream_refused_before_it_begins_is_raised_at_send(server: Loopback, driver: Driver) -> None:
    server.say(answer(402, {"error": {"code": 402, "message": "spent"}}))
    with pytest.raises(PaymentRequired, match="spent"):
        driver.listen()


def test_a_whole_answer_in_place_of_a_stream_is_unreadable(server: Loopback, driver: Driver) -> None:
    server.say(answer(200, {"choices": [{"message": {"content": "x"}}]}, x_generation_id="gen-9-z"))
    with pytest.raises(UnreadableAnswer, match="gen-9-z"):
        driver.listen()


def test_a_stream_that_was_left_gives_no_more_chunks(server: Loopback) -> None:
    server.say(events(piece("x"), piece("y"), wait_for_hangup=True))
    with Routebook(KEY, server.url) as client:
        with client.chat.send(messages=HELLO, stream=True) as stream:
            assert next(stream).text == "x"
        assert list(stream) == []
