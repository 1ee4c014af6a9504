"""How far a long look at the book is: one line on stderr that is written over, on a terminal and nowhere else."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

EVERY_NS = 100_000_000
_QUIET_NS = 500_000_000
"""work that is done sooner shows nothing"""


class Progress:
    """Called with (what, done, of how many or None), as often as anybody likes. Use it as a context manager."""

    def __init__(self) -> None:
        from routebook.observe.clock import SystemClock

        self._shown = sys.stderr.isatty()
        self._clock = SystemClock()
        self._next = self._clock.now_ns() + _QUIET_NS
        self._width = 0
        self._calls = 0

    def __call__(self, what: str, done: int, of: int | None = None) -> None:
        self._calls += 1
        if not self._shown or (self._calls & 63 and of is None) or (now := self._clock.now_ns()) < self._next:
            return
        self._next = now + EVERY_NS
        part = f" of {of:,} ({100 * done // of} %)" if of else ""
        self._write(f"{what}: {done:,}{part}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._width:
            self._write("")

    def _write(self, text: str) -> None:
        sys.stderr.write(f"\r{text:<{self._width}}" if text else f"\r{'':{self._width}}\r")
        sys.stderr.flush()
        self._width = len(text)
