"""A provider over TCP that answers with bytes, right or wrong, as scripts say: it knows nothing of HTTP beyond finding
the end of a request. It runs on a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import socket
import struct
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self


class Hang:
    """Nothing more comes, and the connection stays open."""


class Reset:
    """The connection is cut with a RST."""


Step = bytes | Hang | Reset
Script = Sequence[Step]
"""What is sent, step by step, each in a write of its own; at its end the connection is closed in order"""

HANG, RESET = Hang(), Reset()
_LINGER_NOT = struct.pack("ii", 1, 0)


class FaultServer:
    """Plays the script that a request's `model` names: `kind~rest`, streamed or whole. Use as a context manager."""

    def __init__(self, scripts: Mapping[tuple[str, bool], Script]) -> None:
        self._scripts = scripts
        """(kind, streamed) -> script"""
        self.asked: Counter[str] = Counter()
        """requests by the whole `model`"""
        self.port = 0
        self._loop: asyncio.AbstractEventLoop
        self._thread: threading.Thread
        self._stopping: asyncio.Event

    def __enter__(self) -> Self:
        ready: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), name="fault-server")
        self._thread.start()
        self.port = ready.get(timeout=10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    async def _serve(self, ready: queue.SimpleQueue[int]) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0, backlog=1024)
        ready.put(server.sockets[0].getsockname()[1])
        await self._stopping.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while (found := await _request(reader)) is not None:
                model, streamed = found
                self.asked[model] += 1
                script = self._scripts[model.partition("~")[0], streamed]
                if not await self._play(script, writer, reader):
                    break
            else:
                writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async def _play(self, script: Script, writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> bool:
        """True if another request may come on this connection: the script left it whole."""
        for step in script:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
                await asyncio.sleep(0)
            elif isinstance(step, Hang):
                await reader.read()  # until the other side has had enough
                return False
            else:
                sock: socket.socket = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
                writer.transport.abort()
                return False
        return False


async def _request(reader: asyncio.StreamReader) -> tuple[str, bool] | None:
    """(`model`, `stream`) of the next request; None where none comes, or something that is none, as of TLS."""
    try:
        if await reader.readexactly(1) != b"P":
            return None
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    length = next(
        int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
    )
    body = json.loads(await reader.readexactly(length))
    return body["model"], bool(body.get("stream"))


class Deaf:
    """A port whose connections are never taken: whoever connects waits. Use as a context manager."""

    def __enter__(self) -> Self:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._fillers: list[socket.socket] = []
        for _ in range(8):  # the queue of a listener that nobody serves takes one or two
            filler = socket.socket()
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(("127.0.0.1", self.port))
            self._fillers.append(filler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in (*self._fillers, self._listener):
            each.close()


def closed_port() -> int:
    """A port of this machine where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
