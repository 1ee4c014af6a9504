"""From an origin to a connected socket: resolve, connect (the quickest address wins), tunnel, TLS.

Everything here happens once per connection and inside one deadline.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import NoReturn

import httptools

from routebook.core.errors import UpstreamFault, UpstreamTimeout
from routebook.upstream.connection import Connection
from routebook.upstream.faults import describe, not_sent
from routebook.upstream.proxy import Proxies, Proxy
from routebook.upstream.resolve import Address, Resolver
from routebook.upstream.tls import Sessions

HEAD_START = 0.25
"""Seconds one address has for itself before the next is tried beside it (RFC 8305 section 5)."""
_TUNNEL_HEAD = 16 * 1024


class Dialer:
    """Opens connections; keeps nothing but the resolver's and TLS's memory."""

    def __init__(self, resolver: Resolver, proxies: Proxies, sessions: Sessions) -> None:
        self.resolver = resolver
        self.proxies = proxies
        self.sessions = sessions

    async def open(
        self, origin: tuple[str, str, int], make: Callable[[socket.socket], Connection], timeout: float
    ) -> Connection:
        """A connected, ready `Connection`. Raises only `UpstreamLost` and `UpstreamTimeout`, both with `sent=False`."""
        scheme, host, port = origin
        attempt = _Attempt(self, scheme, host, port, make)
        try:
            async with asyncio.timeout(timeout):
                return await attempt.run()
        except TimeoutError:
            raise UpstreamTimeout(
                f"No connection to {attempt.label} within {timeout:g} s ({attempt.stage}); "
                "try again, or raise connect in [timeouts].",
                sent=False,
            ) from None
        except UpstreamFault:
            raise
        except (OSError, UnicodeError) as error:
            attempt.fail(error)


class _Attempt:
    """One connection being made. `stage` says what it is busy with, for the message if the deadline passes."""

    def __init__(
        self, dialer: Dialer, scheme: str, host: str, port: int, make: Callable[[socket.socket], Connection]
    ) -> None:
        self.dialer = dialer
        self.scheme = scheme
        self.host = host
        self.port = port
        self.make = make
        self.label = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.stage = "resolving its name"

    async def run(self) -> Connection:
        proxy = self.dialer.proxies.choose(self.scheme, self.host, self.port)
        where, port = (self.host, self.port) if proxy is None else (proxy.host, proxy.port)
        self.stage = "resolving its name" if proxy is None else f"resolving the proxy {proxy.label}"
        addresses = await self.dialer.resolver.resolve(where, port)
        self.stage = "connecting" if proxy is None else f"connecting to the proxy {proxy.label}"
        sock = await connect_any(addresses)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if proxy is not None and self.scheme == "https":
                self.stage = f"waiting for the proxy {proxy.label}"
                await self._tunnel(sock, proxy)
        except BaseException:
            sock.close()
            raise
        return await self._hand_over(sock)

    async def _hand_over(self, sock: socket.socket) -> Connection:
        """Give the socket to the loop. From here on the loop closes it, also when this fails or is cancelled."""
        loop = asyncio.get_running_loop()
        connection = self.make(sock)
        try:
            if self.scheme == "https":
                self.stage = "TLS handshake"
                context = self.dialer.sessions.for_connection(self.host, self.port)
                await loop.create_connection(lambda: connection, sock=sock, ssl=context, server_hostname=self.host)
            else:
                await loop.create_connection(lambda: connection, sock=sock)
        except BaseException:
            connection.discard()
            raise
        return connection

    async def _tunnel(self, sock: socket.socket, proxy: Proxy) -> None:
        """CONNECT on the bare socket (RFC 9110 section 9.3.6). Then the proxy is silent: TLS is ours to start."""
        loop = asyncio.get_running_loop()
        credential = f"Proxy-Authorization: {proxy.authorization}\r\n" if proxy.authorization else ""
        request = f"CONNECT {self.label} HTTP/1.1\r\nHost: {self.label}\r\n{credential}\r\n"
        await loop.sock_sendall(sock, request.encode("latin-1"))
        answer = _TunnelAnswer()
        parser = httptools.HttpResponseParser(answer)
        answer.parser = parser
        raw = b""
        while b"\r\n\r\n" not in raw:
            piece = await loop.sock_recv(sock, 4096)
            raw += piece
            if not piece or len(raw) > _TUNNEL_HEAD:
                raise not_sent(f"The proxy {proxy.label} did not answer CONNECT; check HTTPS_PROXY.")
        try:
            parser.feed_data(raw)
        except httptools.HttpParserError as error:
            raise not_sent(f"The proxy {proxy.label} does not speak HTTP; check HTTPS_PROXY.") from error
        if not 200 <= answer.status < 300:
            cause = f"{answer.status}, its credential" if answer.status == 407 else str(answer.status)
            raise not_sent(f"The proxy {proxy.label} refused a tunnel to {self.label} ({cause}); check HTTPS_PROXY.")
        if not raw.endswith(b"\r\n\r\n"):
            raise not_sent(f"The proxy {proxy.label} sent data before the tunnel was used; check HTTPS_PROXY.")

    def fail(self, error: OSError | UnicodeError) -> NoReturn:
        cause = describe(error)
        if self.stage.startswith("resolving"):
            raise not_sent(
                f"Cannot find {self.label}: {self.stage} failed ({cause}); "
                "check the provider's base_url and this machine's DNS."
            ) from error
        if self.stage == "TLS handshake":
            raise not_sent(
                f"TLS with {self.label} failed ({cause}); check the provider's base_url, this machine's clock "
                "and its CA certificates (SSL_CERT_FILE names another bundle)."
            ) from error
        raise not_sent(
            f"Cannot connect to {self.label}: {self.stage} failed ({cause}); "
            "check the provider's base_url and that it is up."
        ) from error


class _TunnelAnswer:
    """The status of a proxy's answer to CONNECT."""

    def __init__(self) -> None:
        self.status = 0
        self.parser: httptools.HttpResponseParser | None = None

    def on_headers_complete(self) -> None:
        if self.parser is not None and self.status == 0:
            self.status = self.parser.get_status_code()


async def connect_any(addresses: list[Address]) -> socket.socket:
    """A connected socket to the first address that answers; each has `HEAD_START` before the next joins the race."""
    if len(addresses) == 1:
        return await _connect(addresses[0])
    loop = asyncio.get_running_loop()
    waiting = list(addresses)
    running: set[asyncio.Task[socket.socket]] = set()
    first_error: BaseException | None = None
    try:
        while waiting or running:
            if waiting:
                running.add(loop.create_task(_connect(waiting.pop(0))))
            done, _ = await asyncio.wait(
                running, timeout=HEAD_START if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                error = task.exception()
                if error is None:
                    running.discard(task)
                    return task.result()
                running.discard(task)
                first_error = first_error or error
    finally:
        for task in running:
            task.add_done_callback(_close_late)
            task.cancel()
    raise first_error or OSError("no address to connect to")


def _close_late(task: asyncio.Task[socket.socket]) -> None:
    """The loser of a race may have connected all the same."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _connect(address: Address) -> socket.socket:
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address.sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock
