"""Moving calls' blobs into the store gives what folding and packing them again would give."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from msgspec.structs import replace

from routebook.core.generation import Amendment, Folded, Intent, Outcome, Progress, Row, State
from routebook.core.ids import generation_id
from routebook.core.money import Charge
from routebook.ledger.posting import Batch, posting_of, stored_of
from routebook.ledger.ship import Shipper
from routebook.metering.folding import fold, unfold
from routebook.store.memory import MemoryStore
from routebook.wire.codec import DecodeError, pack

INTENT = Intent(
    id=generation_id(1, "x" * 11, "ABC", 7), n=7, request_id="req-1", accepted_ns=1_772_625_600 * 10**9, account="a",
    key_hash="k", requested_model="m/asked", model="m/planned",
)  # fmt: skip
OUTCOME = Outcome(
    ended_ns=2, model="m/used", provider_name="Acme", charge=Charge(total=Decimal("0.0015"), upstream=Decimal("0.0012"))
)


def rows_of(*parts: tuple[int, Intent | Outcome | Progress | Amendment]) -> list[Row]:
    return [Row(1 + place, 7, INTENT.id, state, pack(part)) for place, (state, part) in enumerate(parts)]


class Daybook:
    name = "ABC"

    def __init__(self, rows: list[Row]) -> None:
        self.list = rows

    def rows(self, after: int, limit: int) -> list[Row]:
        return self.list[after : after + limit]

    def read(self, n: int) -> Folded | None:
        return fold(row for row in self.list if row.n == n)

    def shipped(self, seq: int) -> None:
        pass


def check(rows: list[Row]) -> None:
    folded = fold(rows)
    assert folded is not None
    outcome = folded.outcome
    assert outcome is not None

    async def moved() -> None:
        store = MemoryStore()
        await Shipper(Daybook(rows), store).ship_once()
        (stored,) = await store.generations(account=None)
        made = stored_of("ABC", folded)
        assert unfold(stored.folded) == unfold(made.folded) == folded
        assert replace(stored, folded=b"") == replace(made, folded=b"")
        (spend,) = await store.spend()
        posting = posting_of(folded.intent, outcome)
        assert (spend.key_hash, spend.account, spend.day) == (posting.key_hash, posting.account, posting.day)
        assert (spend.usage, spend.byok, spend.requests) == (posting.usage, posting.byok, 1)

    asyncio.run(moved())


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
    check(rows_of((State.INTENT, INTENT), (State.DONE, replace(OUTCOME, is_byok=True, charge=Charge()))))
    check(rows_of((State.INTENT, INTENT), (State.ERROR, Outcome(ended_ns=2))))
    check(rows_of((State.INTENT, replace(INTENT, model=None)), (State.ERROR, Outcome(ended_ns=2))))


@pytest.mark.parametrize("id", ["gen-1", INTENT.id.replace("ABC", "ABD"), INTENT.id[:-1] + "8", INTENT.id[:-3] + "107"])
def test_so_is_one_whose_id_does_not_name_its_place(id: str) -> None:
    check(rows_of((State.INTENT, replace(INTENT, id=id)), (State.DONE, OUTCOME)))
    batch = Batch("ABC")
    end = rows_of((State.DONE, OUTCOME))
    batch.add(end, [pack(replace(INTENT, id=id))], {})
    batch.add(end, [pack(INTENT)], {})
    batch.finish({})
    assert batch.sheets[0].odd_ids == {0: id}


@pytest.mark.parametrize(("amount", "text"), [("1E-9", "0.000000001"), ("0.00150", "0.00150"), ("2E+3", "2000")])
def test_money_is_carried_as_plain_text_to_the_last_digit(amount: str, text: str) -> None:
    charge = Charge(total=Decimal(amount), upstream=Decimal(amount))
    batch = Batch("ABC")
    batch.add(rows_of((State.DONE, replace(OUTCOME, charge=charge, is_byok=True))), [pack(INTENT)], {})
    batch.finish({})
    (sheet,) = batch.sheets
    assert sheet.total == [text]
    assert Decimal(sheet.byok[0] or 0) == Decimal(amount)
    (posting,) = batch.postings()
    assert (posting.usage, posting.byok) == (Decimal(amount), Decimal(amount))


def test_spend_is_told_by_model_but_for_what_a_router_chose() -> None:
    def sums(*calls: tuple[Intent, Outcome]) -> list[tuple[str, str]]:
        batch = Batch("ABC")
        for intent, outcome in calls:
            batch.add(rows_of((State.DONE, outcome)), [pack(intent)], {})
        batch.finish({})
        return sorted((each.model, str(each.usd)) for posting in batch.postings() for each in posting.models)

    routed, other = replace(INTENT, router="openrouter/auto"), replace(INTENT, key_hash="other")
    own_key, free = replace(OUTCOME, is_byok=True), replace(OUTCOME, charge=Charge())
    assert sums((INTENT, OUTCOME), (INTENT, OUTCOME)) == [("m/used", "0.0030")]
    assert sums((INTENT, OUTCOME), (other, OUTCOME)) == [("m/used", "0.0015")] * 2, "one for each key"
    assert sums((routed, OUTCOME)) == []
    assert sums((INTENT, OUTCOME), (routed, OUTCOME)) == [("m/used", "0.0015")]
    assert sums((INTENT, own_key)) == [("m/used", "0.0027")], "the fee and the list price"
    assert sums((INTENT, free)) == []


def test_a_row_that_cannot_be_read_is_refused() -> None:
    batch = Batch("ABC")
    batch.add([Row(2, 7, INTENT.id, State.DONE, b"\xff")], [pack(INTENT)], {})
    with pytest.raises(DecodeError):
        batch.finish({})
