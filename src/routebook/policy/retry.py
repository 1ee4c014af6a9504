"""What a failed attempt means: try the next endpoint, or stop; and what the caller is told when all have failed. Pure.

Source: routing, section 6; the verdict over several attempts is this project's (docs/ARCHITECTURE.md, errors).
"""

from __future__ import annotations

from collections.abc import Sequence

from routebook.core.errors import (
    Fault,
    UpstreamCredential,
    UpstreamFault,
    UpstreamLimited,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimeout,
)

ATTEMPTS_MAX = 3
"""Endpoints tried for one call at most: a total outage must not multiply the load."""


def moves_on(fault: Fault, *, tried: int, committed: bool) -> bool:
    """True if another endpoint may be tried: before the first content event every provider's fault moves on."""
    return isinstance(fault, UpstreamFault) and not committed and tried < ATTEMPTS_MAX


def verdict(faults: Sequence[UpstreamFault], providers: Sequence[str]) -> Fault:
    """One fault for the caller from those of all attempts, in order.

    All limited: 429 with the shortest wait. All overloaded or timed out: 503 (a lone timeout stays 504). Otherwise the
    last fault that is about the request itself, else the last; a refused credential of ours shows as 502.
    """
    last = faults[-1]
    previous = [
        {"provider": provider, "code": fault.provider_code, "status": fault.provider_status}
        for provider, fault in zip(providers, faults, strict=True)
    ]
    answer: UpstreamFault
    waits = [f.retry_after for f in faults if f.retry_after is not None]
    if all(isinstance(f, UpstreamLimited) for f in faults):
        answer = UpstreamLimited(last.message, retry_after=min(waits, default=None))
        answer.metadata = {**last.metadata, "availability": _availability("capacity_exhausted", providers, waits)}
    elif len(faults) > 1 and all(isinstance(f, UpstreamOverloaded | UpstreamTimeout | UpstreamLimited) for f in faults):
        answer = UpstreamOverloaded(
            "Every provider of this model is overloaded or timed out; try again shortly.",
            retry_after=min(waits, default=None),
        )
        answer.metadata = {"availability": _availability("temporarily_unavailable", providers, waits)}
    else:
        about_request = [f for f in faults if isinstance(f, UpstreamRefused)]
        others = [f for f in faults if not isinstance(f, UpstreamCredential)]
        answer = (about_request or others or list(faults))[-1]
    answer.metadata = {
        **answer.metadata,
        "provider_name": providers[-1],
        **({"previous_errors": previous} if len(faults) > 1 else {}),
    }
    answer.provider_code = answer.provider_code or last.provider_code
    return answer


def _availability(code: str, providers: Sequence[str], waits: Sequence[float]) -> dict[str, object]:
    body: dict[str, object] = {"code": code, "retryable": True, "affected_providers": list(dict.fromkeys(providers))}
    if waits:
        body["retry_after"] = min(waits)
    return body
