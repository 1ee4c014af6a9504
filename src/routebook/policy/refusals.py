"""What a caller is told of a plan that cannot be made, or not as asked: faults that name the filter, and losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from routebook.core.call import Call, Loss, ProviderWish
from routebook.core.catalog import Catalog
from routebook.core.errors import BadRequest, Fault, Forbidden, NotFound
from routebook.policy.availability import unavailable
from routebook.policy.compress import ENGINE
from routebook.policy.ordering import Moment
from routebook.policy.search import is_native
from routebook.policy.targets import Target
from routebook.policy.wishes import NO_WISH, Wish
from routebook.wire import codec

ACTED_ON = frozenset(("context-compression", "auto-router", "auto-beta-router", "pareto-router"))
"""Plugins that routing itself is, by id; others would have to be run."""
_ROUTES = (b'"fallback"', b'"sort"')
_EXCLUDED_BY = {
    "region": "data_region",
    "provider.only": "allowed_providers",
    "provider.ignore": "allowed_providers",
    "account.only": "allowed_providers",
    "account.ignore": "allowed_providers",
}
"""Filters that the API has another name for; the message of an error has ours. Source: inference API, section 14."""


def not_honoured(call: Call) -> tuple[tuple[str, str], ...]:
    """(parameter, why) of what the gateway does not act on: what the surface named, without what routing does."""
    if not call.ignored:
        return ()
    found = []
    for name, why in call.ignored:
        if name == "route" and bytes(call.raw["route"]) in _ROUTES:
            continue
        if name == "transforms" and _decoded(call, name) in ([], [ENGINE]):
            continue
        if name == "plugins":
            others = _others(_decoded(call, name))
            if not others:
                continue
            why = f"the gateway does not run {', '.join(others)}"
        found.append((name, why))
    return tuple(found)


def _others(plugins: Any) -> list[str]:
    """Ids of plugins that are on and that nobody here runs; of something else than plugins a word for it."""
    if not isinstance(plugins, list) or not all(isinstance(plugin, dict) for plugin in plugins):
        return ["what is no list of plugins"]
    on = [plugin for plugin in plugins if plugin.get("enabled") is not False]
    return [str(plugin.get("id"))[:40] for plugin in on if not _is_acted_on(plugin)]


def _is_acted_on(plugin: dict[str, Any]) -> bool:
    id = str(plugin.get("id"))
    return id in ACTED_ON or (id == "web" and is_native(plugin))


def _decoded(call: Call, name: str) -> Any:
    return codec.decode(bytes(call.raw[name]))


def required(call: Call, what: str) -> NotFound:
    """The fault of a request that requires something which nobody here can do."""
    return NotFound(
        f"{what}; leave it out or drop provider.require_parameters.",
        metadata=unavailable("constraint_filtered", (call.model, *call.models), excluded_by="require_parameters"),
    )


def not_weighed(said: ProviderWish | None, wish: Wish, moment: Moment) -> list[Loss]:
    """What was asked for and cannot be done."""
    losses = []
    if moment.health is None and wish is not NO_WISH:
        if wish.sort in ("throughput", "latency", "exacto"):
            losses.append(
                Loss("provider.sort", f"{wish.sort}: nothing is measured here, so the configured order is used")
            )
        for name, bars in (
            ("preferred_min_throughput", wish.min_throughput),
            ("preferred_max_latency", wish.max_latency),
        ):
            if bars:
                losses.append(Loss(f"provider.{name}", "speed is not measured here"))
    if said is not None and said.options:
        losses.append(Loss("provider.options", "not passed on to providers"))
    return losses


def check_names(wish: Wish, catalog: Catalog, requested: Sequence[str]) -> None:
    """Raises NotFound where `only` names a provider that is not here."""
    if wish is NO_WISH or wish.only is None:
        return
    here = {name.lower() for provider in catalog.providers.values() for name in (provider.slug, provider.name)}
    for name in sorted(wish.only):
        if name not in here and name.partition("/")[0] not in here:
            listed = ", ".join(catalog.providers) or "none"
            raise NotFound(
                f"provider.only names {name!r}, which is not configured here; providers: {listed}",
                metadata=unavailable("constraint_filtered", requested, excluded_by="allowed_providers"),
            )


def nothing_left(targets: list[Target], gone: str) -> Fault:
    """The fault of a request whose last endpoint the filter `gone` removed."""
    slugs = list(dict.fromkeys(target.model.slug for target in targets))
    if gone == "context":
        return BadRequest(
            f"The prompt, with the tokens asked for, does not fit the context of any endpoint of {', '.join(slugs)}; "
            'shorten it, or switch on the context-compression plugin (`"transforms": ["middle-out"]`).',
            error_type="context_length_exceeded",
        )
    code = "constraint_filtered"
    if gone.startswith("data_policy"):
        code = "privacy_restricted"
    elif gone in ("region", "endpoints"):
        code = "region_restricted" if gone == "region" else "no_endpoints"
    return (Forbidden if gone == "region" else NotFound)(
        f"No endpoint of {', '.join(slugs)} is left after the filter `{gone}`; relax it or add a provider.",
        metadata=unavailable(code, slugs, excluded_by=_EXCLUDED_BY.get(gone, gone)),
    )
