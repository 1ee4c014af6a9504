"""Calls that end while their URLs are fetched, and one fetch with real sockets on both sides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from routebook.core.catalog import Catalog
from routebook.corridor.exchange import exchange
from routebook.corridor.ports import Arrival
from routebook.dialects import registry
from routebook.testing.leaving import Caller
from routebook.testing.playbook import (
    COMMENT,
    DONE,
    ENDED,
    Cancel,
    Do,
    Elapse,
    Leaves,
    Request,
    Says,
    asked,
    begun,
    body,
    chunk,
    closed,
    row,
)
from routebook.testing.upstream import ScriptedLine
from routebook.upstream.client import Client
from routebook.upstream.fetch import Fetched, fetch
from routebook.upstream.port import Sink
from routebook.wire import codec
from routebook.wire.http import HttpRequest
from tests.scenarios.pictures import CAT, DOG, GONE, INLINE, PNG, Pictures, blind, image, media_stage, show, user
from tests.support import (
    PROVIDERS,
    SENT,
    Stage,
    answer,
    model,
    refused,
)
from tests.upstream.harness import Peer, Server, open_sockets, serve, until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with media_stage(tmp_path) as stage:
        yield stage


@pytest.fixture
def pictures(stage: Stage) -> Pictures:
    stage.app.fetch = pictures = Pictures()
    return pictures


async def served(stage: Stage, request: Request, caller: Caller) -> None:
    """One request from beginning to end, without the playbook."""
    surface = registry.surfaces()["openai_chat"]
    await exchange(Arrival(surface, request.headers, request.body, stage.clock.now_ns()), caller, stage.app)


# --- what ends meanwhile ----------------------------------------------------------------------------------------------


async def test_who_leaves_during_a_fetch_stops_it_and_owes_nothing(stage: Stage, pictures: Pictures) -> None:
    pictures.open.clear()
    await stage.play(
        show("lab/blind", image(CAT), image(DOG)),
        row("intent"),
        Leaves(),
        row("cancelled", total_cost="0", cancelled=True, finish_reason=None, usage_source="none"),
    )
    assert sorted(pictures.given_up) == [CAT, DOG]
    assert stage.transport.requests == []
    assert not stage.playbook.tasks[-1].cancelled(), "it is the fetch that was cancelled, not who waits for it"


async def test_who_leaves_during_the_fetch_for_a_later_endpoint_stops_it(stage: Stage, pictures: Pictures) -> None:
    pictures.open.clear()
    await stage.play(
        show("lab/late"),
        row("intent"),
        asked("acme"),
        Says(*refused(500)),
        Leaves(),
        row("cancelled", total_cost="0", cancelled=True),
    )
    assert pictures.given_up == [CAT]
    assert len(stage.transport.requests) == 1


@pytest.mark.parametrize("ticks", range(8))
async def test_for_who_leaves_as_the_content_arrives_nobody_is_asked_any_more(stage: Stage, ticks: int) -> None:
    """However many turns of the loop lie between the content and the leaving."""
    caller, loop = Caller(lambda left: None), asyncio.get_running_loop()
    late: list[HttpRequest] = []
    send = stage.transport.send

    def leave_after(more: int) -> None:
        if more:
            loop.call_soon(leave_after, more - 1)
        else:
            caller.leave()

    async def fetch_(url: str) -> Fetched:
        leave_after(ticks)
        return Fetched("image/png", PNG)

    def send_(request: HttpRequest, sink: Sink, *, connect_timeout: float) -> ScriptedLine:
        if caller.left:
            late.append(request)
            raise AssertionError("nobody is left to be answered")
        return send(request, sink, connect_timeout=connect_timeout)

    stage.app.fetch = fetch_
    stage.transport.send = send_  # type: ignore[method-assign]
    await served(stage, show("lab/blind"), caller)
    assert late == []
    assert stage.record["cancelled"]
    assert stage.record["total_cost"] == 0


async def test_shutting_down_during_a_fetch_stops_it(stage: Stage, pictures: Pictures) -> None:
    def down() -> None:
        for entry in list(stage.app.entries):
            entry.shut_down()

    pictures.open.clear()
    await stage.play(
        show("lab/blind"),
        row("intent"),
        Do(down),
        row("error", total_cost="0", finish_reason="error"),
        begun(503, retry_after="1"),
        body(error=503),
        ENDED,
    )
    assert pictures.given_up == [CAT]


async def test_a_task_that_is_cancelled_during_a_fetch_stops_it_and_settles(stage: Stage, pictures: Pictures) -> None:
    pictures.open.clear()
    await stage.play(
        show("lab/blind"), row("intent"), Cancel(), row("error", total_cost="0"), begun(503), body(error=503), ENDED
    )
    assert pictures.given_up == [CAT]
    assert stage.playbook.tasks[-1].cancelled()


async def test_a_stream_that_waits_for_a_fetch_is_kept_alive_and_told_in_band(stage: Stage, pictures: Pictures) -> None:
    pictures.open.clear()
    pictures.holds[CAT] = GONE
    await stage.play(
        show("lab/blind", stream=True),
        row("intent"),
        Elapse(10_000),
        begun(200),
        COMMENT,
        Do(pictures.open.set),
        chunk(error=400, error_type="image_download_failed", finish="error"),
        row("error", total_cost="0"),
        chunk(),
        DONE,
        ENDED,
    )


async def test_an_answer_under_way_is_ended_as_ever_after_a_fetch(stage: Stage, pictures: Pictures) -> None:
    await stage.play(
        show("lab/blind", stream=True),
        row("intent"),
        asked("acme"),
        Says(SENT),
        Leaves(),
        closed("acme"),
        row("cancelled", cancelled=True),
    )
    assert pictures.given_up == []


# --- with real sockets ------------------------------------------------------------------------------------------------


async def test_a_real_server_s_picture_reaches_a_real_provider(stage: Stage) -> None:
    seen: list[dict[str, Any]] = []
    good = codec.encode(codec.decode(answer("A cat.", 900, 2).chunk))

    async def outside(peer: Peer) -> None:
        await peer.request()
        await peer.write(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 8\r\n\r\n" + PNG)
        await peer.gone()

    async def inside(peer: Peer) -> None:
        _, sent = await peer.request()
        seen.append(codec.decode(sent))
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(good)}\r\n\r\n"
        await peer.write(head.encode() + good)
        await peer.gone()

    def at(server: Server) -> Callable[[str, int], bool]:
        return lambda ip, port: (ip, port) == ("127.0.0.1", server.port)

    async with serve(outside) as web, serve(inside) as vendor:
        before = open_sockets()
        stage.app.transport = client = Client()
        stage.app.fetch = partial(fetch, allow=at(web))
        stage.app.catalog = Catalog(
            {"lab/blind": model("lab/blind", blind("lab/blind", base_url=f"{vendor.url}/v1"))}, PROVIDERS
        )
        caller = Caller(lambda left: None)
        await served(stage, show("lab/blind", image(f"http://127.0.0.1:{web.port}/cat.png")), caller)
        assert caller.status == 200
        assert seen[0]["messages"] == user(image(INLINE))
        caller = Caller(lambda left: None)
        await served(stage, show("lab/blind", image(f"http://127.0.0.1:{vendor.port}/internal")), caller)
        assert caller.status == 400
        assert codec.decode(caller.received)["error"]["metadata"]["error_type"] == "image_download_failed"
        assert len(seen) == 1, "an address that is not public was never connected to"
        await client.aclose()
        await until(lambda: open_sockets() <= before)
