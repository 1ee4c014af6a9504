"""The helper thread: what was written gets to the disk, and the log does not grow without end."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from routebook.core.generation import State
from routebook.daybook.book import FileDaybook
from routebook.daybook.keeper import Keeper
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


def test_a_refused_sync_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("routebook.daybook.keeper.os.fdatasync", refused)
    (tmp_path / "x.sqlite-wal").write_bytes(b"log")
    keeper = Keeper(tmp_path / "x.sqlite", sync=True)
    keeper.touch()
    keeper.stop()
    assert keeper.lost == "the disk refused a sync of the daybook (Input/output error)"


def test_a_busy_writers_log_starts_over_instead_of_growing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routebook.daybook.keeper.CHECKPOINT_AFTER", 100)

    async def run() -> None:
        book = FileDaybook(tmp_path)
        log = book.path.with_name(book.path.name + "-wal")
        sizes = []
        while book._keeper.checkpoints < 6:
            call = intent(book.next_n(), book.name)
            await book.open(call)
            await book.close(call.id, call.n, State.DONE, outcome())
            sizes.append(log.stat().st_size)
        # A commit adds at least one page to a log that does not start over.
        assert log.stat().st_size < book.commits * 4096
        assert [row.seq for row in book.rows(0, 10**6)] == list(range(1, 2 * len(sizes) + 1))
        await book.aclose()

    asyncio.run(run())
