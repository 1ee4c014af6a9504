"""Rows from memory and rows from the files are the same rows."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from routebook.core.generation import State
from routebook.daybook import recent
from routebook.daybook.book import FileDaybook
from routebook.daybook.reading import ReadOnlyDaybook
from tests.unit.daybook.samples import intent, outcome


async def calls(book: FileDaybook, count: int) -> None:
    for _ in range(count):
        call = intent(book.next_n(), book.name)
        await book.open(call)
        await book.close(call.id, call.n, State.DONE, outcome())


def test_whatever_was_shipped_or_is_kept_the_rows_asked_for_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent, "MOST", 20)

    async def run() -> None:
        book = FileDaybook(tmp_path)
        with ReadOnlyDaybook(tmp_path, book.name) as files:
            for turn in range(12):
                await calls(book, turn)
                if turn % 3 == 0:
                    book.shipped(len(files.rows(0, 1_000)) - turn)
                whole = files.rows(0, 1_000)
                assert len(book._recent.rows) <= 20
                for after in range(len(whole) + 2):
                    assert book.rows(after, 1_000) == whole[after:]
                    assert book.rows(after, 3) == whole[after : after + 3]
        await book.aclose()

    asyncio.run(run())


def test_rows_of_the_last_owner_are_read_from_its_files(tmp_path: Path) -> None:
    async def run() -> None:
        book = FileDaybook(tmp_path)
        await calls(book, 3)
        before = book.rows(0, 100)
        await book.aclose()
        again = FileDaybook(tmp_path)
        assert again.name == book.name
        await calls(again, 1)
        assert again.rows(0, 100)[:6] == before
        assert [row.seq for row in again.rows(4, 100)] == [5, 6, 7, 8]
        assert [row.seq for row in again.rows(6, 100)] == [7, 8]
        await again.aclose()

    asyncio.run(run())


def test_what_is_shipped_is_not_kept(tmp_path: Path) -> None:
    async def run() -> None:
        book = FileDaybook(tmp_path)
        await calls(book, 5)
        book.shipped(7)
        assert [row.seq for row in book._recent.rows] == [8, 9, 10]
        book.shipped(7)
        book.shipped(10)
        assert book._recent.rows == []
        assert book.rows(10, 5) == []
        await book.aclose()

    asyncio.run(run())
