"""20 MB with a picture through a whole gateway, on both edges: it arrives to the last byte, and nobody waits for it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator

import pytest

from routebook.dialects.openai_chat import SURFACE
from routebook.testing.provider import ScriptedProvider
from tests.acceptance.gateway import ADMIN_KEY, RunningGateway, configuration
from tests.edge.conftest import connect, warm
from tests.edge.test_protocol import chat, record
from tests.edge.wire import request

PICTURE = "data:image/png;base64," + "iVBORw0KGgoAAAAN" * (20 * 2**20 // 16)


@pytest.fixture(scope="module", params=["native", "asgi"])
def roomy(
    request: pytest.FixtureRequest, provider: ScriptedProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """A gateway with the limit for bodies that it has by itself."""
    home = tmp_path_factory.mktemp(request.param) / "home"
    with RunningGateway(home, configuration(provider, f'[server]\nedge = "{request.param}"')) as running:
        yield warm(running)


def asked(words: str) -> bytes:
    content = [{"type": "text", "text": words}, {"type": "image_url", "image_url": {"url": PICTURE}}]
    return json.dumps({"model": "scripted/plain", "messages": [{"role": "user", "content": content}]}).encode()


def test_a_picture_of_20_mb_reaches_the_provider_and_the_record(
    roomy: RunningGateway, provider: ScriptedProvider
) -> None:
    body = asked("[[completion=7]] at the first go")
    provider._times.clear()
    with connect(roomy) as wire:
        wire.send(chat(ADMIN_KEY, body))
        got = wire.answer()
    assert got.status == 200
    ((arrived, times),) = provider._times.items()
    assert times == 1
    assert json.loads(arrived)["messages"] == json.loads(body)["messages"]
    found = record(roomy, ADMIN_KEY, got.headers["x-generation-id"])
    assert found["num_media_prompt"] == 1
    assert found["native_tokens_completion"] == 7


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_large_body_for_another_path_is_read_as_well(roomy: RunningGateway, method: str) -> None:
    with connect(roomy) as wire:
        wire.send(request(method, "/api/v1/keys", b"[" + b"1," * 200_000 + b"1]", Authorization=f"Bearer {ADMIN_KEY}"))
        assert wire.answer().status in (400, 405)


def test_no_turn_of_the_loop_costs_a_third_of_decoding_the_body(roomy: RunningGateway) -> None:
    """The longest turn of the quietest of some requests, against the quickest of some decodings; both in CPU of the
    loop's own thread, so that a busy machine changes neither much."""
    body = asked("[[completion=3]] and again")

    async def decoding() -> float:
        return min(spent(body) for _ in range(3))

    longest = []
    for _ in range(4):
        watch = Turns()
        roomy.run(watch.start())
        with connect(roomy) as wire:
            wire.send(chat(ADMIN_KEY, body))
            assert wire.answer().status == 200
        roomy.run(watch.stop())
        assert watch.turns > 20
        longest.append(watch.longest)
    assert 3 * min(longest) < roomy.run(decoding())


def spent(body: bytes) -> float:
    begun = time.thread_time()
    SURFACE.read(body, {})
    return time.thread_time() - begun


class Turns:
    """The longest turn of a loop, in seconds of its thread's CPU."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.turns = 0
        self._last = 0.0
        self._watching = False

    async def start(self) -> None:
        self._watching = True
        self._last = time.thread_time()
        self._turn()

    async def stop(self) -> None:
        self._watching = False

    def _turn(self) -> None:
        now = time.thread_time()
        self.longest = max(self.longest, now - self._last)
        self.turns += 1
        self._last = now
        if self._watching:
            asyncio.get_running_loop().call_soon(self._turn)
