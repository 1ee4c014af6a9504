"""Small shapes that both faces of the dialect share: its name, citations, log probabilities, what an error is called.

The hub keeps the chat API's forms: a citation is `{type, <type>: {…}}` there and flat here; log probabilities are
`{content: [...]}` there and the bare list here. Source: inference API, sections 4, 5 and 14.
"""

from __future__ import annotations

from typing import Any

NAME = "openai_responses"

FORMAT = "openai-responses-v1"
FORMATS = frozenset(
    (
        "openai-responses-v1 azure-openai-responses-v1 bedrock-openai-responses-v1 bedrock-xai-responses-v1 "
        "xai-responses-v1 meta-responses-v1"
    ).split()
)
"""Formats of `reasoning_details` that providers of this dialect made. Inference API, section 7."""

RESUMED = frozenset({"function_call", "custom_tool_call"})
"""Items that every dialect knows as tool calls."""


def nested(note: Any) -> dict[str, Any] | None:
    """An annotation of an answer as the hub has it; None for what is none."""
    kind = note.get("type") if isinstance(note, dict) else None
    if not isinstance(kind, str):
        return None
    if isinstance(note.get(kind), dict):
        return dict(note)
    return {"type": kind, kind: {name: value for name, value in note.items() if name != "type"}}


def flat(note: dict[str, Any]) -> dict[str, Any]:
    """The hub's annotation as an answer of this dialect has it; a citation without places stands at the beginning."""
    kind = str(note.get("type", ""))
    inner = note.get(kind)
    out = {"type": kind, **inner} if isinstance(inner, dict) else dict(note)
    if kind == "url_citation":
        out = {"title": "", "start_index": 0, "end_index": 0, **{k: v for k, v in out.items() if v is not None}}
    return out


def probabilities(value: Any) -> dict[str, Any] | None:
    """Log probabilities as the hub has them, None where there are none."""
    return {"content": value} if isinstance(value, list) and value else None


def bare(value: Any) -> list[Any]:
    """The hub's log probabilities as this dialect has them."""
    found = value.get("content") if isinstance(value, dict) else value
    return found if isinstance(found, list) else []


def text_of(value: Any, name: str) -> str | None:
    """A member that is a text with something in it."""
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, str) and found else None


def dicts(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; nothing for anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
