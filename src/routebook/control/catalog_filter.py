"""Which models a listing shows, and in which order: the query parameters of `GET /models`.

Source: platform, section 14, and the API's schema. Filters for facts that no model here has (category, region,
distillable, age, benchmark indices, tool success) and the RSS form are refused with 400 rather than ignored, so that no
answer looks filtered that is not. Every sort of the API is accepted; one without data (most-popular, latency, …) keeps
the listing's order, which is what "models without the datum last" comes to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation

import msgspec

from routebook.config.catalog import INPUTS, OUTPUTS
from routebook.core.catalog import Model
from routebook.core.errors import BadRequest
from routebook.core.money import ZERO

LIMIT = 500
LIMIT_MAX = 1000
MILLION = Decimal(1_000_000)

FILTERS = frozenset(
    "offset limit sort q supported_parameters input_modalities output_modalities context min_price max_price"
    " min_output_price max_output_price arch model_authors providers zdr".split()
)
SORTS = frozenset(
    "most-popular newest top-weekly pricing-low-to-high pricing-high-to-low context-high-to-low throughput-high-to-low"
    " latency-low-to-high intelligence-high-to-low coding-high-to-low agentic-high-to-low"
    " design-arena-elo-high-to-low".split()
)

Range = tuple[Decimal | None, Decimal | None]
"""USD per million tokens, both ends included, None = open."""


class Filter(msgspec.Struct, frozen=True):
    """A query, read and checked. Empty sets and texts filter nothing."""

    outputs: frozenset[str]
    inputs: frozenset[str]
    parameters: frozenset[str]
    authors: frozenset[str]
    providers: frozenset[str]
    """slugs or display names, lower case"""
    q: str
    arch: str
    context: int
    zdr: bool
    prompt: Range
    completion: Range
    sort: str | None
    page: tuple[int, int] | None
    """(offset, limit); None = everything"""

    def passes(self, model: Model) -> bool:
        """True if every filter lets the model through."""
        if "all" not in self.outputs and not self.outputs & set(model.output_modalities):
            return False
        if not self.inputs <= set(model.input_modalities) or (model.context_length or 0) < self.context:
            return False
        # Unknown parameters pass: nothing is refused to such an endpoint either.
        known = [endpoint.supported_parameters for endpoint in model.endpoints]
        if self.parameters and not any(names is None or self.parameters <= names for names in known):
            return False
        if self.zdr and not any(endpoint.provider.zdr for endpoint in model.endpoints):
            return False
        return self._named(model) and all(
            _within(_price(model, key), limits)
            for key, limits in (("prompt", self.prompt), ("completion", self.completion))
        )

    def _named(self, model: Model) -> bool:
        if self.q not in model.slug.lower() and self.q not in model.name.lower():
            return False
        if self.authors and model.slug.partition("/")[0].lower() not in self.authors:
            return False
        served_by = {name.lower() for e in model.endpoints for name in (e.provider.slug, e.provider.name)}
        if self.providers and not self.providers & served_by:
            return False
        return model.tokenizer.lower().startswith(self.arch)

    def sorted(self, models: list[Model]) -> list[Model]:
        """In the asked order; models without the datum last, otherwise in the order they came."""
        rank = _RANKS.get(self.sort or "")
        if rank is None:
            return models
        ranked = [(value, model) for model in models if (value := rank(model)) is not None]
        ranked.sort(key=lambda pair: pair[0], reverse=self.sort != "pricing-low-to-high")
        return [model for _, model in ranked] + [model for model in models if rank(model) is None]


def read_filter(query: Mapping[str, str], allowed: frozenset[str] = FILTERS) -> Filter:
    """The query as a filter. Raises BadRequest naming the parameter and what it may be."""
    if strange := sorted(query.keys() - allowed):
        names = ", ".join(sorted(allowed))
        raise BadRequest(f"Models cannot be filtered by `{strange[0][:40]}` here; leave it out. Known: {names}.")
    if query.get("zdr", "true") != "true":
        raise BadRequest('`zdr` is "true" or left out.')
    sort = query.get("sort")
    if sort is not None and sort not in SORTS:
        raise BadRequest(f"`sort` must be one of {', '.join(sorted(SORTS))}.")
    page = None
    if "offset" in query or "limit" in query:
        page = (_count(query, "offset", 0), _count(query, "limit", LIMIT))
        if not 1 <= page[1] <= LIMIT_MAX:
            raise BadRequest(f"`limit` must be 1 to {LIMIT_MAX}.")
    return Filter(
        outputs=_names(query, "output_modalities", OUTPUTS | {"all"}) or frozenset({"text"}),
        inputs=_names(query, "input_modalities", INPUTS),
        parameters=_names(query, "supported_parameters"),
        authors=_names(query, "model_authors"),
        providers=_names(query, "providers"),
        q=query.get("q", "").strip().lower(),
        arch=query.get("arch", "").strip().lower(),
        context=_count(query, "context", 0),
        zdr="zdr" in query,
        prompt=(_usd(query, "min_price"), _usd(query, "max_price")),
        completion=(_usd(query, "min_output_price"), _usd(query, "max_output_price")),
        sort=sort,
        page=page,
    )


def _within(price: Decimal | None, limits: Range) -> bool:
    low, high = limits
    if low is None and high is None:
        return True
    if price is None:
        return False
    return (low is None or price * MILLION >= low) and (high is None or price * MILLION <= high)


def _price(model: Model, key: str) -> Decimal | None:
    """The price that the listing shows: the first endpoint's, its discount taken off. USD per token."""
    sheet = model.endpoints[0].pricing if model.endpoints else None
    price: Decimal | None = None if sheet is None else getattr(sheet.base, key)
    return None if sheet is None or price is None else price * (1 - sheet.discount)


def _mean_price(model: Model) -> Decimal | None:
    prompt, completion = _price(model, "prompt"), _price(model, "completion")
    if prompt is None and completion is None:
        return None
    return ((prompt or ZERO) + (completion or ZERO)) / 2


def _created(model: Model) -> Decimal | None:
    return Decimal(model.created) if model.created else None


def _context(model: Model) -> Decimal | None:
    return None if model.context_length is None else Decimal(model.context_length)


_RANKS: dict[str, Callable[[Model], Decimal | None]] = {
    "pricing-low-to-high": _mean_price,
    "pricing-high-to-low": _mean_price,
    "newest": _created,
    "context-high-to-low": _context,
}


def _names(query: Mapping[str, str], name: str, allowed: frozenset[str] | None = None) -> frozenset[str]:
    words = frozenset(word.strip().lower() for word in query.get(name, "").split(",") if word.strip())
    if allowed is not None and (strange := sorted(words - allowed)):
        raise BadRequest(f"`{name}` must be of {', '.join(sorted(allowed))}; got {strange[0][:40]!r}.")
    return words


def _count(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise BadRequest(f"`{name}` must be a whole number, 0 or more.")
    return int(text)


def _usd(query: Mapping[str, str], name: str) -> Decimal | None:
    text = query.get(name)
    if text is None:
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise BadRequest(f"`{name}` must be a number: USD per million tokens.")
    return value
