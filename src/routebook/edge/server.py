"""The HTTP server of the portable edge: uvicorn in our own process and loop; start, drain and stop stay ours."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from typing import Protocol

import uvicorn
from starlette.types import ASGIApp

from routebook.edge.listen import BACKLOG, tcp_listener

KEEPALIVE_SECONDS = 75
"""Longer than the idle time of common proxies in front (60 s), so that they close first."""
CLOSING_SECONDS = 5
"""What connections without work get to close by themselves at stop."""


class Server(Protocol):
    """What serves one edge."""

    @property
    def port(self) -> int:
        """The real one after `start`; 0 on a UNIX socket."""

    async def start(self) -> None:
        """Raises OSError if the address cannot be had."""

    async def wait(self) -> None:
        """Until the server ends by itself, which it does only when something is badly wrong."""

    async def stop(self) -> None:
        """Close the listener, let answers end, close connections."""


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: signals are the command line's business."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """Listens from `start` to `stop`."""

    def __init__(self, app: ASGIApp, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        """`port` 0 takes a free one; `self.port` is the real one after `start`."""
        self.host = host
        self.port = port
        self._config = uvicorn.Config(
            app,
            loop="none",
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_keep_alive=KEEPALIVE_SECONDS,
            timeout_graceful_shutdown=CLOSING_SECONDS,
            backlog=BACKLOG,
        )
        self._config.load()
        self._config.ssl = tls
        self._server = _Server(self._config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises OSError if the address cannot be had."""
        listener = tcp_listener(self.host, self.port)
        self.port = listener.getsockname()[1]
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]), name="http")
        while not self._server.started and not self._task.done():  # noqa: ASYNC110 - uvicorn has a flag, no event
            await asyncio.sleep(0.001)
        if self._task.done():
            await self._task

    async def wait(self) -> None:
        """Until the server ends by itself, which it does only when something is badly wrong."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def stop(self) -> None:
        """Close the listener, let answers end, close connections."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
