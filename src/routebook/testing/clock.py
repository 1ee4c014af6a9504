"""Frozen time and loaded dice, for tests that want the same record every time."""

from __future__ import annotations

from datetime import datetime

from routebook.core.ids import base62
from routebook.observe.clock import MS_NS


class FrozenClock:
    """Stands still until it is told to advance."""

    def __init__(self, at: str = "2026-01-02T03:04:05+00:00") -> None:
        moment = datetime.fromisoformat(at)
        self._ns = int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1_000

    def now_ns(self) -> int:
        return self._ns

    def advance(self, ms: int) -> None:
        self._ns += ms * MS_NS

    def follow(self) -> None:
        """A frozen clock follows nothing."""


class LoadedDice:
    """Counts up instead of rolling."""

    def __init__(self) -> None:
        self._value = 0

    def roll(self, bits: int) -> int:
        self._value += 1
        return self._value % (1 << bits)

    def text(self, length: int) -> str:
        return base62(self.roll(length * 5), length)
