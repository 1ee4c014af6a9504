"""Why a model cannot be had, as the metadata of an error tells it. Source: inference API, section 14."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def unavailable(
    code: str,
    requested: Iterable[str],
    *,
    retryable: bool = False,
    affected: Iterable[str] = (),
    waits: Sequence[float] = (),
    excluded_by: str | None = None,
) -> dict[str, Any]:
    """The member `availability`. `requested`: model strings; `affected`: display names of providers; `waits`: seconds
    that providers asked for, of which the shortest is told; `excluded_by`: the filter that took the last endpoint."""
    told: dict[str, Any] = {"code": code, "retryable": retryable, "requested_models": list(dict.fromkeys(requested))}
    if providers := list(dict.fromkeys(affected)):
        told["affected_providers"] = providers
    if waits:
        told["retry_after"] = min(waits)
    if excluded_by is not None:
        told["excluded_by"] = excluded_by
    return {"availability": told}
