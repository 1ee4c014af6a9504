"""Health as a listing tells it: the public figures of endpoints as a snapshot that plans can be drawn from.

A listing says uptime in percent and percentiles of speed; it says nothing of the last 30 seconds, of breakers, of tool
calls or of conversations, so nothing of these is in the snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping

from routebook.policy.histogram import Percentiles
from routebook.policy.vitals import Listing, Speed, Stills, Tally, Vitals

OF = 10_000
"""Requests that an uptime is told as: a listing has no counts, but none with fewer requests than tell an uptime."""


def heard(listings: Mapping[str, Listing]) -> Stills:
    """The snapshot; `listings` by endpoint id. Who has no figures at all counts as never seen."""
    known = {endpoint_id: listing for endpoint_id, listing in listings.items() if listing != Listing()}
    return Stills(
        {
            endpoint_id: Vitals(
                last_5m=_tally(each.uptime_last_5m),
                last_30m=_tally(each.uptime_last_30m),
                last_1d=_tally(each.uptime_last_1d),
            )
            for endpoint_id, each in known.items()
        },
        {
            endpoint_id: Speed(_in_seconds(each.latency_last_30m), each.throughput_last_30m)
            for endpoint_id, each in known.items()
        },
    )


def _tally(uptime: float | None) -> Tally:
    if uptime is None:
        return Tally()
    ok = round(uptime * OF / 100)
    return Tally(ok, OF - ok)


def _in_seconds(found: Percentiles | None) -> Percentiles | None:
    if found is None:
        return None
    return Percentiles(found.p50 / 1000, found.p75 / 1000, found.p90 / 1000, found.p99 / 1000)
