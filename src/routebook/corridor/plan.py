"""Step 3 and 4: which endpoints may serve the call, what it can cost at most, and that money reserved."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from routebook.core.call import Call, Loss
from routebook.core.catalog import Accounting, Endpoint
from routebook.core.errors import NotFound
from routebook.corridor.admit import Admitted
from routebook.corridor.ports import App
from routebook.ledger.book import Hold
from routebook.metering.estimate import cost_bound
from routebook.policy.retry import ATTEMPTS_MAX
from routebook.policy.routing import route


class Plan(msgspec.Struct, frozen=True):
    """Endpoints in the order they are tried, at most ATTEMPTS_MAX of them."""

    admitted: Admitted
    endpoints: tuple[Endpoint, ...]
    losses: tuple[Loss, ...]
    bound: Decimal | None
    """USD the call can cost at most at the dearest of them; None if one has no price"""


class Held(msgspec.Struct, frozen=True):
    """A plan with its money reserved: without one there is nothing to dispatch with."""

    plan: Plan
    hold: Hold


def draw_plan(admitted: Admitted, app: App) -> Plan:
    """Raises ModelUnknown, NotFound, BadRequest."""
    call = admitted.call
    found = route(call, app.catalog, app.passthrough)
    losses = found.losses
    if call.ignored:
        losses = (*[Loss(parameter, why) for parameter, why in call.ignored], *losses)
    if call.ignored and call.provider is not None and call.provider.require_parameters:
        name, why = call.ignored[0]
        raise NotFound(
            f"No endpoint can honour `{name}` ({why}) and provider.require_parameters is set; "
            f"leave `{name}` out or drop require_parameters.",
            metadata={"availability": {"code": "constraint_filtered", "excluded_by": "require_parameters"}},
        )
    endpoints = found.endpoints[:ATTEMPTS_MAX]
    if any(endpoint.schedule for endpoint in endpoints):
        # Dated prices: those of the moment the call was accepted, for its bound, its charge and its record alike.
        endpoints = tuple(endpoint.at(admitted.arrival.accepted_ns) for endpoint in endpoints)
    return Plan(admitted, endpoints, losses, _bound(call, endpoints, app.accounting))


def _bound(call: Call, endpoints: tuple[Endpoint, ...], accounting: Accounting) -> Decimal | None:
    """The most that any of them can cost; an unpriced one counts as the configured ceiling, or makes it unknown."""
    most: Decimal | None = None
    for endpoint in endpoints:
        bound = cost_bound(call, endpoint, accounting)
        if bound is None:
            bound = accounting.unpriced_ceiling
            if bound is None:
                return None
        if most is None or bound > most:
            most = bound
    return most


def reserve(plan: Plan, app: App) -> Held:
    """Raises PaymentRequired when the key's limit does not cover the bound, or the model has no price."""
    return Held(plan, app.book.hold(plan.admitted.key, plan.bound, plan.admitted.arrival.accepted_ns))
