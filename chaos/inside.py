"""`python -m chaos.inside FILE SEGMENT_BYTES serve …`: the gateway, with every commit of its daybook timed from inside.

At its end FILE has two lists of microseconds, wall clock and CPU of the loop's thread, one pair a commit. Segments are
as small as that, so that many are begun while the clock runs.
"""

from __future__ import annotations

import atexit
import json
import sys
import time
from pathlib import Path

from routebook.daybook.book import FileDaybook
from routebook.daybook.segments import Sizes


def main() -> None:
    file, segment_bytes, *arguments = sys.argv[1:]
    wall: list[int] = []
    cpu: list[int] = []
    plain, begin = FileDaybook._flush, FileDaybook.__init__

    def timed(book: FileDaybook) -> None:
        commits, began, used = book.commits, time.perf_counter_ns(), time.thread_time_ns()
        plain(book)
        if book.commits > commits:
            cpu.append((time.thread_time_ns() - used) // 1000)
            wall.append((time.perf_counter_ns() - began) // 1000)

    def small(book: FileDaybook, *given: object, **named: object) -> None:
        begin(book, *given, **{**named, "sizes": Sizes(segment_bytes=int(segment_bytes))})  # type: ignore[arg-type]

    FileDaybook._flush = timed  # type: ignore[assignment,method-assign]
    FileDaybook.__init__ = small  # type: ignore[assignment,method-assign]
    atexit.register(lambda: Path(file).write_text(json.dumps({"wall": wall, "cpu": cpu})))

    from routebook.cli.main import main as routebook

    routebook(arguments)


if __name__ == "__main__":
    main()
