"""The proof of a book of which retention deleted calls, that lends budgets, or whose head somebody noted."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from routebook.core.errors import Unavailable
from routebook.core.generation import Row
from routebook.core.people import Key
from routebook.daybook.book import FileDaybook
from routebook.daybook.reading import ReadOnlyDaybook, read_daybooks
from routebook.ledger.chain import Head, chain_of, head_of, told
from routebook.ledger.ship import Shipper
from routebook.ledger.verify import verify
from routebook.store.lending import FIRST_DAY, LAST_DAY, Ask, Lease, Window, key_budget
from routebook.store.memory import MemoryStore
from routebook.store.port import Retired, RetiredBook, Store
from routebook.store.sqlite import SqliteStore
from routebook.wire import codec
from tests.unit.daybook.forge import forge
from tests.unit.daybook.samples import ACCEPTED_NS, outcome
from tests.unit.ledger.test_verify import HALF_DAY, check, fill, on_a_book, proof


@pytest.mark.parametrize("kind", [MemoryStore, SqliteStore])
def test_deleted_calls_are_counted_and_no_failure(tmp_path: Path, kind: type) -> None:
    async def steps(book: FileDaybook, store: Store) -> None:
        await Shipper(book, store).ship_once()
        assert await store.delete_before(ACCEPTED_NS + 4 * HALF_DAY, 2) == 2
        assert await store.delete_before(ACCEPTED_NS + 4 * HALF_DAY, 2) == 1
        report = await proof(tmp_path, store)
        assert report.holds, report
        assert check(report, "retention").figures == {"deleted": 3, f"{book.name} up to row": 6}
        assert check(report, "shipped").figures["deleted"] == 3
        assert check(report, "postings").figures["posted"] == "0.0036"

    on_a_book(tmp_path, steps, kind() if kind is MemoryStore else kind(tmp_path / "routebook.db"))


def test_a_call_that_left_the_store_otherwise_is_named(tmp_path: Path) -> None:
    async def steps(book: FileDaybook, store: Store) -> None:
        assert isinstance(store, MemoryStore)
        await Shipper(book, store).ship_once()
        assert await store.delete_before(ACCEPTED_NS + 4 * HALF_DAY, 2) == 2
        del store._calls[book.name, 5]
        failures = check(await proof(tmp_path, store), "shipped").failures
        assert len(failures) == 1
        assert failures[0].startswith("call 5 of daybook")

    on_a_book(tmp_path, steps)


def test_more_deleted_calls_than_retention_wrote_down_are_named(tmp_path: Path) -> None:
    async def steps(book: FileDaybook, store: Store) -> None:
        assert isinstance(store, MemoryStore)
        await Shipper(book, store).ship_once()
        assert await store.delete_before(ACCEPTED_NS + 4 * HALF_DAY, 3) == 3
        store._retired_books[book.name] = RetiredBook(book.name, 2, 6)
        failures = check(await proof(tmp_path, store), "retention").failures
        assert "3 calls are not in the store, but retention deleted 2 of it" in failures[0]
        assert failures[1] == "2 calls were deleted, but the spend that was kept is of 3"

    on_a_book(tmp_path, steps)


def test_a_look_that_retention_ran_into_is_taken_again(tmp_path: Path) -> None:
    async def steps(book: FileDaybook, store: Store) -> None:
        await Shipper(book, store).ship_once()
        real, asked = store.retired, 0

        async def retired() -> Retired:
            nonlocal asked
            asked += 1
            if asked in (2, 4):  # while the book is looked at
                await store.delete_before(ACCEPTED_NS + asked * HALF_DAY, 1)
            return await real()

        store.retired = retired  # type: ignore[method-assign]
        report = await proof(tmp_path, store)
        assert report.holds, report
        assert asked == 6
        assert check(report, "retention").figures["deleted"] == 2

    on_a_book(tmp_path, steps)


def test_a_book_that_never_holds_still_is_given_up_with_a_sentence(tmp_path: Path) -> None:
    async def steps(book: FileDaybook, store: Store) -> None:
        await Shipper(book, store).ship_once()
        real, asked = store.retired, 0

        async def retired() -> Retired:
            nonlocal asked
            asked += 1
            return msgspec.structs.replace(await real(), kept_since_ns=asked)

        store.retired = retired  # type: ignore[method-assign]
        with pytest.raises(Unavailable, match="verify again"):
            await proof(tmp_path, store)

    on_a_book(tmp_path, steps)


def test_leases_are_counted_and_one_that_is_no_amount_is_named(tmp_path: Path) -> None:
    async def steps(book: FileDaybook, store: Store) -> None:
        assert isinstance(store, MemoryStore)
        await store.put_key(Key(hash="ab" * 32, name="a", label="a", limit=Decimal(5)))
        window = Window(key_budget("ab" * 32), FIRST_DAY, LAST_DAY)
        await store.lend(book.name, Ask(window, Decimal(5), Decimal(1), Decimal("0.5")))
        await store.lend("zzz", Ask(window, Decimal(5), Decimal(1), Decimal("0.5")))
        report = await proof(tmp_path, store)
        assert report.holds, report
        assert check(report, "leases").figures == {
            "leases": 2, "elsewhere": 1, "above_limit": 0, "lent": "3.75"
        }  # fmt: skip
        await store.put_key(Key(hash="ab" * 32, name="a", label="a", limit=Decimal("3.74")))
        lowered = await proof(tmp_path, store)
        assert lowered.holds, lowered
        assert check(lowered, "leases").figures["above_limit"] == 1
        upside_down = msgspec.structs.replace(window, first=LAST_DAY, last=FIRST_DAY)
        store._put_lease(Lease(window, "zzz", Decimal(-1)))
        store._put_lease(Lease(upside_down, "zzz", Decimal(1)))
        failures = check(await proof(tmp_path, store), "leases").failures
        assert any("-1 is no amount that can be lent" in failure for failure in failures)
        assert any("are no window" in failure for failure in failures)

    on_a_book(tmp_path, steps)


async def headed(home: Path, head: Head) -> list[str]:
    books = read_daybooks(home)
    try:
        return check(await verify(books, None, heads=[head]), "chain").failures
    finally:
        for book in books:
            book.close()


def test_a_book_that_was_written_anew_is_found_by_its_head_alone(tmp_path: Path) -> None:
    async def steps(book: FileDaybook, store: Store) -> None:
        with ReadOnlyDaybook(tmp_path, book.name) as reader:
            head = chain_of(reader).head
        assert head_of(told(head)) == msgspec.structs.replace(head, digest=head.digest[:16])
        assert await headed(tmp_path, head) == []

        def cheaper(rows: list[Row]) -> list[Row]:
            return [
                msgspec.structs.replace(row, blob=codec.pack(outcome(delivered_bytes=1))) if row.seq == 2 else row
                for row in rows
            ]

        forge(book.path, cheaper)
        assert (await proof(tmp_path, None)).holds, "a book that lies well"
        (failure,) = await headed(tmp_path, head)
        assert f"head {told(head)}: the digest there is" in failure

    on_a_book(tmp_path, steps)


def test_a_head_is_proved_over_segments_and_untold_when_its_row_is_gone(tmp_path: Path) -> None:
    async def run() -> None:
        book = FileDaybook(tmp_path)
        await fill(book)
        with ReadOnlyDaybook(tmp_path, book.name) as reader:
            early = chain_of(reader).head
        await fill(book)
        assert await headed(tmp_path, early) == []
        (between,) = await headed(tmp_path, msgspec.structs.replace(early, seq=early.seq + 1))
        assert "the digest there is" in between or "no commit ends there" in between
        await book.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("text", ["", "a:b", "abc:x:" + "0" * 16, "abc:1:" + "0" * 15, "abc:1:" + "g" * 16])
def test_what_is_no_head_is_none(text: str) -> None:
    assert head_of(text) is None
