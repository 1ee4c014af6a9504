"""Step 5: the call enters the book. From here on it is an Entry: it has an id, an intent on disk, and it will be
settled exactly once, whatever happens.

The entry also hears from both sides: from the caller's connection (gone, full, drained) and from the sweep (`tick`).
"""

from __future__ import annotations

import asyncio
from typing import Any

from routebook.core.call import Call, Losses
from routebook.core.catalog import Endpoint
from routebook.core.errors import ClientGone, Fault, Unavailable
from routebook.core.events import Delta, Event, Plain
from routebook.core.generation import AttemptRow, Intent, Progress
from routebook.core.ids import RANDOM_GENERATION, RANDOM_REQUEST, generation_id, request_id
from routebook.core.usage import Usage
from routebook.corridor.answer import Answer
from routebook.corridor.attempt import Attempt
from routebook.corridor.plan import Held
from routebook.corridor.ports import App
from routebook.dialects.base import Stamp
from routebook.observe.clock import NS
from routebook.policy.attribution import Attribution, attribution
from routebook.wire.text import texts

WRITE_STALL_NS = 60 * NS
"""A caller who reads nothing for this long has gone."""
PROGRESS_NS = NS
"""An open stream that moved gets a progress row this often."""


def shutting_down() -> Unavailable:
    """What callers are told whose answer a shutdown cuts off."""
    return Unavailable("The gateway is shutting down; send the request again.", retry_after=1)


class Entry:
    """One call under way, from intent to outcome."""

    __slots__ = (
        "__weakref__",
        "_full_since_ns",
        "_gone_ns",
        "_progress_frames",
        "_progress_ns",
        "answer",
        "app",
        "attempts",
        "call",
        "cancelled",
        "current",
        "delivered",
        "held",
        "intent",
        "losses",
        "moderation_ns",
        "settled",
        "stopped",
        "text",
        "waiting",
        "written",
    )

    def __init__(self, held: Held, intent: Intent, answer: Answer, app: App) -> None:
        self.held = held
        self.intent = intent
        self.answer = answer
        self.app = app
        self.call: Call = held.plan.admitted.call
        self.attempts: list[Attempt] = []
        self.current: Attempt | None = None
        """the last of them"""
        self.losses: Losses | None = None
        """of the attempt that answered"""
        self.moderation_ns: int | None = None
        self.cancelled = False
        """the caller left before the answer had ended"""
        self.stopped: Fault | None = None
        """why the gateway itself ended the call"""
        self.delivered: tuple[int, int] | None = None
        """frames and bytes of the answer that the caller had when they left; None: all there were"""
        self.written = False
        """the intent may be on disk, so an outcome must follow"""
        self.settled = False
        self.waiting: asyncio.Future[Any] | None = None
        """what the call waits for that is no provider; given up when the call ends meanwhile"""
        self._full_since_ns: int | None = None
        self._gone_ns: int | None = None
        self._progress_ns = intent.accepted_ns
        self._progress_frames = 0
        self.text: list[str] | None = [] if app.counter is not None else None
        """the answer's text, kept only while a reference counter wants it"""

    def try_with(self, attempt: Attempt, losses: Losses) -> None:
        """That attempt is the current one from here on."""
        self.current = attempt
        self.attempts.append(attempt)
        self.losses = losses

    async def write(self) -> None:
        """The intent, durable when this returns: the licence to dispatch. Raises Unavailable if the book is closed."""
        self.written = True
        try:
            await self.app.daybook.open(self.intent)
        except Fault:
            self.written = False
            raise

    def stamp(self, endpoint: Endpoint | None) -> Stamp:
        """What is written over the answer of that endpoint; None where no provider answered."""
        return Stamp(
            id=self.intent.id,
            created=self.intent.accepted_ns // NS,
            model=endpoint.model if endpoint else self.intent.model or self.intent.requested_model,
            provider=endpoint.provider.name if endpoint else None,
        )

    def send(self, events: list[Event], now_ns: int) -> None:
        """What one read of the committed answer held goes to the caller, unless they have gone."""
        if self.text is not None:
            for event in events:
                if isinstance(event, Plain):
                    self.text += texts(event)
                elif isinstance(event, Delta):
                    self.text += [part for part in (event.reasoning, event.text) if part]
        if not self.cancelled:
            self.answer.events(events, now_ns)

    # --- the caller's connection ------------------------------------------------------------------------------

    def gone(self) -> None:
        """The caller left. Close the provider's socket where that stops the bill, else read on within a cap."""
        attempt = self.current
        if self.settled or self.cancelled:
            return
        self._full_since_ns = None
        if attempt is not None:
            attempt.resume()
            if attempt.meter.finished:
                return  # the answer was made, and they have had what they wanted of it
        self.cancelled = True
        self._give_up()
        self._gone_ns = self.app.now_ns()
        self.note_delivered()
        if attempt is None:
            return
        billing = attempt.error is None and attempt.sent_ns is not None
        if not billing or (self.call.stream and attempt.endpoint.provider.abortable):
            attempt.abandon(ClientGone())

    def note_delivered(self) -> None:
        """The caller left, and has what was written until now."""
        attempt = self.current
        if self.delivered is None:
            committed = attempt is not None and attempt.committed
            self.delivered = (attempt.meter.frames, attempt.meter.delivered_bytes) if attempt and committed else (0, 0)

    def full(self) -> None:
        self._full_since_ns = self.app.now_ns()
        if self.current is not None:
            self.current.pause()

    def drained(self) -> None:
        self._full_since_ns = None
        if self.current is not None:
            self.current.resume()

    def shut_down(self) -> None:
        """The drain time is over: the answer ends here, with an error the caller can act on."""
        self.stop(shutting_down())

    def stop(self, fault: Fault) -> None:
        """The gateway ends the call: nothing more is sent to a provider, and an answer under way is given up."""
        self.stopped = self.stopped or fault
        self._give_up()
        if self.current is not None:
            self.current.abandon(fault)

    def _give_up(self) -> None:
        if self.waiting is not None:
            self.waiting.cancel()

    def check(self) -> None:
        """Raises what forbids to ask one more provider: ClientGone, or the Fault the gateway stopped the call with."""
        if self.cancelled:
            raise ClientGone
        if self.stopped is not None:
            raise self.stopped

    # --- the sweep --------------------------------------------------------------------------------------------

    def tick(self, now_ns: int) -> None:
        """Deadlines, keep-alives and progress; a few comparisons for a call that is doing fine."""
        attempt = self.current
        if self._full_since_ns is not None and now_ns - self._full_since_ns > WRITE_STALL_NS:
            self.gone()
        if attempt is not None:
            attempt.tick(now_ns, paused=self._full_since_ns is not None)
            cap_ns = int(self.app.settings.timeouts.drain_cancelled * NS)
            if self._gone_ns is not None and now_ns - self._gone_ns > cap_ns:
                attempt.abandon(ClientGone())
            self._note_progress(attempt, now_ns)
        if not self.cancelled and self._full_since_ns is None:
            self.answer.keep_alive(self.intent.accepted_ns, now_ns)

    def _note_progress(self, attempt: Attempt, now_ns: int) -> None:
        meter = attempt.meter
        if meter.frames == self._progress_frames or now_ns - self._progress_ns < PROGRESS_NS or self.settled:
            return
        self._progress_ns = now_ns
        self._progress_frames = meter.frames
        row = Progress(
            at_ns=now_ns,
            model=attempt.endpoint.model,
            provider_name=attempt.endpoint.provider.name,
            endpoint_id=attempt.endpoint.id,
            upstream_id=meter.upstream_id,
            frames=meter.frames,
            delivered_bytes=meter.delivered_bytes,
            usage=meter.usage,
            pricing=attempt.endpoint.pricing,
        )
        self.app.daybook.note(self.intent.id, self.intent.n, row)

    def attempt_rows(self, usage: Usage | None = None) -> tuple[AttemptRow, ...]:
        """The children of the record. `usage`: the outcome's, where it speaks for the last of them."""
        attempts = self.attempts
        if len(attempts) == 1:
            return (attempts[0].row(usage),)
        return tuple([attempt.row(usage if attempt is self.current else None) for attempt in attempts])


async def enter(held: Held, answer: Answer, app: App) -> Entry:
    """Give the call its id and its place in the book; from here on `settle` has to end it.

    Raises Unavailable where an app that is new cannot be stored, with the hold given back.
    """
    admitted = held.plan.admitted
    call, arrival = admitted.call, admitted.arrival
    try:
        writer = arrival.surface.writer(call)
        source = attribution(arrival.headers)
        app_id = None if source.app_url is None else await app.apps.id_of(source.app_url, source.app_title)
        intent = _intent(held, source, app_id, app)
    except BaseException:
        app.book.release(held.hold)
        raise
    entry = Entry(held, intent, answer, app)
    app.entries.add(entry)
    answer.bind(intent.id, writer, call.stream, entry)
    return entry


def _intent(held: Held, source: Attribution, app_id: int | None, app: App) -> Intent:
    plan = held.plan
    admitted, first = plan.admitted, plan.endpoints[0]
    call, key, accepted_ns = admitted.call, admitted.key, admitted.arrival.accepted_ns
    unix, dice, daybook = accepted_ns // NS, app.dice, app.daybook
    n = daybook.next_n()
    return Intent(
        id=generation_id(unix, dice.text(RANDOM_GENERATION), daybook.name, n),
        n=n,
        request_id=request_id(unix, dice.text(RANDOM_REQUEST)),
        accepted_ns=accepted_ns,
        account=key.account,
        key_hash=key.hash,
        requested_model=call.model,
        streamed=call.stream,
        model=first.model,
        app_id=app_id,
        origin=source.origin,
        http_referer=source.http_referer,
        user_agent=source.user_agent,
        external_user=call.user,
        session_id=call.session_id,
        workspace_id=key.workspace_id,
        num_media_prompt=call.media_prompt,
        num_input_audio_prompt=call.audio_prompt,
        prompt_bytes=call.body_bytes,
        hold=held.hold.amount,
        held_key=key.limit is not None,
        endpoint_id=first.id,
        provider_name=first.provider.name,
        pricing=first.pricing,
    )
