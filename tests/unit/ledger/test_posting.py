"""Moving a call's blobs into the store gives what folding and packing them again would give."""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from routebook.core.generation import Amendment, Intent, Outcome, Progress, Row, State
from routebook.core.money import Charge
from routebook.ledger.posting import posting_of, shipped_of, stored_of
from routebook.metering.folding import fold, unfold
from routebook.wire.codec import pack

INTENT = Intent(
    id="gen-1-x", n=7, request_id="req-1", accepted_ns=1_772_625_600 * 10**9, account="a", key_hash="k",
    requested_model="m/asked", model="m/planned",
)  # fmt: skip
OUTCOME = Outcome(
    ended_ns=2, model="m/used", provider_name="Acme", charge=Charge(total=Decimal("0.0015"), upstream=Decimal("0.0012"))
)


def rows_of(*parts: tuple[int, Intent | Outcome | Progress | Amendment]) -> list[Row]:
    return [Row(10 + place, 7, "gen-1-x", state, pack(part)) for place, (state, part) in enumerate(parts)]


def check(rows: list[Row]) -> None:
    folded = fold(rows)
    assert folded is not None
    assert folded.outcome is not None
    moved = shipped_of("ABC", rows)
    assert moved is not None
    stored, posting = moved
    made = stored_of("ABC", folded)
    assert unfold(stored.folded) == unfold(made.folded) == folded
    assert replace(stored, folded=b"") == replace(made, folded=b"")
    assert posting == posting_of(folded.intent, folded.outcome)


def test_an_ended_call_is_moved_as_it_would_be_made() -> None:
    check(rows_of((State.INTENT, INTENT), (State.DONE, OUTCOME)))


def test_so_is_one_with_progress_and_amendments() -> None:
    progress = Progress(at_ns=1, model="m", provider_name="p", endpoint_id="e", frames=3)
    amendment = Amendment(at_ns=3, tokens_prompt=5)
    check(
        rows_of(
            (State.INTENT, INTENT),
            (State.PROGRESS, progress),
            (State.PROGRESS, replace(progress, frames=9)),
            (State.CANCELLED, OUTCOME),
            (State.AMENDMENT, amendment),
        )
    )


def test_so_is_one_on_the_callers_own_key_and_one_without_an_answer() -> None:
    check(rows_of((State.INTENT, INTENT), (State.DONE, replace(OUTCOME, is_byok=True))))
    check(rows_of((State.INTENT, INTENT), (State.ERROR, Outcome(ended_ns=2))))


def test_a_call_whose_intent_is_elsewhere_cannot_be_moved() -> None:
    assert shipped_of("ABC", rows_of((State.DONE, OUTCOME))) is None
    assert shipped_of("ABC", rows_of((State.INTENT, INTENT))) is None
