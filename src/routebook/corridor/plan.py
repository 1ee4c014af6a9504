"""Step 3 and 4: which endpoints may serve the call, what it can cost at most, and that money reserved."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from msgspec.structs import replace

from routebook.core.call import Call, Loss
from routebook.core.catalog import Accounting, Endpoint
from routebook.core.errors import Fault
from routebook.corridor.admit import Admitted
from routebook.corridor.ports import App
from routebook.corridor.tell import of_fault
from routebook.ledger.tally import Hold
from routebook.metering import allowance
from routebook.metering.estimate import completion_bound, cost_bound
from routebook.policy.refusals import not_honoured, required
from routebook.policy.routing import Route, route
from routebook.wire import codec


class Plan(msgspec.Struct, frozen=True):
    """Endpoints in the order they are tried, at most as many as there may be attempts."""

    admitted: Admitted
    route: Route
    endpoints: tuple[Endpoint, ...]
    losses: tuple[Loss, ...]
    bound: Decimal | None
    """USD the call can cost at most at the dearest of them; None if one has no price"""


class Held(msgspec.Struct, frozen=True):
    """A plan with its money reserved: without one there is nothing to dispatch with."""

    plan: Plan
    hold: Hold
    tokens: int | None = None
    """completion tokens that the hold covers, where the answer is stopped when it cannot be extended; None: the hold
    covers all that the provider may produce"""


def draw_plan(admitted: Admitted, app: App) -> Plan:
    """Raises ModelUnknown, NotFound, BadRequest."""
    call = admitted.call
    accepted_ns, fleet = admitted.arrival.accepted_ns, app.fleet
    # Drawn with the time as seed: the record says when, so that the plan can be drawn again.
    try:
        found = route(call, app.catalog, app.passthrough, fleet.outlook, accepted_ns, accepted_ns, admitted.key.account)
    except Fault as fault:
        of_fault(fault, call, admitted.arrival.headers)
        raise
    losses = found.losses
    ignored = not_honoured(call) if call.ignored else ()
    if ignored:
        losses = (*[Loss(parameter, why) for parameter, why in ignored], *losses)
    if ignored and call.provider is not None and call.provider.require_parameters:
        name, why = ignored[0]
        refused = required(call, f"No endpoint can honour `{name}` ({why})")
        of_fault(refused, call, admitted.arrival.headers)
        raise refused
    endpoints = found.endpoints[: fleet.attempts]
    if any(endpoint.schedule for endpoint in endpoints):
        # Dated prices: those of the moment the call was accepted, for its bound, its charge and its record alike.
        endpoints = tuple(endpoint.at(accepted_ns) for endpoint in endpoints)
    return Plan(admitted, found, endpoints, losses, _bound(call, endpoints, app.accounting))


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


def reserve(plan: Plan, app: App) -> Held | None:
    """Put the plan's money aside; None where this worker's purse does not hold it, and `borrow` has to look further.

    Raises PaymentRequired where the key has a limit and the model has no price.
    """
    key, bound, tokens = plan.admitted.key, plan.bound, None
    if key.limit is not None and not key.admin and bound is not None:
        plan, bound, tokens = _within(plan, app.accounting, bound)
    hold = app.book.hold(key, bound, plan.admitted.arrival.accepted_ns)
    return None if hold is None else Held(plan, hold, tokens)


async def borrow(plan: Plan, app: App) -> Held:
    """As `reserve`, asking the store and the other workers. A call that may cost more than there is gets what there is,
    if that is worth its prompt: a stream that can be stopped holds less at first, any other call is told to say less.

    Raises PaymentRequired where the limit does not cover it, Unavailable where nobody can say.
    """
    assert plan.bound is not None
    plan, bound, tokens = _within(plan, app.accounting, plan.bound)
    call, key, accepted_ns = plan.admitted.call, plan.admitted.key, plan.admitted.arrival.accepted_ns
    slopes = _slopes(call, plan.endpoints, app.accounting)
    stops = _stoppable(plan)
    margin = allowance.MARGIN_TOKENS if stops else 0
    least = _least(call, plan.endpoints) + margin
    needed = min(allowance.cost(slopes, least), bound)
    hold = await app.leases.hold(key, bound, accepted_ns, needed)
    if hold.amount is None or hold.amount == bound:
        return Held(plan, hold, tokens)
    reach = allowance.tokens(slopes, hold.amount)
    assert reach is not None, "where tokens cost nothing the bound is all there is to hold"
    app.book.shrink(hold, allowance.cost(slopes, reach))
    if stops:
        return Held(plan, hold, reach - margin)
    return Held(_clamped(plan, reach), hold)


def _within(plan: Plan, accounting: Accounting, bound: Decimal) -> tuple[Plan, Decimal, int | None]:
    """The plan of a call with a budget, what it holds at first, and the tokens after which it is stopped or holds more.

    Where neither the call nor the catalogue bounds the answer, nobody knows what it can cost: then it is bounded here.
    """
    call, endpoints = plan.admitted.call, plan.endpoints
    limit = allowance.own_limit(call, endpoints)
    if limit is not None and limit <= allowance.HOLD_TOKENS:
        return plan, bound, None
    if _stoppable(plan):
        tokens = allowance.HOLD_TOKENS
        slopes = _slopes(call, endpoints, accounting)
        return plan, allowance.cost(slopes, tokens + allowance.MARGIN_TOKENS), tokens
    if limit is None:
        plan = _clamped(plan, max(completion_bound(call, endpoint) for endpoint in endpoints))
    return plan, bound, None


def _stoppable(plan: Plan) -> bool:
    """Its answer can be ended where its money ends. A variant that makes models think is a wish to reason, too."""
    return not plan.route.thinking and allowance.stoppable(plan.admitted.call, plan.endpoints)


def _least(call: Call, endpoints: tuple[Endpoint, ...]) -> int:
    """Completion tokens without which the call is not worth making."""
    wanted = max(completion_bound(call, endpoint) for endpoint in endpoints)
    thinking = call.chat.reasoning.max_tokens if call.chat.reasoning is not None else None
    return min(wanted, max(allowance.LEAST_TOKENS, (thinking or 0) + 1))


def _clamped(plan: Plan, tokens: int) -> Plan:
    """The plan of a call that is told to say no more than that, over all its choices."""
    admitted, call = plan.admitted, plan.admitted.call
    each = max(1, tokens // (call.chat.n or 1))
    raw = call.raw
    if call.surface == "openai_chat" and "max_tokens" not in raw and "max_completion_tokens" not in raw:
        # The number that is sent is that of `chat`; what is sent at all, the caller's members say.
        raw = {**raw, "max_tokens": codec.Raw(codec.encode(each))}
    asked = call.chat.max_tokens
    call = replace(call, chat=replace(call.chat, max_tokens=each), raw=raw)
    why = "the key has a limit" if asked is None else f"{asked} were asked for, the key's limit covers no more"
    losses = (*plan.losses, Loss("max_tokens", f"clamped to {each}: {why}", mapped=True))
    return replace(plan, admitted=replace(admitted, call=call), losses=losses)


def _slopes(call: Call, endpoints: tuple[Endpoint, ...], accounting: Accounting) -> list[allowance.Slope]:
    """Of a plan whose bound is known, so that each endpoint has one."""
    found = [allowance.slope(call, endpoint, accounting) for endpoint in endpoints]
    return [each for each in found if each is not None]
