"""In which order the endpoints that may serve a call are tried.

First how they stand (outage or breaker), then whether they meet the preferred speed, then their quality for tools; in
each of these groups the sort that was asked for, else by price. Without an explicit sort the first is drawn: of those
in the foremost group one by 1 / price², the rest are the fallbacks. Endpoints that a caller names are not reordered for
how they stand. Source: routing, sections 4, 5 and 8.3.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate

import msgspec

from routebook.core.catalog import Endpoint
from routebook.policy.breaker import Breaker
from routebook.policy.dice import unit
from routebook.policy.exacto import BACK, GOOD, qualities
from routebook.policy.filters import named
from routebook.policy.histogram import Percentiles
from routebook.policy.shelf import Shelf, by_price, weight
from routebook.policy.trail import Trail
from routebook.policy.vitals import Snapshot
from routebook.policy.wishes import Wish

DEGRADED, OUTAGE, ASIDE = 1, 2, 3
"""How an endpoint stands, 0 = well. ASIDE: its breaker is open, or it asked to be left alone."""


class Moment(msgspec.Struct, frozen=True):
    """What is known besides the request and the catalogue."""

    health: Snapshot | None = None
    breakers: Mapping[str, Breaker] = {}
    now_ns: int = 0
    seed: int | None = None
    """None: nothing is drawn, and the configured order is the order"""


class Manner(msgspec.Struct, frozen=True):
    """How one model's endpoints are to be ordered."""

    wish: Wish
    sort: str | None = None
    """price, throughput, latency, exacto or None: load balancing"""
    tools: bool = False
    """quality for tools counts"""
    balance: bool = True
    tier: str | None = None
    tier_first: bool = False
    """endpoints of that tier go before all others"""
    likely_need: int = 0
    """about so many tokens have to fit; 0 = it is not known"""


def draw(shelf: Shelf, seed: int) -> tuple[Endpoint, ...]:
    """The order of endpoints that all stand well: one drawn by 1 / price², then by rising price."""
    ordered, cumulated = shelf.by_price, shelf.cumulated
    at = bisect_right(cumulated, unit(seed) * cumulated[-1])
    if at >= len(ordered):  # the fraction is below 1, but its product may round up
        at = len(ordered) - 1
    return (ordered[at], *ordered[:at], *ordered[at + 1 :])


def arranged(
    endpoints: Sequence[Endpoint], manner: Manner, moment: Moment, trail: Trail | None = None
) -> list[Endpoint]:
    """These endpoints in the order in which they are tried."""
    order = manner.wish.order
    if not order:
        return _sorted(list(endpoints), manner, moment, trail)
    first: dict[str, Endpoint] = {}
    for name in order:
        for endpoint in endpoints:
            if named(endpoint, frozenset((name,)), manner.tier):
                first.setdefault(endpoint.id, endpoint)
    if trail is not None:
        for endpoint in first.values():
            trail.note(endpoint, "named by provider.order")
    rest = [e for e in endpoints if e.id not in first]
    unnamed = msgspec.structs.replace(manner, wish=msgspec.structs.replace(manner.wish, order=(), only=None))
    return [*first.values(), *_sorted(rest, unnamed, moment, trail, draws=False)]


def _sorted(
    endpoints: list[Endpoint], manner: Manner, moment: Moment, trail: Trail | None, draws: bool = True
) -> list[Endpoint]:
    balanced = manner.sort is None and manner.balance and moment.seed is not None
    base = _base(endpoints, manner, moment, balanced)
    ranks = _ranks(base, manner, moment, trail)
    if any(ranks):
        places = sorted(range(len(base)), key=ranks.__getitem__)
        base, ranks = [base[at] for at in places], [ranks[at] for at in places]
    if balanced and draws and len(base) > 1 and moment.seed is not None:
        foremost = ranks.count(ranks[0])
        if foremost > 1:
            at = _drawn(base[:foremost], moment, moment.seed)
            base.insert(0, base.pop(at))
        if trail is not None:
            trail.note(base[0], f"drawn by price among {foremost}")
    return base


def _base(endpoints: list[Endpoint], manner: Manner, moment: Moment, balanced: bool) -> list[Endpoint]:
    """By the sort alone. Unknown speeds come last; of equals the cheaper first."""
    sort = manner.sort
    if sort is None and not balanced:
        return endpoints
    ordered = by_price(endpoints)
    if sort in ("throughput", "latency"):
        ordered.sort(key=lambda e: _speed_key(e, sort, moment.health))
    if manner.tier_first:
        ordered.sort(key=lambda e: e.service_tier != manner.tier)
    return ordered


def _speed_key(endpoint: Endpoint, sort: str, health: Snapshot | None) -> tuple[bool, float]:
    measured = _measured(endpoint, sort, health)
    if measured is None:
        return True, 0.0
    return False, -measured.p50 if sort == "throughput" else measured.p50


def _measured(endpoint: Endpoint, what: str, health: Snapshot | None) -> Percentiles | None:
    speed = None if health is None else health.speed(endpoint.id)
    if speed is None:
        return None
    return speed.throughput if what == "throughput" else speed.latency


def _ranks(endpoints: list[Endpoint], manner: Manner, moment: Moment, trail: Trail | None) -> list[int]:
    """One number an endpoint, 0 = nothing speaks against it: standing, room, preferred speed, quality."""
    wish = manner.wish
    ranks = [0] * len(endpoints)
    doubtful = moment.health.doubtful if moment.health is not None else ()
    if not wish.pinned and (doubtful or moment.breakers):
        for at, endpoint in enumerate(endpoints):
            if endpoint.id in doubtful or endpoint.id in moment.breakers:
                standing, why = stands(endpoint, moment)
                if standing == DEGRADED and manner.sort is not None:
                    continue  # a strict sort: only what is down goes back
                ranks[at] = 1000 * standing
                if trail is not None and standing:
                    trail.note(endpoint, why)
    if manner.likely_need:
        for at, endpoint in enumerate(endpoints):
            if endpoint.context_length is not None and manner.likely_need > endpoint.context_length:
                ranks[at] += 100
                if trail is not None:
                    trail.note(endpoint, f"about {manner.likely_need} tokens may not fit")
    if wish.min_throughput or wish.max_latency:
        for at, endpoint in enumerate(endpoints):
            missed, why = misses(endpoint, wish, moment.health)
            ranks[at] += 10 * missed
            if trail is not None and missed:
                trail.note(endpoint, why)
    if manner.tools or manner.sort == "exacto":
        tiers = qualities(endpoints, moment.health)
        for at, endpoint in enumerate(endpoints):
            tier = tiers[endpoint.id]
            ranks[at] += tier
            if trail is not None:
                trail.note(endpoint, _QUALITY[tier])
    return ranks


_QUALITY = {GOOD: "good with tools", BACK: "put back: slow or bad with tools", 1: "too little known of it with tools"}


def stands(endpoint: Endpoint, moment: Moment) -> tuple[int, str]:
    """(0 well, DEGRADED, OUTAGE or ASIDE; why)."""
    breaker = moment.breakers.get(endpoint.id)
    if breaker is not None and breaker.aside(moment.now_ns):
        return ASIDE, f"its breaker is {breaker.state(moment.now_ns).replace('_', ' ')}"
    vitals = None if moment.health is None else moment.health.vitals(endpoint.id)
    if vitals is None:
        return 0, ""
    if vitals.outage:
        recent = vitals.recent
        return OUTAGE, f"an outage: {recent.failed} of {recent.total} failed within 30 s"
    if vitals.standing == 2:
        return OUTAGE, "down: less than 80 % of its requests succeed"
    return (DEGRADED, "degraded: less than 95 % of its requests succeed") if vitals.standing else (0, "")


def misses(endpoint: Endpoint, wish: Wish, health: Snapshot | None) -> tuple[int, str]:
    """(0 meets every bar, 1 not measured, 2 misses one; why)."""
    worst, why = 0, ""
    for what, bars in (("throughput", wish.min_throughput), ("latency", wish.max_latency)):
        if not bars:
            continue
        measured = _measured(endpoint, what, health)
        if measured is None:
            worst, why = max(worst, 1), why or f"its {what} is not measured"
            continue
        for percentile, bar in bars:
            value = measured.of(percentile)
            if value < bar if what == "throughput" else value > bar:
                return 2, f"its {what} {percentile} is {value:.3g}, asked for was {bar:.3g}"
    return worst, why


def _drawn(endpoints: list[Endpoint], moment: Moment, seed: int) -> int:
    """Which one the seed draws: by 1 / price², less of it for who comes back from an outage."""
    weights = [weight(e) for e in endpoints]
    if not any(weights):
        weights = [1.0] * len(weights)
    if moment.breakers:
        for at, endpoint in enumerate(endpoints):
            breaker = moment.breakers.get(endpoint.id)
            if breaker is not None:
                weights[at] *= breaker.share(moment.now_ns)
    cumulated = list(accumulate(weights))
    return min(bisect_right(cumulated, unit(seed) * cumulated[-1]), len(endpoints) - 1)
