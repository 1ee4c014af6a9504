"""The health of endpoints in words: what was seen of one attempt, and what ordering asks of an endpoint.

Source of windows and of what counts: routing, 5.1, 5.4 and 5.5.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Set
from typing import Protocol, TypeVar

import msgspec

from routebook.policy.histogram import Percentiles

T = TypeVar("T")

OUTAGE_FAILURES = 2
"""With this many failures in 30 s that are at least half of all, an endpoint has a significant outage."""
UPTIME_REQUESTS = 100
"""Below this many requests no uptime is told. Source: routing, 5.4."""
NORMAL, DEGRADED = 95, 80
"""Percent of uptime from which an endpoint counts as normal, and as degraded; below it is down."""


class Seen(msgspec.Struct, frozen=True, gc=False):
    """One ended attempt. `ok` None: it says nothing about the endpoint (400, 413, 403 for a region, a caller who left).

    Counts against it (`ok` False): 401, 402, 404, 500 and above, timeouts, lost connections, errors in the middle of
    the answer, a finish with error. A 429 has `ok` None and `limited`.
    """

    endpoint_id: str
    at_ns: int
    """when it ended"""
    ok: bool | None
    first_ns: int | None = None
    """from sending the request to the first content"""
    duration_ns: int | None = None
    """from sending the request to the last byte"""
    tokens: int | None = None
    """output tokens, by the provider's count"""
    limited: bool = False
    tool_ok: bool | None = None
    """of an answer that called tools: every call named a tool that was offered, with arguments that are JSON"""


class Tally(msgspec.Struct, frozen=True, gc=False):
    """Attempts of one window."""

    ok: int = 0
    failed: int = 0
    limited: int = 0

    @property
    def total(self) -> int:
        return self.ok + self.failed

    @property
    def uptime(self) -> float | None:
        """Percent; None below UPTIME_REQUESTS requests."""
        return 100 * self.ok / self.total if self.total >= UPTIME_REQUESTS else None


class Vitals(msgspec.Struct, frozen=True, gc=False):
    """What ordering asks of every endpoint."""

    recent: Tally = Tally()
    """of the last 30 s"""
    last_5m: Tally = Tally()
    last_30m: Tally = Tally()
    last_1d: Tally = Tally()
    tools: Tally = Tally()
    """answers with tool calls of the last 2 h"""

    @property
    def outage(self) -> bool:
        """True with a significant outage in the last 30 s."""
        recent = self.recent
        return recent.failed >= OUTAGE_FAILURES and recent.failed >= recent.ok

    @property
    def standing(self) -> int:
        """0 normal (or too few requests to tell), 1 degraded, 2 down: by the shortest window that can tell."""
        uptime = self.last_5m.uptime
        if uptime is None:
            uptime = self.last_30m.uptime
        if uptime is None or uptime >= NORMAL:
            return 0
        return 1 if uptime >= DEGRADED else 2


class Speed(msgspec.Struct, frozen=True, gc=False):
    """Percentiles of the last 5 minutes, of a longer window where those had too few samples."""

    latency: Percentiles | None = None
    """seconds to the first content"""
    throughput: Percentiles | None = None
    """tokens a second; p90 is what 90 of 100 requests reach"""


class Snapshot(Protocol):
    """The health of all endpoints at one moment. None = never seen."""

    @property
    def doubtful(self) -> Set[str]: ...
    def vitals(self, endpoint_id: str) -> Vitals | None: ...
    def speed(self, endpoint_id: str) -> Speed | None: ...
    def remember(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, or gave for that key a moment ago: for what is worked out of many endpoints' health."""


class Remembered(Protocol):
    """Whoever can give the snapshot of a moment, unix time in ns."""

    def at(self, now_ns: int, /) -> Snapshot: ...


class Stills(msgspec.Struct, frozen=True):
    """A snapshot as values: for tests, explanations and replays."""

    of: Mapping[str, Vitals] = {}
    speeds: Mapping[str, Speed] = {}

    @property
    def doubtful(self) -> Set[str]:
        return self.of.keys()

    def at(self, now_ns: int, /) -> Stills:
        return self

    def vitals(self, endpoint_id: str) -> Vitals | None:
        return self.of.get(endpoint_id)

    def speed(self, endpoint_id: str) -> Speed | None:
        return self.speeds.get(endpoint_id)

    def remember(self, key: Hashable, make: Callable[[], T]) -> T:
        return make()


class Listing(msgspec.Struct, frozen=True):
    """What the public listing of an endpoint shows. Uptime in percent, latency in ms, throughput in tokens a second."""

    uptime_last_5m: float | None = None
    uptime_last_30m: float | None = None
    uptime_last_1d: float | None = None
    latency_last_30m: Percentiles | None = None
    throughput_last_30m: Percentiles | None = None
    latency_last_1d: Percentiles | None = None
    throughput_last_1d: Percentiles | None = None
