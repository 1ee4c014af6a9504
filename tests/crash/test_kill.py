"""The book outlives kill -9 at any moment: what was acknowledged is there, and what was open is interrupted, once."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from pathlib import Path

from routebook.core.generation import Row, State
from routebook.daybook import folder
from routebook.daybook.book import FileDaybook
from routebook.daybook.reading import read_daybooks

ROOT = Path(__file__).parents[2]
KILLS = 20


class Told:
    """What one life of the writer said before it was killed."""

    def __init__(self) -> None:
        self.start = ""
        self.opened: set[int] = set()
        self.closed: dict[int, int] = {}

    def hear(self, line: str) -> None:
        # The last line may be cut in the middle of a number, so only whole ones count.
        if not line.endswith("\n"):
            return
        kind, *rest = line.split()
        if kind == "ready":
            self.start = line
        elif kind == "o":
            self.opened.add(int(rest[0]))
        else:
            self.closed[int(rest[0])] = int(rest[1])


def live_and_die(home: Path, lines: int) -> Told:
    """Run the writer until it has acknowledged that many rows, kill it in the middle of its work."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.crash.writer", str(home)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    told = Told()
    for _ in range(lines):
        told.hear(process.stdout.readline())
    process.kill()
    for line in process.stdout:
        told.hear(line)
    process.wait()
    process.stdout.close()
    assert told.start, "the writer never got ready"
    return told


def stored(home: Path) -> list[Row]:
    (book,) = read_daybooks(home)
    with book:
        assert book.findings() == []
        return book.rows(0, 10**9)


def test_twenty_kills_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    dice = random.Random(20240715)
    all_opened: set[int] = set()
    interrupted_before = 0
    for life in range(KILLS):
        told = live_and_die(tmp_path, dice.randrange(1, 1500))
        found = stored(tmp_path)
        by_place = {(row.n, row.state): row for row in found}
        # Every acknowledged row is there, under the sequence it was acknowledged with.
        assert all((n, State.INTENT) in by_place for n in told.opened), life
        assert all(by_place[n, State.DONE].seq == seq for n, seq in told.closed.items()), life
        # No gap, no duplicate, over all lives.
        assert [row.seq for row in found] == list(range(1, len(found) + 1))
        intents = [row.n for row in found if row.state == State.INTENT]
        assert sorted(intents) == list(range(1, len(intents) + 1))
        ends = [row.n for row in found if row.state in State.TERMINAL]
        assert len(ends) == len(set(ends))
        # This life began where the last one had ended, and marked each of its orphans.
        interrupted = sum(row.state == State.INTERRUPTED for row in found)
        assert told.start.split()[4] == str(interrupted - interrupted_before)
        interrupted_before = interrupted
        all_opened |= told.opened
    last = stored(tmp_path)
    open_calls = {row.n for row in last} - {row.n for row in last if row.state in State.TERMINAL}
    book = FileDaybook(tmp_path)
    try:
        assert book.recovered == len(open_calls)
        assert [call for call in book.scan() if call.outcome is None] == []
    finally:
        asyncio.run(book.aclose())
    assert interrupted_before > 0, "no kill hit a running call, so nothing was tested"
    assert len(folder.segments(folder.root(tmp_path) / book.name)) > 1, "the book never rolled over"
    assert all_opened <= {row.n for row in last}
    states = [row.state for row in stored(tmp_path)]
    assert states.count(State.INTENT) == sum(state in State.TERMINAL for state in states)
    print(f"{KILLS} kills, {len(states)} rows, {states.count(State.INTERRUPTED)} calls interrupted, none lost")
