"""Requests that travel through an HTTP proxy: absolute form for http, a tunnel for https."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl

import pytest
import trustme

from routebook.core.errors import UpstreamLost
from routebook.upstream.client import Client
from routebook.upstream.proxy import proxies_from_environment
from tests.upstream.harness import OK, Names, Peer, Server, answer, ask, client_of, post, serve

pytestmark = pytest.mark.anyio


def through(server: Server, credential: str = "", bypass: str = "") -> Client:
    url = f"http://{credential}127.0.0.1:{server.port}"
    environment = {"HTTP_PROXY": url, "HTTPS_PROXY": url, "NO_PROXY": bypass}
    return Client(proxies=proxies_from_environment(environment), resolver=Names({"127.0.0.1": ["127.0.0.1"]}))


async def test_http_goes_to_the_proxy_in_absolute_form_with_its_credential() -> None:
    heads: list[str] = []

    async def script(peer: Peer) -> None:
        while True:
            heads.append((await peer.request())[0].decode())
            await peer.write(OK)

    async with serve(script) as server, client_of(through(server, "user:p%40ss@")) as client:
        for _ in range(2):
            assert (await ask(client, post("http://api.test:8000"))).body == b"ok"
        assert server.accepted == 1
    lines = heads[0].split("\r\n")
    assert lines[0] == "POST http://api.test:8000/v1/chat?x=1 HTTP/1.1"
    assert "Host: api.test:8000" in lines
    assert f"Proxy-Authorization: Basic {base64.b64encode(b'user:p@ss').decode()}" in lines


async def test_https_goes_through_a_tunnel_and_the_proxy_sees_only_the_host() -> None:
    authority = trustme.CA()
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("api.test").configure_cert(server_tls)
    client_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client_tls)
    heads: list[str] = []

    async def tunnel(peer: Peer) -> None:
        heads.append((await peer.request())[0].decode())
        reader, writer = await asyncio.open_connection("127.0.0.1", provider.port)
        await peer.write(b"HTTP/1.1 200 Connection established\r\nX-Proxy: 1\r\n\r\n")

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
            if not sink.transport.is_closing():
                sink.close()

        try:
            await asyncio.gather(copy(peer.reader, writer), copy(reader, peer.writer))
        finally:
            writer.close()
            await writer.wait_closed()

    async with serve(answer(OK), tls=server_tls) as provider, serve(tunnel) as proxy:
        proxies = proxies_from_environment({"https_proxy": f"http://u:p@127.0.0.1:{proxy.port}"})
        async with client_of(Client(tls=client_tls, proxies=proxies)) as client:
            for _ in range(2):
                recorder = await ask(client, post(f"https://api.test:{provider.port}", headers=(("X-Key", "secret"),)))
                assert recorder.body == b"ok"
            assert proxy.accepted == 1
        lines = heads[0].split("\r\n")
        assert lines[0] == f"CONNECT api.test:{provider.port} HTTP/1.1"
        assert f"Proxy-Authorization: Basic {base64.b64encode(b'u:p').decode()}" in lines
        assert "secret" not in heads[0]


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407, its credential"),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno!", "403"),
        (b"SSH-2.0-x\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nand more", "before the tunnel was used"),
        (b"", "did not answer CONNECT"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000, "did not answer CONNECT"),
    ],
)
async def test_a_proxy_that_refuses_the_tunnel_is_a_loss_before_anything_is_sent(raw: bytes, says: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(raw)

    async with serve(script) as server, client_of(through(server, "user:hidden@")) as client:
        recorder = await ask(client, post("https://api.test"))
        assert recorder.calls == ["lost"]
        assert isinstance(recorder.fault, UpstreamLost)
        assert not recorder.fault.sent
        assert says in recorder.fault.message
        assert "HTTPS_PROXY" in recorder.fault.message
        assert "hidden" not in recorder.fault.message


async def test_loopback_hosts_and_exceptions_are_reached_directly() -> None:
    bad = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"
    async with serve(answer(bad)) as proxy, serve(answer(OK)) as server:
        client = through(proxy, bypass=".direct.test")
        assert (await ask(client, post(server))).status == 200
        assert (await ask(client, post("http://x.test"))).status == 502
        recorder = await ask(client, post("http://x.direct.test"))
        assert isinstance(recorder.fault, UpstreamLost)  # the resolver does not know it: nobody was asked
        assert proxy.accepted == 1
        await client.aclose()
