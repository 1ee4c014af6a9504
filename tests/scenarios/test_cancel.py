"""A call is stopped from outside while its caller listens: the answer ends at once and properly, and the record says
what was delivered, generated and billed."""

from __future__ import annotations

from typing import Any

import pytest

from routebook.core.errors import UpstreamLost
from routebook.corridor.entry import cancel
from routebook.testing.playbook import (
    COMMENT,
    DONE,
    ENDED,
    Do,
    Elapse,
    Fills,
    Leaves,
    Says,
    asked,
    begun,
    body,
    chunk,
    closed,
    paused,
    resumed,
    row,
)
from routebook.testing.upstream import Lost
from tests.support import DONE_MARK, END, JSON, SENT, SSE, Stage, answer, ask, counted, finish, text

pytestmark = pytest.mark.anyio


def cancelled(stage: Stage, expect: bool = True) -> Do:
    """Somebody cancels the one call under way."""

    def do() -> None:
        ids = [entry.intent.id for entry in stage.app.entries]
        assert cancel(stage.app.entries, ids[0] if ids else "gen-1-x") is expect

    return Do(do)


async def test_a_stream_ends_with_what_it_has_where_closing_stops_the_bill(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo"),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, *[text("word")] * 5),
        begun(200),
        *[chunk(content="word")] * 5,
    )
    await stage.play(
        cancelled(stage),
        closed("acme"),
        row("cancelled", cancelled=True, finish_reason=None, native_tokens_completion=5, usage_source="estimated"),
        chunk(finish="stop", native_finish="cancelled"),
        chunk(completion_tokens=5, cost="0.000138"),
        DONE,
        ENDED,
    )
    assert stage.record["routebook"]["completion"] == {"delivered": 5, "generated": 5, "billed": 5}


async def test_elsewhere_delivery_stops_at_once_and_the_end_waits_for_the_bill(stage: Stage) -> None:
    await stage.play(
        ask("lab/billed"),
        row("intent"),
        asked("beta"),
        Says(SENT, SSE, text("Hello")),
        begun(200),
        chunk(content="Hello"),
        cancelled(stage),
        Says(*[text(" again")] * 9),
        Elapse(12_000),
        COMMENT,  # nothing of the answer, but that somebody is there
        row("progress"),
    )
    await stage.play(
        Says(finish(), counted(100, 50), DONE_MARK, END),
        row("cancelled", native_tokens_completion=50, usage_source="drained", total_cost="0.00105"),
        chunk(finish="stop", native_finish="cancelled"),
        chunk(completion_tokens=50, cost="0.00105"),
        DONE,
        ENDED,
    )
    assert stage.record["routebook"]["completion"] == {"delivered": 2, "generated": 50, "billed": 50}
    assert stage.record["routebook"]["delivered"] == {"frames": 1, "bytes": 5}


async def test_a_bill_that_does_not_come_is_not_waited_for_longer_than_for_one_who_left(stage: Stage) -> None:
    await stage.play(
        ask("lab/billed"),
        row("intent"),
        asked("beta"),
        Says(SENT, SSE, text("Hello")),
        begun(200),
        chunk(content="Hello"),
        cancelled(stage),
        Elapse(int(stage.app.settings.timeouts.drain_cancelled) * 1000 + 1000),
        closed("beta"),
        COMMENT,
        row("progress"),
        row("cancelled", usage_source="estimated", native_tokens_completion=2),
        chunk(finish="stop", native_finish="cancelled"),
        chunk(completion_tokens=2),
        DONE,
        ENDED,
    )


async def test_a_provider_that_breaks_off_while_its_bill_is_awaited_changes_nothing_for_the_caller(
    stage: Stage,
) -> None:
    await stage.play(
        ask("lab/billed"),
        row("intent"),
        asked("beta"),
        Says(SENT, SSE, text("Hello")),
        begun(200),
        chunk(content="Hello"),
        cancelled(stage),
        Says(Lost(UpstreamLost("The connection was reset; try again."))),
        row("cancelled", usage_source="estimated"),
        chunk(finish="stop", native_finish="cancelled"),
        chunk(),
        DONE,
        ENDED,
    )


async def test_before_anything_was_answered_a_stream_ends_empty_and_costs_nothing(stage: Stage) -> None:
    await stage.play(
        ask("lab/large"),
        row("intent"),
        asked("acme"),
        cancelled(stage),
        closed("acme"),
        row("cancelled", total_cost="0", native_tokens_completion=None),
        begun(200),
        chunk(finish="stop", native_finish="cancelled", content=""),
        chunk(completion_tokens=0, cost=0),
        DONE,
        ENDED,
    )
    assert len(stage.transport.requests) == 1, "no other provider is asked"


@pytest.mark.parametrize("provider", ["acme", "beta"])
async def test_a_whole_answer_is_an_error_once_it_is_known_what_it_cost(stage: Stage, provider: str) -> None:
    """Closing the connection stops no provider's bill here: that is promised for streams alone."""
    await stage.play(
        ask("lab/solo" if provider == "acme" else "lab/billed", stream=False),
        row("intent"),
        asked(provider),
        Says(SENT),
        cancelled(stage),
        Says(JSON, answer("Hello", 100, 10), END),
        row("cancelled", total_cost="0.00045", usage_source="drained", finish_reason=None, error=None),
        begun(499),
        body(error=499, error_type="unmapped", message=...),
        ENDED,
    )
    assert stage.record["routebook"]["completion"] == {"delivered": 0, "generated": 10, "billed": 10}


async def test_what_has_ended_cannot_be_cancelled_and_twice_is_as_once(stage: Stage) -> None:
    await stage.play(
        ask("lab/billed"),
        row("intent"),
        asked("beta"),
        Says(SENT, SSE, text("Hello")),
        begun(200),
        chunk(content="Hello"),
        cancelled(stage),
        cancelled(stage),
        Says(finish(), counted(100, 50), DONE_MARK, END),
        row("cancelled"),
        chunk(finish="stop"),
        chunk(),
        DONE,
        ENDED,
        cancelled(stage, expect=False),
    )
    await stage.play(
        ask("lab/solo"),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, text("Hello"), finish()),
        begun(200),
        chunk(content="Hello"),
        chunk(finish="stop"),
        cancelled(stage, expect=False),
        Says(counted(100, 1), DONE_MARK, END),
        row("done", cancelled=False),
        chunk(),
        DONE,
        ENDED,
    )


async def test_a_caller_who_hangs_up_after_the_cancelling_is_told_nothing_more(stage: Stage) -> None:
    await stage.play(
        ask("lab/billed"),
        row("intent"),
        asked("beta"),
        Says(SENT, SSE, text("Hello")),
        begun(200),
        chunk(content="Hello"),
        cancelled(stage),
        Leaves(),
        Says(finish(), counted(100, 50), DONE_MARK, END),
        row("cancelled", usage_source="drained"),
    )


async def test_a_slow_caller_does_not_keep_the_rest_from_being_read(stage: Stage) -> None:
    steps: list[Any] = [
        ask("lab/billed"),
        row("intent"),
        asked("beta"),
        Says(SENT, SSE, text("Hello")),
        begun(200),
        chunk(content="Hello"),
        Fills(),
        paused("beta"),
        cancelled(stage),
        resumed("beta"),
        Says(finish(), counted(100, 50), DONE_MARK, END),
        row("cancelled", usage_source="drained"),
        chunk(finish="stop"),
        chunk(),
        DONE,
        ENDED,
    ]
    await stage.play(*steps)
