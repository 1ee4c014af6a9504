"""What each Claude accepts in a request, worked out of its name.

Part of the dialect in `anthropic.py`. A catalogue cannot be asked for these (they are rules between parameters, not
parameters), and sending what a model refuses costs the caller a 400. A name that is no known Claude gets the
oldest common ground: budgets for thinking, sampling as it is, no effort.
Sources, read 2026-11: platform.claude.com "Extended thinking", "Adaptive thinking", "Effort", "Structured outputs",
"Mid-conversation system messages", the "What's new" and migration pages of Claude 4.6 to 5.5; inference API, section 7.
"""

from __future__ import annotations

import re

import msgspec

_NEW = re.compile(r"claude-(opus|sonnet|haiku|fable|mythos)(?:-(\d{1,2})(?!\d))?(?:[-.](\d{1,2})(?!\d))?")
_OLD = re.compile(r"claude-(\d)(?:[-.](\d))?-(opus|sonnet|haiku)")

EFFORTS = ("low", "medium", "high", "xhigh", "max")


class Traits(msgspec.Struct, frozen=True):
    """What one model takes."""

    thinks: bool = True
    """it can reason at all"""
    budget: bool = True
    """thinking may have a budget of tokens (`thinking.type: enabled`)"""
    adaptive: bool = False
    """thinking without a budget (`thinking.type: adaptive`)"""
    off: str | None = "disabled"
    """the thinking type that turns reasoning off; None where that is refused"""
    shows: bool = True
    """the text of thinking is shown without being asked for"""
    efforts: tuple[str, ...] = ()
    """levels that `output_config.effort` takes"""
    sampling: bool = True
    """temperature, top_p and top_k are taken"""
    both: bool = True
    """temperature and top_p may come together"""
    forced: bool = True
    """a tool may be forced"""
    schema: bool | None = None
    """`output_config.format` and strict tools; None = not known of this name"""
    system: bool = False
    """system messages may stand inside the conversation"""


_UNKNOWN = Traits()


def traits(model: str) -> Traits:
    """What the model of this upstream name accepts; prefixes and date suffixes (`…-20250929`) do not matter."""
    family, version = _parse(model.lower())
    if family is None:
        return _UNKNOWN
    if version is None:
        version = (5, 0) if family in ("fable", "mythos") else (4, 0)
    always = family in ("fable", "mythos") or (family == "opus" and version >= (5, 5))
    return Traits(
        thinks=version >= (3, 7),
        budget=version < (4, 7),
        adaptive=version >= (4, 6),
        off=None if always else "between_tools" if family == "sonnet" and version >= (5, 5) else "disabled",
        shows=version < (4, 7),
        efforts=_efforts(family, version),
        sampling=version < (4, 7),
        both=version < (4, 1),
        forced=not (family in ("fable", "mythos") and version >= (5, 1))
        and not (family == "opus" and version >= (5, 5)),
        schema=version >= ((4, 1) if family == "opus" else (4, 5)),
        system=version >= {"opus": (4, 8), "fable": (5, 0), "mythos": (5, 0)}.get(family, (5, 5)),
    )


def _parse(model: str) -> tuple[str | None, tuple[int, int] | None]:
    if old := _OLD.search(model):
        return old.group(3), (int(old.group(1)), int(old.group(2) or 0))
    if new := _NEW.search(model):
        major = new.group(2)
        return new.group(1), (int(major), int(new.group(3) or 0)) if major else None
    return None, None


def _efforts(family: str, version: tuple[int, int]) -> tuple[str, ...]:
    if version >= (4, 7):
        return EFFORTS
    if version >= (4, 6):
        return ("low", "medium", "high", "max")
    return ("low", "medium", "high") if family == "opus" and version >= (4, 5) else ()


def nearest(effort: str, known: tuple[str, ...]) -> str | None:
    """The level of `known` nearest to `effort`, the lower of two; None where there is none. `minimal` is below low."""
    if not known:
        return None
    place = EFFORTS.index(effort) if effort in EFFORTS else 0
    return min(known, key=lambda level: (abs(EFFORTS.index(level) - place), EFFORTS.index(level)))
