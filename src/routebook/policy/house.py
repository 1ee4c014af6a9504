"""The house rules: what holds for every call, whatever a request says. A request can narrow them and never widen them.

Today they come from `[routing]` of the configuration; accounts, workspaces and guardrails narrow them further by the
same rules. Source: routing, sections 2, 3 and 5.2; the groups of retention: platform, privacy.
"""

from __future__ import annotations

import msgspec

from routebook.config.settings import RoutingTable
from routebook.core.catalog import Provider

ZDR_GROUPS = {
    "anthropic": "anthropic",
    "openai": "openai",
    "google-ai-studio": "google",
    "google-vertex": "google",
    "xai": "xai",
}
"""vendor -> its group; all others are `other`"""


class House(msgspec.Struct, frozen=True):
    """Ceilings first, then what is done where a request does not say."""

    only: tuple[str, ...] | None = None
    """providers or tags that may be used at all; None = all"""
    ignore: tuple[str, ...] = ()
    models: tuple[str, ...] | None = None
    """patterns (`*`) of model slugs that may be used at all; None = all"""
    not_models: tuple[str, ...] = ()
    zdr: bool = False
    zdr_groups: frozenset[str] = frozenset()
    training_paid: bool = True
    training_free: bool = True
    publication_free: bool = True
    region: str | None = None
    sort: str | None = None
    balance: bool = True
    """False: the configured order instead of a draw by price"""
    auto: tuple[str, ...] = ()
    """models of `openrouter/auto`, the best first"""
    compress: bool | None = None
    lenient: bool = False
    """worked out: no rule of this house takes an endpoint out or sorts, so that the common call has nothing to ask"""

    def __post_init__(self) -> None:
        strict = (
            self.only is not None
            or self.ignore
            or self.models is not None
            or self.not_models
            or self.zdr
            or self.zdr_groups
            or not (self.training_paid and self.training_free and self.publication_free)
            or self.region is not None
            or self.sort is not None
        )
        msgspec.structs.force_setattr(self, "lenient", not strict)

    def wants_zdr(self, provider: Provider) -> bool:
        """True if only a provider without data retention may take this one's place."""
        if self.zdr:
            return True
        return bool(self.zdr_groups) and ZDR_GROUPS.get(provider.vendor or provider.slug, "other") in self.zdr_groups


OPEN = House()


def house_of(table: RoutingTable) -> House:
    """The rules of a configuration."""
    return House(
        only=None if table.only is None else tuple(table.only),
        ignore=tuple(table.ignore or ()),
        zdr=table.zdr,
        zdr_groups=frozenset(table.zdr_groups or ()),
        training_paid=table.training_paid,
        training_free=table.training_free,
        publication_free=table.publication_free,
        region=table.region,
        sort=table.sort,
        balance=table.balance == "price",
        auto=tuple(table.auto or ()),
        compress=table.compress,
    )


def narrowed(house: House, inner: House) -> House:
    """Both rules at once: allowed is what both allow, ruled out what either rules out; preferences are the inner's."""
    return House(
        only=_both(house.only, inner.only),
        ignore=tuple(dict.fromkeys(house.ignore + inner.ignore)),
        models=_both(house.models, inner.models),
        not_models=tuple(dict.fromkeys(house.not_models + inner.not_models)),
        zdr=house.zdr or inner.zdr,
        zdr_groups=house.zdr_groups | inner.zdr_groups,
        training_paid=house.training_paid and inner.training_paid,
        training_free=house.training_free and inner.training_free,
        publication_free=house.publication_free and inner.publication_free,
        region=house.region or inner.region,
        sort=inner.sort or house.sort,
        balance=house.balance and inner.balance,
        auto=inner.auto or house.auto,
        compress=house.compress if inner.compress is None else inner.compress,
    )


def _both(one: tuple[str, ...] | None, other: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """What both lists name: a slug allows its tags, a pattern what it matches; the narrower name stays."""
    if one is None or other is None:
        return other if one is None else one
    kept = [a for a in one if any(_within(a, b) for b in other)]
    kept += [b for b in other if any(_within(b, a) for a in one)]
    return tuple(dict.fromkeys(kept))


def _within(name: str, outer: str) -> bool:
    return name == outer or name.startswith(outer + "/") or ("*" in outer and wild(outer, name))


def wild(pattern: str, text: str) -> bool:
    """True if the text is what the pattern says; `*` stands for any characters. Linear but for the number of stars."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    *middle, last = rest
    if not text.startswith(first) or len(text) < len(first) + len(last) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
