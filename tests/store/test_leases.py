"""Budgets lent out to daybooks, on every store: what is posted and all leases together stay within the limit."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from routebook.core.errors import Unavailable
from routebook.store.lending import FIRST_DAY, LAST_DAY, Ask, Lease, Lent, Window, key_budget
from routebook.store.port import Posting
from routebook.store.sqlite import SqliteStore

from .conftest import Opener

pytestmark = pytest.mark.anyio

D = Decimal
KEY = "a" * 64
LIFE = Window(key_budget(KEY), FIRST_DAY, LAST_DAY)
MARCH = Window(key_budget(KEY), "2026-03-01", "2026-03-31")


def ask(need: str, *, limit: str = "10", share: str = "1", window: Window = LIFE) -> Ask:
    return Ask(window, D(limit), D(need), D(share))


def post(usage: str, *, day: str = "2026-03-04", byok: str = "0", key: str = KEY) -> Posting:
    return Posting(key, "default", day, D(usage), D(byok))


async def test_who_asks_alone_gets_all_that_is_left(opener: Opener) -> None:
    store = opener()
    await store.ship("zzz", 1, [], [post("2.5")])
    lent = await store.lend("aaa", ask("0.1"))
    assert lent == Lent(granted=D("7.5"), left=D("7.5"), posted=D("2.5"))
    assert await opener().leases() == [Lease(LIFE, "aaa", D("7.5"))]


async def test_of_several_each_gets_a_share_and_never_less_than_it_needs(opener: Opener) -> None:
    store = opener()
    assert (await store.lend("aaa", ask("0.1", share="0.25"))).granted == D("2.5")
    assert (await store.lend("bbb", ask("5", share="0.25"))).granted == D(5)
    assert (await store.lend("ccc", ask("0.1", share="0.3333"))).granted == D("0.833250"), "rounded down"
    refused = await store.lend("ddd", ask("1.7", share="0.25"))
    assert refused.granted == 0
    assert refused.left == D("1.66675")
    assert refused.lenders == ("aaa", "bbb", "ccc")
    assert refused.lent == D("8.33325")
    assert [lease.daybook for lease in await store.leases()] == ["aaa", "bbb", "ccc"], "a refusal leaves nothing"


async def test_a_lease_grows_by_what_is_granted(opener: Opener) -> None:
    store = opener()
    await store.lend("aaa", ask("1", share="0.1"))
    lent = await store.lend("aaa", ask("2", share="0.1"))
    assert lent == Lent(granted=D(2), left=D(9), posted=D(0))
    assert await store.leases("aaa") == [Lease(LIFE, "aaa", D(3))]


async def test_what_is_shipped_is_taken_off_the_lease_once(opener: Opener) -> None:
    store = opener()
    await store.lend("aaa", ask("1"))
    for _ in range(2):
        await store.ship("aaa", 5, [], [post("1"), post("0.5", day="2026-03-05"), post("3", key="b" * 64)])
    assert await store.leases() == [Lease(LIFE, "aaa", D("8.5"))]
    assert (await store.lend("bbb", ask("0.1"))).left == 0


async def test_a_charge_above_its_lease_leaves_nothing_of_it_and_counts_whole(opener: Opener) -> None:
    store = opener()
    await store.lend("aaa", ask("1", share="0.1"))
    await store.ship("aaa", 1, [], [post("4")])
    assert await store.leases() == []
    assert (await store.lend("bbb", ask("7"))).left == D(6)


async def test_a_window_is_touched_by_its_own_days_alone(opener: Opener) -> None:
    store = opener()
    await store.lend("aaa", ask("1", window=MARCH))
    april = Window(MARCH.budget, "2026-04-01", "2026-04-30")
    assert (await store.lend("aaa", ask("10", window=april))).granted == 10, "a new window is a new lease"
    await store.ship("aaa", 1, [], [post("1", day="2026-03-31"), post("2", day="2026-04-01")])
    assert await store.leases() == [Lease(MARCH, "aaa", D(9)), Lease(april, "aaa", D(8))]


async def test_spend_on_days_to_come_counts_and_so_do_leases_of_a_window_of_another_shape(opener: Opener) -> None:
    store = opener()
    await store.ship("zzz", 1, [], [post("1", day="2026-12-31"), post("2", day="2026-02-28")])
    week = Window(MARCH.budget, "2026-03-02", "2026-03-08")
    assert (await store.lend("aaa", ask("3", share="0", window=week))).granted == 3
    lent = await store.lend("bbb", ask("1", window=MARCH))
    assert lent == Lent(D(6), left=D(6), posted=D(1), lenders=("aaa",), lent=D(3))


@pytest.mark.parametrize(("counts", "rest", "left"), [(False, "3", "6"), (True, "2", "5")])
async def test_spend_on_own_keys_counts_where_the_window_says_so(
    opener: Opener, counts: bool, rest: str, left: str
) -> None:
    store = opener()
    window = Window(key_budget(KEY), FIRST_DAY, LAST_DAY, byok=counts)
    await store.ship("zzz", 1, [], [post("0", byok="1")])
    await store.lend("aaa", ask("4", share="0", window=window))
    await store.ship("aaa", 1, [], [post("1", byok="1")])
    assert await store.leases() == [Lease(window, "aaa", D(rest))]
    assert (await store.lend("bbb", ask("0.1", window=window))).left == D(left)


async def test_what_is_given_back_can_be_lent_again_and_never_more_than_there_was(opener: Opener) -> None:
    store = opener()
    await store.lend("aaa", ask("4", share="0"))
    await store.give_back([Lease(LIFE, "aaa", D("1.5")), Lease(LIFE, "bbb", D(3)), Lease(MARCH, "aaa", D(3))])
    assert await store.leases() == [Lease(LIFE, "aaa", D("2.5"))]
    await store.give_back([Lease(LIFE, "aaa", D(100))])
    assert await store.leases() == []
    assert (await store.lend("bbb", ask("1"))).left == 10


async def test_a_forfeited_daybook_has_nothing_any_more(opener: Opener) -> None:
    store = opener()
    await store.lend("aaa", ask("4", share="0"))
    await store.lend("bbb", ask("4", share="0"))
    assert await store.forfeit("aaa") == [Lease(LIFE, "aaa", D(4))]
    assert await store.forfeit("aaa") == []
    assert await store.leases() == [Lease(LIFE, "bbb", D(4))]


async def test_a_lowered_limit_grants_nothing_and_says_how_much_is_missing(opener: Opener) -> None:
    store = opener()
    await store.lend("aaa", ask("4", share="0"))
    lent = await store.lend("bbb", ask("0.1", limit="3"))
    assert lent == Lent(D(0), left=D(-1), posted=D(0), lenders=("aaa",), lent=D(4))


async def test_shares_of_shares_do_not_grow_digits(opener: Opener) -> None:
    store = opener()
    for turn in range(50):
        await store.lend(f"{turn:03}", ask("0.0000001", limit="1e6", share="0.1234"))
    assert all(-int(lease.amount.as_tuple().exponent) <= 7 for lease in await store.leases())


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_happens_posted_and_lent_stay_within_the_limit(opener: Opener, seed: int) -> None:
    chance, store = random.Random(seed), opener()
    free = {name: D(0) for name in ("aaa", "bbb", "ccc")}
    seq = dict.fromkeys(free, 0)
    for _ in range(120):
        name = chance.choice(list(free))
        amount = D(chance.randrange(1, 3000)) / 1000
        match chance.randrange(4):
            case 0 | 1:
                free[name] += (
                    await store.lend(name, ask(str(amount), share=chance.choice(["0", "0.25", "1"])))
                ).granted
            case 2 if free[name]:
                seq[name] += 1
                spent = min(amount, free[name])
                await store.ship(name, seq[name], [], [post(str(spent))])
                free[name] -= spent
            case 3:
                back = min(amount, free[name])
                await store.give_back([Lease(LIFE, name, back)])
                free[name] -= back
        posted = sum((each.usage for each in await store.spend()), D(0))
        leases = {each.daybook: each.amount for each in await store.leases()}
        assert leases == {each: left for each, left in free.items() if left}
        assert posted + sum(leases.values(), D(0)) <= 10
    assert posted > 5


async def test_a_closed_store_lends_nothing(opener: Opener) -> None:
    store = opener()
    if not isinstance(store, SqliteStore):
        pytest.skip("the twin in memory has nothing to close")
    await store.close()
    with pytest.raises(Unavailable):
        await store.lend("aaa", ask("1"))
