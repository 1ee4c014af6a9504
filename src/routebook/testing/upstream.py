"""A scripted upstream: a Transport without sockets that plays one script per request.

    transport = ScriptedTransport(clock)
    transport.script(Sent(), Head(200, "text/event-stream"), Data(b"data: …"), Wait(1200), End())

A script is the list of what arrives, in order. The steps run one loop tick apart, as a socket's callbacks would.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
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


Watch = Callable[[str, "ScriptedLine"], None]
"""Told what happened to a line: `asked` (the request arrived), `paused`, `resumed`, `closed` (before its end)."""


class ScriptedLine:
    """A line that plays its script; `play` makes the script longer while it runs."""

    def __init__(
        self, request: HttpRequest, steps: Iterable[Step], sink: Sink, clock: FrozenClock, watch: Watch | None = None
    ) -> None:
        self.request = request
        self.played = 0
        """steps played so far"""
        self.closed = False
        self.ended = False
        """the last step was an End or a Lost"""
        self.pauses = 0
        self._steps = deque(steps)
        self._sink = sink
        self._clock = clock
        self._watch = watch
        self._loop = asyncio.get_running_loop()
        self._paused = False
        self._hanging = False
        self._scheduled = False
        self._go_on()

    def play(self, *steps: Step) -> None:
        """More of the script."""
        self._steps.extend(steps)
        self._go_on()

    def pause(self) -> None:
        if not self._paused:
            self._paused = True
            self.pauses += 1
            self._tell("paused")

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            self._tell("resumed")
            self._go_on()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            if not self.ended:
                self._tell("closed")

    def _tell(self, what: str) -> None:
        if self._watch is not None:
            self._watch(what, self)

    def _go_on(self) -> None:
        if self._steps and not (self._scheduled or self.closed or self.ended or self._paused or self._hanging):
            self._scheduled = True
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        self._scheduled = False
        if self.closed or self._paused or self._hanging or not self._steps:
            return
        step = self._steps.popleft()
        self.played += 1
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
                self._hanging = True
                if step.until is not None:
                    self._waiting = asyncio.ensure_future(self._wait(step.until))
            case End():
                self.ended = True
                self._sink.end()
            case Lost():
                self.ended = True
                self._sink.lost(step.fault)
        self._go_on()

    async def _wait(self, event: asyncio.Event) -> None:
        await event.wait()
        self._hanging = False
        self._go_on()


class ScriptedTransport:
    """Plays the next script for each request and remembers the requests and lines.

    A request without a script is lost before it is sent, or, with `open_ended`, gets a line that waits for `play`.
    """

    def __init__(self, clock: FrozenClock, *, open_ended: bool = False, watch: Watch | None = None) -> None:
        self._clock = clock
        self._open_ended = open_ended
        self._scripts: deque[tuple[Step, ...]] = deque()
        self.watch = watch
        self.requests: list[HttpRequest] = []
        self.lines: list[ScriptedLine] = []

    @property
    def played(self) -> int:
        """Steps played so far, over all lines."""
        return sum(line.played for line in self.lines)

    def script(self, *steps: Step) -> None:
        """What the next unscripted request meets."""
        self._scripts.append(steps)

    def send(self, request: HttpRequest, sink: Sink, *, connect_timeout: float) -> ScriptedLine:
        del connect_timeout
        self.requests.append(request)
        steps: tuple[Step, ...] = ()
        if self._scripts:
            steps = self._scripts.popleft()
        elif not self._open_ended:
            steps = (Lost(UpstreamLost("nothing is scripted for this request", sent=False)),)
        line = ScriptedLine(request, steps, sink, self._clock, self.watch)
        self.lines.append(line)
        if self.watch is not None:
            self.watch("asked", line)
        return line

    async def aclose(self) -> None:
        for line in self.lines:
            line.close()
