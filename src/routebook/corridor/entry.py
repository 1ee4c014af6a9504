"""Step 5: the call enters the book. From here on it is an Entry: it has an id, an intent on disk, and it will be
settled exactly once, whatever happens.

The entry also hears from both sides: from the caller's connection (gone, full, drained) and from the sweep (`tick`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine
from decimal import Decimal
from typing import Any, TypeVar

from routebook.core.call import Call, Losses
from routebook.core.catalog import Endpoint
from routebook.core.errors import ClientGone, Fault, Halted, Unavailable
from routebook.core.events import Delta, Event, Plain
from routebook.core.generation import AttemptRow, Intent, Progress
from routebook.core.ids import RANDOM_GENERATION, RANDOM_REQUEST, generation_id, request_id
from routebook.core.usage import Usage
from routebook.corridor.answer import Answer
from routebook.corridor.attempt import Attempt
from routebook.corridor.plan import Held
from routebook.corridor.ports import App
from routebook.corridor.reach import Reach
from routebook.corridor.translation import is_asked, told
from routebook.dialects.base import Stamp
from routebook.observe.clock import NS
from routebook.policy.attribution import Attribution, attribution
from routebook.policy.compress import Compressed
from routebook.wire.text import texts

T = TypeVar("T")

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
        "halt",
        "held",
        "intent",
        "left",
        "losses",
        "moderation_ns",
        "reach",
        "settled",
        "shortened",
        "stopped",
        "text",
        "unfinished",
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
        self.shortened: Compressed | None = None
        """how the prompt was made to fit it"""
        self.moderation_ns: int | None = None
        self.cancelled = False
        """the caller left before the answer had ended, or somebody had the call cancelled"""
        self.left = False
        """the caller left: there is nobody to be told how it ended"""
        self.halt: str | None = None
        """`cancelled` or `budget`: why the answer ends before its provider ends it, with its caller there"""
        self.unfinished: tuple[int, ...] = ()
        """choices that had not ended for the caller when it was halted"""
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
        self.reach = None if held.tokens is None else Reach(self, held.tokens)
        """where the answer has to be stopped or its hold extended; None: the hold covers all of it"""
        self.text: list[str] | None = [] if app.counter is not None else None
        """the answer's text, kept only while a reference counter wants it"""

    async def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for what is no provider; given up when the call ends meanwhile. Raises ClientGone, or the Fault that
        the gateway ended the call with."""
        self.waiting = task = asyncio.ensure_future(work)
        try:
            return await task
        except asyncio.CancelledError:
            self.check()  # the caller left, or the gateway ended the call; else it is this task that was cancelled
            raise
        finally:
            self.waiting = None

    def try_with(self, attempt: Attempt, losses: Losses, shortened: Compressed | None) -> None:
        """That attempt is the current one from here on."""
        self.current = attempt
        self.shortened = shortened
        self.attempts.append(attempt)
        self.losses = losses
        plan = self.held.plan
        if is_asked(plan.admitted.arrival.headers):
            self.answer.translation = told((*plan.losses, *losses.items))

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
        reach, attempt = self.reach, self.current
        if reach is not None and attempt is not None and attempt.meter.delivered_bytes >= reach.alarm:
            reach.near(attempt)

    # --- the caller's connection ------------------------------------------------------------------------------

    def gone(self) -> None:
        """The caller left. Close the provider's socket where that stops the bill, else read on within a cap."""
        if self.settled or self.left:
            return
        self.left = self.cancelled or self._withdraw(ClientGone())

    def cancel(self) -> bool:
        """Somebody who may had the call stopped, and its caller is there: what is known of it by then is its answer.

        False if there is nothing to stop: it has ended, or its provider has finished.
        """
        if self.settled or self.stopped is not None or self.halt == "budget":
            return False
        if self.cancelled:
            return True
        if self.current is not None and self.current.meter.finished:
            return False
        self._halt("cancelled")
        return self._withdraw(Halted())

    def _halt(self, why: str) -> None:
        self.halt = why
        self.unfinished = (0,) if self.current is None else self.current.meter.open_choices

    def _withdraw(self, why: ClientGone) -> bool:
        """Nobody wants the rest. False if all was said by then."""
        attempt = self.current
        self._full_since_ns = None
        if attempt is not None:
            attempt.resume()
            if attempt.meter.finished:
                return False  # the answer was made, and they have had what they wanted of it
        self.cancelled = True
        self._give_up()
        self._gone_ns = self.app.now_ns()
        self.note_delivered()
        if attempt is not None:
            billing = attempt.error is None and attempt.sent_ns is not None
            if not billing or (self.call.stream and attempt.endpoint.provider.abortable):
                attempt.abandon(why)
        return True

    def run_out(self) -> None:
        """The budget covers no more of the answer: it ends here, as one that came to its limit."""
        attempt = self.current
        if attempt is None or attempt.over or self.cancelled:
            return
        self._halt("budget")
        attempt.abandon(Halted())

    def go_on(self, attempt: Attempt) -> None:
        """Whatever else the answer waited for has come; it goes on unless its caller is slow."""
        if self._full_since_ns is None:
            attempt.resume()

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
            raise ClientGone if self.halt is None else Halted
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
            moved = attempt.meter.frames != self._progress_frames
            if moved and now_ns - self._progress_ns >= PROGRESS_NS:
                self.note_progress(now_ns)
        if not self.left and self._full_since_ns is None:
            self.answer.keep_alive(self.intent.accepted_ns, now_ns)

    def note_progress(self, now_ns: int) -> None:
        """How far the answer is, for whoever has to estimate it should this process die."""
        attempt = self.current
        if attempt is None or self.settled:
            return
        meter = attempt.meter
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
            hold=self.hold,
        )
        self.app.daybook.note(self.intent.id, self.intent.n, row)

    @property
    def hold(self) -> Decimal | None:
        """What is on hold now; None if that is what the intent says."""
        return self.held.hold.amount if self.reach is not None and self.reach.extended else None

    def attempt_rows(self, usage: Usage | None = None) -> tuple[AttemptRow, ...]:
        """The children of the record. `usage`: the outcome's, where it speaks for the last of them."""
        attempts = self.attempts
        if len(attempts) == 1:
            return (attempts[0].row(usage),)
        return tuple([attempt.row(usage if attempt is self.current else None) for attempt in attempts])


def cancel(entries: Collection[Entry], id: str) -> bool:
    """Have the call of that id stopped if it is among these; whether it will stop."""
    return any(entry.cancel() for entry in list(entries) if entry.intent.id == id)


async def enter(held: Held, answer: Answer, app: App) -> Entry:
    """Give the call its id and its place in the book; from here on `settle` has to end it. Where that fails, or is
    cancelled while a new app is stored, the hold is given back.
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
    held.hold.id = intent.id
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
        router=plan.route.router,
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
