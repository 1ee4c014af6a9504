"""The grammar of model strings: `[~]author/slug[:variant…][@preset/slug]`, or `@preset/slug` alone.

A name that the catalogue has, colon and all, is that model (`meta/llama:free`). Of others the dynamic variants are
taken off from the right and say how to route: `:nitro` by throughput with the priority tier eligible, `:floor` by price
with the flex tier, `:exacto` by quality, `:online` with a search of the web (see `search`). The static ones (`:free`,
`:extended`, `:batch`) are models of their own or nothing; `:thinking` switches reasoning on where it is none.
Source: routing, section 7.
"""

from __future__ import annotations

import msgspec

from routebook.core.call import Call, ReasoningWish
from routebook.core.errors import BadRequest
from routebook.wire import codec

SORTED_BY = {"nitro": "throughput", "floor": "price", "exacto": "exacto"}
TIERS = {"nitro": "priority", "floor": "flex"}
DYNAMIC = frozenset({*SORTED_BY, "online"})
STATIC = frozenset({"free", "extended", "thinking", "batch"})

PRESET = "@preset/"


class Name(msgspec.Struct, frozen=True):
    """A model string, taken apart."""

    slug: str
    """without `~`, preset and dynamic variants; static variants stay"""
    latest: bool = False
    """`~author/family-latest`: `slug` is `author/family-latest`"""
    dynamic: tuple[str, ...] = ()
    preset: str | None = None

    @property
    def static(self) -> str | None:
        """The static variant at its end, if there is one."""
        variant = self.slug.rpartition(":")[2]
        return variant if variant != self.slug and variant in STATIC else None

    @property
    def base(self) -> str:
        """The slug without its static variant."""
        return self.slug.rpartition(":")[0] if self.static else self.slug

    @property
    def sort(self) -> str | None:
        """How the variants sort; None if they do not."""
        return next((SORTED_BY[v] for v in self.dynamic if v in SORTED_BY), None)

    @property
    def tier(self) -> str | None:
        """The service tier that the variants make eligible."""
        return next((TIERS[v] for v in self.dynamic if v in TIERS), None)

    @property
    def online(self) -> bool:
        return "online" in self.dynamic


def parse(text: str) -> Name:
    """The parts of a model string. Raises BadRequest where two variants contradict each other or a part is empty."""
    body, at, preset = text.partition(PRESET)
    if at and not preset:
        raise BadRequest(f"{text[:80]!r} names no preset; write @preset/<slug>.")
    if at and (body.endswith("/") or "@" in body):
        raise BadRequest(f"{text[:80]!r} is no model string; write author/slug[:variant][@preset/<slug>].")
    latest = body.startswith("~")
    slug = body[1:] if latest else body
    dynamic: list[str] = []
    while ":" in slug:
        rest, _, variant = slug.rpartition(":")
        if variant not in DYNAMIC:
            break
        dynamic.insert(0, variant)
        slug = rest
    if len({SORTED_BY[v] for v in dynamic if v in SORTED_BY}) > 1:
        said = ", ".join(f":{v}" for v in dynamic)
        raise BadRequest(f"{said} of {slug[:80]} sort in different ways; leave one out.")
    if not slug and not at:
        raise BadRequest(f"{text[:80]!r} is no model string; write author/slug[:variant].")
    return Name(slug, latest, tuple(dynamic), preset if at else None)


def thinking(call: Call) -> Call:
    """The call with reasoning switched on, unless it says something of reasoning itself."""
    if call.chat.reasoning is not None:
        return call
    chat = msgspec.structs.replace(call.chat, reasoning=ReasoningWish(enabled=True))
    raw = {**call.raw, "reasoning": codec.Raw(codec.encode({"enabled": True}))}
    return msgspec.structs.replace(call, chat=chat, raw=raw, common=False)
