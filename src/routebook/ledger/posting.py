"""From a call's rows to what the store keeps of it: one generation, and one posting to its key's day. Pure."""

from __future__ import annotations

from decimal import Decimal

from routebook.core.generation import Folded, Intent, Outcome
from routebook.core.money import ZERO
from routebook.ledger.windows import day_number, day_text
from routebook.store.port import Posting, Stored
from routebook.wire.codec import pack


def byok_spend(outcome: Outcome) -> Decimal:
    """What the call cost on the caller's own provider key, at list price; 0 for any other call.

    Source: generation record, section 4.4 (these counters take the list price, not the fee).
    """
    if not outcome.is_byok or outcome.charge.upstream is None:
        return ZERO
    return outcome.charge.upstream


def posting_of(intent: Intent, outcome: Outcome) -> Posting:
    """The spend of one ended call, on the UTC day it was accepted on."""
    return Posting(
        key_hash=intent.key_hash,
        account=intent.account,
        day=day_text(day_number(intent.accepted_ns)),
        usage=outcome.charge.total,
        byok=byok_spend(outcome),
    )


def stored_of(daybook: str, folded: Folded) -> Stored:
    """The generation as the store keeps it. ValueError for a call that is still open."""
    intent, outcome = folded.intent, folded.outcome
    if outcome is None or folded.state is None:
        raise ValueError(f"{intent.id} is still open")
    return Stored(
        id=intent.id,
        daybook=daybook,
        n=intent.n,
        accepted_ns=intent.accepted_ns,
        account=intent.account,
        key_hash=intent.key_hash,
        model=outcome.model or intent.model or intent.requested_model,
        provider=outcome.provider_name,
        state=folded.state,
        total=outcome.charge.total,
        folded=pack(folded),
    )
