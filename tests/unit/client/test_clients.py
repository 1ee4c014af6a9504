"""Both clients against a real server on a loopback socket: requests as sent, answers, retries, secrets, streams."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from routebook.client import (
    AsyncRoutebook,
    BadArgument,
    ChatMessage,
    ConnectionFailed,
    CreateKeyResponseBody,
    GetGenerationData,
    NotFound,
    PaymentRequired,
    ProviderOverloaded,
    ProviderUnavailable,
    Routebook,
    RoutebookError,
    StreamCut,
    TimedOut,
    Unauthorized,
    UnreadableAnswer,
)
from tests.unit.client.loopback import (
    KEY,
    LIMIT,
    Driver,
    Loopback,
    answer,
    events,
    piece,
)

HELLO: list[Any] = [{"role": "user", "content": "Hi"}]
RECORD = {"data": {"id": "gen-1-a", "total_cost": 0.0015}}


# What is sent --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "method", "target", "body"),
    [
        (
            lambda c: c.generations.get("gen-1 &x"),
            "GET",
            "/generation?id=gen-1+%26x",
            None,
        ),
        (lambda c: c.models.list(), "GET", "/models", None),
        (
            lambda c: c.models.list(category="legal", limit=5),
            "GET",
            "/models?category=legal&limit=5",
            None,
        ),
        (
            lambda c: c.models.endpoints("acme", "one:free"),
            "GET",
            "/models/acme/one:free/endpoints",
            None,
        ),
        (
            lambda c: c.models.endpoints("a/c", "o?e"),
            "GET",
            "/models/a%2Fc/o%3Fe/endpoints",
            None,
        ),
        (lambda c: c.credits.get(), "GET", "/credits", None),
        (lambda c: c.keys.current(), "GET", "/key", None),
        (
            lambda c: c.keys.list(include_disabled=True, offset=100),
            "GET",
            "/keys?include_disabled=true&offset=100",
            None,
        ),
        (lambda c: c.keys.get("ab12"), "GET", "/keys/ab12", None),
        (lambda c: c.keys.delete("ab12"), "DELETE", "/keys/ab12", None),
        (
            lambda c: c.keys.update("ab12", limit=None, disabled=True),
            "PATCH",
            "/keys/ab12",
            b'{"limit":null,"disabled":true}',
        ),
        (lambda c: c.keys.create(name="n"), "POST", "/keys", b'{"name":"n"}'),
        (
            lambda c: c.keys.create(name="n", limit=Decimal("0.10")),
            "POST",
            "/keys",
            b'{"name":"n","limit":0.10}',
        ),
        (
            lambda c: c.keys.create(name="n", limit=0.1),
            "POST",
            "/keys",
            b'{"name":"n","limit":0.1}',
        ),
        (
            lambda c: c.keys.create(name="n", limit="12.5"),
            "POST",
            "/keys",
            b'{"name":"n","limit":12.5}',
        ),
        (
            lambda c: c.keys.create(
                name="n",
                expires_at=datetime(2030, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))),
            ),
            "POST",
            "/keys",
            b'{"name":"n","expires_at":"2030-01-01T00:00:00Z"}',
        ),
    ],
)
def test_a_call_is_the_request_that_the_api_describes(
    server: Loopback,
    driver: Driver,
    act: Callable[[Any], Any],
    method: str,
    target: str,
    body: bytes | None,
) -> None:
    server.say(answer(418, {"error": {"message": "seen"}}))
    with pytest.raises(RoutebookError, match="seen"):
        driver.ask(act)
    (seen,) = server.seen
    assert (seen.method, seen.target, seen.body) == (
        method,
        "/api/v1" + target,
        body or b"",
    )
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert ("content-type" in seen.headers) is (body is not None)


def test_a_chat_sends_every_parameter_as_it_is(server: Loopback, driver: Driver) -> None:
    server.say(answer(200, {"id": "gen-1-a", "choices": []}))
    driver.ask(
        lambda c: c.chat.send(
            model="acme/one",
            messages=[
                *HELLO,
                ChatMessage(role="assistant", reasoning_details=[{"type": "reasoning.text"}]),
            ],
            temperature=Decimal("0.7"),
            seed=None,
            provider={"order": ["acme"]},
            invented=[1],
            extra_headers={"X-Session-Id": "s1"},
        ),
        headers={"HTTP-Referer": "https://app.example"},
    )
    (seen,) = server.seen
    assert seen.json == {
        "model": "acme/one",
        "messages": [
            *HELLO,
            {"role": "assistant", "reasoning_details": [{"type": "reasoning.text"}]},
        ],
        "stream": False,
        "temperature": 0.7,
        "seed": None,
        "provider": {"order": ["acme"]},
        "invented": [1],
    }
    assert (seen.headers["x-session-id"], seen.headers["http-referer"]) == (
        "s1",
        "https://app.example",
    )


def test_key_and_address_come_from_the_environment(
    server: Loopback, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROUTEBOOK_API_KEY", "sk-rb-v1-from-environment\n")
    monkeypatch.setenv("ROUTEBOOK_BASE_URL", server.url + "/")
    server.say(answer(200, RECORD))
    driver.ask(lambda c: c.generations.get("gen-1-a"), api_key=None, base_url=None)
    assert server.seen[0].headers["authorization"] == "Bearer sk-rb-v1-from-environment"


def test_without_a_key_none_is_sent(server: Loopback, driver: Driver) -> None:
    server.say(answer(200, {"data": []}))
    assert len(driver.ask(lambda c: c.models.list(), api_key=None)) == 0
    assert "authorization" not in server.seen[0].headers


def test_the_default_address_is_the_local_gateway() -> None:
    assert "http://127.0.0.1:8080/api/v1" in repr(Routebook())


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    server: Loopback, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        dead = f"http://127.0.0.1:{unused.getsockname()[1]}"
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, dead)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    server.say(answer(200, RECORD))
    assert driver.ask(lambda c: c.generations.get("gen-1-a")).data.id == "gen-1-a"


# What comes back -----------------------------------------------------------------------------------------------------


def test_a_record_comes_back_typed(server: Loopback, driver: Driver) -> None:
    server.say(answer(200, RECORD))
    data = driver.ask(lambda c: c.generations.get("gen-1-a")).data
    assert isinstance(data, GetGenerationData)
    assert data.total_cost == Decimal("0.0015")


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


# Trouble and patience ------------------------------------------------------------------------------------------------


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


# Secrets and arguments -----------------------------------------------------------------------------------------------


def test_the_key_is_in_no_repr() -> None:
    for client in (Routebook(KEY), AsyncRoutebook(KEY)):
        shown = repr(client) + str(client) + repr(client._settings) + repr(client.chat) + repr(client._http)
        assert KEY not in shown


def test_the_key_is_in_no_traceback(server: Loopback, driver: Driver) -> None:
    server.say(answer(401, {"error": {"message": f"Unknown key {KEY}"}}))
    with pytest.raises(Unauthorized) as refused:
        driver.ask(lambda c: c.keys.current())
    garbage = events()
    garbage.parts = [b"HTTP/1.1 " + KEY.encode() + b"\r\n\r\n"]
    server.say(garbage)
    with pytest.raises(ConnectionFailed) as garbled:
        driver.ask(lambda c: c.chat.send(messages=HELLO))
    assert KEY not in "".join(traceback.format_exception(refused.value))
    assert KEY not in "".join(traceback.format_exception(garbled.value))


@pytest.mark.parametrize("key", ["sk-rb-v1-se\ncret", "sk-rb-v1-se cret", "sk-rb-v1-secr\u00e9t"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(key: str) -> None:
    for kind in (Routebook, AsyncRoutebook):
        with pytest.raises(BadArgument, match="api key") as caught:
            kind(key)
        assert "sk-rb" not in "".join(traceback.format_exception_only(caught.value))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:8080",
        "ftp://host/api/v1",
        "http://",
        "http://me:secret@host/",
        "http://h/?a=b",
        "http://[::1",
    ],
)
def test_an_address_that_cannot_be_one_is_refused_without_showing_it(
    address: str,
) -> None:
    with pytest.raises(BadArgument, match="base URL") as caught:
        Routebook(base_url=address)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "act",
    [
        lambda c: c.generations.get(""),
        lambda c: c.models.endpoints("..", "keys"),
        lambda c: c.models.endpoints("acme", ""),
        lambda c: c.keys.delete("."),
        lambda c: c.keys.create(name="n", limit="much"),
        lambda c: c.keys.create(name="n", limit=float("nan")),
        lambda c: c.keys.create(name="n", expires_at=datetime(2030, 1, 1)),
    ],
)
def test_arguments_that_make_no_request_are_refused_before_anything_is_sent(
    server: Loopback, driver: Driver, act: Callable[[Any], Any]
) -> None:
    with pytest.raises(BadArgument):
        driver.ask(act)
    assert server.seen == []


def test_a_new_key_is_hidden_in_its_repr() -> None:
    created = CreateKeyResponseBody.from_json(b'{"data":{"hash":"ab"},"key":"sk-rb-v1-new"}')
    assert "sk-rb-v1-new" not in repr(created) + str(created) + repr(created.__rich_repr__())
    assert created.to_dict()["key"] == "sk-rb-v1-new"


# Streams -------------------------------------------------------------------------------------------------------------


def test_a_stream_gives_its_chunks_id_and_usage(server: Loopback, driver: Driver) -> None:
    usage = piece(usage={"prompt_tokens": 9, "completion_tokens": 2, "cost": 0.0000375})
    server.say(
        events(": PROCESSING\n\n", piece("Hel")[:20], piece("Hel")[20:], piece("lo", "stop") + usage, "data: [DONE]\n\n",
               x_generation_id="gen-9-z")
    )  # fmt: skip
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
