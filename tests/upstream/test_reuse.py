"""Which connection a request travels on: when one is used again, when not, and what happens to a dead one."""

from __future__ import annotations

import asyncio
import gzip
import os
import socket
from typing import Any

import pytest

from routebook.core.errors import UpstreamLost
from routebook.upstream.client import Client
from routebook.upstream.connection import Connection, Plain
from tests.upstream.harness import OK, Peer, Recorder, Script, answer, ask, client_of, once, post, send, serve, until

pytestmark = pytest.mark.anyio


async def test_requests_one_after_the_other_share_a_connection() -> None:
    async with serve(answer(OK)) as server, client_of(Client()) as client:
        for _ in range(5):
            assert (await ask(client, post(server))).body == b"ok"
        assert server.accepted == 1
        assert (client.in_use, client.idle) == (0, 1)


async def test_a_request_on_a_warm_connection_makes_no_task() -> None:
    async with serve(answer(OK)) as server, client_of(Client()) as client:
        await ask(client, post(server))
        made: list[object] = []
        loop = asyncio.get_running_loop()

        def factory(running: asyncio.AbstractEventLoop, coroutine: Any, **rest: Any) -> asyncio.Task[Any]:
            made.append(coroutine)
            return asyncio.Task(coroutine, loop=running, **rest)

        recorder, _ = send(client, post(server))
        loop.set_task_factory(factory)
        await recorder.over.wait()  # not `wait_for`, which makes a task itself
        loop.set_task_factory(None)
        assert recorder.body == b"ok"
        assert made == []


async def test_requests_at_the_same_time_have_connections_of_their_own() -> None:
    gate = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await gate.wait()
        await peer.write(OK)
        await peer.gone()

    async with serve(script) as server, client_of(Client()) as client:
        pairs = [send(client, post(server)) for _ in range(10)]
        await until(lambda: server.accepted == 10)
        assert client.in_use == 10
        gate.set()
        for recorder, _ in pairs:
            assert (await recorder.wait()).body == b"ok"
        assert (client.in_use, client.idle) == (0, 10)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK + b"H",
        OK + b"trailing junk",
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen",
        b"HTTP/1.1 204 No Content\r\n\r\nunexpected",
    ],
    ids=["close", "1.0", "one byte more", "junk", "a second answer", "a body of 204"],
)
async def test_a_connection_whose_answer_was_not_clean_is_not_used_again(raw: bytes) -> None:
    async with serve(answer(raw)) as server, client_of(Client()) as client:
        for number in (1, 2):
            recorder = await ask(client, post(server))
            assert recorder.calls[-1] == "end"
            assert b"stolen" not in recorder.body
            assert client.idle == 0
            assert server.accepted == number


async def test_bytes_that_arrive_while_idle_end_the_connection() -> None:
    go, gone = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(OK)
        if peer.number == 1:
            await go.wait()
            await peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen")
        await peer.gone()
        gone.set()

    async with serve(script) as server, client_of(Client()) as client:
        await ask(client, post(server))
        assert client.idle == 1
        go.set()
        await asyncio.wait_for(gone.wait(), 5)
        assert client.idle == 0
        assert (await ask(client, post(server))).body == b"ok"
        assert server.accepted == 2


@pytest.mark.parametrize("what", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen"], ids=["eof", "bytes"])
async def test_what_is_in_the_kernel_when_a_request_is_sent_is_seen_before_it_leaves(what: bytes) -> None:
    """The loop has not heard of it; the request goes out on another connection, and no retry is spent on that."""
    peers: list[Peer] = []
    requests: list[int] = []

    async def script(peer: Peer) -> None:
        peers.append(peer)
        while True:
            await peer.request()
            requests.append(peer.number)
            await peer.write(OK)

    async with serve(script) as server, client_of(Client()) as client:
        await ask(client, post(server))
        sock = peers[0].writer.get_extra_info("socket")
        with socket.socket(fileno=os.dup(sock.fileno())) as other:
            if what:
                other.send(what)
            else:
                other.shutdown(socket.SHUT_WR)
        recorder, line = send(client, post(server))
        assert line.reused
        await recorder.wait()
        assert recorder.body == b"ok"
        assert recorder.order == ["sent", "head", "data", "end"]
        assert (line.reused, line.retried) == (False, False)
        assert requests == [1, 2]


def _die_on_reuse(how: str, seen: list[int]) -> Script:
    async def script(peer: Peer) -> None:
        await peer.request()
        seen.append(peer.number)
        await peer.write(OK)
        await peer.request()
        seen.append(peer.number)
        if peer.number == 1 or how == "always":
            if how == "reset":
                peer.reset()
            elif how == "partial":
                await peer.write(b"HTTP")
            return
        await peer.write(OK)
        await peer.gone()

    return script


@pytest.mark.parametrize("how", ["eof", "reset"])
async def test_a_reused_connection_that_dies_in_silence_is_replaced_once(how: str) -> None:
    seen: list[int] = []
    async with serve(_die_on_reuse(how, seen)) as server, client_of(Client()) as client:
        await ask(client, post(server))
        recorder, line = send(client, post(server, b"again"))
        await recorder.wait()
        assert recorder.order == ["sent", "head", "data", "end"]
        assert line.retried
        assert seen == [1, 1, 2]


async def test_the_replacement_of_a_dead_connection_is_not_replaced_again() -> None:
    seen: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        seen.append(peer.number)
        if peer.number == 1:
            await peer.write(OK)
            await peer.request()
            seen.append(peer.number)

    async with serve(script) as server, client_of(Client()) as client:
        await ask(client, post(server))
        recorder = await ask(client, post(server))
        assert recorder.order == ["sent", "lost"]
        assert seen == [1, 1, 2]


async def test_a_reused_connection_that_dies_after_a_byte_is_not_replaced() -> None:
    seen: list[int] = []
    async with serve(_die_on_reuse("partial", seen)) as server, client_of(Client()) as client:
        await ask(client, post(server))
        recorder = await ask(client, post(server))
        assert recorder.order == ["sent", "lost"]
        assert seen == [1, 1]


async def test_a_fresh_connection_that_dies_in_silence_is_not_replaced() -> None:
    async with serve(once(b"")) as server, client_of(Client()) as client:
        recorder = await ask(client, post(server))
        assert recorder.order == ["sent", "lost"]
        assert isinstance(recorder.fault, UpstreamLost)
        assert recorder.fault.sent
        assert server.accepted == 1


async def test_a_reused_connection_that_dies_long_after_the_request_is_not_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The provider may have worked on it all that time; to send it again would be to pay twice."""
    monkeypatch.setattr("routebook.upstream.connection.RETRY_WINDOW", -1.0)
    seen: list[int] = []
    async with serve(_die_on_reuse("eof", seen)) as server, client_of(Client()) as client:
        await ask(client, post(server))
        recorder = await ask(client, post(server))
        assert recorder.order == ["sent", "lost"]
        assert seen == [1, 1]


async def test_a_retry_that_finds_nobody_is_a_loss_of_a_request_that_was_sent() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(OK)
        await peer.request()
        server.stop_listening()

    async with serve(script) as server, client_of(Client()) as client:
        await ask(client, post(server))
        recorder = await ask(client, post(server))
    assert recorder.order == ["sent", "lost"]
    assert isinstance(recorder.fault, UpstreamLost)
    assert recorder.fault.sent


async def test_idle_connections_are_closed_when_their_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routebook.upstream.client._SWEEP", 0.01)
    gone = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(OK)
        await peer.gone()
        gone.set()

    async with serve(script) as server, client_of(Client(idle=0.02)) as client:
        await ask(client, post(server))
        await asyncio.wait_for(gone.wait(), 5)
        assert client.idle == 0
        await until(lambda: not client._pools)


async def test_a_connection_past_its_time_is_not_used_even_before_the_sweep() -> None:
    async with serve(answer(OK)) as server, client_of(Client()) as client:
        await ask(client, post(server))
        connection: Connection = next(iter(next(iter(client._pools.values())).open))
        connection.expires = 0.0
        await ask(client, post(server))
        assert server.accepted == 2


async def test_the_server_s_keep_alive_time_is_undercut() -> None:
    raw = b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=100\r\nContent-Length: 2\r\n\r\nok"
    async with serve(answer(raw)) as server, client_of(Client()) as client:
        await ask(client, post(server))
        connection: Connection = next(iter(next(iter(client._pools.values())).open))
        left = connection.expires - asyncio.get_running_loop().time()
        assert 3.5 < left <= 4.01


async def test_above_the_limit_a_request_is_refused_with_a_reason() -> None:
    stuck = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    async with serve(answer(stuck)) as server, client_of(Client(per_host=2)) as client:
        open_lines = [send(client, post(server)) for _ in range(2)]
        refused = await ask(client, post(server))
        assert refused.calls == ["lost"]
        assert isinstance(refused.fault, UpstreamLost)
        assert not refused.fault.sent
        assert "connections to 127.0.0.1" in refused.fault.message
        for recorder, line in open_lines:
            await recorder.until("head")
            line.close()
        await until(lambda: client.in_use == 0)
        recorder, line = send(client, post(server))
        await recorder.until("head")
        line.close()


async def test_an_answer_that_comes_before_the_request_was_read_is_not_followed_by_reuse() -> None:
    """What is left of the request would be read as the next one."""
    early = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n"

    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.write(early)
        await peer.gone()

    async with serve(script) as server, client_of(Client()) as client:
        recorder = await ask(client, post(server, bytes(64 * 2**20)))
        assert (recorder.status, recorder.calls[-1]) == (413, "end")
        assert client.idle == 0


async def test_requests_on_warm_connections_go_out_together_when_the_turn_is_over() -> None:
    """Sent back to back they wake the other side once. Their time is that of the write."""
    held = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(OK)
        await peer.request()
        await held.wait()
        await peer.write(OK)
        await peer.gone()

    async with serve(script) as server, client_of(Client()) as client:
        first = [send(client, post(server))[0] for _ in range(3)]
        for recorder in first:
            await recorder.wait()
        recorders, lines = zip(*(send(client, post(server)) for _ in range(3)), strict=True)
        assert all(line.reused for line in lines)
        assert [recorder.calls for recorder in recorders] == [[], [], []]
        await recorders[0].until("sent")
        assert [recorder.calls for recorder in recorders] == [["sent"], ["sent"], ["sent"]]
        held.set()
        for recorder in recorders:
            assert (await recorder.wait()).order == ["sent", "head", "data", "end"]


async def test_bytes_that_come_before_the_request_has_left_are_no_answer_to_it() -> None:
    """They came after the last look at the connection; the request goes out on another one."""
    async with serve(answer(OK)) as server, client_of(Client()) as client:
        await ask(client, post(server))
        recorder, line = send(client, post(server))
        assert isinstance(line.connection, Plain)
        line.connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstrange")
        assert (await recorder.wait()).order == ["sent", "head", "data", "end"]
        assert recorder.body == b"ok"
        assert server.accepted == 2


async def test_a_listener_that_fails_at_sent_hurts_nobody_who_sends_in_the_same_turn() -> None:
    class Failing(Recorder):
        def sent(self) -> None:
            super().sent()
            raise RuntimeError("a mistake")

    async with serve(answer(OK)) as server, client_of(Client()) as client:
        await ask(client, post(server))
        told: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["exception"]))
        failing = Failing()
        line = client.send(post(server), failing, connect_timeout=5.0)
        assert (await failing.wait()).order == ["sent", "head", "data", "end"]
        assert [str(error) for error in told] == ["a mistake"]
        line.close()


async def test_nothing_of_one_answer_is_left_in_the_next() -> None:
    packed = gzip.compress(b"text")
    answers = [
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nX-A: 1\r\nContent-Length: %d\r\n\r\n%b" % (len(packed), packed),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n4\r\ntext\r\n0\r\nX-T: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntext",
        b"HTTP/1.1 103 Early\r\nX-E: 1\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 4\r\n\r\ntext",
    ]

    async def script(peer: Peer) -> None:
        for data in answers:
            await peer.request()
            await peer.write(data)
        await peer.gone()

    async with serve(script) as server, client_of(Client()) as client:
        found = [await ask(client, post(server)) for _ in answers]
        assert server.accepted == 1
    assert [recorder.body for recorder in found] == [b"text"] * 4
    assert [recorder.status for recorder in found] == [200, 200, 200, 404]
    assert [set(recorder.headers) for recorder in found] == [
        {"x-a"},
        {"transfer-encoding", "trailer"},
        {"content-length"},
        {"content-length"},
    ]


async def test_credentials_are_forgotten_with_the_last_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routebook.upstream.client._SWEEP", 0.01)
    async with serve(answer(OK)) as server, client_of(Client(idle=0.02)) as client:
        request = post(server, headers=(("authorization", "Bearer sk-1"),))
        await ask(client, request)
        target = client._targets.get(request.url)
        assert target._starts
        await until(lambda: not client._pools)
        assert not target._starts
