"""How endpoints have fared: windows, uptime, percentiles with their stated error, bounded memory. Routing, 5.1-5.5."""

from __future__ import annotations

import math
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routebook.policy.health import Health, Listing, Seen, Speed, Tally, Vitals
from routebook.policy.histogram import COARSE_ERROR, FINE_ERROR, Percentiles
from routebook.policy.track import EMPTY_COUNTS, EMPTY_TALLIES, NS
from tests.acceptance import figures

NOW = 1_790_000_000 * NS
MINUTE = 60 * NS


def seen(at_ns: int = NOW, ok: bool | None = True, endpoint_id: str = "a", **more: int | bool) -> Seen:
    return Seen(endpoint_id, at_ns, ok, **more)  # type: ignore[arg-type]


def after(*attempts: Seen, now_ns: int = NOW) -> Vitals:
    health = Health()
    for each in attempts:
        health.record(each)
    found = health.at(now_ns).vitals("a")
    assert found is not None
    return found


def exact(values: list[float], percent: int, slow_is_low: bool = False) -> float:
    ranked = sorted(values, reverse=slow_is_low)
    return ranked[max(math.ceil(len(ranked) * percent / 100), 1) - 1]


def test_an_endpoint_that_was_never_seen_has_no_health() -> None:
    view = Health().at(NOW)
    assert view.vitals("a") is None
    assert view.speed("a") is None
    assert Health().listing("a", NOW) == Listing()


@pytest.mark.parametrize(
    ("ok", "failed", "outage"),
    [(0, 1, False), (0, 2, True), (2, 2, True), (3, 2, False), (1, 2, True), (100, 0, False)],
)
def test_two_failures_that_are_half_of_all_in_30_s_are_an_outage(ok: int, failed: int, outage: bool) -> None:
    found = after(*[seen() for _ in range(ok)], *[seen(ok=False) for _ in range(failed)])
    assert found.recent == Tally(ok, failed)
    assert found.outage is outage


def test_an_outage_is_over_half_a_minute_later() -> None:
    health = Health()
    for _ in range(2):
        health.record(seen(ok=False))
    assert [bool((v := health.at(NOW + s * NS).vitals("a")) and v.outage) for s in (0, 29, 35)] == [True, True, False]


def test_a_failure_is_seen_at_once_and_a_success_within_a_second() -> None:
    health = Health()
    health.record(seen())
    assert health.at(NOW).vitals("a") == after(seen())
    health.record(seen(ok=False))
    found = health.at(NOW).vitals("a")
    assert found is not None
    assert found.recent == Tally(1, 1)
    health.record(seen())
    later = health.at(NOW + NS).vitals("a")
    assert later is not None
    assert later.recent == Tally(2, 1)


@pytest.mark.parametrize(
    ("ok", "failed", "standing", "uptime"),
    [
        (99, 0, 0, None),
        (10, 89, 0, None),
        (95, 5, 0, 95.0),
        (94, 6, 1, 94.0),
        (80, 20, 1, 80.0),
        (79, 21, 2, 79.0),
        (0, 100, 2, 0.0),
    ],
)
def test_uptime_has_three_classes_and_needs_a_hundred_requests(
    ok: int, failed: int, standing: int, uptime: float | None
) -> None:
    found = after(*[seen() for _ in range(ok)], *[seen(ok=False) for _ in range(failed)])
    assert found.last_5m.uptime == uptime
    assert found.standing == standing


def test_the_longer_window_tells_where_the_shorter_cannot() -> None:
    health = Health()
    for _ in range(100):
        health.record(seen(ok=False))
    later = health.at(NOW + 10 * MINUTE).vitals("a")
    assert later is not None
    assert later.last_5m == Tally()
    assert later.standing == 2


def test_what_says_nothing_about_an_endpoint_is_not_counted_and_a_limit_apart() -> None:
    assert Health().at(NOW).vitals("a") is None
    found = after(seen(ok=None), seen(ok=None, limited=True), seen())
    assert found.last_5m == Tally(1, 0, 1)
    assert found.last_5m.total == 1


@pytest.mark.parametrize(
    ("minutes", "in_5m", "in_30m", "in_1d"),
    [(0, 1, 1, 1), (5, 1, 1, 1), (7, 0, 1, 1), (30, 0, 1, 1), (38, 0, 0, 1), (1440, 0, 0, 1), (1760, 0, 0, 0)],
)
def test_a_window_holds_its_time_and_one_slot_more_at_most(minutes: int, in_5m: int, in_30m: int, in_1d: int) -> None:
    found = after(seen(), now_ns=NOW + minutes * MINUTE)
    assert (found.last_5m.ok, found.last_30m.ok, found.last_1d.ok) == (in_5m, in_30m, in_1d)


def test_a_slot_that_ended_is_carried_into_the_longer_windows_once() -> None:
    health = Health()
    for minute in range(0, 60, 5):
        health.record(seen(NOW + minute * MINUTE, first_ns=NS, duration_ns=2 * NS, tokens=100))
    found = health.at(NOW + 55 * MINUTE).vitals("a")
    assert found is not None
    assert found.last_1d == Tally(12)
    assert 6 <= found.last_30m.ok <= 8
    listing = health.listing("a", NOW + 55 * MINUTE)
    assert listing.latency_last_1d is not None
    assert listing.latency_last_1d.p50 == pytest.approx(1000, rel=COARSE_ERROR + 1e-6)


def test_a_late_attempt_counts_in_the_newest_slot() -> None:
    found = after(seen(NOW), seen(NOW - 2 * MINUTE))
    assert found.last_5m == Tally(2)


LATENCIES = st.lists(st.floats(0.01, 200), min_size=5, max_size=60)


@settings(max_examples=60, deadline=None)
@given(LATENCIES)
def test_percentiles_are_off_by_the_stated_error_at_most(values: list[float]) -> None:
    health = Health()
    for each in values:
        health.record(seen(first_ns=int(each * NS), duration_ns=NS, tokens=max(int(each * 10), 1)))
    speed = health.at(NOW).speed("a")
    assert speed is not None
    assert speed.latency is not None
    assert speed.throughput is not None
    rates = [float(max(int(each * 10), 1)) for each in values]
    listing = health.listing("a", NOW)
    assert listing.latency_last_30m is not None
    for percent in (50, 75, 90, 99):
        name = f"p{percent}"
        assert speed.latency.of(name) == pytest.approx(exact(values, percent), rel=FINE_ERROR + 1e-6)
        assert speed.throughput.of(name) == pytest.approx(exact(rates, percent, True), rel=FINE_ERROR + 1e-6)
        assert listing.latency_last_30m.of(name) / 1000 == pytest.approx(
            exact(values, percent), rel=COARSE_ERROR + 1e-6
        )


def test_the_stated_errors_are_below_five_and_ten_percent() -> None:
    assert FINE_ERROR < 0.05
    assert COARSE_ERROR < 0.1


def test_throughput_falls_with_the_percentile_and_latency_rises() -> None:
    health = Health()
    for each in range(1, 101):
        health.record(seen(first_ns=each * NS // 10, duration_ns=NS, tokens=each * 10))
    speed = health.at(NOW).speed("a")
    assert speed is not None
    assert speed.latency is not None
    assert speed.throughput is not None
    assert speed.latency.p50 < speed.latency.p90 < speed.latency.p99
    assert speed.throughput.p50 > speed.throughput.p90 > speed.throughput.p99
    assert speed.throughput.p90 == pytest.approx(110, rel=FINE_ERROR)


def test_throughput_is_tokens_by_the_time_of_the_whole_attempt() -> None:
    health = Health()
    for _ in range(5):
        health.record(seen(first_ns=NS, duration_ns=4 * NS, tokens=200))
    speed = health.at(NOW).speed("a")
    assert speed is not None
    assert speed.throughput is not None
    assert speed.throughput.p50 == pytest.approx(50, rel=FINE_ERROR)


def test_few_samples_ask_a_longer_window_and_none_leave_it_unknown() -> None:
    health = Health()
    for _ in range(20):
        health.record(seen(first_ns=10 * NS))
    for _ in range(2):
        health.record(seen(NOW + 10 * MINUTE, first_ns=NS))
    speed = health.at(NOW + 10 * MINUTE).speed("a")
    assert speed is not None
    assert speed.latency is not None
    assert speed.latency.p50 == pytest.approx(10, rel=COARSE_ERROR + 1e-6)
    assert speed.throughput is None


def test_a_failed_attempt_has_no_speed() -> None:
    health = Health()
    health.record(seen(ok=False, first_ns=NS, duration_ns=NS, tokens=10))
    assert health.at(NOW).speed("a") == Speed()


def test_values_beyond_the_scale_count_as_its_ends() -> None:
    health = Health()
    for first_ns in (0, 10_000 * NS):
        health.record(seen(first_ns=first_ns, duration_ns=1, tokens=1))
    speed = health.at(NOW).speed("a")
    assert speed is not None
    assert speed.latency is not None
    assert 0.01 < speed.latency.p50 < 0.012
    assert 180 < speed.latency.p99 < 240


def test_tool_calls_are_counted_over_two_hours() -> None:
    found = after(seen(tool_ok=True), seen(tool_ok=True), seen(tool_ok=False), now_ns=NOW + 119 * MINUTE)
    assert found.tools == Tally(2, 1)
    assert after(seen(tool_ok=True), now_ns=NOW + 136 * MINUTE).tools == Tally()


def test_more_samples_than_a_bucket_holds_keep_their_proportions() -> None:
    health = Health()
    slow, quick = seen(first_ns=10 * NS), seen(first_ns=NS)
    for _ in range(66_000):
        health.record(quick)
        health.record(slow)
    for _ in range(8_000):
        health.record(quick)
    speed = health.at(NOW).speed("a")
    assert speed is not None
    assert speed.latency is not None
    assert speed.latency.p50 == pytest.approx(1, rel=FINE_ERROR)
    assert speed.latency.p75 == pytest.approx(10, rel=FINE_ERROR)
    found = health.at(NOW).vitals("a")
    assert found is not None
    assert found.last_5m.ok == 140_000
    health.record(seen(NOW + 2 * MINUTE, first_ns=NS))
    listing = health.listing("a", NOW + 10 * MINUTE)
    assert listing.latency_last_30m is not None
    assert listing.latency_last_30m.p75 == pytest.approx(10_000, rel=COARSE_ERROR + 1e-6)
    assert listing.latency_last_30m.p50 == pytest.approx(1_000, rel=COARSE_ERROR + 1e-6)


def test_the_listing_tells_uptimes_and_percentiles_in_the_apis_units() -> None:
    health = Health()
    for _ in range(150):
        health.record(seen(first_ns=NS // 2, duration_ns=NS, tokens=40))
    for _ in range(50):
        health.record(seen(ok=False))
    listing = health.listing("a", NOW)
    assert (listing.uptime_last_5m, listing.uptime_last_30m, listing.uptime_last_1d) == (75.0, 75.0, 75.0)
    assert listing.latency_last_30m is not None
    assert listing.throughput_last_30m is not None
    assert listing.latency_last_30m.p50 == pytest.approx(500, rel=COARSE_ERROR + 1e-6)
    assert listing.throughput_last_30m.p99 == pytest.approx(40, rel=COARSE_ERROR + 1e-6)


def test_what_is_worked_out_of_many_is_used_again_for_five_seconds() -> None:
    health, made = Health(), iter(range(9))
    found = [health.at(NOW + s * NS).remember("key", lambda: next(made)) for s in (0, 4, 5, 9, 10, 3)]
    assert found == [0, 0, 1, 1, 2, 3]
    assert health.at(NOW).remember("other", lambda: next(made)) == 4


def test_only_endpoints_with_a_recent_failure_are_doubtful() -> None:
    health = Health()
    health.record(seen())
    assert health.at(NOW).doubtful == set()
    health.record(seen(ok=False))
    assert health.at(NOW).doubtful == {"a"}
    later = health.at(NOW + 60 * MINUTE)
    assert later.vitals("a") is not None
    assert later.doubtful == set()


def test_the_endpoint_not_seen_for_longest_is_forgotten_first() -> None:
    health = Health(endpoints_max=2)
    health.record(seen(endpoint_id="a"))
    health.record(seen(endpoint_id="b"))
    health.record(seen(NOW + 2 * MINUTE, endpoint_id="a"))
    health.record(seen(NOW + 2 * MINUTE, endpoint_id="c"))
    view = health.at(NOW + 2 * MINUTE)
    assert [view.vitals(name) is not None for name in "abc"] == [True, False, True]
    assert len(health) == 2


def test_ten_thousand_busy_endpoints_take_at_most_64_mb() -> None:
    ids = [f"provider-{number}:author/model-{number}:upstream-{number}" for number in range(10_000)]
    tracemalloc.start()
    try:
        health = Health()
        for endpoint_id in ids:
            health.record(Seen(endpoint_id, NOW, True, NS, 3 * NS, 100, False, True))
        # Work on one is representative: no endpoint grows by being used.
        for step in range(2_000):
            health.record(Seen(ids[0], NOW + step * 40 * NS, step % 7 > 0, NS + step * NS // 50, 9 * NS, step))
        view = health.at(NOW)
        for endpoint_id in ids:
            view.vitals(endpoint_id)
            view.speed(endpoint_id)
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    fixed = 2 * len(EMPTY_COUNTS) + 4 * len(EMPTY_TALLIES)
    figures.lines.append(f"health of 10,000 endpoints: {taken / 1e6:.1f} MB ({fixed} bytes of counts each)")
    assert len(health) == 10_000
    assert taken <= 64e6


def test_percentiles_are_named_as_the_api_names_them() -> None:
    assert [Percentiles(1, 2, 3, 4).of(name) for name in ("p50", "p75", "p90", "p99")] == [1, 2, 3, 4]
