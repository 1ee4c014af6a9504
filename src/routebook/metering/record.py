"""The generation record: everything a daybook says of one call, as the `data` object of `GET /generation`. Pure.

Source of every field: generation record, sections 2, 3 and 6; where that document leaves a choice, docs/decisions/
says which was taken. All durations are milliseconds, whole ones as int, others with at most three decimals. Money of
the API's own fields is Decimal (a JSON number, digit for digit); below `routebook` it is text, so that no reader
rounds it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import msgspec

from routebook.core.call import Loss
from routebook.core.generation import AttemptRow, Folded, Intent, Outcome, State
from routebook.core.ids import locate
from routebook.core.money import ZERO, Charge, plain
from routebook.core.usage import Usage
from routebook.metering.estimate import tokens_of
from routebook.metering.revision import charge_of, hidden_spend
from routebook.wire import codec

Latency = Literal["total", "first_token"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOTHING = Outcome(ended_ns=0)


def record(folded: Folded, latency: Latency = "total") -> dict[str, Any]:
    """The record with all keys, null where nothing is known. An open call has one too; its `routebook.outcome` is
    `open`, and its money is 0 because nothing is charged yet."""
    intent, end = folded.intent, folded.outcome
    known = end or _NOTHING
    charge = charge_of(folded)
    data = _identity(folded, intent, known)
    data |= {
        "streamed": intent.streamed,
        "cancelled": None if end is None else end.cancelled,
        "finish_reason": known.finish_reason,
        "native_finish_reason": known.native_finish_reason,
        "service_tier": known.service_tier,
        "provider_responses": [_response(row) for row in known.attempts] or None,
        "latency": None if end is None else _latency(intent, end, latency),
        "moderation_latency": _ms(known.moderation_ns),
        "generation_time": _generation_time(winner(known)),
    }
    data |= _counts(folded, intent, end)
    data |= {
        "total_cost": _number(charge.total),
        "usage": _number(charge.total),
        "upstream_inference_cost": _optional(charge.upstream),
        "cache_discount": _optional(charge.cache_discount),
        "routebook": _own(folded, intent, end),
    }
    return data


def winner(outcome: Outcome) -> AttemptRow | None:
    """The attempt that answered; else the last one that produced content before it failed; None if none did."""
    for row in reversed(outcome.attempts):
        if row.error is None:
            return row
    for row in reversed(outcome.attempts):
        if row.first_ns is not None:
            return row
    return None


def state_name(folded: Folded) -> str:
    """`open`, `done`, `error`, `cancelled`, `interrupted` or `blocked`."""
    return "open" if folded.state is None else State.NAMES[folded.state]


def _identity(folded: Folded, intent: Intent, end: Outcome) -> dict[str, Any]:
    running = folded.progress.model if folded.progress is not None and folded.outcome is None else None
    return {
        "id": intent.id,
        "request_id": intent.request_id,
        "upstream_id": end.upstream_id,
        "created_at": _moment(intent.accepted_ns),
        "model": end.model or running or intent.model or intent.requested_model,
        "router": intent.router,
        "preset_id": intent.preset_id,
        "provider_name": end.provider_name,
        "api_type": intent.api_type,
        "app_id": intent.app_id,
        "origin": intent.origin,
        "http_referer": intent.http_referer,
        "user_agent": intent.user_agent,
        "external_user": intent.external_user,
        "session_id": intent.session_id,
        "workspace_id": intent.workspace_id,
        "data_region": intent.data_region,
        "response_cache_source_id": end.response_cache_source_id,
        "is_byok": end.is_byok,
    }


def _counts(folded: Folded, intent: Intent, end: Outcome | None) -> dict[str, Any]:
    usage = Usage() if end is None else end.usage
    prompt, completion, _ = _reference(folded)
    return {
        "tokens_prompt": usage.prompt if prompt is None else prompt,
        "tokens_completion": usage.completion if completion is None else completion,
        "native_tokens_prompt": usage.prompt,
        "native_tokens_completion": usage.completion,
        "native_tokens_reasoning": usage.reasoning,
        "native_tokens_cached": usage.cached,
        "native_tokens_completion_images": usage.image_completion,
        "num_media_prompt": intent.num_media_prompt,
        "num_input_audio_prompt": intent.num_input_audio_prompt,
        "num_media_completion": None if end is None else end.num_media_completion,
        "num_search_results": None if end is None else end.num_search_results,
        "num_fetches": None if end is None else end.num_fetches,
        "web_search_engine": None if end is None else end.web_search_engine,
    }


def _reference(folded: Folded) -> tuple[int | None, int | None, str | None]:
    """(prompt, completion, tokenizer) of the amendments, later ones winning field by field."""
    prompt = completion = tokenizer = None
    for row in folded.amendments:
        prompt = row.tokens_prompt if row.tokens_prompt is not None else prompt
        completion = row.tokens_completion if row.tokens_completion is not None else completion
        tokenizer = row.reference_tokenizer or tokenizer
    return prompt, completion, tokenizer


def _response(row: AttemptRow) -> dict[str, Any]:
    """One item of provider_responses: `status` always, the others only where known (the schema has no null there)."""
    begun = row.sent_ns or row.started_ns
    until = row.first_ns or row.head_ns if row.error is None else None
    known: dict[str, Any] = {
        "provider_name": row.provider_name,
        "model_permaslug": row.model,
        "endpoint_id": row.endpoint_id,
        "id": row.upstream_id,
        "latency": _between(begun, until or row.ended_ns),
        "is_byok": row.is_byok,
    }
    return {"status": row.status} | {name: value for name, value in known.items() if value is not None}


def _latency(intent: Intent, end: Outcome, reading: Latency) -> int | float | None:
    if reading == "total":
        return _between(intent.accepted_ns, end.ended_ns)
    answered = winner(end)
    return None if answered is None else _between(intent.accepted_ns, answered.first_ns)


def _generation_time(answered: AttemptRow | None) -> int | float | None:
    return None if answered is None else _between(answered.sent_ns, answered.ended_ns)


def _own(folded: Folded, intent: Intent, end: Outcome | None) -> dict[str, Any]:
    """Our additions, under one key."""
    known = end or _NOTHING
    charge = charge_of(folded)
    answered = winner(known)
    place = locate(intent.id)
    _, _, tokenizer = _reference(folded)
    upstream = {"model": known.upstream_model, "provider": known.upstream_provider}
    frames, size = known.delivered_frames, known.delivered_bytes
    if end is None and folded.progress is not None:
        frames, size = folded.progress.frames, folded.progress.delivered_bytes
    return {
        "outcome": state_name(folded),
        "requested_model": intent.requested_model,
        "usage_source": None if end is None else end.usage_source,
        "reference_tokens": tokenizer or "native",
        "counts": _reported(known.usage),
        "provider_usage": _provider_usage(known.usage.raw),
        **_money(folded, charge),
        "hidden_retry_spend": None if end is None else _text(hidden_spend(end, answered)),
        "revision": len(folded.revisions),
        "revisions": _revisions(folded),
        "marks": _marks(intent, end),
        "attempts": [_attempt(intent, row, answered) for row in known.attempts],
        "losses": [_loss(loss) for loss in known.losses],
        "delivered": {"frames": frames, "bytes": size},
        "completion": None if end is None else _completion(end, charge),
        "error": known.error,
        "upstream": upstream,
        "daybook": None if place is None else {"name": place[0], "n": intent.n, "seq": folded.seq},
    }


def _completion(end: Outcome, charge: Charge) -> dict[str, int | None]:
    """The answer's tokens three times: what the caller had of them, what was made, and what the charge is for.

    They differ where a call was cancelled: what was delivered is then counted from its frames and bytes.
    """
    made = end.usage.completion
    had = made
    if end.cancelled:
        had = tokens_of(end.delivered_bytes, end.delivered_frames)
        had = had if made is None else min(had, made)
    billed = None if charge.unpriced else 0 if charge.insured or not charge.lines else made
    return {"delivered": had, "generated": made, "billed": billed}


def _provider_usage(raw: bytes | None) -> Any:
    """The provider's own object; as text where a member that nobody counts is not what JSON allows."""
    if raw is None:
        return None
    try:
        return codec.decode_exact(raw)
    except codec.DecodeError:
        return raw.decode("utf-8", "replace")


def _money(folded: Folded, charge: Charge) -> dict[str, Any]:
    hold, charged = folded.hold, ZERO if folded.outcome is None else folded.outcome.charge.total
    return {
        "lines": None if folded.outcome is None else _lines(charge),
        "price_source": charge.price_source,
        "price_revision": charge.price_revision,
        "upstream_prompt_cost": _text(charge.upstream_prompt),
        "upstream_completion_cost": _text(charge.upstream_completion),
        "unpriced": charge.unpriced,
        "insured": charge.insured,
        "hold": _text(hold),
        "over_hold": hold is not None and charged > hold,
    }


def _lines(charge: Charge) -> list[dict[str, Any]] | None:
    if charge.lines is None:
        return None
    return [
        {
            "item": line.item,
            "count": line.count,
            "rate": _text(line.rate),
            "amount": plain(line.amount),
            "note": line.note,
        }
        for line in charge.lines
    ]


def _revisions(folded: Folded) -> list[dict[str, Any]]:
    """Every charge the call ever had, oldest first, the newest one in force; empty for a call never priced anew."""
    revisions = folded.revisions
    if folded.outcome is None or not revisions:
        return []
    charges = [(0, folded.outcome.ended_ns, folded.outcome.charge)]
    charges += [(each.number, each.at_ns, each.charge) for each in revisions]
    return [
        {
            "revision": number,
            "at": _moment(at_ns),
            "total_cost": plain(charge.total),
            "upstream_inference_cost": _text(charge.upstream),
            "cache_discount": _text(charge.cache_discount),
            "unpriced": charge.unpriced,
            "price_source": charge.price_source,
            "price_revision": charge.price_revision,
            "lines": _lines(charge),
        }
        for number, at_ns, charge in charges
    ]


def _marks(intent: Intent, end: Outcome | None) -> dict[str, Any]:
    """Milliseconds after accept, of the attempt that answered or else of the last one; `moderation` is a duration."""
    if end is None:
        return {}
    row = winner(end) or (end.attempts[-1] if end.attempts else None)
    moments = {"ended": end.ended_ns}
    if row is not None:
        found = {
            "dispatch": row.sent_ns,
            "headers": row.head_ns,
            "first_token": row.first_ns,
            "last_byte": row.ended_ns,
        }
        moments = {name: at for name, at in found.items() if at is not None} | moments
    marks = {name: _between(intent.accepted_ns, at) for name, at in moments.items()}
    return marks if end.moderation_ns is None else {"moderation": _ms(end.moderation_ns)} | marks


def _attempt(intent: Intent, row: AttemptRow, answered: AttemptRow | None) -> dict[str, Any]:
    """One try. What the record itself says of the one that answered (usage object, lines) is not said twice."""
    in_vain = row is not answered
    start = intent.accepted_ns
    charge = row.charge
    return {
        "provider_name": row.provider_name,
        "provider": row.provider_slug,
        "model": row.model,
        "endpoint_id": row.endpoint_id,
        "status": row.status,
        "upstream_id": row.upstream_id,
        "is_byok": row.is_byok,
        "error": row.error,
        "message": row.message,
        "marks": {
            "started": _between(start, row.started_ns or None),
            "dispatch": _between(start, row.sent_ns),
            "headers": _between(start, row.head_ns),
            "first_token": _between(start, row.first_ns),
            "ended": _between(start, row.ended_ns),
        },
        "counts": None if row.usage is None else _reported(row.usage),
        "provider_usage": _provider_usage(row.usage.raw) if in_vain and row.usage is not None else None,
        "lines": _lines(charge) if in_vain and charge is not None else None,
        "total_cost": None if charge is None or charge.unpriced else plain(charge.total),
        "upstream_inference_cost": None if charge is None else _text(charge.upstream),
    }


def _moment(at_ns: int) -> str:
    return (_EPOCH + timedelta(microseconds=at_ns // 1000)).isoformat(timespec="microseconds")


def _loss(loss: Loss) -> dict[str, Any]:
    told: dict[str, Any] = {"parameter": loss.parameter, "detail": loss.detail}
    return {**told, "mapped": True} if loss.mapped else told


def _reported(usage: Usage) -> dict[str, int]:
    """The counts that the provider gave, by name; those it did not give are absent."""
    known = msgspec.structs.asdict(usage)
    return {name: count for name, count in known.items() if name != "raw" and count is not None}


def _number(value: Decimal) -> Decimal:
    """Without trailing zeros, so that it reads as a price and not as an artefact of the arithmetic."""
    return Decimal(plain(value)) if value else ZERO


def _optional(value: Decimal | None) -> Decimal | None:
    return None if value is None else _number(value)


def _text(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)


def _between(start_ns: int | None, end_ns: int | None) -> int | float | None:
    return None if start_ns is None or end_ns is None else _ms(end_ns - start_ns)


def _ms(ns: int | None) -> int | float | None:
    if ns is None:
        return None
    whole, rest = divmod(ns // 1000, 1000)
    return whole if not rest else (whole * 1000 + rest) / 1000
