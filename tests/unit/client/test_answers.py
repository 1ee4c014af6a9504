"""What both clients make of the answers of a real server on a loopback socket, and of trouble on the way."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from routebook.client import (
    Conflict,
    ConnectionFailed,
    GetGenerationData,
    NotFound,
    PaymentRequired,
    ProviderOverloaded,
    RoutebookError,
    TimedOut,
    UnreadableAnswer,
)
from tests.unit.client.loopback import (
    KEY,
    LIMIT,
    Driver,
    Loopback,
    answer,
    events,
)

HELLO: list[Any] = [{"role": "user", "content": "Hi"}]
RECORD = {"data": {"id": "gen-1-a", "total_cost": 0.0015}}


def test_a_record_comes_back_typed(server: Loopback, driver: Driver) -> None:
    server.say(answer(200, RECORD))
    data = driver.ask(lambda c: c.generations.get("gen-1-a")).data
    assert isinstance(data, GetGenerationData)
    assert data.total_cost == Decimal("0.0015")


def test_cancelling_says_that_it_stops_and_what_has_ended_is_a_conflict(server: Loopback, driver: Driver) -> None:
    server.say(
        answer(200, {"data": {"id": "gen-1-a", "cancelled": True}}),
        answer(409, {"error": {"code": 409, "message": "Generation gen-1-a has ended"}}),
    )
    data = driver.ask(lambda c: c.generations.cancel("gen-1-a")).data
    assert (data.id, data.cancelled) == ("gen-1-a", True)
    with pytest.raises(Conflict, match="has ended"):
        driver.ask(lambda c: c.generations.cancel("gen-1-a"))


def test_an_answer_has_its_generation_id_from_the_header(server: Loopback, driver: Driver) -> None:
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": [{"text": "Hello"}]},
    }
    body = {
        "id": "chatcmpl-1",
        "choices": [choice],
        "usage": {"prompt_tokens": 2, "cost": 1e-9},
    }
    server.say(answer(200, body, x_generation_id="gen-9-z"), answer(200, body))
    completion = driver.ask(lambda c: c.chat.send(model="acme/one", messages=HELLO))
    assert (completion.generation_id, completion.text) == ("gen-9-z", "Hello")
    assert completion.usage.cost == Decimal("1e-9")
    assert driver.ask(lambda c: c.chat.send(model="acme/one", messages=HELLO)).generation_id is None


def test_an_answer_that_broke_off_keeps_its_text_and_says_why(server: Loopback, driver: Driver) -> None:
    choice = {
        "index": 0,
        "finish_reason": "error",
        "message": {"content": "Hel"},
        "error": {"code": 502, "message": "m"},
    }
    server.say(answer(200, {"choices": [choice]}))
    completion = driver.ask(lambda c: c.chat.send(model="acme/one", messages=HELLO))
    assert (completion.text, completion.choices[0].error["code"]) == ("Hel", 502)


def test_an_error_inside_a_200_answer_is_raised(server: Loopback, driver: Driver) -> None:
    server.say(
        answer(
            200,
            {"error": {"code": 402, "message": f"spent by {KEY}"}},
            x_generation_id="gen-9-z",
        )
    )
    with pytest.raises(PaymentRequired) as caught:
        driver.ask(lambda c: c.chat.send(model="acme/one", messages=HELLO))
    assert (caught.value.status, caught.value.generation_id) == (402, "gen-9-z")
    assert KEY not in repr((caught.value, caught.value.body, str(caught.value)))


def test_models_endpoints_keys_and_credits_come_back_typed(server: Loopback, driver: Driver) -> None:
    server.say(
        answer(
            200,
            {
                "data": [{"id": "acme/one", "pricing": {"prompt": "0.00000015"}}],
                "total_count": 1,
            },
        ),
        answer(
            200,
            {"data": {"id": "acme/one", "endpoints": [{"tag": "acme", "status": -2}]}},
        ),
        answer(200, {"data": {"total_credits": 100.5, "total_usage": 0.3}}),
        answer(201, {"data": {"hash": "ab", "limit": 0.1}, "key": "sk-rb-v1-new"}),
        answer(200, {"data": [{"hash": "ab", "created_at": "2030-01-01T00:00:00Z"}]}),
        answer(200, {"data": {"hash": "ab", "disabled": True}}),
        answer(200, {"deleted": True}),
        answer(
            200,
            {
                "data": {
                    "label": "sk-...1c96",
                    "is_management_key": True,
                    "limit_remaining": 74.5,
                }
            },
        ),
    )
    assert [model.pricing.prompt for model in driver.ask(lambda c: c.models.list())] == [Decimal("0.00000015")]
    assert driver.ask(lambda c: c.models.endpoints("acme", "one")).data.endpoints[0].status == -2
    assert driver.ask(lambda c: c.credits.get()).data.remaining == Decimal("100.2")
    created = driver.ask(lambda c: c.keys.create(name="n", limit=Decimal("0.1")))
    assert (created.key, created.data.limit) == ("sk-rb-v1-new", Decimal("0.1"))
    (listed,) = driver.ask(lambda c: c.keys.list())
    assert listed.created_datetime == datetime(2030, 1, 1, tzinfo=UTC)
    assert driver.ask(lambda c: c.keys.update("ab", disabled=True)).data.disabled is True
    assert driver.ask(lambda c: c.keys.delete("ab")).deleted is True
    assert driver.ask(lambda c: c.keys.current()).data.limit_remaining == Decimal("74.5")


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"", b'{"data":', b'{"data":{"app_id":"x"}}', b"[]"])
def test_an_answer_that_is_not_the_apis_is_unreadable_and_says_so(
    server: Loopback, driver: Driver, body: bytes
) -> None:
    server.say(answer(200, body, content_type="text/html"))
    with pytest.raises(UnreadableAnswer, match=r"GET /generation \(text/html\).*base URL") as caught:
        driver.ask(lambda c: c.generations.get("gen-1-a"))
    assert caught.value.status == 200


def test_a_redirect_is_not_followed_with_the_key(server: Loopback, driver: Driver) -> None:
    server.say(answer(302, b"", location=server.url + "/elsewhere"))
    with pytest.raises(UnreadableAnswer):
        driver.ask(lambda c: c.generations.get("gen-1-a"))
    assert len(server.seen) == 1


def test_a_get_is_made_again_after_server_errors_and_then_succeeds(server: Loopback, driver: Driver) -> None:
    server.say(answer(503, b""), answer(502, b""), answer(200, RECORD))
    assert driver.ask(lambda c: c.generations.get("gen-1-a")).data.id == "gen-1-a"


def test_a_get_is_made_three_times_at_most(server: Loopback, driver: Driver) -> None:
    server.say(*[answer(503, b"")] * 4)
    with pytest.raises(ProviderOverloaded):
        driver.ask(lambda c: c.generations.get("gen-1-a"))
    assert len(server.seen) == 3


def test_a_get_is_made_once_where_the_caller_wants_no_retries(server: Loopback, driver: Driver) -> None:
    server.say(answer(503, b""))
    with pytest.raises(ProviderOverloaded):
        driver.ask(lambda c: c.generations.get("gen-1-a"), get_retries=0)
    assert len(server.seen) == 1


@pytest.mark.parametrize("reply", [answer(503, b"", retry_after="30"), answer(400, b""), answer(404, b"")])
def test_a_get_is_made_once_where_another_try_makes_no_sense(server: Loopback, driver: Driver, reply: Any) -> None:
    server.say(reply)
    with pytest.raises(RoutebookError):
        driver.ask(lambda c: c.generations.get("gen-1-a"))
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "act",
    [
        lambda c: c.chat.send(model="acme/one", messages=HELLO),
        lambda c: c.chat.send(model="acme/one", messages=HELLO, stream=True),
        lambda c: c.keys.create(name="n"),
        lambda c: c.keys.update("ab", name="n"),
        lambda c: c.keys.delete("ab"),
    ],
)
def test_what_is_not_a_get_is_never_made_twice(server: Loopback, driver: Driver, act: Callable[[Any], Any]) -> None:
    server.say(answer(503, {"error": {"message": "full"}}, x_generation_id="gen-9-z"))
    with pytest.raises(ProviderOverloaded) as caught:
        driver.ask(act)
    assert caught.value.generation_id == "gen-9-z"
    assert len(server.seen) == 1


def test_a_record_that_is_late_is_waited_for(server: Loopback, driver: Driver) -> None:
    server.say(answer(404, b""), answer(404, b""), answer(200, RECORD))
    assert driver.ask(lambda c: c.generations.get("gen-1-a", wait=LIMIT)).data.id == "gen-1-a"


def test_a_record_that_never_comes_is_waited_for_no_longer_than_asked(server: Loopback, driver: Driver) -> None:
    server.say(*[answer(404, b"")] * 9)
    with pytest.raises(NotFound):
        driver.ask(lambda c: c.generations.get("gen-1-a", wait=0.15))
    assert len(server.seen) == 3


def test_nobody_listening_is_a_failed_connection_that_was_surely_not_sent(
    driver: Driver,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/api/v1"
    for act in (
        lambda c: c.chat.send(model="a/b", messages=HELLO),
        lambda c: c.chat.send(messages=HELLO, stream=True),
    ):
        with pytest.raises(ConnectionFailed, match=r"127\.0\.0\.1.*Check that the server runs") as caught:
            driver.ask(act, base_url=address)
        assert caught.value.maybe_sent is False
        assert caught.value.status is None


def test_an_answer_that_is_cut_is_a_failed_connection_that_may_have_been_sent(server: Loopback, driver: Driver) -> None:
    cut = answer(200, RECORD)
    cut.parts = [cut.parts[0][:-5]]
    server.say(cut)
    with pytest.raises(ConnectionFailed) as caught:
        driver.ask(lambda c: c.chat.send(model="acme/one", messages=HELLO))
    assert caught.value.maybe_sent is True


def test_silence_is_timed_out_and_not_asked_again(server: Loopback, driver: Driver) -> None:
    for act in (
        lambda c: c.generations.get("gen-1-a"),
        lambda c: c.chat.send(model="a/b", messages=HELLO, stream=True),
    ):
        silent = events(wait_for_hangup=True)
        silent.parts = []
        server.say(silent)
        with pytest.raises(TimedOut, match="timeout"):
            driver.ask(act, timeout=0.1)
    assert len(server.seen) == 2
