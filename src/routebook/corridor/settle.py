"""Step 8: close the call. Usage, charge and outcome are decided, made durable, posted; only then ends the answer.

Always runs, exactly once: after success, fault, cancel and shutdown.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from routebook.core.call import Loss
from routebook.core.errors import Cancelled, ClientGone, Fault, Forbidden, Internal
from routebook.core.events import Finish
from routebook.core.generation import Outcome, State
from routebook.core.money import ZERO, Charge
from routebook.core.usage import Usage
from routebook.corridor.attempt import Attempt
from routebook.corridor.entry import Entry, shutting_down
from routebook.corridor.tell import is_told, of_entry
from routebook.dialects.base import Receipt
from routebook.metering.estimate import estimate, prompt_tokens_of
from routebook.metering.pricing import is_insured, price
from routebook.metering.revision import minute_of, unanswered, with_unanswered
from routebook.observe.log import log


async def settle(entry: Entry, error: BaseException | None) -> None:
    """`error` is what ended the call, None for a good end. The answer's last byte waits for the record."""
    try:
        if entry.written:
            await _close(entry, error)
        else:
            _leave(entry)
            entry.answer.refuse(_told(error) or Internal())
    except Exception:
        # A mistake of ours. Whatever happened, nobody waits for ever and no money stays on hold.
        log.exception("generation %s could not be settled", entry.intent.id)
        _leave(entry)
        entry.answer.refuse(Internal())


async def _close(entry: Entry, error: BaseException | None) -> None:
    app, answer = entry.app, entry.answer
    fault = _told(error)
    try:
        outcome, state = _outcome(entry, error, fault)
    except Exception:
        log.exception("the accounts of generation %s do not work out", entry.intent.id)
        fault = fault or Internal()
        outcome, state = _bare(entry, fault)
    in_band = False
    if fault is not None and not entry.cancelled:
        attempt = entry.current
        served = attempt.endpoint if attempt is not None and attempt.first_ns is not None else None
        in_band = answer.fail(fault, entry.stamp(served), app.now_ns())
    entry.settled = True
    try:
        await _write(entry, state, outcome)
    except asyncio.CancelledError:
        # Only the waiting was cancelled: the row is on its way to the disk, and the charge stands.
        _leave(entry, outcome.charge.total)
        answer.refuse(fault or shutting_down())
        raise
    except Fault as unwritten:
        # The book could not be written: the caller gets no end mark, so that nobody takes this for a settled call.
        log.error("the outcome of %s could not be written: %s", entry.intent.id, unwritten.message)
        _leave(entry, outcome.charge.total)
        answer.refuse(unwritten)
        return
    _leave(entry, outcome.charge.total)
    told = of_entry(entry)
    app.metrics.settled(entry.intent, outcome, state)
    if entry.left:
        answer.drop()
    elif entry.halt is not None:
        _end_early(entry, outcome, told)
    elif fault is None or in_band:
        answer.finish(Receipt(outcome.usage, outcome.charge, outcome.is_byok, told))
    else:
        if told is not None and is_told(fault):
            fault.routing = told
        answer.refuse(fault)
    if entry.text is not None and app.counter is not None:
        app.counter.submit(entry.intent.id, entry.intent.n, entry.call, "".join(entry.text))


def _end_early(entry: Entry, outcome: Outcome, told: dict[str, Any] | None) -> None:
    """The proper end of an answer that its provider did not end. A whole answer has no part that could be given."""
    answer, attempt = entry.answer, entry.current
    if not answer.streamed:
        answer.refuse(Cancelled())
        return
    reason = "length" if entry.halt == "budget" else "stop"
    served = attempt.endpoint if attempt is not None and attempt.first_ns is not None else None
    answer.start(entry.stamp(served))
    answer.events([Finish(reason, entry.halt, index) for index in entry.unfinished], entry.app.now_ns())
    answer.finish(Receipt(outcome.usage, outcome.charge, outcome.is_byok, told))


async def _write(entry: Entry, state: int, outcome: Outcome) -> None:
    """The outcome, durable when this returns. Raises Fault where the book cannot be written."""
    daybook, intent = entry.app.daybook, entry.intent
    try:
        await daybook.close(intent.id, intent.n, state, outcome)
    except OverflowError:
        # Providers may report whole numbers that no format of rows holds. The counts are checked; their words are not.
        await daybook.close(intent.id, intent.n, state, _without_raw(outcome))


def _leave(entry: Entry, charge: Decimal | None = None) -> None:
    """The call is over: its hold becomes `charge`, or is given back. Harmless the second time."""
    entry.settled = True
    entry.app.entries.discard(entry)
    for attempt in entry.attempts:
        attempt.let_go()
    hold = entry.held.hold
    if not hold.open:
        if charge is not None:
            entry.app.book.settle_late(hold, charge)
        return
    if charge is None:
        entry.app.book.release(hold)
    else:
        entry.app.book.settle(hold, charge, ZERO)


def _told(error: BaseException | None) -> Fault | None:
    """What the caller is told of an error; an unexpected one is Internal, and its details stay in the log."""
    if error is None or isinstance(error, ClientGone):
        return None
    if isinstance(error, asyncio.CancelledError):
        return shutting_down()
    return error if isinstance(error, Fault) else Internal()


def _state(entry: Entry, error: BaseException | None) -> int:
    if entry.cancelled:
        return State.CANCELLED
    if error is None or entry.halt == "budget":
        return State.DONE
    return State.BLOCKED if isinstance(error, Forbidden) else State.ERROR


def _outcome(entry: Entry, error: BaseException | None, fault: Fault | None) -> tuple[Outcome, int]:
    """Everything the record will say, from what the entry knows now."""
    attempt, cancelled = entry.current, entry.cancelled
    usage, source = _usage(entry, attempt)
    finish = _finish_reason(entry, attempt, error)
    charge = _charge(entry, attempt, usage, finish)
    if attempt is None:
        outcome = Outcome(
            ended_ns=entry.app.now_ns(),
            charge=charge,
            finish_reason=finish,
            cancelled=cancelled,
            usage_source=source,
            moderation_ns=entry.moderation_ns,
            losses=entry.held.plan.losses,
            error=_said(fault),
        )
        return outcome, _state(entry, error)
    attempt.charge = own = charge
    if len(entry.attempts) > 1:
        charge = with_unanswered(own, _unanswered(entry))
    meter = attempt.meter
    endpoint = attempt.endpoint if attempt.first_ns is not None or cancelled else None
    provider = None if endpoint is None else endpoint.provider
    frames, size = entry.delivered or (meter.frames, meter.delivered_bytes)
    losses = entry.held.plan.losses
    if entry.losses is not None and entry.losses.items:
        losses += tuple(entry.losses.items)
    if entry.halt == "budget":
        losses += (Loss("max_tokens", "stopped: the key's limit covers no more"),)
    searches = usage.web_searches
    outcome = Outcome(
        ended_ns=entry.app.now_ns(),
        model=None if endpoint is None else endpoint.model,
        provider_name=None if provider is None else provider.name,
        charge=charge,
        provider_slug=None if provider is None else provider.slug,
        endpoint_id=None if endpoint is None else endpoint.id,
        upstream_id=meter.upstream_id,
        upstream_model=meter.upstream_model,
        upstream_provider=meter.upstream_provider,
        service_tier=meter.service_tier,
        finish_reason=finish,
        native_finish_reason=meter.native_finish_reason,
        cancelled=cancelled,
        usage=usage,
        usage_source=source,
        attempts=entry.attempt_rows(usage if charge is own else None),
        moderation_ns=entry.moderation_ns,
        num_media_completion=meter.media,
        num_search_results=searches,
        num_fetches=usage.web_fetches,
        web_search_engine="native" if searches else None,
        delivered_frames=frames,
        delivered_bytes=size,
        losses=losses,
        error=_said(fault),
        hold=entry.hold,
    )
    return outcome, _state(entry, error)


def _bare(entry: Entry, fault: Fault) -> tuple[Outcome, int]:
    """What is certain of a call whose accounts cannot be made: it ended, and nobody knows its price."""
    attempt = entry.current
    outcome = Outcome(
        ended_ns=entry.app.now_ns(),
        upstream_id=attempt.meter.upstream_id if attempt else None,
        finish_reason=None if entry.cancelled else "error",
        cancelled=entry.cancelled,
        usage=attempt.meter.usage if attempt else Usage(),
        usage_source="provider" if attempt and attempt.meter.reported else "none",
        charge=Charge(unpriced=True),
        attempts=entry.attempt_rows(),
        moderation_ns=entry.moderation_ns,
        error=_said(fault),
    )
    return outcome, State.CANCELLED if entry.cancelled else State.ERROR


def _without_raw(outcome: Outcome) -> Outcome:
    """The outcome without the providers' own usage objects."""
    attempts = tuple(
        replace(row, usage=None if row.usage is None else replace(row.usage, raw=None)) for row in outcome.attempts
    )
    return replace(outcome, usage=replace(outcome.usage, raw=None), attempts=attempts)


def _said(fault: Fault | None) -> dict[str, Any] | None:
    return None if fault is None else {"status": fault.status, "type": fault.error_type, "message": fault.message}


def _finish_reason(entry: Entry, attempt: Attempt | None, error: BaseException | None) -> str | None:
    if entry.cancelled:
        return None
    if entry.halt == "budget":
        return "length"
    if error is not None:
        return "error"
    return attempt.meter.finish_reason if attempt is not None else None


def _usage(entry: Entry, attempt: Attempt | None) -> tuple[Usage, str]:
    """(counts, where they come from): the provider's last report, else an estimate of what was produced."""
    if attempt is None or attempt.sent_ns is None:
        return Usage(), "none"
    meter = attempt.meter
    usage = meter.usage
    ended_well = meter.finished and attempt.error is None
    if meter.reported and (ended_well or meter.frames == 0):
        if usage.prompt is None:
            return replace(usage, prompt=prompt_tokens_of(entry.intent.prompt_bytes)), "estimated"
        return usage, "drained" if entry.cancelled else "provider"
    if attempt.first_ns is None and not entry.cancelled:
        # No content and an error: what the provider said of it, which is mostly nothing.
        return usage, "provider" if not usage.empty else "none"
    return estimate(entry.intent.prompt_bytes, meter.delivered_bytes, meter.frames, usage), "estimated"


def _charge(entry: Entry, attempt: Attempt | None, usage: Usage, finish: str | None) -> Charge:
    if attempt is None or attempt.sent_ns is None:
        return Charge(lines=())
    if attempt.first_ns is None and usage.empty:
        return Charge(lines=())
    return price(
        usage,
        attempt.endpoint.pricing,
        entry.app.accounting,
        images=entry.call.images,
        hhmm=minute_of(entry.intent.accepted_ns),
        insured=is_insured(usage, finish, delivered=attempt.meter.frames > 0, cancelled=entry.cancelled),
    )


def _unanswered(entry: Entry) -> list[Charge]:
    """What the tries before the last one cost upstream, where the provider reported usage; each is told its charge."""
    charges = []
    for attempt in entry.attempts[:-1]:
        if not attempt.meter.usage.empty:
            attempt.charge = unanswered(
                attempt.meter.usage,
                attempt.endpoint.pricing,
                entry.app.accounting,
                images=entry.call.images,
                hhmm=minute_of(entry.intent.accepted_ns),
            )
            charges.append(attempt.charge)
    return charges
