"""From a call's rows to what the store keeps of it: one generation, and one posting to its key's day. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from routebook.core.generation import Folded, Intent, Outcome, Row, State
from routebook.core.money import ZERO
from routebook.ledger.windows import day_number, day_text
from routebook.store.port import Posting, Stored
from routebook.wire.codec import Raw, pack, unpack


def byok_spend(outcome: Outcome) -> Decimal:
    """What the call cost on the caller's own provider key, at list price; 0 for any other call.

    Source: generation record, section 4.4 (these counters take the list price, not the fee).
    """
    if not outcome.is_byok or outcome.charge.upstream is None:
        return ZERO
    return outcome.charge.upstream


class _IntentHead(msgspec.Struct, frozen=True, array_like=True):
    """The beginning of an intent, as far as the store has columns for it; what follows is carried unread."""

    id: str
    n: int
    request_id: str
    accepted_ns: int
    account: str
    key_hash: str
    api_type: str
    requested_model: str
    streamed: bool | None = False
    model: str | None = None


class _ChargeHead(msgspec.Struct, frozen=True, array_like=True):
    total: Decimal = ZERO
    upstream: Decimal | None = None


class _OutcomeHead(msgspec.Struct, frozen=True, array_like=True):
    ended_ns: int
    model: str | None = None
    provider_name: str | None = None
    charge: _ChargeHead = _ChargeHead()
    is_byok: bool = False


class _FoldedRaw(msgspec.Struct, frozen=True):
    """Packs to the bytes that `Folded` unpacks from, without reading what is inside."""

    seq: int
    intent: Raw
    progress: Raw | None
    outcome: Raw
    state: int
    amendments: tuple[Raw, ...]


def shipped_of(daybook: str, rows: Sequence[Row]) -> tuple[Stored, Posting] | None:
    """What the store keeps of a call whose rows are all here, in order; None if its intent or its outcome is not.

    Equal to `stored_of` and `posting_of` of the folded rows, at a fraction of their cost: blobs are moved, not made.
    """
    intent: bytes | None = None
    outcome: bytes | None = None
    progress: bytes | None = None
    state = 0
    amendments: list[Raw] = []
    for row in rows:
        if row.state == State.INTENT:
            intent = row.blob
        elif row.state in State.TERMINAL:
            outcome, state = row.blob, row.state
        elif row.state == State.PROGRESS:
            progress = row.blob
        else:
            amendments.append(Raw(row.blob))
    if intent is None or outcome is None:
        return None
    head, end = unpack(intent, _IntentHead), unpack(outcome, _OutcomeHead)
    total, byok = end.charge.total, end.charge.upstream if end.is_byok else None
    folded = _FoldedRaw(
        rows[-1].seq, Raw(intent), None if progress is None else Raw(progress), Raw(outcome), state, tuple(amendments)
    )
    stored = Stored(
        id=head.id,
        daybook=daybook,
        n=head.n,
        accepted_ns=head.accepted_ns,
        account=head.account,
        key_hash=head.key_hash,
        model=end.model or head.model or head.requested_model,
        provider=end.provider_name,
        state=state,
        total=total,
        folded=pack(folded),
    )
    day = day_text(day_number(head.accepted_ns))
    return stored, Posting(head.key_hash, head.account, day, total, byok or ZERO)


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
