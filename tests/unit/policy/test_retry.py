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
from routebook.policy.retry import ATTEMPTS_MAX, NEXT, STOP, Step, blame, moves_on, next_step, verdict

NAMES = ("Acme", "Beta", "Gamma")
ASKED = ("lab/one",)


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
    found = verdict(faults, NAMES[: len(faults)], ASKED)
    assert type(found) is kind
    assert found.status == status
    assert found.metadata["provider_name"] == NAMES[len(faults) - 1]


def test_the_shortest_wait_of_all_is_told() -> None:
    found = verdict(
        [UpstreamLimited(retry_after=30), UpstreamLimited(), UpstreamLimited(retry_after=7.5)], NAMES, ASKED
    )
    assert found.retry_after == 7.5
    availability = found.metadata["availability"]
    assert availability == {
        "code": "capacity_exhausted",
        "retryable": True,
        "requested_models": ["lab/one"],
        "affected_providers": ["Acme", "Beta", "Gamma"],
        "retry_after": 7.5,
    }


GONE = UpstreamCredential(provider_status=404)


@pytest.mark.parametrize("faults", [[GONE], [GONE, GONE], [UpstreamRefused(status=404, provider_status=404), GONE]])
def test_a_model_that_no_provider_has_any_more_is_not_found(faults: list[UpstreamFault]) -> None:
    found = verdict(faults, NAMES[: len(faults)], ASKED)
    assert (found.status, found.error_type) == (404, "not_found")
    assert found.metadata["availability"] == {
        "code": "model_unavailable_upstream",
        "retryable": False,
        "requested_models": ["lab/one"],
        "affected_providers": list(NAMES[: len(faults)]),
    }


def test_a_404_beside_another_fault_is_no_verdict() -> None:
    assert verdict([GONE, UpstreamOverloaded()], NAMES[:2], ASKED).status == 503
    assert verdict([GONE, UpstreamCredential(provider_status=401)], NAMES[:2], ASKED).status == 502
    assert verdict([UpstreamCredential(provider_status=401), GONE], NAMES[:2], ASKED).status == 502


def test_what_the_others_said_is_told_by_code_and_status_alone() -> None:
    first = UpstreamOverloaded("host 10.0.0.7 is down", provider_status=500, provider_code="boom", raw="secret")
    second = UpstreamRefused("bad parameter", provider_status=422)
    found = verdict([first, second], NAMES[:2], ASKED)
    assert found.metadata["previous_errors"] == [
        {"provider": "Acme", "code": "boom", "status": 500},
        {"provider": "Beta", "code": None, "status": 422},
    ]
    assert "10.0.0.7" not in str(found.metadata) + found.message
    assert "secret" not in str(found.metadata) + found.message


def test_one_that_is_overloaded_says_in_its_own_words_that_it_passes() -> None:
    found = verdict([UpstreamOverloaded("full", retry_after=3)], ["Acme"], ASKED)
    assert (found.message, found.retry_after) == ("full", 3)
    assert found.metadata["availability"]["code"] == "temporarily_unavailable"
    assert found.metadata["availability"]["retry_after"] == 3


def test_one_fault_has_no_previous_ones() -> None:
    assert "previous_errors" not in verdict([UpstreamLost()], ["Acme"], ASKED).metadata


# --- the step after a fault -------------------------------------------------------------------------------------------


def step(fault: Fault, tried: int = 1, *, more: bool = False, seed: int = 1, fallbacks: bool = True) -> Step:
    return next_step(fault, tried=tried, committed=False, more=more, seed=seed, fallbacks=fallbacks)


@pytest.mark.parametrize("kind", UpstreamFault.__subclasses__())
def test_before_content_every_fault_of_a_provider_goes_to_the_next_endpoint(kind: type[UpstreamFault]) -> None:
    assert step(kind(), more=True) == NEXT
    assert step(kind(), more=True, fallbacks=False) == STOP
    assert step(kind(), ATTEMPTS_MAX, more=True) == STOP
    assert next_step(kind(), tried=1, committed=True, more=True, seed=1) == STOP


@pytest.mark.parametrize("fault", [BadRequest(), Unavailable()])
def test_a_fault_of_ours_or_the_callers_stops(fault: Fault) -> None:
    assert step(fault, more=True) == STOP


@pytest.mark.parametrize(
    ("fault", "again"),
    [
        (UpstreamLimited(retry_after=0.5, metadata={"kind": "rate"}), 0.5),
        (UpstreamLimited(retry_after=2), 2.0),
        (UpstreamLimited(retry_after=2.1), None),
        (UpstreamLimited(retry_after=0.5, metadata={"kind": "quota"}), None),
        (UpstreamLimited(retry_after=0.5, metadata={"kind": "day"}), None),
        (UpstreamOverloaded(retry_after=1), 1.0),
        (UpstreamOverloaded(retry_after=30), None),
        (UpstreamLost(sent=True), None),
        (UpstreamTimeout(sent=True), None),
        (UpstreamRefused(), None),
        (UpstreamCredential(), None),
        (UpstreamGarbage(), None),
    ],
)
def test_the_last_endpoint_is_tried_again_only_if_it_says_so_and_soon(
    fault: UpstreamFault, again: float | None
) -> None:
    expected = STOP if again is None else Step("again", int(again * 1_000_000_000))
    assert step(fault) == expected


@pytest.mark.parametrize(
    "fault", [UpstreamLimited(), UpstreamOverloaded(), UpstreamLost(sent=False), UpstreamTimeout(sent=False)]
)
def test_where_no_pause_is_named_it_grows_and_half_of_it_is_chance(fault: UpstreamFault) -> None:
    for tried, longest in ((1, 0.25), (2, 0.5)):
        waits = {step(fault, tried, seed=seed).wait_ns / 1e9 for seed in range(50)}
        assert longest / 2 <= min(waits) < max(waits) <= longest
        assert len(waits) == 50
    assert step(fault, seed=4) == step(fault, seed=4)


@pytest.mark.parametrize(
    ("fault", "ok", "limited"),
    [
        (UpstreamOverloaded(provider_status=500), False, False),
        (UpstreamOverloaded(provider_status=529), False, False),
        (UpstreamCredential(provider_status=401), False, False),
        (UpstreamCredential(provider_status=402), False, False),
        (UpstreamCredential(provider_status=404), False, False),
        (UpstreamCredential(provider_status=403), None, False),
        (UpstreamTimeout(), False, False),
        (UpstreamLost(), False, False),
        (UpstreamGarbage(), False, False),
        (UpstreamRefused(provider_status=400), None, False),
        (UpstreamRefused(status=413, provider_status=413), None, False),
        (UpstreamLimited(provider_status=429), None, True),
        (BadRequest(), None, False),
    ],
)
def test_what_counts_against_an_endpoint_is_what_it_did_itself(fault: Fault, ok: bool | None, limited: bool) -> None:
    assert blame(fault) == (ok, limited)
