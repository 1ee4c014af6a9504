"""What both clients send to a real server on a loopback socket, what they refuse to send, and that no key shows."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from routebook.client import (
    AsyncRoutebook,
    BadArgument,
    ChatMessage,
    ConnectionFailed,
    CreateKeyResponseBody,
    Routebook,
    RoutebookError,
    Unauthorized,
)
from tests.unit.client.loopback import (
    KEY,
    Driver,
    Loopback,
    answer,
    events,
)

HELLO: list[Any] = [{"role": "user", "content": "Hi"}]
RECORD = {"data": {"id": "gen-1-a", "total_cost": 0.0015}}


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
        (lambda c: c.generations.cancel("gen-1-a"), "POST", "/generation/gen-1-a/cancel", None),
        (lambda c: c.generations.cancel("gen-1/../keys"), "POST", "/generation/gen-1%2F..%2Fkeys/cancel", None),
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
