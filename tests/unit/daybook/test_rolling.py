"""Segments: the book goes on in the next one, old ones leave when nobody needs them, and everything is still found."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from routebook.core.generation import Amendment, Intent, State
from routebook.daybook import folder
from routebook.daybook.book import FileDaybook
from routebook.daybook.calls import BITS, Calls
from routebook.daybook.reading import ReadOnlyDaybook
from routebook.daybook.segments import Sizes
from tests.unit.daybook.samples import intent, outcome

SMALL = Sizes(segment_bytes=2000, keep_bytes=0, keep_seconds=0.0, reserve_bytes=0)
KEEPING = Sizes(segment_bytes=2000, reserve_bytes=0)


async def one_call(book: FileDaybook) -> Intent:
    call = intent(book.next_n(), book.name)
    await book.open(call)
    await book.close(call.id, call.n, State.DONE, outcome())
    return call


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - a thread with the disk is what is waited for
            await asyncio.sleep(0.005)


async def roll(book: FileDaybook, times: int = 1) -> None:
    """Make calls until the book is so many segments further."""
    for _ in range(times):
        while book._segment.size <= SMALL.segment_bytes:
            await one_call(book)
        await until(lambda: book._keeper.fresh is not None)
        number = book._segment.number
        while book._segment.number == number:
            await one_call(book)


@pytest.mark.parametrize("durability", ["process", "power"])
def test_the_book_goes_on_in_the_next_segment_and_reads_over_all(tmp_path: Path, durability: str) -> None:
    async def run() -> int:
        book = FileDaybook(tmp_path, sizes=KEEPING, durability=durability)  # type: ignore[arg-type]
        await roll(book, 3)
        last = await one_call(book)
        for n in range(1, last.n + 1):
            call = book.read(n)
            assert call is not None
            assert call.state == State.DONE
        assert [row.seq for row in book.rows(0, 10**6)] == list(range(1, 2 * last.n + 1))
        assert [call.intent.n for call in book.scan()] == list(range(1, last.n + 1))
        await book.aclose()
        return last.n

    calls = asyncio.run(run())
    name = folder.names(tmp_path)[0]
    with ReadOnlyDaybook(tmp_path, name) as reader:
        assert reader.findings() == []
        assert reader.highest() == (2 * calls, calls)
        assert folder.segments(reader.path) == [1, 2, 3, 4]


def test_a_book_that_comes_back_with_a_full_segment_goes_on_in_the_next_at_once(tmp_path: Path) -> None:
    """However short its lives are: a gateway that is killed again and again never gets to the thread's first round."""

    async def run() -> None:
        book = FileDaybook(tmp_path, sizes=Sizes(reserve_bytes=0))
        while book._segment.size <= SMALL.segment_bytes:
            await one_call(book)
        await book.aclose()
        book = FileDaybook(tmp_path, sizes=KEEPING)
        await one_call(book)
        assert book._segment.number == 2
        await book.aclose()

    asyncio.run(run())


def test_rows_are_given_in_pieces_of_any_size_over_all_segments(tmp_path: Path) -> None:
    async def run() -> None:
        book = FileDaybook(tmp_path, sizes=KEEPING)
        await roll(book, 2)
        for limit in (1, 3, 7, 1000):
            got: list[int] = []
            while rows := book.rows(got[-1] if got else 0, limit):
                assert len(rows) <= limit
                got += [row.seq for row in rows]
            assert got == list(range(1, book._seq + 1))
        assert [row.seq for row in book.rows(2, 3)] == [3, 4, 5], "going back is possible, too"
        await book.aclose()

    asyncio.run(run())


def test_a_backlog_is_read_from_the_files_though_those_read_last_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routebook.daybook.recent.MOST", 4)  # the rest comes from the files

    async def run() -> None:
        book = FileDaybook(tmp_path, sizes=SMALL)
        for _ in range(6):
            await one_call(book)
        assert [row.seq for row in book.rows(0, 3)] == [1, 2, 3], "read from the first segment"
        await roll(book, 3)
        shipped = book._seq
        book.shipped(shipped)
        await until(lambda: folder.segments(book._folder) == [4])
        await roll(book, 2)
        assert [row.seq for row in book.rows(shipped, 10**6)] == list(range(shipped + 1, book._seq + 1))
        await book.aclose()

    asyncio.run(run())


def test_an_old_segment_is_made_next_by_its_age(tmp_path: Path) -> None:
    async def run() -> None:
        book = FileDaybook(tmp_path, sizes=Sizes(segment_seconds=0.0, reserve_bytes=0))
        await one_call(book)
        number = book._segment.number
        await until(lambda: book._keeper.fresh is not None)
        await one_call(book)
        assert book._segment.number == number + 1
        await book.aclose()

    asyncio.run(run())


def test_shipped_segments_leave_and_numbers_go_on(tmp_path: Path) -> None:
    async def run() -> tuple[int, int]:
        book = FileDaybook(tmp_path, sizes=SMALL)
        await roll(book, 4)
        book.shipped(book._seq)
        await until(lambda: folder.segments(book._folder) == [5])
        last = await one_call(book)
        assert book.read(last.n) is not None
        await book.aclose()
        return book._seq, last.n

    seq, n = asyncio.run(run())

    async def again() -> None:
        book = FileDaybook(tmp_path, sizes=SMALL, cursors={folder.names(tmp_path)[0]: seq})
        assert book.next_n() == n + 1
        assert (book._seq, book.recovered) == (seq, 0)
        await book.aclose()

    asyncio.run(again())
    with ReadOnlyDaybook(tmp_path, folder.names(tmp_path)[0]) as reader:
        first_seq, first_n = reader.begins()
        assert 0 < first_seq < seq
        assert 1 < first_n <= n
        assert reader.findings() == []


def test_a_new_owner_of_an_empty_last_segment_continues_its_numbers(tmp_path: Path) -> None:
    async def fresh() -> tuple[int, int]:
        book = FileDaybook(tmp_path, sizes=SMALL)
        await one_call(book)
        await until(lambda: book._keeper.fresh is None)
        book._segment.size += SMALL.segment_bytes  # the keeper is to think that it is full
        book._keeper.touch()
        await until(lambda: book._keeper.fresh is not None)
        book._segment.size -= SMALL.segment_bytes
        assert book._keeper.fresh is not None
        book._roll(book._keeper.fresh, [])
        book.shipped(book._seq)
        await until(lambda: folder.segments(book._folder) == [2])
        await book.aclose()
        return book._seq, book.next_n()

    seq, n = asyncio.run(fresh())

    async def again() -> None:
        book = FileDaybook(tmp_path, sizes=SMALL, cursors={folder.names(tmp_path)[0]: seq})
        assert (book._seq, book.next_n()) == (seq, n) == (2, 2)
        await book.aclose()

    asyncio.run(again())


def test_an_unshipped_row_keeps_its_segment_and_all_behind_it(tmp_path: Path) -> None:
    async def run() -> None:
        book = FileDaybook(tmp_path, sizes=SMALL)
        await roll(book, 4)
        middle = book._headers[2].seq  # the last row of the second segment
        book.shipped(middle + 1)
        await until(lambda: folder.segments(book._folder)[0] == 3)
        assert book.rows(middle, 1)[0].seq == middle + 1
        await book.aclose()

    asyncio.run(run())


def test_an_open_call_keeps_the_segment_that_has_its_intent(tmp_path: Path) -> None:
    async def run() -> None:
        book = FileDaybook(tmp_path, sizes=SMALL)
        await roll(book)
        long = intent(book.next_n(), book.name)
        await book.open(long)
        begun = book._segment.number
        await roll(book, 4)
        book.shipped(book._seq)
        await until(lambda: folder.segments(book._folder)[0] == begun)
        found = book.read(long.n)
        assert found is not None
        assert found.intent == long
        end = await book.close(long.id, long.n, State.DONE, outcome())
        found = book.read(long.n)
        assert found is not None
        assert found.seq == end
        # Its end is not shipped yet, so the shipper needs its intent: also when the book went on meanwhile.
        await roll(book, 2)
        book.shipped(end - 1)
        found = book.read(long.n)
        assert found is not None
        assert found.intent == long
        assert folder.segments(book._folder)[0] == begun
        await roll(book)
        book.shipped(book._seq)
        await until(lambda: folder.segments(book._folder)[0] > begun)
        await book.aclose()

    asyncio.run(run())


def test_a_call_that_ends_with_the_first_commit_of_a_segment_keeps_the_one_that_has_its_intent(tmp_path: Path) -> None:
    async def run() -> tuple[Intent, int]:
        book = FileDaybook(tmp_path, sizes=SMALL)
        await roll(book)
        long = intent(book.next_n(), book.name)
        await book.open(long)
        begun = book._segment.number
        while book._segment.size <= SMALL.segment_bytes:
            await one_call(book)
        await until(lambda: book._keeper.fresh is not None)
        before = book._seq
        await book.close(long.id, long.n, State.DONE, outcome())
        assert book._segment.number == begun + 1
        # Whoever ships its end next asks for its intent.
        book.shipped(before)
        await book.aclose()
        return long, begun

    long, begun = asyncio.run(run())
    with ReadOnlyDaybook(tmp_path, folder.names(tmp_path)[0]) as reader:
        assert folder.segments(reader.path) == [begun, begun + 1]
        found = reader.read(long.n)
        assert found is not None
        assert (found.intent, found.state) == (long, State.DONE)


def test_an_orphan_whose_intent_is_segments_back_is_interrupted_at_the_next_start(tmp_path: Path) -> None:
    async def die() -> tuple[Intent, int]:
        book = FileDaybook(tmp_path, sizes=SMALL)
        await roll(book)
        long = intent(book.next_n(), book.name)
        await book.open(long)
        await roll(book, 3)
        await book.aclose()
        return long, book._seq

    async def recover(long: Intent, cursor: int) -> None:
        book = FileDaybook(tmp_path, sizes=SMALL, cursors={folder.names(tmp_path)[0]: cursor})
        assert book.recovered == 1
        found = book.read(long.n)
        assert found is not None
        assert (found.intent, found.state) == (long, State.INTERRUPTED)
        await book.aclose()

    asyncio.run(recover(*asyncio.run(die())))


def test_a_start_reads_no_segment_that_is_shipped_and_has_no_open_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def fill() -> int:
        book = FileDaybook(tmp_path, sizes=KEEPING)
        await roll(book, 4)
        await book.aclose()
        return book._seq

    seq = asyncio.run(fill())
    name = folder.names(tmp_path)[0]
    for number in (1, 2, 3):
        path = folder.segment(tmp_path, name, number)
        data = path.read_bytes()
        path.write_bytes(data[:300] + bytes(len(data) - 300))

    async def start() -> None:
        book = FileDaybook(tmp_path, sizes=KEEPING, cursors={name: seq})
        assert not caplog.records, "the damage was seen, so the files were read"
        await book.aclose()

    asyncio.run(start())


def test_a_damaged_segment_leaves_the_book_but_not_the_folder(tmp_path: Path) -> None:
    path = folder.root(tmp_path)

    async def fill() -> str:
        book = FileDaybook(tmp_path, sizes=KEEPING)
        await roll(book, 2)
        await book.aclose()
        return book.name

    name = asyncio.run(fill())
    first = path / name / folder.file_name(1)
    data = bytearray(first.read_bytes())
    data[300] ^= 1
    first.write_bytes(data)

    async def go_on() -> None:
        book = FileDaybook(tmp_path, sizes=SMALL)
        await roll(book)
        book.shipped(book._seq)
        await until(lambda: folder.segments(path / name)[0] > 2)
        await book.aclose()

    asyncio.run(go_on())
    assert first.with_name(first.name + ".damaged").read_bytes() == data
    assert not (path / name / folder.file_name(2)).exists()


def test_shipped_segments_stay_within_their_retention(tmp_path: Path) -> None:
    async def run() -> None:
        book = FileDaybook(tmp_path, sizes=Sizes(segment_bytes=2000, keep_bytes=6000, reserve_bytes=0))
        await roll(book, 6)
        book.shipped(book._seq)
        await until(lambda: folder.segments(book._folder)[0] > 1)

        def closed() -> list[Path]:
            return [folder.segment(tmp_path, book.name, number) for number in folder.segments(book._folder)[:-1]]

        await until(lambda: sum(path.stat().st_size for path in closed()) <= 6000)
        assert closed(), "not all of them were over it"
        await book.aclose()

    asyncio.run(run())


def test_an_amendment_of_a_call_that_the_book_no_longer_knows_is_dropped(tmp_path: Path) -> None:
    async def run() -> None:
        book = FileDaybook(tmp_path, sizes=SMALL)
        first = await one_call(book)
        book.note(first.id, first.n, Amendment(at_ns=1, tokens_prompt=3))
        assert len(book.rows(0, 10)) == 3
        later = 2 << BITS
        book._calls.forget(1 << 62, later, set())
        book.note(first.id, first.n, Amendment(at_ns=2, tokens_prompt=3))
        assert len(book.rows(0, 10)) == 3
        book.note("gen-x", later, Amendment(at_ns=2, tokens_prompt=3))
        assert len(book.rows(0, 10)) == 4, "a number that never was another call's may have one"
        await book.aclose()

    asyncio.run(run())


def test_the_index_forgets_whole_chunks_that_are_old_and_ended() -> None:
    calls = Calls()
    for n in range(3 << BITS):
        calls[n >> BITS][n & (1 << BITS) - 1] = 1000 + n
    assert calls.last(5) == 1005
    assert calls.last(10**9) == 0
    calls.forget(1000 + (2 << BITS), 3 << BITS, {7})
    assert sorted(calls) == [0, 2], "the first has an open call, the last is not old enough"
    assert [calls.forgot(n) for n in (5, 1 << BITS, 2 << BITS, 3 << BITS)] == [False, True, False, False]
    calls.forget(10**9, (2 << BITS) + 1, set())
    assert sorted(calls) == [2], "the one that is growing stays"
    assert next(calls.numbers()) == 2 << BITS


def test_a_segment_that_cannot_be_begun_leaves_the_book_in_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.rename
    refused: list[str] = []

    def rename(source: str, target: str) -> None:
        if len(refused) < 3:
            refused.append(source)
            raise OSError(28, "No space left on device")
        real(source, target)

    async def run() -> None:
        book = FileDaybook(tmp_path, sizes=SMALL)
        monkeypatch.setattr("routebook.daybook.segments.os.rename", rename)
        await roll(book, 2)
        assert len(refused) == 3
        assert [row.seq for row in book.rows(0, 10**6)] == list(range(1, book._seq + 1))
        await book.aclose()

    asyncio.run(run())
