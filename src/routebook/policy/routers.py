"""Models that stand for others: `~author/family-latest`, `openrouter/auto` and `openrouter/free`; and what all routers
share (`pareto` is the third).

Each gives models of the catalogue in the order in which they are tried; none asks anybody. What hosted routers know of
the market is here the operator's ranking, or what was spent on each model by this gateway's own traffic.
Source: routing, section 8.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any, TypeVar

import msgspec

from routebook.core.call import Call
from routebook.core.catalog import Catalog, Model
from routebook.core.errors import BadRequest, NotFound
from routebook.core.money import ZERO, add
from routebook.policy.availability import unavailable
from routebook.policy.dice import mixed
from routebook.policy.filters import PREFERRED_PARAMETERS, inputs_of, is_free, is_named, is_sent
from routebook.policy.house import OPEN, House
from routebook.policy.shelf import shelf_of
from routebook.wire import codec

AUTO = ("openrouter/auto", "openrouter/auto-beta")
FREE = "openrouter/free"
PARETO = "openrouter/pareto-code"
ELSEWHERE = ("openrouter/fusion", "openrouter/fusion-flash", "openrouter/bodybuilder")
"""Routers that this gateway does not have: they make calls of their own."""
NAMES = frozenset({*AUTO, FREE, PARETO})

FALLBACKS = 2
"""Models after the first that a router names."""
COST_BANDS = {"low": (0, 20), "medium": (20, 40), "high": (40, 60), "xhigh": (60, 80), "max": (80, 100)}
"""Percentiles of the candidates' prices."""
PATTERNS_MAX, PATTERNS_CHARACTERS_MAX = 1024, 65_536

P = TypeVar("P")

_PLUGINS = {"openrouter/auto": "auto-router", "openrouter/auto-beta": "auto-beta-router", PARETO: "pareto-router"}


def learnt(sums: Iterable[tuple[str, Decimal]]) -> tuple[str, ...]:
    """The ranking that traffic teaches: models by what was spent on them, the most first.

    `sums`: model slug and USD, a model as often as you like. Of equal sums the slug decides, so that the same traffic
    always gives the same ranking; a model on which nothing was spent is not in it.
    """
    spent: dict[str, Decimal] = {}
    for model, usd in sums:
        spent[model] = add(spent.get(model, ZERO), usd)
    return tuple(sorted((model for model, usd in spent.items() if usd > 0), key=lambda model: (-spent[model], model)))


def task_of(call: Call) -> str:
    """The kind of task by what the request is made of: tools, vision, structured, code or general."""
    if call.chat.tools:
        return "tools"
    if call.media_prompt or call.audio_prompt:
        return "vision"
    if call.chat.response_format is not None and call.chat.response_format.get("type") != "text":
        return "structured"
    last = next((m.content for m in reversed(call.chat.messages) if m.role == "user"), None)
    text = last if isinstance(last, str) else "".join(part.text or "" for part in last or ())
    return "code" if "```" in text or _CODE.search(text) else "general"


_CODE = re.compile(r"^\s*(?:def |class |import |#include|func |public |SELECT |Traceback \()", re.MULTILINE)


# --- ~author/family-latest --------------------------------------------------------------------------------------------

_VERSION = re.compile(r"v?\d[\d.]*[a-z]?")


def latest(slug: str, catalog: Catalog) -> Model:
    """The newest visible model of `author/family-latest`. Raises NotFound if the family has none here.

    The family is every word of the name but version numbers and dates, in any order: `claude-sonnet` has
    `claude-3.5-sonnet` and `claude-sonnet-4.5`, and not `claude-haiku-4.5`. Newest is the day it was made, where all of
    them have one; else the highest version.
    """
    author, _, name = slug.partition("/")
    family = sorted(name.removesuffix("-latest").split("-"))
    found = [
        model
        for model in catalog.models.values()
        if not model.hidden and model.slug.startswith(author + "/") and _family(model.slug) == family
    ]
    if not found or not name.endswith("-latest"):
        raise NotFound(
            f"~{slug} names no model here: the family has none. GET /api/v1/models lists those this gateway serves.",
            metadata=unavailable("model_not_found", [f"~{slug}"]),
        )
    if all(model.created for model in found):
        return max(found, key=lambda model: (model.created, _versions(model.slug), model.slug))
    return max(found, key=lambda model: (_versions(model.slug), model.created, model.slug))


def _words(slug: str) -> list[str]:
    return slug.partition("/")[2].split("-")


def _family(slug: str) -> list[str] | None:
    """The sorted words of a concrete name; None for a variant or another alias."""
    if ":" in slug or slug.endswith("-latest"):
        return None
    return sorted(word for word in _words(slug) if not _VERSION.fullmatch(word))


def _versions(slug: str) -> tuple[tuple[int, ...], ...]:
    words = [word for word in _words(slug) if _VERSION.fullmatch(word)]
    return tuple(tuple(int(part) for part in re.findall(r"\d+", word)) for word in words)


# --- what a router chooses from ---------------------------------------------------------------------------------------


class Choice(msgspec.Struct, frozen=True):
    """What a router chooses from, and by."""

    call: Call
    catalog: Catalog
    house: House = OPEN
    ranking: Sequence[str] = ()
    """what `learnt` gave"""
    seed: int | None = None
    serves: Callable[[Model], bool] = lambda model: True
    """whether an endpoint of the model passes every hard filter of the request"""
    home: Callable[[], str | None] = lambda: None
    """slug of the model that this conversation stays with"""
    speed: Callable[[Model], float | None] | None = None
    """tokens a second of its fastest endpoint; None: models are not chosen by speed"""

    @property
    def candidates(self) -> list[Model]:
        """Models that can serve what the request has, and that the house allows."""
        serves, house = able(self.call), self.house
        found = [model for model in self.catalog.models.values() if not model.hidden and serves(model)]
        return found if house.lenient else [model for model in found if _may(model, house)]

    def best(self, ranked: Sequence[Model]) -> list[Model]:
        """The first ones that serve: one and its fallbacks.

        Where none serves they are the first ones all the same: the plan then says which filter took them all.
        """
        found = list(islice(filter(self.serves, ranked), 1 + FALLBACKS))
        return found or list(ranked[: 1 + FALLBACKS])

    def at_home(self, ranked: list[Model]) -> list[Model]:
        """The same models, that of the conversation first if it is one of them."""
        return put_first(self.home(), ranked, ranked)


def able(call: Call) -> Callable[[Model], bool]:
    """Whether some endpoint of a model can serve what the request has: media, tools, structured answers. What the
    request needs is worked out once, not for each model."""
    needs, wants = inputs_of(call), frozenset(call.chat.modalities or ("text",))
    sent = [name for name in PREFERRED_PARAMETERS if is_sent(call, name)]
    if not needs and not sent and wants == _TEXT:
        return _says_text

    def serves(model: Model) -> bool:
        if not (needs.issubset(model.input_modalities) and wants.issubset(model.output_modalities)):
            return False
        return any(
            endpoint.enabled
            and endpoint.service_tier is None
            and (endpoint.supported_parameters is None or endpoint.supported_parameters.issuperset(sent))
            for endpoint in model.endpoints
        )

    return serves


_TEXT = frozenset({"text"})


def _says_text(model: Model) -> bool:
    """What most requests need."""
    return "text" in model.output_modalities and shelf_of(model.endpoints).ordinary


def _may(model: Model, house: House) -> bool:
    return (house.models is None or is_named(model, house.models)) and not is_named(model, house.not_models)


def price(model: Model) -> float | None:
    """Of its cheapest endpoint, USD a token; None if none has a price."""
    return shelf_of(model.endpoints).price


# --- openrouter/free --------------------------------------------------------------------------------------------------


def free(choice: Choice) -> list[Model]:
    """A random free model that can serve the request, and others after it. Raises NotFound if there is none."""
    found = [m for m in choice.candidates if any(is_free(e) for e in m.endpoints)]
    if not found:
        raise no_model("free model", FREE)
    if choice.seed is not None:
        first = mixed(choice.seed, 1) % len(found)
        found = found[first:] + found[:first]
    return choice.best(choice.at_home(found))


# --- openrouter/auto --------------------------------------------------------------------------------------------------


class AutoPlugin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a request may say to `openrouter/auto` among its `plugins`. Source: inference API, section 11."""

    id: str = ""
    enabled: bool = True
    allowed_models: list[str] | None = None
    excluded_models: list[str] | None = None
    cost_tier: str | None = None
    cost_quality_tradeoff: int | None = None
    """0 to 10, an older word for the cost: only models up to the 90th percentile (0) down to the 10th (10) of prices"""
    pin_model: bool | None = None
    """the model that the last assistant message names in `model` goes first"""


def plugin(call: Call, router: str) -> dict[str, Any]:
    """What the request says to that router; a plugin of another id is ignored, and one that is off."""
    raw = call.raw.get("plugins")
    if raw is None or router not in _PLUGINS:
        return {}
    plugins = codec.decode_exact(bytes(raw))
    wanted = _PLUGINS[router]
    listed = plugins if isinstance(plugins, list) else []
    said = next((p for p in listed if isinstance(p, dict) and p.get("id") == wanted), {})
    return {} if said.get("enabled") is False else said


def read_plugin(call: Call, router: str, kind: type[P]) -> P:
    """The same as a struct. Raises BadRequest."""
    try:
        return codec.convert(plugin(call, router), kind)
    except codec.DecodeError as error:
        raise BadRequest(f"plugins: {error}. Correct it and send the request again.") from None


def auto(choice: Choice, router: str) -> list[Model]:
    """The best models for the request: one and its fallbacks. Raises NotFound if no candidate is left, BadRequest."""
    asked: AutoPlugin = read_plugin(choice.call, router, AutoPlugin)
    band = _band(asked)
    allowed, excluded = _patterns(asked.allowed_models), _patterns(asked.excluded_models)
    candidates = [
        model
        for model in choice.candidates
        if (allowed is None or is_named(model, allowed)) and (excluded is None or not is_named(model, excluded))
    ]
    if not candidates:
        raise no_model("model", router)
    configured = _of(candidates, choice.house.auto)
    ranked = configured or _of(candidates, choice.ranking) or sorted(candidates, key=dearness)
    # A configured ranking is the operator's own choice of cost; what was learnt stays cheap unless asked otherwise.
    if band is not None:
        ranked = _banded(ranked, band)
    elif not configured:
        cheap = _banded(ranked, COST_BANDS["low"])
        ranked = cheap if any(map(choice.serves, cheap)) else ranked
    pinned = _last_model(choice.call, choice.catalog) if asked.pin_model else None
    return choice.best(put_first(pinned or choice.home(), candidates, ranked))


def put_first(slug: str | None, candidates: Sequence[Model], ranked: list[Model]) -> list[Model]:
    """The ranked models, but the one of that slug before them, if it is a candidate."""
    own = None if slug is None else next((model for model in candidates if model.slug == slug), None)
    return ranked if own is None else [own, *[model for model in ranked if model is not own]]


def _band(asked: AutoPlugin) -> tuple[int, int] | None:
    """The percentiles of prices that a request wants; None if it does not say. Raises BadRequest."""
    tier, tradeoff = asked.cost_tier, asked.cost_quality_tradeoff
    if tier is not None and tier not in COST_BANDS:
        raise BadRequest(f"plugins: cost_tier must be one of {', '.join(COST_BANDS)}.")
    if tradeoff is not None and not 0 <= tradeoff <= 10:
        raise BadRequest("plugins: cost_quality_tradeoff is from 0 to 10; cost_tier is the newer word for it.")
    if tier is not None:
        return COST_BANDS[tier]
    return None if tradeoff is None else (0, 90 - 8 * tradeoff)


class _Said(msgspec.Struct, frozen=True):
    """A message, as far as pinning asks for it; `model` may be anything in a message of another role."""

    role: str = ""
    model: Any = None


def _last_model(call: Call, catalog: Catalog) -> str:
    """The slug of the model that the last message of the assistant names; empty if it names none that is here."""
    raw = call.raw.get("messages")
    said = codec.decode_as(bytes(raw), list[_Said]) if raw is not None else []
    last = next((each for each in reversed(said) if each.role == "assistant"), None)
    model = catalog.find(last.model) if last is not None and isinstance(last.model, str) else None
    return "" if model is None else model.slug


def _of(candidates: list[Model], order: Sequence[str]) -> list[Model]:
    """The candidates that an order names, in that order."""
    by_slug = {model.slug: model for model in candidates}
    return [by_slug[slug] for slug in order if slug in by_slug]


def _banded(ranked: list[Model], band: tuple[int, int]) -> list[Model]:
    """Those of the ranked whose price is in the band of percentiles; of an empty band the nearest of it."""
    order = sorted(ranked, key=dearness)
    place = {model.slug: 100 * at / len(order) for at, model in enumerate(order)}
    low, high = band
    found = [model for model in ranked if low <= place[model.slug] < high]
    if found:
        return found
    nearest = min(ranked, key=lambda model: abs(place[model.slug] - low))
    return [nearest]


def dearness(model: Model) -> tuple[float, str]:
    usd = price(model)
    return (float("inf") if usd is None else usd), model.slug


def _patterns(asked: list[str] | None) -> list[str] | None:
    if asked is not None and (len(asked) > PATTERNS_MAX or sum(map(len, asked)) > PATTERNS_CHARACTERS_MAX):
        raise BadRequest(f"plugins: at most {PATTERNS_MAX} patterns with {PATTERNS_CHARACTERS_MAX} characters.")
    return asked or None


def no_model(what: str, router: str) -> NotFound:
    return NotFound(
        f"No models match your request and model restrictions: {router} found no {what} here. Relax them, or name one.",
        metadata=unavailable("no_endpoints", [router]),
    )
