"""Step 8: close the call. Usage, charge and outcome are decided, made durable, posted; only then ends the answer.

Always runs, exactly once: after success, fault, cancel and shutdown.
"""

from __future__ import annotations

from datetime import UTC, datetime

from routebook.core.call import Loss
from routebook.core.errors import ClientGone, Fault, Forbidden, Internal
from routebook.core.generation import Outcome, State
from routebook.core.money import ZERO, Charge
from routebook.core.usage import Usage
from routebook.corridor.attempt import Attempt
from routebook.corridor.entry import Entry
from routebook.dialects.base import Receipt
from routebook.metering.estimate import estimate
from routebook.metering.pricing import is_insured, price
from routebook.observe.clock import NS
from routebook.observe.log import log


async def settle(entry: Entry, error: BaseException | None) -> None:
    """`error` is what ended the call, None for a good end. The answer's last byte waits for the record."""
    app, answer = entry.app, entry.answer
    fault = _told(error)
    if not entry.written:
        entry.settled = True
        app.entries.discard(entry)
        app.book.release(entry.held.hold)
        answer.refuse(fault or Internal())
        return
    in_band = False
    if fault is not None and not entry.cancelled:
        attempt = entry.current
        served = attempt.endpoint if attempt is not None and attempt.first_ns is not None else None
        in_band = answer.fail(fault, entry.stamp(served), app.now_ns())
    outcome, state = _outcome(entry, error, fault)
    entry.settled = True
    try:
        await app.daybook.close(entry.intent.id, entry.intent.n, state, outcome)
    except Fault as unwritten:
        # The book could not be written: the caller gets no end mark, so that nobody takes this for a settled call.
        log.error("the outcome of %s could not be written: %s", entry.intent.id, unwritten.message)
        app.book.settle(entry.held.hold, outcome.charge.total, ZERO)
        app.entries.discard(entry)
        answer.refuse(unwritten)
        return
    app.book.settle(entry.held.hold, outcome.charge.total, ZERO)
    app.entries.discard(entry)
    app.metrics.settled(entry.intent, outcome, state)
    if entry.cancelled:
        answer.drop()
    elif fault is None or in_band:
        answer.finish(Receipt(outcome.usage, outcome.charge, outcome.is_byok))
    else:
        answer.refuse(fault)
    if entry.text is not None and app.counter is not None:
        app.counter.submit(entry.intent.id, entry.intent.n, entry.call, "".join(entry.text))


def _told(error: BaseException | None) -> Fault | None:
    """What the caller is told of an error; an unexpected one is Internal, and its details stay in the log."""
    if error is None or isinstance(error, ClientGone):
        return None
    return error if isinstance(error, Fault) else Internal()


def _state(entry: Entry, error: BaseException | None) -> int:
    if entry.cancelled:
        return State.CANCELLED
    if error is None:
        return State.DONE
    return State.BLOCKED if isinstance(error, Forbidden) else State.ERROR


def _outcome(entry: Entry, error: BaseException | None, fault: Fault | None) -> tuple[Outcome, int]:
    """Everything the record will say, from what the entry knows now."""
    attempt = entry.current
    answered = attempt is not None and attempt.first_ns is not None
    usage, source = _usage(entry, attempt)
    finish = _finish_reason(entry, attempt, error)
    charge = _charge(entry, attempt, usage, finish)
    if attempt is not None:
        attempt.charge = charge
    meter = attempt.meter if attempt is not None else None
    endpoint = attempt.endpoint if attempt is not None and (answered or entry.cancelled) else None
    losses = entry.held.plan.losses
    if entry.losses is not None:
        losses += tuple(Loss(loss.parameter, loss.detail) for loss in entry.losses.items)
    outcome = Outcome(
        ended_ns=entry.app.now_ns(),
        model=endpoint.model if endpoint else None,
        provider_name=endpoint.provider.name if endpoint else None,
        provider_slug=endpoint.provider.slug if endpoint else None,
        endpoint_id=endpoint.id if endpoint else None,
        upstream_id=meter.upstream_id if meter else None,
        upstream_model=meter.upstream_model if meter else None,
        upstream_provider=meter.upstream_provider if meter else None,
        service_tier=meter.service_tier if meter else None,
        finish_reason=finish,
        native_finish_reason=meter.native_finish_reason if meter else None,
        cancelled=entry.cancelled,
        usage=usage,
        usage_source=source,
        charge=charge,
        attempts=entry.attempt_rows(),
        moderation_ns=entry.moderation_ns,
        num_media_completion=meter.media if meter else 0,
        num_search_results=usage.web_searches,
        num_fetches=usage.web_fetches,
        web_search_engine="native" if usage.web_searches else None,
        delivered_frames=meter.frames if meter else 0,
        delivered_bytes=meter.delivered_bytes if meter else 0,
        losses=losses,
        error=None if fault is None else {"status": fault.status, "type": fault.error_type, "message": fault.message},
    )
    return outcome, _state(entry, error)


def _finish_reason(entry: Entry, attempt: Attempt | None, error: BaseException | None) -> str | None:
    if entry.cancelled:
        return None
    if error is not None:
        return "error"
    return attempt.meter.finish_reason if attempt is not None else None


def _usage(entry: Entry, attempt: Attempt | None) -> tuple[Usage, str]:
    """(counts, where they come from): the provider's last report, else an estimate of what was produced."""
    if attempt is None or attempt.sent_ns is None:
        return Usage(), "none"
    meter = attempt.meter
    ended_well = meter.finished and attempt.error is None
    if meter.reported and (ended_well or meter.frames == 0):
        return meter.usage, "drained" if entry.cancelled else "provider"
    if attempt.first_ns is None and not entry.cancelled:
        # No content and an error: what the provider said of it, which is mostly nothing.
        return meter.usage, "provider" if not meter.usage.empty else "none"
    return estimate(entry.intent.prompt_bytes, meter.delivered_bytes, meter.frames, meter.usage), "estimated"


def _charge(entry: Entry, attempt: Attempt | None, usage: Usage, finish: str | None) -> Charge:
    if attempt is None or attempt.sent_ns is None:
        return Charge(lines=())
    if attempt.first_ns is None and usage.empty:
        return Charge(lines=())
    at = datetime.fromtimestamp(entry.intent.accepted_ns // NS, UTC)
    return price(
        usage,
        attempt.endpoint.pricing,
        entry.app.accounting,
        images=entry.call.media_prompt,
        hhmm=at.hour * 100 + at.minute,
        insured=is_insured(usage, finish, delivered=attempt.meter.frames > 0, cancelled=entry.cancelled),
    )
