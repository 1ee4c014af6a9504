"""Draws from a seed."""

from __future__ import annotations

from routebook.policy.dice import mixed, unit


def test_the_same_seed_draws_the_same_and_another_another() -> None:
    assert mixed(7) == mixed(7)
    assert len({mixed(seed, turn) for seed in range(100) for turn in range(3)}) == 300


def test_neighbouring_seeds_spread_evenly() -> None:
    drawn = [unit(1_790_000_000_000_000_000 + step) for step in range(20_000)]
    assert all(0 <= value < 1 for value in drawn)
    tenths = [sum(int(value * 10) == tenth for value in drawn) for tenth in range(10)]
    assert min(tenths) > 1_850
    assert max(tenths) < 2_150
