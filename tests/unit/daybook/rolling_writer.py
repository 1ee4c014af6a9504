"""Writes calls to a daybook of small segments and prints each id when its caller would have the last byte.

`python -m tests.unit.daybook.rolling_writer HOME CALLS`; ships nothing, but says that everything is shipped, so that
segments leave all the time. Ends when stdin does.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from routebook.core.generation import State
from routebook.daybook.book import FileDaybook
from routebook.daybook.segments import Sizes
from tests.unit.daybook.samples import intent, outcome


async def main(home: Path, calls: int) -> None:
    book = FileDaybook(home, sizes=Sizes(segment_bytes=20_000, keep_bytes=40_000, keep_seconds=60.0, reserve_bytes=0))
    for number in range(calls):
        call = intent(book.next_n(), book.name)
        await book.open(call)
        await book.close(call.id, call.n, State.DONE, outcome())
        sys.stdout.write(f"{call.id}\n")
        sys.stdout.flush()
        if number % 20 == 0:
            book.shipped(book._seq - 40)
            await asyncio.to_thread(sys.stdin.readline)
    await asyncio.to_thread(sys.stdin.read)
    await book.aclose()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
