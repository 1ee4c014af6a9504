"""The transport to providers: pooled HTTP/1.1 over plain sockets and TLS, callbacks straight from the socket.

A request on a warm connection costs no task and no future: `send` writes, the socket's own callback feeds the parser,
the parser's result goes to the sink. Only a new connection costs a task, for as long as it is being made.

Redirects are delivered, never followed: whoever may choose where a credential goes next is not the provider.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl
from collections.abc import Callable

from routebook.core.errors import UpstreamFault, UpstreamLost
from routebook.upstream.call import Call
from routebook.upstream.connection import Connection, Plain, Secure
from routebook.upstream.dial import Dialer
from routebook.upstream.faults import Refused, not_sent
from routebook.upstream.pool import Pool
from routebook.upstream.port import Line, Sink
from routebook.upstream.proxy import Proxies
from routebook.upstream.resolve import Resolver
from routebook.upstream.target import Targets
from routebook.upstream.tls import Sessions, system_context
from routebook.wire.http import HttpRequest
from routebook.wire.outbox import Outbox

IDLE = 20.0
"""Seconds a connection is kept for another request unless the server names a shorter time."""
PER_HOST = 2000
"""Connections to one origin, idle ones and attempts included."""
_SWEEP = 1.0
_CLOSING = 2.0


class Client:
    """Implements `port.Transport`. Belongs to the loop it first sends on; make one per process and `aclose` it."""

    def __init__(
        self,
        *,
        proxies: Proxies | None = None,
        tls: ssl.SSLContext | None = None,
        resolver: Resolver | None = None,
        idle: float = IDLE,
        per_host: int = PER_HOST,
    ) -> None:
        """`tls` replaces the system's trust, `proxies` comes from `proxies_from_environment`, `idle` is in seconds."""
        self._sessions = Sessions(tls or system_context())
        self._targets = Targets(proxies)
        self._dialer = Dialer(resolver or Resolver(), proxies or Proxies(), self._sessions)
        self._idle = idle
        self._per_host = per_host
        self._pools: dict[tuple[str, str, int], Pool] = {}
        self._dialing: dict[asyncio.Task[None], Call] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._outbox: Outbox | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def in_use(self) -> int:
        """Connections that carry a request, and attempts to make one."""
        return sum(pool.size - pool.idle for pool in self._pools.values())

    @property
    def idle(self) -> int:
        """Connections that wait for a request."""
        return sum(pool.idle for pool in self._pools.values())

    def send(self, request: HttpRequest, sink: Sink, *, connect_timeout: float) -> Line:
        """Start one request; see `port.Transport`. `connect_timeout` (seconds) covers name, socket, proxy and TLS."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        url = request.url
        try:
            target = self._targets.known.get(url) or self._targets.get(url)
            payload = target.payload(request)
        except Refused as refused:
            return self._refuse(sink, f"The request was not sent: {refused}.")
        if self._closed:
            return self._refuse(sink, "The gateway is shutting down; send the request again.")
        origin = target.origin
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = Pool(origin, self._sessions, self._idle, self._redial)
            self._schedule_sweep()
        call = Call(sink, target.label, payload, connect_timeout)
        if request.method == "HEAD":
            call.bodiless = True
        if pool.reuse(call, payload, loop.time()):
            call.reused = True
        elif pool.size >= self._per_host:
            return self._refuse(
                sink, f"All {self._per_host} connections to {target.label} are in use; try again shortly."
            )
        else:
            self._dial(pool, call)
        return call

    async def aclose(self) -> None:
        """Close idle connections; lines still open are lost. Returns when the sockets are closed."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        ending = UpstreamLost("The gateway is shutting down; send the request again.")
        tasks = dict(self._dialing)
        for task, call in tasks.items():
            task.cancel()
            call.lose(UpstreamLost(ending.message, sent=call.wrote))
        for pool in self._pools.values():
            pool.close_idle()
            for connection in list(pool.open):
                lost = connection.call
                connection.reset()
                if lost is not None:
                    lost.lose(UpstreamLost(ending.message))
        if tasks:
            await asyncio.wait(tasks)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING):
                for pool in list(self._pools.values()):
                    await pool.drained()

    # A request before it has a connection

    def _refuse(self, sink: Sink, message: str) -> Call:
        """A call that fails in the next tick: nothing is called back from inside `send`."""
        call = Call(sink, "", None, 0.0)
        asyncio.get_running_loop().call_soon(call.lose, not_sent(message))
        return call

    def _dial(self, pool: Pool, call: Call) -> None:
        pool.dialing.add(call)
        task = asyncio.get_running_loop().create_task(self._connect(pool, call))
        call.task = task
        self._dialing[task] = call
        task.add_done_callback(functools.partial(self._dialed, pool))

    def _redial(self, pool: Pool, call: Call) -> None:
        """A reused connection died in silence, or before the request had left: once more, on a fresh one."""
        call.reused = False
        call.retried = call.wrote
        if self._closed:
            call.lose(UpstreamLost("The gateway is shutting down; send the request again."))
        else:
            self._dial(pool, call)

    async def _connect(self, pool: Pool, call: Call) -> None:
        loop = asyncio.get_running_loop()
        outbox = self._outbox = self._outbox or Outbox(_after_a_look(loop))
        kind = Secure if pool.origin[0] == "https" else Plain

        def make(sock: socket.socket) -> Connection:
            return kind(loop, outbox, pool, sock)

        try:
            connection = await self._dialer.open(pool.origin, make, call.connect_timeout)
        except UpstreamFault as fault:
            call.task = None
            if call.wrote:  # the first try had left: that it may have been billed stays true
                fault = UpstreamLost(f"{call.label} closed the connection without an answer, then: {fault.message}")
            call.lose(fault)
            return
        call.task = None
        pool.opened(call, connection)
        if call.done:
            connection.discard()
        elif call.payload is None or not connection.start(call, call.payload, loop.time()):
            call.lose(UpstreamLost(f"{call.label} closed the connection at once; try again.", sent=call.wrote))

    def _dialed(self, pool: Pool, task: asyncio.Task[None]) -> None:
        call = self._dialing.pop(task)
        pool.dialing.discard(call)  # also where the task was cancelled before its first step
        if not task.cancelled() and (error := task.exception()) is not None:
            if call.connection is not None:
                call.connection.reset()
            call.lose(UpstreamLost(f"Connecting to {call.label} failed; the gateway's log says why.", sent=call.wrote))
            asyncio.get_running_loop().call_exception_handler(
                {"message": "connecting to a provider failed in an unforeseen way", "exception": error, "task": task}
            )

    # Idle connections

    def _schedule_sweep(self) -> None:
        if self._sweeper is None and self._loop is not None and not self._closed:
            self._sweeper = self._loop.call_later(_SWEEP, self._sweep)

    def _sweep(self) -> None:
        """Once a second while there is anything: close what is too old, forget origins without connections."""
        self._sweeper = None
        if self._loop is None:
            return
        now = self._loop.time()
        for origin, pool in list(self._pools.items()):
            pool.sweep(now)
            if pool.size == 0:
                del self._pools[origin]
                self._targets.forget(origin)
        if self._pools:
            self._schedule_sweep()


def _after_a_look(loop: asyncio.AbstractEventLoop) -> Callable[[Callable[[], None]], object]:
    """Calls back when the loop has looked at its sockets, and who waits for them has heard of it.

    uvloop (0.23) does that between two rounds of what is ready. asyncio's own loops hang what they find on to what is
    ready, behind what was there before: there it takes a second round.
    """
    if type(loop).__module__.partition(".")[0] == "uvloop":
        return loop.call_soon
    return lambda flush: loop.call_soon(loop.call_soon, flush)
