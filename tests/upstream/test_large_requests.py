"""Large requests: whole, in order, no faster than they are read; a connection that is not through with one ends."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

import pytest
import trustme

from routebook.upstream.call import Call
from routebook.upstream.client import Client
from routebook.upstream.connection import Connection
from routebook.upstream.slowly import TURN
from routebook.wire.bulk import LargeBody
from routebook.wire.http import HttpRequest
from tests.upstream.harness import OK, Peer, Server, answer, ask, client_of, post, send, serve, until

pytestmark = pytest.mark.anyio

MB = 1024 * 1024
PICTURE = b"data:image/png;base64," + b"iVBORw0KGgoAAAAN" * (8 * MB // 16)
BODY = b'{"messages":[{"url":"' + PICTURE + b'"},{"url":"' + PICTURE + b'"}],"end":"\xe2\x98\x80"}'


def large(server: Server) -> HttpRequest:
    """A request whose body is 16 MB in pieces."""
    stowed = LargeBody(BODY[at : at + 256_000] for at in range(0, len(BODY), 256_000)).stow()
    assert stowed is not None
    return HttpRequest("POST", f"{server.url}/v1", (), stowed.text, stowed.bulk)


def trust() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A client's and a server's side of TLS to localhost."""
    authority = trustme.CA()
    ours, theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.configure_trust(ours)
    authority.issue_cert("localhost").configure_cert(theirs)
    return ours, theirs


def on(line: Call) -> Connection:
    """The connection that a line is on."""
    assert line.connection is not None
    return line.connection


def plain(server: Server) -> HttpRequest:
    return HttpRequest("POST", f"{server.url}/v1", (), BODY)


@pytest.mark.parametrize("request_of", [large, plain])
@pytest.mark.parametrize("secure", [False, True])
async def test_a_large_request_arrives_whole_and_its_connection_is_used_again(
    request_of: Callable[[Server], HttpRequest], secure: bool
) -> None:
    bodies: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            bodies.append((await peer.request())[1])
            await peer.write(OK)

    ours, theirs = trust() if secure else (None, None)
    async with serve(script, tls=theirs) as server, client_of(Client(tls=ours)) as client:
        for _ in range(3):
            request = request_of(server)
            if secure:
                url = request.url.replace("http://127.0.0.1", "https://localhost")
                request = HttpRequest("POST", url, (), request.body, request.bulk)
            assert (await ask(client, request)).body == b"ok"
        assert bodies == [BODY] * 3
        assert server.accepted == 1


async def test_the_socket_holds_little_of_a_request_that_nobody_reads() -> None:
    reading = asyncio.Event()
    bodies: list[bytes] = []

    async def script(peer: Peer) -> None:
        await reading.wait()
        bodies.append((await peer.request())[1])
        await peer.write(OK)
        await peer.gone()

    async with serve(script) as server, client_of(Client()) as client:
        recorder, line = send(client, large(server))
        await recorder.until("sent")
        transport = on(line).transport
        assert transport is not None
        await settled(transport)
        assert 0 < transport.get_write_buffer_size() < 2 * TURN
        reading.set()
        assert (await recorder.wait()).body == b"ok"
        assert bodies == [BODY]


async def settled(transport: asyncio.Transport) -> None:
    """Wait until what the transport holds has not changed for a hundred turns of the loop."""
    same, before = 0, -1
    async with asyncio.timeout(5):
        while same < 100:
            await asyncio.sleep(0)
            now = transport.get_write_buffer_size()
            same, before = (same + 1 if now == before else 0), now


async def test_others_get_their_turn_while_a_large_request_goes_out() -> None:
    turns = 0

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(OK)
        await peer.gone()

    async with serve(script) as server, client_of(Client()) as client:
        recorder, line = send(client, large(server))
        await recorder.until("sent")
        rest = on(line)._rest
        assert rest is not None
        while not rest.done:
            turns += 1
            await asyncio.sleep(0)
        await recorder.wait()
        assert turns >= len(BODY) // (4 * TURN)


async def test_an_answer_before_the_end_of_the_request_counts_and_ends_the_connection() -> None:
    async def script(peer: Peer) -> None:
        if peer.number > 1:
            await answer(OK)(peer)
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.write(OK)
        await peer.gone()

    async with serve(script) as server, client_of(Client()) as client:
        assert (await ask(client, large(server))).body == b"ok"
        await until(lambda: client.idle == 0)
        assert (await ask(client, post(server))).body == b"ok"
        assert server.accepted == 2


async def test_a_large_request_is_sent_again_from_its_beginning_where_a_kept_connection_was_dead() -> None:
    bodies: list[bytes] = []

    async def script(peer: Peer) -> None:
        if peer.number == 1:
            await peer.request()
            await peer.write(OK)
            await peer.reader.readuntil(b"\r\n\r\n")
            peer.reset()
            return
        bodies.append((await peer.request())[1])
        await peer.write(OK)
        await peer.gone()

    async with serve(script) as server, client_of(Client()) as client:
        assert (await ask(client, post(server))).body == b"ok"
        assert (await ask(client, large(server))).body == b"ok"
        assert bodies == [BODY]
        assert server.accepted == 2


async def test_giving_up_in_the_middle_of_a_large_request_closes_the_socket() -> None:
    gone = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.gone()
        gone.set()

    async with serve(script) as server, client_of(Client()) as client:
        recorder, line = send(client, large(server))
        await recorder.until("sent")
        line.close()
        await asyncio.wait_for(gone.wait(), 5)
        assert client.in_use == 0
        assert recorder.calls == ["sent"]
