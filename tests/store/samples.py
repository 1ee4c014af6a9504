"""Ended calls for stores: a sheet as the shipper would make it, and what the store should say of its calls."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from routebook.core.generation import Folded, Intent, Outcome, Progress, State
from routebook.core.ids import generation_id, locate
from routebook.core.money import Charge
from routebook.store import sheets
from routebook.store.port import Kind, Sheet, Stored
from routebook.wire.codec import pack

KEY = "a" * 64


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One ended call of a test. The id names it unless the test says otherwise."""

    n: int
    daybook: str = "aaa"
    account: str = "default"
    key_hash: str = KEY
    model: str = "m/one"
    provider: str | None = None
    total: str = "1"
    byok: str | None = None
    accepted_ns: int = 0
    finish: str = "stop"
    progress: bool = False
    id: str = ""

    @property
    def name(self) -> str:
        return self.id or generation_id(1790000000, "abcdefghijk", self.daybook, self.n)

    @property
    def at(self) -> int:
        return self.accepted_ns or 1_000 + self.n

    @property
    def folded(self) -> Folded:
        intent = Intent(
            id=self.name,
            n=self.n,
            request_id=f"req-{self.n}",
            accepted_ns=self.at,
            account=self.account,
            key_hash=self.key_hash,
            requested_model=self.model,
        )
        outcome = Outcome(
            ended_ns=self.at + 5,
            provider_name=self.provider,
            charge=Charge(total=Decimal(self.total), upstream=None if self.byok is None else Decimal(self.byok)),
            is_byok=self.byok is not None,
            finish_reason=self.finish,
        )
        progress = Progress(at_ns=self.at + 1, model=self.model, provider_name="P", endpoint_id="e", frames=self.n)
        return Folded(2 * self.n, intent, progress if self.progress else None, outcome, State.DONE)


def call(n: int, **fields: Any) -> Call:
    return Call(n=n, **fields)


def sheet(*calls: Call) -> Sheet:
    """These calls, which are of one daybook."""
    folds = [each.folded for each in calls]
    return Sheet(
        n=[each.n for each in calls],
        seq=[fold.seq for fold in folds],
        accepted_ns=[each.at for each in calls],
        kind=[Kind(each.account, each.key_hash, each.model, each.provider) for each in calls],
        state=[State.DONE] * len(calls),
        total=[each.total for each in calls],
        byok=[each.byok for each in calls],
        intents=sheets.row_of([pack(fold.intent) for fold in folds]),
        outcomes=sheets.row_of([pack(fold.outcome) for fold in folds]),
        progress={slot: pack(fold.progress) for slot, fold in enumerate(folds) if fold.progress is not None},
        odd_ids={slot: each.name for slot, each in enumerate(calls) if locate(each.name) != (each.daybook, each.n)},
    )


def batch(calls: Sequence[Call]) -> list[Sheet]:
    """Any number of calls in as many sheets as they need."""
    return [sheet(*calls[start : start + 64]) for start in range(0, len(calls), 64)]


def stored(each: Call) -> Stored:
    """What the store should give for it."""
    return Stored(
        id=each.name,
        daybook=each.daybook,
        n=each.n,
        accepted_ns=each.at,
        account=each.account,
        key_hash=each.key_hash,
        model=each.model,
        provider=each.provider,
        state=State.DONE,
        total=Decimal(each.total),
        folded=pack(each.folded),
    )
