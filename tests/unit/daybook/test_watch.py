"""Calls are seen as they end, over roll-overs and new daybooks, and no removed segment is kept open."""

from __future__ import annotations

import asyncio
from pathlib import Path

from routebook.core.generation import Progress, State
from routebook.daybook.book import FileDaybook
from routebook.daybook.segments import Sizes
from routebook.daybook.watch import Watch
from tests.unit.daybook.samples import intent, outcome

SMALL = Sizes(segment_bytes=8_000, keep_bytes=0, keep_seconds=0.0, reserve_bytes=0)


async def made(book: FileDaybook) -> str:
    call = intent(book.next_n(), book.name)
    await book.open(call)
    book.note(call.id, call.n, Progress(at_ns=1, model="m", provider_name="P", endpoint_id="e", frames=3))
    await book.close(call.id, call.n, State.DONE, outcome())
    return call.id


def test_every_call_is_seen_once_while_segments_come_and_go(tmp_path: Path) -> None:
    async def run() -> None:
        book = FileDaybook(tmp_path, sizes=SMALL)
        early = intent(book.next_n(), book.name)
        await book.open(early)
        await made(book)
        first = book.path
        with Watch(tmp_path) as watch:
            assert watch.ended() == []
            await book.close(early.id, early.n, State.ERROR, outcome())
            (seen,) = watch.ended()
            assert (seen.intent.id, seen.state) == (early.id, State.ERROR), "begun before anybody watched"
            ids, found = [], []
            async with asyncio.timeout(30):
                while first.exists():
                    ids.append(await made(book))
                    found += [call.intent.id for call in watch.ended()]
                    book.shipped(book.rows(0, 1_000_000)[-1].seq)
                    await asyncio.sleep(0.005)
            assert found == ids
            assert watch.ended() == []
            (followed,) = watch._books.values()
            assert len(followed._shelf._fds) <= 1
        await book.aclose()

    asyncio.run(run())


def test_a_daybook_that_is_begun_later_is_watched_from_its_first_call(tmp_path: Path) -> None:
    async def run() -> None:
        with Watch(tmp_path) as watch:
            assert watch.ended() == []
            book = FileDaybook(tmp_path)
            ids = [await made(book) for _ in range(3)]
            seen = watch.ended()
            assert [call.intent.id for call in seen] == ids
            assert all(call.progress is not None and call.outcome is not None for call in seen)
            await book.aclose()

    asyncio.run(run())
