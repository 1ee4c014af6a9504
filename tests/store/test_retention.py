"""What retention leaves behind: which calls are gone, of which daybooks, and counts of those that are there."""

from __future__ import annotations

from decimal import Decimal

import pytest

from routebook.core.generation import Amendment, Revision, State
from routebook.core.money import Charge
from routebook.store.port import Amended, RetiredBook, Store
from routebook.store.sheets import posting_of_revision
from routebook.wire.codec import pack
from tests.store.conftest import Opener
from tests.store.samples import KEY, Call, batch, call, sheet

pytestmark = pytest.mark.anyio


def revision_of(each: Call) -> Revision:
    return Revision(
        id=each.name,
        daybook=each.daybook,
        n=each.n,
        number=1,
        at_ns=each.at + 9,
        account=each.account,
        key_hash=each.key_hash,
        accepted_ns=each.at,
        before=Decimal(each.total),
        charge=Charge(total=Decimal("1.5")),
    )


async def revise(store: Store, seq: int, each: Call) -> None:
    revision = revision_of(each)
    amended = Amended(each.daybook, each.n, seq, pack(Amendment(at_ns=1, revision=revision)))
    await store.ship("rev", seq, [], [posting_of_revision(revision)], [amended])


async def test_what_is_gone_is_told_by_daybook_with_its_last_row(opener: Opener) -> None:
    store = opener()
    await store.ship("bbb", 200, batch([call(n, daybook="bbb") for n in range(1, 101)]), [])
    await store.ship("aaa", 20, [sheet(*(call(n, accepted_ns=2_000 - n) for n in range(1, 11)))], [])
    assert (await store.retired()).books == []
    assert await store.delete_before(1_031, 7) == 7
    assert await store.delete_before(1_031, 100) == 23
    assert (await store.retired()).books == [RetiredBook("bbb", 30, 60)]
    assert await store.delete_before(1_995, 100) == 75
    assert (await store.retired()).books == [RetiredBook("aaa", 5, 20), RetiredBook("bbb", 100, 200)]


async def test_generations_are_counted_by_state_account_and_time(opener: Opener) -> None:
    store = opener()
    assert await store.states(None, 0, None) == {}
    await store.ship("aaa", 20, [sheet(*(call(n) for n in range(1, 11)))], [])
    await store.ship("bbb", 20, [sheet(*(call(n, daybook="bbb", account="acme") for n in range(1, 4)))], [])
    assert await store.states(None, 0, None) == {State.DONE: 13}
    assert await store.states("acme", 0, None) == {State.DONE: 3}
    assert await store.states("acme", 1_002, 1_003) == {State.DONE: 1}
    assert await store.states(None, 1_002, 1_004) == {State.DONE: 4}
    assert await store.states("nobody", 0, None) == {}


async def test_the_calls_of_one_daybook_are_counted_by_the_row_that_ended_them(opener: Opener) -> None:
    store = opener()
    await store.ship("aaa", 20, [sheet(*(call(n) for n in range(1, 11)))], [])
    await store.ship("aab", 20, [sheet(*(call(n, daybook="aab") for n in range(1, 11)))], [])
    assert await store.ended("aaa", 0, 20) == 10
    assert await store.ended("aaa", 2, 5) == 1
    assert await store.ended("aaa", 20, 99) == 0
    assert await store.ended("zzz", 0, 99) == 0


async def test_a_revision_that_comes_after_its_call_was_deleted_is_retired_with_it(opener: Opener) -> None:
    store = opener()
    late, kept = call(1, accepted_ns=1_000), call(2, accepted_ns=9_000)
    await store.ship("aaa", 4, [sheet(late, kept)], [])
    assert await store.delete_before(5_000, 10) == 1
    await revise(store, 1, late)
    await revise(store, 2, kept)
    (gone,) = (await store.retired()).spends
    assert (gone.key_hash, gone.usage, gone.requests) == (KEY, Decimal("1.5"), 1)
    assert await store.delete_before(10_000, 10) == 1
    (gone,) = (await store.retired()).spends
    assert (gone.usage, gone.requests) == (Decimal("3"), 2)
