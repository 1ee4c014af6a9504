"""One provider, one gateway for each edge; and the check that a test leaves nothing behind in either."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator

import httpx2
import pytest

from routebook.edge.native_server import NativeServer
from routebook.edge.server import HttpServer
from routebook.testing.provider import ScriptedProvider
from tests.acceptance.gateway import ADMIN_KEY, MODELS, RunningGateway, bearer, configuration
from tests.edge.wire import Wire

BODY_LIMIT = 200_000


@pytest.fixture(scope="session")
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider(MODELS) as running:
        yield running


@pytest.fixture(scope="session", params=["native", "asgi"])
def gateway(
    request: pytest.FixtureRequest, provider: ScriptedProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """Each test with this fixture runs on both edges."""
    home = tmp_path_factory.mktemp(request.param) / "home"
    with RunningGateway(home, server_configuration(provider, edge=request.param)) as running:
        yield warm(running)


@pytest.fixture(scope="session")
def native(provider: ScriptedProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """For what only the native edge can do, or what needs a look at its inside."""
    with RunningGateway(
        tmp_path_factory.mktemp("inside") / "home", server_configuration(provider, edge="native")
    ) as running:
        yield warm(running)


@pytest.fixture(scope="session")
def key(gateway: RunningGateway) -> str:
    return gateway.new_key()


@pytest.fixture(scope="session")
def native_key(native: RunningGateway) -> str:
    return native.new_key()


def warm(running: RunningGateway) -> RunningGateway:
    """The same after its first call has reached the store, for which files are opened that stay open."""
    asked = {"model": "scripted/plain", "messages": [{"role": "user", "content": "first"}]}
    answer = httpx2.post(f"{running.base}/chat/completions", json=asked, headers=bearer(ADMIN_KEY))
    assert answer.status_code == 200, answer.text

    async def shipped() -> None:
        async with asyncio.timeout(10):
            while not await running.gateway._all_shipped():  # noqa: ASYNC110 - the shipper has no event for it
                await asyncio.sleep(0.01)

    running.run(shipped())
    return running


def server_configuration(provider: ScriptedProvider, **server: str) -> str:
    """A gateway for the provider, with these strings in its [server] table."""
    table = "".join(f'{name} = "{value}"\n' for name, value in server.items())
    return configuration(provider, f"[server]\n{table}\n[limits]\nbody_bytes = {BODY_LIMIT}")


@pytest.fixture(autouse=True)
def leaves_nothing(request: pytest.FixtureRequest, provider: ScriptedProvider) -> Iterator[None]:
    """After each test: no connection, no call, no task and no file descriptor more than before it."""
    name = next((name for name in ("gateway", "native") if name in request.fixturenames), None)
    if name is None:
        yield
        return
    running: RunningGateway = request.getfixturevalue(name)
    if "key" in request.fixturenames:
        request.getfixturevalue("key")
    if "native_key" in request.fixturenames:
        request.getfixturevalue("native_key")
    running.until(lambda: connections(running) == 0)
    tasks, files = running.run(_later(_tasks)), _files(provider)
    yield
    running.until(lambda: connections(running) == 0 and not running.gateway.app.entries and not provider.busy)
    running.until(lambda: _tasks() <= tasks)
    running.until(lambda: _files(provider) <= files)


def connections(running: RunningGateway) -> int:
    """Connections that clients have to the gateway."""
    server = running.server
    if isinstance(server, NativeServer):
        return len(server.edge.connections) + len(server.edge.tasks)
    assert isinstance(server, HttpServer)
    return len(server._server.server_state.connections)


def _tasks() -> int:
    """Tasks of the gateway's loop. Its background tasks wait for events with a task of their own now and then."""
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return len([name for name in names if name != "Event.wait"])


async def _later(what: Callable[[], int]) -> int:
    return what()


def _files(provider: ScriptedProvider) -> int:
    """Open files of this process without the gateway's pooled connections to the provider, which have two ends here."""
    files = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    return files - 2 * len(provider._lines)


def connect(running: RunningGateway) -> Wire:
    return Wire(running.port)
