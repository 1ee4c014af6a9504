"""Every public inference path, a row each: where a new surface is added. The edges read this table and nothing else."""

from __future__ import annotations

import msgspec


class Path(msgspec.Struct, frozen=True):
    """One inference path under the API's base."""

    path: str
    surface: str
    """the dialect its callers speak"""
    api_type: str
    """the record's api_type"""


INFERENCE = (Path("/chat/completions", "openai_chat", "completions"),)

BASES = ("/api/v1", "/v1")
"""`/v1` is the same API, for clients that are used to that base."""

BY_PATH = {base + row.path: row for base in BASES for row in INFERENCE}
