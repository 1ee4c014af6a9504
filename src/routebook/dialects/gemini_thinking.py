"""What a caller wants of reasoning, as Gemini's `thinkingConfig`.

Sources, read 2026-11: ai.google.dev "Thinking" (levels and budgets by model); inference API, section 7.
"""

from __future__ import annotations

import re
from typing import Any

from routebook.core.call import Losses, ReasoningWish

_SHARES = {"max": 95, "xhigh": 95, "high": 80, "medium": 50, "low": 20, "minimal": 10}
"""per cent of the answer's tokens that an effort may think. Source: inference API, section 7"""
_LEVELS = {"max": "high", "xhigh": "high", "high": "high", "medium": "medium", "low": "low", "minimal": "minimal"}


def generation(model: str) -> tuple[int, int]:
    """(3, 1) of `gemini-3.1-pro-preview`. The `-latest` names follow the newest; names without a version, such as an
    operator's own, are taken for it too. Google's other families (gemma, learnlm) are (0, 0)."""
    name = model.rpartition("/")[2]
    if match := re.match(r"gemini-(?:[a-z]+-)*(\d+)(?:\.(\d+))?", name):
        return int(match[1]), int(match[2] or 0)
    return (0, 0) if name.startswith(("gemma", "learnlm")) else (3, 0)


def thinking(wish: ReasoningWish, max_tokens: int | None, model: str, losses: Losses) -> dict[str, Any] | None:
    """thinkingConfig: a level from Gemini 3 on, a budget of tokens for 2.5; earlier models do not think."""
    version = generation(model)
    if version < (2, 5):
        if wish.asked or wish.off:
            losses.unsupported("reasoning", "this model does not think")
        return None
    if wish.summary in ("concise", "detailed"):
        losses.unsupported("reasoning.summary", "Gemini has one kind of summary")
    config: dict[str, Any] = {}
    effort = wish.effort or ("medium" if wish.enabled and wish.max_tokens is None else None)
    if version >= (3, 0):
        if wish.off:
            config["thinkingLevel"] = _level("minimal", model, version)
            losses.mapped("reasoning.effort", "this model always thinks; its lowest level was asked for")
        elif wish.max_tokens is not None:
            config["thinkingBudget"] = wish.max_tokens
        elif effort in _LEVELS:
            config["thinkingLevel"] = level = _level(effort, model, version)
            if level != effort:
                losses.mapped("reasoning.effort", f"the nearest that this model has: {level}", agreed=True)
    else:
        low, high = _budgets(model)
        if wish.off:
            config["thinkingBudget"] = low if "pro" in model else 0
            if "pro" in model:
                losses.mapped("reasoning.effort", "this model always thinks; its lowest budget was asked for")
        elif wish.max_tokens is not None:
            config["thinkingBudget"] = min(max(wish.max_tokens, low), high)
        elif effort in _SHARES:
            budget = (max_tokens or high) * _SHARES[effort] // 100
            config["thinkingBudget"] = budget = min(max(budget, low), high)
            if wish.effort is not None:
                losses.mapped("reasoning.effort", f"this model takes a budget: {budget} tokens", agreed=True)
    if effort is not None and effort not in _SHARES and not wish.off:
        losses.unsupported("reasoning.effort", f"no effort {effort!r} is known")
    if not wish.off:
        config["includeThoughts"] = not wish.exclude
    return config


def _level(effort: str, model: str, version: tuple[int, int]) -> str:
    """The nearest level that the model has: Pro models have no `minimal`, the first of them no `medium`."""
    level = _LEVELS[effort]
    if "pro" in model and level == "minimal":
        return "low"
    if "pro" in model and version == (3, 0) and level == "medium":
        return "high"
    return level


def _budgets(model: str) -> tuple[int, int]:
    """Smallest and largest thinking budget of a 2.5 model, in tokens; without max_tokens an effort is a share of the
    largest."""
    if "pro" in model:
        return 128, 32_768
    return (512, 24_576) if "lite" in model else (1, 24_576)
