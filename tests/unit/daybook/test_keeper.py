"""The helper thread: what was written gets to the disk, the next segment is ready in time, the reserve is kept."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from pathlib import Path

import pytest

from routebook.core.generation import State
from routebook.daybook.book import FileDaybook
from routebook.daybook.segments import Sizes
from tests.unit.daybook.samples import intent, outcome


def test_a_write_is_synced_to_the_disk_soon_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = threading.Event()
    real = os.fdatasync

    def watched(fd: int) -> None:
        real(fd)
        synced.set()

    monkeypatch.setattr("routebook.daybook.keeper.os.fdatasync", watched)

    async def run() -> None:
        book = FileDaybook(tmp_path)
        synced.clear()
        await book.open(intent(book.next_n(), book.name))
        assert await asyncio.to_thread(synced.wait, 10)
        await book.aclose()

    asyncio.run(run())


def test_a_refused_sync_stops_the_book_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = threading.Event()
    count = 0

    def refused(fd: int) -> None:
        nonlocal count
        count += 1
        tried.set()
        raise OSError(5, "Input/output error")

    async def run() -> None:
        book = FileDaybook(tmp_path)
        monkeypatch.setattr("routebook.daybook.keeper.os.fdatasync", refused)
        await book.open(intent(book.next_n(), book.name))
        assert await asyncio.to_thread(tried.wait, 10)
        await book.aclose()
        assert book.trouble == "the disk refused a sync of the daybook (Input/output error)"
        assert count == 1

    asyncio.run(run())


def test_no_segment_is_synced_after_it_was_closed_however_the_two_threads_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With turns of a microsecond and no pause, loop and thread meet between any two steps within a few segments."""
    monkeypatch.setattr("routebook.daybook.keeper.EVERY", 0.0)
    tiny = Sizes(segment_bytes=1, keep_bytes=0, keep_seconds=0.0, reserve_bytes=0)

    async def run() -> None:
        book = FileDaybook(tmp_path, sizes=tiny)
        while book._segment.number < 120:
            call = intent(book.next_n(), book.name)
            await book.open(call)
            await book.close(call.id, call.n, State.DONE, outcome())
            book.shipped(book._seq)
        assert book.trouble is None
        await book.aclose()
        assert book.trouble is None

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        asyncio.run(run())
    finally:
        sys.setswitchinterval(usual)


def test_the_reserve_that_is_given_up_is_not_taken_for_the_one_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread may look for it in the very moment between the decision and the end of the file."""

    async def run() -> None:
        book = FileDaybook(tmp_path, sizes=Sizes(reserve_bytes=4096))
        keeper, reserve = book._keeper, book._folder / "reserve"
        await book.open(intent(book.next_n(), book.name))
        async with asyncio.timeout(30):
            while not keeper._reserved:  # noqa: ASYNC110 - a thread is at it
                await asyncio.sleep(0.005)
        real = os.unlink

        def unlink(path: Path) -> None:
            keeper._reserve()
            real(path)

        monkeypatch.setattr("routebook.daybook.keeper.os.unlink", unlink)
        assert keeper.release_reserve(OSError(28, "No space left on device"))
        assert reserve.exists() or not keeper._reserved
        await book.aclose()

    asyncio.run(run())
