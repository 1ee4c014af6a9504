"""What a failed attempt means, and what a caller is told when all have failed. Source: inference API, section 14."""

from __future__ import annotations

import pytest

from routebook.core.errors import (
    BadRequest,
    Fault,
    Unavailable,
    UpstreamCredential,
    UpstreamFault,
    UpstreamGarbage,
    UpstreamLimited,
    UpstreamLost,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimeout,
)
from routebook.policy.retry import ATTEMPTS_MAX, moves_on, verdict

NAMES = ("Acme", "Beta", "Gamma")


@pytest.mark.parametrize("kind", UpstreamFault.__subclasses__())
def test_every_fault_of_a_provider_moves_on_until_content_came_or_enough_was_tried(kind: type[UpstreamFault]) -> None:
    assert moves_on(kind(), tried=1, committed=False)
    assert not moves_on(kind(), tried=1, committed=True)
    assert not moves_on(kind(), tried=ATTEMPTS_MAX, committed=False)


@pytest.mark.parametrize("fault", [BadRequest(), Unavailable()])
def test_a_fault_of_ours_or_the_callers_never_moves_on(fault: Fault) -> None:
    assert not moves_on(fault, tried=1, committed=False)


@pytest.mark.parametrize(
    ("faults", "kind", "status"),
    [
        ([UpstreamLimited()], UpstreamLimited, 429),
        ([UpstreamLimited(), UpstreamLimited()], UpstreamLimited, 429),
        ([UpstreamOverloaded()], UpstreamOverloaded, 503),
        ([UpstreamTimeout()], UpstreamTimeout, 504),
        ([UpstreamTimeout(), UpstreamTimeout()], UpstreamOverloaded, 503),
        ([UpstreamOverloaded(), UpstreamTimeout()], UpstreamOverloaded, 503),
        ([UpstreamLimited(), UpstreamOverloaded()], UpstreamOverloaded, 503),
        ([UpstreamCredential()], UpstreamCredential, 502),
        ([UpstreamCredential(), UpstreamCredential()], UpstreamCredential, 502),
        ([UpstreamLimited(), UpstreamCredential()], UpstreamLimited, 429),
        ([UpstreamCredential(), UpstreamLimited()], UpstreamLimited, 429),
        ([UpstreamRefused(status=422), UpstreamOverloaded()], UpstreamRefused, 422),
        ([UpstreamRefused(status=413), UpstreamCredential()], UpstreamRefused, 413),
        ([UpstreamLost(), UpstreamGarbage()], UpstreamGarbage, 502),
        ([UpstreamOverloaded(), UpstreamLost()], UpstreamLost, 502),
    ],
    ids=lambda value: "+".join(type(f).__name__ for f in value) if isinstance(value, list) else None,
)
def test_several_faults_become_the_one_that_tells_the_caller_most(
    faults: list[UpstreamFault], kind: type[UpstreamFault], status: int
) -> None:
    found = verdict(faults, NAMES[: len(faults)])
    assert type(found) is kind
    assert found.status == status
    assert found.metadata["provider_name"] == NAMES[len(faults) - 1]


def test_the_shortest_wait_of_all_is_told() -> None:
    found = verdict([UpstreamLimited(retry_after=30), UpstreamLimited(), UpstreamLimited(retry_after=7.5)], NAMES)
    assert found.retry_after == 7.5
    availability = found.metadata["availability"]
    assert availability == {
        "code": "capacity_exhausted",
        "retryable": True,
        "affected_providers": ["Acme", "Beta", "Gamma"],
        "retry_after": 7.5,
    }


def test_what_the_others_said_is_told_by_code_and_status_alone() -> None:
    first = UpstreamOverloaded("host 10.0.0.7 is down", provider_status=500, provider_code="boom", raw="secret")
    second = UpstreamRefused("bad parameter", provider_status=422)
    found = verdict([first, second], NAMES[:2])
    assert found.metadata["previous_errors"] == [
        {"provider": "Acme", "code": "boom", "status": 500},
        {"provider": "Beta", "code": None, "status": 422},
    ]
    assert "10.0.0.7" not in str(found.metadata) + found.message
    assert "secret" not in str(found.metadata) + found.message


def test_one_fault_has_no_previous_ones() -> None:
    assert "previous_errors" not in verdict([UpstreamLost()], ["Acme"]).metadata
