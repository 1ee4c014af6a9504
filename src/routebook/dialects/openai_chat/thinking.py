"""The caller's wish for reasoning in each vendor's own words.

Source: inference API, section 7 (ratios of effort to budget); vendors' pages as named in vendors.toml.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from routebook.core.call import Call, Losses, ReasoningWish
from routebook.dialects.vendors import Quirks
from routebook.wire import codec

_LADDER = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_RATIO = {"minimal": 0.1, "low": 0.2, "medium": 0.5, "high": 0.8, "xhigh": 0.95}


Bytes = bytes | codec.Raw


class Allowed(Protocol):
    """Says whether a parameter may be sent, and records it where not."""

    def __call__(self, name: str) -> bool: ...


def reasoning_members(
    call: Call, members: Mapping[str, Bytes], quirks: Quirks, allowed: Allowed, body: dict[str, Bytes], losses: Losses
) -> None:
    """Put the wish for reasoning into `body`. Whether the caller sees the reasoning is the writer's business: a mere
    wish to exclude it is not sent, the provider would count and bill it all the same."""
    wish = call.chat.reasoning
    if wish is None:
        return
    if not (wish.asked or wish.off or wish.summary is not None):
        return
    if not allowed("reasoning"):
        return
    if quirks.reasoning == "openrouter":
        own: Any = codec.decode_exact(bytes(members["reasoning"])) if "reasoning" in members else {}
        body["reasoning"] = codec.encode({**own, **_object(wish)})
        return
    if wish.summary is not None:
        losses.unsupported("reasoning.summary", "the chat API has no summaries")
    if not (wish.asked or wish.off):
        return
    match quirks.reasoning:
        case "thinking" | "thinking_effort":
            body["thinking"] = codec.encode({"type": "disabled" if wish.off else "enabled"})
            if quirks.reasoning == "thinking_effort" and not wish.off and (wish.effort or wish.max_tokens):
                _effort(call, wish, quirks, body, losses)
            elif quirks.reasoning == "thinking":
                _amount_lost(wish, losses, "the provider only switches reasoning on and off")
        case "enable_thinking":
            body["enable_thinking"] = codec.encode(not wish.off)
            if wish.max_tokens is not None and not wish.off:
                body["thinking_budget"] = codec.encode(wish.max_tokens)
            elif not wish.off and wish.effort:
                losses.unsupported("reasoning.effort", "the provider only switches reasoning on and off")
        case "template":
            body.setdefault("chat_template_kwargs", codec.encode({"enable_thinking": not wish.off}))
            if not wish.off and (wish.effort or wish.max_tokens):
                _effort(call, wish, quirks, body, losses)
        case "none":
            losses.unsupported("reasoning", "the provider cannot be told")
        case _:
            _effort(call, wish, quirks, body, losses)


def _effort(call: Call, wish: ReasoningWish, quirks: Quirks, body: dict[str, bytes], losses: Losses) -> None:
    effort = "none" if wish.off else wish.effort or _of_budget(wish.max_tokens, call.chat.max_tokens)
    known = quirks.efforts or _LADDER
    if effort == "none" and "none" not in known:
        losses.unsupported("reasoning", "the provider cannot switch reasoning off")
        return
    if effort not in known:
        effort = _nearest(effort, known)
        losses.mapped("reasoning.effort", f"the nearest that this model has: {effort}", agreed=True)
    elif not wish.off and wish.effort is None and wish.max_tokens is not None:
        losses.mapped("reasoning.max_tokens", f"the provider takes an effort: {effort}", agreed=True)
    body["reasoning_effort"] = codec.encode(effort)


def _nearest(effort: str, known: tuple[str, ...]) -> str:
    """The known effort nearest to the one asked for, the weaker of two at equal distance; never `none`."""
    place = _LADDER.index(effort) if effort in _LADDER else _LADDER.index("medium")
    rungs = [rung for rung in known if rung != "none" and rung in _LADDER]
    return min(rungs, key=lambda rung: (abs(_LADDER.index(rung) - place), _LADDER.index(rung)))


def _of_budget(budget: int | None, limit: int | None) -> str:
    """A token budget as an effort: by its share of the limit, or by size where there is no limit."""
    if budget is None:
        return "medium"
    if limit:
        share = budget / limit
        return min(_RATIO, key=lambda effort: abs(_RATIO[effort] - share))
    return "low" if budget <= 2048 else "medium" if budget <= 8192 else "high"


def _amount_lost(wish: ReasoningWish, losses: Losses, why: str) -> None:
    if wish.off:
        return
    if wish.max_tokens is not None:
        losses.unsupported("reasoning.max_tokens", why)
    elif wish.effort is not None:
        losses.unsupported("reasoning.effort", why)


def _object(wish: ReasoningWish) -> dict[str, Any]:
    """The wish as OpenRouter's `reasoning` object."""
    found: dict[str, Any] = {
        "effort": wish.effort,
        "max_tokens": wish.max_tokens,
        "enabled": wish.enabled,
        "summary": wish.summary,
    }
    out = {name: value for name, value in found.items() if value is not None}
    return {**out, "exclude": True} if wish.exclude else out
