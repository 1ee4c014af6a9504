"""Closing, pausing and shutting down: what the holder of a line can do, and what is left afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import random

import pytest

from routebook.core.errors import UpstreamLost
from routebook.upstream.client import Client
from tests.upstream.harness import OK, Peer, Recorder, answer, ask, client_of, open_sockets, post, send, serve, until

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("moment", ["sent", "head", "data"])
async def test_after_close_nothing_is_called_and_the_provider_notices(moment: str) -> None:
    gone = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        with contextlib.suppress(ConnectionError):
            await peer.write(HEAD + b"1\r\na\r\n" * 3 + b"0\r\n\r\n" + OK)
        await peer.gone()
        gone.set()

    async with serve(script) as server, client_of(Client()) as client:
        recorder, line = send(client, post(server))
        recorder.on_call = lambda name: line.close() if name == moment else None
        await recorder.until(moment)
        await asyncio.wait_for(gone.wait(), 5)
        await until(lambda: client.in_use == 0)
        assert recorder.calls[-1] == moment
        assert client.idle == 0
        line.close()


async def test_a_stream_does_not_hold_its_request_s_body() -> None:
    """Ten thousand streams would hold ten thousand prompts."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(HEAD)
        await peer.gone()

    async with serve(script) as server, client_of(Client()) as client:
        recorder, line = send(client, post(server, bytes(2**20)))
        assert line.payload is not None
        await recorder.until("head")
        assert line.payload is None
        line.close()


async def test_close_reaches_the_provider_as_a_reset() -> None:
    """A half-close could be read as "no more requests" by a proxy, which then lets the model run on."""
    reset = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(HEAD)
        try:
            await peer.reader.read()
        except ConnectionResetError:
            reset.set()

    async with serve(script) as server, client_of(Client()) as client:
        recorder, line = send(client, post(server))
        await recorder.until("head")
        line.close()
        await asyncio.wait_for(reset.wait(), 5)


async def test_close_between_the_pieces_of_a_compressed_read_is_silent() -> None:
    packed = gzip.compress(bytes(500_000))
    raw = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    async with serve(answer(raw + packed)) as server, client_of(Client()) as client:
        recorder, line = send(client, post(server))
        recorder.on_call = lambda name: line.close() if name == "data" else None
        await until(lambda: client.in_use == 0)
        assert recorder.calls == ["sent", "head", "data"]


async def test_close_in_the_tick_of_send_sends_nothing_on_a_fresh_connection() -> None:
    async with serve(answer(OK)) as server, client_of(Client()) as client:
        recorder, line = send(client, post(server))
        line.close()
        await until(lambda: client.in_use == 0)
        assert recorder.calls == []
        assert server.accepted == 0


async def test_after_close_in_the_turn_of_send_nothing_has_left_and_nothing_is_called() -> None:
    async with serve(answer(OK)) as server, client_of(Client()) as client:
        await ask(client, post(server))
        recorder, line = send(client, post(server))
        line.close()
        await until(lambda: client.in_use == 0)
        assert recorder.calls == []
        assert client.idle == 0


async def test_close_of_a_refused_request_silences_its_loss() -> None:
    async with client_of(Client()) as client:
        recorder, line = send(client, post("ftp://nowhere"))
        line.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert recorder.calls == []


async def test_close_after_the_end_leaves_the_connection_to_others() -> None:
    async with serve(answer(OK)) as server, client_of(Client()) as client:
        recorder, line = send(client, post(server))
        await recorder.wait()
        line.close()
        line.pause()
        line.resume()
        assert client.idle == 1
        assert (await ask(client, post(server))).body == b"ok"
        assert server.accepted == 1


async def test_an_old_line_cannot_close_the_connection_under_its_next_request() -> None:
    async with serve(answer(OK)) as server, client_of(Client()) as client:
        first, old = send(client, post(server))
        await first.wait()
        second, _ = send(client, post(server))
        old.close()
        assert (await second.wait()).body == b"ok"


async def test_the_next_request_may_be_sent_from_the_end_of_the_last() -> None:
    async with serve(answer(OK)) as server, client_of(Client()) as client:
        second = Recorder()
        first, _ = send(client, post(server))

        def go_on(name: str) -> None:
            if name == "end":
                client.send(post(server), second, connect_timeout=5)

        first.on_call = go_on
        await second.wait()
        assert second.body == b"ok"
        assert server.accepted == 1


async def test_a_sink_that_raises_costs_its_connection_only() -> None:
    problems: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context))

    def fail(name: str) -> None:
        if name == "data":
            raise RuntimeError("a bug in a sink")

    async with serve(answer(OK)) as server, client_of(Client()) as client:
        recorder, _ = send(client, post(server))
        recorder.on_call = fail
        await until(lambda: bool(problems))
        await until(lambda: client.in_use == 0)
        assert client.idle == 0
        assert (await ask(client, post(server))).body == b"ok"


async def test_a_paused_line_holds_the_provider_back_and_goes_on_when_resumed() -> None:
    total = 32 * 2**20
    written = 0

    async def script(peer: Peer) -> None:
        nonlocal written
        await peer.request()
        await peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        while written < total:
            await peer.write(bytes(2**16))
            written += 2**16
        await peer.gone()

    async with serve(script) as server, client_of(Client()) as client:
        recorder, line = send(client, post(server))
        recorder.on_call = lambda name: line.pause() if name == "data" else None
        await recorder.until("data")
        before = -1
        while before != written:  # until the provider is stuck
            before = written
            for _ in range(200):
                await asyncio.sleep(0)
        assert written < total
        assert len(recorder.body) < 2 * 2**20
        recorder.on_call = lambda name: None
        line.resume()
        await recorder.wait()
        assert len(recorder.body) == total
        assert client.idle == 1


async def test_a_line_paused_before_it_has_a_connection_reads_nothing() -> None:
    async with serve(answer(OK)) as server, client_of(Client()) as client:
        recorder, line = send(client, post(server))
        line.pause()
        await recorder.until("sent")
        for _ in range(200):
            await asyncio.sleep(0)
        assert recorder.calls == ["sent"]
        line.resume()
        assert (await recorder.wait()).body == b"ok"


async def test_a_connection_that_ends_paused_reads_again_for_the_next_request() -> None:
    async with serve(answer(OK)) as server, client_of(Client()) as client:
        recorder, line = send(client, post(server))
        recorder.on_call = lambda name: line.pause() if name == "head" else None
        await recorder.wait()
        assert (await ask(client, post(server))).body == b"ok"
        assert server.accepted == 1


async def test_aclose_loses_open_lines_and_refuses_new_ones() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(HEAD)
        await peer.gone()

    async with serve(script) as server:
        client = Client()
        running, _ = send(client, post(server))
        await running.until("head")
        starting, _ = send(client, post(server))
        await client.aclose()
        late = await ask(client, post(server))
        assert running.order == ["sent", "head", "lost"]
        assert starting.calls == ["lost"]
        assert late.calls == ["lost"]
        assert isinstance(running.fault, UpstreamLost)
        assert running.fault.sent
        assert isinstance(starting.fault, UpstreamLost)
        assert not starting.fault.sent
        assert "shutting down" in running.fault.message
        assert (client.in_use, client.idle) == (0, 0)
        await client.aclose()


async def test_a_storm_of_cancelled_lines_leaves_no_connection_and_no_descriptor() -> None:
    dice = random.Random(7)

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await asyncio.sleep(dice.random() * 0.004)
            await peer.write(HEAD)
            for _ in range(3):
                await asyncio.sleep(dice.random() * 0.004)
                await peer.write(b"4\r\nabcd\r\n")
            await peer.write(b"0\r\n\r\n")

    async with serve(script) as server, client_of(Client()) as client:
        await ask(client, post(server))
        before = open_sockets()
        recorders: list[Recorder] = []

        async def one() -> None:
            await asyncio.sleep(dice.random() * 0.05)
            recorder, line = send(client, post(server))
            recorders.append(recorder)
            await asyncio.sleep(dice.random() * 0.03)
            heard = len(recorder.calls)
            line.close()
            await asyncio.sleep(0.005)
            assert len(recorder.calls) == heard

        for _ in range(10):
            await asyncio.gather(*(one() for _ in range(50)))
        assert len(recorders) == 500
        endings = {recorder.calls[-1] if recorder.calls else "nothing" for recorder in recorders}
        assert {"end", "sent"} <= endings
        assert "lost" not in endings
        await until(lambda: client.in_use == 0)
        for _ in range(100):
            assert (await ask(client, post(server))).body == b"abcd" * 3
        assert client.in_use == 0
        idle = client.idle
        await until(lambda: open_sockets() <= before + 2 * idle)
    await until(lambda: open_sockets() < before)
