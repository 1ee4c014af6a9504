"""The notation itself: a scenario that does not hold says so, and how."""

from __future__ import annotations

import pytest

from routebook.core.errors import UpstreamLost
from routebook.testing.playbook import ENDED, Leaves, Says, asked, begun, body, closed, row
from routebook.testing.upstream import Lost
from tests.support import END, JSON, SENT, Stage, answer, ask

pytestmark = pytest.mark.anyio

GOOD = (SENT, JSON, answer("Hi", 10, 2), END)


async def test_a_fact_that_is_not_so_is_shown_beside_what_is(stage: Stage) -> None:
    with pytest.raises(AssertionError) as seen:
        await stage.play(
            ask(stream=False),
            row("intent"),
            asked("acme"),
            Says(*GOOD),
            row("done", total_cost="0.5"),
            begun(200),
            body(content="Hi"),
            ENDED,
        )
    assert "- << row done total_cost='0.5'" in str(seen.value)
    assert "+ << row done total_cost='0.00006'" in str(seen.value)


async def test_what_leaves_in_another_order_is_a_mismatch(stage: Stage) -> None:
    with pytest.raises(AssertionError, match=r"(?s)must leave.*>> Request"):
        await stage.play(ask(stream=False), asked("acme"), row("intent"))
    await stage.play(Says(*GOOD), row("done"), begun(200), body(), ENDED)


async def test_what_leaves_unasked_is_a_mismatch(stage: Stage) -> None:
    with pytest.raises(AssertionError, match="ended"):
        await stage.play(ask(stream=False), row("intent"), asked("acme"), Says(*GOOD), row("done"), begun(200), body())


async def test_what_does_not_leave_is_a_mismatch(stage: Stage) -> None:
    with pytest.raises(AssertionError, match="- << asked beta"):
        await stage.play(ask(), row("intent"), asked("acme"), asked("beta"))
    await stage.play(Leaves(), closed("acme"), row("cancelled"))


async def test_an_arrival_without_an_effect_is_checked_as_such(stage: Stage) -> None:
    stage.app.fleet.attempts = 1
    with pytest.raises(AssertionError, match="row error"):
        await stage.play(ask(), row("intent"), asked("acme"), Says(Lost(UpstreamLost(sent=False))))
