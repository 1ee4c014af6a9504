"""The one clock and the one pair of dice. Everybody else is handed them, so that tests can freeze time and fate."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Protocol

from routebook.core.ids import ALPHABET

NS = 1_000_000_000
MS_NS = 1_000_000

DRIFT_NS_MAX = NS
"""A wall clock that was set by more than this is followed; until then durations stay true."""

SLEWED_NS_MAX = 600 * NS
"""By more than this it was wrong altogether, and is followed at once, whatever is under way."""

SLEW_NS = NS // 40
"""What each `follow` makes up while calls are under way: a tenth of the time between two of the sweep."""


class Clock(Protocol):
    def now_ns(self) -> int:
        """Nanoseconds of unix time; runs backwards only where the wall clock was set back, see `SystemClock.follow`."""

    async def sleep(self, ns: int) -> None:
        """Returns that much later."""


class SystemClock:
    """Wall time that advances with the monotonic clock: a clock that is set under us bends no duration."""

    def __init__(self) -> None:
        self._offset = time.time_ns() - time.monotonic_ns()

    def now_ns(self) -> int:
        return time.monotonic_ns() + self._offset

    async def sleep(self, ns: int) -> None:
        await asyncio.sleep(ns / NS)

    def follow(self, *, idle: bool) -> None:
        """Take over the wall clock if it has been set; called by the sweep, four times a second.

        At once where nothing is under way. Else step by step, so that no call is taken for one that was silent all that
        time, and none ends before it began.
        """
        behind = time.time_ns() - time.monotonic_ns() - self._offset
        if abs(behind) <= DRIFT_NS_MAX:
            return
        if not idle and abs(behind) <= SLEWED_NS_MAX:
            behind = SLEW_NS if behind > 0 else -SLEW_NS
        self._offset += behind


class Dice(Protocol):
    def roll(self, bits: int) -> int:
        """A random number of that many bits."""

    def text(self, length: int) -> str:
        """That many random base62 characters, for ids (not for secrets: some characters are a little likelier)."""


class SystemDice:
    """The system's randomness; text comes from a pool, so that one system call serves many ids."""

    POOL_BYTES = 8192

    def __init__(self) -> None:
        self._pool = ""
        self._used = 0

    def roll(self, bits: int) -> int:
        return secrets.randbits(bits)

    def text(self, length: int) -> str:
        end = self._used + length
        if end > len(self._pool):
            self._pool = secrets.token_bytes(max(self.POOL_BYTES, length)).translate(_BASE62).decode()
            self._used, end = 0, length
        text = self._pool[self._used : end]
        self._used = end
        return text


_BASE62 = bytes(ord(ALPHABET[value % 62]) for value in range(256))
