"""What is to be sent in one turn of the event loop, sent in one go when the turn is over.

A send wakes the other side, and with work of ours between two sends it has fallen asleep again by the second. Sent back
to back, the writes of a turn wake it once, and find the kernel's code and tables warm.
With one request under way nothing waits: its turn is over at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Outbox:
    """Writes of all connections of a loop, in the order in which they were put in. `call_soon`: that loop's."""

    __slots__ = ("_call_soon", "_waiting")

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._call_soon = call_soon
        self._waiting: list[tuple[Callable[[Any], None], Any]] = []

    def put(self, leave: Callable[[T], None], data: T) -> None:
        """`leave(data)` is called with the end of this turn; it must not raise, and looks whether anybody is there."""
        waiting = self._waiting
        if not waiting:
            self._call_soon(self.flush)
        waiting.append((leave, data))

    def flush(self) -> None:
        """All of it leaves now: for who is about to close what it was put in for. Where one cannot leave for a reason
        nobody foresaw, the others do, a turn later."""
        waiting, self._waiting = self._waiting, []
        rest = iter(waiting)
        try:
            for leave, data in rest:
                leave(data)
        finally:
            if left := list(rest):
                self._waiting[:0] = left
                self._call_soon(self.flush)
