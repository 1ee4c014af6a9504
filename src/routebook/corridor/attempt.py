"""One try at one endpoint: listens to the transport, reads the dialect, feeds the meter, passes events on.

Everything here runs in the transport's callbacks; the coroutine awaits `begun` (the point of no return) and `ended`.
Until the answer is committed to this attempt its events are held back, so that failover stays invisible.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from routebook.config.settings import Timeouts
from routebook.core.catalog import Endpoint
from routebook.core.errors import ClientGone, Fault, Internal, UpstreamFault, UpstreamGarbage, UpstreamTimeout
from routebook.core.events import Delta, Event, Failed, Finish, Plain
from routebook.core.generation import AttemptRow
from routebook.core.ids import Mint
from routebook.core.money import Charge
from routebook.core.usage import Usage
from routebook.dialects.base import Reader, Upstream
from routebook.metering.meter import Meter
from routebook.observe.clock import NS, Clock
from routebook.observe.log import log
from routebook.upstream.port import Line, Transport
from routebook.wire.http import HttpHead, HttpRequest

_NOTHING = Usage()
ERROR_BODY_MAX = 64 * 1024
AFTER_FINISH_NS = 5 * NS
"""A provider that has finished but neither reports usage nor ends the answer is not waited for longer."""


class Attempt:
    """A transport's Sink for one request."""

    __slots__ = (
        "_clock",
        "_emit",
        "_error_body",
        "_head",
        "_head_ns",
        "_heard_ns",
        "_held",
        "_line",
        "_mint",
        "_reader",
        "_streamed",
        "_timeouts",
        "_upstream",
        "_waiter",
        "charge",
        "ended_ns",
        "endpoint",
        "error",
        "first_ns",
        "meter",
        "over",
        "sent_ns",
        "started_ns",
    )

    def __init__(
        self, endpoint: Endpoint, upstream: Upstream, mint: Mint, timeouts: Timeouts, clock: Clock, streamed: bool
    ) -> None:
        self.endpoint = endpoint
        self.meter = Meter()
        self.over = False
        """nothing more is heard. Not asked of a future: who cancels a task cancels the future that it awaits"""
        self.error: Fault | ClientGone | None = None
        self.charge: Charge | None = None
        """what settling found this attempt cost"""
        self.started_ns = self._heard_ns = clock.now_ns()
        self.sent_ns: int | None = None
        self.first_ns: int | None = None
        """content began, or the answer finished without any"""
        self.ended_ns: int | None = None
        self._upstream = upstream
        self._mint = mint
        self._timeouts = timeouts
        self._clock = clock
        self._streamed = streamed
        self._waiter: asyncio.Future[None] | None = None
        """of the coroutine, while it waits for the beginning or the end"""
        self._line: Line | None = None
        self._head: HttpHead | None = None
        self._head_ns: int | None = None
        self._reader: Reader | None = None
        self._error_body = b""
        self._held: list[Event] = []
        self._emit: Callable[[list[Event], int], None] | None = None

    # --- what the coroutine does with it ----------------------------------------------------------------------

    def start(self, transport: Transport, request: HttpRequest) -> None:
        if request.seal is not None:
            request = request.sealed(self._clock.now_ns() // NS)
        self._line = transport.send(request, self, connect_timeout=self._timeouts.connect)

    async def begun(self) -> None:
        """Returns when content began, or the answer finished without any; raises what came before that."""
        if self.first_ns is None and not self.over:
            await self._news()
        if self.first_ns is None and self.error is not None:
            raise self.error

    async def ended(self) -> None:
        """Returns when the answer has ended well; raises what ended it otherwise."""
        if not self.over:
            await self._news()
        if self.error is not None:
            raise self.error

    def commit(self, emit: Callable[[list[Event], int], None]) -> None:
        """This attempt is the answer: give out what was held back, and everything after it, read by read."""
        self._emit = emit
        held, self._held = self._held, []
        emit(held, self._clock.now_ns())

    def let_go(self) -> None:
        """The call is settled: nothing is passed on any more, and nothing here keeps the call in memory."""
        self._emit = None
        self._reader = None
        self._line = None
        self._held = []

    @property
    def status(self) -> int | None:
        """What the provider answered with; None if there was no HTTP answer."""
        return None if self._head is None else self._head.status

    @property
    def committed(self) -> bool:
        """The answer is this attempt's: what it says goes to the caller."""
        return self._emit is not None

    def abandon(self, error: Fault | ClientGone) -> None:
        """Stop listening and close the socket; `error` is why. Harmless after the end."""
        if self.over:
            return
        if self._line is not None:
            self._line.close()
        self._fail(error)

    def pause(self) -> None:
        if self._line is not None and not self.over:
            self._line.pause()

    def resume(self) -> None:
        if self._line is not None and not self.over:
            self._heard_ns = self._clock.now_ns()  # it could not be heard while it was paused
            self._line.resume()

    def tick(self, now_ns: int, *, paused: bool) -> None:
        """Deadlines: first token, idle, and a finished answer that does not end. Connecting has its own."""
        if self.over or self.sent_ns is None:
            return
        quiet_ns = now_ns - self._heard_ns
        if self.meter.finished:
            if quiet_ns > AFTER_FINISH_NS and not paused and self._line is not None:
                self._line.close()
                self._finish()
        elif self.first_ns is None:
            what, seconds, code = ("answer", self._timeouts.answer, "answer")
            if self._streamed:
                what, seconds, code = ("first token", self._timeouts.first_token, "first_token")
            if now_ns - self.sent_ns > seconds * NS:
                self._time_out(f"gave no {what} within {seconds:g} s", code)
        elif quiet_ns > self._timeouts.idle * NS and not paused:
            self._time_out(f"fell silent for {self._timeouts.idle:g} s in the middle of its answer", "idle")

    def row(self, outcome_usage: Usage | None = None) -> AttemptRow:
        """This attempt as a child of the record. `outcome_usage`: what the outcome says, if it is this attempt that
        answered; where that is also what the provider reported, it is not written a second time."""
        endpoint, error, usage = self.endpoint, self.error, self.meter.usage
        provider = endpoint.provider
        as_outcome = usage is outcome_usage and usage != _NOTHING
        return AttemptRow(
            provider_name=provider.name,
            provider_slug=provider.slug,
            model=endpoint.model,
            endpoint_id=endpoint.id,
            status=None if self._head is None else self._head.status,
            upstream_id=self.meter.upstream_id,
            started_ns=self.started_ns,
            sent_ns=self.sent_ns,
            head_ns=self._head_ns,
            first_ns=self.first_ns,
            ended_ns=self.ended_ns,
            error=None if error is None else type(error).__name__,
            message=error.message if isinstance(error, Fault) else None,
            raw=error.raw if isinstance(error, UpstreamFault) else None,
            usage=None if as_outcome or usage == _NOTHING else usage,
            charge=None if as_outcome else self.charge,
            as_outcome=as_outcome,
        )

    # --- the transport's callbacks ----------------------------------------------------------------------------

    def sent(self) -> None:
        self.sent_ns = self._heard_ns = self._clock.now_ns()

    def head(self, head: HttpHead) -> None:
        self._head = head
        self._head_ns = self._heard_ns = self._clock.now_ns()
        if head.status == 200:
            self._reader = self._upstream.reader(head, self._mint)

    def data(self, chunk: bytes) -> None:
        self._heard_ns = self._clock.now_ns()
        if self._reader is not None:
            try:
                self._take(self._reader.feed(chunk))
            except Exception:
                self._broken()
        elif len(self._error_body) < ERROR_BODY_MAX:
            self._error_body += chunk[: ERROR_BODY_MAX - len(self._error_body)]

    def end(self) -> None:
        try:
            if self._reader is not None:
                self._take(self._reader.end())
                if not self.over:
                    self._finish()
            else:
                assert self._head is not None
                self._fail(self._upstream.fault(self._head, self._error_body))
        except Exception:
            self._broken()

    def lost(self, fault: UpstreamFault) -> None:
        if self.over:
            return
        if self.meter.finished:
            self._finish()
        elif self._head is not None and self._reader is None:
            self._fail(self._upstream.fault(self._head, self._error_body))
        else:
            self._fail(fault)

    def _take(self, events: list[Event]) -> None:
        if not events or self.over:
            return
        failed = events[-1] if isinstance(events[-1], Failed) else None  # a reader says nothing after it
        if failed is not None:
            events = events[:-1]
        feed = self.meter.feed
        for event in events:
            feed(event)
        if self._emit is not None:
            self._emit(events, self._heard_ns)
        else:
            self._hold_back(events)
        if failed is not None and not self.over:
            if self._line is not None:
                self._line.close()
            self._fail(failed.fault)

    def _hold_back(self, events: list[Event]) -> None:
        self._held += events
        if self.first_ns is None and any(map(_is_content, events)):
            self.first_ns = self._heard_ns
            self._wake()

    def _finish(self) -> None:
        self.ended_ns = self._clock.now_ns()
        if not self.meter.finished:
            self._fail(UpstreamGarbage("The provider ended its answer without finishing it; try again."))
            return
        self.over = True
        self._wake()

    def _news(self) -> asyncio.Future[None]:
        self._waiter = asyncio.get_running_loop().create_future()
        return self._waiter

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def _broken(self) -> None:
        """A mistake of ours: the transport must not see it, and the call must not wait for ever."""
        log.exception("an answer of %s could not be passed on", self.endpoint.id)
        self.abandon(Internal())

    def _time_out(self, what: str, code: str) -> None:
        self.abandon(
            UpstreamTimeout(
                f"{self.endpoint.provider.name} {what}; try again, or raise `{code}` under [timeouts].",
                provider_code=code,
                provider_status=self._head.status if self._head is not None else None,
            )
        )

    def _fail(self, error: Fault | ClientGone) -> None:
        if self.over:
            return
        self.over = True
        self.error = error
        self.ended_ns = self._clock.now_ns()
        self._wake()


def _is_content(event: Event) -> bool:
    """The point of no return: a caller sees something of the answer, or that there is nothing to see."""
    return isinstance(event, (Plain, Finish)) or (isinstance(event, Delta) and event.content)
