"""The native edge: one asyncio.Protocol on llhttp per connection, for as little work per request as there is.

Inference paths go straight to the corridor; every other request of the same connection goes through `bridge` to the
ASGI control application. Requests of one connection are answered in order. There is no timer per request: the server
ticks once a second, and all deadlines hang on that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol, cast

from routebook.core.errors import Fault, Internal, RequestTimeout, Unavailable
from routebook.corridor.exchange import exchange
from routebook.corridor.ports import Arrival
from routebook.edge.bridge import BridgeCycle
from routebook.edge.framing import CONTINUE
from routebook.edge.incoming import Reader
from routebook.edge.replies import NativeReply
from routebook.edge.request import Request
from routebook.edge.shared import Edge
from routebook.edge.surfaces import INFERENCE
from routebook.observe.clock import NS
from routebook.observe.log import log

IDLE_NS = 75 * NS
"""A connection without a request is closed after this; longer than the idle time of common proxies in front."""
WRITE_STALL_NS = 50 * NS
"""A client that takes not one byte of what is ready for so long is cut off. Below the corridor's own limit for the
same, so that the client sees a broken answer and not one that looks whole."""
LINGER_NS = 2 * NS
"""After a refusal the rest of the request is read away for so long: a socket that is closed with unread bytes would
take the refusal back."""
PIPELINED_MAX = 16
"""Requests that may wait behind the one being answered; reading stops above it."""
WRITE_HIGH = 16 * 1024
WRITE_LOW = 4 * 1024
"""What the transport holds of a client that reads too slowly; above it bytes are gathered here, and handed over in one
piece when the transport is empty enough: the transport would send each small write on its own."""
HELD_MAX = 240 * 1024
"""Gathered for one client above this: whoever answers it is told to stop."""
READ_MAX = 64 * 1024
"""After a longer read the others get their turn: the loop would go on reading while there is something, up to 8 MB."""
OVERFLOW = 64
"""Connections above the most that are served which are still told so; more are dropped without a word."""


class Cycle(Protocol):
    """What answers one request of a connection."""

    def lost(self) -> None:
        """The client has gone."""

    def full(self) -> None:
        """Its buffer is full; said again while it stays full but moves."""

    def drained(self) -> None: ...


def _nowhere(data: bytes) -> None:
    """Where the rest of an answer goes when nobody is there."""


class Connection(asyncio.Protocol):
    """One client connection."""

    __slots__ = (
        "_congested",
        "_cycle",
        "_dead",
        "_held",
        "_held_bytes",
        "_moved_ns",
        "_out",
        "_paused",
        "_reader",
        "_since_ns",
        "_task",
        "_transport",
        "_unsent",
        "edge",
        "is_full",
        "send",
    )

    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self._reader = Reader(edge.body_limit, edge.now_ns, edge.inferring)
        self._transport: asyncio.Transport
        self.send: Callable[[bytes], object] = _nowhere
        """takes bytes of an answer: `_out` while the transport has room, for one call less an event"""
        self._out: Callable[[bytes], object] = _nowhere
        """into the outbox; nothing is written past that, so that bytes leave in order"""
        self._cycle: Cycle | None = None
        self._task: asyncio.Task[None] | None = None
        self._paused = False
        self._dead = False
        """nothing is answered any more"""
        self._since_ns = edge.ticked_ns
        """idle since then; once it is closing: closing since then"""
        self._congested = False
        self._held: list[bytes] = []
        self._held_bytes = 0
        self.is_full = False
        """more is held for the client than should be"""
        self._unsent = 0
        self._moved_ns = 0

    # --- the socket ---------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)
        edge = self.edge
        over = len(edge.connections) - edge.connections_max
        if over >= OVERFLOW:
            self.abort()
            return
        self.send = self._out = partial(edge.outbox.put, self._leave)
        edge.connections.add(self)
        transport.set_write_buffer_limits(WRITE_HIGH, WRITE_LOW)
        if over >= 0:
            busy = "The gateway has as many connections as it can serve; try again."
            self._reader.refuse(Unavailable(busy, retry_after=1))
            self._next()

    def connection_lost(self, error: Exception | None) -> None:
        self._die()
        self._out = _nowhere  # it holds this
        self._reader.shut()
        edge = self.edge
        edge.connections.discard(self)
        task = self._task
        if task is not None and not task.done():
            edge.tasks.add(task)
            task.add_done_callback(edge.tasks.discard)
        if self._cycle is not None:
            self._cycle.lost()
        edge.left()

    def pause_writing(self) -> None:
        self._congested = True
        if not self._dead:
            self.send = self._hold
        self._moved_ns = self.edge.ticked_ns
        self._unsent = self._transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        self._congested = False
        if not self._dead:
            self.send = self._out
        self._flush()
        if not self.is_full:
            return
        self.is_full = False
        if self._cycle is not None:
            self._cycle.drained()
        else:
            self._next(waited=True)

    def _leave(self, data: bytes) -> None:
        """Out of the outbox; a transport that became full in this very turn gets what is gathered, in one piece."""
        if self._congested and not self._dead:
            self._hold(data)
        elif not self._transport.is_closing():
            self._transport.write(data)

    def _hold(self, data: bytes) -> None:
        """Gather what the transport has no room for."""
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > HELD_MAX and not self.is_full:
            self.is_full = True
            if self._cycle is not None:
                self._cycle.full()

    def _flush(self) -> None:
        """What was gathered, in one write."""
        if self._held:
            data = b"".join(self._held)
            self._held, self._held_bytes = [], 0
            self._out(data)

    def data_received(self, data: bytes) -> None:
        if self._dead:
            return
        reader = self._reader
        reader.feed(data, self.edge.ticked_ns)
        if self._cycle is None:
            self._next()
        if len(reader.arrived) >= PIPELINED_MAX and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        elif len(data) > READ_MAX and not self._transport.is_closing():
            self._transport.pause_reading()
            self.edge.loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        if not (self._paused or self._transport.is_closing()):
            self._transport.resume_reading()

    # --- one after the other ------------------------------------------------------------------------------------------

    def _next(self, *, waited: bool = False) -> None:
        """Answer the next request, if nothing is being answered and there is room for an answer. `waited`: for that."""
        reader = self._reader
        while self._cycle is None and not (self._dead or self.is_full):
            if not reader.arrived:
                coming = reader.current
                if coming is not None and coming.expects and coming.method:
                    coming.expects = False
                    self.send(CONTINUE)
                return
            request = reader.arrived.popleft()
            if self._paused and len(reader.arrived) <= PIPELINED_MAX // 2:
                self._paused = False
                self._transport.resume_reading()
            if waited:
                request.accepted_ns = self.edge.now_ns()
            try:
                self._answer(request)
            except Exception:
                log.exception("a request failed in the edge")
                self._fail(request, Internal())

    def _answer(self, request: Request) -> None:
        edge = self.edge
        if request.fault is not None:
            self._fail(request, request.fault)
            return
        surface = edge.surface_of(request)
        if surface is not None:
            self._cycle = reply = NativeReply(self, request)
            arrival = Arrival(surface, request.headers, request.content(), request.accepted_ns)
            self._task = edge.loop.create_task(exchange(arrival, reply, edge.app))
        else:
            cycle = BridgeCycle(self, request)
            self._cycle = cycle
            self._task = edge.loop.create_task(cycle.run(edge.control))

    def _fail(self, request: Request, fault: Fault) -> None:
        """Answer with an error of the edge's own."""
        edge = self.edge
        surface = edge.surface_of(request) or edge.surfaces[INFERENCE[0].surface]
        body = surface.error_body(fault, None)
        again = None if fault.retry_after is None else int(fault.retry_after)
        reply = NativeReply(self, request)
        self._cycle = reply
        reply.begin(fault.status, "application/json", None, len(body), again)
        reply.end(b"" if request.method == b"HEAD" else body)

    # --- what cycles call ---------------------------------------------------------------------------------------------

    def finished(self, request: Request) -> None:
        """The answer to that request is out; go on with the next one or close."""
        self._cycle = None
        if self._dead:
            return
        if request.close or self.edge.closing:
            self._close(linger=request.fault is not None)
            return
        reader, edge = self._reader, self.edge
        self._since_ns = edge.ticked_ns
        if reader.current is not None:
            reader.current.begun_ns = edge.ticked_ns
        if reader.arrived:
            # Not from within the answer that has just ended: a long line of small ones would nest.
            edge.loop.call_soon(partial(self._next, waited=True))
        elif reader.current is not None:
            self._next()

    def abort(self) -> None:
        """An answer cannot be completed as promised: cut the connection, so that the client notices."""
        self._die()
        self._transport.abort()

    @property
    def scheme(self) -> str:
        return self.edge.scheme

    @property
    def peer(self) -> tuple[str, int] | None:
        """Address and port of the client; None on a UNIX socket."""
        name = self._transport.get_extra_info("peername")
        return (name[0], name[1]) if isinstance(name, tuple) else None

    @property
    def address(self) -> tuple[str, int] | None:
        name = self._transport.get_extra_info("sockname")
        return (name[0], name[1]) if isinstance(name, tuple) else None

    # --- the end ------------------------------------------------------------------------------------------------------

    def _die(self) -> None:
        self._dead = True
        self.send = _nowhere

    def close_if_idle(self) -> None:
        if self._cycle is None and not self._reader.arrived and self._reader.current is None and not self._dead:
            self._close(linger=False)

    def _close(self, *, linger: bool) -> None:
        self._die()
        self._since_ns = self._moved_ns = self.edge.ticked_ns
        self._congested = False
        self._flush()
        self.edge.outbox.flush()
        if not linger:
            self._transport.close()
        elif self._transport.can_write_eof():
            self._transport.write_eof()

    def tick(self, now_ns: int) -> None:
        if self._congested or self._dead:
            self._watch_writing(now_ns)
            return
        if self._cycle is not None or self._reader.arrived:
            return
        request = self._reader.current
        if request is None:
            if now_ns - self._since_ns > IDLE_NS:
                self._close(linger=False)
        elif request.late(now_ns):
            self._reader.refuse(RequestTimeout("The request did not arrive in time; send it again."))
            self._next()

    def _watch_writing(self, now_ns: int) -> None:
        """What is ready for the client must move; and a refused client must go."""
        transport = self._transport
        unsent = transport.get_write_buffer_size()
        if unsent != self._unsent:
            self._unsent = unsent
            self._moved_ns = now_ns
            if self.is_full and self._cycle is not None:
                self._cycle.full()
        if unsent and now_ns - self._moved_ns > WRITE_STALL_NS:
            self.abort()
        elif self._dead and not unsent and not transport.is_closing() and now_ns - self._since_ns > LINGER_NS:
            transport.close()
