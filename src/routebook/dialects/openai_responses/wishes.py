"""What a caller of another dialect wants of tools, form and reasoning, in the words of this one.

Source: inference API, sections 4 to 7. A function is strict here unless one says otherwise, in the chat API it is not:
so it is always said.
"""

from __future__ import annotations

from typing import Any

from routebook.core.call import Chat, Losses, ReasoningWish, Tool
from routebook.dialects.vendors import Quirks

_LADDER = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_RATIO = {"minimal": 0.1, "low": 0.2, "medium": 0.5, "high": 0.8, "xhigh": 0.95}


def tools(found: list[Tool], losses: Losses, *, router: bool) -> list[dict[str, Any]]:
    """Tools flat, as the dialect has them. What another runs is sent to a router alone."""
    out: list[dict[str, Any]] = []
    for place, tool in enumerate(found):
        if tool.cache_control is not None:
            losses.unsupported(f"tools[{place}].cache_control", "the dialect knows no such markers")
        if tool.function is None:
            if router:
                out.append({"type": tool.type})
            else:
                losses.unsupported(f"tools[{place}]", f"{tool.type} is not a tool that the provider knows")
            continue
        function = tool.function
        one: dict[str, Any] = {
            "type": "function",
            "name": function.name,
            "parameters": function.parameters or {"type": "object", "properties": {}},
            "strict": bool(function.strict),
        }
        if function.description is not None:
            one["description"] = function.description
        out.append(one)
    return out


def tool_choice(choice: Any) -> Any:
    """The choice in the dialect's form: a function's name stands beside its type."""
    if isinstance(choice, dict):
        inner = choice.get("function")
        if isinstance(inner, dict) and isinstance(inner.get("name"), str):
            return {"type": "function", "name": inner["name"]}
    return choice


def text(chat: Chat, losses: Losses) -> dict[str, Any] | None:
    """The `text` member: the answer's form and verbosity; None where the caller asked for neither."""
    out: dict[str, Any] = {}
    form = chat.response_format
    if form is not None:
        kind, schema = form.get("type"), form.get("json_schema")
        if kind in ("text", "json_object"):
            out["format"] = {"type": kind}
        elif kind == "json_schema" and isinstance(schema, dict):
            named = {"name": "answer", **{name: value for name, value in schema.items() if value is not None}}
            out["format"] = {"type": "json_schema", "schema": {}, **named}
        else:
            losses.unsupported("response_format", f"the dialect has no form {str(kind)[:40]!r}")
    if chat.verbosity is not None:
        out["verbosity"] = chat.verbosity
    return out or None


def reasoning(
    wish: ReasoningWish, own: dict[str, Any], limit: int | None, quirks: Quirks, losses: Losses
) -> dict[str, Any]:
    """The `reasoning` member. `own`: the caller's member where they speak this dialect, its other members are kept;
    `limit`: of the answer's tokens, of which a budget is a share."""
    if quirks.router:
        found: dict[str, Any] = {"effort": wish.effort, "max_tokens": wish.max_tokens, "enabled": wish.enabled}
        return {**own, **{name: value for name, value in found.items() if value is not None}, **_summary(wish)}
    out = {name: value for name, value in own.items() if name not in ("max_tokens", "enabled", "exclude", "effort")}
    effort = "none" if wish.off else wish.effort
    if effort is None and wish.max_tokens is not None:
        effort = _of_budget(wish.max_tokens, limit)
        losses.mapped("reasoning.max_tokens", f"the dialect takes an effort: {effort}")
    if effort is None and wish.enabled:
        effort = "medium"
    if effort is not None:
        known = quirks.efforts or _LADDER
        if effort in known:
            out["effort"] = effort
        elif effort == "none":
            losses.unsupported("reasoning", "the provider cannot switch reasoning off")
        else:
            out["effort"] = near = _nearest(effort, known)
            losses.mapped("reasoning.effort", f"the nearest that this model has: {near}", agreed=True)
    if "summary" not in out:
        out.update(_summary(wish))
        if not own and wish.asked and not wish.exclude and wish.summary is None:
            out["summary"] = "auto"  # who asks for reasoning sees it, and here only its summary is to be had
    return out


def _summary(wish: ReasoningWish) -> dict[str, Any]:
    return {} if wish.summary is None else {"summary": wish.summary}


def _nearest(effort: str, known: tuple[str, ...]) -> str:
    """The known effort nearest to the one asked for, the weaker of two at equal distance; never `none`."""
    place = _LADDER.index(effort) if effort in _LADDER else _LADDER.index("medium")
    rungs = [rung for rung in known if rung != "none" and rung in _LADDER]
    return min(rungs, key=lambda rung: (abs(_LADDER.index(rung) - place), _LADDER.index(rung)))


def _of_budget(budget: int, limit: int | None) -> str:
    """A token budget as an effort: by its share of the limit, or by size where there is no limit."""
    if limit:
        share = budget / limit
        return min(_RATIO, key=lambda effort: abs(_RATIO[effort] - share))
    return "low" if budget <= 2048 else "medium" if budget <= 8192 else "high"
