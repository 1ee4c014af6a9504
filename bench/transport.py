"""What the transport to providers costs: `python bench/transport.py [--against SRC]` prints µs of CPU, best of several.

Owns the micro-benchmarks of `routebook.upstream`. "memory" rows have no socket below: the transport's own code and its
look at the idle connection. "loopback" rows are real sockets under uvloop with the peer in another process, beside a
bare protocol that writes the same bytes and parses nothing: the difference is what the transport costs. It wavers with
how many answers one turn of the loop happens to find, with TLS most; the memory rows are those to compare.

`--against` names the `src` folder of another checkout; its rounds alternate with ours, because the machine is shared.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import trustme
import uvloop

from routebook.core.errors import UpstreamFault
from routebook.upstream.client import Client
from routebook.upstream.connection import Connection
from routebook.wire.http import HttpHead, HttpRequest

ROUNDS = 6
INNER = 5
BATCH = 16
"""Requests in one turn of the loop."""
BODY = b'{"model":"large-2026-01","messages":[{"role":"user","content":"' + b"word " * 190 + b'"}]}'
ANSWER = b'{"id":"chatcmpl-1","object":"chat.completion","choices":[' + b'"some text",' * 80 + b"0]}"
COMMON = b"".join(
    b"%s\r\n" % line
    for line in [
        b"Date: Mon, 05 Jan 2026 10:00:00 GMT",
        b"Connection: keep-alive",
        b"Server: cloudflare",
        b"access-control-expose-headers: X-Request-ID",
        b"openai-organization: user-0123456789abcdef",
        b"openai-processing-ms: 412",
        b"openai-version: 2020-10-01",
        b"x-ratelimit-limit-requests: 10000",
        b"x-ratelimit-limit-tokens: 2000000",
        b"x-ratelimit-remaining-requests: 9999",
        b"x-ratelimit-remaining-tokens: 1999744",
        b"x-ratelimit-reset-requests: 6ms",
        b"x-ratelimit-reset-tokens: 7ms",
        b"x-request-id: req_0123456789abcdef0123456789abcdef",
        b"cf-cache-status: DYNAMIC",
        b"cf-ray: 0123456789abcdef-FRA",
    ]
)
FEW = b"".join(COMMON.splitlines(keepends=True)[:6])
JSON = b"HTTP/1.1 200 OK\r\n%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    COMMON,
    len(ANSWER),
    ANSWER,
)
SSE = b"HTTP/1.1 200 OK\r\n%sContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" % COMMON
EVENT = b"data: " + b"x" * 240 + b"\n\n"
CHUNK = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)
READS = 500


def request(url: str) -> HttpRequest:
    """As a dialect builds it: the headers are a new tuple, their strings are not."""
    return HttpRequest("POST", url, (AUTHORIZATION, *HEADERS), BODY)


AUTHORIZATION = ("authorization", "Bearer sk-0123456789abcdef0123456789abcdef")
HEADERS = (("content-type", "application/json"), ("accept", "application/json"))


class Null:
    """A sink that does nothing but say when it is over."""

    def __init__(self, over: Callable[[], None]) -> None:
        self.end = over

    def sent(self) -> None: ...

    def head(self, head: HttpHead) -> None:
        head.content_type  # noqa: B018 (every reader asks once)

    def data(self, chunk: bytes) -> None: ...

    def lost(self, fault: UpstreamFault) -> None:
        raise fault


class Memory(asyncio.Transport):
    """A transport that swallows what is written."""

    __slots__ = ()

    def write(self, data: object) -> None: ...
    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None: ...
    def get_extra_info(self, name: str, default: object = None) -> object:
        return default


async def in_memory() -> dict[str, float]:
    """µs of a request, and of a read of a stream, without a kernel."""
    client = Client()
    made: list[asyncio.Protocol] = []
    ours, theirs = socket.socketpair()

    async def open_(
        origin: object, make: Callable[[socket.socket], Connection], timeout: float, *more: object
    ) -> Connection:
        connection = make(ours)
        connection.connection_made(Memory())
        made.append(cast("asyncio.Protocol", connection))
        return connection

    client._dialer.open = open_  # type: ignore[method-assign]
    url = "http://api.test:8000/v1/chat/completions"
    sink = Null(lambda: None)
    client.send(request(url), sink, connect_timeout=5)
    await asyncio.sleep(0.01)
    line = made[0]
    line.data_received(JSON)
    last = CHUNK + b"0\r\n\r\n"

    async def whole(answer: bytes, times: int) -> None:
        for _ in range(times // BATCH):
            for _ in range(BATCH):
                client.send(request(url), sink, connect_timeout=5)
                line.data_received(answer)
            await asyncio.sleep(0)

    async def built(times: int) -> None:
        for _ in range(times):
            request(url)

    async def streams(times: int, reads: int) -> None:
        for _ in range(times):
            client.send(request(url), sink, connect_timeout=5)
            line.data_received(SSE)
            for _ in range(reads):
                line.data_received(CHUNK)
            line.data_received(last)
            await asyncio.sleep(0)

    async def bare(times: int) -> None:
        for _ in range(times):
            for _ in range(READS):
                sink.data(CHUNK)

    try:
        void_us = await best(built, 4000)
        many_us, few_us = [
            await best(functools.partial(whole, answer), 4000) - void_us for answer in (JSON, JSON.replace(COMMON, FEW))
        ]
        long_us, short_us = await best(lambda n: streams(n, READS), 20), await best(lambda n: streams(n, 0), 20)
        void = await best(bare, 20)
        return {
            "memory: JSON, 18 headers": many_us,
            "memory: JSON, 8 headers": few_us,
            "memory: streamed read": (long_us - short_us - void) / READS,
        }
    finally:
        assert client.idle == 1
        line.connection_lost(None)
        await client.aclose()
        ours.close()
        theirs.close()


class Bare(asyncio.BaseProtocol):
    """Writes bytes and waits for as many as an answer has."""

    def __init__(self) -> None:
        self.got = 0
        self.over: Callable[[], None] = lambda: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def take(self, size: int) -> None:
        self.got += size
        if self.got >= len(JSON):
            self.got = 0
            self.over()


class BarePlain(Bare, asyncio.Protocol):
    def data_received(self, data: bytes) -> None:
        self.take(len(data))


class BareTls(Bare, asyncio.BufferedProtocol):
    """As a plain protocol it would make the loop allocate 256 KiB for every read: as dear as TLS itself."""

    room = memoryview(bytearray(64 * 1024))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.room

    def buffer_updated(self, nbytes: int) -> None:
        self.take(nbytes)


async def over_loopback(port: int, context: ssl.SSLContext | None) -> dict[str, float]:
    """µs of a request through real sockets: bare, and what the client adds. BATCH connections are busy all the time."""
    loop = asyncio.get_running_loop()
    client = Client(tls=context)
    url = f"{'https' if context else 'http'}://localhost:{port}/v1/chat/completions"
    name = "localhost" if context else None
    bare: type[Bare] = BareTls if context else BarePlain
    lines = [
        (await loop.create_connection(bare, "localhost", port, ssl=context, server_hostname=name))[1]
        for _ in range(BATCH)
    ]
    head = b"POST / HTTP/1.1\r\n" + b"x: y\r\n" * 34 + b"\r\n"

    async def both(begin: list[Callable[[Callable[[], None]], None]], times: int) -> None:
        done, left = loop.create_future(), times

        def over(start: Callable[[Callable[[], None]], None], again: list[Callable[[], None]]) -> None:
            nonlocal left
            left -= 1
            if left >= BATCH:
                start(again[0])
            elif left == 0:
                done.set_result(None)

        for start in begin:
            again: list[Callable[[], None]] = []
            again.append(functools.partial(over, start, again))
            start(again[0])
        await done

    def plain(line: Bare) -> Callable[[Callable[[], None]], None]:
        def start(over: Callable[[], None]) -> None:
            line.over = over
            line.transport.write(head + BODY)

        return start

    def ours(over: Callable[[], None]) -> None:
        client.send(request(url), Null(over), connect_timeout=5)

    try:
        await both([ours] * BATCH, BATCH)
        bare_us = client_us = float("inf")
        for _ in range(INNER):
            bare_us = min(bare_us, await best(lambda n: both([plain(line) for line in lines], n), 1600, 1))
            client_us = min(client_us, await best(lambda n: both([ours] * BATCH, n), 1600, 1))
    finally:
        for line in lines:
            line.transport.abort()
        await client.aclose()
    kind = "TLS" if context else "plain"
    return {f"loopback, {kind}: bare": bare_us, f"loopback, {kind}: the client adds": client_us - bare_us}


async def best(run: Callable[[int], Awaitable[None]], times: int, rounds: int = INNER) -> float:
    """µs of this thread's CPU of one of `times`, in the best round."""
    found = float("inf")
    for _ in range(rounds):
        start = time.thread_time()
        await run(times)
        found = min(found, (time.thread_time() - start) / times)
    return found * 1e6


class Peer(asyncio.Protocol):
    """Answers every request with the same bytes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.held = cast("asyncio.Transport", transport), b""

    def data_received(self, data: bytes) -> None:
        self.held += data
        if self.held.endswith(BODY):
            self.held = b""
            self.transport.write(JSON)


async def peer(folder: Path) -> None:
    """Serve plain and TLS; print both ports; end when stdin does."""
    loop = asyncio.get_running_loop()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    servers = [await loop.create_server(Peer, "localhost", 0, ssl=tls) for tls in (None, context)]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


async def one_round(folder: Path, ports: list[int]) -> dict[str, float]:
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    return {**await in_memory(), **await over_loopback(ports[0], None), **await over_loopback(ports[1], context)}


def main(against: str | None, rounds: int) -> None:
    """Rounds in child processes, one source folder after the other; the best of each figure."""
    sources = {"here": str(Path(__file__).parent.parent / "src")} | ({"against": against} if against else {})
    found: dict[str, dict[str, float]] = {name: {} for name in sources}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
        child = [sys.executable, __file__, "--folder", name]
        with subprocess.Popen([*child, "--peer"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            ports = server.stdout.readline().split()
            for _ in range(rounds):
                for source, path in sources.items():
                    env = {**os.environ, "PYTHONPATH": path}
                    done = subprocess.run(
                        [*child, "--ports", *ports], env=env, stdout=subprocess.PIPE, check=True, timeout=60
                    )
                    for row, us in json.loads(done.stdout).items():
                        found[source][row] = min(us, found[source].get(row, us))
            server.stdin.close()
    print(f"{'µs of CPU':36}" + "".join(f"{source:>10}" for source in sources))
    for row in found["here"]:
        print(f"{row:36}" + "".join(f"{found[source][row]:10.2f}" for source in sources))


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    options.add_argument("--against", metavar="SRC", help="the src folder of another checkout")
    options.add_argument("--rounds", type=int, default=ROUNDS)
    for hidden in ("--folder", "--ports"):
        options.add_argument(hidden, nargs="+" if hidden == "--ports" else None, help=argparse.SUPPRESS)
    options.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.peer:
        uvloop.run(peer(Path(chosen.folder)))
    elif chosen.ports:
        print(json.dumps(uvloop.run(one_round(Path(chosen.folder), [int(port) for port in chosen.ports]))))
    else:
        main(chosen.against, chosen.rounds)
