"""The file-backed daybook, on real files."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path

import pytest

from routebook.core.errors import Unavailable
from routebook.core.generation import Amendment, Progress, State
from routebook.core.ids import locate
from routebook.core.usage import Usage
from routebook.daybook import folder
from routebook.daybook.book import FileDaybook, NotOpen
from routebook.daybook.folder import DaybookLocked
from routebook.daybook.port import Daybook
from routebook.daybook.shelf import DaybookDamaged
from tests.unit.daybook.disk import FullDisk
from tests.unit.daybook.samples import ACCEPTED_NS, intent, outcome


def with_book(home: Path, steps: Callable[[FileDaybook], Awaitable[None]]) -> None:
    """Run the steps on an open book and shut it."""

    async def run() -> None:
        book = FileDaybook(home)
        try:
            await steps(book)
        finally:
            await book.aclose()

    asyncio.run(run())


async def one_call(book: FileDaybook) -> int:
    n = book.next_n()
    call = intent(n, book.name)
    await book.open(call)
    await book.close(call.id, n, State.DONE, outcome())
    return n


def test_a_call_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    async def steps(book: FileDaybook) -> None:
        seen: Daybook = book
        n = seen.next_n()
        call = intent(n, book.name)
        await seen.open(call)
        opened = seen.read(n)
        assert opened is not None
        assert opened.intent == call
        assert opened.outcome is None
        assert opened.state is None
        seq = await seen.close(call.id, n, State.DONE, outcome())
        closed = seen.read(n)
        assert closed is not None
        assert closed.outcome == outcome()
        assert closed.state == State.DONE
        assert closed.seq == seq == 2
        assert seen.read(n + 1) is None

    with_book(tmp_path, steps)


def test_the_id_names_the_book_and_the_call(tmp_path: Path) -> None:
    async def steps(book: FileDaybook) -> None:
        n = book.next_n()
        assert locate(intent(n, book.name).id) == (book.name, n)

    with_book(tmp_path, steps)


def test_what_one_tick_produced_is_one_commit(tmp_path: Path) -> None:
    async def steps(book: FileDaybook) -> None:
        calls = [intent(book.next_n(), book.name) for _ in range(150)]
        await asyncio.gather(*(book.open(call) for call in calls))
        assert book.commits == 1
        sequences = await asyncio.gather(*(book.close(c.id, c.n, State.DONE, outcome()) for c in calls))
        assert book.commits == 2
        assert sequences == list(range(151, 301))
        assert [row.seq for row in book.rows(0, 1000)] == list(range(1, 301))

    with_book(tmp_path, steps)


def test_a_second_close_and_a_close_without_an_intent_are_refused(tmp_path: Path) -> None:
    async def steps(book: FileDaybook) -> None:
        n = await one_call(book)
        with pytest.raises(NotOpen):
            await book.close("gen-x", n, State.DONE, outcome())
        with pytest.raises(NotOpen):
            await book.close("gen-x", n + 1, State.DONE, outcome())
        assert len(book.rows(0, 10)) == 2

    with_book(tmp_path, steps)


def test_two_closes_of_one_call_at_once_write_one_outcome(tmp_path: Path) -> None:
    async def steps(book: FileDaybook) -> None:
        call = intent(book.next_n(), book.name)
        await book.open(call)
        first = book.close(call.id, call.n, State.DONE, outcome())
        with pytest.raises(NotOpen):
            await book.close(call.id, call.n, State.ERROR, outcome())
        assert await first == 2
        assert [row.state for row in book.rows(0, 10)] == [State.INTENT, State.DONE]

    with_book(tmp_path, steps)


def test_notes_are_folded_and_progress_after_the_end_is_dropped(tmp_path: Path) -> None:
    async def steps(book: FileDaybook) -> None:
        call = intent(book.next_n(), book.name)
        await book.open(call)
        for frames in (3, 9):
            progress = Progress(at_ns=1, model="m", provider_name="P", endpoint_id="e", frames=frames)
            book.note(call.id, call.n, progress)
        await book.close(call.id, call.n, State.DONE, outcome())
        book.note(call.id, call.n, progress)
        book.note(call.id, call.n, Amendment(at_ns=2, tokens_prompt=7))
        folded = book.read(call.n)
        assert folded is not None
        assert folded.progress is not None
        assert folded.progress.frames == 9
        assert folded.amendments == (Amendment(at_ns=2, tokens_prompt=7),)
        assert folded.seq == 5

    with_book(tmp_path, steps)


def test_a_cancelled_waiter_does_not_take_the_others_of_its_tick_along(tmp_path: Path) -> None:
    async def steps(book: FileDaybook) -> None:
        first, second = (intent(book.next_n(), book.name) for _ in range(2))
        leaving = asyncio.ensure_future(book.open(first))
        staying = asyncio.ensure_future(book.open(second))
        await asyncio.sleep(0)
        leaving.cancel()
        await staying
        assert leaving.cancelled() or await asyncio.wait([leaving])
        # The row was on its way: the call is open and can be closed like any other.
        await book.close(first.id, first.n, State.CANCELLED, outcome(cancelled=True))
        assert [folded.state for folded in book.scan()] == [State.CANCELLED, None]

    with_book(tmp_path, steps)


def test_the_next_owner_continues_numbers_and_sequence_in_the_same_folder(tmp_path: Path) -> None:
    names = []

    async def steps(book: FileDaybook) -> None:
        names.append(book.name)
        n = await one_call(book)
        assert n == len(names)
        assert book.rows(0, 10)[-1].seq == 2 * len(names)

    for _ in range(3):
        with_book(tmp_path, steps)
    assert len(set(names)) == 1
    assert folder.names(tmp_path) == names[:1]


def test_orphans_are_interrupted_once_at_the_next_start(tmp_path: Path) -> None:
    async def dying(book: FileDaybook) -> None:
        await one_call(book)
        silent, speaking = (intent(book.next_n(), book.name) for _ in range(2))
        await book.open(silent)
        await book.open(speaking)
        usage = Usage(prompt=100, completion=20)
        progress = Progress(
            at_ns=ACCEPTED_NS + 5, model="acme/large", provider_name="Acme", endpoint_id="e", frames=4, usage=usage
        )
        book.note(speaking.id, speaking.n, progress)

    async def next_owner(book: FileDaybook) -> None:
        assert book.recovered == 2
        done, silent, speaking = list(book.scan())
        assert done.state == State.DONE
        assert silent.state == speaking.state == State.INTERRUPTED
        assert silent.outcome is not None
        assert speaking.outcome is not None
        assert silent.outcome.interrupted
        assert silent.outcome.charge.total == 0
        assert silent.outcome.usage == Usage()
        assert speaking.outcome.ended_ns == ACCEPTED_NS + 5
        assert speaking.outcome.charge.total == Decimal("0.0006")
        assert speaking.outcome.usage_source == "estimated"
        assert not speaking.outcome.cancelled
        assert speaking.outcome.finish_reason is None
        with pytest.raises(NotOpen):
            await book.close(silent.intent.id, silent.intent.n, State.DONE, outcome())

    async def the_one_after(book: FileDaybook) -> None:
        assert book.recovered == 0

    with_book(tmp_path, dying)
    with_book(tmp_path, next_owner)
    with_book(tmp_path, the_one_after)


def test_a_second_process_waits_and_then_says_who_holds_the_book(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from routebook.daybook.book import FileDaybook\n"
        "from routebook.daybook.folder import DaybookLocked\n"
        "try:\n    FileDaybook(pathlib.Path(sys.argv[1]), wait=0.2)\n"
        "except DaybookLocked as error:\n    print(error)\n"
    )

    book = FileDaybook(tmp_path)
    try:
        run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=30)
        assert f"held by process {os.getpid()} on" in run.stdout, run.stderr
    finally:
        asyncio.run(book.aclose())


def test_a_successor_gets_the_lock_as_soon_as_it_is_released(tmp_path: Path) -> None:
    async def run() -> None:
        first = FileDaybook(tmp_path)
        successor = asyncio.create_task(asyncio.to_thread(FileDaybook, tmp_path, wait=10.0))
        await first.aclose()
        await (await successor).aclose()

    asyncio.run(run())
    with_book(tmp_path, lambda book: asyncio.sleep(0))


def test_the_lock_is_free_again_when_the_start_fails(tmp_path: Path) -> None:
    with_book(tmp_path, lambda book: asyncio.sleep(0))
    (name,) = folder.names(tmp_path)
    path = folder.segment(tmp_path, name)
    good = path.read_bytes()
    path.write_bytes(b"this is no daybook, whatever its name says" * 100)
    with pytest.raises(DaybookDamaged, match="does not begin like segment 1"):
        FileDaybook(tmp_path, wait=0)
    path.write_bytes(good)
    with_book(tmp_path, lambda book: asyncio.sleep(0))


def test_folder_and_file_are_for_the_owner_alone(tmp_path: Path) -> None:
    async def steps(book: FileDaybook) -> None:
        await one_call(book)
        assert stat.S_IMODE(book.path.parent.stat().st_mode) == 0o700
        for file in book.path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file

    with_book(tmp_path, steps)


def test_a_full_disk_refuses_calls_and_lets_running_ones_write_their_outcome_later(tmp_path: Path) -> None:
    async def steps(book: FileDaybook) -> None:
        running = intent(book.next_n(), book.name)
        await book.open(running)
        with FullDisk(book):
            with pytest.raises(Unavailable, match="cannot be written"):
                await book.open(intent(book.next_n(), book.name, user_agent="x"))
            assert book.trouble is not None
            with pytest.raises(Unavailable):  # at once, without another try
                await book.open(intent(book.next_n(), book.name))
            closing = asyncio.ensure_future(
                book.close(running.id, running.n, State.DONE, outcome(native_finish_reason="x"))
            )
            done, _ = await asyncio.wait([closing], timeout=0.35)
            assert not done
        assert await closing == 2
        assert book.trouble is None
        await one_call(book)
        assert [row.seq for row in book.rows(0, 10)] == [1, 2, 3, 4]

    with_book(tmp_path, steps)


def test_a_close_gives_up_after_its_time_and_may_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routebook.daybook.book.GIVE_UP_AFTER", 0.1)
    monkeypatch.setattr("routebook.daybook.book.RETRY_EVERY", 0.05)

    async def steps(book: FileDaybook) -> None:
        call = intent(book.next_n(), book.name)
        await book.open(call)
        with FullDisk(book), pytest.raises(Unavailable):
            await book.close(call.id, call.n, State.DONE, outcome(native_finish_reason="x"))
        assert await book.close(call.id, call.n, State.DONE, outcome()) == 2

    with_book(tmp_path, steps)


def test_shutting_the_book_is_a_last_try_for_an_outcome_that_could_not_be_written(tmp_path: Path) -> None:
    async def run() -> None:
        book = FileDaybook(tmp_path)
        call = intent(book.next_n(), book.name)
        await book.open(call)
        with FullDisk(book):
            end = outcome(native_finish_reason="x")
            closing = asyncio.ensure_future(book.close(call.id, call.n, State.DONE, end))
            await asyncio.wait([closing], timeout=0.05)
            assert book.trouble is not None
        await book.aclose()
        assert await closing == 2

    asyncio.run(run())
    with_book(tmp_path, lambda book: asyncio.sleep(0))


def test_the_book_recovers_by_itself_when_the_disk_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routebook.daybook.book.RETRY_EVERY", 0.0)

    async def steps(book: FileDaybook) -> None:
        with FullDisk(book), pytest.raises(Unavailable):
            await book.open(intent(book.next_n(), book.name, user_agent="x"))
        await one_call(book)
        assert book.trouble is None

    with_book(tmp_path, steps)


def test_a_lost_sync_stops_all_acknowledging(tmp_path: Path) -> None:
    async def steps(book: FileDaybook) -> None:
        await one_call(book)
        book._keeper.fail(OSError(5, "Input/output error"))
        with pytest.raises(Unavailable, match="refused a sync"):
            await book.open(intent(book.next_n(), book.name))
        assert book.trouble is not None

    with_book(tmp_path, steps)


def test_after_shutdown_nothing_is_taken_and_only_the_book_is_left(tmp_path: Path) -> None:
    async def run() -> Path:
        book = FileDaybook(tmp_path)
        running = intent(book.next_n(), book.name)
        await book.open(running)
        await book.aclose()
        await book.aclose()
        with pytest.raises(Unavailable):
            await book.open(intent(book.next_n(), book.name))
        with pytest.raises(Unavailable):
            await book.close(running.id, running.n, State.DONE, outcome())
        return book.path

    path = asyncio.run(run())
    assert {file.name for file in path.parent.iterdir()} == {"lock", path.name}


def test_a_note_that_comes_after_the_shutdown_is_dropped_and_no_closed_file_is_written(tmp_path: Path) -> None:
    """The number of a closed file may be another file's by then."""

    async def run() -> None:
        book = FileDaybook(tmp_path)
        call = intent(book.next_n(), book.name)
        await book.open(call)
        await book.aclose()
        book.note(call.id, call.n, Amendment(at_ns=1, tokens_prompt=3))
        book.note(call.id, call.n, Progress(at_ns=1, model="m", provider_name="P", endpoint_id="e"))
        await asyncio.sleep(0)
        assert book.trouble is None
        assert book._pending == []

    asyncio.run(run())


def test_commits_of_the_power_book_are_on_the_disk_before_anybody_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    real = os.fdatasync

    def watched(fd: int) -> None:
        real(fd)
        synced.append(os.fstat(fd).st_size)

    monkeypatch.setattr("routebook.daybook.book.os.fdatasync", watched)

    async def run() -> None:
        book = FileDaybook(tmp_path, durability="power")
        for _ in range(3):
            await one_call(book)
            assert synced[-1] == book.path.stat().st_size
        assert len(synced) >= book.commits == 6
        await book.aclose()

    asyncio.run(run())


def test_a_sync_that_fails_in_a_power_book_is_never_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def refused(fd: int) -> None:
        tried.append(fd)
        raise OSError(5, "Input/output error")

    async def run() -> None:
        book = FileDaybook(tmp_path, durability="power")
        call = intent(book.next_n(), book.name)
        await book.open(call)
        monkeypatch.setattr("routebook.daybook.book.GIVE_UP_AFTER", 0.0)
        monkeypatch.setattr("routebook.daybook.book.os.fdatasync", refused)
        with pytest.raises(Unavailable, match="refused a sync"):
            await book.close(call.id, call.n, State.DONE, outcome())
        with pytest.raises(Unavailable, match="refused a sync"):
            await book.open(intent(book.next_n(), book.name))
        with pytest.raises(Unavailable, match="refused a sync"):
            await book.close(call.id, call.n, State.DONE, outcome())
        assert len(tried) == 1
        assert book.trouble is not None
        await book.aclose()

    asyncio.run(run())


def test_a_locked_book_error_is_not_a_fault_that_callers_see() -> None:
    assert not issubclass(DaybookLocked, Unavailable)
