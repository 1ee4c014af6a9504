"""Past calls run again: what stays, what moves, what it costs, how long it takes, and what cannot be said."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import msgspec

from routebook.core.catalog import Accounting, Catalog
from routebook.core.generation import AttemptRow, Folded
from routebook.core.money import PriceSheet
from routebook.core.usage import Usage
from routebook.metering.pricing import price
from routebook.metering.revision import Sheets
from routebook.policy.house import House
from routebook.policy.replay import ALL_FAIL, NO_PRICE, Report, World, percentile, replay
from tests.unit.daybook.samples import ACCEPTED_NS, attempt, intent, outcome
from tests.unit.policy.stock import endpoint, model, one, sheet

MS, SECOND = 10**6, 10**9
ACME, BETA = endpoint("acme", price="1"), endpoint("beta", price="2")
HERE = one(ACME, BETA)
ORDER = House(balance=False)
RULES = Accounting()


def sheets(catalog: Catalog) -> Any:
    known = {(e.id, e.model): e.pricing for each in catalog.models.values() for e in each.endpoints}

    def at(moment_ns: int) -> Sheets:
        def of(endpoint_id: str, slug: str) -> PriceSheet | None:
            return known.get((endpoint_id, slug))

        return of

    return at


def world(catalog: Catalog = HERE, **house: Any) -> World:
    return World(catalog, House(**{"balance": False, **house}), sheets(catalog))


def row(tag: str, at_ns: int, took_ms: int = 1000, first_ms: int = 200, **more: Any) -> AttemptRow:
    """A try that was sent at once."""
    return attempt(
        provider_name=tag.capitalize(),
        provider_slug=tag,
        model="lab/one",
        endpoint_id=f"{tag}:lab/one",
        started_ns=at_ns,
        sent_ns=at_ns,
        head_ns=at_ns,
        first_ns=None if more.get("error") else at_ns + first_ms * MS,
        ended_ns=at_ns + took_ms * MS,
        **more,
    )


def past(n: int, tag: str = "acme", *, failed: str | None = None, usd_per_million: str = "1", **more: Any) -> Folded:
    """Call `n`, a second after the one before it: 100 tokens in, 80 out; `failed` was tried before it for 300 ms."""
    at_ns = ACCEPTED_NS + n * SECOND
    rows = [row(tag, at_ns, more.pop("took_ms", 1000), more.pop("first_ms", 200))]
    if failed is not None:
        lost = row(failed, at_ns, 300, error="UpstreamOverloaded", status=503)
        late = msgspec.structs.replace(rows[0], started_ns=at_ns + 300 * MS, sent_ns=at_ns + 300 * MS)
        rows = [lost, msgspec.structs.replace(late, first_ns=late.first_ns, ended_ns=at_ns + 1300 * MS)]
    usage = Usage(prompt=100, completion=80)
    end = outcome(
        ended_ns=rows[-1].ended_ns,
        model="lab/one",
        usage=usage,
        charge=price(usage, sheet(usd_per_million), RULES),
        attempts=tuple(rows),
        **more.pop("outcome", {}),
    )
    begun = {"endpoint_id": (failed or tag) + ":lab/one", "requested_model": "lab/one", "prompt_bytes": 400}
    return Folded(n, intent(n, accepted_ns=at_ns, **{**begun, **more}), outcome=end)


def run(calls: list[Folded], other: World, present: World | None = None) -> Report:
    return replay(calls, present or world(), other, RULES)


def places(report: Report) -> dict[tuple[str, str], int]:
    return {(move.provider, move.to_provider): move.calls for move in report.moves.values()}


def test_the_policy_that_was_in_force_changes_nothing() -> None:
    here = world()
    report = run([past(n) for n in range(5)], here, here)
    assert (report.rerun, report.as_planned, places(report)) == (5, 5, {("Acme", "Acme"): 5})
    old, new = report.cost
    assert old == new == Decimal("0.0009")
    was, would, unknown = report.latencies
    assert (was, unknown) == (would, 0)


def test_a_dearer_place_costs_more_to_the_last_digit() -> None:
    report = run([past(n) for n in range(3)], world(only=("beta",)))
    assert places(report) == {("Acme", "Beta"): 3}
    assert report.cost == (Decimal("0.00054"), Decimal("0.00108"))
    assert report.as_planned == 3, "the present configuration still asks the first"


def test_other_prices_are_a_difference_where_nothing_moves() -> None:
    cheaper = one(endpoint("acme", price="0.5"), BETA)
    report = run([past(0)], world(cheaper))
    (move,) = report.moves.values()
    assert (move.stays, move.old, move.new) == (True, Decimal("0.00018"), Decimal("0.00009"))


def test_a_call_that_moves_takes_what_was_measured_where_it_goes() -> None:
    calls = [past(0), past(1, "beta", took_ms=900, first_ms=100), past(2, "beta", took_ms=2500, first_ms=900)]
    calls.append(past(3, "beta", took_ms=900, first_ms=100))
    report = run(calls, world(only=("beta",)))
    moved = next(move for move in report.moves.values() if not move.stays)
    assert moved.old_ns == [1000 * MS]
    # The median first content is 100 ms; (900 - 100) ms over 80 tokens is 10 ms a token.
    assert moved.new_ns == [(100 + 80 * 10) * MS]
    assert report.paces["beta:lab/one"].answers == 3


def test_where_nothing_was_measured_the_latency_is_unknown_and_counted() -> None:
    report = run([past(n) for n in range(4)], world(only=("beta",)))
    assert report.latencies == ([], [], 4)


def test_the_estimate_is_held_against_calls_that_stay() -> None:
    report = run([past(0), past(1), past(2, took_ms=2000, first_ms=200)], world())
    # Two of three are met exactly; the third took 2,000 ms and is estimated at 1,000.
    assert sorted(report.off) == [0, 0, 500]


def test_who_failed_for_a_call_fails_for_it_again() -> None:
    calls = [past(0, "beta", failed="acme", usd_per_million="2")]
    report = run(calls, world())
    assert places(report) == {("Beta", "Beta"): 1}
    assert report.latencies[0] == report.latencies[1] == [1300 * MS]
    report = run(calls, world(only=("acme",)))
    assert (report.rerun, report.left) == (0, {ALL_FAIL: 1})


def test_time_lost_on_tries_that_fail_again_is_lost_again() -> None:
    three = one(ACME, endpoint("gamma", price="1"), BETA)
    calls = [past(0, "beta", failed="acme", usd_per_million="2"), past(5, "gamma")]
    report = run(calls, world(three), world(three))
    moved = report.moves["lab/one", "Beta", "lab/one", "Gamma"]
    assert moved.new_ns == [(300 + 1000) * MS]


def test_a_policy_that_refuses_says_by_which_filter_and_what_those_calls_cost() -> None:
    report = run([past(0), past(1)], world(zdr=True))
    assert (report.rerun, report.refused, report.refused_old) == (0, {"data_policy:zdr": 2}, Decimal("0.00036"))
    assert report.cost == (Decimal(0), Decimal(0))


def test_what_cannot_be_run_again_is_counted_by_its_reason() -> None:
    calls = [
        Folded(0, intent(0, accepted_ns=ACCEPTED_NS)),
        past(1, outcome={"interrupted": True}),
        past(2, requested_model="openrouter/auto"),
        past(3, requested_model="@preset/mine"),
        past(4, outcome={"is_byok": True}),
    ]
    calls.append(msgspec.structs.replace(past(5), outcome=outcome(attempts=())))
    report = run(calls, world())
    assert (report.looked_at, report.rerun) == (6, 0)
    assert sorted(report.left.values()) == [1] * 6
    assert {"under way", "no provider answered", "asked for a preset"} <= set(report.left)


def test_where_no_price_is_known_a_call_is_left_and_counted() -> None:
    unpriced = one(endpoint("beta", price=None))
    assert run([past(0)], world(unpriced)).left == {NO_PRICE: 1}


def test_plans_that_records_do_not_explain_are_counted() -> None:
    asked_for_beta = [past(n, "beta", usd_per_million="2") for n in range(3)]
    report = run([*asked_for_beta, past(9)], world())
    assert (report.rerun, report.as_planned) == (4, 1)


def test_health_is_what_the_period_shows_by_then() -> None:
    slow = [past(n, took_ms=3000, first_ms=2000) for n in range(6)]
    fast = [past(n, "beta", usd_per_million="2", took_ms=800, first_ms=100) for n in range(6, 12)]
    later = [past(30)]
    report = run([*slow, *fast, *later], world(sort="latency"))
    assert report.moves["lab/one", "Acme", "lab/one", "Beta"].calls == 1, "the last one: both were measured by then"


def test_an_outage_of_the_period_is_an_outage_of_the_replay() -> None:
    # Two failures at acme in the last half minute; the next calls, which went to acme, are planned around it.
    failing = [past(n, "beta", failed="acme", usd_per_million="2") for n in range(3)]
    report = run([*failing, past(5)], world())
    assert places(report)["Acme", "Beta"] == 1
    assert places(run([*failing, past(200)], world()))["Acme", "Acme"] == 1


def test_a_session_stays_where_its_prompt_is_cached() -> None:
    cached = sheet("1", input_cache_read="0.0000001")
    here = one(endpoint("acme", pricing=cached), endpoint("beta", pricing=cached))
    calls = [past(n, session_id="s") for n in range(0, 40, 2)]
    balanced = World(here, House(), sheets(here))
    report = run(calls, balanced)
    assert len(report.moves) == 1, "all of them go where the first one was drawn"
    assert report.with_session == 20
    loose = run([past(n) for n in range(0, 40, 2)], balanced)
    assert len(loose.moves) == 2, "without a session each is drawn for itself"


def test_the_seed_is_the_time_of_the_call_and_the_draw_is_by_price() -> None:
    here = World(HERE, House(), sheets(HERE))
    calls = [past(n * 37) for n in range(600)]
    report = run(calls, here)
    # 1 and 2 USD: 4 to 1.
    assert 440 <= places(report)["Acme", "Acme"] <= 520


def test_the_same_calls_give_the_same_report() -> None:
    rng = random.Random(7)
    calls = [
        past(n, rng.choice(("acme", "beta")), failed=rng.choice((None, None, "acme")), took_ms=rng.randint(300, 3000))
        for n in range(200)
    ]
    here = World(one(ACME, BETA), House(sort="throughput"), sheets(HERE))
    first, second = [msgspec.json.encode(report_of(run(calls, here))) for _ in range(2)]
    assert first == second


def report_of(report: Report) -> Any:
    return [report.left, report.as_planned, [m for _, m in sorted(report.moves.items())], sorted(report.paces.items())]


def test_another_model_of_the_same_name_is_found_by_slug() -> None:
    other = Catalog({"lab/two": model("lab/two", ACME)}, HERE.providers, {"lab/one": "lab/two"})
    report = run([past(0)], world(other))
    (move,) = report.moves.values()
    assert (move.model, move.to_model) == ("lab/one", "lab/two")


def test_a_percentile_is_the_nearest_rank() -> None:
    assert [percentile([5, 1, 4, 2, 3], p) for p in (1, 50, 90, 100)] == [1, 3, 5, 5]
