"""Charges made anew, in every store: amendments of another daybook, their postings, and what is left of them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec.structs import replace

from routebook.core.generation import Amendment, Revision
from routebook.core.money import Charge
from routebook.metering.folding import unfold
from routebook.store.port import Amended, Posting, Store
from routebook.store.sheets import day_of, posting_of_revision
from routebook.wire.codec import pack
from tests.store.conftest import Opener
from tests.store.samples import KEY, call, sheet

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(opener: Opener) -> Store:
    return opener()


AT_NS = 1_721_086_399_433_273_000
CALL = call(5, total="0.0006", accepted_ns=AT_NS)


def revision(number: int, before: str, after: str) -> Revision:
    return Revision(
        id=CALL.name,
        daybook=CALL.daybook,
        n=5,
        number=number,
        at_ns=AT_NS * 2,
        account=CALL.account,
        key_hash=KEY,
        accepted_ns=AT_NS,
        before=Decimal(before),
        charge=Charge(total=Decimal(after)),
    )


async def put_call(store: Store) -> None:
    """One ended call, charged 0.0006; its last row is number 10 of daybook aaa."""
    posting = Posting(KEY, CALL.account, day_of(AT_NS), Decimal("0.0006"))
    await store.ship(CALL.daybook, 10, [sheet(CALL)], [posting])


async def revise(store: Store, seq: int, each: Revision) -> None:
    """Row `seq` of daybook rev."""
    blob = pack(Amendment(at_ns=each.at_ns, revision=each))
    await store.ship("rev", seq, [], [posting_of_revision(each)], [Amended(CALL.daybook, 5, seq, blob)])


async def test_revisions_of_another_daybook_come_with_the_call_and_are_posted(store: Store) -> None:
    await put_call(store)
    await revise(store, 40, revision(1, "0.0006", "0.0009"))
    await revise(store, 41, revision(2, "0.0009", "0.0002"))
    found = await store.generation(CALL.name)
    assert found is not None
    told = unfold(found.folded)
    assert [each.charge.total for each in told.revisions] == [Decimal("0.0009"), Decimal("0.0002")]
    assert told.seq == 10, "the sequence is that of the call's own daybook"
    (spend,) = await store.spend()
    assert (spend.usage, spend.requests) == (Decimal("0.0002"), 1)
    assert (await store.cursor(CALL.daybook), await store.cursor("rev")) == (10, 41)


async def test_a_revision_that_comes_twice_is_posted_once(store: Store) -> None:
    await put_call(store)
    for _ in range(2):
        await revise(store, 40, revision(1, "0.0006", "0.0009"))
    (spend,) = await store.spend()
    assert spend.usage == Decimal("0.0009")


async def test_what_is_deleted_is_retired_at_its_newest_charge(store: Store) -> None:
    await put_call(store)
    await revise(store, 40, replace(revision(1, "0.0006", "0.0009"), is_byok=True, upstream_before=Decimal("0.5")))
    assert await store.delete_before(AT_NS + 1, 10) == 1
    retired = await store.retired()
    assert retired.spends == await store.spend()
    (gone,) = retired.spends
    assert (gone.usage, gone.byok, gone.requests) == (Decimal("0.0009"), Decimal("-0.5"), 1)
