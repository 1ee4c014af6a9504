"""The callers: one connection each, raw bytes out, and a note of everything that came back, whole or not."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, cast

import httptools

CHAT = "/api/v1/chat/completions"
DONE = b"data: [DONE]\n\n"


@dataclass(slots=True)
class Ask:
    """One request. `leave`: hang up after that many events of the answer (0: after sending), and a pause."""

    call: str
    body: bytes
    key: str
    path: str = CHAT
    method: str = "POST"
    leave: int | None = None
    pause: float = 0.0

    def wire(self) -> bytes:
        head = f"{self.method} {self.path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {self.key}\r\n"
        if self.body:
            head += f"content-type: application/json\r\ncontent-length: {len(self.body)}\r\n"
        return head.encode() + b"\r\n" + self.body


@dataclass(slots=True)
class Told:
    """What a caller knows of its call. Times are of the monotonic clock."""

    ask: Ask
    status: int = 0
    id: str | None = None
    content_type: str = ""
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False
    """the answer is complete as HTTP has it"""
    left: bool = False
    """the caller hung up"""
    begun_s: float = 0.0
    ended_s: float = 0.0

    @property
    def acknowledged(self) -> bool:
        """The caller was told that the call is over and what it cost, be it that it `failed`."""
        if self.status != 200:
            return False
        return self.body.endswith(DONE) if self.streamed else self.ended

    @property
    def failed(self) -> bool:
        """An error came in the answer."""
        return any("error" in frame for frame in self.frames)

    @property
    def streamed(self) -> bool:
        return self.content_type.startswith("text/event-stream")

    @property
    def events(self) -> int:
        return self.body.count(b"\ndata: ") + self.body.startswith(b"data: ")

    @property
    def frames(self) -> list[dict[str, Any]]:
        """The whole body, or a stream's whole events before `[DONE]`; money is Decimal."""
        if not self.streamed:
            return [_exact(bytes(self.body))] if self.ended and self.body else []
        *parts, _ = self.body.split(b"\n\n")
        return [_exact(bytes(part[6:])) for part in parts if part.startswith(b"data: {")]

    @property
    def cost(self) -> Decimal | None:
        """What the caller was told that the call cost; None if nothing."""
        usage = self.frames[-1].get("usage") or {}
        return Decimal(usage["cost"]) if "cost" in usage else None


def _exact(data: bytes) -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(data, parse_float=Decimal))


class Line(asyncio.Protocol):
    """One connection to the gateway; one request at a time."""

    def __init__(self) -> None:
        self.closed = False
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._told: Told | None = None
        self._over: asyncio.Future[None] | None = None

    async def ask(self, ask: Ask) -> Told:
        """The answer, or as much of it as came before the connection closed or the caller left."""
        told = self._told = Told(ask)
        if self.closed or self._transport is None:
            return told
        self._parser = httptools.HttpResponseParser(self)
        self._over = asyncio.get_running_loop().create_future()
        told.begun_s = time.monotonic()
        self._transport.write(ask.wire())
        if ask.leave == 0:
            self._leave_soon(told)
        await self._over
        return told

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # --- the connection -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._parser is not None:
            self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._end()

    # --- the parser ---------------------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        assert self._told is not None
        match name.lower():
            case b"x-generation-id":
                self._told.id = value.decode()
            case b"content-type":
                self._told.content_type = value.decode()

    def on_headers_complete(self) -> None:
        assert self._told is not None
        self._told.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        told = self._told
        assert told is not None
        told.body += body
        if told.ask.leave and not told.left and told.events >= told.ask.leave:
            self._leave_soon(told)

    def on_message_complete(self) -> None:
        assert self._told is not None
        self._told.ended = True
        self._end()

    def _leave_soon(self, told: Told) -> None:
        told.left = True
        asyncio.get_running_loop().call_later(told.ask.pause, self._leave, told)

    def _leave(self, told: Told) -> None:
        if told.ended or self.closed or self._transport is None:
            return
        told.ended_s = time.monotonic()
        self._transport.abort()

    def _end(self) -> None:
        told = self._told
        if told is not None and not told.ended_s:
            told.ended_s = time.monotonic()
        if self._over is not None and not self._over.done():
            self._over.set_result(None)


async def connect(port: int) -> Line:
    """Raises OSError where nobody listens."""
    loop, plain = asyncio.get_running_loop(), socket.socket()
    # Connected first: a transport that is made while its peer dies would be left behind.
    try:
        plain.setblocking(False)
        await loop.sock_connect(plain, ("127.0.0.1", port))
        _, line = await loop.create_connection(Line, sock=plain)
    except BaseException:
        plain.close()
        raise
    return line


async def drive(port: int, asks: Iterator[Ask], lanes: int, told: list[Told] | None = None) -> list[Told]:
    """Send the requests over that many connections until they are used up or the gateway is gone.

    A caller who left comes back on a new connection. What came is in the list, that of calls without an end too.
    """
    notes = [] if told is None else told

    async def lane() -> None:
        line: Line | None = None
        try:
            for ask in asks:
                if line is None or line.closed:
                    line = await connect(port)
                answer = await line.ask(ask)
                notes.append(answer)
                if line.closed and not answer.left:
                    return
        except OSError:
            return
        finally:
            if line is not None:
                line.close()

    await asyncio.gather(*(lane() for _ in range(lanes)))
    return notes
