"""A scripted upstream: a Transport without sockets that plays one script per request.

    transport = ScriptedTransport(clock)
    transport.script(Sent(), Head(200, "text/event-stream"), Data(b"data: …"), Wait(1200), End())

A script is the list of what arrives, in order. The steps run one loop tick apart, as a socket's callbacks would.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from routebook.core.errors import UpstreamFault, UpstreamLost
from routebook.testing.clock import FrozenClock
from routebook.upstream.port import Sink
from routebook.wire.http import HttpHead, HttpRequest


@dataclass(frozen=True)
class Sent:
    """The request's bytes left."""


@dataclass(frozen=True)
class Head:
    status: int
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Data:
    chunk: bytes


@dataclass(frozen=True)
class Wait:
    """Time passes."""

    ms: int


@dataclass(frozen=True)
class Hang:
    """Nothing more comes until the event is set, or ever."""

    until: asyncio.Event | None = None


@dataclass(frozen=True)
class End:
    """The body ended."""


@dataclass(frozen=True)
class Lost:
    """The connection failed."""

    fault: UpstreamFault


Step = Sent | Head | Data | Wait | Hang | End | Lost


class ScriptedLine:
    """A line that plays its script."""

    def __init__(self, steps: Iterable[Step], sink: Sink, clock: FrozenClock) -> None:
        self._steps = deque(steps)
        self._sink = sink
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._paused = False
        self.closed = False
        self.pauses = 0
        self._loop.call_soon(self._next)

    def pause(self) -> None:
        self._paused = True
        self.pauses += 1

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            self._loop.call_soon(self._next)

    def close(self) -> None:
        self.closed = True

    def _next(self) -> None:
        if self.closed or self._paused or not self._steps:
            return
        step = self._steps.popleft()
        match step:
            case Sent():
                self._sink.sent()
            case Head():
                self._sink.head(HttpHead(step.status, {"content-type": step.content_type, **step.headers}))
            case Data():
                self._sink.data(step.chunk)
            case Wait():
                self._clock.advance(step.ms)
            case Hang():
                if step.until is not None:
                    self._loop.create_task(self._wait(step.until))
                return
            case End():
                self._sink.end()
                return
            case Lost():
                self._sink.lost(step.fault)
                return
        self._loop.call_soon(self._next)

    async def _wait(self, event: asyncio.Event) -> None:
        await event.wait()
        self._next()


class ScriptedTransport:
    """Plays the next script for each request and remembers the requests and lines."""

    def __init__(self, clock: FrozenClock) -> None:
        self._clock = clock
        self._scripts: deque[tuple[Step, ...]] = deque()
        self.requests: list[HttpRequest] = []
        self.lines: list[ScriptedLine] = []

    def script(self, *steps: Step) -> None:
        """What the next unscripted request meets."""
        self._scripts.append(steps)

    def send(self, request: HttpRequest, sink: Sink, *, connect_timeout: float) -> ScriptedLine:
        del connect_timeout
        self.requests.append(request)
        lost = Lost(UpstreamLost("nothing is scripted for this request", sent=False))
        steps = self._scripts.popleft() if self._scripts else (lost,)
        line = ScriptedLine(steps, sink, self._clock)
        self.lines.append(line)
        return line

    async def aclose(self) -> None:
        for line in self.lines:
            line.close()
