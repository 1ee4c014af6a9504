"""The proof of the book and the daybook's files: damages, a forged row, and segments that are past retention."""

from __future__ import annotations

import asyncio
from pathlib import Path

from routebook.core.generation import State
from routebook.daybook import folder
from routebook.daybook.book import FileDaybook
from routebook.daybook.frames import HEADER_SIZE
from routebook.daybook.segments import Sizes
from routebook.daybook.shelf import Shelf
from routebook.ledger.ship import Shipper
from routebook.store.memory import MemoryStore
from routebook.store.port import Store
from routebook.wire import codec
from tests.unit.daybook.forge import forge, rows_of
from tests.unit.daybook.samples import intent, outcome
from tests.unit.ledger.test_verify import check, fill, on_a_book, proof, with_blob


def test_a_changed_byte_is_named_with_its_file_and_place(tmp_path: Path) -> None:
    async def steps(book: FileDaybook, store: Store) -> None:
        data = bytearray(book.path.read_bytes())
        data[len(data) // 2] ^= 1
        book.path.write_bytes(data)
        report = await proof(tmp_path, store)
        assert not report.holds
        failures = check(report, "chain").failures
        assert book.path.name in failures[0]
        assert "are damaged" in failures[0]
        assert not check(report, "sequence").holds

    on_a_book(tmp_path, steps)


def test_a_row_that_was_exchanged_with_its_checksum_made_good_breaks_the_chain(tmp_path: Path) -> None:
    async def steps(book: FileDaybook, store: Store) -> None:
        whole = book.path.read_bytes()
        before = rows_of(book.path)
        forge(book.path, with_blob(2, codec.pack(outcome(native_finish_reason="other"))))
        forged = book.path.read_bytes()
        shelf = Shelf(book.path.parent)
        ends = [frame.end for frame in shelf.frames(1, HEADER_SIZE)]
        shelf.close()
        # The forged beginning, and what was really written behind it.
        book.path.write_bytes(whole)
        shelf = Shelf(book.path.parent)
        true_ends = [frame.end for frame in shelf.frames(1, HEADER_SIZE)]
        shelf.close()
        book.path.write_bytes(forged[: ends[1]] + whole[true_ends[1] :])
        assert [row.seq for row in rows_of(book.path)] == [row.seq for row in before]
        report = await proof(tmp_path, store)
        assert [text.partition(": ")[2] for text in check(report, "chain").failures] == [
            "row 3 does not continue the hash chain"
        ]

    on_a_book(tmp_path, steps)


def test_a_book_whose_old_segments_are_past_retention_still_holds(tmp_path: Path) -> None:
    async def run() -> None:
        sizes = Sizes(segment_bytes=4000, keep_bytes=0, keep_seconds=0.0, reserve_bytes=0)
        book, store = FileDaybook(tmp_path, sizes=sizes), MemoryStore()

        async def ready_to_roll() -> None:
            async with asyncio.timeout(30):
                while book._keeper.fresh is None:  # noqa: ASYNC110 - a thread is at it
                    await asyncio.sleep(0.005)

        await fill(book)
        await fill(book)  # each leaves a call open
        await ready_to_roll()
        await fill(book)
        for n in sorted(book._open):
            await book.close(intent(n, book.name).id, n, State.DONE, outcome())
        await fill(book)
        await ready_to_roll()
        for n in sorted(book._open):
            await book.close(intent(n, book.name).id, n, State.DONE, outcome())
        while await Shipper(book, store).ship_once():
            pass
        async with asyncio.timeout(30):
            while not folder.segments(book.path.parent)[0] > 1:  # noqa: ASYNC110 - a thread is at it
                await asyncio.sleep(0.005)
        report = await proof(tmp_path, store)
        assert report.holds, report
        assert int(check(report, "calls").figures["begun_before"]) >= 1
        assert int(check(report, "shipped").figures["without_daybook"]) >= 1
        assert check(report, "sequence").figures["gaps"] == 0
        await book.aclose()

    asyncio.run(run())
