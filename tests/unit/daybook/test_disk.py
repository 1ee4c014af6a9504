"""A disk that takes a part of a write, or none, or is full: nothing is written in part, nothing is lost."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from routebook.core.errors import Unavailable
from routebook.core.generation import State
from routebook.daybook.book import FileDaybook
from routebook.daybook.reading import ReadOnlyDaybook
from routebook.daybook.segments import Sizes
from tests.unit.daybook.disk import FullDisk
from tests.unit.daybook.samples import intent, outcome

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("spare", [1, 15, 16, 100, 300])
def test_a_write_that_is_cut_short_is_taken_back_before_anything_follows(
    tmp_path: Path, spare: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routebook.daybook.book.RETRY_EVERY", 0.0)

    async def run() -> str:
        book = FileDaybook(tmp_path)
        call = intent(book.next_n(), book.name)
        await book.open(call)
        size = book.path.stat().st_size
        with FullDisk(book, spare), pytest.raises(Unavailable, match="cannot be written"):
            await book.open(intent(book.next_n(), book.name))
        assert book.path.stat().st_size == size
        assert await book.close(call.id, call.n, State.DONE, outcome()) == 2
        await book.aclose()
        return book.name

    with ReadOnlyDaybook(tmp_path, asyncio.run(run())) as reader:
        assert [row.state for row in reader.rows(0, 10)] == [State.INTENT, State.DONE]
        assert reader.findings() == []


def test_a_part_that_cannot_be_taken_back_at_once_is_taken_back_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routebook.daybook.book.RETRY_EVERY", 0.0)
    real = os.ftruncate
    refused: list[int] = []

    def ftruncate(fd: int, size: int) -> None:
        if len(refused) < 3:
            refused.append(fd)
            raise OSError(errno.EIO, "Input/output error")
        real(fd, size)

    async def run() -> str:
        book = FileDaybook(tmp_path)
        monkeypatch.setattr("routebook.daybook.segments.os.ftruncate", ftruncate)
        with FullDisk(book, 40), pytest.raises(Unavailable):
            await book.open(intent(book.next_n(), book.name))
        for _ in range(2):
            with pytest.raises(Unavailable, match="Input/output error"):
                await book.open(intent(book.next_n(), book.name))
        last = book.next_n()
        await book.open(intent(last, book.name))
        assert len(refused) == 3
        await book.aclose()
        return book.name

    with ReadOnlyDaybook(tmp_path, asyncio.run(run())) as reader:
        assert [row.seq for row in reader.rows(0, 10)] == [1]
        assert reader.findings() == []


def test_whichever_write_fails_nothing_acknowledged_is_lost_and_no_number_comes_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails the k-th write, for all k, after a part of it or at once; calls go on around it."""
    monkeypatch.setattr("routebook.daybook.book.RETRY_EVERY", 0.0)
    real = os.write
    due = 0
    part = 0

    def write(fd: int, data: bytes) -> int:
        nonlocal due
        due -= 1
        if due == 0:
            if part:
                due = 1  # and the rest of it fails
                return real(fd, data[:part])
            raise OSError(errno.EIO, "Input/output error")
        return real(fd, data)

    monkeypatch.setattr("routebook.daybook.segments.os.write", write)

    async def call(book: FileDaybook, told: dict[int, int]) -> None:
        mine = intent(book.next_n(), book.name)
        try:
            await book.open(mine)
        except Unavailable:
            return
        told[mine.n] = await book.close(mine.id, mine.n, State.DONE, outcome())

    async def run(home: Path) -> None:
        book = FileDaybook(home)
        told: dict[int, int] = {}
        for _ in range(4):
            await asyncio.gather(*(call(book, told) for _ in range(3)))
        rows = book.rows(0, 1000)
        assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
        assert {row.n: row.seq for row in rows if row.state == State.DONE} == told
        assert len(told) >= 9
        assert book.open_calls == 0
        await book.aclose()

    for kth in range(1, 9):
        for part in (0, 10, 700):
            due = kth + 1  # the first write is the header of the segment
            asyncio.run(run(tmp_path / f"{kth}-{part}"))


SMALL_DISK = """
import asyncio, os, pathlib, sys
from routebook.core.errors import Unavailable
from routebook.core.generation import State
from routebook.daybook.book import FileDaybook
from routebook.daybook.segments import Sizes
from tests.unit.daybook.samples import intent, outcome

async def until(condition):
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)

async def main(home):
    book = FileDaybook(home, sizes=Sizes(reserve_bytes=1 << 20))
    running = [intent(book.next_n(), book.name) for _ in range(50)]
    await asyncio.gather(*(book.open(call) for call in running))
    await until(lambda: (book.path.parent / "reserve").exists())
    await until(lambda: not book._keeper.dirty)
    with open(home / "others", "wb", buffering=0) as others:
        try:
            while True:
                others.write(bytes(1 << 14))
        except OSError:
            pass
        try:
            while True:
                others.write(bytes(512))
        except OSError:
            pass
    refused = 0
    for _ in range(100):
        call = intent(book.next_n(), book.name, user_agent="x" * 4000)
        try:
            await book.open(call)
            running.append(call)
        except Unavailable:
            refused += 1
    print("refused", refused > 0, book.trouble)
    sequences = await asyncio.gather(*(book.close(c.id, c.n, State.DONE, outcome()) for c in running))
    print("closed", len(sequences) == len(running), book.open_calls)
    try:
        await book.open(intent(book.next_n(), book.name))
        print("a call was taken")
    except Unavailable as fault:
        print("still refused", fault.retry_after)
    (home / "others").unlink()
    begun = asyncio.get_running_loop().time()
    await until(lambda: book.trouble is None)
    await book.open(intent(book.next_n(), book.name))
    print("resumed", asyncio.get_running_loop().time() - begun < 5)
    rows = book.rows(0, 10**6)
    print("rows", [row.seq for row in rows] == list(range(1, len(rows) + 1)))
    await book.aclose()

asyncio.run(main(pathlib.Path(sys.argv[1])))
"""


def test_on_a_full_disk_running_calls_end_in_the_reserve_and_the_book_resumes_by_itself(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    script = tmp_path / "steps.py"
    script.write_text(SMALL_DISK)
    inside = f"mount -t tmpfs -o size=3m none '{mount}' || exit 77; exec '{sys.executable}' '{script}' '{mount}'"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", inside],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("no file system can be mounted here, not even in a namespace of its own")
    assert done.stdout.splitlines() == [
        "refused True the disk is full; running calls write to the reserve",
        "closed True 0",
        "still refused 1",
        "resumed True",
        "rows True",
    ], done.stderr


def test_without_room_for_a_reserve_the_book_works_all_the_same(tmp_path: Path) -> None:
    async def run() -> None:
        book = FileDaybook(tmp_path, sizes=Sizes(reserve_bytes=1 << 62))
        call = intent(book.next_n(), book.name)
        await book.open(call)
        await book.close(call.id, call.n, State.DONE, outcome())
        assert book.trouble is None
        await book.aclose()
        assert {file.name for file in book.path.parent.iterdir()} == {"lock", book.path.name}

    asyncio.run(run())
