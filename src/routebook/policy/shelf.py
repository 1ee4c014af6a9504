"""What the endpoints of a model are worth, worked out once and kept as long as the catalogue is the same.

Ordering weighs by a blend of three prompt tokens to one of completion (routing, 5.1, where the blend is inferred).
A weight is a likelihood and no money, so it may be a float; nothing is charged by it.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from itertools import accumulate

from routebook.core.catalog import Endpoint
from routebook.core.money import EXACT, ZERO, PriceSheet, multiply
from routebook.metering.pricing import is_priced, rate_of
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


def _price(endpoint: Endpoint) -> float:
    price = blend(endpoint.pricing)
    return float("inf") if price is None else price


class Shelf:
    """Facts about all endpoints of one model."""

    __slots__ = (
        "_dear",
        "_names",
        "all_enabled",
        "by_price",
        "cacheable",
        "completion_least",
        "context_least",
        "cumulated",
        "endpoints",
        "ids",
        "ordinary",
        "plain",
        "price",
        "tiered",
        "weights",
    )

    def __init__(self, endpoints: tuple[Endpoint, ...]) -> None:
        self.endpoints = endpoints
        self.by_price = tuple(sorted(endpoints, key=_price))
        """cheapest first; who is as dear as another stays where it was; without a price last"""
        weights = [weight(e) for e in self.by_price]
        if not any(weights):
            weights = [1.0] * len(weights)  # with no price known, nothing weighs one against another
        self.weights = {e.id: each for e, each in zip(self.by_price, weights, strict=True)}
        """endpoint id -> weight in the draw"""
        self.cumulated = tuple(accumulate(weights))
        """running sums of the weights of `by_price`"""
        self.ids = frozenset(self.weights)
        self.context_least = min((e.context_length for e in endpoints if e.context_length is not None), default=ROOMY)
        self.completion_least = min(
            (e.max_completion_tokens for e in endpoints if e.max_completion_tokens is not None), default=ROOMY
        )
        self.tiered = any(e.service_tier is not None for e in endpoints)
        self.all_enabled = all(e.enabled for e in endpoints)
        self.price = blend(self.by_price[0].pricing) if endpoints else None
        """USD a token of the cheapest; None if none has a price"""
        self.ordinary = any(e.enabled and e.service_tier is None for e in endpoints)
        """one of them is there for everybody"""
        self.cacheable = any(cacheable(e) for e in endpoints)
        self.plain = self.all_enabled and not self.tiered and len(endpoints) > 0
        """nothing has to be filtered for what the endpoints themselves are"""
        self._names: dict[str, list[tuple[str, str | None]]] | None = None
        self._dear: dict[tuple[tuple[str, Decimal], ...], frozenset[str]] = {}

    def named(self, names: Iterable[str], tier: str | None = None, *, any_tier: bool = False) -> set[str]:
        """Ids of the endpoints that names in lower case mean: a slug or display name all of a provider, a tag exactly
        that variant. Those of a service tier are meant by their tag alone, unless it is `tier` or any will do."""
        known = self._names
        if known is None:
            known = self._names = _names_of(self.endpoints)
        return {
            endpoint_id
            for name in names
            for endpoint_id, of in known.get(name, ())
            if of is None or of == tier or any_tier
        }

    def dearer(self, ceilings: tuple[tuple[str, Decimal], ...]) -> frozenset[str]:
        """Ids of the endpoints that cost more than one of these (price, USD a unit), or have no price sheet."""
        found = self._dear.get(ceilings)
        if found is None:
            if len(self._dear) >= _CEILINGS_MAX:
                self._dear.clear()
            found = self._dear[ceilings] = frozenset(e.id for e in self.endpoints if _is_dear(e, ceilings))
        return found


def _names_of(endpoints: tuple[Endpoint, ...]) -> dict[str, list[tuple[str, str | None]]]:
    """Name in lower case -> (endpoint id, the tier that has to be asked for where it means the endpoint)."""
    found: dict[str, list[tuple[str, str | None]]] = {}
    for each in endpoints:
        for name in {each.provider.slug.lower(), each.provider.name.lower()}:
            found.setdefault(name, []).append((each.id, each.service_tier))
        found.setdefault(each.tag.lower(), []).append((each.id, None))
    return found


def _is_dear(endpoint: Endpoint, ceilings: tuple[tuple[str, Decimal], ...]) -> bool:
    sheet = endpoint.pricing
    if sheet is None:
        return True
    for name, limit in ceilings:
        rate, _ = rate_of(sheet.base, name)
        if rate is not None and multiply(rate, EXACT.subtract(1, sheet.discount)) > limit:
            return True
    return False


_CEILINGS_MAX = 64
_SHELVES_MAX = 4096
"""Models of open catalogues are made anew for every call, so there may be any number."""
_shelves: dict[int, Shelf] = {}


def shelf_of(endpoints: tuple[Endpoint, ...]) -> Shelf:
    """The facts about these very endpoints. Kept by identity: a shelf holds its tuple, so no other has its address."""
    shelf = _shelves.get(id(endpoints))
    if shelf is None or shelf.endpoints is not endpoints:
        if len(_shelves) >= _SHELVES_MAX:
            _shelves.clear()
        shelf = _shelves[id(endpoints)] = Shelf(endpoints)
    return shelf
