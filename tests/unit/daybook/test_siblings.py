"""Look-ups in the book of another process: a call is there as soon as its caller has the last byte."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from routebook.core.errors import Unavailable
from routebook.core.generation import Folded, Progress, State
from routebook.core.ids import locate
from routebook.daybook import folder, tail
from routebook.daybook.book import FileDaybook
from routebook.daybook.library import Siblings
from routebook.daybook.segments import Sizes
from routebook.daybook.tail import Tail
from tests.unit.daybook.samples import intent, outcome

ROOT = Path(__file__).parents[3]
CALLS = 3000


@pytest.fixture
def siblings(tmp_path: Path) -> Iterator[Siblings]:
    found = Siblings(tmp_path)
    yield found
    found.close()


def test_every_call_is_found_right_after_its_end_while_its_book_rolls_and_sheds(
    tmp_path: Path, siblings: Siblings
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.unit.daybook.rolling_writer", str(tmp_path), str(CALLS)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    segments: set[int] = set()
    name = ""
    for number in range(CALLS):
        id = process.stdout.readline().strip()
        place = locate(id)
        assert place is not None
        call = siblings.read(*place)
        assert call is not None, f"call {number} was missed"
        assert (call.intent.id, call.state) == (id, State.DONE)
        if number % 20 == 0:
            name = place[0]
            segments.update(folder.segments(folder.root(tmp_path) / name))
            process.stdin.write("\n")
            process.stdin.flush()
    process.stdin.close()
    process.stdout.close()
    assert process.wait(30) == 0
    assert len(segments) >= 4, "the book did not roll over, so nothing was tested"
    assert min(segments) == 1 < folder.segments(folder.root(tmp_path) / name)[0], "and no segment left"


def filled(home: Path, calls: int, long: int = 0) -> FileDaybook:
    """A book of calls whose owner has gone; call 1 ends with the last of them. `long`: that many open calls first."""

    async def run() -> FileDaybook:
        book = FileDaybook(home, sizes=Sizes(segment_bytes=30_000, reserve_bytes=0))
        first = [intent(book.next_n(), book.name) for _ in range(long)]
        for call in first:
            await book.open(call)
        for number in range(calls):
            call = intent(book.next_n(), book.name)
            await book.open(call)
            await book.close(call.id, call.n, State.DONE, outcome())
            if number % 50 == 0:
                async with asyncio.timeout(30):
                    while book._segment.size > 30_000 and book._keeper.fresh is None:  # noqa: ASYNC110 - a thread is at it
                        await asyncio.sleep(0.005)
        for call in first[1:]:
            await book.close(call.id, call.n, State.DONE, outcome())
        await book.aclose()
        return book

    return asyncio.run(run())


def test_calls_from_before_the_window_are_found_from_where_their_numbers_were_given(
    tmp_path: Path, siblings: Siblings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "WINDOW", 4000)
    book = filled(tmp_path, 400, long=2)
    assert len(folder.segments(book._folder)) > 3
    for n in range(2, 403):
        call = siblings.read(book.name, n)
        assert call is not None, n
        assert (call.intent.n, call.state) == (n, State.DONE)
    assert siblings.read(book.name, 403) is None
    assert siblings.read(book.name, 10**9) is None


def test_an_open_call_from_before_the_window_is_found_as_far_as_it_is_written(
    tmp_path: Path, siblings: Siblings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "WINDOW", 4000)
    book = filled(tmp_path, 200, long=1)
    call = siblings.read(book.name, 1)
    assert call is not None
    assert (call.intent.n, call.outcome) == (1, None)


def test_who_slept_through_many_segments_begins_again_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "WINDOW", 4000)

    async def run() -> None:
        book = FileDaybook(tmp_path, sizes=Sizes(segment_bytes=3000, keep_bytes=0, keep_seconds=0.0, reserve_bytes=0))
        reader = Tail(book._folder)
        assert reader.read(1) is None
        for _ in range(6):
            for _ in range(8):
                call = intent(book.next_n(), book.name)
                await book.open(call)
                progress = Progress(at_ns=1, model="m", provider_name="P", endpoint_id="e", frames=1)
                book.note(call.id, call.n, progress)
                await book.close(call.id, call.n, State.DONE, outcome())
            async with asyncio.timeout(30):
                while book._keeper.fresh is None:  # noqa: ASYNC110 - a thread is at it
                    await asyncio.sleep(0.005)
        book.shipped(book._seq)
        async with asyncio.timeout(30):
            while folder.segments(book._folder)[0] < 5:  # noqa: ASYNC110 - a thread is at it
                await asyncio.sleep(0.005)
        found = reader.read(call.n)
        assert found is not None
        assert found.state == State.DONE
        assert found.progress is not None
        reader.close()
        await book.aclose()

    asyncio.run(run())


def test_whoever_asks_often_keeps_no_file_that_its_owner_has_removed(tmp_path: Path) -> None:
    """An open file takes its room on the disk, removed or not."""

    async def run() -> None:
        book = FileDaybook(tmp_path, sizes=Sizes(segment_bytes=3000, keep_bytes=0, keep_seconds=0.0, reserve_bytes=0))
        reader = Tail(book._folder)
        for number in range(2, 8):
            while book._segment.number < number:
                call = intent(book.next_n(), book.name)
                await book.open(call)
                await book.close(call.id, call.n, State.DONE, outcome())
                assert reader.read(call.n) is not None
                await asyncio.sleep(0.005)
            book.shipped(book._seq)
            async with asyncio.timeout(30):
                while folder.segments(book._folder)[0] < number:  # noqa: ASYNC110 - a thread is at it
                    await asyncio.sleep(0.005)
        call = intent(book.next_n(), book.name)
        await book.open(call)
        assert reader.read(call.n) is not None
        assert set(reader._shelf._fds) <= {6, 7}
        reader.close()
        await book.aclose()

    asyncio.run(run())


def test_a_daybook_that_is_not_here_is_none_and_one_that_is_damaged_is_unavailable(
    tmp_path: Path, siblings: Siblings
) -> None:
    assert siblings.read("abc", 1) is None
    book = filled(tmp_path, 3)
    assert siblings.read("../", 1) is None
    data = bytearray(book.path.read_bytes())
    data[20] ^= 1
    book.path.write_bytes(data)
    with pytest.raises(Unavailable, match="ask again"):
        siblings.read(book.name, 50)


def test_a_look_leaves_the_loop_to_others_and_files_stay_open_for_it_though_its_caller_has_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book, siblings = filled(tmp_path, 3), Siblings(tmp_path)
    begun, go_on = threading.Event(), threading.Event()
    found: list[Folded | None] = []
    real = Tail.read

    def slowly(reader: Tail, n: int) -> Folded | None:
        begun.set()
        assert go_on.wait(30)
        found.append(real(reader, n))
        return found[-1]

    async def run() -> None:
        monkeypatch.setattr(Tail, "read", slowly)
        looking = asyncio.ensure_future(siblings.look(book.name, 2))
        assert await asyncio.to_thread(begun.wait, 30), "the loop is here meanwhile"
        looking.cancel()
        closing = asyncio.ensure_future(siblings.aclose())
        await asyncio.wait({looking})
        assert not closing.done()
        go_on.set()
        await closing

    asyncio.run(run())
    (call,) = found
    assert call is not None
    assert call.intent.n == 2
