"""One request under way: what the corridor holds as its `Line`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from routebook.core.errors import UpstreamFault
from routebook.upstream.port import Sink
from routebook.upstream.target import Payload

if TYPE_CHECKING:
    from routebook.upstream.connection import Connection


class Call(msgspec.Struct, eq=False):
    """Implements `port.Line`. It is either dialling (`task`), on a connection (`connection`) or `done`.

    A struct because one is made for every request; nothing else of a struct is used.
    """

    sink: Sink
    label: str
    """host:port, for messages."""
    payload: Payload | None
    """Kept until the first byte of an answer: then it cannot be needed again."""
    connect_timeout: float
    connection: Connection | None = None
    task: asyncio.Task[None] | None = None
    bodiless: bool = False
    """Whether the method is HEAD, whose answer has no body whatever its headers say."""
    done: bool = False
    paused: bool = False
    wrote: bool = False
    """Whether the request has gone out; the sink heard of it at the same moment."""
    wrote_at: float = 0.0
    reused: bool = False
    """Whether the request is on a connection that had carried another one."""
    retried: bool = False
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

    def lose(self, fault: UpstreamFault) -> None:
        if not self.done:
            self.done = True
            self.payload = self.connection = None
            self.sink.lost(fault)

    def __repr__(self) -> str:
        return f"Call(label={self.label!r})"
