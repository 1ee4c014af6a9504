"""The server of the native edge: its listening socket, its one timer, and its end in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Callable
from functools import partial

from routebook.edge.listen import BACKLOG
from routebook.edge.native import Connection
from routebook.edge.shared import Edge

TICK_SECONDS = 1.0
HANDSHAKE_SECONDS = 10.0
CLOSING_SECONDS = 5.0
"""What answers under way get at stop; the calls behind them were given their drain time before."""


class NativeServer:
    """Listens from `start` to `stop`."""

    def __init__(
        self, edge: Edge, bind: Callable[[], socket.socket], tls: ssl.SSLContext | None = None, *, unlink: bool = True
    ) -> None:
        """`bind` gives the bound socket, TCP or UNIX, which is the server's from then on. `unlink`: the path of a UNIX
        socket goes with it; False where other processes listen on the same one."""
        self.edge = edge
        self.port = 0
        """0 on a UNIX socket"""
        self._bind = bind
        self._unlink = unlink
        self._tls = tls
        self._path = ""
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ended = asyncio.Event()
        if tls is not None:
            edge.scheme = "https"

    async def start(self) -> None:
        """Raises OSError if the address cannot be had."""
        loop = asyncio.get_running_loop()
        self.edge.begin(loop)
        listener = self._bind()
        name = listener.getsockname()
        handshake = HANDSHAKE_SECONDS if self._tls is not None else None
        if isinstance(name, tuple):
            self.port = name[1]
            self._server = await loop.create_server(
                partial(Connection, self.edge),
                sock=listener,
                backlog=BACKLOG,
                ssl=self._tls,
                ssl_handshake_timeout=handshake,
            )
        else:
            self._path = str(name)
            self._server = await loop.create_unix_server(
                partial(Connection, self.edge),
                sock=listener,
                backlog=BACKLOG,
                ssl=self._tls,
                ssl_handshake_timeout=handshake,
            )
        self._tick()

    def _tick(self) -> None:
        self._timer = self.edge.loop.call_later(TICK_SECONDS, self._tick)
        self.edge.tick(self.edge.now_ns())

    async def wait(self) -> None:
        """Until the server has stopped: by itself it never ends."""
        await self._ended.wait()

    async def stop(self, seconds: float = CLOSING_SECONDS) -> None:
        """Close the listener and idle connections; answers get that long to end, then their connections are cut."""
        edge = self.edge
        self.close_listener()
        edge.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(edge.emptied.wait(), seconds)
        for connection in list(edge.connections):
            connection.abort()
        await edge.emptied.wait()
        if edge.tasks:
            await asyncio.wait(set(edge.tasks), timeout=seconds)
        if self._timer is not None:
            self._timer.cancel()
        self._ended.set()

    def close_listener(self) -> None:
        """Take no new connection. Harmless when it is closed."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        if self._path and self._unlink:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
