"""Why a plan is as it is: of every endpoint whether it was kept, dropped or moved, and by what. Values, no printing.

Made by the same code that routes, so that an explanation cannot differ from the plan. Also the router's metadata that
callers may ask for. Source of its shape: inference API, section 12.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from routebook.core.call import Call, Loss
from routebook.core.catalog import Catalog, Endpoint
from routebook.core.errors import Fault
from routebook.core.money import plain
from routebook.policy.refusals import not_honoured
from routebook.policy.routing import NOTHING_KNOWN, Outlook, Route, nobody, route
from routebook.policy.targets import Passthrough
from routebook.policy.trail import Trail


class Fate(msgspec.Struct, frozen=True):
    """What became of one endpoint."""

    endpoint_id: str
    model: str
    provider: str
    """display name"""
    tag: str
    place: int | None
    """1 = tried first; None = dropped"""
    dropped_by: str | None = None
    """the filter that took it out"""
    wanted: str | None = None
    """what that filter asked of it"""
    notes: tuple[str, ...] = ()
    """what moved it, in order"""
    prompt_price: str | None = None
    completion_price: str | None = None
    """USD a token, None if unpriced"""


class Explanation(msgspec.Struct, frozen=True):
    """A plan with its reasons; of a request that cannot be routed the fault with them."""

    requested: tuple[str, ...]
    fates: tuple[Fate, ...]
    """kept ones in the order in which they are tried, then dropped ones as they were looked at"""
    losses: tuple[Loss, ...] = ()
    route: Route | None = None
    fault: Fault | None = None


def explain(
    call: Call,
    catalog: Catalog,
    passthrough: Passthrough = nobody,
    outlook: Outlook = NOTHING_KNOWN,
    now_ns: int = 0,
    seed: int | None = None,
    account: str = "",
) -> Explanation:
    """What `route` does with the same arguments, and why. Raises nothing that `route` raises: it is in `fault`."""
    trail = Trail()
    requested = (call.model, *call.models)
    try:
        found = route(call, catalog, passthrough, outlook, now_ns, seed, account, trail)
    except Fault as fault:
        return Explanation(requested, _fates((), trail), fault=fault)
    losses = (*[Loss(name, why) for name, why in not_honoured(call)], *found.losses)
    return Explanation(requested, _fates(found.endpoints, trail), losses, found)


DRAWS = 1000


class First(msgspec.Struct):
    """How often an endpoint is the one tried first."""

    times: int
    """of DRAWS plans, drawn with the seeds 0 to DRAWS - 1"""
    seed: int
    """one that draws it"""


def firsts(
    call: Call,
    catalog: Catalog,
    passthrough: Passthrough = nobody,
    outlook: Outlook = NOTHING_KNOWN,
    now_ns: int = 0,
    account: str = "",
) -> dict[str, First]:
    """By endpoint id, of those that may be tried first. Raises what `route` raises."""
    found: dict[str, First] = {}
    for seed in range(DRAWS):
        id = route(call, catalog, passthrough, outlook, now_ns, seed, account).endpoints[0].id
        found.setdefault(id, First(0, seed)).times += 1
    return found


def _fates(planned: Sequence[Endpoint], trail: Trail) -> tuple[Fate, ...]:
    places = {endpoint.id: at for at, endpoint in enumerate(planned, 1)}
    kept = [_fate(endpoint, places[endpoint.id], trail) for endpoint in planned]
    gone = [_fate(endpoint, None, trail) for id, endpoint in trail.seen.items() if id not in places]
    return (*kept, *gone)


def _fate(endpoint: Endpoint, place: int | None, trail: Trail) -> Fate:
    by, wanted = trail.dropped.get(endpoint.id, (None, None)) if place is None else (None, None)
    base = None if endpoint.pricing is None else endpoint.pricing.base
    return Fate(
        endpoint_id=endpoint.id,
        model=endpoint.model,
        provider=endpoint.provider.name,
        tag=endpoint.tag,
        place=place,
        dropped_by=by,
        wanted=wanted,
        notes=tuple(trail.notes.get(endpoint.id, ())),
        prompt_price=None if base is None or base.prompt is None else plain(base.prompt),
        completion_price=None if base is None or base.completion is None else plain(base.completion),
    )


class Tried(msgspec.Struct, frozen=True):
    """One attempt, as the metadata tells it."""

    provider: str
    model: str
    status: int
    """what the provider answered with; 0 if it never answered"""


def router_metadata(
    call: Call, planned: Route | None, tried: Sequence[Tried] = (), *, selected: str | None = None, byok: bool = False
) -> dict[str, Any]:
    """`openrouter_metadata`. `selected`: id of the endpoint that answered, None if none did."""
    endpoints = () if planned is None else planned.endpoints
    attempt = len(tried)
    available = [
        {"provider": each.provider.name, "model": each.model, "selected": each.id == selected} for each in endpoints
    ]
    body: dict[str, Any] = {
        "requested": call.model,
        "strategy": "direct" if planned is None else planned.strategy,
        "region": None,
        "summary": _summary(endpoints, tried, selected),
        "attempt": attempt,
        "is_byok": byok,
        "endpoints": {"total": len(available), "available": available},
    }
    if tried:
        body["attempts"] = [{"provider": t.provider, "model": t.model, "status": t.status} for t in tried]
    return body


def _summary(endpoints: Sequence[Endpoint], tried: Sequence[Tried], selected: str | None) -> str:
    answered = next((each for each in endpoints if each.id == selected), None)
    of = f"{len(endpoints)} endpoint{'' if len(endpoints) == 1 else 's'} could serve it"
    if answered is None:
        return f"{of}; none answered, {len(tried)} tried" if tried else f"{of}; none was tried"
    return f"{of}; {answered.provider.name} answered, {len(tried)} tried"
