"""Quality of endpoints for requests with tools: which are good, which too little known, which to be put back.

Two signals, each with enough requests at four providers or none at all: throughput below the median by more than 1.5
deviations, tool calls that succeed less often than the median by more than 2. Deviations are estimated from the median
absolute deviation, and are never below what the measurement itself can tell apart. Benchmarks are not weighed.
Source: routing, 5.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from statistics import median

from routebook.core.catalog import Endpoint
from routebook.policy.histogram import FINE_ERROR
from routebook.policy.vitals import Snapshot

GOOD, UNKNOWN, BACK = 0, 1, 2

PROVIDERS_LEAST = 4
REQUESTS_LEAST = 100
"""in 30 minutes, for throughput to count"""
TOOL_REQUESTS_LEAST = 200
"""in 2 hours, for tool calls to count"""
MAD_TO_SIGMA = 1.4826
"""of a normal distribution"""
THROUGHPUT_SIGMAS, TOOLS_SIGMAS = 1.5, 2.0
TOOLS_SIGMA_LEAST = 0.01


def qualities(endpoints: Iterable[Endpoint], health: Snapshot | None) -> dict[str, int]:
    """Tier of each endpoint by id: GOOD, UNKNOWN or BACK."""
    everyone = list(endpoints)
    if health is None:
        return {e.id: UNKNOWN for e in everyone}
    speeds: dict[str, float] = {}
    tools: dict[str, float] = {}
    for endpoint in everyone:
        vitals = health.vitals(endpoint.id)
        if vitals is None:
            continue
        speed = health.speed(endpoint.id) if vitals.last_30m.total >= REQUESTS_LEAST else None
        if speed is not None and speed.throughput is not None:
            speeds[endpoint.id] = speed.throughput.p50
        if vitals.tools.total >= TOOL_REQUESTS_LEAST:
            tools[endpoint.id] = vitals.tools.ok / vitals.tools.total
    providers = {e.id: e.provider.slug for e in everyone}
    signals = (
        _judged(speeds, providers, THROUGHPUT_SIGMAS, lambda middle: middle * FINE_ERROR),
        _judged(tools, providers, TOOLS_SIGMAS, lambda middle: TOOLS_SIGMA_LEAST),
    )
    return {e.id: max((s[e.id] for s in signals if e.id in s), default=UNKNOWN) for e in everyone}


def _judged(
    values: Mapping[str, float], providers: Mapping[str, str], sigmas: float, least: Callable[[float], float]
) -> dict[str, int]:
    """GOOD or BACK by one signal; nothing with too few providers."""
    if len({providers[each] for each in values}) < PROVIDERS_LEAST:
        return {}
    middle = median(values.values())
    sigma = max(MAD_TO_SIGMA * median(abs(value - middle) for value in values.values()), least(middle))
    return {each: BACK if value < middle - sigmas * sigma else GOOD for each, value in values.items()}
