"""In which order the endpoints that may serve a call are tried.

First how they stand (outage or breaker), then whether they meet the preferred speed, then their quality for tools; in
each of these groups the sort that was asked for, else by price. Without an explicit sort the first is drawn: of those
in the foremost group one by 1 / price², the rest are the fallbacks. Endpoints that a caller names are not reordered for
how they stand. Source: routing, sections 4, 5 and 8.3.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Mapping, Sequence
from itertools import accumulate

import msgspec

from routebook.core.catalog import Endpoint
from routebook.policy.breaker import Breaker
from routebook.policy.dice import unit
from routebook.policy.exacto import BACK, GOOD, qualities
from routebook.policy.histogram import Percentiles
from routebook.policy.shelf import Shelf
from routebook.policy.trail import Trail
from routebook.policy.vitals import Snapshot
from routebook.policy.wishes import Bars, Wish

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
    shelf: Shelf, kept: Sequence[Endpoint], manner: Manner, moment: Moment, trail: Trail | None = None
) -> list[Endpoint]:
    """The kept endpoints of a shelf in the order in which they are tried."""
    order = manner.wish.order
    if not order:
        return _sorted(shelf, list(kept), manner, moment, trail)
    first: dict[str, Endpoint] = {}
    for name in order:
        if meant := shelf.named((name,), manner.tier):
            for endpoint in kept:
                if endpoint.id in meant:
                    first.setdefault(endpoint.id, endpoint)
    if trail is not None:
        for endpoint in first.values():
            trail.note(endpoint, "named by provider.order")
    rest = [e for e in kept if e.id not in first]
    if not rest:
        return list(first.values())
    return [*first.values(), *_sorted(shelf, rest, manner, moment, trail, others=True)]


def _sorted(
    shelf: Shelf, endpoints: list[Endpoint], manner: Manner, moment: Moment, trail: Trail | None, others: bool = False
) -> list[Endpoint]:
    """`others`: those that an order leaves over; nothing is drawn among them, and nobody named them."""
    balanced = manner.sort is None and manner.balance and moment.seed is not None
    base = _base(shelf, endpoints, manner, moment, balanced)
    pinned = not others and manner.wish.pinned
    ranks = _ranks(shelf, base, manner, moment, pinned, trail)
    if ranks is not None and any(ranks):
        places = sorted(range(len(base)), key=ranks.__getitem__)
        base, ranks = [base[at] for at in places], [ranks[at] for at in places]
    if balanced and not others and len(base) > 1 and moment.seed is not None:
        foremost = len(base) if ranks is None else ranks.count(ranks[0])
        if foremost > 1:
            base.insert(0, base.pop(_drawn(shelf, base, foremost, moment, moment.seed)))
        if trail is not None:
            trail.note(base[0], f"drawn by price among {foremost}")
    return base


def _base(shelf: Shelf, endpoints: list[Endpoint], manner: Manner, moment: Moment, balanced: bool) -> list[Endpoint]:
    """By the sort alone. Unknown speeds come last; of equals the cheaper first."""
    sort = manner.sort
    if sort is None and not balanced:
        return endpoints
    if moment.health is None and sort in ("throughput", "latency", "exacto"):
        ordered = list(endpoints)  # nothing is measured: a loss says so
    elif len(endpoints) == len(shelf.by_price):
        ordered = list(shelf.by_price)
    else:
        ids = {e.id for e in endpoints}
        ordered = [e for e in shelf.by_price if e.id in ids]
    health = moment.health
    if sort in ("throughput", "latency") and health is not None:
        by = sort

        def keys() -> dict[str, tuple[bool, float]]:
            return {e.id: _speed_key(e, by, health) for e in ordered}

        found = health.remember((by, _key(shelf, ordered)), keys)
        ordered.sort(key=lambda e: found[e.id])
    if manner.tier_first:
        ordered.sort(key=lambda e: e.service_tier != manner.tier)
    return ordered


def _key(shelf: Shelf, endpoints: Sequence[Endpoint]) -> Hashable:
    """Names these endpoints in this order for `Snapshot.remember`, where it may be their shelf's by price."""
    return shelf.ids if len(endpoints) == len(shelf.ids) else tuple([e.id for e in endpoints])


def _speed_key(endpoint: Endpoint, sort: str, health: Snapshot) -> tuple[bool, float]:
    measured = _measured(endpoint, sort, health)
    if measured is None:
        return True, 0.0
    return False, -measured.p50 if sort == "throughput" else measured.p50


def _measured(endpoint: Endpoint, what: str, health: Snapshot | None) -> Percentiles | None:
    speed = None if health is None else health.speed(endpoint.id)
    if speed is None:
        return None
    return speed.throughput if what == "throughput" else speed.latency


def _ranks(
    shelf: Shelf, endpoints: list[Endpoint], manner: Manner, moment: Moment, pinned: bool, trail: Trail | None
) -> list[int] | None:
    """One number an endpoint, 0 = nothing speaks against it: standing, room, preferred speed, quality. None: all 0."""
    wish, health = manner.wish, moment.health
    standings = {} if pinned else _standings(shelf, moment)
    tight = manner.likely_need > shelf.context_least
    bars = bool(wish.min_throughput or wish.max_latency)
    quality = manner.tools or manner.sort == "exacto"
    if not (standings or tight or bars or quality):
        return None
    missed = _missed(shelf, endpoints, wish, health) if bars else {}
    tiers = _qualities(shelf, endpoints, health) if quality else {}
    ranks = []
    for endpoint in endpoints:
        standing = standings.get(endpoint.id, 0)
        if standing == DEGRADED and manner.sort is not None:
            standing = 0  # a strict sort: only what is down goes back
        rank = 1000 * standing + 10 * missed.get(endpoint.id, 0) + tiers.get(endpoint.id, 0)
        if tight and endpoint.context_length is not None and manner.likely_need > endpoint.context_length:
            rank += 100
        ranks.append(rank)
    if trail is not None:
        _tell(trail, endpoints, ranks, manner, moment)
    return ranks


def _tell(trail: Trail, endpoints: list[Endpoint], ranks: list[int], manner: Manner, moment: Moment) -> None:
    """Note what each rank is made of."""
    for endpoint, rank in zip(endpoints, ranks, strict=True):
        if rank >= 1000:
            trail.note(endpoint, why_stands(endpoint.id, moment))
        if rank // 100 % 10:
            trail.note(endpoint, f"about {manner.likely_need} tokens may not fit")
        if rank // 10 % 10:
            trail.note(endpoint, why_misses(endpoint, manner.wish, moment.health))
        if manner.tools or manner.sort == "exacto":
            trail.note(endpoint, _QUALITY[rank % 10])


def _standings(shelf: Shelf, moment: Moment) -> dict[str, int]:
    """How those stand that do not stand well, by id."""
    health, breakers = moment.health, moment.breakers
    asked = health.doubtful & shelf.ids if health is not None else frozenset()
    if breakers:
        asked = asked | (breakers.keys() & shelf.ids)
    return {each: found for each in asked if (found := stands(each, moment))} if asked else {}


def _missed(shelf: Shelf, endpoints: list[Endpoint], wish: Wish, health: Snapshot | None) -> dict[str, int]:
    """How far each is from the preferred speed, by id."""

    def work() -> dict[str, int]:
        return {e.id: misses(e, wish, health) for e in endpoints}

    if health is None:
        return work()
    return health.remember(("missed", wish.min_throughput, wish.max_latency, _key(shelf, endpoints)), work)


def _qualities(shelf: Shelf, endpoints: list[Endpoint], health: Snapshot | None) -> dict[str, int]:
    if health is None:
        return qualities(endpoints, health)
    return health.remember(("quality", _key(shelf, endpoints)), lambda: qualities(endpoints, health))


_QUALITY = {GOOD: "good with tools", BACK: "put back: slow or bad with tools", 1: "too little known of it with tools"}


def stands(endpoint_id: str, moment: Moment) -> int:
    """0 well, DEGRADED, OUTAGE or ASIDE."""
    breaker = moment.breakers.get(endpoint_id)
    if breaker is not None and breaker.aside(moment.now_ns):
        return ASIDE
    vitals = None if moment.health is None else moment.health.vitals(endpoint_id)
    if vitals is None:
        return 0
    return OUTAGE if vitals.outage else vitals.standing


def why_stands(endpoint_id: str, moment: Moment) -> str:
    """What an endpoint that does not stand well has."""
    standing = stands(endpoint_id, moment)
    if standing == ASIDE:
        return f"its breaker is {moment.breakers[endpoint_id].state(moment.now_ns).replace('_', ' ')}"
    vitals = None if moment.health is None else moment.health.vitals(endpoint_id)
    if vitals is not None and vitals.outage:
        return f"an outage: {vitals.recent.failed} of {vitals.recent.total} failed within 30 s"
    return (
        "degraded: less than 95 % of its requests succeed" if standing == DEGRADED else "down: less than 80 % succeed"
    )


def misses(endpoint: Endpoint, wish: Wish, health: Snapshot | None) -> int:
    """0 meets every bar, 1 is not measured, 2 misses one."""
    worst = 0
    for what, bars in (("throughput", wish.min_throughput), ("latency", wish.max_latency)):
        measured = _measured(endpoint, what, health) if bars else None
        if bars and measured is None:
            worst = 1
        elif measured is not None and _first_missed(what, bars, measured) is not None:
            return 2
    return worst


def why_misses(endpoint: Endpoint, wish: Wish, health: Snapshot | None) -> str:
    """Which bar an endpoint misses, or that it is not measured."""
    unknown = ""
    for what, bars in (("throughput", wish.min_throughput), ("latency", wish.max_latency)):
        measured = _measured(endpoint, what, health) if bars else None
        if bars and measured is None:
            unknown = unknown or f"its {what} is not measured"
        elif measured is not None and (missed := _first_missed(what, bars, measured)) is not None:
            return f"its {what} {missed[0]} is {measured.of(missed[0]):.3g}, asked for was {missed[1]:.3g}"
    return unknown


def _first_missed(what: str, bars: Bars, measured: Percentiles) -> tuple[str, float] | None:
    for percentile, bar in bars:
        value = measured.of(percentile)
        if value < bar if what == "throughput" else value > bar:
            return percentile, bar
    return None


def _drawn(shelf: Shelf, base: list[Endpoint], foremost: int, moment: Moment, seed: int) -> int:
    """Which of the first ones the seed draws: by 1 / price², less of it for who comes back from an outage."""
    returning = moment.breakers.keys() & shelf.ids if moment.breakers else ()
    if foremost == len(shelf.by_price) and not returning:
        cumulated: Sequence[float] = shelf.cumulated
    else:
        weights = [shelf.weights[e.id] for e in base[:foremost]]
        if not any(weights):
            weights = [1.0] * foremost
        if returning:
            for at, endpoint in enumerate(base[:foremost]):
                if endpoint.id in returning:
                    weights[at] *= moment.breakers[endpoint.id].share(moment.now_ns)
        cumulated = list(accumulate(weights))
    return min(bisect_right(cumulated, unit(seed) * cumulated[-1]), foremost - 1)
