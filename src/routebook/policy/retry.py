"""What a failed attempt means: try the next endpoint, or stop; and what the caller is told when all have failed. Pure.

Source: routing, section 6; the verdict over several attempts is this project's (docs/ARCHITECTURE.md, errors).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from routebook.core.errors import (
    Fault,
    UpstreamCredential,
    UpstreamFault,
    UpstreamLimited,
    UpstreamLost,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimeout,
)
from routebook.policy.availability import unavailable
from routebook.policy.dice import unit

NS = 1_000_000_000

ATTEMPTS_MAX = 3
"""Endpoints tried for one call at most: a total outage must not multiply the load."""


def moves_on(fault: Fault, *, tried: int, committed: bool, attempts_max: int = ATTEMPTS_MAX) -> bool:
    """True if another endpoint may be tried: before the first content event every provider's fault moves on."""
    return isinstance(fault, UpstreamFault) and not committed and tried < attempts_max


WAIT_MOST_SECONDS = 2.0
"""A provider that asks for a longer pause is not waited for; its wish is passed on to the caller instead."""
BACKOFF_SECONDS = 0.25
"""Pause before the second try at one endpoint where the provider named none; twice that before the third, with half
of it left to chance."""


class Step(msgspec.Struct, frozen=True):
    """What to do after a fault. Whatever is not `stop` costs one retry of the budget (`budget.Budget.retry`)."""

    action: Literal["stop", "next", "again"]
    """`next`: the next endpoint of the plan, at once; `again`: the same one after the wait"""
    wait_ns: int = 0


STOP, NEXT = Step("stop"), Step("next")


def next_step(
    fault: Fault,
    *,
    tried: int,
    committed: bool,
    more: bool,
    seed: int,
    fallbacks: bool = True,
    attempts_max: int = ATTEMPTS_MAX,
) -> Step:
    """The step after the `tried`th attempt failed. `more`: the plan has another endpoint; `fallbacks`: the caller
    allows them, else gets the error as it is.

    The same endpoint is tried again only where nobody else is left, nothing was sent or the provider says that it is
    busy, and its pause is short. Source: the retry-safety table (reliability, section 3.3) and F14.
    """
    if not fallbacks or not moves_on(fault, tried=tried, committed=committed, attempts_max=attempts_max):
        return STOP
    if more:
        return NEXT
    if isinstance(fault, UpstreamLost | UpstreamTimeout):
        return STOP if fault.sent else _pause(None, tried, seed)
    if isinstance(fault, UpstreamOverloaded):
        return _pause(fault.retry_after, tried, seed)
    if isinstance(fault, UpstreamLimited) and fault.metadata.get("kind", "rate") == "rate":
        return _pause(fault.retry_after, tried, seed)
    return STOP


def _pause(asked: float | None, tried: int, seed: int) -> Step:
    if asked is None:
        asked = BACKOFF_SECONDS * 2 ** (tried - 1) * (0.5 + 0.5 * unit(seed, tried))
    elif asked > WAIT_MOST_SECONDS:
        return STOP
    return Step("again", int(max(asked, 0.0) * NS))


def blame(fault: Fault) -> tuple[bool | None, bool]:
    """(`ok` and `limited` of `vitals.Seen`): False where it counts against the endpoint, None where it says nothing.

    Not counted: what is about the request (400, 413, 422), a 429, a 403. Source: routing, 5.4.
    """
    if isinstance(fault, UpstreamLimited):
        return None, True
    if not isinstance(fault, UpstreamFault) or isinstance(fault, UpstreamRefused):
        return None, False
    return (None if fault.provider_status == 403 else False), False


def verdict(faults: Sequence[UpstreamFault], providers: Sequence[str], requested: Sequence[str]) -> Fault:
    """One fault for the caller from those of all attempts, in order, at these providers. `requested`: model strings.

    All limited: 429 with the shortest wait. All 404: the model is nowhere any more, 404. All overloaded or timed out:
    503 (a lone timeout stays 504). Otherwise the last fault that is about the request itself, else the last; a refused
    credential of ours shows as 502.
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
        answer.metadata = last.metadata | unavailable(
            "capacity_exhausted", requested, retryable=True, affected=providers, waits=waits
        )
    elif all(f.provider_status == 404 for f in faults):
        answer = UpstreamFault(
            "Every provider that was asked says it has no such model (404); name another one. The operator finds the "
            "attempts in the record, and corrects upstream_model or base_url.",
            status=404,
            error_type="not_found",
            provider_status=404,
        )
        answer.metadata = unavailable("model_unavailable_upstream", requested, affected=providers)
    elif len(faults) > 1 and all(isinstance(f, UpstreamOverloaded | UpstreamTimeout | UpstreamLimited) for f in faults):
        answer = UpstreamOverloaded(
            "Every provider of this model is overloaded or timed out; try again shortly.",
            retry_after=min(waits, default=None),
        )
        answer.metadata = unavailable(
            "temporarily_unavailable", requested, retryable=True, affected=providers, waits=waits
        )
    elif isinstance(last, UpstreamOverloaded) and len(faults) == 1:
        answer = last
        answer.metadata = last.metadata | unavailable(
            "temporarily_unavailable", requested, retryable=True, affected=providers, waits=waits
        )
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
