"""A listing's figures as health: what it says is weighed, what it does not say is unknown."""

from __future__ import annotations

import pytest

from routebook.policy.health import Health, Listing, Seen
from routebook.policy.heard import heard
from routebook.policy.histogram import Percentiles
from routebook.policy.routing import Outlook
from tests.unit.policy.stock import NOW, call, endpoint, one, tried

NS = 10**9
HERE = one(endpoint("acme", price="1"), endpoint("beta", price="2"))
SLOW, FAST = (Percentiles(each, each, each, each) for each in (2000.0, 100.0))


def known(**listings: Listing) -> Outlook:
    return Outlook(health=heard({f"{tag}:lab/one": listing for tag, listing in listings.items()}))


@pytest.mark.parametrize(
    ("uptime", "standing"), [(100.0, 0), (95.0, 0), (94.99, 1), (80.0, 1), (79.99, 2), (0.0, 2), (None, 0)]
)
def test_an_uptime_gives_the_standing_it_came_from(uptime: float | None, standing: int) -> None:
    snapshot = heard({"a": Listing(uptime_last_5m=uptime, uptime_last_1d=100.0)})
    vitals = snapshot.vitals("a")
    assert vitals is not None
    assert (vitals.standing, vitals.outage) == (standing, False)


def test_without_figures_it_is_as_if_never_seen() -> None:
    snapshot = heard({"a": Listing()})
    assert (snapshot.vitals("a"), snapshot.speed("a"), set(snapshot.doubtful)) == (None, None, set())


def test_plans_are_drawn_from_what_was_heard() -> None:
    slow, fast = Listing(latency_last_30m=SLOW), Listing(latency_last_30m=FAST)
    asked = call(wish={"sort": "latency"})
    assert tried(asked, HERE, known(acme=slow, beta=fast)) == ["beta", "acme"]
    assert tried(asked, HERE, known(acme=fast, beta=slow)) == ["acme", "beta"]


def test_a_listing_of_real_health_says_the_same_of_an_endpoint_that_is_down() -> None:
    health = Health()
    for at in range(120):
        health.record(Seen("acme:lab/one", NOW + at, at % 3 > 0))
    listing = health.listing("acme:lab/one", NOW + NS)
    vitals = heard({"acme:lab/one": listing}).vitals("acme:lab/one")
    real = health.at(NOW + NS).vitals("acme:lab/one")
    assert vitals is not None
    assert real is not None
    assert vitals.standing == real.standing == 2
