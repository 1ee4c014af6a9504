"""The circuit breaker of an endpoint: after failures in a row it rests, then one call tries it, then it starts slowly.

    closed --5 failures in a row--> open --its time is over--> half open --the probe succeeds--> closed, slow start
                                     ^                            |
                                     +------the probe fails-------+   (30 s x times opened, 300 s at most, + jitter)

An open endpoint is never taken out of a plan: it goes to the end, so that the last one there is is always tried.
`provider.order` and `provider.only` override the breaker. A 429 with Retry-After rests the endpoint for that long.
Numbers: Envoy's outlier detection (reliability, section 1.1). States are values; time and seed are the caller's.
"""

from __future__ import annotations

import msgspec

from routebook.policy.dice import unit

NS = 1_000_000_000

FAILURES_IN_A_ROW = 5
BASE_NS = 30 * NS
LONGEST_NS = 300 * NS
JITTER = 0.2
"""Up to this fraction is added to every rest, so that not all workers probe at once."""
PROBE_NS = 30 * NS
"""A probe that has not come back after this long is given up, and another may go."""
SLOW_START_NS = 30 * NS
SLOW_START_FROM = 0.1
"""Share of its weight that an endpoint gets right after it came back."""
FORGIVEN_NS = 300 * NS
"""After this long without opening, the next opening counts as the first again."""
REST_MOST_NS = 60 * NS
"""A provider's Retry-After rests its endpoint no longer than this."""


class Breaker(msgspec.Struct, frozen=True):
    """The state of one endpoint. The default is closed and without a blemish."""

    failures: int = 0
    """in a row"""
    opened: int = 0
    """times in a row that it was opened"""
    open_until_ns: int = 0
    """0 = closed"""
    probe_since_ns: int = 0
    """when the probe of a half-open endpoint went out, 0 = none is out"""
    closed_ns: int = 0
    """when it closed again, 0 = it was never open"""
    rest_until_ns: int = 0
    """a provider asked to be left alone until then"""

    def state(self, now_ns: int) -> str:
        """`closed`, `resting`, `open` or `half_open`."""
        if self.open_until_ns:
            return "open" if now_ns < self.open_until_ns else "half_open"
        return "resting" if now_ns < self.rest_until_ns else "closed"

    def aside(self, now_ns: int) -> bool:
        """True where others go first: it is open, resting, or its probe is out."""
        if self.open_until_ns:
            return now_ns < self.open_until_ns or self._probing(now_ns)
        return now_ns < self.rest_until_ns

    def share(self, now_ns: int) -> float:
        """Share of its weight in the draw: 0.1 when half open or just closed, growing to 1 in 30 s."""
        if self.open_until_ns:
            return SLOW_START_FROM
        if not self.closed_ns:
            return 1.0
        part = (now_ns - self.closed_ns) / SLOW_START_NS
        return min(1.0, SLOW_START_FROM + (1 - SLOW_START_FROM) * max(part, 0.0))

    def _probing(self, now_ns: int) -> bool:
        return self.probe_since_ns != 0 and now_ns < self.probe_since_ns + PROBE_NS

    def entered(self, now_ns: int) -> Breaker | None:
        """The state after an attempt has begun; None where it may not: the one probe of a half-open endpoint is out."""
        if not self.open_until_ns or now_ns < self.open_until_ns:
            return self  # an open one is only asked when nobody else is left
        if self._probing(now_ns):
            return None
        return msgspec.structs.replace(self, probe_since_ns=now_ns)

    def succeeded(self, now_ns: int) -> Breaker:
        """The state after an answer."""
        if self.open_until_ns:
            return Breaker(opened=self.opened, closed_ns=now_ns)
        if self.failures or (self.rest_until_ns and now_ns >= self.rest_until_ns):
            return msgspec.structs.replace(self, failures=0, rest_until_ns=0)
        return self

    def failed(self, now_ns: int, seed: int) -> Breaker:
        """The state after a failure that counts against the endpoint (see `vitals.Seen`)."""
        failures = self.failures + 1
        if not self.open_until_ns and failures < FAILURES_IN_A_ROW:
            return msgspec.structs.replace(self, failures=failures)
        if self.open_until_ns and now_ns < self.open_until_ns:
            return msgspec.structs.replace(self, failures=failures)  # a straggler, or the last one there was
        forgiven = self.closed_ns != 0 and now_ns - self.closed_ns >= FORGIVEN_NS
        opened = 1 if forgiven else self.opened + 1
        rest = min(BASE_NS * opened, LONGEST_NS)
        jitter = int(rest * JITTER * unit(seed))
        return Breaker(failures=failures, opened=opened, open_until_ns=now_ns + rest + jitter)

    def limited(self, now_ns: int, retry_after_ns: int | None) -> Breaker:
        """The state after a 429. A probe that was limited has said nothing: another may go."""
        until = now_ns + min(retry_after_ns or 0, REST_MOST_NS)
        return msgspec.structs.replace(self, rest_until_ns=max(self.rest_until_ns, until), probe_since_ns=0)

    def left(self) -> Breaker:
        """The state after an attempt that says nothing (the caller left, the request was refused as invalid)."""
        return msgspec.structs.replace(self, probe_since_ns=0) if self.probe_since_ns else self

    def clean(self, now_ns: int) -> bool:
        """True if nothing of it need be remembered."""
        return (
            not self.failures
            and not self.open_until_ns
            and now_ns >= self.rest_until_ns
            and (not self.closed_ns or now_ns - self.closed_ns >= FORGIVEN_NS)
        )


CLOSED = Breaker()


class Breakers:
    """The breakers of all endpoints; only those that are not clean are held. Bounded: of too many the oldest go."""

    __slots__ = ("_max", "of")

    def __init__(self, endpoints_max: int = 10_000) -> None:
        self.of: dict[str, Breaker] = {}
        """endpoint id -> state, for those that are not clean"""
        self._max = endpoints_max

    def enter(self, endpoint_id: str, now_ns: int) -> bool:
        """True if an attempt may begin. False: skip it, that is no attempt (unless nobody else is left)."""
        breaker = self.of.get(endpoint_id)
        if breaker is None:
            return True
        after = breaker.entered(now_ns)
        if after is None:
            return False
        self.of[endpoint_id] = after
        return True

    def succeeded(self, endpoint_id: str, now_ns: int) -> None:
        """The endpoint answered."""
        breaker = self.of.get(endpoint_id)
        if breaker is not None:
            self._keep(endpoint_id, breaker.succeeded(now_ns), now_ns)

    def failed(self, endpoint_id: str, now_ns: int, seed: int) -> None:
        """It failed in a way that counts against it."""
        self._keep(endpoint_id, self.of.get(endpoint_id, CLOSED).failed(now_ns, seed), now_ns)

    def limited(self, endpoint_id: str, now_ns: int, retry_after: float | None) -> None:
        """It answered 429; `retry_after` in seconds, None if it did not say."""
        wait_ns = None if retry_after is None else int(min(max(retry_after, 0), REST_MOST_NS / NS) * NS)
        self._keep(endpoint_id, self.of.get(endpoint_id, CLOSED).limited(now_ns, wait_ns), now_ns)

    def left(self, endpoint_id: str, now_ns: int) -> None:
        """The attempt ended without saying anything about it."""
        breaker = self.of.get(endpoint_id)
        if breaker is not None:
            self._keep(endpoint_id, breaker.left(), now_ns)

    def _keep(self, endpoint_id: str, breaker: Breaker, now_ns: int) -> None:
        if breaker.clean(now_ns):
            self.of.pop(endpoint_id, None)
            return
        if endpoint_id not in self.of and len(self.of) >= self._max:
            del self.of[next(iter(self.of))]
        self.of[endpoint_id] = breaker
