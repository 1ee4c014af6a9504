"""Getting a connection: names, addresses, timeouts, TLS, and what is said when it fails."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator

import pytest
import trustme

from routebook.core.errors import UpstreamLost, UpstreamTimeout
from routebook.upstream import dial
from routebook.upstream.client import Client
from routebook.upstream.tls import system_context
from routebook.wire.http import HttpRequest
from tests.upstream.harness import (
    OK,
    Names,
    Peer,
    Recorder,
    answer,
    ask,
    client_of,
    free_port,
    once,
    open_sockets,
    post,
    send,
    serve,
    until,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("api.test", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


@pytest.fixture
def silent() -> Iterator[int]:
    """A port whose connections are accepted by the kernel and never served."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(64)
        yield sock.getsockname()[1]


@pytest.fixture
def full() -> Iterator[int]:
    """A port whose accept queue is full: connections to it hang."""
    fillers = []
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(sock.getsockname())
            fillers.append(filler)
        yield sock.getsockname()[1]
        for filler in fillers:
            filler.close()


def lost_unsent(recorder: Recorder) -> str:
    """The message of a loss before anything was sent."""
    assert recorder.calls == ["lost"]
    assert isinstance(recorder.fault, UpstreamLost)
    assert not recorder.fault.sent
    return recorder.fault.message


async def test_a_refused_connection_is_a_loss_that_names_the_host() -> None:
    port = free_port()
    request = HttpRequest("POST", f"http://127.0.0.1:{port}/secret-path?key=secret", (("Authorization", "secret"),))
    async with client_of(Client()) as client:
        message = lost_unsent(await ask(client, request))
    assert f"127.0.0.1:{port}" in message
    assert "refused" in message
    assert "base_url" in message
    assert "secret" not in message


async def test_an_unknown_name_is_a_loss_that_names_the_host() -> None:
    async with client_of(Client(resolver=Names({}))) as client:
        message = lost_unsent(await ask(client, post("http://nowhere.test")))
    assert "nowhere.test" in message
    assert "DNS" in message


async def test_a_name_that_cannot_be_a_name_is_a_loss() -> None:
    async with client_of(Client()) as client:
        lost_unsent(await ask(client, post(f"http://{'a' * 70}.test")))


async def test_a_connection_that_hangs_ends_with_the_connect_timeout(full: int) -> None:
    before = open_sockets()
    async with client_of(Client()) as client:
        recorder = await ask(client, post(f"http://127.0.0.1:{full}"), timeout=0.05)
        assert recorder.calls == ["lost"]
        assert isinstance(recorder.fault, UpstreamTimeout)
        assert getattr(recorder.fault, "sent", True) is False
        assert "within 0.05 s (connecting)" in recorder.fault.message
        await until(lambda: client.in_use == 0)
    await until(lambda: open_sockets() <= before + 1)


async def test_a_tls_handshake_that_hangs_ends_with_the_connect_timeout(silent: int, trusting: ssl.SSLContext) -> None:
    async with client_of(Client(tls=trusting)) as client:
        before = open_sockets()
        recorder = await ask(client, post(f"https://127.0.0.1:{silent}"), timeout=0.05)
        assert isinstance(recorder.fault, UpstreamTimeout)
        assert "TLS handshake" in recorder.fault.message
        await until(lambda: client.in_use == 0)
        await until(lambda: open_sockets() <= before)


async def test_closing_a_line_that_is_still_connecting_frees_its_socket(full: int, trusting: ssl.SSLContext) -> None:
    async with client_of(Client(tls=trusting)) as client:
        recorder, line = send(client, post(f"https://127.0.0.1:{full}"))
        before = open_sockets()
        await asyncio.sleep(0.02)
        line.close()
        await until(lambda: client.in_use == 0)
        await until(lambda: open_sockets() <= before)
        assert recorder.calls == []


async def test_a_dead_address_does_not_stop_the_next_one() -> None:
    async with serve(answer(OK)) as server:
        names = Names({"two.test": ["127.0.0.2", "127.0.0.1"]})  # nobody listens on the first
        async with client_of(Client(resolver=names)) as client:
            assert (await ask(client, post(f"http://two.test:{server.port}"))).body == b"ok"


async def test_an_address_that_hangs_loses_the_race(full: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial, "HEAD_START", 0.01)
    async with serve(answer(OK), host="127.0.0.3", port=full) as server:
        names = Names({"two.test": ["127.0.0.1", "127.0.0.3"]})
        async with client_of(Client(resolver=names)) as client:
            before = open_sockets()
            recorder = await ask(client, post(f"http://two.test:{full}"))
            assert recorder.body == b"ok"
            assert server.accepted == 1
            await until(lambda: open_sockets() <= before + 2)  # both ends of the one that won


async def test_when_all_addresses_fail_the_first_reason_is_told() -> None:
    names = Names({"two.test": ["127.0.0.2", "127.0.0.3"]})
    async with client_of(Client(resolver=names)) as client:
        assert "refused" in lost_unsent(await ask(client, post(f"http://two.test:{free_port()}")))


async def test_both_families_are_served() -> None:
    names = Names({"six.test": ["::1"], "both.test": ["127.0.0.2", "::1"], "::1": ["::1"]})
    async with serve(answer(OK), host="::1") as server, client_of(Client(resolver=names)) as client:
        for host in ("[::1]", "six.test", "both.test"):
            assert (await ask(client, post(f"http://{host}:{server.port}"))).body == b"ok"


async def test_tls_works_with_the_host_name_and_the_connection_is_kept(
    server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    names: list[str | None] = []
    server_tls.sni_callback = lambda connection, name, context: names.append(name)
    client = Client(tls=trusting, resolver=Names({"api.test": ["127.0.0.1"]}))
    async with serve(answer(OK), tls=server_tls) as server, client_of(client):
        for _ in range(3):
            recorder = await ask(client, post(f"https://api.test:{server.port}"))
            assert recorder.order == ["sent", "head", "data", "end"]
        assert server.accepted == 1
    assert names == ["api.test"]


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_the_next_tls_connection_resumes_the_session(
    server_tls: ssl.SSLContext, trusting: ssl.SSLContext, newest: ssl.TLSVersion
) -> None:
    server_tls.maximum_version = newest
    once_only = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    async with serve(once(once_only), tls=server_tls) as server, client_of(Client(tls=trusting)) as client:
        for _ in range(3):
            assert (await ask(client, post(f"https://127.0.0.1:{server.port}"))).body == b"ok"
        assert server.tls_resumed == [False, True, True]


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_session_can_be_resumed_while_the_first_answer_is_still_under_way(
    server_tls: ssl.SSLContext, trusting: ssl.SSLContext, newest: ssl.TLSVersion
) -> None:
    """Streams last for minutes: a thousand that begin in one of them would each pay for a whole handshake."""
    server_tls.maximum_version = newest

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await peer.gone()

    async with serve(script, tls=server_tls) as server, client_of(Client(tls=trusting)) as client:
        for _ in range(3):
            recorder, _ = send(client, post(f"https://127.0.0.1:{server.port}"))
            await recorder.until("data")
        assert server.tls_resumed == [False, True, True]


async def test_a_certificate_of_an_unknown_authority_is_refused(server_tls: ssl.SSLContext) -> None:
    async with serve(answer(OK), tls=server_tls) as server, client_of(Client(tls=system_context())) as client:
        message = lost_unsent(await ask(client, post(f"https://127.0.0.1:{server.port}")))
        assert "certificate was not accepted" in message
        assert "CA certificates" in message
        await until(lambda: client.in_use == 0)


async def test_a_certificate_for_another_name_is_refused(server_tls: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    client = Client(tls=trusting, resolver=Names({"other.test": ["127.0.0.1"]}))
    async with serve(answer(OK), tls=server_tls) as server, client_of(client):
        message = lost_unsent(await ask(client, post(f"https://other.test:{server.port}")))
    assert "other.test" in message


async def test_a_resumed_session_does_not_carry_over_to_another_name(
    server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    names = Names({"api.test": ["127.0.0.1"], "other.test": ["127.0.0.1"]})
    client = Client(tls=trusting, resolver=names)
    async with serve(answer(OK), tls=server_tls) as server, client_of(client):
        await ask(client, post(f"https://api.test:{server.port}"))
        lost_unsent(await ask(client, post(f"https://other.test:{server.port}")))


async def test_tls_with_a_server_that_speaks_plain_http_is_a_loss(trusting: ssl.SSLContext) -> None:
    async def script(peer: Peer) -> None:
        await peer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.gone()

    async with serve(script) as server, client_of(Client(tls=trusting)) as client:
        message = lost_unsent(await ask(client, post(f"https://127.0.0.1:{server.port}")))
        assert f"TLS with 127.0.0.1:{server.port} failed" in message


async def test_a_body_without_length_over_tls_ends_with_the_connection(
    server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    raw = b"HTTP/1.1 200 OK\r\n\r\nall of it"
    async with serve(once(raw), tls=server_tls) as server, client_of(Client(tls=trusting)) as client:
        recorder = await ask(client, post(f"https://127.0.0.1:{server.port}"))
    assert (recorder.calls[-1], recorder.body) == ("end", b"all of it")


async def test_a_large_exchange_over_tls_is_whole_and_can_be_paused(
    server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    async def script(peer: Peer) -> None:
        _, body = await peer.request()
        await peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        await peer.write(body)
        await peer.gone()

    body = bytes(range(256)) * 20_000
    async with serve(script, tls=server_tls) as server, client_of(Client(tls=trusting)) as client:
        recorder, line = send(client, post(f"https://127.0.0.1:{server.port}", body))
        await recorder.until("data")
        line.pause()
        heard = len(recorder.chunks)
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(recorder.chunks) <= heard + 1
        line.resume()
        await recorder.wait()
        assert recorder.body == body
        assert client.idle == 1


async def test_answers_over_tls_that_arrive_at_the_same_time_do_not_mix(
    server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    """All connections decrypt into the same memory."""
    rounds, size = 8, 100_000

    async def script(peer: Peer) -> None:
        _, body = await peer.request()
        await peer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(rounds):
            await peer.write(b"%x\r\n%b\r\n" % (size, body * size))
            await asyncio.sleep(0)
        await peer.write(b"0\r\n\r\n")
        await peer.gone()

    letters = [bytes([letter]) for letter in b"abcdef"]
    async with serve(script, tls=server_tls) as server, client_of(Client(tls=trusting)) as client:
        sent = [send(client, post(f"https://127.0.0.1:{server.port}", letter)) for letter in letters]
        for letter, (recorder, _) in zip(letters, sent, strict=True):
            await recorder.wait()
            assert recorder.body == letter * (rounds * size)
        assert client.idle == len(letters)


async def test_a_connection_under_tls_brings_its_own_memory_and_a_bare_one_does_not(
    server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    """A loop that takes it for the plain kind of protocol allocates 256 KiB for every read of TLS."""
    for tls, scheme in ((server_tls, "https"), (None, "http")):
        async with serve(answer(OK), tls=tls) as server, client_of(Client(tls=trusting)) as client:
            await ask(client, post(f"{scheme}://127.0.0.1:{server.port}"))
            connection = next(iter(next(iter(client._pools.values())).open))
            assert isinstance(connection, asyncio.BufferedProtocol) == (tls is not None)
            assert isinstance(connection, asyncio.Protocol) == (tls is None)


async def test_a_connection_on_which_tls_ended_while_idle_is_not_used_again(
    server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    async with serve(once(OK), tls=server_tls) as server, client_of(Client(tls=trusting)) as client:
        for number in (1, 2):
            assert (await ask(client, post(f"https://127.0.0.1:{server.port}"))).body == b"ok"
            assert server.accepted == number
            await until(lambda: client.idle == 0)
