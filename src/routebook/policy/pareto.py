"""`openrouter/pareto-code`: a model for coding by its score, the cheapest of a tier or the best at a price.

Scores come from the configuration. Source: routing, section 8; ParetoRouterPlugin of the OpenAPI file.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from routebook.core.catalog import Model
from routebook.core.errors import BadRequest
from routebook.core.money import ZERO
from routebook.policy.routers import PARETO, Choice, dearness, no_model, price, read_plugin

TIERS = (Decimal("0.66"), Decimal("0.33"), ZERO)
"""scores from which a model is of the high, the medium, the low tier"""


class ParetoPlugin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a request may say to it. `max_price`: USD per million tokens of input."""

    id: str = ""
    enabled: bool = True
    min_coding_score: Decimal | None = None
    max_price: Decimal | None = None
    price_source: Literal["prompt", "weighted_avg"] = "prompt"
    """weighted_avg falls back to the list price without data of the market, and here is none"""


def pareto(choice: Choice) -> list[Model]:
    """The cheapest model of a coding tier (with a speed to choose by: the fastest), with two of the same tier after
    it; of an empty tier, of the next one. With `max_price` see `_within`. Raises NotFound, BadRequest."""
    asked: ParetoPlugin = read_plugin(choice.call, PARETO, ParetoPlugin)
    scored = [m for m in choice.candidates if m.coding_score is not None and price(m) is not None]
    if asked.max_price is not None:
        return choice.best(choice.at_home(_within(scored, asked.max_price)))
    score = asked.min_coding_score
    if score is not None and not 0 <= score <= 1:
        raise BadRequest("plugins: min_coding_score is from 0 to 1.")
    wanted = 0 if score is None else _tier(score)
    for tier in sorted(range(len(TIERS)), key=lambda each: (abs(each - wanted), each)):
        if found := [m for m in scored if _tier(m.coding_score or ZERO) == tier]:
            return choice.best(choice.at_home(_ordered(found, choice)))
    raise no_model("model with a coding score", PARETO)


def _ordered(models: list[Model], choice: Choice) -> list[Model]:
    cheapest = sorted(models, key=dearness)
    speed = choice.speed
    return cheapest if speed is None else sorted(cheapest, key=lambda model: -(speed(model) or 0.0))


def _within(scored: list[Model], cap: Decimal) -> list[Model]:
    """Models whose input costs at most that: those that no other beats in both score and price, the best first, then
    the rest. Raises NotFound."""
    inputs = {model.slug: _input(model) for model in scored}
    within = [model for model in scored if (usd := inputs[model.slug]) is not None and usd.scaleb(6) <= cap]
    if not within:
        raise no_model("model with a coding score and at most that price", PARETO)
    within.sort(key=lambda model: (-(model.coding_score or ZERO), inputs[model.slug] or ZERO, model.slug))
    frontier: list[Model] = []
    for model in within:
        if not frontier or (inputs[model.slug] or ZERO) < (inputs[frontier[-1].slug] or ZERO):
            frontier.append(model)
    return [*frontier, *[model for model in within if model not in frontier]]


def _input(model: Model) -> Decimal | None:
    """USD a token of input at its cheapest endpoint; None if none has a price."""
    known = [
        e.pricing.base.prompt for e in model.endpoints if e.pricing is not None and e.pricing.base.prompt is not None
    ]
    return min(known, default=None)


def _tier(score: Decimal) -> int:
    return next(at for at, least in enumerate(TIERS) if score >= least)
