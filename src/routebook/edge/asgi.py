"""The portable edge: the whole gateway as one ASGI application.

Inference paths go to the corridor through `AsgiReply`; every other request goes to the control application.
Servers do not tell a sender that the client has left, so each request has one task that listens for the disconnect.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from routebook.core.errors import BadRequest, Fault, NotFound, RequestTimeout, TooLarge
from routebook.corridor.exchange import exchange
from routebook.corridor.ports import App, Arrival, Watcher
from routebook.dialects.base import Surface
from routebook.edge.cors import with_cors
from routebook.edge.surfaces import surface_at, with_key
from routebook.wire import heads
from routebook.wire.bulk import LARGE, LargeBody

FULL_BYTES = 256 * 1024
"""Buffered for one caller above this: the provider is read no further."""
DRAINED_BYTES = 64 * 1024
_LENGTH_DIGITS = 18
"""A longer number is beyond every limit, and beyond what is worth reading as one."""
BODY_SECONDS = 60.0
"""A request body must be complete within this."""


class AsgiReply:
    """A Reply that a pump carries to the server: the corridor pushes, the pump awaits `send`."""

    def __init__(self) -> None:
        self._queue: deque[Message] = deque()
        self._buffered = 0
        self._wake = asyncio.Event()
        self._watcher: Watcher | None = None
        self._full = False
        self._gone = False
        self._ended = False

    def watch(self, watcher: Watcher) -> None:
        self._watcher = watcher
        if self._gone:
            watcher.gone()

    def begin(
        self,
        status: int,
        content_type: str,
        id: str | None,
        length: int | None,
        retry_after: int | None = None,
        replayed: bool = False,
        translation: str | None = None,
    ) -> None:
        headers = heads.fields(content_type, id, length, retry_after)
        if heads.final(status):
            headers.append(heads.FINAL)
        if replayed:
            headers.append(heads.REPLAYED)
        if translation is not None:
            headers.append((heads.TRANSLATION, translation))
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        self._push({"type": "http.response.start", "status": status, "headers": raw})

    def write(self, data: bytes) -> None:
        if not data or self._gone:
            return
        self._buffered += len(data)
        self._push({"type": "http.response.body", "body": data, "more_body": True})
        if self._buffered > FULL_BYTES and not self._full and self._watcher is not None:
            self._full = True
            self._watcher.full()

    def end(self, data: bytes = b"") -> None:
        self.write(data)
        self._ended = True
        self._push({"type": "http.response.body", "body": b"", "more_body": False})

    def _push(self, message: Message) -> None:
        if not self._gone:
            self._queue.append(message)
        self._wake.set()

    def lost(self) -> None:
        """The client has disconnected."""
        if self._gone or (self._ended and not self._queue):
            return
        self._gone = True
        self._queue.clear()
        self._wake.set()
        if self._watcher is not None and not self._ended:
            self._watcher.gone()

    def let_go(self) -> None:
        """Over: the watcher holds the answer and the answer holds this, so one of them has to let go."""
        self._watcher = None

    async def pump(self, send: Send) -> None:
        """Carry everything to the server until the end or the client's leaving."""
        while not self._gone:
            while self._queue:
                message = self._queue.popleft()
                if message["type"] == "http.response.body":
                    self._join(message)
                await send(message)
                if self._full and self._buffered <= DRAINED_BYTES and self._watcher is not None:
                    self._full = False
                    self._watcher.drained()
                if not message.get("more_body", True):
                    return
            self._wake.clear()
            if not self._queue and not self._gone:
                await self._wake.wait()

    def _join(self, message: Message) -> None:
        """Make one write of all that is queued: a slow client costs no more sends than it needs."""
        parts = [message["body"]]
        while message["more_body"] and self._queue:
            following = self._queue.popleft()
            parts.append(following["body"])
            message["more_body"] = following["more_body"]
        message["body"] = b"".join(parts)
        self._buffered -= len(message["body"])


class Edge:
    """ASGI: inference paths to the corridor, the rest to `control`; `lifespan` belongs to whoever composes."""

    def __init__(
        self,
        app: Callable[[], App],
        surfaces: Mapping[str, Surface],
        control: ASGIApp,
        start: Callable[[], Awaitable[None]] | None = None,
        stop: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._app = app
        self._surfaces = surfaces
        self._control = control
        self._start = start
        self._stop = stop
        self._http: ASGIApp = with_cors(self._serve)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await self._control(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        surface = None
        if scope["method"] == "POST":
            surface = surface_at(scope["path"], scope.get("query_string", b"").decode("latin-1"), self._surfaces)
        if surface is None:
            await self._control(scope, receive, send)
            return
        await self._infer(surface, scope, receive, send)

    async def _infer(self, surface: Surface, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app()
        accepted_ns = app.now_ns()
        headers = header_map(scope["headers"])
        headers = with_key(headers, scope.get("query_string", b"").decode("latin-1"), surface)
        try:
            body = await read_body(headers, receive, app.settings.limits.body_bytes)
        except Fault as fault:
            await _plain_error(surface, fault, send)
            return
        if body is None:
            return
        reply = AsgiReply()
        work = asyncio.ensure_future(exchange(Arrival(surface, headers, body, accepted_ns), reply, app))
        listener = asyncio.ensure_future(_listen(receive, reply))
        try:
            await reply.pump(send)
        except Exception:
            reply.lost()
        finally:
            listener.cancel()
            await asyncio.shield(work)
            reply.let_go()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            phase = message["type"].removeprefix("lifespan.")
            step = self._start if phase == "startup" else self._stop
            try:
                if step is not None:
                    await step()
            except Exception as error:
                await send({"type": f"lifespan.{phase}.failed", "message": str(error)})
                return
            await send({"type": f"lifespan.{phase}.complete"})
            if phase == "shutdown":
                return


async def _listen(receive: Receive, reply: AsgiReply) -> None:
    while True:
        if (await receive())["type"] == "http.disconnect":
            reply.lost()
            return


def header_map(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Lower-case names to values; of a repeated header the first counts, so that an appended one overrides nothing."""
    headers: dict[str, str] = {}
    for name, value in raw:
        headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return headers


async def read_body(headers: Mapping[str, str], receive: Receive, limit: int) -> bytes | LargeBody | None:
    """The whole body; None if the client left before its end. Raises TooLarge, RequestTimeout, BadRequest (415)."""
    if headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
        raise BadRequest(
            "Compressed request bodies are not taken; send it with Content-Encoding: identity.", status=415
        )
    length = headers.get("content-length", "")
    if length.isascii() and length.isdigit() and (len(length) > _LENGTH_DIGITS or int(length) > limit):
        raise TooLarge(f"The request body is larger than {limit} bytes; send less, or raise [limits] body_bytes.")
    parts: list[bytes] = []
    large: LargeBody | None = None
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message: Any = await receive()
                if message["type"] == "http.disconnect":
                    return None
                data = message.get("body", b"")
                size += len(data)
                if size > limit:
                    raise TooLarge(
                        f"The request body is larger than {limit} bytes; send less, or raise [limits] body_bytes."
                    )
                if size <= LARGE:
                    parts.append(data)
                elif large is None:
                    large = LargeBody((*parts, data))
                else:
                    large.add(data)
                if not message.get("more_body", False):
                    return b"".join(parts) if large is None else large
    except TimeoutError:
        raise RequestTimeout(f"The request body was not complete after {BODY_SECONDS:g} s; send it again.") from None


async def _plain_error(surface: Surface, fault: Fault, send: Send) -> None:
    body = surface.error_body(fault, None)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": fault.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def not_found(path: str) -> NotFound:
    """What an unknown path is told."""
    return NotFound(f"No such path: {path}. The API is under /api/v1; GET /api/v1/models is a good start.")
