"""What all connections of one server of the native edge share: the application behind them, the loop and its outbox,
who is connected, and whose path an inference request goes to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote

from starlette.types import ASGIApp

from routebook.corridor.ports import App
from routebook.dialects.base import Surface
from routebook.edge.bridge import path_of
from routebook.edge.cors import with_cors
from routebook.edge.framing import Heads
from routebook.edge.request import Request
from routebook.edge.surfaces import BY_PATH, surface_at, with_key
from routebook.observe.clock import NS
from routebook.wire.outbox import Outbox

if TYPE_CHECKING:
    from routebook.edge.native import Connection

_SURFACES = {path.encode(): row.surface for path, row in BY_PATH.items()}


class Edge:
    """What all connections of one server share."""

    def __init__(
        self,
        app: Callable[[], App],
        surfaces: Mapping[str, Surface],
        control: ASGIApp,
        connections_max: int = 10_000,
    ) -> None:
        self.app = app()
        self.surfaces = surfaces
        self.control = with_cors(control)
        self.now_ns = self.app.clock.now_ns
        self.connections_max = connections_max
        self.scheme = "http"
        self.ticked_ns = self.now_ns()
        self.heads = Heads(self.ticked_ns // NS)
        self.inferring = {target: surfaces[name] for target, name in _SURFACES.items()}
        """inference targets, as they are mostly written, and whose they are"""
        self.body_limit = self.app.settings.limits.body_bytes
        self.loop: asyncio.AbstractEventLoop
        """set before the first connection comes; asking for the running one costs a system call each time"""
        self.outbox: Outbox
        """of that loop"""
        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        """of answers whose connection has gone; the loop itself holds tasks weakly"""
        self.closing = False
        self.emptied = asyncio.Event()
        """set while closing once no connection is left"""

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Connections come from here on, on that loop."""
        self.loop = loop
        self.outbox = Outbox(loop.call_soon)

    def tick(self, now_ns: int) -> None:
        """Once a second: the date header and every connection's deadlines."""
        self.ticked_ns = now_ns
        self.heads.renew(now_ns // NS)
        for connection in list(self.connections):
            connection.tick(now_ns)

    def close(self) -> None:
        """Connections without a request close now, the others after their answer."""
        self.closing = True
        for connection in list(self.connections):
            connection.close_if_idle()
        self.left()

    def left(self) -> None:
        """A connection has gone."""
        if self.closing and not self.connections:
            self.emptied.set()

    def surface_of(self, request: Request) -> Surface | None:
        """Whose inference path the request is for; None if it is none."""
        if request.method != b"POST":
            return None
        surface = self.inferring.get(request.target)
        return self._surface_of(request) if surface is None else surface

    def _surface_of(self, request: Request) -> Surface | None:
        path, query = path_of(request.target)
        asked = query.decode("ascii", "replace")
        surface = surface_at(unquote(path.decode("ascii", "replace")), asked, self.surfaces)
        if surface is not None:
            request.headers = with_key(request.headers, asked, surface)
        return surface
