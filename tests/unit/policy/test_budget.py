"""How many retries there may be. Source: reliability, section 1.1 and promise P7."""

from __future__ import annotations

import pytest

from routebook.policy.budget import Budget

NS = 1_000_000_000
NOW = 1_790_000_000 * NS


def outage(a_second: int, seconds: int = 30, tries: int = 3) -> float:
    """Attempts by calls when everything fails and every call would try three times."""
    budget = Budget()
    attempts = 0
    for step in range(a_second * seconds):
        at_ns = NOW + step * NS // a_second
        budget.call(at_ns)
        attempts += 1
        for _ in range(tries - 1):
            attempts += budget.retry(at_ns)
    return attempts / (a_second * seconds)


@pytest.mark.parametrize("a_second", [60, 200, 1000])
def test_a_total_outage_is_amplified_by_a_quarter_at_most(a_second: int) -> None:
    assert outage(a_second) <= 1.25


def test_the_floor_is_ten_retries_a_second() -> None:
    assert outage(5, seconds=60) == 3.0
    assert outage(20, seconds=60) == pytest.approx(1.5, abs=0.02)


def test_the_budget_is_a_share_of_the_calls_of_ten_seconds() -> None:
    budget = Budget(percent=20, floor=0)
    for _ in range(100):
        budget.call(NOW)
    assert [budget.retry(NOW + 9 * NS) for _ in range(21)] == [True] * 20 + [False]


def test_calls_and_retries_leave_the_window_together() -> None:
    budget = Budget(percent=20, floor=0)
    for _ in range(10):
        budget.call(NOW)
    assert [budget.retry(NOW), budget.retry(NOW), budget.retry(NOW)] == [True, True, False]
    assert not budget.retry(NOW + 11 * NS)
    assert budget.allowed == 0
    for _ in range(5):
        budget.call(NOW + 11 * NS)
    assert [budget.retry(NOW + 11 * NS), budget.retry(NOW + 11 * NS)] == [True, False]


def test_a_long_silence_empties_the_window() -> None:
    budget = Budget(floor=0)
    for _ in range(50):
        budget.call(NOW)
    budget.call(NOW + 3600 * NS)
    assert budget.allowed == 0


def test_a_clock_that_is_set_back_counts_into_the_newest_second() -> None:
    budget = Budget(percent=100, floor=0)
    budget.call(NOW)
    budget.call(NOW - 5 * NS)
    assert budget.allowed == 2


def test_without_calls_there_is_the_floor_alone() -> None:
    budget = Budget()
    assert sum(budget.retry(NOW) for _ in range(200)) == 100
