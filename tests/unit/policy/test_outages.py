"""The parts together, in time that is made up: plans, retries, budget, breakers and health through an outage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from routebook.core.catalog import Catalog
from routebook.core.errors import UpstreamFault, UpstreamLimited, UpstreamOverloaded
from routebook.policy.breaker import Breakers
from routebook.policy.budget import Budget
from routebook.policy.health import Health, Seen
from routebook.policy.retry import blame, next_step
from routebook.policy.routing import Outlook, route
from tests.unit.policy.stock import NOW, NS, call, endpoint, one

Answer = Callable[[str, int], UpstreamFault | None]
"""(tag, second) -> the fault of that endpoint then, None = it answers"""


class Gateway:
    """Walks plans as the corridor does, without any wire."""

    def __init__(self, here: Catalog, answer: Answer) -> None:
        self.here = here
        self.answer = answer
        self.health, self.breakers, self.budget = Health(), Breakers(), Budget()
        self.outlook = Outlook(health=self.health, breakers=self.breakers.of)
        self.attempts: Counter[str] = Counter()
        self.answered = self.calls = 0

    def run(self, seconds: int, a_second: int, start: int = 0) -> None:
        for step in range(seconds * a_second):
            now_ns = NOW + start * NS + step * NS // a_second
            self.calls += 1
            self.answered += self.one(now_ns)

    def one(self, now_ns: int) -> bool:
        planned = list(route(call(), self.here, outlook=self.outlook, now_ns=now_ns, seed=now_ns).endpoints)
        self.budget.call(now_ns)
        tried = 0
        while planned:
            where = planned.pop(0)
            if not self.breakers.enter(where.id, now_ns) and planned:
                continue  # its probe is out: skipped, and no attempt
            tried += 1
            self.attempts[where.tag] += 1
            fault = self.answer(where.tag, (now_ns - NOW) // NS)
            if fault is None:
                self.breakers.succeeded(where.id, now_ns)
                self.health.record(Seen(where.id, now_ns, True, NS // 2, NS, 50))
                return True
            ok, limited = blame(fault)
            self.health.record(Seen(where.id, now_ns, ok, limited=limited))
            if limited:
                self.breakers.limited(where.id, now_ns, fault.retry_after)
            else:
                self.breakers.failed(where.id, now_ns, now_ns)
            step = next_step(fault, tried=tried, committed=False, more=bool(planned), seed=now_ns)
            if step.action == "stop" or not self.budget.retry(now_ns):
                return False
            if step.action == "again":
                planned.insert(0, where)
        return False


THREE = one(endpoint("a", price="1"), endpoint("b", price="2"), endpoint("c", price="3"))


@pytest.mark.parametrize("endpoints", [1, 2, 3])
@pytest.mark.parametrize("a_second", [100, 400])
def test_a_total_outage_is_amplified_by_a_quarter_at_most(endpoints: int, a_second: int) -> None:
    here = one(*[endpoint(name, price="1") for name in "abc"[:endpoints]])
    gateway = Gateway(here, lambda tag, second: UpstreamOverloaded())
    gateway.run(20, a_second)
    assert gateway.answered == 0
    assert sum(gateway.attempts.values()) <= 1.25 * gateway.calls


def test_no_caller_notices_that_one_of_three_is_down_and_it_is_hardly_asked() -> None:
    gateway = Gateway(THREE, lambda tag, second: UpstreamOverloaded() if tag == "a" else None)
    gateway.run(60, 50)
    assert gateway.answered == gateway.calls
    assert gateway.attempts["a"] <= 12


def test_an_endpoint_that_comes_back_gets_its_share_again() -> None:
    gateway = Gateway(THREE, lambda tag, second: UpstreamOverloaded() if tag == "a" and second < 10 else None)
    gateway.run(10, 50)
    asked = gateway.attempts["a"]
    assert asked <= 12
    gateway.run(120, 50, start=10)
    gateway.attempts.clear()
    before = gateway.answered
    gateway.run(40, 50, start=200)
    assert gateway.answered - before == 40 * 50
    assert gateway.attempts["a"] / (40 * 50) == pytest.approx(36 / 49, abs=0.05)


def test_a_limited_endpoint_is_left_alone_for_as_long_as_it_asked() -> None:
    gateway = Gateway(THREE, lambda tag, second: UpstreamLimited(retry_after=20) if tag == "a" else None)
    gateway.run(60, 50)
    assert gateway.answered == gateway.calls
    assert gateway.attempts["a"] <= 4


def test_the_only_endpoint_is_asked_whatever_its_breaker_says() -> None:
    gateway = Gateway(one(endpoint("a")), lambda tag, second: UpstreamOverloaded() if second < 5 else None)
    gateway.run(5, 10)
    gateway.answered = 0
    gateway.run(5, 10, start=5)
    assert gateway.answered == 50
