"""How a server ends: nothing new is taken, idle connections close, and answers under way end first."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from routebook.testing.provider import ScriptedProvider
from tests.acceptance.gateway import ADMIN_KEY, RunningGateway
from tests.edge.conftest import server_configuration
from tests.edge.test_protocol import ask, chat, events
from tests.edge.wire import Wire, request


@pytest.fixture(params=["native", "asgi"])
def fresh(request: pytest.FixtureRequest, provider: ScriptedProvider, tmp_path: Path) -> Iterator[RunningGateway]:
    """A gateway that a test may stop."""
    with RunningGateway(tmp_path / "home", server_configuration(provider, edge=request.param)) as running:
        yield running


def begun(running: RunningGateway) -> Wire:
    """A client in the middle of a streamed answer, which waits for the provider's release."""
    wire = Wire(running.port)
    wire.send(chat(ADMIN_KEY, ask("[[completion=6 pieces=3 hang=1]]", stream=True)))
    wire.read_until(b"data: ")
    return wire


def idle(running: RunningGateway) -> Wire:
    wire = Wire(running.port)
    wire.send(request())
    assert wire.answer().status == 200
    return wire


def refuses(port: int) -> bool:
    try:
        Wire(port).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_stopping_server_lets_the_answer_under_way_end(fresh: RunningGateway, provider: ScriptedProvider) -> None:
    with begun(fresh) as busy, idle(fresh) as waiting:
        stopping = threading.Thread(target=lambda: fresh.run(fresh.server.stop()))
        stopping.start()
        assert waiting.to_the_end() == []
        fresh.until(lambda: True)
        assert refuses(fresh.port)
        provider.release()
        assert events(busy.answer())[-1] == "[DONE]"
        assert busy.to_the_end() == []
        stopping.join(10)
        assert not stopping.is_alive()


def test_a_draining_gateway_refuses_new_calls_and_ends_the_old(
    fresh: RunningGateway, provider: ScriptedProvider
) -> None:
    with begun(fresh) as busy, idle(fresh) as other:
        fresh.gateway.drain()
        other.send(request("GET", "/readyz"))
        assert other.answer().status == 503
        other.send(chat(ADMIN_KEY, ask()))
        refused = other.answer()
        assert refused.status == 503
        assert refused.headers["retry-after"] == "1"
        provider.release()
        assert events(busy.answer())[-1] == "[DONE]"
        fresh.stop()
        assert other.to_the_end() == []
    assert fresh.shipped


def test_an_answer_that_does_not_end_in_time_says_so(fresh: RunningGateway) -> None:
    settings = fresh.gateway.app.settings
    assert settings.server.drain == 10
    with begun(fresh) as busy:
        for entry in list(fresh.gateway.app.entries):
            fresh.run(_at_once(entry.shut_down))
        got = busy.answer()
        assert "[DONE]" in got.body.decode()
        assert "shutting down" in got.body.decode()


def test_a_request_that_has_begun_to_come_is_still_answered_at_the_stop(
    provider: ScriptedProvider, tmp_path: Path
) -> None:
    with (
        RunningGateway(tmp_path / "home", server_configuration(provider, edge="native")) as running,
        Wire(running.port) as wire,
    ):
        whole = request()
        wire.send(whole[:20])
        running.until(lambda: any(each._reader.current is not None for each in running.server.edge.connections))  # type: ignore[attr-defined]
        stopping = threading.Thread(target=lambda: running.run(running.server.stop()))
        stopping.start()
        running.until(lambda: running.server.edge.closing)  # type: ignore[attr-defined]
        wire.send(whole[20:])
        (got,) = wire.to_the_end()
        assert got.status == 200
        assert got.headers["connection"] == "close"
        stopping.join(10)


async def _at_once(what: object) -> None:
    assert callable(what)
    what()
