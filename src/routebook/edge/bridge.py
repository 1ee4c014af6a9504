"""Carries one request of a native connection to an ASGI application and its answer back.

The body is complete when the application starts and within the limit for bodies, so `receive` gives it whole, then
waits for the disconnect; of a client that sends more meanwhile only PIPELINED_MAX requests are read. `send` waits
while the client reads more slowly than the application writes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message

from routebook.edge.framing import LAST_CHUNK, chunk
from routebook.observe.log import log

if TYPE_CHECKING:
    from routebook.edge.native import Connection
    from routebook.edge.request import Request


def path_of(target: bytes) -> tuple[bytes, bytes]:
    """(path, query) of a request target, as they were written; of an absolute one without its scheme and host."""
    path, _, query = target.partition(b"?")
    if not path.startswith(b"/") and b"://" in path:
        _, _, rest = path.partition(b"://")
        _, slash, path = rest.partition(b"/")
        path = slash + path or b"/"
    return path, query


class BridgeCycle:
    """One ASGI scope on a native connection."""

    def __init__(self, connection: Connection, request: Request) -> None:
        self._connection = connection
        self._request = request
        self._gone = asyncio.Event()
        self._writable = asyncio.Event()
        if not connection.is_full:
            self._writable.set()
        self._received = False
        self._chunked = False
        self._bodyless = request.method == b"HEAD"
        self._ended = False

    async def run(self, app: ASGIApp) -> None:
        try:
            await app(self._scope(), self._receive, self._send)
        except Exception:
            log.exception("the control application failed")
        if not self._ended and not self._gone.is_set():
            # The application gave up in the middle: the client must not take what it has for the whole.
            self._connection.abort()

    def _scope(self) -> dict[str, Any]:
        request, connection = self._request, self._connection
        path, query = path_of(request.target)
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.0" if request.old else "1.1",
            "method": request.method.decode("ascii"),
            "scheme": connection.scheme,
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.lines],
            "client": connection.peer,
            "server": connection.address,
        }

    async def _receive(self) -> Message:
        if not self._received:
            self._received = True
            body = self._request.content()
            whole = body if isinstance(body, bytes) else body.whole()
            return {"type": "http.request", "body": whole, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._gone.is_set() or self._ended:
            return
        if message["type"] == "http.response.start":
            self._start(message)
            return
        body = message.get("body", b"")
        if body and not self._bodyless:
            self._connection.send(chunk(body) if self._chunked else body)
        if not message.get("more_body", False):
            self._ended = True
            if self._chunked:
                self._connection.send(LAST_CHUNK)
            self._connection.finished(self._request)
            return
        await self._writable.wait()

    def _start(self, message: Message) -> None:
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message.get("headers", ())]
        status, request = message["status"], self._request
        sized = any(name.lower() == "content-length" for name, _ in headers)
        self._bodyless = self._bodyless or status in (204, 304)
        self._chunked = not (sized or self._bodyless or request.old)
        edge = self._connection.edge
        close = request.close or edge.closing
        self._connection.send(edge.heads.head(status, headers, chunked=self._chunked, close=close))

    # --- what the connection tells ------------------------------------------------------------------------------------

    def lost(self) -> None:
        self._gone.set()
        self._writable.set()

    def full(self) -> None:
        self._writable.clear()

    def drained(self) -> None:
        self._writable.set()
