"""What the endpoints of a model are worth, worked out once and kept as long as the catalogue is the same.

Ordering weighs by a blend of three prompt tokens to one of completion (routing, 5.1, where the blend is inferred).
A weight is a likelihood and no money, so it may be a float; nothing is charged by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate

from routebook.core.catalog import Endpoint
from routebook.core.money import ZERO, PriceSheet
from routebook.metering.pricing import is_priced
from routebook.policy.sticky import cacheable

CHEAPEST = 1e-9
"""USD a token: what a free endpoint counts as, so that its weight is finite."""
ROOMY = 1 << 62


@lru_cache(maxsize=8192)
def blend(sheet: PriceSheet | None) -> float | None:
    """USD a token of a typical request, the discount taken off; None if unpriced."""
    if sheet is None or not is_priced(sheet):
        return None
    base = sheet.base
    return float((3 * (base.prompt or ZERO) + (base.completion or ZERO)) / 4 * (1 - sheet.discount))


def weight(endpoint: Endpoint) -> float:
    """1 / price²; 0 for an endpoint without a price, which is never drawn before one that has one."""
    price = blend(endpoint.pricing)
    return 0.0 if price is None else (CHEAPEST / max(price, CHEAPEST)) ** 2


def by_price(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    """Cheapest first; who is as dear as another stays where it was; without a price last."""
    return sorted(endpoints, key=_price)


def _price(endpoint: Endpoint) -> float:
    price = blend(endpoint.pricing)
    return float("inf") if price is None else price


class Shelf:
    """Facts about all endpoints of one model."""

    __slots__ = (
        "all_enabled",
        "by_price",
        "cacheable",
        "completion_least",
        "context_least",
        "cumulated",
        "endpoints",
        "ids",
        "plain",
        "tiered",
    )

    def __init__(self, endpoints: tuple[Endpoint, ...]) -> None:
        self.endpoints = endpoints
        self.by_price = tuple(by_price(endpoints))
        weights = [weight(e) for e in self.by_price]
        self.cumulated = tuple(accumulate(weights if any(weights) else [1.0] * len(weights)))
        """running sums of the weights of `by_price`; with no price known, nothing weighs one against another"""
        self.ids = frozenset(e.id for e in endpoints)
        self.context_least = min((e.context_length for e in endpoints if e.context_length is not None), default=ROOMY)
        self.completion_least = min(
            (e.max_completion_tokens for e in endpoints if e.max_completion_tokens is not None), default=ROOMY
        )
        self.tiered = any(e.service_tier is not None for e in endpoints)
        self.all_enabled = all(e.enabled for e in endpoints)
        self.cacheable = any(cacheable(e) for e in endpoints)
        self.plain = self.all_enabled and not self.tiered and len(endpoints) > 0
        """nothing has to be filtered for what the endpoints themselves are"""


_SHELVES_MAX = 16_384
_shelves: dict[int, Shelf] = {}


def shelf_of(endpoints: tuple[Endpoint, ...]) -> Shelf:
    """The facts about these very endpoints. Kept by identity: a shelf holds its tuple, so no other has its address."""
    if len(endpoints) == 1:
        return Shelf(endpoints)  # models of open catalogues are made anew for every call
    shelf = _shelves.get(id(endpoints))
    if shelf is None or shelf.endpoints is not endpoints:
        if len(_shelves) >= _SHELVES_MAX:
            _shelves.clear()
        shelf = _shelves[id(endpoints)] = Shelf(endpoints)
    return shelf
