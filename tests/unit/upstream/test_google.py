"""Access tokens: asked for as Google wants it, replaced before their end, and nothing secret in what is logged."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from routebook.config.secret import Secret
from routebook.core.errors import UpstreamFault, UpstreamLost
from routebook.load.google import Account, account
from routebook.testing.clock import FrozenClock
from routebook.testing.upstream import Data, End, Head, Lost, ScriptedTransport, Sent, Step
from routebook.upstream.credentials import Credentials
from routebook.upstream.google import SCOPE, Tokens, ask_google
from tests.google_accounts import claims_of, key_file

pytestmark = pytest.mark.anyio

UNIX = 1_767_323_045
URL = "https://token.test/token"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def said(status: int = 200, **members: Any) -> tuple[Step, ...]:
    return Sent(), Head(status, "application/json"), Data(json.dumps(members).encode()), End()


def token(name: str = "ya29.one", seconds: int = 3600) -> tuple[Step, ...]:
    return said(access_token=name, expires_in=seconds, token_type="Bearer")


@dataclass
class Desk:
    """One provider's tokens at work, in frozen time."""

    clock: FrozenClock
    transport: ScriptedTransport
    credentials: Credentials

    async def pass_by(self, seconds: float) -> None:
        self.clock.advance(int(seconds * 1000))
        await self.rest()

    async def rest(self) -> None:
        await until(lambda: False, ticks=60)

    @property
    def held(self) -> str | None:
        secret = self.credentials.get("vertex")
        return None if secret is None else secret.reveal()

    @property
    def asked(self) -> int:
        return len(self.transport.lines)


async def until(holds: Callable[[], bool], ticks: int = 5000) -> None:
    for _ in range(ticks):
        if holds():
            return
        await asyncio.sleep(0)


METADATA = Account(kind="metadata", url="http://metadata.test/token", source="the metadata server")


@asynccontextmanager
async def at_work(*scripts: tuple[Step, ...], who: Account = METADATA) -> AsyncIterator[Desk]:
    clock = FrozenClock()
    transport, credentials = ScriptedTransport(clock), Credentials({})
    for script in scripts:
        transport.script(*script)
    tokens = Tokens("vertex", who, transport, clock, credentials)
    task = asyncio.create_task(tokens.run())
    try:
        desk = Desk(clock, transport, credentials)
        await until(tokens.tried.is_set)
        await desk.rest()
        yield desk
    finally:
        task.cancel()


async def asks(who: Account, *script: Step) -> tuple[Any, Any]:
    """(the token, the request that got it)"""
    clock = FrozenClock()
    transport = ScriptedTransport(clock)
    transport.script(*script)
    found = await ask_google(who, transport, UNIX)
    return found, transport.lines[0].request


async def test_a_service_account_signs_who_it_is_for_an_hour(tmp_path: Path) -> None:
    found, request = await asks(account(key_file(tmp_path / "k.json", URL), {}), *token())
    assert (found.secret.reveal(), found.seconds) == ("ya29.one", 3600)
    assert (request.method, request.url) == ("POST", URL)
    assert ("content-type", "application/x-www-form-urlencoded") in request.headers
    form = parse_qs(request.body.decode(), strict_parsing=True)
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    head, claims = claims_of(form["assertion"][0])
    assert head == {"alg": "RS256", "typ": "JWT", "kid": "kid-1"}
    assert claims == {"iss": "sa@p.test", "scope": SCOPE, "aud": URL, "iat": UNIX, "exp": UNIX + 3600}


async def test_a_users_refresh_token_goes_to_the_token_endpoint_alone() -> None:
    who = Account(
        kind="authorized_user", url=URL, source="f", name="c", secret=Secret("refresh"), client_secret=Secret("hush")
    )
    _, request = await asks(who, *token())
    form = parse_qs(request.body.decode())
    assert form == {
        "grant_type": ["refresh_token"], "client_id": ["c"], "client_secret": ["hush"], "refresh_token": ["refresh"]
    }  # fmt: skip


async def test_the_metadata_server_is_asked_as_it_wants_to_be() -> None:
    _, request = await asks(METADATA, *token())
    assert (request.method, request.body) == ("GET", b"")
    assert ("metadata-flavor", "Google") in request.headers


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (said(400, error="invalid_grant", error_description="Invalid JWT Signature."),
         "answered 400: invalid_grant (Invalid JWT Signature.). Check that the key of sa@p.test still exists"),
        (said(400, error="invalid_grant", error_description="Token must be in a reasonable timeframe."),
         "Check this machine's clock"),
        (said(503), "answered 503. It is tried again"),
        (said(200, token_type="Bearer"), "answered without an access token"),
        (said(200, access_token="two words\r\nx-injected: yes"), "answered without an access token"),
        ((Sent(), Head(200), Data(b"<html>"), End()), "answered without an access token"),
        ((Sent(), Head(200), Data(b"[" * 100_000), End()), "larger than 64 KiB"),
        ((Lost(UpstreamLost("no route")),), "no route"),
    ],
)  # fmt: skip
async def test_what_google_refuses_is_told_with_what_to_do(tmp_path: Path, script: tuple[Step, ...], told: str) -> None:
    with pytest.raises(UpstreamFault) as caught:
        await asks(account(key_file(tmp_path / "k.json", URL), {}), *script)
    assert told in caught.value.message


async def test_a_token_is_replaced_five_minutes_before_its_end_and_nobody_waits() -> None:
    async with at_work(token("one"), token("two")) as desk:
        assert desk.held == "one"
        await desk.pass_by(3299)
        assert (desk.held, desk.asked) == ("one", 1)
        await desk.pass_by(1)
        assert (desk.held, desk.asked) == ("two", 2)


async def test_a_short_lived_token_is_replaced_half_way() -> None:
    async with at_work(token("one", 200), token("two", 200)) as desk:
        await desk.pass_by(99)
        assert desk.held == "one"
        await desk.pass_by(1)
        assert desk.held == "two"


async def test_a_token_stays_while_it_is_good_and_google_is_away(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    down = (Lost(UpstreamLost("no route")),)
    async with at_work(token("one"), down, down, token("two")) as desk:
        await desk.pass_by(3300)
        assert desk.held == "one"
        assert "no route; the present one is good for 300 s" in caplog.text
        await desk.pass_by(1)
        assert (desk.held, desk.asked) == ("one", 3)
        await desk.pass_by(2)
        assert desk.held == "two"
    assert "one;" not in caplog.text


async def test_without_a_token_calls_are_told_so_and_it_is_tried_for_ever_more_slowly() -> None:
    down = (Lost(UpstreamLost("no route")),)
    async with at_work(*[down] * 9, token("one")) as desk:
        assert desk.held is None
        assert "vertex has no access token; the gateway's log says why" in desk.credentials.missing["vertex"].message
        waits = (1, 2, 4, 8, 16, 32, 60, 60)
        desk.credentials.refused("vertex")  # which is no reason to hurry
        for place, seconds in enumerate(waits):
            await desk.pass_by(seconds - 0.1)
            assert desk.asked == place + 1
            await desk.pass_by(0.1)
            assert desk.asked == place + 2
        await desk.pass_by(60)
        assert desk.held == "one"
        assert not desk.credentials.missing


async def test_a_token_that_has_ended_is_sent_no_more() -> None:
    down = (Lost(UpstreamLost("no route")),)
    async with at_work(token("one", 2), *[down] * 3) as desk:
        await desk.pass_by(1)
        assert desk.held == "one"
        await desk.pass_by(1)
        assert desk.held is None


async def test_a_token_that_the_provider_refuses_is_replaced_unless_it_is_new() -> None:
    async with at_work(token("one"), token("two")) as desk:
        desk.credentials.refused("vertex")
        await desk.rest()
        assert desk.asked == 1, "a new one that is refused will not get better by another"
        await desk.pass_by(31)
        desk.credentials.refused("vertex")
        await desk.rest()
        assert (desk.held, desk.asked) == ("two", 2)


async def test_credentials_and_faults_show_neither_keys_nor_tokens(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    who = account(key_file(tmp_path / "k.json", URL), {})
    refused = said(400, error="invalid_grant", assertion="echo")
    async with at_work(token("ya29.hush", 2), refused, refused, refused, who=who) as desk:
        await until(lambda: desk.held is not None)
        assert "ya29" not in repr(desk.credentials)
        for asked in (2, 3):
            await desk.pass_by(1)
            while desk.asked < asked:
                await asyncio.to_thread(int)  # the key is used in a thread
            await desk.rest()
        assert "ya29" not in desk.credentials.missing["vertex"].message
    assert "invalid_grant" in caplog.text
    for secret in ("ya29", "PRIVATE", who.secret.reveal()[40:70], "eyJ"):
        assert secret not in caplog.text
