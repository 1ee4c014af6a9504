"""From the model strings of a request to models of the catalogue: aliases, variants, presets, `~latest`, routers.

Source: routing, sections 7 and 8.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from routebook.core.call import Call, Loss
from routebook.core.catalog import Catalog, Model
from routebook.core.errors import Fault, ModelUnknown, NotFound
from routebook.policy import routers
from routebook.policy.availability import unavailable
from routebook.policy.house import OPEN, House
from routebook.policy.pareto import pareto
from routebook.policy.variants import PRESET, Name, parse
from routebook.policy.vitals import Snapshot

Passthrough = Callable[[str], Model | None]
Presets = Callable[[str], Sequence[str]]
"""models that a preset names, by its slug; empty where there is no such preset. What else a preset says is merged into
the request before it is read"""

_NAME_MIN = 3
"""letters and digits of a name that may be the beginning of others'"""


class Target(msgspec.Struct, frozen=True):
    """One model to try, and how its name wants it."""

    model: Model
    name: Name
    router: str | None = None
    """`openrouter/auto`, … that chose it"""
    thinking: bool = False
    """reasoning is to be on unless the request says something of it"""
    alias: bool = False


class Resolver(msgspec.Struct, frozen=True):
    """What resolving needs beside the name."""

    call: Call
    catalog: Catalog
    passthrough: Passthrough
    house: House = OPEN
    ranking: Sequence[str] = ()
    presets: Presets | None = None
    seed: int | None = None
    serves: Callable[[Target], bool] | None = None
    """whether an endpoint of it passes every hard filter of the request"""
    home: Callable[[], str | None] | None = None
    """gives the slug of the model that the conversation stays with"""
    health: Snapshot | None = None

    def all(self) -> tuple[list[Target], list[Loss]]:
        """Targets of every model string, in order, and a loss for each that is not here. Raises the first string's
        fault where nothing is here at all."""
        targets: list[Target] = []
        losses: list[Loss] = []
        faults: list[Fault] = []
        for text in (self.call.model, *self.call.models):
            try:
                found = self.one(text)
            except NotFound as fault:
                faults.append(fault)
                losses.append(Loss("models", f"{text}: {fault.message}"))
                continue
            except ModelUnknown as fault:
                faults.append(fault)
                losses.append(Loss("models", f"no model {text} here; skipped"))
                continue
            targets += found
        if not targets:
            raise faults[0]
        return targets, losses

    def one(self, text: str) -> list[Target]:
        """Targets of one model string. Raises ModelUnknown, NotFound, BadRequest."""
        model = self.catalog.find(text)
        if model is not None:
            return [Target(model, Name(text), alias=text != model.slug)]
        name = parse(text)
        if name.preset is not None:
            return self._preset(name)
        if name.latest:
            return [Target(routers.latest(name.slug, self.catalog), name, alias=True)]
        if name.slug in routers.NAMES:
            return self._router(text, name)
        model = self._concrete(text, name)
        if model is not None:
            return [Target(model, name)]
        base = self.catalog.find(name.base) if name.static else None
        if base is not None and name.static == "thinking":
            return [Target(base, name, thinking=not base.slug.startswith("anthropic/"))]
        if base is not None:
            raise _no_variant(name, base)
        if name.slug in routers.ELSEWHERE:
            raise ModelUnknown(f"{name.slug} is a router that this gateway does not have; name a model.")
        raise _unknown(text, [self.call.model, *self.call.models], self.catalog)

    def _concrete(self, text: str, name: Name) -> Model | None:
        return (
            self.catalog.find(name.slug)
            or self.passthrough(text)
            or (self.passthrough(name.slug) if name.dynamic else None)
        )

    def _preset(self, name: Name) -> list[Target]:
        models = () if self.presets is None else self.presets(name.preset or "")
        if not models:
            raise NotFound(f"There is no preset {(name.preset or '')[:80]!r} here; name a model, or create the preset.")
        if name.slug:
            # The request wins over the preset: its own model stands, with the preset's others as fallbacks.
            own = f"{'~' if name.latest else ''}{':'.join((name.slug, *name.dynamic))}"
            models = (own, *[each for each in models if each != own])
        return [target for each in models if PRESET not in each for target in self.one(each)]

    def _router(self, text: str, name: Name) -> list[Target]:
        router = name.slug
        if not (router in routers.AUTO and self.house.auto):
            # Where the operator has not said what it means here, a provider that has the router itself goes first.
            model = self.passthrough(text)
            if model is not None:
                return [Target(model, name)]
        choice = self._choice(name)
        if router in routers.AUTO:
            models = routers.auto(choice, router)
        else:
            models = routers.free(choice) if router == routers.FREE else pareto(choice)
        return [Target(model, name, router) for model in models]

    def _choice(self, name: Name) -> routers.Choice:
        serves, home = self.serves, self.home
        return routers.Choice(
            self.call,
            self.catalog,
            self.house,
            self.ranking,
            self.seed,
            (lambda model: True) if serves is None else (lambda model: serves(Target(model, name))),
            (lambda: None) if home is None else home,
            self._speed if name.sort == "throughput" and self.health is not None else None,
        )

    def _speed(self, model: Model) -> float | None:
        """Tokens a second of its fastest endpoint; None if none is measured."""
        speeds = [] if self.health is None else [self.health.speed(e.id) for e in model.endpoints]
        return max((s.throughput.p50 for s in speeds if s is not None and s.throughput is not None), default=None)


def _no_variant(name: Name, base: Model) -> NotFound:
    ended = name.static == "free"
    return NotFound(
        f"{base.slug} has no `:{name.static}` variant here; leave the variant out.",
        metadata=unavailable("free_variant_ended" if ended else "model_not_found", [name.slug]),
    )


def _near(text: str, served: list[str]) -> list[str]:
    """Slugs that were perhaps meant, three at most: of the same name, else of a name that only signs, case or a
    beginning tell apart (`gpt4o-Mini`, `claude-sonnet`). One look at each slug: distances would cost too much."""
    same = [slug for slug in served if slug.rpartition("/")[2] == text.rpartition("/")[2]]
    name = _bare(text)
    if same or len(name) < _NAME_MIN:
        return same[:3]
    bare = {slug: _bare(slug) for slug in served}
    alike = [slug for slug in served if bare[slug] == name]
    return (alike or [slug for slug in served if bare[slug].startswith(name)])[:3]


def _bare(text: str) -> str:
    return "".join(char for char in text.rpartition("/")[2].lower() if char.isalnum())


def _unknown(text: str, slugs: list[str], catalog: Catalog) -> Fault:
    if not catalog.models and not catalog.providers:
        return NotFound(
            "No provider is configured: set a provider's key variable (OPENAI_API_KEY, ANTHROPIC_API_KEY, …) or write "
            "[[providers]] and [[models]] in the configuration file, then restart.",
            metadata=unavailable("no_endpoints", slugs),
        )
    near = _near(text.partition(":")[0], [slug for slug, model in catalog.models.items() if not model.hidden])
    hint = f" Did you mean {', '.join(near)}?" if near else " GET /api/v1/models lists what is served here."
    return ModelUnknown(
        f"{text} is not a valid model ID here.{hint}",
        metadata=unavailable("model_not_found", slugs),
    )
