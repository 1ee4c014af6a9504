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

from routebook.core.call import Call, Loss, ProviderWish
from routebook.core.catalog import Catalog, Endpoint, Model
from routebook.core.errors import BadRequest, Fault, NotFound
from routebook.policy.breaker import Breaker
from routebook.policy.compress import asked
from routebook.policy.filters import (
    BYTES_A_TOKEN,
    PREFERRED_PARAMETERS,
    Wants,
    filters_of,
    is_sent,
    likely_tokens,
    named,
    takers,
)
from routebook.policy.house import OPEN, House
from routebook.policy.ordering import Manner, Moment, arranged, draw, stands
from routebook.policy.routers import Ranking
from routebook.policy.shelf import Shelf, shelf_of
from routebook.policy.sticky import Sticky, conversation
from routebook.policy.targets import Passthrough, Presets, Resolver, Target
from routebook.policy.trail import Trail
from routebook.policy.vitals import Remembered
from routebook.policy.wishes import NO_WISH, Wish, read_wish

_SPECIAL = frozenset((*PREFERRED_PARAMETERS, "plugins", "transforms"))
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
    ranking: Ranking | None = None
    presets: Presets | None = None


NOTHING_KNOWN = Outlook()


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
        if model is not None and _SPECIAL.isdisjoint(call.raw) and call.chat.modalities is None:
            endpoints = _short(call, model.endpoints, outlook, now_ns, seed)
            if endpoints is not None:
                return Route(endpoints, (), strategy)
    return _long(call, catalog, passthrough, outlook, now_ns, seed, account, trail)


# --- the short way ----------------------------------------------------------------------------------------------------


def _short(
    call: Call, endpoints: tuple[Endpoint, ...], outlook: Outlook, now_ns: int, seed: int | None
) -> tuple[Endpoint, ...] | None:
    """The order for a call that asks for nothing, at endpoints that are all well; None where there is more to it."""
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
        return endpoints
    shelf = shelf_of(endpoints)
    if not shelf.plain or need + (limit or 0) > shelf.context_least or (limit or 0) > shelf.completion_least:
        return None
    if call.media_prompt or call.audio_prompt or (outlook.sticky is not None and shelf.cacheable):
        return None
    if not _all_well(shelf, outlook, now_ns):
        return None
    return endpoints if seed is None or not outlook.house.balance else draw(shelf, seed)


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
    wish = read_wish(call.provider)
    house = outlook.house
    health = None if outlook.health is None else outlook.health.at(now_ns)
    moment = Moment(health, outlook.breakers, now_ns, seed)
    resolver = Resolver(call, catalog, passthrough, house, outlook.ranking, outlook.presets, seed)
    targets, losses = resolver.all()
    losses += _not_weighed(call.provider, wish, moment, targets)
    _check_names(wish, catalog)
    groups: list[tuple[Target, list[Endpoint], Manner]] = []
    gone = "endpoints"
    for target in targets:
        wants, manner = _wants(call, wish, house, target)
        kept, removed_by = _kept(target, wants, trail)
        gone = removed_by or gone
        if kept:
            groups.append((target, kept, manner))
    if not groups:
        raise _nothing_left(call, targets, gone)
    ordered = _ordered(groups, wish, moment, trail)
    key = None
    if outlook.sticky is not None and not wish.order and len(ordered) > 1:
        key = conversation(call, account, call.model)
        ordered = _at_home(ordered, outlook.sticky, key, groups, moment, trail)
    if not wish.fallbacks:
        ordered = _primary(ordered, wish, groups[0][2], trail)
    return Route(
        endpoints=tuple(ordered),
        losses=tuple(losses),
        strategy=_strategy(call, groups[0][0], targets),
        router=groups[0][0].router,
        conversation=key,
        thinking=frozenset(e.id for target, kept, _ in groups if target.thinking for e in kept),
        fallbacks=wish.fallbacks,
    )


def _wants(call: Call, wish: Wish, house: House, target: Target) -> tuple[Wants, Manner]:
    """What the request asks of this model's endpoints, and how they are to be ordered. Source: routing, 5.2 and 8.3."""
    sort = wish.sort
    if not wish.order and (sort is None or (sort == "exacto" and target.name.sort)):
        sort = target.name.sort or sort or house.sort
    tools = bool(call.chat.tools) and sort is None and house.sort != "price" and not wish.order
    tier, tier_first, flex = None, False, False
    if shelf_of(target.model.endpoints).tiered:
        wanted = call.chat.service_tier
        if wanted in ("priority", "fast"):
            tier, tier_first, sort = "priority", True, sort or (None if wish.order else "throughput")
        elif wanted == "flex":
            tier, flex, sort = "flex", True, sort or (None if wish.order else "price")
        elif wanted != "default" and not wish.order:
            tier = target.name.tier
    need = likely_tokens(call)
    wants = Wants(call, wish, house, tier, flex, _compress(call, house))
    manner = Manner(
        wish=wish,
        sort=sort,
        tools=tools,
        balance=house.balance,
        tier=tier,
        tier_first=tier_first,
        likely_need=0 if need is None else need + (call.chat.max_tokens or 0),
    )
    return wants, manner


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
    preferred = list(takers(kept, wants.call))
    if trail is not None and len(preferred) < len(kept):
        names = ", ".join(name for name in PREFERRED_PARAMETERS if is_sent(wants.call, name))
        for endpoint in kept:
            if endpoint not in preferred:
                trail.drop(endpoint, "preferred_parameters", f"others of the model take {names}")
    return preferred, None


def _ordered(
    groups: list[tuple[Target, list[Endpoint], Manner]], wish: Wish, moment: Moment, trail: Trail | None
) -> list[Endpoint]:
    """Model after model, or all together; no endpoint twice."""
    if wish.across and len(groups) > 1:
        manner = groups[0][2]
        every = [endpoint for _, kept, _ in groups for endpoint in kept]
        ordered = arranged(list({e.id: e for e in every}.values()), manner, moment, trail)
    elif len(groups) == 1:
        return arranged(groups[0][1], groups[0][2], moment, trail)
    else:
        ordered = [e for _, kept, manner in groups for e in arranged(kept, manner, moment, trail)]
    return list({e.id: e for e in ordered}.values())


def _at_home(
    ordered: list[Endpoint],
    sticky: Sticky,
    key: bytes,
    groups: list[tuple[Target, list[Endpoint], Manner]],
    moment: Moment,
    trail: Trail | None,
) -> list[Endpoint]:
    """The endpoint that has the conversation's prompt in its cache goes first within its model; of a router's models
    the one that answered before goes first."""
    place = sticky.find(key, moment.now_ns)
    home = None if place is None else next((e for e in ordered if e.id == place.endpoint_id), None)
    if home is None or stands(home, moment)[0] > 1:
        return ordered
    if trail is not None:
        trail.note(home, "has this conversation in its cache")
    others = [e for e in ordered if e is not home]
    if any(target.router for target, kept, _ in groups if home in kept):
        same = [e for e in others if e.model == home.model]
        return [home, *same, *[e for e in others if e.model != home.model]]
    at = next((at for at, e in enumerate(ordered) if e.model == home.model), 0)
    return [*others[:at], home, *others[at:]]


def _primary(ordered: list[Endpoint], wish: Wish, manner: Manner, trail: Trail | None) -> list[Endpoint]:
    """Without fallbacks: the first, or those that the order names."""
    kept = ordered[:1]
    if wish.order:
        names = frozenset(wish.order)
        kept = [e for e in ordered if named(e, names, manner.tier)]
    if not kept:
        raise NotFound(
            "provider.order names no endpoint of this model and allow_fallbacks is false; allow fallbacks, or name "
            "another provider.",
            metadata={"availability": {"code": "constraint_filtered", "excluded_by": "provider.allow_fallbacks"}},
        )
    if trail is not None:
        for endpoint in ordered:
            if endpoint not in kept:
                trail.drop(endpoint, "provider.allow_fallbacks", "fallbacks are not allowed")
    return kept


def _strategy(call: Call, first: Target, targets: list[Target]) -> str:
    if first.router is not None:
        return {"openrouter/free": "free", "openrouter/pareto-code": "pareto"}.get(first.router, "auto")
    if first.name.latest:
        return "latest"
    if call.models and len(targets) > 1:
        return "fallback"
    return "alias" if first.alias else "direct"


# --- what is told -----------------------------------------------------------------------------------------------------


def _not_weighed(said: ProviderWish | None, wish: Wish, moment: Moment, targets: list[Target]) -> list[Loss]:
    """What was asked for and cannot be done."""
    losses = []
    if moment.health is None:
        if wish.sort in ("throughput", "latency", "exacto"):
            losses.append(Loss("provider.sort", f"{wish.sort} is not measured here; sorted by price"))
        for name, bars in (
            ("preferred_min_throughput", wish.min_throughput),
            ("preferred_max_latency", wish.max_latency),
        ):
            if bars:
                losses.append(Loss(f"provider.{name}", "speed is not measured here"))
    if said is not None and said.options:
        losses.append(Loss("provider.options", "not passed on to providers"))
    if any(target.name.online for target in targets):
        losses.append(Loss("model", ":online asks for a web search, and the gateway runs none"))
    return losses


def _check_names(wish: Wish, catalog: Catalog) -> None:
    if wish is NO_WISH or wish.only is None:
        return
    here = {name.lower() for provider in catalog.providers.values() for name in (provider.slug, provider.name)}
    for name in sorted(wish.only):
        if name not in here and name.partition("/")[0] not in here:
            listed = ", ".join(catalog.providers) or "none"
            raise NotFound(
                f"provider.only names {name!r}, which is not configured here; providers: {listed}",
                metadata={"availability": {"code": "constraint_filtered", "excluded_by": "provider.only"}},
            )


def _nothing_left(call: Call, targets: list[Target], gone: str) -> Fault:
    slugs = list(dict.fromkeys(target.model.slug for target in targets))
    if gone == "context":
        return BadRequest(
            f"The prompt does not fit the context of any endpoint of {', '.join(slugs)}; shorten it, or switch on the "
            'context-compression plugin (`"transforms": ["middle-out"]`).',
            error_type="context_length_exceeded",
        )
    code = "constraint_filtered"
    if gone.startswith("data_policy"):
        code = "privacy_restricted"
    elif gone in ("region", "endpoints"):
        code = "region_restricted" if gone == "region" else "no_endpoints"
    return NotFound(
        f"No endpoint of {', '.join(slugs)} is left after the filter `{gone}`; relax it or add a provider.",
        metadata={"availability": {"code": code, "retryable": False, "requested_models": slugs, "excluded_by": gone}},
    )
