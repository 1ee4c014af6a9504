"""The shipper: every ended call posted once, whatever happens in between."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from routebook.core.errors import Unavailable
from routebook.core.generation import Amendment, Folded, Intent, Outcome, Progress, Row, State
from routebook.core.money import Charge
from routebook.daybook.book import FileDaybook
from routebook.ledger.book import Book
from routebook.ledger.posting import stored_of
from routebook.ledger.ship import BATCH, Shipper, restore
from routebook.metering.folding import unfold
from routebook.store.memory import MemoryStore
from routebook.store.port import Amended, Posting, Sheet
from routebook.store.sqlite import SqliteStore
from routebook.wire.codec import pack

pytestmark = pytest.mark.anyio

D = Decimal
NOON = 1_772_625_600 * 10**9  # 2026-03-04T12:00:00Z
DAY_NS = 86_400 * 10**9


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def intent(n: int, **more: Any) -> Intent:
    fields: dict[str, Any] = {"accepted_ns": NOON, "account": "default", "key_hash": "a" * 64, "model": "m/one", **more}
    return Intent(id=f"gen-{n}", n=n, request_id=f"req-{n}", requested_model="m", **fields)


def outcome(total: str, **more: Any) -> Outcome:
    return Outcome(ended_ns=NOON + 1, charge=Charge(total=D(total), upstream=D(total)), **more)


class Daybook:
    """Rows in a list, folded when read: the port without a file."""

    name = "aaa"

    def __init__(self) -> None:
        self.list: list[Row] = []
        self.told: list[int] = []
        self.reads = 0
        self.calls: dict[int, Folded] = {}

    def put(self, row: Intent | Outcome | Progress | Amendment, n: int, state: int) -> None:
        seq = len(self.list) + 1
        self.list.append(Row(seq, n, f"gen-{n}", state, pack(row)))
        old = self.calls.get(n)
        if isinstance(row, Intent):
            self.calls[n] = Folded(seq, row)
            return
        assert old is not None
        fields = {
            "progress": row if isinstance(row, Progress) else old.progress,
            "outcome": row if isinstance(row, Outcome) else old.outcome,
            "state": state if isinstance(row, Outcome) else old.state,
            "amendments": (*old.amendments, row) if isinstance(row, Amendment) else old.amendments,
        }
        self.calls[n] = Folded(seq, old.intent, **fields)  # type: ignore[arg-type]

    def open(self, n: int, **more: Any) -> None:
        self.put(intent(n, **more), n, State.INTENT)

    def close(self, n: int, total: str = "1", state: int = State.DONE, **more: Any) -> None:
        self.put(outcome(total, **more), n, state)

    def rows(self, after: int, limit: int) -> list[Row]:
        return self.list[after : after + limit]

    def read(self, n: int) -> Folded | None:
        self.reads += 1
        return self.calls.get(n)

    def shipped(self, seq: int) -> None:
        self.told.append(seq)


class Fragile(MemoryStore):
    """A store that fails as told: before or after it took a batch, as a kill or a cut line would have it."""

    def __init__(self) -> None:
        super().__init__()
        self.plan: Iterator[str | None] = iter(())

    async def ship(
        self,
        daybook: str,
        upto: int,
        generations: Sequence[Sheet],
        postings: Sequence[Posting],
        amendments: Sequence[Amended] = (),
    ) -> None:
        fate = next(self.plan, None)
        if fate == "before":
            raise Unavailable("cut before")
        await super().ship(daybook, upto, generations, postings, amendments)
        if fate == "after":
            raise Unavailable("cut after")


async def spent(store: MemoryStore | SqliteStore) -> tuple[Decimal, int]:
    rows = await store.spend()
    return sum((row.usage for row in rows), D(0)), sum(row.requests for row in rows)


async def test_an_ended_call_becomes_a_generation_and_a_posting_on_the_day_it_was_accepted() -> None:
    daybook, store = Daybook(), MemoryStore()
    daybook.open(1, accepted_ns=NOON + DAY_NS)
    daybook.close(1, "0.25", model="m/used", provider_name="P")
    assert await Shipper(daybook, store).ship_once() == 2
    row = await store.generation("gen-1")
    assert row is not None
    assert (row.model, row.provider, row.state, row.total) == ("m/used", "P", State.DONE, D("0.25"))
    assert unfold(row.folded) == daybook.calls[1]
    (spend,) = await store.spend()
    assert (spend.day, spend.usage, spend.requests) == ("2026-03-05", D("0.25"), 1)


async def test_nothing_new_is_nothing_shipped() -> None:
    daybook, store = Daybook(), MemoryStore()
    shipper = Shipper(daybook, store)
    assert await shipper.ship_once() == 0
    daybook.open(1)
    daybook.close(1)
    assert [await shipper.ship_once() for _ in range(2)] == [2, 0]
    assert await spent(store) == (D(1), 1)


async def test_intents_and_progress_only_move_the_cursor() -> None:
    daybook, store = Daybook(), MemoryStore()
    daybook.open(1)
    daybook.put(Progress(at_ns=1, model="m", provider_name="p", endpoint_id="e"), 1, State.PROGRESS)
    await Shipper(daybook, store).ship_once()
    assert await store.cursor("aaa") == 2
    assert await store.generations(account=None) == []
    daybook.close(1)
    await Shipper(daybook, store).ship_once()
    assert await spent(store) == (D(1), 1)


async def test_a_call_that_was_open_for_batches_keeps_its_last_progress_and_is_not_asked_for_again() -> None:
    daybook, store = Daybook(), MemoryStore()
    shipper = Shipper(daybook, store)
    daybook.open(1)
    for frames in (1, 2):
        daybook.put(Progress(at_ns=1, model="m", provider_name="p", endpoint_id="e", frames=frames), 1, State.PROGRESS)
        await shipper.ship_once()
    daybook.close(1)
    await shipper.ship_once()
    (row,) = await store.generations(account=None)
    assert unfold(row.folded) == daybook.calls[1]
    assert daybook.reads == 0


async def test_a_shipper_that_starts_between_a_calls_rows_asks_the_daybook_for_its_beginning() -> None:
    daybook, store = Daybook(), MemoryStore()
    daybook.open(1)
    daybook.put(Progress(at_ns=1, model="m", provider_name="p", endpoint_id="e", frames=7), 1, State.PROGRESS)
    await Shipper(daybook, store).ship_once()
    daybook.close(1, "0.5")
    await Shipper(daybook, store).ship_once()
    (row,) = await store.generations(account=None)
    assert unfold(row.folded) == daybook.calls[1]
    assert daybook.reads == 1


async def test_a_call_whose_beginning_is_lost_is_named_and_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    daybook, store = Daybook(), MemoryStore()
    for n in (1, 2):
        daybook.open(n)
        daybook.close(n, "0.5")
    stray = Progress(at_ns=1, model="m", provider_name="p", endpoint_id="e")
    daybook.list[0] = Row(1, 9, "gen-9", State.PROGRESS, pack(stray))
    del daybook.calls[1]

    assert await Shipper(daybook, store).ship_once() == 4

    assert [each.n for each in await store.generations(account=None)] == [2]
    assert "call 1 of daybook aaa has an end and no beginning" in caplog.text


async def test_the_daybook_is_told_what_the_store_has_and_never_more() -> None:
    daybook, store = Daybook(), Fragile()
    shipper = Shipper(daybook, store)
    daybook.open(1)
    store.plan = iter(["before", None])
    with pytest.raises(Unavailable):
        await shipper.ship_once()
    assert daybook.told == [0]
    await shipper.ship_once()
    daybook.close(1)
    await shipper.ship_once()
    await shipper.ship_once()
    assert daybook.told == [0, 1, 2]
    again = Shipper(daybook, store)
    await again.ship_once()
    assert daybook.told == [0, 1, 2, 2]


async def test_a_batch_posts_once_for_each_key_account_and_day() -> None:
    daybook, store, seen = Daybook(), MemoryStore(), []
    ship = store.ship

    async def watched(daybook: str, upto: int, generations: Any, postings: Any, amendments: Any = ()) -> None:
        seen.append([(each.key_hash[0], each.account, each.day, each.usage, each.requests) for each in postings])
        await ship(daybook, upto, generations, postings, amendments)

    store.ship = watched  # type: ignore[method-assign]
    for n in range(1, 101):
        key, account, late = "ab"[n % 2], "xy"[n % 4 // 2], n > 50
        daybook.open(n, key_hash=key * 64, account=account, accepted_ns=NOON + DAY_NS * late, model=f"m/{n % 3}")
        daybook.close(n, f"{n}E-30")
    await Shipper(daybook, store).ship_once()
    (postings,) = seen
    assert len(postings) == len({posting[:3] for posting in postings}) == 8
    assert sum(posting[3] for posting in postings) == D("5050E-30")
    assert sum(posting[4] for posting in postings) == 100


async def test_an_amendment_renews_the_generation_and_posts_nothing() -> None:
    daybook, store = Daybook(), MemoryStore()
    shipper = Shipper(daybook, store)
    daybook.open(1)
    daybook.close(1)
    await shipper.ship_once()
    daybook.put(Amendment(at_ns=2, tokens_prompt=7), 1, State.AMENDMENT)
    await shipper.ship_once()
    row = await store.generation("gen-1")
    assert row is not None
    assert [each.tokens_prompt for each in unfold(row.folded).amendments] == [7]
    assert await spent(store) == (D(1), 1)


async def test_every_kind_of_end_is_posted_and_a_call_on_the_callers_own_key_at_list_price_too() -> None:
    daybook, store = Daybook(), MemoryStore()
    for n, state in enumerate(sorted(State.TERMINAL), start=1):
        daybook.open(n)
        daybook.close(n, "0.1", state)
    daybook.open(9)
    daybook.put(Outcome(ended_ns=1, is_byok=True, charge=Charge(total=D("0.05"), upstream=D(1))), 9, State.DONE)
    await Shipper(daybook, store).ship_once()
    (spend,) = await store.spend()
    assert (spend.usage, spend.byok, spend.requests) == (D("0.55"), D(1), 6)


async def test_a_batch_ends_between_the_rows_of_a_call_without_posting_it_twice_or_never() -> None:
    daybook, store = Daybook(), MemoryStore()
    for n in range(1, BATCH + 1):
        daybook.open(n)
        daybook.close(n, "0.001")
        daybook.put(Amendment(at_ns=2, tokens_prompt=n), n, State.AMENDMENT)
    shipper = Shipper(daybook, store)
    assert [await shipper.ship_once() for _ in range(4)] == [BATCH, BATCH, BATCH, 0]
    assert await spent(store) == (D("0.001") * BATCH, BATCH)
    rows = await store.generations(account=None, limit=2 * BATCH)
    assert len(rows) == BATCH
    assert {len(unfold(row.folded).amendments) for row in rows} == {1}


async def test_cuts_before_and_after_a_batch_was_taken_post_every_call_once() -> None:
    chance = random.Random(7)
    daybook, store = Daybook(), Fragile()
    store.plan = (chance.choice([None, "before", "after"]) for _ in range(10_000))
    opened: list[int] = []
    closed = 0
    for n in range(1, 400):
        daybook.open(n)
        opened.append(n)
        if chance.random() < 0.7:
            daybook.close(opened.pop(chance.randrange(len(opened))), "0.01")
            closed += 1
        if chance.random() < 0.3:
            shipper = Shipper(daybook, store)  # a new process after a kill knows nothing
            with contextlib.suppress(Unavailable):
                await shipper.ship_once()
    store.plan = iter(())
    while await Shipper(daybook, store).ship_once():
        pass
    assert await spent(store) == (D("0.01") * closed, closed)
    assert len(await store.generations(account=None, limit=1_000)) == closed


async def test_a_row_of_a_key_that_is_gone_still_posts() -> None:
    daybook, store = Daybook(), MemoryStore()
    daybook.open(1, key_hash="f" * 64)
    daybook.close(1)
    await Shipper(daybook, store).ship_once()
    assert (await store.spend())[0].key_hash == "f" * 64


async def test_a_running_shipper_ships_the_rest_when_it_is_told_to_stop() -> None:
    daybook, store, stop = Daybook(), MemoryStore(), asyncio.Event()
    shipper = Shipper(daybook, store, every=60)
    running = asyncio.create_task(shipper.run(stop))
    await asyncio.sleep(0)
    for n in range(1, BATCH * 2):
        daybook.open(n)
        daybook.close(n, "0")
    stop.set()
    await asyncio.wait_for(running, 20)
    assert await store.cursor("aaa") == len(daybook.list)
    assert (await spent(store))[1] == BATCH * 2 - 1


async def test_a_shipper_outlives_a_store_that_is_away_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "routebook")
    daybook, store, stop = Daybook(), Fragile(), asyncio.Event()
    store.plan = iter(["before", "before", None])
    daybook.open(1)
    daybook.close(1)
    shipper = Shipper(daybook, store, every=0.001)
    assert shipper.trouble is None
    running = asyncio.create_task(shipper.run(stop))
    async with asyncio.timeout(10):
        seen: set[str | None] = set()
        while not await store.cursor("aaa"):
            seen.add(shipper.trouble)
            await asyncio.sleep(0)
    assert "cut before" in seen
    stop.set()
    await asyncio.wait_for(running, 10)
    assert shipper.trouble is None
    assert [record.levelname for record in caplog.records if record.name == "routebook.ledger"] == ["WARNING", "INFO"]


async def test_a_stop_while_the_store_is_away_ends_in_a_failure_not_in_silence() -> None:
    daybook, store, stop = Daybook(), Fragile(), asyncio.Event()
    store.plan = iter(["before"] * 1_000)
    daybook.open(1)
    daybook.close(1)
    stop.set()
    with pytest.raises(Unavailable, match="daybook aaa are not in the store yet: cut before"):
        await asyncio.wait_for(Shipper(daybook, store, patience=0.01).run(stop), 10)


async def test_an_open_call_is_not_a_generation_yet() -> None:
    with pytest.raises(ValueError, match="still open"):
        stored_of("aaa", Folded(1, intent(1)))


async def test_a_book_is_restored_from_what_is_shipped_and_what_is_not() -> None:
    daybook, store = Daybook(), MemoryStore()
    for n in range(1, 4):
        daybook.open(n)
        daybook.close(n, "0.5")
    await Shipper(daybook, store).ship_once()
    for n in range(4, 6):
        daybook.open(n)
        daybook.close(n, "0.125")
    daybook.open(6)
    daybook.put(Amendment(at_ns=2), 1, State.AMENDMENT)
    book = Book()
    assert await restore(book, store, [daybook]) == 2
    assert book.usage("a" * 64, NOON).daily == D("1.750")
    assert book.account_usage("default") == D("1.750")


async def test_the_real_daybook_and_the_real_store_agree_to_the_last_digit(tmp_path: Path) -> None:
    daybook, store = FileDaybook(tmp_path), SqliteStore(tmp_path / "routebook.db")
    total, book = D(0), Book()

    async def call(number: int) -> None:
        nonlocal total
        n = daybook.next_n()
        charge = D(number).scaleb(-(number % 20))
        await daybook.open(intent(n))
        total += charge
        await daybook.close(f"gen-{n}", n, State.DONE, outcome(str(charge)))

    await asyncio.gather(*(call(number) for number in range(1, 301)))
    await restore(book, store, [daybook])
    shipper = Shipper(daybook, store)
    while await shipper.ship_once():
        pass
    assert await spent(store) == (total, 300)
    assert book.usage("a" * 64, NOON).total == total
    again = Book()
    assert await restore(again, store, [daybook]) == 0
    assert again.usage("a" * 64, NOON) == book.usage("a" * 64, NOON)
    folds = {fold.intent.id: fold for fold in daybook.scan()}
    rows = await store.generations(account="default", limit=1_000)
    assert {row.id: unfold(row.folded) for row in rows} == folds
    await store.close()
    await daybook.aclose()
