"""Guards of the book that no other test looks after by name."""

from __future__ import annotations

import asyncio
from pathlib import Path

from routebook.core.generation import State
from routebook.daybook.book import FileDaybook
from tests.unit.daybook.samples import intent, outcome


def test_a_row_that_nobody_waits_for_any_more_is_written_all_the_same(tmp_path: Path) -> None:
    async def steps() -> None:
        book = FileDaybook(tmp_path)
        call = intent(book.next_n(), book.name)
        await book.open(call)
        waiting = asyncio.ensure_future(book.close(call.id, call.n, State.DONE, outcome()))
        waiting.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        found = book.read(call.n)
        await book.aclose()
        assert found is not None
        assert found.state == State.DONE

    asyncio.run(steps())
