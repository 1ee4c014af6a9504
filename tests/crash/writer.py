"""A gateway's worth of calls on a daybook, until somebody kills the process. Prints each acknowledged row.

`python -m tests.crash.writer HOME` prints `ready NAME SEQ N RECOVERED` when the book accepts, then `o N` and `c N SEQ`
lines; a line is printed only after the book said that the row is durable. It never ends by itself.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from routebook.core.generation import Progress, State
from routebook.core.usage import Usage
from routebook.daybook.book import FileDaybook
from routebook.daybook.segments import Sizes
from tests.unit.daybook.samples import ACCEPTED_NS, intent, outcome


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def worker(book: FileDaybook, number: int) -> None:
    turn = 0
    while True:
        turn += 1
        call = intent(book.next_n(), book.name)
        await book.open(call)
        say(f"o {call.n}")
        for frame in range((number + turn) % 4):
            usage = Usage(prompt=100, completion=frame)
            book.note(
                call.id,
                call.n,
                Progress(at_ns=ACCEPTED_NS, model="m", provider_name="P", endpoint_id="e", frames=frame, usage=usage),
            )
            await asyncio.sleep(0)
        say(f"c {call.n} {await book.close(call.id, call.n, State.DONE, outcome())}")


async def main() -> None:
    # Small segments, so that kills hit roll-overs too.
    book = FileDaybook(Path(sys.argv[1]), sizes=Sizes(segment_bytes=50_000, reserve_bytes=1 << 20))
    seq, n = (lambda rows: (rows[-1].seq if rows else 0, max((row.n for row in rows), default=0)))(book.rows(0, 10**9))
    say(f"ready {book.name} {seq} {n} {book.recovered}")
    await asyncio.gather(*(worker(book, number) for number in range(24)))


if __name__ == "__main__":
    asyncio.run(main())
