"""The memory of one endpoint: rings of time slots in two arrays. Their table is in `health.py`."""

from __future__ import annotations

from array import array

from routebook.policy.histogram import Percentiles, Scale, percentiles
from routebook.policy.vitals import Speed, Tally, Vitals

NS = 1_000_000_000

SAMPLES_FEW = 5
"""With fewer samples a longer window is asked. Source: routing, 5.5."""

LATENCY = Scale(0.01, 200.0)
"""seconds to the first content"""
THROUGHPUT = Scale(1.0, 4000.0)
"""output tokens a second, over the whole attempt"""
COUNT_MAX = 0xFFFF


class Ring:
    """Where one ring of slots stands. A slot in `tallies`: its number in time, ok, failed, limited, and how often its
    latency and throughput counts were halved; its counts in `counts`: latency, then throughput."""

    __slots__ = ("at", "counts_at", "grain", "size", "slot_ns", "slots", "split", "width")

    def __init__(self, slots: int, seconds: int, at: int, counts_at: int = 0, grain: int = 0) -> None:
        self.slots = slots
        self.slot_ns = seconds * NS
        self.at = at
        self.counts_at = counts_at
        self.grain = grain
        """fine buckets in one of this ring's; 0 = only tallies"""
        self.split = LATENCY.size // grain if grain else 0
        self.width = self.split + (THROUGHPUT.size // grain if grain else 0)
        self.size = slots * TALLY


TALLY = 6
RECENT = Ring(7, 5, 0)
TOOLS = Ring(9, 900, RECENT.size)
MINUTES = Ring(5, 75, TOOLS.at + TOOLS.size, 0, 1)
HALF_HOUR = Ring(6, 375, MINUTES.at + MINUTES.size, 5 * MINUTES.width, 2)
DAY = Ring(7, 15_000, HALF_HOUR.at + HALF_HOUR.size, HALF_HOUR.counts_at + 6 * HALF_HOUR.width, 2)
MEASURED = (MINUTES, HALF_HOUR, DAY)
EMPTY_TALLIES = array("I", bytes(4 * (DAY.at + DAY.size)))
EMPTY_COUNTS = array("H", bytes(2 * (DAY.counts_at + 7 * DAY.width)))
SPLIT = LATENCY.size


class Track:
    """One endpoint."""

    __slots__ = ("counts", "minute", "speed", "speed_until_ns", "tallies", "vitals", "vitals_until_ns")

    def __init__(self, minute: int) -> None:
        self.tallies = EMPTY_TALLIES[:]
        self.counts = EMPTY_COUNTS[:]
        self.minute = minute
        """number of the newest 75 s slot, the one that is in no longer ring yet"""
        self.vitals: Vitals | None = None
        self.vitals_until_ns = 0
        self.speed: Speed | None = None
        self.speed_until_ns = 0

    def slot(self, ring: Ring, number: int) -> int:
        """Place of the tally of the slot with that number, emptied if it was another's; -1 where the ring is past it.

        In a ring of measured slots, `minute` has to be kept by the caller.
        """
        index = number % ring.slots
        at = ring.at + index * TALLY
        tallies = self.tallies
        here = tallies[at]
        if here != number:
            if here > number:
                return -1
            tallies[at] = number
            for place in range(at + 1, at + TALLY):
                tallies[place] = 0
            if ring.grain:
                start = ring.counts_at + index * ring.width
                self.counts[start : start + ring.width] = array("H", bytes(2 * ring.width))
        return at

    def turn(self, minute: int) -> None:
        """A new 75 s slot begins: the one before goes into the longer rings."""
        at = self.slot(MINUTES, self.minute)
        for ring in (HALF_HOUR, DAY):
            into = self.slot(ring, self.minute * MINUTES.slot_ns // ring.slot_ns)
            if into >= 0:
                for place in (1, 2, 3):
                    self.tallies[into + place] += self.tallies[at + place]
                self._add(at, ring, into, False)
                self._add(at, ring, into, True)
        self.minute = minute

    def _add(self, at: int, ring: Ring, into: int, speed: bool) -> None:
        """Add the counts of one quantity, both as often halved as the target has to be for all of them to fit."""
        shift = self.tallies[at + 4 + speed]
        fine = self._slice(MINUTES, at, speed)
        coarse = [(one + two) << shift for one, two in zip(fine[::2], fine[1::2], strict=True)]
        halved = self.tallies[into + 4 + speed]
        summed = [old + (new >> halved) for old, new in zip(self._slice(ring, into, speed), coarse, strict=True)]
        while max(summed) > COUNT_MAX:
            summed = [count >> 1 for count in summed]
            halved += 1
        self.tallies[into + 4 + speed] = halved
        start = ring.counts_at + (into - ring.at) // TALLY * ring.width + (ring.split if speed else 0)
        self.counts[start : start + len(summed)] = array("H", summed)

    def _slice(self, ring: Ring, at: int, speed: bool) -> array[int]:
        start = ring.counts_at + (at - ring.at) // TALLY * ring.width
        if speed:
            return self.counts[start + ring.split : start + ring.width]
        return self.counts[start : start + ring.split]

    def count(self, at: int, place: int, speed: bool) -> None:
        """Count one sample in the newest slot. A bucket that is full halves its slot's counts: their proportions
        stay."""
        halved = at + 4 + speed
        shift = self.tallies[halved]
        if shift and self.tallies[at + 1] & ((1 << shift) - 1):
            return  # one of 2^shift counts
        if self.counts[place] == COUNT_MAX:
            start = (at - MINUTES.at) // TALLY * MINUTES.width
            low, high = (start + SPLIT, start + MINUTES.width) if speed else (start, start + SPLIT)
            for each in range(low, high):
                self.counts[each] >>= 1
            self.tallies[halved] = shift + 1
        self.counts[place] += 1

    def tally(self, ring: Ring, now_ns: int) -> Tally:
        newest = now_ns // ring.slot_ns
        oldest = newest - ring.slots
        ok = failed = limited = 0
        tallies = self.tallies
        for at in range(ring.at, ring.at + ring.size, TALLY):
            if oldest < tallies[at] <= newest:
                ok += tallies[at + 1]
                failed += tallies[at + 2]
                limited += tallies[at + 3]
        if ring.grain == 2 and self.minute * MINUTES.slot_ns // ring.slot_ns > oldest:
            at = MINUTES.at + self.minute % MINUTES.slots * TALLY
            ok, failed, limited = ok + tallies[at + 1], failed + tallies[at + 2], limited + tallies[at + 3]
        return Tally(ok, failed, limited)

    def measured(self, ring: Ring, now_ns: int, speed: bool) -> tuple[Percentiles | None, int]:
        """(percentiles, samples) of one quantity over a ring."""
        newest = now_ns // ring.slot_ns
        oldest = newest - ring.slots
        columns: list[list[int]] = []
        for at in range(ring.at, ring.at + ring.size, TALLY):
            if oldest < self.tallies[at] <= newest:
                shift = self.tallies[at + 4 + speed]
                columns.append([count << shift for count in self._slice(ring, at, speed)])
        if ring.grain == 2 and self.minute * MINUTES.slot_ns // ring.slot_ns > oldest:
            at = MINUTES.at + self.minute % MINUTES.slots * TALLY
            shift, fine = self.tallies[at + 4 + speed], self._slice(MINUTES, at, speed)
            columns.append([(one + two) << shift for one, two in zip(fine[::2], fine[1::2], strict=True)])
        if not columns:
            return None, 0
        summed = [sum(column) for column in zip(*columns, strict=True)]
        scale = THROUGHPUT if speed else LATENCY
        middles = scale.fine if ring.grain == 1 else scale.coarse
        return percentiles(summed, middles, slow_is_low=speed), sum(summed)

    def best(self, now_ns: int, speed: bool) -> Percentiles | None:
        """Of the shortest window with enough samples, else of the longest."""
        found = None
        for ring in MEASURED:
            found, samples = self.measured(ring, now_ns, speed)
            if samples >= SAMPLES_FEW:
                break
        return found
