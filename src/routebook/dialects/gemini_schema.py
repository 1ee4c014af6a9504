"""The schemas of Gemini's `parameters` and `responseSchema` (a subset of OpenAPI 3.0) as JSON Schema.

Part of the dialect in `gemini.py`. Source, read 2026-11: ai.google.dev "Structured outputs" (Schema).
"""

from __future__ import annotations

from typing import Any

_COUNTS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
"""64-bit integers, which protobuf's JSON writes as strings"""


def json_schema(schema: Any) -> Any:
    """The schema with types in lower case, `nullable` as a type, counts as numbers; unknown members stay."""
    if isinstance(schema, list):
        return [json_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out: dict[str, Any] = {}
    for name, value in schema.items():
        if name == "type" and isinstance(value, str):
            if not value.endswith("UNSPECIFIED"):
                out[name] = value.lower()
        elif name == "properties" and isinstance(value, dict):
            out[name] = {key: json_schema(inner) for key, inner in value.items()}
        elif name in ("items", "anyOf", "any_of", "prefixItems", "additionalProperties"):
            out["anyOf" if name == "any_of" else name] = json_schema(value)
        elif name in _COUNTS and isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
            out[name] = int(value)
        elif name not in ("nullable", "propertyOrdering", "property_ordering"):
            out[name] = value
    if schema.get("nullable") is True:
        if isinstance(out.get("type"), str):
            out["type"] = [out["type"], "null"]
        if isinstance(out.get("enum"), list) and None not in out["enum"]:
            out["enum"] = [*out["enum"], None]
    return out
