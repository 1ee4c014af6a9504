"""What a gateway does beside its calls goes on when something of it fails, or when the machine's clock is set."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx2
import pytest

from routebook.compose import Gateway
from routebook.corridor.reclaim import Reclaimer
from routebook.observe.clock import NS
from routebook.testing.provider import ScriptedProvider
from tests.acceptance.gateway import ADMIN_KEY, RunningGateway, bearer
from tests.edge.conftest import server_configuration
from tests.edge.test_protocol import ask, chat, events
from tests.edge.wire import Wire


@pytest.mark.parametrize("step", [300, -300])
def test_a_call_under_way_survives_that_the_clock_is_set_and_its_record_keeps_true_durations(
    provider: ScriptedProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    real = time.time_ns
    with (
        RunningGateway(tmp_path / "home", server_configuration(provider, edge="native")) as running,
        Wire(running.port) as wire,
    ):
        wire.send(chat(ADMIN_KEY, ask("[[completion=6 pieces=3 hang=1]]", stream=True)))
        wire.read_until(b"data: ")
        before = running.gateway._clock._offset
        monkeypatch.setattr("routebook.observe.clock.time.time_ns", lambda: real() + step * NS)
        running.until(lambda: running.gateway._clock._offset != before)
        provider.release()
        answer = wire.answer()
        assert events(answer)[-1] == "[DONE]"
        where = f"{running.base}/generation?id={answer.headers['x-generation-id']}"
        record = httpx2.get(where, headers=bearer(ADMIN_KEY)).json()["data"]
        assert record["finish_reason"] == "stop"
        assert 0 < record["latency"] < 30_000


def test_the_drain_time_is_true_though_the_clock_is_set_meanwhile(
    provider: ScriptedProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time_ns

    async def drained(gateway: Gateway) -> None:
        waiting = asyncio.create_task(gateway._wait_for_calls(1.0))
        await asyncio.sleep(0)
        monkeypatch.setattr("routebook.observe.clock.time.time_ns", lambda: real() - 3600 * NS)
        await asyncio.wait_for(waiting, 10)

    with (
        RunningGateway(tmp_path / "home", server_configuration(provider, edge="native")) as running,
        Wire(running.port) as wire,
    ):
        wire.send(chat(ADMIN_KEY, ask("[[completion=6 pieces=3 hang=1]]", stream=True)))
        wire.read_until(b"data: ")
        running.run(drained(running.gateway))
        provider.release()
        assert events(wire.answer())[-1] == "[DONE]"


def test_the_sweep_goes_on_though_a_part_of_it_fails(
    provider: ScriptedProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def look(reclaimer: Reclaimer, now_ns: int) -> int:
        looks.append(now_ns)
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(Reclaimer, "look", look)
    with RunningGateway(tmp_path / "home", server_configuration(provider, edge="native")) as running:
        running.until(lambda: len(looks) > 1)
