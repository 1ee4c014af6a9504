"""Which endpoints may serve a call, and in which order they are tried. Pure: the same request, catalogue, outlook,
time and seed give the same plan.

The steps: model strings -> models (`targets`), hard filters (`filters`), order (`ordering`), the conversation's own
endpoint first (`sticky`). A call that asks for nothing special takes the short way at the top of `route`.
Source: routing, whole. What cannot be honoured is given back as a loss, never ignored in silence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from routebook.core.call import Call, Loss
from routebook.core.catalog import Catalog, Endpoint, Model
from routebook.core.errors import NotFound
from routebook.policy.availability import unavailable
from routebook.policy.breaker import Breaker
from routebook.policy.compress import asked
from routebook.policy.filters import (
    BYTES_A_TOKEN,
    PREFERRED_PARAMETERS,
    Wants,
    filters_of,
    is_sent,
    likely_tokens,
    may_prefer,
    takers,
)
from routebook.policy.house import OPEN, House
from routebook.policy.ordering import Manner, Moment, arranged, draw, stands
from routebook.policy.refusals import check_names, not_weighed, nothing_left
from routebook.policy.search import ONLINE, Search, spoken
from routebook.policy.search import asked as web_search
from routebook.policy.shelf import Shelf, shelf_of
from routebook.policy.sticky import Sticky, cacheable, conversation
from routebook.policy.targets import Passthrough, Presets, Resolver, Target
from routebook.policy.trail import Trail
from routebook.policy.variants import Name
from routebook.policy.vitals import Remembered
from routebook.policy.wishes import NO_WISH, Wish, read_wish

_SPECIAL = frozenset(("plugins", "transforms"))
"""Members of a body that the short way does not know."""
_PLAIN = re.compile(r"(?!openrouter/)[\w.-]+/[^:@]+")
"""A model string that is nothing but a slug."""


class Outlook(msgspec.Struct, frozen=True):
    """What is known of the world beside the request and the catalogue. Made once; its parts live on."""

    house: House = OPEN
    health: Remembered | None = None
    breakers: Mapping[str, Breaker] = {}
    """`Breakers.of`"""
    sticky: Sticky | None = None
    ranking: tuple[str, ...] = ()
    """models as traffic ranks them (`routers.learnt`)"""
    presets: Presets | None = None


NOTHING_KNOWN = Outlook()

Group = tuple[Target, list[Endpoint], Manner]
"""one model of the request, its endpoints that passed every filter, and how they are to be ordered"""


class Route(msgspec.Struct, frozen=True):
    """Endpoints in the order they are tried, over all models of the request, and what could not be honoured."""

    endpoints: tuple[Endpoint, ...]
    losses: tuple[Loss, ...] = ()
    strategy: str = "direct"
    """direct, alias, latest, auto, free, pareto or fallback, as the router's metadata names it"""
    router: str | None = None
    """the router that chose the first model"""
    conversation: bytes | None = None
    """key to `Sticky.keep` an answer under; None: this call sticks to nothing"""
    thinking: frozenset[str] = frozenset()
    """ids of endpoints that get the call with reasoning on (`variants.thinking`)"""
    fallbacks: bool = True
    """False: the caller wants the first endpoint's error as it is"""
    searches: Mapping[str, Search] | None = None
    """by endpoint id, for calls whose models are to search the web"""


def nobody(slug: str) -> Model | None:
    """No open catalogue: offers nothing."""
    return None


def route(
    call: Call,
    catalog: Catalog,
    passthrough: Passthrough = nobody,
    outlook: Outlook = NOTHING_KNOWN,
    now_ns: int = 0,
    seed: int | None = None,
    account: str = "",
    trail: Trail | None = None,
) -> Route:
    """The plan for a call. `passthrough` offers a model for providers with open catalogues (a local server); without a
    seed nothing is drawn, and the configured order is the order.

    Raises ModelUnknown when no requested model exists, NotFound naming the filter that removed the last endpoint,
    BadRequest for a `provider` object or a model string that is none.
    """
    if call.provider is None and not call.models and trail is None and outlook.house.lenient:
        strategy = "direct"
        model = catalog.find(call.model)
        if model is None:
            model = passthrough(call.model) if _PLAIN.fullmatch(call.model) else None
        elif model.slug != call.model:
            strategy = "alias"
        special = may_prefer(call) or not _SPECIAL.isdisjoint(call.raw)
        if model is not None and not special and call.chat.modalities is None:
            short = _short(call, model.endpoints, strategy, outlook, now_ns, seed, account)
            if short is not None:
                return short
    return _long(call, catalog, passthrough, outlook, now_ns, seed, account, trail)


# --- the short way ----------------------------------------------------------------------------------------------------


def _short(
    call: Call,
    endpoints: tuple[Endpoint, ...],
    strategy: str,
    outlook: Outlook,
    now_ns: int,
    seed: int | None,
    account: str,
) -> Route | None:
    """The plan of a call that asks for nothing of a model with nothing to filter; None where there is more to it."""
    need = call.body_bytes // BYTES_A_TOKEN
    limit = call.chat.max_tokens
    if len(endpoints) == 1:
        only = endpoints[0]
        if not only.enabled or only.service_tier is not None:
            return None
        if limit is not None:
            need += limit
            if only.max_completion_tokens is not None and limit > only.max_completion_tokens:
                return None
        if only.context_length is not None and need > only.context_length:
            return None
        if only.input_modalities is not None and (call.media_prompt or call.audio_prompt):
            return None
        return Route(endpoints, (), strategy)
    shelf = shelf_of(endpoints)
    if not shelf.plain or need + (limit or 0) > shelf.context_least or (limit or 0) > shelf.completion_least:
        return None
    if call.media_prompt or call.audio_prompt:
        return None
    balance = outlook.house.balance
    sticky = outlook.sticky if shelf.cacheable else None
    if sticky is None and _all_well(shelf, outlook, now_ns):
        return Route(endpoints if seed is None or not balance else draw(shelf, seed), (), strategy)
    health = None if outlook.health is None else outlook.health.at(now_ns)
    moment = Moment(health, outlook.breakers, now_ns, seed)
    ordered = arranged(shelf, endpoints, _BY_PRICE if balance else _AS_CONFIGURED, moment)
    key = None
    if sticky is not None:
        key = conversation(call, account, call.model)
        ordered = _at_home(ordered, sticky, key, moment, None)
    return Route(tuple(ordered), (), strategy, None, key)


_BY_PRICE, _AS_CONFIGURED = Manner(NO_WISH), Manner(NO_WISH, balance=False)


def _all_well(shelf: Shelf, outlook: Outlook, now_ns: int) -> bool:
    """True if no endpoint has to be put back; one that may have to be is looked at on the long way."""
    if outlook.breakers and not shelf.ids.isdisjoint(outlook.breakers):
        return False
    return outlook.health is None or outlook.health.at(now_ns).doubtful.isdisjoint(shelf.ids)


# --- the long way -----------------------------------------------------------------------------------------------------


def _long(
    call: Call,
    catalog: Catalog,
    passthrough: Passthrough,
    outlook: Outlook,
    now_ns: int,
    seed: int | None,
    account: str,
    trail: Trail | None,
) -> Route:
    wish = read_wish(call.provider, call.raw.get("provider"))
    house = outlook.house
    health = None if outlook.health is None else outlook.health.at(now_ns)
    moment = Moment(health, outlook.breakers, now_ns, seed)
    model = None if call.models else catalog.find(call.model)
    losses: list[Loss] = []
    if model is not None:
        targets = [Target(model, Name(call.model), None, False, call.model != model.slug)]
    else:
        targets, losses = _resolved(call, catalog, passthrough, outlook, wish, moment, account)
    losses += not_weighed(call.provider, wish, moment)
    check_names(wish, catalog, (call.model, *call.models))
    plugin = web_search(call)
    groups: list[Group] = []
    gone = "endpoints"
    searches: dict[str, Search] | None = None
    for target in targets:
        wants, manner = _wants(call, wish, house, target)
        kept, removed_by = _kept(target, wants, trail)
        gone = removed_by or gone
        if kept and (plugin is not None or (target.name.dynamic and target.name.online)):
            kept = _that_search(kept, call.surface, wish.require_parameters, trail)
            gone = gone if kept else "require_parameters"
            # A router as a provider may know the variant itself, and is asked for the model under that very name.
            told = [each.id for each in kept if not each.upstream_model.endswith(":online")]
            searches = {**(searches or {}), **dict.fromkeys(told, plugin or ONLINE)}
        if kept:
            groups.append((target, kept, manner))
    if not groups:
        raise nothing_left(targets, gone)
    ordered = _ordered(groups, wish.across if "route" not in call.raw else _across(call, wish), moment, trail)
    key = None
    routed = groups[0][0].router is not None
    if outlook.sticky is not None and not wish.order and len(ordered) > 1 and (routed or any(map(cacheable, ordered))):
        key = conversation(call, account, call.model)
        ordered = _at_home(ordered, outlook.sticky, key, moment, trail)
    if not wish.fallbacks:
        ordered = _primary(ordered, wish, groups[0][2], trail)
    first = groups[0][0]
    strategy = _strategy(call, first, targets)
    thinking = _to_think(groups)
    return Route(tuple(ordered), tuple(losses), strategy, first.router, key, thinking, wish.fallbacks, searches or None)


def _resolved(
    call: Call,
    catalog: Catalog,
    passthrough: Passthrough,
    outlook: Outlook,
    wish: Wish,
    moment: Moment,
    account: str,
) -> tuple[list[Target], list[Loss]]:
    """What the model strings mean. A router asks which models pass the filters, and where the conversation was."""
    house, sticky = outlook.house, outlook.sticky

    def serves(target: Target) -> bool:
        return bool(_kept(target, _wants(call, wish, house, target)[0], None)[0])

    def home() -> str | None:
        if sticky is None or wish.order:
            return None
        place = sticky.find(conversation(call, account, call.model), moment.now_ns)
        return None if place is None else place.model

    return Resolver(
        call, catalog, passthrough, house, outlook.ranking, outlook.presets, moment.seed, serves, home, moment.health
    ).all()


def _wants(call: Call, wish: Wish, house: House, target: Target) -> tuple[Wants, Manner]:
    """What the request asks of this model's endpoints, and how they are to be ordered. Source: routing, 5.2 and 8.3."""
    sort, name = wish.sort, target.name
    if not wish.order and (sort is None or sort == "exacto"):
        sort = (name.sort if name.dynamic else None) or sort or house.sort
    tools = bool(call.chat.tools) and sort is None and house.sort != "price" and not wish.order
    tier, tier_first, flex = None, False, False
    if shelf_of(target.model.endpoints).tiered:
        wanted = call.chat.service_tier
        if wanted in ("priority", "fast"):
            tier, tier_first, sort = "priority", True, sort or (None if wish.order else "throughput")
        elif wanted == "flex":
            tier, flex, sort = "flex", True, sort or (None if wish.order else "price")
        elif wanted != "default" and not wish.order:
            tier = name.tier
    need = likely_tokens(call)
    wants = Wants(call, wish, house, tier, flex, _compress(call, house))
    need = 0 if need is None else need + (call.chat.max_tokens or 0)
    return wants, Manner(wish, sort, tools, house.balance, tier, tier_first, need)


def _compress(call: Call, house: House) -> bool | None:
    said = asked(call)
    return house.compress if said is None else said


def _kept(target: Target, wants: Wants, trail: Trail | None) -> tuple[list[Endpoint], str | None]:
    """(endpoints that pass every hard filter, the filter that removed the last one)."""
    kept = list(target.model.endpoints)
    if trail is not None:
        for endpoint in kept:
            trail.look(endpoint)
    for each in filters_of(wants, target.model):
        before, kept = kept, [e for e in kept if each.keep(e)]
        if trail is not None:
            for endpoint in before:
                if not each.keep(endpoint):
                    trail.drop(endpoint, each.name, each.detail)
        if before and not kept:
            return [], each.name
    preferred = takers(kept, wants.call)
    if preferred is kept:
        return kept, None
    if trail is not None and len(preferred) < len(kept):
        names = ", ".join(name for name in PREFERRED_PARAMETERS if is_sent(wants.call, name))
        for endpoint in kept:
            if endpoint not in preferred:
                trail.drop(endpoint, "preferred_parameters", f"others of the model take {names}")
    return list(preferred), None


def _ordered(groups: list[Group], across: bool, moment: Moment, trail: Trail | None) -> list[Endpoint]:
    """Model after model, or all together; no endpoint twice."""
    if across and len(groups) > 1:
        manner = groups[0][2]
        every = tuple({endpoint.id: endpoint for _, kept, _ in groups for endpoint in kept}.values())
        ordered = arranged(Shelf(every), every, manner, moment, trail)
    elif len(groups) == 1:
        target, kept, manner = groups[0]
        return arranged(shelf_of(target.model.endpoints), kept, manner, moment, trail)
    else:
        ordered = []
        for target, kept, manner in groups:
            ordered += arranged(shelf_of(target.model.endpoints), kept, manner, moment, trail)
    return list({e.id: e for e in ordered}.values())


def _across(call: Call, wish: Wish) -> bool:
    """`route: sort` is the older word for the partition `none`, where the request does not say one."""
    sort = None if call.provider is None else call.provider.sort
    if wish.order or (isinstance(sort, dict) and sort.get("partition")):
        return wish.across
    return wish.across or bytes(call.raw["route"]) == b'"sort"'


def _at_home(
    ordered: list[Endpoint],
    sticky: Sticky,
    key: bytes,
    moment: Moment,
    trail: Trail | None,
) -> list[Endpoint]:
    """The endpoint that has the conversation's prompt in its cache goes first within its model; which model goes first
    is said by the request, or by a router that knows the conversation as well."""
    place = sticky.find(key, moment.now_ns)
    home = None if place is None else next((e for e in ordered if e.id == place.endpoint_id), None)
    if home is None or stands(home.id, moment) > 1:
        return ordered
    if trail is not None:
        trail.note(home, "has this conversation in its cache")
    others = [e for e in ordered if e is not home]
    at = next((at for at, e in enumerate(ordered) if e.model == home.model), 0)
    return [*others[:at], home, *others[at:]]


def _primary(ordered: list[Endpoint], wish: Wish, manner: Manner, trail: Trail | None) -> list[Endpoint]:
    """Without fallbacks: the first, or those that the order names."""
    kept = ordered[:1]
    if wish.order:
        meant = Shelf(tuple(ordered)).named(wish.order, manner.tier)
        kept = [e for e in ordered if e.id in meant]
    if not kept:
        slugs = [endpoint.model for endpoint in ordered]
        raise NotFound(
            "provider.order names no endpoint of this model and allow_fallbacks is false; allow fallbacks, or name "
            "another provider.",
            metadata=unavailable("constraint_filtered", slugs, excluded_by="provider.allow_fallbacks"),
        )
    if trail is not None:
        for endpoint in ordered:
            if endpoint not in kept:
                trail.drop(endpoint, "provider.allow_fallbacks", "fallbacks are not allowed")
    return kept


def _to_think(groups: list[Group]) -> frozenset[str]:
    found = _NONE
    for target, kept, _ in groups:
        if target.thinking:
            found |= {e.id for e in kept}
    return found


_NONE: frozenset[str] = frozenset()


def _that_search(kept: list[Endpoint], surface: str, required: bool, trail: Trail | None) -> list[Endpoint]:
    """Where some endpoints of a model can search the web and others cannot, only the former are used; where none can,
    all are, unless that is required."""
    found = [each for each in kept if spoken(each, surface) is not None]
    if not found and not required:
        return kept
    if trail is not None:
        for endpoint in kept:
            if endpoint not in found:
                name = "require_parameters" if required else "preferred_parameters"
                trail.drop(endpoint, name, "can search the web")
    return found


def _strategy(call: Call, first: Target, targets: list[Target]) -> str:
    if first.router is not None:
        return {"openrouter/free": "free", "openrouter/pareto-code": "pareto"}.get(first.router, "auto")
    if first.name.latest:
        return "latest"
    if call.models and len(targets) > 1:
        return "fallback"
    return "alias" if first.alias else "direct"
