"""The clock of a gateway when somebody sets the machine's: who is under way notices nothing."""

from __future__ import annotations

import pytest

from routebook.observe import clock
from routebook.observe.clock import DRIFT_NS_MAX, NS, SLEW_NS, SLEWED_NS_MAX, SystemClock


class Machine:
    """The two clocks of a machine, held still."""

    def __init__(self) -> None:
        self.wall = 1_800_000_000 * NS
        self.up = 50 * NS

    def time_ns(self) -> int:
        return self.wall

    def monotonic_ns(self) -> int:
        return self.up


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine()
    monkeypatch.setattr(clock, "time", found)
    return found


def test_without_calls_the_wall_clock_is_followed_at_once(machine: Machine) -> None:
    kept = SystemClock()
    for step in (300 * NS, -300 * NS):
        machine.wall += step
        assert kept.now_ns() == machine.wall - step
        kept.follow(idle=True)
        assert kept.now_ns() == machine.wall


@pytest.mark.parametrize("step", [60 * NS, -60 * NS])
def test_with_calls_under_way_it_is_followed_step_by_step_and_time_goes_on(machine: Machine, step: int) -> None:
    kept = SystemClock()
    machine.wall += step
    looks, before = 0, kept.now_ns()
    while abs(machine.wall - kept.now_ns()) > DRIFT_NS_MAX:
        machine.wall += NS // 4
        machine.up += NS // 4
        kept.follow(idle=False)
        looks += 1
        assert abs(kept.now_ns() - before - NS // 4) <= SLEW_NS, "a tenth of the time that went by"
        before = kept.now_ns()
    assert looks == 59 * 40


def test_a_clock_that_was_wrong_altogether_is_followed_whatever_is_under_way(machine: Machine) -> None:
    kept = SystemClock()
    machine.wall += SLEWED_NS_MAX + 1
    kept.follow(idle=False)
    assert kept.now_ns() == machine.wall


def test_a_drift_that_nobody_notices_is_left_alone(machine: Machine) -> None:
    kept = SystemClock()
    machine.wall += DRIFT_NS_MAX
    kept.follow(idle=True)
    assert kept.now_ns() == machine.wall - DRIFT_NS_MAX
