"""One native connection and the transport under it: what is gathered when that has no room, and what is let go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from routebook.dialects import registry
from routebook.edge.native import HELD_MAX, WRITE_HIGH, WRITE_LOW, Connection
from routebook.edge.shared import Edge
from tests.support import raise_stage

pytestmark = pytest.mark.anyio


class Pipe(asyncio.Transport):
    """A transport of which the test says when its bytes leave; it tells the protocol about its limits as uvloop does,
    from within `write`."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.buffer = b""
        self.sent = b""
        self.largest = 0
        self._connection = connection
        self._high = False
        self._aborted = False
        connection.connection_made(self)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert (high, low) == (WRITE_HIGH, WRITE_LOW)

    def get_write_buffer_size(self) -> int:
        return len(self.buffer)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.buffer += data
        self.largest = max(self.largest, len(data))
        if len(self.buffer) > WRITE_HIGH and not self._high:
            self._high = True
            self._connection.pause_writing()

    def take(self) -> None:
        """The turn of the loop is over: what was sent in it reaches the transport."""
        self._connection.edge.outbox.flush()

    def drain(self) -> None:
        """Everything that the transport has leaves, and it gets what was waiting for that."""
        self.sent += self.buffer
        self.buffer = b""
        if self._high:
            self._high = False
            self._connection.resume_writing()
            self.take()

    def is_closing(self) -> bool:
        return self._aborted

    def abort(self) -> None:
        self._aborted = True
        self.buffer = b""


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("no request is made here")


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[Connection]:
    stage = await raise_stage(tmp_path)
    edge = Edge(lambda: stage.app, registry.surfaces(), nothing)
    edge.begin(asyncio.get_running_loop())
    yield Connection(edge)
    await stage.close()


async def test_what_a_full_transport_has_no_room_for_is_gathered_and_handed_over_in_one_piece(
    connection: Connection,
) -> None:
    pipe = Pipe(connection)
    wanted = b""
    for number in range(1000):
        piece = b"%04d" % number * 10
        wanted += piece
        connection.send(piece)
    assert pipe.buffer == b"", "nothing leaves before the turn is over"
    pipe.take()
    assert WRITE_HIGH < len(pipe.buffer) <= WRITE_HIGH + 40
    pipe.drain()
    assert pipe.buffer, "the gathered bytes"
    pipe.drain()
    assert pipe.sent == wanted
    connection.send(b"more")
    pipe.take()
    assert pipe.buffer == b"more", "there is room again, and nothing is held back"


async def test_a_transport_that_is_full_again_of_what_was_gathered_takes_no_more(connection: Connection) -> None:
    pipe = Pipe(connection)
    for _ in range(3):
        connection.send(b"x" * (WRITE_HIGH + 1))
    pipe.take()
    pipe.drain()
    assert len(pipe.buffer) == 2 * (WRITE_HIGH + 1)
    connection.send(b"y")
    pipe.take()
    assert b"y" not in pipe.buffer
    pipe.drain()
    pipe.drain()
    assert pipe.sent == b"x" * 3 * (WRITE_HIGH + 1) + b"y"


async def test_a_connection_says_that_it_is_full_until_its_transport_is_empty_enough(connection: Connection) -> None:
    pipe = Pipe(connection)
    connection.send(b"x" * (WRITE_HIGH + 1))
    pipe.take()
    connection.send(b"x" * HELD_MAX)
    assert not connection.is_full
    connection.send(b"x")
    assert connection.is_full
    pipe.drain()
    assert not connection.is_full


async def test_what_is_sent_to_a_client_that_has_gone_goes_nowhere(connection: Connection) -> None:
    pipe = Pipe(connection)
    connection.send(b"x" * (WRITE_HIGH + 1))
    connection.abort()
    connection.resume_writing()
    connection.send(b"y")
    pipe.take()
    assert pipe.buffer == b""
