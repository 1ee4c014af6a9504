"""Every public inference path, a row each: where a new surface is added. The edges read this table and nothing else."""

from __future__ import annotations

import msgspec

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
    Path("/responses", "openai_responses", "completions"),
    Path("/messages", "anthropic", "completions", (*BASES, "/api")),
)

BY_PATH = {base + row.path: row for row in INFERENCE for base in row.bases}
