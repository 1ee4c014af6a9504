"""The proof of the book: it holds for a good book, and names what is wrong with a bad one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from routebook.core.generation import Amendment, Row, State
from routebook.core.money import Charge
from routebook.daybook.book import FileDaybook
from routebook.daybook.reading import read_daybooks
from routebook.ledger.ship import Shipper
from routebook.ledger.verify import Check, Report, verify
from routebook.store.memory import MemoryStore
from routebook.store.port import Store
from routebook.store.sqlite import SqliteStore
from routebook.wire import codec
from tests.unit.daybook.forge import forge
from tests.unit.daybook.samples import ACCEPTED_NS, charge, intent, outcome

HALF_DAY = 12 * 3600 * 10**9


async def fill(book: FileDaybook) -> None:
    """Six ended calls of two keys on three days, one of them amended and one with progress, and one open call."""
    for number in range(6):
        n = book.next_n()
        call = intent(
            n, book.name, key_hash=("ab" if number % 2 else "cd") * 32, accepted_ns=ACCEPTED_NS + n * HALF_DAY
        )
        await book.open(call)
        await book.close(call.id, n, State.DONE if number else State.ERROR, outcome())
    book.note(call.id, n, Amendment(at_ns=1, tokens_prompt=3))
    await book.open(intent(book.next_n(), book.name))


async def proof(home: Path, store: Store | None) -> Report:
    books = read_daybooks(home)
    try:
        return await verify(books, store)
    finally:
        for book in books:
            book.close()


def check(report: Report, name: str) -> Check:
    return next(check for check in report.checks if check.name == name)


def on_a_book(home: Path, steps: Callable[[FileDaybook, Store], Awaitable[None]], store: Store | None = None) -> None:
    async def run() -> None:
        book = FileDaybook(home)
        kept = store or MemoryStore()
        try:
            await fill(book)
            await steps(book, kept)
        finally:
            await kept.close()
            await book.aclose()

    asyncio.run(run())


def spoil(book: FileDaybook, change: Callable[[list[Row]], list[Row]]) -> None:
    """Change rows behind the owner's back, by somebody who knows the format."""
    forge(book.path, change)


def without(*sequences: int) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: [row for row in rows if row.seq not in sequences]


def with_blob(seq: int, blob: bytes) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: [msgspec.structs.replace(row, blob=blob) if row.seq == seq else row for row in rows]


def test_a_good_book_holds_shipped_or_not_beside_its_owner_and_after_it(tmp_path: Path) -> None:
    async def steps(book: FileDaybook, store: Store) -> None:
        before = await proof(tmp_path, store)
        assert before.holds, before
        assert check(before, "calls").figures == {"admitted": 7, "settled": 6, "open": 1, "interrupted": 0}
        assert check(before, "sequence").figures == {"rows": 14, "gaps": 0}
        assert check(before, "lines").figures == {
            "priced": 6, "unpriced": 0, "lines": 12, "over_hold": 0, "charged": "0.0036", "upstream": "0.0036"
        }  # fmt: skip
        assert check(before, "shipped").figures == {"shipped": 0, "waiting": 6, "without_daybook": 0}
        assert await Shipper(book, store).ship_once() == 14
        after = await proof(tmp_path, store)
        assert after.holds, after
        assert check(after, "shipped").figures == {"shipped": 6, "waiting": 0, "without_daybook": 0}
        assert check(after, "postings").figures == {"keys_and_days": 6, "posted": "0.0036"}

    on_a_book(tmp_path, steps)
    stopped = asyncio.run(proof(tmp_path, None))
    assert stopped.holds
    assert [check.name for check in stopped.checks] == ["calls", "sequence", "chain", "identity", "lines"]


def test_the_sqlite_store_is_proved_the_same_way(tmp_path: Path) -> None:
    async def steps(book: FileDaybook, store: Store) -> None:
        await Shipper(book, store).ship_once()
        report = await proof(tmp_path, store)
        assert report.holds, report
        assert check(report, "shipped").figures["shipped"] == 6

    on_a_book(tmp_path, steps, SqliteStore(tmp_path / "routebook.db"))


def test_an_interrupted_call_is_counted_and_is_no_failure(tmp_path: Path) -> None:
    async def steps(book: FileDaybook, store: Store) -> None:
        del book, store

    on_a_book(tmp_path, steps)
    asyncio.run(FileDaybook(tmp_path).aclose())
    report = asyncio.run(proof(tmp_path, None))
    assert report.holds
    assert check(report, "calls").figures == {"admitted": 7, "settled": 6, "open": 0, "interrupted": 1}


def test_without_a_daybook_there_is_nothing_that_does_not_hold(tmp_path: Path) -> None:
    report = asyncio.run(proof(tmp_path, MemoryStore()))
    assert report.holds
    assert report.daybooks == []


def test_a_missing_row_is_named(tmp_path: Path) -> None:
    async def steps(book: FileDaybook, store: Store) -> None:
        spoil(book, without(4, 5, 8))
        report = await proof(tmp_path, store)
        assert not report.holds
        sequence = check(report, "sequence")
        assert sequence.figures["gaps"] == 3
        assert [text.partition(": ")[2] for text in sequence.failures] == [
            "row 4 to 5 is missing",
            "row 8 is missing",
        ]

    on_a_book(tmp_path, steps)


def test_an_outcome_without_an_intent_is_named(tmp_path: Path) -> None:
    async def steps(book: FileDaybook, store: Store) -> None:
        spoil(book, without(3))
        report = await proof(tmp_path, store)
        assert not check(report, "calls").holds
        assert "call 2 of daybook" in check(report, "identity").failures[0]
        assert "0 intents, 1 ends" in check(report, "identity").failures[0]

    on_a_book(tmp_path, steps)


def test_a_second_outcome_is_named(tmp_path: Path) -> None:
    async def steps(book: FileDaybook, store: Store) -> None:
        spoil(book, lambda rows: [*rows, msgspec.structs.replace(rows[1], seq=15)])
        report = await proof(tmp_path, store)
        assert not check(report, "calls").holds
        assert "1 intents, 2 ends" in check(report, "identity").failures[0]
        assert check(report, "sequence").holds

    on_a_book(tmp_path, steps)


def test_rows_under_another_calls_number_are_named(tmp_path: Path) -> None:
    async def steps(book: FileDaybook, store: Store) -> None:
        spoil(book, lambda rows: [msgspec.structs.replace(row, n=99) if row.n == 3 else row for row in rows])
        assert "does not name it" in check(await proof(tmp_path, store), "identity").failures[0]

    on_a_book(tmp_path, steps)


def test_a_row_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    async def steps(book: FileDaybook, store: Store) -> None:
        spoil(book, with_blob(2, b"\xff"))
        assert "cannot be read" in check(await proof(tmp_path, store), "identity").failures[0]

    on_a_book(tmp_path, steps)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (msgspec.structs.replace(charge(), total=Decimal("0.0007")), "the lines sum to 0.0006, the total is 0.0007"),
        (msgspec.structs.replace(charge(), lines=None), "no cost lines, though it is not marked unpriced"),
        (
            msgspec.structs.replace(
                charge(), lines=tuple(msgspec.structs.replace(line, rate=Decimal(1)) for line in charge().lines or ())
            ),
            "prompt: 100 x 1 is not 0.0003",
        ),
        (Charge(total=Decimal("1e-60"), lines=()), f"the lines sum to 0, the total is 0.{'0' * 59}1"),
    ],
)
def test_money_that_its_lines_do_not_explain_is_named(tmp_path: Path, wrong: Charge, says: str) -> None:
    async def steps(book: FileDaybook, store: Store) -> None:
        spoil(book, with_blob(2, codec.pack(outcome(charge=wrong))))
        failures = check(await proof(tmp_path, store), "lines").failures
        assert says in failures[0]
        assert failures[0].startswith("gen-")

    on_a_book(tmp_path, steps)


def test_a_charge_above_its_hold_is_counted_and_is_no_failure(tmp_path: Path) -> None:
    async def steps(book: FileDaybook, store: Store) -> None:
        call = intent(book.next_n(), book.name, hold=Decimal("0.0001"))
        await book.open(call)
        await book.close(call.id, call.n, State.DONE, outcome())
        report = await proof(tmp_path, store)
        assert report.holds
        assert check(report, "lines").figures["over_hold"] == 1

    on_a_book(tmp_path, steps)


def test_unpriced_calls_are_counted_apart(tmp_path: Path) -> None:
    async def steps(book: FileDaybook, store: Store) -> None:
        call = intent(book.next_n(), book.name)
        await book.open(call)
        await book.close(call.id, call.n, State.DONE, outcome(charge=Charge(unpriced=True)))
        report = await proof(tmp_path, store)
        assert report.holds
        assert check(report, "lines").figures["unpriced"] == 1

    on_a_book(tmp_path, steps)


def test_a_changed_copy_in_the_store_is_named(tmp_path: Path) -> None:
    async def steps(book: FileDaybook, store: Store) -> None:
        await Shipper(book, store).ship_once()
        spoil(book, with_blob(2, codec.pack(outcome(native_finish_reason="other"))))
        failures = check(await proof(tmp_path, store), "shipped").failures
        assert len(failures) == 1
        assert "differs from the rows" in failures[0]

    on_a_book(tmp_path, steps)


def test_an_amendment_below_the_cursor_that_the_store_has_not_is_named(tmp_path: Path) -> None:
    async def steps(book: FileDaybook, store: Store) -> None:
        await Shipper(book, store).ship_once()
        first = book.read(1)
        assert first is not None
        book.note(first.intent.id, 1, Amendment(at_ns=1, tokens_prompt=3))
        late = await proof(tmp_path, store)
        assert late.holds, late
        cursor = len(book.rows(0, 100))
        await store.ship(book.name, cursor, [], [])
        assert "differs" in check(await proof(tmp_path, store), "shipped").failures[0]

    on_a_book(tmp_path, steps)


def test_a_call_below_the_cursor_that_the_store_has_not_is_named(tmp_path: Path) -> None:
    async def steps(book: FileDaybook, store: Store) -> None:
        await store.ship(book.name, 4, [], [])
        failures = check(await proof(tmp_path, store), "shipped").failures
        assert [text.partition(" of ")[0] for text in failures] == ["call 1", "call 2"]

    on_a_book(tmp_path, steps)


def test_spend_that_no_call_explains_is_named(tmp_path: Path) -> None:
    async def steps(book: FileDaybook, store: Store) -> None:
        shipper = Shipper(book, store)
        real = store.ship

        async def generous(daybook: str, upto: int, generations: Any, postings: Any, amendments: Any = ()) -> None:
            postings[0] = msgspec.structs.replace(postings[0], usage=postings[0].usage + Decimal("0.000001"))
            await real(daybook, upto, generations, postings, amendments)

        store.ship = generous  # type: ignore[method-assign]
        await shipper.ship_once()
        failures = check(await proof(tmp_path, store), "postings").failures
        assert len(failures) == 1
        assert "posted 0.000601 in 1 calls, its shipped calls make 0.0006 in 1 calls" in failures[0]

    on_a_book(tmp_path, steps)


def test_the_store_is_read_in_pages_even_of_one_nanosecond(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routebook.ledger.verify_store.PAGE", 3)

    async def steps(book: FileDaybook, store: Store) -> None:
        calls = [intent(book.next_n(), book.name) for _ in range(20)]
        await asyncio.gather(*(book.open(call) for call in calls))
        await asyncio.gather(*(book.close(call.id, call.n, State.DONE, outcome()) for call in calls))
        await Shipper(book, store).ship_once()
        report = await proof(tmp_path, store)
        assert report.holds, report
        assert check(report, "shipped").figures["shipped"] == 26

    on_a_book(tmp_path, steps)


def test_the_proof_holds_while_calls_are_made_and_shipped(tmp_path: Path) -> None:
    async def steps(book: FileDaybook, store: Store) -> None:
        stop = asyncio.Event()

        async def caller() -> None:
            # Each proof reads everything: callers who never end would make it longer than it can be waited for.
            for _ in range(2000):
                call = intent(book.next_n(), book.name)
                await book.open(call)
                await book.close(call.id, call.n, State.DONE, outcome())
                await asyncio.sleep(0)

        callers = [asyncio.create_task(caller()) for _ in range(4)]
        shipping = asyncio.create_task(Shipper(book, store, every=0.001).run(stop))
        while not all(each.done() for each in callers):
            report = await proof(tmp_path, store)
            assert report.holds, report
        stop.set()
        await asyncio.gather(*callers, shipping)
        report = await proof(tmp_path, store)
        assert report.holds, report
        assert check(report, "shipped").figures["waiting"] == 0

    on_a_book(tmp_path, steps, SqliteStore(tmp_path / "routebook.db"))


def test_long_lists_of_failures_are_cut_and_counted() -> None:
    cut = Check("x", "y")
    for number in range(25):
        cut.fail(str(number))
    assert (len(cut.failures), cut.more) == (20, 5)
    assert not cut.holds
