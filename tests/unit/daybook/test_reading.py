"""Other processes read the book: beside its owner, after it, and after it was killed."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from routebook.core.generation import State
from routebook.daybook import folder, rows
from routebook.daybook.book import FileDaybook
from routebook.daybook.reading import read_daybooks
from routebook.observe.clock import SystemDice
from tests.unit.daybook.samples import intent, outcome


async def write(book: FileDaybook, calls: int) -> None:
    for _ in range(calls):
        call = intent(book.next_n(), book.name)
        await book.open(call)
        await book.close(call.id, call.n, State.DONE, outcome())


def test_there_is_no_daybook_where_no_gateway_ran(tmp_path: Path) -> None:
    assert read_daybooks(tmp_path) == []


def test_a_folder_whose_owner_died_while_making_it_is_no_daybook_yet(tmp_path: Path) -> None:
    name, lock = folder.claim(tmp_path, 0, SystemDice())
    assert read_daybooks(tmp_path) == []
    folder.create_private(folder.segment(tmp_path, name))
    assert read_daybooks(tmp_path) == []
    lock.release()


def test_the_book_is_read_while_its_owner_writes_and_after_it_has_gone(tmp_path: Path) -> None:
    async def run() -> None:
        book = FileDaybook(tmp_path)
        await write(book, 3)
        (reader,) = read_daybooks(tmp_path)
        with reader:
            assert reader.name == book.name
            assert [folded.intent.n for folded in reader.scan()] == [1, 2, 3]
            await write(book, 1)
            assert reader.highest() == (8, 4)
            assert len(reader.rows(6, 10)) == 2
        await book.aclose()

    asyncio.run(run())
    (reader,) = read_daybooks(tmp_path)
    with reader:
        found = reader.read(4)
        assert found is not None
        assert found.outcome == outcome()
        assert reader.read(5) is None
        assert [[row.state for row in group] for group in reader.calls()] == [[State.INTENT, State.DONE]] * 4


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    async def run() -> None:
        book = FileDaybook(tmp_path)
        await write(book, 1)
        (reader,) = read_daybooks(tmp_path)
        with reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader._conn.execute("DELETE FROM rows")
        await book.aclose()

    asyncio.run(run())


def test_calls_are_grouped_across_the_steps_of_a_scan_and_across_gaps(tmp_path: Path) -> None:
    conn = sqlite3.connect(tmp_path / "x.sqlite", isolation_level=None)
    for statement in rows.SCHEMA:
        conn.execute(statement)
    numbers = [*range(1, 600), 5000, 5001, 99_999]
    entries = [(n, f"gen-{n}", state, b"") for state in (State.INTENT, State.DONE) for n in numbers]
    rows.insert(conn, 1, entries)
    groups = list(rows.calls(conn))
    assert [group[0].n for group in groups] == numbers
    assert {tuple(row.state for row in group) for group in groups} == {(State.INTENT, State.DONE)}
    assert rows.highest(conn) == (2 * len(numbers), 99_999)
    conn.close()


def test_a_batch_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    conn = sqlite3.connect(tmp_path / "x.sqlite", isolation_level=None)
    for statement in rows.SCHEMA:
        conn.execute(statement)
    rows.insert(conn, 150, [(1, "gen-1", State.INTENT, b"")])
    with pytest.raises(sqlite3.IntegrityError):
        rows.insert(conn, 1, [(n, f"gen-{n}", State.INTENT, b"") for n in range(200)])
    assert rows.highest(conn) == (150, 1)
    assert not conn.in_transaction
    conn.close()
