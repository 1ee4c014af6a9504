"""What the next owner makes of a book whose last one died: nothing acknowledged goes, nothing is passed over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from routebook.core.generation import Progress, State
from routebook.daybook import folder
from routebook.daybook.book import FileDaybook
from routebook.daybook.frames import HEADER_SIZE, Damage
from routebook.daybook.reading import ReadOnlyDaybook
from routebook.daybook.shelf import DaybookDamaged, Shelf
from tests.unit.daybook.samples import ACCEPTED_NS, intent, outcome


def filled(home: Path, calls: int = 4, left_open: int = 0) -> Path:
    """A book with a frame for each row; its one segment."""

    async def run() -> Path:
        book = FileDaybook(home)
        for number in range(calls + left_open):
            call = intent(book.next_n(), book.name)
            await book.open(call)
            if number < calls:
                await book.close(call.id, call.n, State.DONE, outcome())
        await book.aclose()
        return book.path

    return asyncio.run(run())


def cuts(path: Path) -> list[tuple[int, int]]:
    """(start, end) of each frame."""
    shelf = Shelf(path.parent)
    found = [(frame.start, frame.end) for frame in shelf.frames(1, HEADER_SIZE) if not isinstance(frame, Damage)]
    shelf.close()
    return found


class Found:
    """What a new owner says of the book, and what the files then hold."""

    def __init__(self, home: Path, cursor: int = 0) -> None:
        name = folder.names(home)[0]

        async def run() -> None:
            book = FileDaybook(home, cursors={name: cursor})
            self.recovered = book.recovered
            self.seq = book._seq
            self.n = book.next_n()
            await book.open(intent(self.n, name))
            await book.aclose()

        asyncio.run(run())
        with ReadOnlyDaybook(home, name) as book:
            self.sequences = [row.seq for row in book.rows(0, 10**6)]
            self.findings = book.findings()


def test_a_tail_torn_at_any_byte_is_taken_back_and_the_rest_stays(tmp_path: Path) -> None:
    path = filled(tmp_path, calls=2)
    whole = path.read_bytes()
    start, end = cuts(path)[-1]
    assert end == len(whole)
    for cut in range(start + 1, end):
        path.write_bytes(whole[:cut])
        found = Found(tmp_path)
        assert found.recovered == 1, "the call whose outcome was torn off is open"
        assert found.sequences == [1, 2, 3, 4, 5]
        assert found.n == 3
        assert found.findings == []


def test_rubbish_behind_the_last_frame_is_taken_back(tmp_path: Path) -> None:
    path = filled(tmp_path, calls=2)
    whole = path.read_bytes()
    for rubbish in (bytes(5000), b"\xf7Rb\x01" * 9, whole[HEADER_SIZE : HEADER_SIZE + 100]):
        path.write_bytes(whole + rubbish)
        found = Found(tmp_path)
        assert (found.recovered, found.sequences[:4], found.findings) == (0, [1, 2, 3, 4], [])


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.ERROR, logger="routebook"):
        yield caplog


def test_damage_in_the_middle_is_told_and_kept_and_no_number_comes_again(
    tmp_path: Path, told: pytest.LogCaptureFixture
) -> None:
    path = filled(tmp_path)
    start, end = cuts(path)[3]
    data = bytearray(path.read_bytes())
    data[start + 60] ^= 1
    path.write_bytes(data)
    found = Found(tmp_path)
    assert found.sequences == [1, 2, 3, 5, 6, 7, 8, 9, 10]
    assert found.recovered == 1, "the outcome of one call was in there"
    assert found.n == 5
    assert f"bytes {start} to {end} are damaged" in found.findings[0]
    assert "row 4 is missing" in found.findings[1]
    assert "row 5 does not continue the hash chain" in found.findings[2]
    assert "are damaged" in told.text
    assert path.read_bytes() == data, "nothing is written into a file that is damaged"
    assert folder.segments(path.parent) == [1, 2]


@pytest.mark.parametrize("where", ["lead", "digest", "length"])
def test_a_frame_whose_beginning_is_damaged_hides_none_behind_it(tmp_path: Path, where: str) -> None:
    path = filled(tmp_path)
    start, _ = cuts(path)[2]
    data = bytearray(path.read_bytes())
    data[start + {"lead": 0, "length": 5, "digest": 9}[where]] ^= 0x40
    path.write_bytes(data)
    assert [seq for seq in Found(tmp_path).sequences if seq <= 8] == [1, 2, 4, 5, 6, 7, 8]


def test_rows_that_only_the_store_has_after_a_power_cut_keep_their_numbers(
    tmp_path: Path, told: pytest.LogCaptureFixture
) -> None:
    path = filled(tmp_path)
    start, _ = cuts(path)[5]
    path.write_bytes(path.read_bytes()[:start])  # what had been written but not synced is gone
    found = Found(tmp_path, cursor=8)
    assert found.recovered == 1
    assert found.sequences == [1, 2, 3, 4, 5, 9, 10], "the orphan's row is above what the store has"
    assert found.n >= 5 + 1, "no call number comes again"
    assert "lost its rows 6 to 8" in told.text
    assert any("rows 6 to 8 are missing" in finding for finding in found.findings)


def test_a_segment_that_was_named_but_never_reached_the_disk_is_set_aside(tmp_path: Path) -> None:
    path = filled(tmp_path)
    (path.parent / folder.file_name(2)).write_bytes(bytes(20))
    found = Found(tmp_path)
    assert (found.sequences, found.findings) == ([1, 2, 3, 4, 5, 6, 7, 8, 9], [])
    assert (path.parent / (folder.file_name(2) + ".torn")).exists()


def test_a_segment_without_a_header_but_with_rows_is_refused(tmp_path: Path) -> None:
    path = filled(tmp_path)
    data = bytearray(path.read_bytes())
    data[30] ^= 1
    path.write_bytes(data)
    with pytest.raises(DaybookDamaged, match="put the file back"):
        FileDaybook(tmp_path, wait=0)


def test_a_segment_of_another_daybook_is_refused(tmp_path: Path) -> None:
    ours, theirs = filled(tmp_path / "a"), filled(tmp_path / "b")
    assert ours.parent.name != theirs.parent.name
    ours.write_bytes(theirs.read_bytes())
    with pytest.raises(DaybookDamaged):
        FileDaybook(tmp_path / "a", wait=0)


def test_the_last_progress_of_an_orphan_is_found_through_the_links_of_its_rows(tmp_path: Path) -> None:
    async def die() -> None:
        book = FileDaybook(tmp_path)
        call = intent(book.next_n(), book.name)
        await book.open(call)
        for frames in range(1, 6):
            progress = Progress(
                at_ns=ACCEPTED_NS + frames, model="m", provider_name="P", endpoint_id="e", frames=frames
            )
            book.note(call.id, call.n, progress)
            await book.open(intent(book.next_n(), book.name))
        await book.aclose()

    asyncio.run(die())
    Found(tmp_path)
    with ReadOnlyDaybook(tmp_path, folder.names(tmp_path)[0]) as book:
        call = book.read(1)
        assert call is not None
        assert call.progress is not None
        assert call.outcome is not None
        assert (call.progress.frames, call.outcome.ended_ns) == (5, ACCEPTED_NS + 5)
        assert [row.state for row in book.call(1)] == [State.INTENT, *[State.PROGRESS] * 5, State.INTERRUPTED]


def test_a_thousand_orphans_are_marked_in_frames_of_bearable_size(tmp_path: Path) -> None:
    async def die() -> None:
        book = FileDaybook(tmp_path)
        await asyncio.gather(*(book.open(intent(book.next_n(), book.name)) for _ in range(1100)))
        await book.aclose()

    asyncio.run(die())
    found = Found(tmp_path)
    assert found.recovered == 1100
    assert found.sequences == list(range(1, 2202))
