"""The guarded fetch against real servers: what it brings, and what it refuses to touch."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import Callable

import pytest
import trustme

from routebook.core.errors import BadRequest
from routebook.upstream.fetch import Fetched, fetch
from routebook.upstream.resolve import Address
from tests.upstream.harness import Names, Peer, Server, answer, once, open_sockets, serve, until

pytestmark = pytest.mark.anyio

IMAGE = b"HTTP/1.1 200 OK\r\nContent-Type: Image/PNG; x=y\r\nContent-Length: 4\r\n\r\n\x89PNG"


def at(server: Server) -> Callable[[str, int], bool]:
    """Permit exactly this loopback server."""
    return lambda ip, port: (ip, port) == ("127.0.0.1", server.port)


async def refused(url: str, *, names: Names | None = None, **rest: object) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        await fetch(url, resolver=names, **rest)  # type: ignore[arg-type]
    assert caught.value.status == 400
    assert caught.value.error_type == "image_download_failed"
    return caught.value


async def test_an_allowed_url_is_fetched() -> None:
    seen: list[str] = []

    async def script(peer: Peer) -> None:
        seen.append((await peer.request())[0].decode())
        await peer.write(IMAGE)
        await peer.gone()

    async with serve(script) as server:
        before = open_sockets()
        got = await fetch(f"http://127.0.0.1:{server.port}/a/b?c=d#e", allow=at(server))
        assert got == Fetched("image/png", b"\x89PNG")
        assert seen[0].startswith("GET /a/b?c=d HTTP/1.1\r\n")
        assert "authorization" not in seen[0].lower()
        await until(lambda: open_sockets() <= before)


async def test_without_the_hook_loopback_is_refused_and_never_connected_to() -> None:
    async with serve(answer(IMAGE)) as server:
        for host in ("127.0.0.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0.0.0.0", "\uff11\uff12\uff17.0.0.1"):
            fault = await refused(f"http://{host}:{server.port}/")
            assert "not on the public Internet" in fault.message
        for host in ("localhost", "2130706433", "0x7f.1", "0177.0.0.1", "127.1"):
            await refused(f"http://{host}:{server.port}/")
        assert server.accepted == 0


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["8.8.8.8", "127.0.0.1"],
        ["::1"],
        ["169.254.169.254"],
        ["64:ff9b::7f00:1"],
        ["2606:4700::1", "fd00::1"],
    ],
)
async def test_a_name_is_refused_if_any_of_its_addresses_is_not_public(addresses: list[str]) -> None:
    fault = await refused("http://img.test/x", names=Names({"img.test": addresses}))
    assert "not on the public Internet" in fault.message
    assert fault.metadata == {"host": "img.test"}


async def test_the_connection_goes_to_the_checked_address_and_the_name_is_asked_once() -> None:
    """A name that means something else on the second look cannot lead anywhere."""

    class Rebinding(Names):
        async def resolve(self, host: str, port: int) -> list[Address]:
            self.book = {host: ["127.0.0.1"] if not self.asked else ["127.0.0.9"]}
            return await super().resolve(host, port)

    async with serve(answer(IMAGE)) as server:
        names = Rebinding({})
        got = await fetch(f"http://img.test:{server.port}/", resolver=names, allow=at(server))
        assert got.data == b"\x89PNG"
        assert names.asked == ["img.test"]


async def test_tls_and_host_keep_the_name() -> None:
    authority = trustme.CA()
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("img.test").configure_cert(server_tls)
    client_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client_tls)
    heads: list[str] = []

    async def script(peer: Peer) -> None:
        heads.append((await peer.request())[0].decode())
        await peer.write(IMAGE)
        await peer.gone()

    async with serve(script, tls=server_tls) as server:
        names = Names({"img.test": ["127.0.0.1"], "other.test": ["127.0.0.1"]})
        got = await fetch(f"https://img.test:{server.port}/", resolver=names, tls=client_tls, allow=at(server))
        assert got.data == b"\x89PNG"
        assert f"Host: img.test:{server.port}\r\n" in heads[0]
        fault = await refused(f"https://other.test:{server.port}/", names=names, tls=client_tls, allow=at(server))
        assert "certificate was not accepted" in fault.message


@pytest.mark.parametrize("port", [1, 22, 25, 81, 3306, 6379, 9200])
async def test_a_port_that_is_not_the_web_s_is_refused(port: int) -> None:
    fault = await refused(f"http://img.test:{port}/", names=Names({"img.test": ["8.8.8.8"]}))
    assert "the port must be one of 80, 443, 8080, 8443" in fault.message


async def test_an_unknown_name_is_refused() -> None:
    assert "cannot be resolved" in (await refused("http://nowhere.test/", names=Names({}))).message


async def test_a_redirect_within_the_host_is_followed() -> None:
    async def script(peer: Peer) -> None:
        head = (await peer.request())[0]
        if head.startswith(b"GET /start"):
            await peer.write(b"HTTP/1.1 302 Found\r\nLocation: /end\r\nContent-Length: 0\r\n\r\n")
        else:
            await peer.write(IMAGE)

    async with serve(script) as server:
        got = await fetch(f"http://127.0.0.1:{server.port}/start", allow=at(server))
        assert got.data == b"\x89PNG"


async def test_a_redirect_to_another_host_is_refused_and_not_connected_to() -> None:
    async with serve(answer(IMAGE)) as other:
        raw = b"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:%d/\r\nContent-Length: 0\r\n\r\n" % other.port
        async with serve(answer(raw)) as server:
            names = Names({"img.test": ["127.0.0.1"], "127.0.0.1": ["127.0.0.1"]})
            url = f"http://img.test:{server.port}/"
            fault = await refused(url, names=names, allow=lambda ip, port: True)
            assert "redirected to another host" in fault.message
        assert other.accepted == 0


async def test_a_redirect_to_another_port_is_checked_like_the_first() -> None:
    async with serve(answer(IMAGE)) as other:
        raw = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/\r\nContent-Length: 0\r\n\r\n" % other.port
        async with serve(answer(raw)) as server:
            fault = await refused(f"http://127.0.0.1:{server.port}/", allow=at(server))
            assert "not on the public Internet" in fault.message
        assert other.accepted == 0


async def test_more_than_three_redirects_are_refused() -> None:
    raw = b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"
    async with serve(answer(raw)) as server:
        fault = await refused(f"http://127.0.0.1:{server.port}/", allow=at(server))
        assert "more than 3 times" in fault.message
        assert server.accepted == 4


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" + bytes(101),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"40\r\n" + bytes(64) + b"\r\n40\r\n" + bytes(64) + b"\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + bytes(101),
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(101)),
    ],
    ids=["announced", "length", "chunked", "until the end", "unpacked"],
)
async def test_what_is_too_large_is_given_up(raw: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(raw)
        await peer.gone()

    async with serve(script) as server:
        fault = await refused(f"http://127.0.0.1:{server.port}/", allow=at(server), max_bytes=100)
        assert "larger than 100 bytes" in fault.message


async def test_what_is_just_small_enough_is_fetched() -> None:
    async with serve(once(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(100))) as server:
        got = await fetch(f"http://127.0.0.1:{server.port}/", allow=at(server), max_bytes=100)
        assert got == Fetched("", bytes(100))


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"], ids=["no answer", "half"])
async def test_a_server_that_takes_too_long_is_given_up(start: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(start)
        await peer.gone()

    async with serve(script) as server:
        before = open_sockets()
        fault = await refused(f"http://127.0.0.1:{server.port}/", allow=at(server), timeout=0.05)
        assert "within 0.05 seconds" in fault.message
        await until(lambda: open_sockets() <= before)


async def test_a_name_that_takes_too_long_is_given_up() -> None:
    class Slow(Names):
        async def resolve(self, host: str, port: int) -> list[Address]:
            await asyncio.Event().wait()
            return []

    fault = await refused("http://img.test/", names=Slow({}), timeout=0.02)
    assert "within 0.02 seconds" in fault.message


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "status 404"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "status 204"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "cut its answer off"),
        (b"garbage", "not valid HTTP"),
    ],
)
async def test_an_answer_that_is_not_the_thing_is_refused_with_the_reason(raw: bytes, says: str) -> None:
    async with serve(once(raw)) as server:
        fault = await refused(f"http://127.0.0.1:{server.port}/", allow=at(server))
        assert says in fault.message
        assert fault.metadata == {"host": "127.0.0.1"}


async def test_a_credential_in_the_url_is_neither_used_nor_shown() -> None:
    fault = await refused("http://user:hidden@img.test/", names=Names({"img.test": ["8.8.8.8"]}))
    assert "hidden" not in fault.message
    assert "hidden" not in repr(fault.metadata)
