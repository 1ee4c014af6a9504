"""Fixtures of the client's tests: a scripted loopback server, and a driver that runs each test with both clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.client.loopback import Driver, Loopback


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROUTEBOOK_API_KEY", "ROUTEBOOK_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback() as loopback:
        yield loopback


@pytest.fixture(params=["sync", "async"])
def driver(request: pytest.FixtureRequest, server: Loopback) -> Driver:
    return Driver(request.param, server.url)
