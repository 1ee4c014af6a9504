"""The connections of one origin: which are idle, how many there are, when one is too old to be used."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from typing import cast

from routebook.upstream.call import Call
from routebook.upstream.connection import Connection
from routebook.upstream.target import Payload
from routebook.upstream.tls import Sessions

_TIMEOUT = re.compile(r"(?:^|[,\s])timeout\s*=\s*\"?(\d{1,6})", re.IGNORECASE).search
_SHARE = 0.8
"""Part of the server's own idle time that we use: a request needs time to get there."""


class Pool:
    """Connections to one (scheme, host, port). Implements `connection.Home`."""

    __slots__ = ("_drained", "_idle_for", "_redial", "_sessions", "dialing", "open", "origin", "waiting")

    def __init__(
        self, origin: tuple[str, str, int], sessions: Sessions, idle_for: float, redial: Callable[[Pool, Call], None]
    ) -> None:
        self.origin = origin
        self.open: set[Connection] = set()
        self.dialing: set[Call] = set()
        self.waiting: list[Connection] = []
        """For another request; the longest unused first."""
        self._idle_for = idle_for
        self._sessions = sessions
        self._redial = redial
        self._drained: asyncio.Event | None = None

    @property
    def idle(self) -> int:
        return len(self.waiting)

    @property
    def size(self) -> int:
        """Connections and attempts at one: what the limit counts."""
        return len(self.open) + len(self.dialing)

    def reuse(self, call: Call, payload: Payload, now: float) -> bool:
        """Start it on the idle connection used last whose time is not over; what else is found on the way is closed."""
        waiting = self.waiting
        while waiting:
            connection = waiting.pop()
            if now < connection.expires and connection.start(call, payload, now):
                return True
            connection.discard()
        return False

    def sweep(self, now: float) -> None:
        """Close what has been idle for too long."""
        for connection in [c for c in self.waiting if c.expires <= now or c.gone]:
            connection.discard()

    async def drained(self) -> None:
        """Return when the last connection is closed; for the end, when no new one can come."""
        if self.open:
            self._drained = self._drained or asyncio.Event()
            await self._drained.wait()

    def close_idle(self) -> None:
        for connection in list(self.waiting):
            connection.discard()

    def opened(self, call: Call, connection: Connection) -> None:
        """An attempt has become a connection."""
        self.dialing.discard(call)
        if not connection.gone:
            self.open.add(connection)

    # connection.Home

    def closed(self, connection: Connection) -> None:
        self.open.discard(connection)
        if self._drained is not None and not self.open:
            self._drained.set()

    def proven(self, connection: Connection) -> None:
        if self.origin[0] == "https":
            self._sessions.remember(self.origin[1], self.origin[2], cast("ssl.SSLObject | None", connection.tls()))

    def redial(self, call: Call) -> None:
        self._redial(self, call)

    def give_back(self, connection: Connection, now: float, keep_alive: str | None) -> None:
        connection.expires = now + (self._idle_for if keep_alive is None else self.idle_time(keep_alive))
        self.waiting.append(connection)

    def withdraw(self, connection: Connection) -> None:
        if connection in self.waiting:
            self.waiting.remove(connection)

    def idle_time(self, keep_alive: str | None) -> float:
        """Seconds: our own limit, or less if the Keep-Alive header names a shorter time (RFC 2068 section 19.7.1.1)."""
        found = _TIMEOUT(keep_alive) if keep_alive else None
        return self._idle_for if found is None else min(self._idle_for, int(found[1]) * _SHARE)
