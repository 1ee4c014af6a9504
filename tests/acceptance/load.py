"""Sends many requests at once over a few connections and keeps the raw answers: a client too plain to be wrong."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import httptools


@dataclass(slots=True)
class Answered:
    """One answer as it came."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def post(path: str, body: bytes, key: str) -> bytes:
    """A request as bytes."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def drive(port: int, requests: Iterable[bytes], connections: int) -> list[Answered]:
    """Every request's answer, in the order of the requests; each connection has one request under way at a time."""
    waiting = deque(enumerate(requests))
    answers = [Answered() for _ in waiting]

    async def line() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while waiting:
            place, request = waiting.popleft()
            writer.write(request)
            answers[place] = await _one(reader)
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(line() for _ in range(connections)))
    return answers


async def _one(reader: asyncio.StreamReader) -> Answered:
    take = _Taker()
    parser = httptools.HttpResponseParser(take)
    while not take.done:
        data = await reader.read(65536)
        if not data:
            raise ConnectionError("the gateway closed the connection within an answer")
        parser.feed_data(data)
    take.answer.status = parser.get_status_code()
    take.answer.body = b"".join(take.parts)
    return take.answer


class _Taker:
    """What httptools calls while it parses one answer."""

    def __init__(self) -> None:
        self.answer = Answered()
        self.parts: list[bytes] = []
        self.done = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.answer.headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self.parts.append(body)

    def on_message_complete(self) -> None:
        self.done = True
