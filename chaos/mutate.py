"""Switches one guard off, from outside: nothing in the gateway knows of it.

As a plugin of pytest, `-p chaos.mutate --mutants`: each test that is named in NOTICED runs with its guard off, and has
to fail. As a command, `python -m chaos.mutate NAME serve …`: a gateway that the harness itself has to catch.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import pytest
from msgspec.structs import replace

from routebook.core.people import Key
from routebook.corridor import exchange, settle
from routebook.corridor.entry import Entry
from routebook.daybook.book import FileDaybook
from routebook.ledger.book import Book
from routebook.ledger.verify import Check

Guard = Callable[[ExitStack], None]


def intent_commit(off: ExitStack) -> None:
    """The request goes upstream without waiting for its intent to be durable."""

    async def write(entry: Entry) -> None:
        entry.written = True
        _unawaited(lambda: entry.app.daybook.open(entry.intent))

    off.enter_context(patch.object(Entry, "write", write))


def settle_always(off: ExitStack) -> None:
    """A call whose task is cancelled is left as it is."""
    plain = settle.settle

    async def unless_cancelled(entry: Entry, error: BaseException | None) -> None:
        if not isinstance(error, asyncio.CancelledError):
            await plain(entry, error)

    off.enter_context(patch.object(exchange, "settle", unless_cancelled))


def settle_shield(off: ExitStack) -> None:
    """Who is cancelled while waiting for a row takes the row along."""
    flush = FileDaybook._flush

    def without_the_cancelled(book: FileDaybook) -> None:
        book._pending = [entry for entry in book._pending if entry[4] is None or not entry[4].cancelled()]
        flush(book)

    off.enter_context(patch.object(FileDaybook, "_flush", without_the_cancelled))


def last_byte(off: ExitStack) -> None:
    """The answer's end does not wait for the outcome to be durable."""

    async def write(entry: Entry, state: int, outcome: Any) -> None:
        intent = entry.intent
        _unawaited(lambda: entry.app.daybook.close(intent.id, intent.n, state, outcome))

    off.enter_context(patch.object(settle, "_write", write))


def hold_check(off: ExitStack) -> None:
    """Nobody looks whether a call fits its key's limit."""
    hold = Book.hold

    def unlimited(book: Book, key: Key, *rest: Any) -> Any:
        return hold(book, replace(key, limit=None), *rest)

    off.enter_context(patch.object(Book, "hold", unlimited))


def sequence_check(off: ExitStack) -> None:
    """The proof does not mind rows that are missing."""
    fail = Check.fail

    def unless_a_row_is_missing(check: Check, what: str) -> None:
        if check.name != "sequence":
            fail(check, what)

    off.enter_context(patch.object(Check, "fail", unless_a_row_is_missing))


def one_end(off: ExitStack) -> None:
    """A call may be closed as often as one likes."""
    close = FileDaybook.close

    def again(book: FileDaybook, id: str, n: int, state: int, outcome: Any) -> Awaitable[int]:
        book._open.add(n)
        return close(book, id, n, state, outcome)

    off.enter_context(patch.object(FileDaybook, "close", again))


def orphans(off: ExitStack) -> None:
    """Calls that a dead process left open stay open."""
    off.enter_context(patch.object(FileDaybook, "_interrupt", lambda *_: 0))


_GATEWAY, _BOOK = "tests/scenarios/test_gateway.py", "tests/unit/daybook/test_book.py"

NOTICED: dict[Guard, str] = {
    intent_commit: f"{_GATEWAY}::test_a_book_that_cannot_be_written_takes_no_call",
    settle_shield: "tests/chaos/test_guards.py::test_a_row_that_nobody_waits_for_any_more_is_written_all_the_same",
    hold_check: f"{_GATEWAY}::test_calls_that_run_at_once_cannot_hold_more_than_the_limit",
    sequence_check: "tests/unit/ledger/test_verify.py::test_a_missing_row_is_named",
    settle_always: f"{_GATEWAY}::test_a_cancelled_task_still_settles_and_still_tells_its_caller",
    last_byte: f"{_GATEWAY}::test_a_stream_whose_outcome_cannot_be_written_gets_no_end_mark",
    one_end: f"{_BOOK}::test_a_second_close_and_a_close_without_an_intent_are_refused",
    orphans: f"{_BOOK}::test_orphans_are_interrupted_once_at_the_next_start",
}
"""guard -> the test that fails without it"""

GUARDS = {guard.__name__: guard for guard in NOTICED}


@contextmanager
def switched_off(guard: Guard) -> Iterator[None]:
    with ExitStack() as off:
        guard(off)
        yield


def _unawaited(write: Callable[[], Any]) -> None:
    """Nobody waits for the row, and nobody minds how it ends. It comes a turn of the loop later, because what a turn
    sends leaves at its end: a row of the same turn would be written before that, though nobody waits."""

    def begin() -> None:
        try:
            row = write()
        except Exception:
            return
        if isinstance(row, asyncio.Future):
            row.add_done_callback(lambda done: done.cancelled() or done.exception())

    asyncio.get_running_loop().call_soon(begin)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--mutants", action="store_true", help="each named test runs with the guard off that it looks after"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    guard = next((guard for guard, test in NOTICED.items() if item.nodeid.partition("[")[0] == test), None)
    if guard is None or not item.config.getoption("--mutants"):
        return (yield)
    with switched_off(guard):
        return (yield)


def main() -> None:
    """Runs the gateway without that guard."""
    name, *arguments = sys.argv[1:]
    from routebook.cli.main import main as routebook

    with switched_off(GUARDS[name]):
        routebook(arguments)


if __name__ == "__main__":
    main()
