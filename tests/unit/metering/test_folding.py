"""What an attempt leaves to the outcome is filled in when rows become a call again, from the daybook and the store."""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from routebook.core.generation import AttemptRow, Intent, Outcome, Row, State
from routebook.core.money import Charge
from routebook.core.usage import Usage
from routebook.metering.folding import fold, unfold
from routebook.wire.codec import pack

INTENT = Intent(
    id="gen-1-x", n=7, request_id="req-1", accepted_ns=1, account="a", key_hash="k", requested_model="m"
)  # fmt: skip
FAILED = AttemptRow(
    provider_name="A", provider_slug="a", model="m", endpoint_id="e", error="UpstreamLost", usage=Usage(prompt=3)
)
ANSWERED = AttemptRow(provider_name="B", provider_slug="b", model="m", endpoint_id="f", as_outcome=True)
OUTCOME = Outcome(
    ended_ns=2,
    usage=Usage(prompt=5, completion=2, raw=b"{}"),
    charge=Charge(total=Decimal("0.5")),
    attempts=(FAILED, ANSWERED),
)


def test_the_attempt_that_answered_has_the_outcomes_usage_and_charge() -> None:
    call = fold([Row(1, 7, "gen-1-x", State.INTENT, pack(INTENT)), Row(2, 7, "gen-1-x", State.DONE, pack(OUTCOME))])

    assert call is not None
    assert call.outcome is not None
    failed, answered = call.outcome.attempts
    assert failed == FAILED
    assert (answered.usage, answered.charge) == (OUTCOME.usage, OUTCOME.charge)


def test_the_store_gives_the_same_call_whether_it_was_whole_or_not_when_it_was_put_there() -> None:
    call = fold([Row(1, 7, "gen-1-x", State.INTENT, pack(INTENT)), Row(2, 7, "gen-1-x", State.DONE, pack(OUTCOME))])
    assert call is not None

    assert unfold(pack(call)) == unfold(pack(replace(call, outcome=OUTCOME))) == call
