"""How far money reaches: what a call can cost as a line over its completion tokens, and back. Pure.

A budgeted call that may say more than its budget covers is not refused for that. A stream that can be stopped holds a
first piece and more as it goes on; any other call is told to say less. Source: DESIGN, budgets; the API's own gateway
names the case `token_limit_exceeded`.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from routebook.core.call import Call
from routebook.core.catalog import Accounting, Endpoint
from routebook.core.money import EXACT, ZERO, add, subtract
from routebook.metering.estimate import cost_bound, fma

HOLD_TOKENS = 4096
"""What a stream that can be stopped holds at first, and more each time it comes near."""
LEAST_TOKENS = 256
"""A call is not told to say less than this, or than it wants: an answer so short is rarely worth its prompt."""
MARGIN_TOKENS = 64
"""Tokens of a stream that leave no byte behind: ends of turns, the frames of tool calls."""


class Slope(msgspec.Struct, frozen=True):
    """What a call can cost at one endpoint at most: `base` for all but the completion, `token` for each token of that.
    USD."""

    base: Decimal
    token: Decimal


def slope(call: Call, endpoint: Endpoint, accounting: Accounting) -> Slope | None:
    """None if the endpoint has no price and none is assumed."""
    base = cost_bound(call, endpoint, accounting, 0)
    one = cost_bound(call, endpoint, accounting, 1)
    if base is None or one is None:
        ceiling = accounting.unpriced_ceiling
        return None if ceiling is None else Slope(ceiling, ZERO)
    return Slope(base, subtract(one, base))


def cost(slopes: Sequence[Slope], tokens: int) -> Decimal:
    """The most that so many completion tokens can cost at any of them."""
    return max(fma(tokens, each.token, each.base) for each in slopes)


def tokens(slopes: Sequence[Slope], money: Decimal) -> int | None:
    """Completion tokens that the money covers at each of them; None where they cost nothing. Below 0: not even the
    prompt."""
    reach = [
        int(EXACT.divide_int(subtract(money, each.base), each.token)) if money >= each.base else -1
        for each in slopes
        if each.token
    ]
    return min(reach, default=None)


def price_of(slopes: Sequence[Slope], more: int) -> Decimal:
    """The most that so many more completion tokens can cost."""
    return max(add(ZERO, EXACT.multiply(Decimal(more), each.token)) for each in slopes)


def stoppable(call: Call, endpoints: Sequence[Endpoint]) -> bool:
    """Each of the endpoints stops billing when the connection is closed, and what it bills can be seen to come.

    A model that reasons may bill tokens that nobody sees before the first of its text; it gets no credit here.
    """
    chat = call.chat
    if not call.stream or (chat.reasoning is not None and not chat.reasoning.off):
        return False
    if chat.modalities is not None and chat.modalities != ["text"]:
        return False
    return all(each.provider.abortable and "reasoning" not in (each.supported_parameters or ()) for each in endpoints)


def own_limit(call: Call, endpoints: Sequence[Endpoint]) -> int | None:
    """Completion tokens over all choices that no endpoint goes beyond; None if one is not known to have a limit."""
    most = 0
    for endpoint in endpoints:
        limit = call.chat.max_tokens or endpoint.max_completion_tokens
        if limit is None:
            return None
        most = max(most, limit)
    return most * (call.chat.n or 1)
