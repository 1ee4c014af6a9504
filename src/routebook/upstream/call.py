"""One request under way: what the corridor holds as its `Line`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from routebook.core.errors import UpstreamFault
from routebook.upstream.port import Sink
from routebook.wire.bulk import Piece

if TYPE_CHECKING:
    from routebook.upstream.connection import Connection

Payload = tuple[bytes, bytes | tuple[Piece, ...]]
"""Head and body of a request. A large body may be in pieces."""


class Call:
    """Implements `port.Line`. It is either dialling (`task`), on a connection (`connection`) or `done`."""

    __slots__ = (
        "announced",
        "bodiless",
        "connect_timeout",
        "connection",
        "done",
        "label",
        "paused",
        "payload",
        "retried",
        "reused",
        "sink",
        "task",
        "wrote",
        "wrote_at",
    )

    def __init__(
        self,
        sink: Sink,
        label: str,
        payload: Payload,
        connect_timeout: float,
    ) -> None:
        self.sink = sink
        self.label = label
        """host:port, for messages."""
        self.payload: Payload | None = payload
        """Kept until the first byte of an answer: then it cannot be needed again."""
        self.connect_timeout = connect_timeout
        self.connection: Connection | None = None
        self.task: asyncio.Task[None] | None = None
        self.bodiless = False
        """Whether the method is HEAD, whose answer has no body whatever its headers say."""
        self.done = False
        self.paused = False
        self.announced = False
        self.wrote = False
        self.wrote_at = 0.0
        self.reused = False
        """Whether the request went out on a connection that had carried another one."""
        self.retried = False
        """Whether a dead reused connection was replaced: the provider may have seen the request twice."""

    def pause(self) -> None:
        """Stop reading; what the socket has given already still arrives (at most one read)."""
        self.paused = True
        if self.connection is not None:
            self.connection.read(False)

    def resume(self) -> None:
        self.paused = False
        if self.connection is not None:
            self.connection.read(True)

    def close(self) -> None:
        """Give up: abort the socket or the attempt to get one."""
        if self.done:
            return
        self.done = True
        self.payload = None
        if self.task is not None:
            self.task.cancel()
        connection = self.connection
        if connection is not None:
            self.connection = None
            connection.reset()

    def announce(self) -> None:
        """Tell the sink once that the request went out."""
        if not self.announced and not self.done:
            self.announced = True
            self.sink.sent()

    def lose(self, fault: UpstreamFault) -> None:
        if self.done:
            return
        if self.wrote:
            self.announce()
        if not self.done:  # the sink may have closed on `sent`
            self.done = True
            self.payload = self.connection = None
            self.sink.lost(fault)
