"""A recording sink and a scripted loopback server: what the transport's tests talk to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

from routebook.core.errors import UpstreamFault
from routebook.upstream.call import Call
from routebook.upstream.client import Client
from routebook.upstream.resolve import Address, Resolver
from routebook.wire.http import HttpHead, HttpRequest

PATIENCE = 5.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Recorder:
    """A sink that writes down what it is told. `over` is set by `end` and `lost`, `progress` by everything."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.chunks: list[bytes] = []
        self.fault: UpstreamFault | None = None
        self.over = asyncio.Event()
        self.progress = asyncio.Event()
        self.on_call: Callable[[str], None] = lambda name: None

    def _note(self, name: str) -> None:
        self.calls.append(name)
        self.progress.set()
        self.on_call(name)

    def sent(self) -> None:
        self._note("sent")

    def head(self, head: HttpHead) -> None:
        self.status = head.status
        self.headers = dict(head.headers)
        self._note("head")

    def data(self, chunk: bytes) -> None:
        self.chunks.append(chunk)
        self._note("data")

    def end(self) -> None:
        self.over.set()
        self._note("end")

    def lost(self, fault: UpstreamFault) -> None:
        self.fault = fault
        self.over.set()
        self._note("lost")

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    async def wait(self) -> Recorder:
        await asyncio.wait_for(self.over.wait(), PATIENCE)
        return self

    async def until(self, name: str) -> None:
        """Wait until a call of that name has come."""
        async with asyncio.timeout(PATIENCE):
            while name not in self.calls:
                self.progress.clear()
                await self.progress.wait()

    @property
    def order(self) -> list[str]:
        """The calls with repeated `data` folded into one."""
        return [name for i, name in enumerate(self.calls) if i == 0 or name != "data" or self.calls[i - 1] != "data"]


class Peer:
    """One accepted connection, as a script sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.reader = reader
        self.writer = writer
        self.number = number

    async def request(self) -> tuple[bytes, bytes]:
        """The next request: head and body. Raises `IncompleteReadError` if the client has gone."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return head, await self.reader.readexactly(length)

    async def write(self, data: bytes) -> None:
        if self.writer.transport.is_closing():  # uvloop raises RuntimeError then
            raise ConnectionResetError
        self.writer.write(data)
        await self.writer.drain()

    async def gone(self) -> None:
        """Wait until the client has closed, one way or the other."""
        with contextlib.suppress(ConnectionError):
            while await asyncio.wait_for(self.reader.read(65536), PATIENCE):
                pass

    def reset(self) -> None:
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


class Server:
    """A loopback server that runs one script per connection and keeps count."""

    def __init__(self) -> None:
        self.port = 0
        self.stop_listening: Callable[[], None] = lambda: None
        self.accepted = 0
        self.failures: list[BaseException] = []
        self.tls_resumed: list[bool] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.asynccontextmanager
async def serve(
    script: Script, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Server]:
    """Run a server for the block. A script that fails (other than by a gone client) fails the test."""
    server = Server()
    running: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        server.accepted += 1
        if tls is not None:
            server.tls_resumed.append(bool(writer.get_extra_info("ssl_object").session_reused))
        try:
            await script(Peer(reader, writer, server.accepted))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        except BaseException as error:
            server.failures.append(error)
        finally:
            writer.transport.abort()
            running.discard(task)

    listener = await asyncio.start_server(accept, host, port, ssl=tls)
    server.stop_listening = listener.close
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in list(running):
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=PATIENCE)
    if server.failures:
        raise server.failures[0]


def answer(*pieces: bytes) -> Script:
    """Answer each request of a connection with the same bytes, piece by piece."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            for piece in pieces:
                await peer.write(piece)
                await asyncio.sleep(0)

    return script


def once(data: bytes, *, reset: bool = False) -> Script:
    """Answer one request and end the connection."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(data)
        if reset:
            peer.reset()
        else:
            peer.writer.close()

    return script


def post(server: Server | str, body: bytes = b"{}", headers: tuple[tuple[str, str], ...] = ()) -> HttpRequest:
    base = server if isinstance(server, str) else server.url
    return HttpRequest("POST", f"{base}/v1/chat?x=1", headers, body)


def send(client: Client, request: HttpRequest, *, timeout: float = PATIENCE) -> tuple[Recorder, Call]:
    recorder = Recorder()
    line = client.send(request, recorder, connect_timeout=timeout)
    assert isinstance(line, Call)
    return recorder, line


async def ask(client: Client, request: HttpRequest, *, timeout: float = PATIENCE) -> Recorder:
    """Send and wait for the end or the loss."""
    recorder, _ = send(client, request, timeout=timeout)
    return await recorder.wait()


@contextlib.asynccontextmanager
async def client_of(client: Client) -> AsyncIterator[Client]:
    """Close the client at the end, and check that it holds nothing then."""
    try:
        yield client
    finally:
        await client.aclose()
    assert (client.in_use, client.idle) == (0, 0)


class Names(Resolver):
    """A resolver with a fixed book; counts look-ups."""

    def __init__(self, book: dict[str, list[str]]) -> None:
        super().__init__()
        self.book = book
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int) -> list[Address]:
        self.asked.append(host)
        if host not in self.book:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        family = {True: socket.AF_INET6, False: socket.AF_INET}
        return [Address(family[":" in ip], (ip, port)) for ip in self.book[host]]


async def until(condition: Callable[[], bool]) -> None:
    """Give the loop turns until something is true."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 (the condition is about objects that announce nothing)
            await asyncio.sleep(0)


def open_sockets() -> int:
    """Sockets of this process, both ends of loopback connections and the loop's own included."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the descriptor of this very listing
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
    return count


def free_port() -> int:
    """A loopback port on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
