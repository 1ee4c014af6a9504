"""How many retries there may be: a share of what is asked for, so that an outage is not multiplied by its victims.

Retries within a window of 10 s may be 20 % of the calls in it, or 10 a second where that is more. Every attempt after
the first of a call is a retry. The share is Envoy's, floor and window are Linkerd's (reliability, section 1.1).
"""

from __future__ import annotations

NS = 1_000_000_000

RATIO_PERCENT = 20
FLOOR_A_SECOND = 10
WINDOW_SECONDS = 10
_SLOTS = WINDOW_SECONDS


class Budget:
    """Calls and retries of this second and the nine before it. Told the time, it has no clock."""

    __slots__ = ("_calls", "_floor", "_percent", "_retries", "_second", "_slots")

    def __init__(self, percent: int = RATIO_PERCENT, floor: int = FLOOR_A_SECOND) -> None:
        self._percent = percent
        self._floor = floor * WINDOW_SECONDS
        self._slots = [[0, 0] for _ in range(_SLOTS)]
        self._second = 0
        self._calls = self._retries = 0

    def call(self, now_ns: int) -> None:
        """A call begins: its first attempt is none of the retries."""
        second = now_ns // NS
        if second > self._second:
            self._forget(second)
        self._calls += 1
        self._slots[self._second % _SLOTS][0] += 1

    def retry(self, now_ns: int) -> bool:
        """True if one more attempt may be made; it is then taken from the budget."""
        second = now_ns // NS
        if second > self._second:
            self._forget(second)
        if self._retries >= self.allowed:
            return False
        self._retries += 1
        self._slots[self._second % _SLOTS][1] += 1
        return True

    @property
    def allowed(self) -> int:
        """Retries that the calls of the window allow, used ones included."""
        return max(self._calls * self._percent // 100, self._floor)

    def _forget(self, second: int) -> None:
        """Slots that the window has left behind are emptied."""
        for each in range(max(self._second + 1, second - _SLOTS + 1), second + 1):
            slot = self._slots[each % _SLOTS]
            self._calls -= slot[0]
            self._retries -= slot[1]
            slot[0] = slot[1] = 0
        self._second = second
