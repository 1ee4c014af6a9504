"""Leases at work: what one worker asks for, what several ask of each other, and that no limit is ever passed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from routebook.core.errors import PaymentRequired, Unavailable
from routebook.core.people import Key
from routebook.ledger.book import Book
from routebook.ledger.leases import Leases
from routebook.ledger.people import People
from routebook.ledger.tally import Hold
from routebook.store.lending import Ask, Lease, Lent
from routebook.store.memory import MemoryStore
from routebook.store.port import Posting, Spend, Store
from routebook.store.sqlite import SqliteStore

pytestmark = pytest.mark.anyio

D = Decimal
DAY_NS = 86_400 * 10**9
NOON = int(datetime(2026, 3, 4, 12, tzinfo=UTC).timestamp()) * 10**9
MINE = Key(hash="a" * 64, name="k", label="l", limit=D(10), created_at="2026-01-01T00:00:00+00:00")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Counting(MemoryStore):
    """Knows how often it was asked to lend, and can be away."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.away = False

    async def lend(self, daybook: str, ask: Ask) -> Lent:
        self.asked += 1
        if self.away:
            raise Unavailable("The store is away.")
        return await super().lend(daybook, ask)


class Worker:
    """A book and its leases, and a shipper's part of the work."""

    def __init__(self, host: Host, name: str) -> None:
        self.book = Book()
        self.name = name
        self.store = host.open()
        self.leases = Leases(self.book, self.store, name, lambda: host.now_ns, workers=host.workers, recall=host.recall)
        self._ended: list[Posting] = []
        self._seq = 0

    async def hold(self, key: Key, bound: Decimal, at_ns: int = NOON, least: Decimal | None = None) -> Hold:
        return self.book.hold(key, bound, at_ns) or await self.leases.hold(key, bound, at_ns, least)

    def settle(self, hold: Hold, charge: Decimal) -> None:
        self.book.settle(hold, charge)
        day = datetime.fromtimestamp(NOON / 10**9, UTC).date()
        assert hold.day == day.toordinal(), "these tests post to one day"
        self._ended.append(Posting(hold.key_hash, hold.account, day.isoformat(), charge))

    async def ship(self) -> None:
        ended, self._ended = self._ended, []
        self._seq += 1
        await self.leases.ship(self.name, self._seq, [], ended)

    def free(self) -> Decimal:
        return sum((purse.free for purse in self.book.purses()), D(0))

    def leased(self) -> Decimal:
        return sum((purse.amount for purse in self.book.purses()), D(0))

    def outstanding(self) -> Decimal:
        """Held, and charged but not shipped."""
        return self.leased() - self.free()


class Host:
    """Workers over one store: a file that each opens for itself, or one in memory that they share."""

    def __init__(self, workers: int, file: Path | None = None) -> None:
        self.workers = workers
        self.now_ns = NOON
        self.memory = Counting()
        self.recalls = 0
        self.deaf: set[str] = set()
        self._file = file
        self._opened: list[Store] = []
        self.all = [Worker(self, f"{number:03}") for number in range(workers)]

    def open(self) -> Store:
        store: Store = self.memory if self._file is None else SqliteStore(self._file)
        self._opened.append(store)
        return store

    async def recall(self, daybooks: Sequence[str], budget: str) -> bool:
        self.recalls += 1
        asked = [worker for worker in self.all if worker.name in daybooks and worker.name not in self.deaf]
        return any([await worker.leases.give_back(budget) for worker in asked])

    async def close(self) -> None:
        for store in self._opened:
            await store.close()

    def __iter__(self) -> Iterator[Worker]:
        return iter(self.all)


async def people(store: Store, *keys: Key) -> People:
    for key in keys:
        await store.put_key(key)
    found = People()
    await found.refresh(store)
    return found


# --- one worker -------------------------------------------------------------------------------------------------------


async def test_a_worker_that_is_alone_asks_once() -> None:
    host = Host(1)
    (worker,) = host
    for _ in range(50):
        worker.settle(await worker.hold(MINE, D("0.1")), D("0.05"))
        await worker.ship()
    assert host.memory.asked == 1
    assert await host.memory.leases() == [Lease(worker.book.purses()[0].window, "000", D("7.5"))]
    assert worker.free() == D("7.5")


async def test_what_is_refused_is_refused_without_the_store_for_a_moment_and_then_asked_for_again() -> None:
    host = Host(1)
    (worker,) = host
    await worker.hold(MINE, D(10))
    for _ in range(20):
        with pytest.raises(PaymentRequired):
            await worker.hold(MINE, D("0.1"))
    assert host.memory.asked == 2, "for the first hold, and once in vain"
    host.now_ns += 10**9
    with pytest.raises(PaymentRequired):
        await worker.hold(MINE, D("0.1"))
    assert host.memory.asked == 3


async def test_a_raised_limit_counts_for_the_very_next_call() -> None:
    host = Host(1)
    (worker,) = host
    await worker.hold(MINE, D(10))
    with pytest.raises(PaymentRequired):
        await worker.hold(MINE, D("0.1"))
    await worker.hold(msgspec.structs.replace(MINE, limit=D(11)), D(1))


async def test_a_lowered_limit_takes_back_what_is_not_held() -> None:
    host = Host(1)
    (worker,) = host
    hold = await worker.hold(MINE, D(2))
    await worker.leases.tidy(await people(host.memory, MINE))
    lower = msgspec.structs.replace(MINE, limit=D(3))
    await worker.leases.tidy(await people(host.memory, lower))
    assert worker.leased() == 2
    with pytest.raises(PaymentRequired):
        await worker.hold(lower, D("1.5"))
    await worker.hold(lower, D(1))
    worker.settle(hold, D(1))


async def test_while_the_store_is_away_a_lease_goes_on_to_its_end_and_keys_without_limit_go_on() -> None:
    host = Host(1)
    (worker,) = host
    worker.settle(await worker.hold(MINE, D(1)), D(1))
    host.memory.away = True
    worker.settle(await worker.hold(MINE, D(9)), D("8.5"))
    await worker.hold(MINE, D("0.5"))
    with pytest.raises(Unavailable):
        await worker.hold(MINE, D("0.1"))
    await worker.hold(msgspec.structs.replace(MINE, limit=None), D(1000))
    host.memory.away = False
    with pytest.raises(PaymentRequired):
        await worker.hold(MINE, D("0.1"))


async def test_as_much_as_there_is_where_less_will_do() -> None:
    host = Host(1)
    (worker,) = host
    await worker.hold(MINE, D(7))
    part = await worker.hold(MINE, D(5), least=D(2))
    assert part.amount == 3
    with pytest.raises(PaymentRequired):
        await worker.hold(MINE, D(5), least=D("0.01"))
    worker.book.shrink(part, D("2.5"))
    assert (part.amount, worker.free()) == (D("2.5"), D("0.5"))
    with pytest.raises(ValueError, match="cannot shrink"):
        worker.book.shrink(part, D(3))


async def test_a_hold_grows_as_far_as_the_limit() -> None:
    host = Host(1)
    (worker,) = host
    hold = await worker.hold(MINE, D(1))
    assert await worker.leases.extend(hold, D(8))
    assert not await worker.leases.extend(hold, D(2))
    assert (hold.amount, worker.free()) == (D(9), D(1))
    worker.settle(hold, D(3))
    assert worker.free() == 7
    assert not await worker.leases.extend(hold, D(1)), "an ended hold grows no more"


async def test_a_new_day_is_a_new_lease_and_the_old_one_is_given_back() -> None:
    host = Host(1)
    (worker,) = host
    daily = msgspec.structs.replace(MINE, limit_reset="daily")
    known = await people(host.memory, daily)
    hold = await worker.hold(daily, D(4))
    host.now_ns += DAY_NS
    await worker.hold(daily, D(10), host.now_ns)
    await worker.leases.tidy(known)
    assert [lease.amount for lease in await host.memory.leases()] == [D(4), D(10)]
    worker.settle(hold, D(3))
    await worker.leases.tidy(known)
    assert [lease.amount for lease in await host.memory.leases()] == [D(3), D(10)], "what is not shipped is still owed"
    await worker.ship()
    await worker.leases.tidy(known)
    assert [lease.window.first for lease in await host.memory.leases()] == ["2026-03-05"]
    assert len(worker.book.purses()) == 1


@pytest.mark.parametrize("what", ["deleted", "without a limit", "another reset"])
async def test_money_of_a_key_that_has_no_such_limit_any_more_is_given_back(what: str) -> None:
    host = Host(1)
    (worker,) = host
    hold = await worker.hold(MINE, D(4))
    await people(host.memory, MINE)
    if what == "deleted":
        await host.memory.delete_key(MINE.hash)
        known = await people(host.memory)
    else:
        change: dict[str, Any] = {"limit": None} if what == "without a limit" else {"limit_reset": "weekly"}
        known = await people(host.memory, msgspec.structs.replace(MINE, **change))
    await worker.leases.tidy(known)
    assert [lease.amount for lease in await host.memory.leases()] == [D(4)]
    worker.settle(hold, D(1))
    await worker.ship()
    await worker.leases.tidy(known)
    assert await host.memory.leases() == []
    assert worker.book.purses() == []


async def test_calls_that_run_when_the_reset_changes_count_in_the_new_window_too() -> None:
    host = Host(1)
    (worker,) = host
    running = await worker.hold(MINE, D(6))
    weekly = msgspec.structs.replace(MINE, limit_reset="weekly")
    await worker.leases.tidy(await people(host.memory, weekly))
    with pytest.raises(PaymentRequired):
        await worker.hold(weekly, D(5))
    worker.settle(running, D(2))
    await worker.ship()
    await worker.leases.tidy(await people(host.memory, weekly))
    host.now_ns += 10**9
    worker.settle(await worker.hold(weekly, D(8)), D(8))
    with pytest.raises(PaymentRequired):
        await worker.hold(weekly, D("0.1"))


async def test_a_charge_above_its_hold_is_not_lent_to_anybody_else() -> None:
    host = Host(2)
    first, second = host
    await second.hold(MINE, D(1))
    first.settle(await first.hold(MINE, D(1)), D(5))
    known = await people(host.memory, MINE)
    await first.leases.tidy(known)
    with pytest.raises(PaymentRequired):
        await second.hold(MINE, D("4.1"))
    await second.hold(MINE, D(4))
    await first.ship()
    assert first.leased() == first.free()


async def test_a_successor_goes_on_with_what_its_daybook_was_lent() -> None:
    host = Host(1)
    (worker,) = host
    worker.settle(await worker.hold(MINE, D(4)), D(3))
    await worker.hold(MINE, D(2))
    heir = Worker(host, "000")
    heir.book.load(await host.memory.spend())
    heir.book.replay(Posting(MINE.hash, "default", "2026-03-04", D(3)))
    heir.book.replay(Posting(MINE.hash, "default", "2026-03-04", D("0.5")))  # of the call that was interrupted
    await heir.leases.begin()
    assert heir.free() == D("6.5")
    await heir.hold(MINE, D("6.5"))
    assert host.memory.asked == 1
    with pytest.raises(PaymentRequired) as refused:
        await heir.hold(MINE, D("0.1"))
    assert refused.value.metadata["spent"] == D("3.5")
    assert refused.value.metadata["held"] == D("6.5")


async def test_who_ends_in_order_leaves_no_lease() -> None:
    host = Host(1)
    (worker,) = host
    worker.settle(await worker.hold(MINE, D(4)), D(3))
    await worker.ship()
    await worker.leases.end()
    assert await host.memory.leases() == []


async def test_a_caller_who_is_cancelled_while_it_asks_leaves_money_and_purse_in_step() -> None:
    class Slow(Counting):
        def __init__(self) -> None:
            super().__init__()
            self.lending, self.go_on = asyncio.Event(), asyncio.Event()

        async def lend(self, daybook: str, ask: Ask) -> Lent:
            lent = await super().lend(daybook, ask)
            self.lending.set()
            await self.go_on.wait()
            return lent

    host = Host(1)
    host.memory = slow = Slow()
    worker = Worker(host, "000")
    asking = asyncio.ensure_future(worker.hold(MINE, D(1)))
    await slow.lending.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    slow.go_on.set()
    await asyncio.gather(*worker.leases._tasks)
    assert [lease.amount for lease in await slow.leases()] == [worker.leased()] == [D(10)]
    assert worker.free() == 10


# --- several workers --------------------------------------------------------------------------------------------------


async def test_idle_money_of_siblings_is_called_back_before_a_call_is_refused() -> None:
    host = Host(4)
    for worker in host:
        worker.settle(await worker.hold(MINE, D("0.5")), D("0.25"))
    assert sum(worker.leased() for worker in host) < 10
    await host.all[0].hold(MINE, D("8.5"))
    assert host.recalls == 1
    with pytest.raises(PaymentRequired) as refused:
        await host.all[1].hold(MINE, D("0.6"))
    assert refused.value.metadata["spent"] == D("0.25")
    assert refused.value.metadata["held"] == D("9.25"), "8.5 held, and 0.75 charged elsewhere and not shipped yet"
    await host.all[1].hold(MINE, D("0.5"))


async def test_a_sibling_that_does_not_answer_keeps_what_it_has() -> None:
    host = Host(2)
    first, second = host
    await first.hold(MINE, D(1))
    host.deaf.add(first.name)
    with pytest.raises(PaymentRequired):
        await second.hold(MINE, D(8))
    await second.hold(MINE, D("7.5"))


@pytest.mark.parametrize("workers", [1, 4])
async def test_many_who_wait_for_a_spent_budget_are_refused_together(workers: int) -> None:
    host = Host(workers)
    await host.all[0].hold(MINE, D(10))
    before = host.memory.asked
    refused = await asyncio.gather(
        *(worker.hold(MINE, D("0.1")) for worker in host for _ in range(100)), return_exceptions=True
    )
    assert all(isinstance(each, PaymentRequired) for each in refused)
    assert host.memory.asked - before <= 5 * workers


async def storm(host: Host, calls: int, seed: int) -> tuple[int, int]:
    """That many calls at once, some with a smaller charge than hold, shipped now and then: (admitted, refused).

    At every step what is posted and lent, and what workers have out, is within the limit; at the end nothing is held,
    and what is left can be held to the last digit.
    """
    chance, limit, store = random.Random(seed), MINE.limit, host.open()
    assert limit is not None
    refused = 0
    taken: list[Decimal] = []

    async def watch() -> None:
        posted = sum((each.usage for each in await store.spend()), D(0))
        lent = sum((each.amount for each in await store.leases()), D(0))
        assert posted + lent <= limit, f"{posted} posted and {lent} lent of {limit}"
        assert all(worker.outstanding() <= worker.leased() for worker in host)

    async def call(worker: Worker, bound: Decimal, part: Decimal, steps: int) -> None:
        nonlocal refused
        try:
            hold = await worker.hold(MINE, bound)
        except PaymentRequired as fault:
            refused += 1
            taken.append(fault.metadata["spent"] + fault.metadata["held"])
            return
        for _ in range(steps):
            await asyncio.sleep(0)
        worker.settle(hold, (bound * part).quantize(D("0.000001")))
        if chance.random() < 0.05:
            await worker.ship()
        if chance.random() < 0.02:
            await watch()

    async with asyncio.TaskGroup() as group:
        for _ in range(calls):
            bound = D(chance.randrange(10_000, 100_000)) / 1_000_000
            part = D(chance.randrange(0, 101)) / 100
            group.create_task(call(chance.choice(host.all), bound, part, chance.randrange(20)))
    for worker in host:
        await worker.ship()
        assert worker.book.holds_open == 0
        assert worker.outstanding() == 0
    await watch()
    assert max(taken, default=limit) <= limit, "what a refusal tells"
    posted = sum((each.usage for each in await store.spend()), D(0))
    assert posted == sum((worker.book.usage(MINE.hash, NOON).total for worker in host), D(0))
    # A call that fits what is left is let through by any of them.
    rest = limit - posted
    if rest:
        last = chance.choice(host.all)
        await last.hold(MINE, rest)
        with pytest.raises(PaymentRequired):
            await chance.choice(host.all).hold(MINE, D("0.000001"))
    return calls - refused, refused


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("seed", range(3))
async def test_five_hundred_calls_at_once_never_pass_the_limit_and_none_is_refused_that_fits(
    tmp_path: Path, workers: int, seed: int
) -> None:
    host = Host(workers, tmp_path / "routebook.db")
    try:
        admitted, refused = await storm(host, 500, seed)
        assert admitted > 150
        assert refused > 50
    finally:
        await host.close()


@pytest.mark.parametrize("workers", [1, 2, 4])
async def test_of_equal_calls_exactly_as_many_are_admitted_as_fit(workers: int) -> None:
    host = Host(workers)
    chance = random.Random(workers)
    answers = await asyncio.gather(
        *(chance.choice(host.all).hold(MINE, D("0.03")) for _ in range(500)), return_exceptions=True
    )
    assert sum(isinstance(each, Hold) for each in answers) == 333


@pytest.mark.parametrize("waits", range(6))
async def test_what_a_call_takes_while_money_is_given_back_is_not_given_back(waits: int) -> None:
    """The giving back is a task of its own, so a call may come between the decision and the deed."""
    host = Host(2)
    worker = host.all[0]
    first = await worker.hold(MINE, D(1))
    giving = asyncio.ensure_future(worker.leases.give_back(worker.book.purses()[0].window.budget))
    for _ in range(waits):
        await asyncio.sleep(0)
    taken = worker.book.hold(MINE, D(1), NOON)
    await giving
    assert worker.free() >= 0
    held = 2 if taken is not None else 1
    assert worker.leased() == held, "what its calls hold, and no more"
    for hold in (first, taken):
        if hold is not None:
            worker.settle(hold, D(1))
    await worker.ship()
    assert worker.free() == worker.leased() == 0


# --- what people are told ---------------------------------------------------------------------------------------------


async def test_what_a_key_has_spent_is_the_same_at_every_worker_when_all_is_shipped() -> None:
    host = Host(3)
    free = msgspec.structs.replace(MINE, limit=None)
    for number, worker in enumerate(host, start=1):
        for _ in range(number):
            worker.settle(await worker.hold(free, D("0.5")), D("0.01"))
    first, *others = host.all
    assert (await first.leases.usage(free.hash, NOON)).total == D("0.01")
    for worker in others:
        await worker.ship()
    told = await first.leases.usage(free.hash, NOON)
    assert (told.total, told.daily, told.weekly, told.monthly) == (D("0.06"),) * 4, "its own is not shipped yet"
    assert (await others[0].leases.usage(free.hash, NOON)).total == D("0.05")
    await first.ship()
    for worker in host:
        assert (await worker.leases.usage(free.hash, NOON)).total == D("0.06")
        assert await worker.leases.account_usage("default") == D("0.06")
        assert (await worker.leases.usage(free.hash, NOON + 40 * DAY_NS)).monthly == 0


async def test_a_charge_on_its_way_into_the_store_is_told_once() -> None:
    class Slow(Counting):
        def __init__(self) -> None:
            super().__init__()
            self.posted, self.go_on = asyncio.Event(), asyncio.Event()

        async def ship(self, daybook: str, upto: int, *rows: Any, **more: Any) -> None:
            await super().ship(daybook, upto, *rows, **more)
            self.posted.set()
            await self.go_on.wait()

    host = Host(2)
    host.memory = slow = Slow()
    worker = Worker(host, "000")
    worker.settle(await worker.hold(MINE, D(1)), D("0.25"))
    shipping = asyncio.ensure_future(worker.ship())
    await slow.posted.wait()
    telling = asyncio.ensure_future(worker.leases.usage(MINE.hash, NOON))
    for _ in range(5):
        await asyncio.sleep(0)
    slow.go_on.set()
    assert (await telling).total == D("0.25")
    await shipping


async def test_while_the_store_is_away_a_worker_tells_what_it_knows() -> None:
    class Away(Counting):
        async def spend(self, key_hash: str | None = None) -> list[Spend]:
            raise Unavailable("The store is away.")

    host = Host(2)
    host.memory = Away()
    worker = Worker(host, "000")
    worker.settle(await worker.hold(msgspec.structs.replace(MINE, limit=None), D(1)), D("0.25"))
    assert (await worker.leases.usage(MINE.hash, NOON)).total == D("0.25")
    assert await worker.leases.account_usage("default") == D("0.25")
