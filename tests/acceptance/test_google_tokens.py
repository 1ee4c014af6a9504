"""Vertex with a service account, over sockets: a token is made before the first call, replaced when it is refused, and
a token endpoint that refuses costs callers nothing where another provider is there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx2
import pytest

from tests.acceptance.clouds import TEXT, Clouds
from tests.acceptance.gateway import ADMIN_KEY, RunningGateway, bearer
from tests.google_accounts import KEY_PEM, claims_of, key_file
from tests.loopback import Loopback, Said


class TokenHost(Loopback):
    """A token endpoint that gives what Clouds takes, or refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.claims: list[dict[str, Any]] = []
        self.tokens: list[str] = ["bearer-secret"]
        """given in turn, the last one again and again; without any it refuses"""
        self.url = f"{self.origin}/token"

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> Said:
        self.claims.append(claims_of(parse_qs(body.decode())["assertion"][0])[1])
        if not self.tokens:
            why = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
            return 400, "application/json", json.dumps(why).encode()
        name = self.tokens.pop(0) if len(self.tokens) > 1 else self.tokens[0]
        given = {"access_token": name, "expires_in": 3600, "token_type": "Bearer"}
        return 200, "application/json", json.dumps(given).encode()


@pytest.fixture
def host() -> Iterator[TokenHost]:
    with TokenHost() as running:
        yield running


@pytest.fixture(scope="module")
def clouds() -> Iterator[Clouds]:
    with Clouds() as running:
        yield running


def configuration(clouds: Clouds, key: str, more: str = "") -> str:
    return f"""
[catalog]
price_list = false
[routing]
balance = "order"
[[providers]]
slug = "mine"
dialect = "vertex"
base_url = "http://{clouds.host}/v1/projects/p/locations/l"
google_credentials = "{key}"
{more}
[[models]]
slug = "google/gemini"
[[models.endpoints]]
provider = "mine"
upstream_model = "gemini-2.5-flash"
"""


def ask(gateway: RunningGateway) -> httpx2.Response:
    body = {"model": "google/gemini", "messages": [{"role": "user", "content": "Hi"}]}
    return httpx2.post(f"{gateway.base}/chat/completions", json=body, headers=bearer(ADMIN_KEY), timeout=30)


def test_the_first_call_finds_a_token_and_the_next_ones_the_same(
    clouds: Clouds, host: TokenHost, tmp_path: Path
) -> None:
    key = key_file(tmp_path / "key.json", host.url)
    with RunningGateway(tmp_path / "home", configuration(clouds, key)) as gateway:
        answers = [ask(gateway) for _ in range(3)]
        assert httpx2.get(f"{gateway.origin}/readyz").json()["status"] == "ready"
    assert [answer.status_code for answer in answers] == [200, 200, 200], answers[0].text
    assert answers[0].json()["choices"][0]["message"]["content"] == "".join(TEXT)
    assert [claims["iss"] for claims in host.claims] == ["sa@p.test"]


def test_where_google_refuses_the_account_the_call_fails_with_what_is_ours_to_do_or_goes_elsewhere(
    clouds: Clouds, host: TokenHost, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host.tokens = []
    key = key_file(tmp_path / "key.json", host.url)
    with RunningGateway(tmp_path / "home", configuration(clouds, key)) as gateway:
        before = len(clouds.asked)
        answer = ask(gateway)
        ready = httpx2.get(f"{gateway.origin}/readyz").json()
    assert answer.status_code == 502
    assert len(clouds.asked) == before, "a provider is not asked without its credential"
    assert "mine has no access token" in json.dumps(ready)
    assert "invalid_grant (Invalid JWT Signature.). Check that the key of sa@p.test still exists" in caplog.text
    for secret in (KEY_PEM[40:70], "eyJ"):
        assert secret not in caplog.text + answer.text

    elsewhere = f'[[providers]]\nslug = "other"\ndialect = "ollama"\nbase_url = "http://{clouds.host}"\n'
    config = configuration(clouds, key, elsewhere + 'api_key = "bearer-secret"')
    config += '[[models.endpoints]]\nprovider = "other"\nupstream_model = "m"\n'
    with RunningGateway(tmp_path / "second", config) as gateway:
        answer = ask(gateway)
    assert (answer.status_code, answer.json()["provider"]) == (200, "other")


def test_a_token_that_is_refused_later_is_replaced(clouds: Clouds, host: TokenHost, tmp_path: Path) -> None:
    """The clouds take one token only; the first that is given here is not it."""
    host.tokens = ["revoked", "bearer-secret"]
    key = key_file(tmp_path / "key.json", host.url)
    with RunningGateway(tmp_path / "home", configuration(clouds, key)) as gateway:
        assert ask(gateway).status_code == 502
        credentials, tokens = gateway.gateway.app.credentials, _tokens(gateway)
        tokens._made_ns -= 31 * 10**9  # half a minute goes by
        assert ask(gateway).status_code == 502
        gateway.until(lambda: (secret := credentials.get("mine")) is not None and secret.reveal() == "bearer-secret")
        assert ask(gateway).status_code == 200
    assert len(host.claims) == 2


def _tokens(gateway: RunningGateway) -> Any:
    refused: Any = gateway.gateway.app.credentials._makers["mine"]
    return refused.__self__
