"""The generation as the daybook keeps it: an intent before dispatch, an outcome at the end, amendments after.

Rows are never updated; `routebook.metering.record` folds them into the record that callers read. All times are
nanoseconds of unix time (`*_ns`), so that durations subtract exactly; money is Decimal.
The structs of a row are packed as arrays, without names: new fields go at the end, with a default, and none is ever
moved or taken out; rows of older versions then still decode.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

import msgspec

from routebook.core.call import Loss
from routebook.core.money import ZERO, Charge, PriceSheet, subtract
from routebook.core.usage import Usage


class State:
    """What a daybook row is; a generation has one INTENT and exactly one terminal row."""

    INTENT = 1
    PROGRESS = 2
    AMENDMENT = 3
    DONE = 10
    ERROR = 11
    CANCELLED = 12
    INTERRUPTED = 13
    BLOCKED = 14

    TERMINAL = frozenset({DONE, ERROR, CANCELLED, INTERRUPTED, BLOCKED})
    NAMES: ClassVar[dict[int, str]] = {10: "done", 11: "error", 12: "cancelled", 13: "interrupted", 14: "blocked"}


class Intent(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """Everything known before the first byte goes upstream."""

    id: str
    n: int
    request_id: str
    accepted_ns: int
    account: str
    key_hash: str
    api_type: str = "completions"
    requested_model: str
    streamed: bool | None = False
    model: str | None = None
    """slug of the first planned model"""
    router: str | None = None
    preset_id: str | None = None
    app_id: int | None = None
    origin: str = ""
    http_referer: str | None = None
    user_agent: str | None = None
    external_user: str | None = None
    session_id: str | None = None
    workspace_id: str | None = None
    data_region: str = "global"
    num_media_prompt: int = 0
    num_input_audio_prompt: int = 0
    prompt_bytes: int = 0
    hold: Decimal | None = None
    """USD reserved for this call; None where nobody could say what it may cost"""
    held_key: bool = False
    """the hold counts against a key's limit"""
    endpoint_id: str | None = None
    """first planned endpoint"""
    provider_name: str | None = None
    pricing: PriceSheet | None = None
    """price sheet of that endpoint, so that an orphan can be estimated after a crash"""


class AttemptRow(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """One try at one endpoint; children of the record."""

    provider_name: str
    provider_slug: str
    model: str
    endpoint_id: str
    status: int | None = None
    """HTTP status the provider answered with; None if there was no HTTP answer"""
    upstream_id: str | None = None
    is_byok: bool = False
    started_ns: int = 0
    sent_ns: int | None = None
    head_ns: int | None = None
    first_ns: int | None = None
    """first content event"""
    ended_ns: int | None = None
    error: str | None = None
    """kind of fault, None for the attempt that answered"""
    message: str | None = None
    raw: str | None = None
    """provider's error body, at most 2 KiB"""
    usage: Usage | None = None
    charge: Charge | None = None
    as_outcome: bool = False
    """usage and charge are the outcome's own and not written a second time; folding fills them in"""


class Progress(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """How far an open stream was at the last sweep: what an orphan's estimate starts from."""

    at_ns: int
    model: str
    provider_name: str
    endpoint_id: str
    upstream_id: str | None = None
    frames: int = 0
    delivered_bytes: int = 0
    usage: Usage | None = None
    pricing: PriceSheet | None = None
    hold: Decimal | None = None
    """USD reserved by now, where that is not what the intent says"""


class Outcome(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """How the call ended; written exactly once, before the caller has the last byte."""

    ended_ns: int
    model: str | None = None
    """slug of the model that answered; None if none did"""
    provider_name: str | None = None
    charge: Charge = Charge()
    is_byok: bool = False
    provider_slug: str | None = None
    endpoint_id: str | None = None
    upstream_id: str | None = None
    upstream_model: str | None = None
    upstream_provider: str | None = None
    """who served it, where the upstream is a router itself"""
    service_tier: str | None = None
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    cancelled: bool = False
    usage: Usage = Usage()
    usage_source: str = "none"
    """provider, estimated, drained, none"""
    attempts: tuple[AttemptRow, ...] = ()
    moderation_ns: int | None = None
    num_media_completion: int = 0
    num_search_results: int | None = None
    num_fetches: int | None = None
    web_search_engine: str | None = None
    delivered_frames: int = 0
    delivered_bytes: int = 0
    """UTF-8 bytes of text, reasoning and tool arguments the caller was sent"""
    losses: tuple[Loss, ...] = ()
    error: dict[str, Any] | None = None
    """{status, type, message} as the caller was told"""
    response_cache_source_id: str | None = None
    interrupted: bool = False
    hold: Decimal | None = None
    """USD that were reserved at the end, where that is not what the intent says"""


class Revision(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """An ended call's charge computed anew. Written in a daybook of its own, so it names the call it is about."""

    id: str
    daybook: str
    n: int
    """the call: its id, and its place in the daybook that wrote it"""
    number: int
    """1 for the first revision; what the outcome says is number 0"""
    at_ns: int
    account: str
    key_hash: str
    accepted_ns: int
    """the call's, so that the difference is posted to the day the call was posted to"""
    is_byok: bool = False
    before: Decimal
    """USD, the total of the charge that this one replaces"""
    upstream_before: Decimal | None = None
    charge: Charge

    @property
    def difference(self) -> Decimal:
        """USD to be posted to the account; negative where the call got cheaper."""
        return subtract(self.charge.total, self.before)

    @property
    def byok_difference(self) -> Decimal:
        """USD at list price on the caller's own key, as `difference`."""
        return subtract(self.charge.upstream or ZERO, self.upstream_before or ZERO) if self.is_byok else ZERO


class Amendment(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """Something learnt after the end; later rows win field by field."""

    at_ns: int
    tokens_prompt: int | None = None
    tokens_completion: int | None = None
    reference_tokenizer: str | None = None
    revision: Revision | None = None


class Row(msgspec.Struct, frozen=True):
    """One daybook row as stored."""

    seq: int
    n: int
    id: str
    state: int
    blob: bytes


class Folded(msgspec.Struct, frozen=True):
    """All rows of one call number, folded."""

    seq: int
    """daybook sequence of the last row"""
    intent: Intent
    progress: Progress | None = None
    outcome: Outcome | None = None
    """None while the call is open"""
    state: int | None = None
    """terminal state, None while open"""
    amendments: tuple[Amendment, ...] = ()
    """those of other daybooks, which are in the store alone, after the call's own"""

    @property
    def hold(self) -> Decimal | None:
        """USD reserved for the call, as far as is known: it may have grown since the intent."""
        if self.outcome is not None and self.outcome.hold is not None:
            return self.outcome.hold
        if self.progress is not None and self.progress.hold is not None:
            return self.progress.hold
        return self.intent.hold

    @property
    def revisions(self) -> tuple[Revision, ...]:
        """Of the charge, oldest first."""
        if not self.amendments:
            return ()
        found = [each.revision for each in self.amendments if each.revision is not None]
        return tuple(sorted(found, key=lambda each: each.number))
