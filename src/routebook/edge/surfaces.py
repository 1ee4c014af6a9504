"""Every public inference path, a row each: where a new surface is added. The edges read this table and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast
from urllib.parse import parse_qs

import msgspec

from routebook.dialects.base import PathSurface, Surface

BASES = ("/api/v1", "/v1")
"""`/v1` is the same API, for clients that are used to that base."""


class Path(msgspec.Struct, frozen=True):
    """One inference path under the API's base."""

    path: str
    surface: str
    """the dialect its callers speak"""
    api_type: str
    """the record's api_type"""
    bases: tuple[str, ...] = BASES
    """what may stand before the path"""


INFERENCE = (
    Path("/chat/completions", "openai_chat", "completions"),
    Path("/completions", "openai_text", "completions"),
    Path("/responses", "openai_responses", "completions"),
    Path("/messages", "anthropic", "completions", (*BASES, "/api")),
)

BY_PATH = {base + row.path: row for row in INFERENCE for base in row.bases}

OPEN = (Path("/models/", "gemini", "completions", ("/v1beta", "/api/v1beta", *BASES)),)
"""Paths that go on with a model and a method; looked at where no exact path fits."""

_OPEN = tuple((base + row.path, row) for row in OPEN for base in row.bases)


def surface_at(path: str, query: str, surfaces: Mapping[str, Surface]) -> Surface | None:
    """Whose inference path that is, decoded; None if it is none."""
    row = BY_PATH.get(path)
    if row is not None:
        return surfaces[row.surface]
    for prefix, row in _OPEN:
        if path.startswith(prefix):
            return cast(PathSurface, surfaces[row.surface]).at(path[len(prefix) :], query)
    return None


KEY_HEADER = "x-goog-api-key"
_KEYED = frozenset(row.surface for row in OPEN)


def with_key(headers: dict[str, str], query: str, surface: Surface) -> dict[str, str]:
    """The headers with the key that stands in the query, where clients of that surface may put it and the head has
    none. It goes no further than to who asks for a credential."""
    if "key=" not in query or surface.name not in _KEYED or KEY_HEADER in headers:
        return headers
    keys = parse_qs(query).get("key")
    return {**headers, KEY_HEADER: keys[0]} if keys else headers
