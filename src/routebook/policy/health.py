"""How endpoints have fared lately: failures, uptime, time to first content, throughput, tool calls. In bounded memory.

Every endpoint has rings of time slots; a slot that comes round again starts from zero. A window of 5 minutes therefore
holds between 5 minutes and one slot more:

    window    slots          percentiles off by at most     asked by
    30 s      7 x 5 s        (only counts)                  outages
    5 min     5 x 75 s       4.8 % of the value             preferences, sorts
    30 min    6 x 375 s      9.5 %                          listings, uptime
    1 day     7 x 15,000 s   9.5 %                          listings, uptime
    2 h       9 x 15 min     (only counts)                  tool calls

An attempt is counted in the shortest rings alone; a slot of 75 s is added to the longer ones when the next one begins.
The same memory an endpoint, however busy: two arrays of 5.2 KB together. No clock in here: every verb is told the time.
Source of windows and of what counts: routing, 5.1, 5.4 and 5.5.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Hashable, Set
from typing import Any, TypeVar

from routebook.policy.histogram import Percentiles
from routebook.policy.track import (
    DAY,
    HALF_HOUR,
    LATENCY,
    MEASURED,
    MINUTES,
    NS,
    RECENT,
    SPLIT,
    TALLY,
    THROUGHPUT,
    TOOLS,
    Track,
)
from routebook.policy.vitals import Listing, Seen, Snapshot, Speed, Stills, Tally, Vitals

__all__ = ["Health", "Listing", "Seen", "Snapshot", "Speed", "Stills", "Tally", "View", "Vitals"]

ENDPOINTS_MAX = 10_000
"""Endpoints remembered; of more, those not seen for longest are forgotten."""

T = TypeVar("T")

MEMO_MAX = 1024
VITALS_NS = NS
SPEED_NS = 5 * NS
"""How long a worked-out figure may be used again. A failure is seen at once."""

FORGOTTEN_NS = HALF_HOUR.slots * HALF_HOUR.slot_ns
"""A failure older than this is in no window that ordering asks."""

_LATENCY_EDGES = tuple(int(edge * NS) for edge in LATENCY.edges)
_THROUGHPUT_EDGES = THROUGHPUT.edges


class Health:
    """The memory of all endpoints. `record` what ended, ask `at` a moment."""

    __slots__ = ("_max", "_tracks", "failed", "memo")

    def __init__(self, endpoints_max: int = ENDPOINTS_MAX) -> None:
        self._tracks: dict[str, Track] = {}
        self._max = endpoints_max
        self.failed: dict[str, int] = {}
        """endpoints that failed within the longest window that ordering asks, and when last"""
        self.memo: dict[Hashable, tuple[int, Any]] = {}
        """key -> (until when it may be used, what was worked out)"""

    def __len__(self) -> int:
        return len(self._tracks)

    def record(self, seen: Seen) -> None:
        """Take one attempt in. One that comes a little late counts in the newest slot."""
        ok, limited = seen.ok, seen.limited
        if ok is None and not limited and seen.tool_ok is None:
            return
        at_ns = seen.at_ns
        minute = at_ns // MINUTES.slot_ns
        track = self._tracks.get(seen.endpoint_id)
        if track is None or track.minute < minute:
            track = self._turned(seen.endpoint_id, track, minute)
        tallies = track.tallies
        if seen.tool_ok is not None and (at := track.slot(TOOLS, at_ns // TOOLS.slot_ns)) >= 0:
            tallies[at + (1 if seen.tool_ok else 2)] += 1
        if ok is None and not limited:
            return
        which = 3 if limited else (1 if ok else 2)
        number = at_ns // RECENT.slot_ns
        at = number % 7 * TALLY
        if tallies[at] != number:
            at = track.slot(RECENT, number)
        if at >= 0:
            tallies[at + which] += 1
        index = track.minute % 5
        at = MINUTES.at + index * TALLY
        tallies[at + which] += 1
        if not ok:
            track.vitals_until_ns = 0
            if not limited:
                self.failed[seen.endpoint_id] = at_ns
            return
        start = index * MINUTES.width
        if seen.first_ns is not None:
            track.count(at, start + bisect_right(_LATENCY_EDGES, seen.first_ns), False)
        if seen.tokens and seen.duration_ns:
            speed = seen.tokens * NS / seen.duration_ns
            track.count(at, start + SPLIT + bisect_right(_THROUGHPUT_EDGES, speed), True)

    def at(self, now_ns: int, /) -> View:
        """The snapshot at that moment, unix time in ns."""
        return View(self, now_ns)

    def listing(self, endpoint_id: str, now_ns: int) -> Listing:
        """What the public listing shows; all None for an endpoint that was never seen."""
        track = self._tracks.get(endpoint_id)
        if track is None:
            return Listing()
        five, thirty, day = (track.tally(ring, now_ns).uptime for ring in MEASURED)
        latency, latency_day = (_in_ms(track.measured(ring, now_ns, False)[0]) for ring in (HALF_HOUR, DAY))
        speed, speed_day = (track.measured(ring, now_ns, True)[0] for ring in (HALF_HOUR, DAY))
        return Listing(five, thirty, day, latency, speed, latency_day, speed_day)

    def _turned(self, endpoint_id: str, track: Track | None, minute: int) -> Track:
        if track is None:
            if len(self._tracks) >= self._max:
                oldest = next(iter(self._tracks))
                del self._tracks[oldest]
                self.failed.pop(oldest, None)
            track = Track(minute)
        else:
            track.turn(minute)
            del self._tracks[endpoint_id]
        self._tracks[endpoint_id] = track  # those not seen for longest stand in front
        track.slot(MINUTES, minute)
        return track


class View:
    """A `Health` at one moment. Figures are worked out when they are asked for and used again for a second."""

    __slots__ = ("_failed", "_memo", "_tracks", "now_ns")

    def __init__(self, health: Health, now_ns: int) -> None:
        self._tracks = health._tracks
        self._failed = health.failed
        self._memo = health.memo
        self.now_ns = now_ns

    @property
    def doubtful(self) -> Set[str]:
        """Ids of endpoints that may have an outage or a bad standing; of all others `vitals` need not be asked."""
        return self._failed.keys()

    def vitals(self, endpoint_id: str) -> Vitals | None:
        track = self._tracks.get(endpoint_id)
        if track is None:
            return None
        now_ns = self.now_ns
        if not track.vitals_until_ns - VITALS_NS <= now_ns < track.vitals_until_ns:
            rings = (RECENT, *MEASURED, TOOLS)
            track.vitals = Vitals(*[track.tally(ring, now_ns) for ring in rings])
            track.vitals_until_ns = now_ns + VITALS_NS
            if self._failed.get(endpoint_id, now_ns) < now_ns - FORGOTTEN_NS:
                del self._failed[endpoint_id]
        return track.vitals

    def speed(self, endpoint_id: str) -> Speed | None:
        track = self._tracks.get(endpoint_id)
        if track is None:
            return None
        now_ns = self.now_ns
        if not track.speed_until_ns - SPEED_NS <= now_ns < track.speed_until_ns:
            track.speed = Speed(track.best(now_ns, False), track.best(now_ns, True))
            track.speed_until_ns = now_ns + SPEED_NS
        return track.speed

    def remember(self, key: Hashable, make: Callable[[], T]) -> T:
        found = self._memo.get(key)
        if found is not None and found[0] - SPEED_NS <= self.now_ns < found[0]:
            value: T = found[1]
            return value
        if len(self._memo) >= MEMO_MAX:
            self._memo.clear()
        value = make()
        self._memo[key] = (self.now_ns + SPEED_NS, value)
        return value


def _in_ms(seconds: Percentiles | None) -> Percentiles | None:
    if seconds is None:
        return None
    return Percentiles(seconds.p50 * 1000, seconds.p75 * 1000, seconds.p90 * 1000, seconds.p99 * 1000)
