"""The one clock and the one pair of dice. Everybody else is handed them, so that tests can freeze time and fate."""

from __future__ import annotations

import secrets
import time
from typing import Protocol

NS = 1_000_000_000
MS_NS = 1_000_000

DRIFT_NS_MAX = NS
"""A wall clock that was set by more than this is followed at the next `follow`; until then durations stay true."""


class Clock(Protocol):
    def now_ns(self) -> int:
        """Nanoseconds of unix time; never runs backwards between two `follow`s."""


class SystemClock:
    """Wall time that advances with the monotonic clock: a clock that is set under us bends no duration."""

    def __init__(self) -> None:
        self._offset = time.time_ns() - time.monotonic_ns()

    def now_ns(self) -> int:
        return time.monotonic_ns() + self._offset

    def follow(self) -> None:
        """Take over the wall clock if it has been set; called by the sweep."""
        offset = time.time_ns() - time.monotonic_ns()
        if abs(offset - self._offset) > DRIFT_NS_MAX:
            self._offset = offset


class Dice(Protocol):
    def roll(self, bits: int) -> int:
        """A random number of that many bits."""


class SystemDice:
    def roll(self, bits: int) -> int:
        return secrets.randbits(bits)
