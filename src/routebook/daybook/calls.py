"""The index of calls: call number -> place of the last frame that has a row of it. Eight bytes a call.

The rows of a call are linked backwards, so the last one is all that has to be known. Numbers are dense, so the index is
an array, cut into chunks that go when all their calls are ended, shipped and old.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Set

BITS = 12
MASK = (1 << BITS) - 1


class Calls(dict[int, "array[int]"]):
    """Chunk number -> places. The writer's hot path indexes it by hand: `calls[n >> BITS][n & MASK]`, 0 = unknown."""

    def __init__(self) -> None:
        self._forgotten = -1
        """the highest chunk that was dropped"""

    def __missing__(self, chunk: int) -> array[int]:
        made = self[chunk] = array("Q", bytes(8 << BITS))
        return made

    def last(self, n: int) -> int:
        """The place of the call's last row, 0 if it is not known."""
        chunk = self.get(n >> BITS)
        return 0 if chunk is None else chunk[n & MASK]

    def numbers(self) -> Iterator[int]:
        """Of all calls that are known, in order."""
        for chunk in sorted(self):
            first = chunk << BITS
            for offset, place in enumerate(self[chunk]):
                if place:
                    yield first + offset

    def forget(self, before: int, top: int, open_calls: Set[int], most: int = 16) -> None:
        """Drop at most that many chunks whose calls are all ended and have no row at `before` or behind it.

        `top`: the next call number; the chunk it falls into is still growing.
        """
        for chunk in sorted(self)[:most]:
            if chunk >= top >> BITS:
                return
            places = self[chunk]
            first = chunk << BITS
            if max(places) < before and open_calls.isdisjoint(range(first, first + MASK + 1)):
                del self[chunk]
                self._forgotten = max(self._forgotten, chunk)

    def forgot(self, n: int) -> bool:
        """The call was known here, and its chunk was dropped."""
        return n >> BITS <= self._forgotten and n >> BITS not in self
