"""The circuit breaker of an endpoint. Source: reliability, section 1.1."""

from __future__ import annotations

import pytest

from routebook.policy.breaker import (
    BASE_NS,
    FAILURES_IN_A_ROW,
    FORGIVEN_NS,
    JITTER,
    LONGEST_NS,
    PROBE_NS,
    REST_MOST_NS,
    SLOW_START_NS,
    Breaker,
    Breakers,
)

NS = 1_000_000_000
NOW = 1_790_000_000 * NS


def opened(times: int = 1, seed: int = 1) -> Breaker:
    """Opened that many times in a row, the last time at NOW; no probe ever succeeded."""
    breaker = Breaker()
    for _ in range(FAILURES_IN_A_ROW):
        breaker = breaker.failed(NOW, seed)
    for _ in range(times - 1):
        probing = breaker.entered(breaker.open_until_ns)
        assert probing is not None
        breaker = probing.failed(breaker.open_until_ns, seed)
    return breaker


def test_five_failures_in_a_row_open_it_and_four_do_not() -> None:
    breaker = Breaker()
    states = []
    for _ in range(5):
        breaker = breaker.failed(NOW, 1)
        states.append(breaker.state(NOW))
    assert states == ["closed"] * 4 + ["open"]
    assert breaker.aside(NOW)


def test_a_success_in_between_starts_the_count_anew() -> None:
    breaker = Breaker()
    for _ in range(4):
        breaker = breaker.failed(NOW, 1)
    breaker = breaker.succeeded(NOW).failed(NOW, 1)
    assert breaker.state(NOW) == "closed"
    assert breaker.failures == 1


@pytest.mark.parametrize("seed", range(20))
def test_it_rests_thirty_seconds_and_a_little_more_by_the_seed(seed: int) -> None:
    rest = opened(seed=seed).open_until_ns - NOW
    assert BASE_NS <= rest <= BASE_NS * (1 + JITTER)


def test_not_all_workers_probe_at_once() -> None:
    assert len({opened(seed=seed).open_until_ns for seed in range(20)}) == 20


@pytest.mark.parametrize(("times", "seconds"), [(1, 30), (2, 60), (3, 90), (10, 300), (12, 300)])
def test_every_failed_probe_makes_the_rest_longer_up_to_five_minutes(times: int, seconds: int) -> None:
    breaker, before = opened(times), opened(times - 1) if times > 1 else None
    began = NOW if before is None else before.open_until_ns
    rest = breaker.open_until_ns - began
    assert seconds * NS <= rest <= seconds * NS * (1 + JITTER)
    assert LONGEST_NS == 300 * NS


def test_when_its_time_is_over_one_probe_may_go() -> None:
    breaker = opened()
    at_ns = breaker.open_until_ns
    assert breaker.state(at_ns) == "half_open"
    assert not breaker.aside(at_ns)
    probing = breaker.entered(at_ns)
    assert probing is not None
    assert probing.entered(at_ns + NS) is None
    assert probing.aside(at_ns + NS)


def test_a_probe_that_never_comes_back_is_given_up() -> None:
    breaker = opened()
    probing = breaker.entered(breaker.open_until_ns)
    assert probing is not None
    assert probing.entered(breaker.open_until_ns + PROBE_NS) is not None


def test_after_a_good_probe_it_starts_slowly() -> None:
    breaker = opened()
    at_ns = breaker.open_until_ns
    probing = breaker.entered(at_ns)
    assert probing is not None
    closed = probing.succeeded(at_ns)
    assert closed.state(at_ns) == "closed"
    shares = [closed.share(at_ns + SLOW_START_NS * part // 4) for part in range(5)]
    assert shares == pytest.approx([0.1, 0.325, 0.55, 0.775, 1.0])
    assert closed.share(at_ns + 10 * SLOW_START_NS) == 1.0


def test_a_half_open_one_has_little_weight() -> None:
    breaker = opened()
    assert breaker.share(breaker.open_until_ns) == 0.1
    assert Breaker().share(NOW) == 1.0


def test_who_fails_soon_after_coming_back_rests_longer_and_later_as_at_first() -> None:
    breaker = opened()
    at_ns = breaker.open_until_ns
    for wait_ns, times in ((NS, 2), (FORGIVEN_NS, 1)):
        again = breaker.succeeded(at_ns)
        for _ in range(FAILURES_IN_A_ROW):
            again = again.failed(at_ns + wait_ns, 1)
        assert again.opened == times


def test_stragglers_that_fail_while_it_is_open_do_not_make_the_rest_longer() -> None:
    breaker = opened()
    assert breaker.failed(NOW + NS, 7).open_until_ns == breaker.open_until_ns


def test_a_provider_that_asks_for_it_is_left_alone_for_that_long_and_a_minute_at_most() -> None:
    limited = Breaker().limited(NOW, 5 * NS)
    assert limited.state(NOW) == "resting"
    assert limited.aside(NOW + 5 * NS - 1)
    assert not limited.aside(NOW + 5 * NS)
    assert Breaker().limited(NOW, 3600 * NS).rest_until_ns == NOW + REST_MOST_NS
    assert not Breaker().limited(NOW, None).aside(NOW)
    assert limited.succeeded(NOW).aside(NOW + NS), "a straggler's success does not end the rest"


def test_a_limited_or_left_probe_lets_another_go() -> None:
    breaker = opened()
    at_ns = breaker.open_until_ns
    probing = breaker.entered(at_ns)
    assert probing is not None
    assert probing.left().entered(at_ns) is not None
    assert probing.limited(at_ns, None).entered(at_ns) is not None


def test_the_breakers_hold_only_what_is_not_clean() -> None:
    breakers = Breakers()
    assert breakers.enter("a", NOW)
    breakers.succeeded("a", NOW)
    breakers.left("a", NOW)
    breakers.limited("a", NOW, None)
    assert breakers.of == {}
    breakers.failed("a", NOW, 1)
    assert breakers.of["a"].failures == 1
    breakers.succeeded("a", NOW)
    assert breakers.of == {}


def test_the_breakers_let_one_probe_through_and_close_by_it() -> None:
    breakers = Breakers()
    for _ in range(FAILURES_IN_A_ROW):
        breakers.failed("a", NOW, 1)
    at_ns = breakers.of["a"].open_until_ns
    assert breakers.enter("a", NOW), "an open one may be tried when nobody else is left"
    assert [breakers.enter("a", at_ns), breakers.enter("a", at_ns)] == [True, False]
    breakers.left("a", at_ns)
    assert breakers.enter("a", at_ns)
    breakers.succeeded("a", at_ns)
    assert breakers.of["a"].state(at_ns) == "closed"
    breakers.succeeded("a", at_ns + FORGIVEN_NS)
    assert breakers.of == {}


def test_a_retry_after_in_seconds_rests_the_endpoint() -> None:
    breakers = Breakers()
    breakers.limited("a", NOW, 2.5)
    assert breakers.of["a"].rest_until_ns == NOW + 2_500_000_000
    breakers.limited("b", NOW, 1e300)
    assert breakers.of["b"].rest_until_ns == NOW + REST_MOST_NS


def test_the_memory_of_breakers_is_bounded() -> None:
    breakers = Breakers(endpoints_max=3)
    for name in "abcd":
        breakers.failed(name, NOW, 1)
    assert list(breakers.of) == ["b", "c", "d"]


def test_the_same_events_with_the_same_seeds_give_the_same_state() -> None:
    assert opened(3, seed=9) == opened(3, seed=9)
