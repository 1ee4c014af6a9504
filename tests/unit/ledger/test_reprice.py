"""Charging anew: what changes, what is written, that it counts once, and that the proof sees it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

from routebook.core.catalog import Accounting
from routebook.core.errors import Unavailable
from routebook.core.generation import Amendment, Folded, Outcome, Revision, Row, State
from routebook.core.ids import base62
from routebook.core.money import Charge, Line, Prices, PriceSheet
from routebook.daybook import folder
from routebook.daybook.book import FileDaybook
from routebook.daybook.folder import DaybookLocked
from routebook.daybook.library import find, latest, revised
from routebook.daybook.reading import ReadOnlyDaybook, read_daybooks
from routebook.daybook.revisions import Follower, RevisionBook, home_of, read_revisions
from routebook.ledger.book import Book
from routebook.ledger.reprice import Repriced, reprice
from routebook.ledger.ship import Shipper
from routebook.ledger.verify import Report, verify
from routebook.metering.folding import unfold
from routebook.metering.record import record
from routebook.metering.revision import charge_of
from routebook.store.port import Amended, Store
from routebook.store.sheets import posting_of_revision
from routebook.store.sqlite import SqliteStore
from routebook.testing.clock import LoadedDice
from routebook.wire.codec import pack
from tests.unit.daybook.samples import ACCEPTED_NS, SHEET, attempt, intent, outcome

pytestmark = pytest.mark.anyio

DEARER = PriceSheet(Prices(prompt=Decimal("0.000004"), completion=Decimal("0.000015")), revision="2024-08")
HOUR_NS = 3600 * 10**9
NOW_NS = ACCEPTED_NS + 1000 * HOUR_NS


class Gateway:
    """A worker's daybook with its shipper, and the store."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.store = SqliteStore(home / "routebook.db")
        self.daybook = FileDaybook(home)
        self.shipper = Shipper(self.daybook, self.store)

    async def call(self, end: Outcome | None = None, **changes: object) -> str:
        n = self.daybook.next_n()
        call = intent(n, self.daybook.name, **{"accepted_ns": ACCEPTED_NS + n * HOUR_NS, **changes})
        await self.daybook.open(call)
        await self.daybook.close(call.id, n, State.DONE, end or outcome())
        return call.id

    async def ship(self) -> None:
        while await self.shipper.ship_once():
            pass

    async def close(self) -> None:
        await self.daybook.aclose()
        await self.store.close()


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    gateway = Gateway(tmp_path)
    yield gateway
    await gateway.close()


def by(sheet: PriceSheet | None) -> Callable[[int], Callable[[str, str], PriceSheet | None]]:
    return lambda at_ns: lambda endpoint, model: sheet


async def run(
    gateway: Gateway,
    sheets_at: Callable[[int], Callable[[str, str], PriceSheet | None]] = by(DEARER),
    *,
    dry: bool = False,
    since_ns: int = 0,
    until_ns: int | None = None,
    model: str | None = None,
) -> tuple[Repriced, int]:
    """As the command does it: (the report, rows that came into force at its end)."""
    store = gateway.store
    book = None if dry else await RevisionBook.take(gateway.home, store)
    try:
        report = await reprice(
            store,
            sheets_at,
            Accounting(),
            NOW_NS,
            None if book is None else book.write,
            since_ns=since_ns,
            until_ns=until_ns,
            model=model,
        )
        return report, 0 if book is None else await book.ship(store)
    finally:
        if book is not None:
            await book.close()


async def stored(gateway: Gateway, id: str) -> Folded:
    found = await gateway.store.generation(id)
    assert found is not None
    return unfold(found.folded)


async def spent(store: Store) -> tuple[Decimal, int]:
    spends = await store.spend()
    return sum((each.usage for each in spends), Decimal(0)), sum(each.requests for each in spends)


async def proof(gateway: Gateway) -> Report:
    books, revisions = read_daybooks(gateway.home), read_revisions(gateway.home)
    try:
        return await verify(books, gateway.store, revisions)
    finally:
        for book in (*books, *revisions):
            book.close()


def failures(report: Report) -> list[str]:
    return [failure for check in report.checks for failure in check.failures]


def figures(report: Report, name: str) -> dict[str, int | str]:
    return next(check.figures for check in report.checks if check.name == name)


async def test_a_charge_by_other_prices_is_a_revision_and_its_difference_is_posted(gateway: Gateway) -> None:
    ids = [await gateway.call() for _ in range(3)]
    await gateway.ship()
    report, carried = await run(gateway)
    assert (report.looked_at, report.changed, report.unchanged, report.left, carried) == (3, 3, 0, 0, 3)
    (group,) = report.differences
    assert (group.model, group.provider, group.calls) == ("acme/large", "Acme", 3)
    assert (group.old, group.new, group.difference) == (Decimal("0.0018"), Decimal("0.0021"), Decimal("0.0003"))
    assert group.upstream_difference == Decimal("0.0003")
    for id in ids:
        call = await stored(gateway, id)
        assert charge_of(call).total == Decimal("0.0007")
        assert call.outcome is not None
        assert call.outcome.charge.total == Decimal("0.0006"), "what was written stays"
    assert await spent(gateway.store) == (Decimal("0.0021"), 3)
    told = await proof(gateway)
    assert failures(told) == []
    assert figures(told, "revisions") == {"revised": 3, "revisions": 3, "waiting": 0, "difference": "0.0003"}


async def test_a_second_run_changes_nothing(gateway: Gateway) -> None:
    await gateway.call()
    await gateway.ship()
    await run(gateway)
    before = await gateway.store.spend()
    report, carried = await run(gateway)
    assert (report.changed, report.unchanged, carried) == (0, 1, 0)
    assert await gateway.store.spend() == before


async def test_prices_that_went_there_and_back_leave_three_charges_and_the_first_amount(gateway: Gateway) -> None:
    id = await gateway.call()
    await gateway.ship()
    await run(gateway)
    await run(gateway, by(SHEET))
    call = await stored(gateway, id)
    told = record(call)
    assert [each["total_cost"] for each in told["routebook"]["revisions"]] == ["0.0006", "0.0007", "0.0006"]
    assert told["total_cost"] == Decimal("0.0006")
    assert await spent(gateway.store) == (Decimal("0.0006"), 1)
    assert failures(await proof(gateway)) == []


async def test_a_dry_run_tells_the_same_and_writes_nothing(gateway: Gateway) -> None:
    id = await gateway.call()
    await gateway.ship()
    before = await gateway.store.spend()
    report, _ = await run(gateway, dry=True)
    assert (report.changed, report.whole.difference) == (1, Decimal("0.0001"))
    assert (await stored(gateway, id)).revisions == ()
    assert await gateway.store.spend() == before
    assert not home_of(gateway.home).exists()


async def test_each_call_is_priced_by_the_sheet_of_its_own_time(gateway: Gateway) -> None:
    early, late = await gateway.call(), await gateway.call()
    await gateway.ship()
    border = ACCEPTED_NS + 2 * HOUR_NS
    await run(gateway, lambda at_ns: lambda endpoint, model: DEARER if at_ns >= border else SHEET)
    assert (await stored(gateway, early)).revisions == ()
    assert len((await stored(gateway, late)).revisions) == 1


async def test_only_the_calls_of_the_time_and_model_that_were_asked_for_are_looked_at(gateway: Gateway) -> None:
    for _ in range(4):
        await gateway.call()
    await gateway.call(outcome(model="acme/small", attempts=(attempt(model="acme/small"),)))
    await gateway.ship()
    begin, end = ACCEPTED_NS + 2 * HOUR_NS, ACCEPTED_NS + 4 * HOUR_NS
    report, _ = await run(gateway, dry=True, since_ns=begin, until_ns=end)
    assert report.looked_at == 2
    report, _ = await run(gateway, dry=True, model="acme/small")
    assert [each.model for each in report.differences] == ["acme/small"]


async def test_calls_without_a_price_keep_theirs_and_are_counted(gateway: Gateway) -> None:
    id = await gateway.call()
    await gateway.call(outcome(charge=Charge(lines=())))
    await gateway.ship()
    report, _ = await run(gateway, by(None))
    assert (report.changed, report.left) == (0, 2)
    assert report.unknown == {("acme/large", "Acme"): 1}, "of the other nothing was sent, so it needs no price"
    assert (await stored(gateway, id)).revisions == ()


async def test_an_unpriced_call_gets_its_price(gateway: Gateway) -> None:
    id = await gateway.call(outcome(charge=Charge(unpriced=True)))
    await gateway.ship()
    await run(gateway, by(SHEET))
    data = record(await stored(gateway, id))
    assert (data["total_cost"], data["routebook"]["unpriced"]) == (Decimal("0.0006"), False)
    assert failures(await proof(gateway)) == []


async def test_calls_of_one_nanosecond_are_each_looked_at_once(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routebook.ledger.reprice.PAGE", 2)
    for _ in range(5):
        await gateway.call(accepted_ns=ACCEPTED_NS)
    await gateway.call()
    await gateway.ship()
    report, carried = await run(gateway)
    assert (report.looked_at, report.changed, carried) == (6, 6, 6)
    assert await spent(gateway.store) == (Decimal("0.0042"), 6)
    assert failures(await proof(gateway)) == []


async def test_the_record_is_right_from_the_callers_own_daybook_too(gateway: Gateway) -> None:
    id = await gateway.call()
    await gateway.ship()
    await run(gateway)
    own = gateway.daybook.read(1)
    assert own is not None
    assert own.revisions == ()
    assert charge_of(await revised(own, gateway.store)).total == Decimal("0.0007")
    books = read_daybooks(gateway.home)
    with contextlib.ExitStack() as stack:
        for book in books:
            stack.enter_context(book)
        found = await find(id, books, gateway.store)
        assert found is not None
        assert charge_of(found).total == Decimal("0.0007")
        (listed,) = await latest(books, gateway.store)
        assert charge_of(listed).total == Decimal("0.0007")


async def test_a_token_count_that_comes_after_the_revision_does_not_take_it_away(gateway: Gateway) -> None:
    id = await gateway.call()
    await gateway.ship()
    await run(gateway)
    gateway.daybook.note(id, 1, Amendment(at_ns=NOW_NS, tokens_prompt=7, tokens_completion=3))
    await gateway.ship()
    data = record(await stored(gateway, id))
    assert (data["total_cost"], data["tokens_prompt"]) == (Decimal("0.0007"), 7)
    assert data["routebook"]["daybook"]["seq"] == 3, "the sequence is that of the call's own daybook"
    assert failures(await proof(gateway)) == []


class Away(SqliteStore):
    """A store that is away when it is to take something."""

    away = False

    async def ship(self, *args: object, **more: object) -> None:
        if self.away:
            raise Unavailable("the store is away")
        await super().ship(*args, **more)  # type: ignore[arg-type]


async def test_what_a_killed_run_had_written_counts_once_and_after_the_next_run(gateway: Gateway) -> None:
    id = await gateway.call()
    await gateway.ship()
    await gateway.store.close()
    away = gateway.store = Away(gateway.home / "routebook.db")
    away.away = True
    with pytest.raises(Unavailable):
        await run(gateway)
    assert (await stored(gateway, id)).revisions == ()
    told = await proof(gateway)
    assert failures(told) == []
    assert figures(told, "revisions")["waiting"] == 1
    away.away = False
    report, carried = await run(gateway)
    assert (report.changed, report.unchanged, carried) == (0, 1, 0), "taking the book brought it into force"
    assert await spent(gateway.store) == (Decimal("0.0007"), 1)
    assert failures(await proof(gateway)) == []


async def test_two_runs_at_a_time_are_refused(gateway: Gateway) -> None:
    book = await RevisionBook.take(gateway.home, gateway.store)
    with pytest.raises(DaybookLocked):
        await RevisionBook.take(gateway.home, gateway.store)
    await book.close()
    await (await RevisionBook.take(gateway.home, gateway.store)).close()


async def test_the_book_of_revisions_has_a_name_that_no_other_book_has(gateway: Gateway) -> None:
    await gateway.call()
    await gateway.ship()
    taken, free = gateway.daybook.name, "Zz9"
    book = await RevisionBook.take(gateway.home, gateway.store, Told(taken, free))
    await book.close()
    assert book.name == free


class Told(LoadedDice):
    """Dice that give the numbers of these names in turn."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self._numbers = [next(number for number in range(62**3) if base62(number, 3) == name) for name in names]

    def roll(self, bits: int) -> int:
        return self._numbers.pop(0)


async def test_a_book_that_lost_rows_is_not_written_on(gateway: Gateway) -> None:
    id = await gateway.call()
    await gateway.ship()
    await run(gateway)
    (name,) = folder.names(home_of(gateway.home))
    for file in (folder.root(home_of(gateway.home)) / name).glob("*.daybook"):
        file.unlink()
    report, carried = await run(gateway, by(SHEET))
    assert (report.changed, carried) == (1, 1)
    assert charge_of(await stored(gateway, id)).total == Decimal("0.0006")


async def test_the_book_holds_when_calls_and_their_revisions_were_deleted(gateway: Gateway) -> None:
    for _ in range(3):
        await gateway.call()
    await gateway.ship()
    await run(gateway)
    assert await gateway.store.delete_before(ACCEPTED_NS + 3 * HOUR_NS, 10) == 2
    told = await proof(gateway)
    assert failures(told) == []
    assert figures(told, "shipped")["deleted"] == 2
    assert await spent(gateway.store) == (Decimal("0.0021"), 3)


async def test_a_running_gateway_learns_what_was_charged_anew(gateway: Gateway) -> None:
    await gateway.call()
    await gateway.ship()
    await run(gateway)
    follower, book = Follower(gateway.home, gateway.store), Book()
    await follower.begin()
    book.load(await gateway.store.spend())
    assert await follower.follow(book) == 0
    await run(gateway, by(SHEET))
    assert await follower.follow(book) == 1
    assert await follower.follow(book) == 0
    assert book.account_usage("default") == Decimal("0.0006")


async def test_a_gateway_that_runs_at_the_first_repricing_learns_of_it(gateway: Gateway) -> None:
    await gateway.call()
    await gateway.ship()
    follower, book = Follower(gateway.home, gateway.store), Book()
    await follower.begin()
    book.load(await gateway.store.spend())
    await run(gateway)
    assert await follower.follow(book) == 1
    assert book.account_usage("default") == Decimal("0.0007")


async def test_a_gateway_that_is_stopped_half_way_in_what_was_charged_anew_counts_nothing_twice(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        await gateway.call()
    await gateway.ship()
    follower, book = Follower(gateway.home, gateway.store), Book()
    await follower.begin()
    book.load(await gateway.store.spend())
    await run(gateway)
    monkeypatch.setattr("routebook.daybook.revisions.PAGE", 1)
    real = ReadOnlyDaybook.rows
    refused: list[int] = []

    def rows(daybook: ReadOnlyDaybook, after: int, limit: int) -> list[Row]:
        if after == 2 and not refused:
            refused.append(after)
            raise OSError(5, "Input/output error")
        return real(daybook, after, limit)

    monkeypatch.setattr(ReadOnlyDaybook, "rows", rows)
    with pytest.raises(OSError, match="Input/output"):
        await follower.follow(book)
    assert await follower.follow(book) == 1
    assert refused == [2]
    assert book.account_usage("default") == (await spent(gateway.store))[0] == Decimal("0.0021")


# --- the proof sees what is wrong


async def forged(gateway: Gateway, change: Callable[[Revision], Revision], post: bool = True) -> list[str]:
    """A revision that somebody put into the store by hand."""
    id = await gateway.call()
    await gateway.ship()
    call = await stored(gateway, id)
    lines = (Line("prompt", Decimal("0.0007"), 175, Decimal("0.000004")),)
    good = Revision(
        id=id,
        daybook=gateway.daybook.name,
        n=1,
        number=1,
        at_ns=NOW_NS,
        account=call.intent.account,
        key_hash=call.intent.key_hash,
        accepted_ns=call.intent.accepted_ns,
        before=Decimal("0.0006"),
        upstream_before=Decimal("0.0006"),
        charge=Charge(total=Decimal("0.0007"), upstream=Decimal("0.0007"), lines=lines),
    )
    bad = change(good)
    blob = pack(Amendment(at_ns=NOW_NS, revision=bad))
    postings = [posting_of_revision(bad)] if post else []
    await gateway.store.ship("zzz", 1, [], postings, [Amended(gateway.daybook.name, 1, 1, blob)])
    return failures(await proof(gateway))


async def test_a_good_revision_of_a_book_that_is_not_here_passes(gateway: Gateway) -> None:
    assert await forged(gateway, lambda good: good) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda good: replace(good, number=2), "revision 1 was due"),
        (lambda good: replace(good, before=Decimal(0)), "does not replace 0.0006"),
        (lambda good: replace(good, charge=replace(good.charge, total=Decimal(9))), "the lines sum to 0.0007"),
        (lambda good: replace(good, accepted_ns=1), "is about another call"),
    ],
)
async def test_a_revision_that_does_not_follow_is_named(
    gateway: Gateway, change: Callable[[Revision], Revision], told: str
) -> None:
    assert any(told in failure for failure in await forged(gateway, change))


async def test_a_revision_that_was_not_posted_is_named(gateway: Gateway) -> None:
    found = await forged(gateway, lambda good: good, post=False)
    assert any("its shipped calls make" in failure for failure in found)


async def test_a_revision_that_was_posted_and_then_lost_by_the_store_is_named(gateway: Gateway) -> None:
    await gateway.call()
    await gateway.ship()
    await run(gateway)
    with contextlib.closing(gateway.store._writer.cursor()) as cursor:
        cursor.execute("DELETE FROM amendments")
    found = failures(await proof(gateway))
    assert any("the store does not have revision 1" in failure for failure in found)
