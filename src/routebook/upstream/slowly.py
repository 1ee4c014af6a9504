"""A large request on its way to a socket: no faster than the socket takes it, and in turns, so that others get theirs.

A transport that is given 20 MB in one piece sends (and with TLS encrypts) as much of it as it can in one go, and keeps
the rest as a copy where it is the standard library's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from routebook.wire.bulk import Piece

SLICE = 256 * 1024
"""bytes that a transport is given at once"""
TURN = 1024 * 1024
"""bytes after which the loop gets to do something else"""


class Slowly:
    """Belongs to one request on one connection, whose `pause_writing` and `resume_writing` it is told."""

    __slots__ = ("_loop", "_slices", "_stuffed", "_transport", "done")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, pieces: tuple[Piece, ...]
    ) -> None:
        self._loop = loop
        self._transport = transport
        self._slices = _slices(pieces)
        self._stuffed = False
        self.done = False
        """everything has been given to the transport, or nobody wants it any more"""

    def pause(self) -> None:
        """The transport holds more than it can send."""
        self._stuffed = True

    def resume(self) -> None:
        self._stuffed = False
        self.go_on()

    def go_on(self) -> None:
        """One turn."""
        left = TURN
        while not (self.done or self._stuffed):
            if left <= 0:
                self._loop.call_soon(self.go_on)
                return
            piece = None if self._transport.is_closing() else next(self._slices, None)
            if piece is None:
                self.done = True
            else:
                self._transport.write(piece)
                left -= len(piece)


def _slices(pieces: tuple[Piece, ...]) -> Iterator[Piece]:
    for piece in pieces:
        view = memoryview(piece)
        for at in range(0, len(view), SLICE):
            yield view[at : at + SLICE]
