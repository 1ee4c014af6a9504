"""What becomes of a call whose process died: an `interrupted` outcome from what was last known of it. Pure.

The provider's bill for such a call lies between this estimate and the call's hold, so the charge never passes the hold.
Usage of a call that had no progress row is unknown, and stays unknown: its counts are null, its charge is 0.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Context, Decimal, Inexact, localcontext

import msgspec

from routebook.core.catalog import Accounting
from routebook.core.generation import Folded, Intent, Outcome
from routebook.core.money import Charge, Line
from routebook.core.usage import Usage
from routebook.metering.pricing import is_insured, price


def interrupted(call: Folded, accounting: Accounting) -> Outcome:
    """The outcome of an open call that nobody will finish. It ended at its last sign of life."""
    intent, progress = call.intent, call.progress
    if progress is None:
        return Outcome(
            ended_ns=intent.accepted_ns,
            model=intent.model,
            usage_source="estimated",
            charge=_charge(intent, intent.hold, Usage(), False, accounting, known=False),
            interrupted=True,
        )
    usage = progress.usage or Usage()
    priced = intent if progress.pricing is None else msgspec.structs.replace(intent, pricing=progress.pricing)
    return Outcome(
        ended_ns=progress.at_ns,
        model=progress.model,
        provider_name=progress.provider_name,
        endpoint_id=progress.endpoint_id,
        upstream_id=progress.upstream_id,
        usage=usage,
        usage_source="estimated",
        charge=_charge(priced, call.hold, usage, progress.frames > 0, accounting, known=progress.usage is not None),
        hold=progress.hold,
        delivered_frames=progress.frames,
        delivered_bytes=progress.delivered_bytes,
        interrupted=True,
    )


def _charge(
    intent: Intent, hold: Decimal | None, usage: Usage, delivered: bool, accounting: Accounting, *, known: bool
) -> Charge:
    insured = known and is_insured(usage, None, delivered=delivered, cancelled=False)
    moment = datetime.fromtimestamp(intent.accepted_ns // 10**9, UTC)
    charge = price(
        usage,
        intent.pricing,
        accounting,
        images=intent.num_media_prompt if known else 0,
        hhmm=moment.hour * 100 + moment.minute,
        insured=insured,
    )
    if charge.lines is None or hold is None or charge.total <= hold:
        return charge
    return _capped(charge, hold)


def _capped(charge: Charge, hold: Decimal) -> Charge:
    with localcontext(Context(prec=200, traps=[Inexact])):
        excess = hold - charge.total
    line = Line("hold", excess, note="interrupted: never charged above the call's hold")
    return msgspec.structs.replace(charge, total=hold, cache_discount=None, lines=(*(charge.lines or ()), line))
