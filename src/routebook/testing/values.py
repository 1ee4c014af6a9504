"""Values that a JSON schema allows, taken from what somebody said where it fits: what a scripted model hands to a tool.

A model that always made the same arguments up would pass no client's tests: these ask for `magic_function(3)` and want
to see the 3.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Any

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?![\w.])")
_QUOTED = re.compile(r"(?<!\w)'([^']+)'")


class Said:
    """The whole numbers of a text and its texts in single quotes, each given out once, in their order."""

    def __init__(self, text: str = "") -> None:
        self._numbers = deque(int(found) for found in _NUMBER.findall(text))
        self._quoted = deque(_QUOTED.findall(text))

    def number(self) -> int:
        return self._numbers.popleft() if self._numbers else 7

    def text(self, name: str) -> str:
        return self._quoted.popleft() if self._quoted else f"a {name}"


def sample(schema: dict[str, Any], said: Said, name: str = "value", root: dict[str, Any] | None = None) -> Any:
    """A value that the JSON schema allows; texts that are made up say which property they are of.

    `root` is the schema that `$ref` looks its definitions up in. A schema that says nothing allows null.
    """
    root = schema if root is None else root
    if "$ref" in schema:
        return sample(_definition(schema["$ref"], root), said, name, root)
    if "anyOf" in schema:
        return sample(schema["anyOf"][0], said, name, root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    kinds = schema.get("type")
    match kinds[0] if isinstance(kinds, list) else kinds:
        case "object":
            return {key: sample(part, said, key, root) for key, part in schema.get("properties", {}).items()}
        case "array":
            return [sample(schema.get("items", {}), said, name, root)]
        case "integer" | "number":
            return said.number()
        case "boolean":
            return True
        case "string":
            return said.text(name)
    return None


def _definition(ref: str, root: dict[str, Any]) -> dict[str, Any]:
    """What `#/$defs/Name` stands for. Raises KeyError for a name that is not there."""
    found: Any = root
    for step in ref.removeprefix("#/").split("/"):
        found = found[step]
    assert isinstance(found, dict)
    return found
