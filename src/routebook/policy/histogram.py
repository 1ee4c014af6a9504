"""Percentiles in bounded memory: buckets whose bounds grow by a constant factor, so the error is relative and known.

A value is told as the middle of its bucket: within the scale it is off by (growth - 1) / (growth + 1) at most. Values
outside count as the scale's first or last bucket. Percentiles are nearest-rank, so no rank error comes on top.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

GROWTH = 1.1
FINE_ERROR = (GROWTH - 1) / (GROWTH + 1)
"""4.8 %: of a fine bucket"""
COARSE_ERROR = (GROWTH**2 - 1) / (GROWTH**2 + 1)
"""9.5 %: of two fine buckets in one"""

FRACTIONS = (50, 75, 90, 99)
"""Percentiles that the API knows, in percent."""


class Percentiles(msgspec.Struct, frozen=True, gc=False):
    """p50, p75, p90, p99 of one quantity, in its unit."""

    p50: float
    p75: float
    p90: float
    p99: float

    def of(self, name: str) -> float:
        """The value of `p50`, `p75`, `p90` or `p99`."""
        value: float = getattr(self, name)
        return value


class Scale:
    """Buckets from `low` to `high` at least; an even number of them, so that pairs make the coarse scale.

    The fine bucket of a value is the number of `edges` up to it; the coarse one is that // 2.
    """

    __slots__ = ("coarse", "edges", "fine", "size")

    def __init__(self, low: float, high: float) -> None:
        edges = [low * GROWTH]
        while edges[-1] < high or len(edges) % 2:
            edges.append(edges[-1] * GROWTH)
        self.size = len(edges)
        self.edges = tuple(edges[:-1])
        starts = [low, *self.edges]
        self.fine = tuple(start * 2 * GROWTH / (GROWTH + 1) for start in starts)
        self.coarse = tuple(start * 2 * GROWTH**2 / (GROWTH**2 + 1) for start in starts[::2])


def percentiles(counts: Sequence[int], middles: Sequence[float], *, slow_is_low: bool = False) -> Percentiles | None:
    """Nearest-rank percentiles of counted buckets, None without any count.

    `slow_is_low`: of a speed, where p90 is what 90 of 100 reach, so it is counted from above. Source: routing, 5.5.
    """
    total = sum(counts)
    if not total:
        return None
    pairs = list(zip(counts, middles, strict=True))
    if slow_is_low:
        pairs.reverse()
    found: list[float] = []
    seen = 0
    for count, middle in pairs:
        seen += count
        while len(found) < len(FRACTIONS) and seen * 100 >= FRACTIONS[len(found)] * total:
            found.append(middle)
    return Percentiles(*found)
