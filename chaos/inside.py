"""`python -m chaos.inside FILE SEGMENT_BYTES serve …`: the gateway, with every commit of its daybook timed from inside.

At its end FILE has three lists of microseconds, one of each a commit: wall clock, CPU of the loop's thread, and how
long that thread stood in line for a core meanwhile, as the kernel counts it (all 0 where it does not count). Segments
are as small as that, so that many are begun while the clock runs.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from routebook.daybook.book import FileDaybook
from routebook.daybook.segments import Sizes


def main() -> None:
    file, segment_bytes, *arguments = sys.argv[1:]
    wall: list[int] = []
    cpu: list[int] = []
    queued: list[int] = []
    in_line = _in_line()
    plain, begin = FileDaybook._flush, FileDaybook.__init__

    def timed(book: FileDaybook) -> None:
        commits, stood = book.commits, in_line()
        began, used = time.perf_counter_ns(), time.thread_time_ns()
        plain(book)
        if book.commits > commits:
            cpu.append((time.thread_time_ns() - used) // 1000)
            wall.append((time.perf_counter_ns() - began) // 1000)
            queued.append((in_line() - stood) // 1000)

    def small(book: FileDaybook, *given: object, **named: object) -> None:
        begin(book, *given, **{**named, "sizes": Sizes(segment_bytes=int(segment_bytes))})  # type: ignore[arg-type]

    FileDaybook._flush = timed  # type: ignore[assignment,method-assign]
    FileDaybook.__init__ = small  # type: ignore[assignment,method-assign]
    atexit.register(lambda: Path(file).write_text(json.dumps({"wall": wall, "cpu": cpu, "queued": queued})))

    from routebook.cli.main import main as routebook

    routebook(arguments)


def _in_line() -> Callable[[], int]:
    """Nanoseconds that this thread has waited for a core since it began."""
    try:
        fd = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
    except OSError:
        return lambda: 0
    return lambda: int(os.pread(fd, 100, 0).split()[1])


if __name__ == "__main__":
    main()
