"""Frozen time and loaded dice, for tests that want the same record every time."""

from __future__ import annotations

import asyncio
from datetime import datetime

from routebook.core.ids import base62
from routebook.observe.clock import MS_NS


class FrozenClock:
    """Stands still until it is told to advance."""

    def __init__(self, at: str = "2026-01-02T03:04:05+00:00") -> None:
        moment = datetime.fromisoformat(at)
        self._ns = int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1_000
        self._sleepers: list[tuple[int, asyncio.Future[None]]] = []

    def now_ns(self) -> int:
        return self._ns

    def advance(self, ms: int) -> None:
        self._ns += ms * MS_NS
        awake = [sleeper for due, sleeper in self._sleepers if due <= self._ns]
        self._sleepers = [each for each in self._sleepers if each[0] > self._ns]
        for sleeper in awake:
            if not sleeper.done():
                sleeper.set_result(None)

    async def sleep(self, ns: int) -> None:
        """Until somebody has advanced the clock by that much."""
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._ns + ns, sleeper))
        await sleeper

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
