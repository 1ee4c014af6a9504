"""Charges that are made a second time, and tries that were paid for in vain. Pure.

A charge is never changed; it gets a successor (`core.generation.Revision`), and the newest one is in force. What is
kept when a call is priced anew, and what is not: docs/decisions/0016-repricing.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

from msgspec.structs import replace

from routebook.core.catalog import Accounting
from routebook.core.generation import AttemptRow, Folded, Intent, Outcome
from routebook.core.money import ZERO, Charge, Line, PriceSheet, add, subtract, tidy
from routebook.core.usage import Usage
from routebook.metering.pricing import is_insured, is_priced, price

MINUTE_NS = 60 * 10**9

Sheets = Callable[[str, str], PriceSheet | None]
"""(endpoint id, model slug) -> the sheet that held when the call was accepted; None if there is none"""


def charge_of(call: Folded) -> Charge:
    """The charge in force: that of the newest revision, else the one the call ended with; none yet while it is open."""
    revisions = call.revisions
    if revisions:
        return revisions[-1].charge
    return Charge() if call.outcome is None else call.outcome.charge


def with_revisions(call: Folded, stored: Folded) -> Folded:
    """The call as its daybook has it, with the revisions that only the store's copy of it knows."""
    known = {each.number for each in call.revisions}
    new = tuple(each for each in stored.amendments if each.revision is not None and each.revision.number not in known)
    return replace(call, amendments=call.amendments + new) if new else call


def unanswered(usage: Usage, sheet: PriceSheet | None, accounting: Accounting, *, images: int, hhmm: int) -> Charge:
    """What a try that did not answer cost: its provider's price in `upstream`, and nothing for the account.

    Source: generation record, section 6.2 (the record's cost is that of the attempt that answered).
    """
    charge = price(usage, sheet, accounting, images=images, hhmm=hhmm)
    if charge.lines is None:
        return charge
    lines = charge.lines
    if charge.total:
        lines = (*lines, Line("unanswered", charge.total.copy_negate(), note="this try did not answer: not charged"))
    return replace(charge, total=ZERO, cache_discount=None, lines=lines)


def with_unanswered(own: Charge, others: Iterable[Charge]) -> Charge:
    """The call's charge: that of its last try, and the upstream cost of all. One that is unknown makes the sum unknown.

    Gives `own` itself where there are no others.
    """
    upstream, prompt, completion = own.upstream, own.upstream_prompt, own.upstream_completion
    if own.lines == ():
        upstream = prompt = completion = ZERO  # the last try cost nothing, which is not the same as unknown
    found = False
    for other in others:
        found = True
        upstream = _sum(upstream, other.upstream)
        prompt = _sum(prompt, other.upstream_prompt)
        completion = _sum(completion, other.upstream_completion)
    if not found:
        return own
    return replace(own, upstream=upstream, upstream_prompt=prompt, upstream_completion=completion)


def hidden_spend(outcome: Outcome, answered: AttemptRow | None) -> Decimal | None:
    """What providers charge for the tries that did not answer, as far as they reported usage; None if a price is
    missing."""
    total: Decimal | None = ZERO
    for row in outcome.attempts:
        if row is not answered and row.charge is not None and row.charge.lines != ():
            total = _sum(total, row.charge.upstream)
    return total


def minute_of(accepted_ns: int) -> int:
    """The UTC time of day as HHMM, which prices with a window of hours ask for."""
    hour, minute = divmod(accepted_ns // MINUTE_NS % 1440, 60)
    return hour * 100 + minute


def price_again(call: Folded, sheets: Sheets, accounting: Accounting) -> Charge | None:
    """The charge of an ended call by other price sheets; None where nothing was sent or no price is known.

    Usage, insurance, the cap of an interrupted call, and the markup and fee it was charged with stay as they are; an
    unpriced call has no markup yet and gets the present one.
    """
    outcome = call.outcome
    old = charge_of(call)
    if outcome is None or (old.lines == () and not old.unpriced):
        return None
    sheet = sheets(*_place(call.intent, outcome))
    if sheet is None or not is_priced(sheet):
        return None
    rules = accounting if old.lines is None else _rules_of(old)
    hhmm, images = minute_of(call.intent.accepted_ns), _images(call.intent, old)
    charge = price(
        outcome.usage,
        sheet,
        rules,
        images=images,
        hhmm=hhmm,
        is_byok=outcome.is_byok,
        insured=_insured(outcome) if old.lines is None else old.insured,
    )
    hold = call.hold
    if outcome.interrupted and hold is not None and charge.total > hold:
        capped = Line("hold", subtract(hold, charge.total), note="interrupted: never charged above the call's hold")
        charge = replace(charge, total=tidy(hold), cache_discount=None, lines=(*(charge.lines or ()), capped))
    others = []
    for row in outcome.attempts[:-1]:
        if row.charge is not None and row.usage is not None:
            known = sheets(row.endpoint_id, row.model)
            others.append(
                row.charge if known is None else unanswered(row.usage, known, rules, images=images, hhmm=hhmm)
            )
    return with_unanswered(charge, others)


def differs(old: Charge, new: Charge) -> bool:
    """True if any amount is another one; names and dates of price lists, and notes, do not count."""
    return _amounts(old) != _amounts(new)


def _amounts(charge: Charge) -> tuple[object, ...]:
    lines = None
    if charge.lines is not None:
        lines = tuple((line.item, line.count, line.rate, line.amount) for line in charge.lines)
    parts = (charge.upstream, charge.upstream_prompt, charge.upstream_completion, charge.cache_discount)
    return (charge.total, *parts, charge.unpriced, lines)


def _place(intent: Intent, outcome: Outcome) -> tuple[str, str]:
    """(endpoint, model) whose prices the call was charged by."""
    if outcome.attempts:
        return outcome.attempts[-1].endpoint_id, outcome.attempts[-1].model
    return outcome.endpoint_id or intent.endpoint_id or "", outcome.model or intent.model or intent.requested_model


def _rules_of(charge: Charge) -> Accounting:
    rates = {line.item: line.rate for line in charge.lines or () if line.rate is not None}
    return Accounting(markup=rates.get("markup", ZERO), byok_fee=rates.get("byok_fee", ZERO))


def _images(intent: Intent, charge: Charge) -> int:
    for line in charge.lines or ():
        if line.item == "image" and line.count is not None:
            return line.count
    return intent.num_media_prompt


def _insured(outcome: Outcome) -> bool:
    delivered = outcome.delivered_frames > 0 or bool(outcome.usage.completion)
    return is_insured(outcome.usage, outcome.finish_reason, delivered=delivered, cancelled=outcome.cancelled)


def _sum(left: Decimal | None, right: Decimal | None) -> Decimal | None:
    return None if left is None or right is None else add(left, right)
