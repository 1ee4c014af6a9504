"""Other processes read the book: beside its owner, after it, and after it was killed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from routebook.core.generation import State
from routebook.daybook import folder
from routebook.daybook.book import FileDaybook
from routebook.daybook.reading import read_daybooks
from routebook.daybook.shelf import DaybookDamaged
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
    (folder.root(tmp_path) / name / "next").write_bytes(b"")
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
        assert reader.findings() == []


def test_a_book_of_an_older_form_is_neither_read_nor_passed_over(tmp_path: Path) -> None:
    name, lock = folder.claim(tmp_path, 0, SystemDice())
    lock.release()
    (folder.root(tmp_path) / name / "0000000001.sqlite").write_bytes(b"SQLite format 3\0")
    with pytest.raises(DaybookDamaged, match="move the folder"):
        read_daybooks(tmp_path)
    with pytest.raises(DaybookDamaged, match="move the folder"):
        FileDaybook(tmp_path, wait=0)
