"""What routing did of a call, for callers who ask to be told: `openrouter_metadata`, on answers and on errors.

Nobody else pays for it: whoever does not ask costs two look-ups. Source: inference API, sections 1 and 12.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from routebook.core.call import Call
from routebook.core.errors import BadRequest, Fault, PaymentRequired, RateLimited, Unauthenticated, UpstreamFault
from routebook.policy.explain import Tried, router_metadata
from routebook.policy.routers import AUTO, task_of

if TYPE_CHECKING:
    from routebook.corridor.entry import Entry

HEADER = "x-openrouter-metadata"
OLDER_HEADER = "x-openrouter-experimental-metadata"


def is_asked(headers: Mapping[str, str]) -> bool:
    """True if the caller wants to be told; names in lower case. Any other value than `enabled` is no."""
    if HEADER not in headers and OLDER_HEADER not in headers:
        return False
    said = headers.get(HEADER, headers.get(OLDER_HEADER, ""))
    return said.strip().lower() == "enabled"


def of_entry(entry: Entry) -> dict[str, Any] | None:
    """The metadata of a call that is over; None where nobody asked."""
    admitted = entry.held.plan.admitted
    if not is_asked(admitted.arrival.headers):
        return None
    attempts = entry.attempts
    tried = [Tried(each.endpoint.provider.name, each.endpoint.model, each.status or 0) for each in attempts]
    last = entry.current
    answered = last.endpoint.id if last is not None and last.first_ns is not None else None
    route = entry.held.plan.route
    told = router_metadata(entry.call, route, tried, selected=answered)
    stages = _stages(entry, route.router)
    return {**told, "pipeline": stages} if stages else told


def of_fault(fault: Fault, call: Call, headers: Mapping[str, str]) -> None:
    """Put it on a fault of a call that could not be planned, where the caller asked."""
    if is_asked(headers) and is_told(fault):
        fault.routing = router_metadata(call, None)


def is_told(fault: Fault) -> bool:
    """False for our own errors about who asks and what, and for every 500: these tell nothing of routing."""
    if fault.status == 500:
        return False
    return isinstance(fault, UpstreamFault) or not isinstance(
        fault, BadRequest | Unauthenticated | PaymentRequired | RateLimited
    )


def _stages(entry: Entry, router: str | None) -> list[dict[str, Any]]:
    """What was done to the request on its way."""
    stages: list[dict[str, Any]] = []
    if router in AUTO:
        stages.append({"type": "plugin", "name": "auto-router", "data": {"task_type": task_of(entry.call)}})
    if (shorter := entry.shortened) is not None:
        stages.append({"type": "context_compression", "name": shorter.engine, "summary": shorter.summary})
    return stages
