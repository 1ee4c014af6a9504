"""A preset merged into a request before it is read: shallow, and the request wins.

Only `tools` are united: the preset's first, then those of the request; of two with the same identity the request's.
Source: platform, section 9.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routebook.policy.variants import PRESET
from routebook.wire import codec

NOT_SAVED = frozenset({"messages", "input", "prompt", "stream", "preset"})
"""Members that a preset does not have, whatever was saved in it."""

_BY_NAME = frozenset({"openrouter:advisor", "openrouter:subagent"})
"""Server tools of which a request may have several: told apart by their names."""


def preset_of(body: Mapping[str, codec.Raw]) -> str | None:
    """The preset that a body names, by its member or in its model string; None if none."""
    own = _text(body.get("preset"))
    if own:
        return own
    _, at, slug = (_text(body.get("model")) or "").partition(PRESET)
    return slug if at and slug else None


def merged(
    body: Mapping[str, codec.Raw], preset: Mapping[str, codec.Raw], system: str | None = None
) -> dict[str, codec.Raw]:
    """The members of the request as they are read then. `system`: the preset's own instructions, put before a chat's
    messages unless they begin with some. The model string loses its `@preset/…`; without a model the preset's counts.
    """
    found = {name: value for name, value in preset.items() if name not in NOT_SAVED}
    found |= {name: value for name, value in body.items() if name != "preset"}
    if "tools" in preset and "tools" in body:
        found["tools"] = _united(preset["tools"], body["tools"])
    model = (_text(body.get("model")) or "").partition(PRESET)[0]
    if model:
        found["model"] = codec.Raw(codec.encode(model))
    elif "model" in preset:
        found["model"] = preset["model"]
    else:
        found.pop("model", None)
    if system is not None and "messages" in body:
        found["messages"] = _instructed(body["messages"], system)
    return found


def _united(saved: codec.Raw, sent: codec.Raw) -> codec.Raw:
    tools: dict[Any, Any] = {}
    for raw in (saved, sent):
        listed = codec.decode_exact(bytes(raw))
        for tool in listed if isinstance(listed, list) else ():
            tools[_identity(tool)] = tool
    return codec.Raw(codec.encode(list(tools.values())))


def _identity(tool: Any) -> Any:
    """Functions by name, advisors and subagents by type and name, other server tools by type."""
    if not isinstance(tool, dict):
        return repr(tool)
    kind = tool.get("type", "function")
    if kind == "function":
        function = tool.get("function")
        return "function", str(function.get("name") if isinstance(function, dict) else tool.get("name"))
    return (str(kind), str(tool.get("name"))) if kind in _BY_NAME else (str(kind), "")


def _instructed(messages: codec.Raw, system: str) -> codec.Raw:
    rows = codec.decode_as(bytes(messages), list[codec.Raw])
    first = codec.decode(bytes(rows[0])) if rows else None
    if isinstance(first, dict) and first.get("role") in ("system", "developer"):
        return messages
    own = codec.Raw(codec.encode({"role": "system", "content": system}))
    return codec.Raw(codec.encode([own, *rows]))


def _text(raw: codec.Raw | None) -> str | None:
    value = None if raw is None else codec.decode(bytes(raw))
    return value if isinstance(value, str) else None
