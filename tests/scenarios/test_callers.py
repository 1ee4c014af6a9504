"""Callers who leave, and callers who read slowly."""

from __future__ import annotations

import pytest

from routebook.core.errors import UpstreamLost
from routebook.testing.playbook import (
    COMMENT,
    DONE,
    ENDED,
    AtOnce,
    Drains,
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
from tests.support import (
    DONE_MARK,
    END,
    JSON,
    ROLE_ONLY,
    SENT,
    SSE,
    Stage,
    answer,
    ask,
    counted,
    finish,
    refused,
    text,
)

pytestmark = pytest.mark.anyio

NOTHING = {"total_cost": "0", "cancelled": True, "finish_reason": None, "native_finish_reason": None}


async def test_who_leaves_before_dispatch_costs_nothing_and_is_on_the_record(stage: Stage) -> None:
    await stage.play(
        AtOnce(ask("lab/solo"), Leaves()),
        row("intent"),
        row("cancelled", **NOTHING, usage_source="none", provider_responses=None),
    )
    assert stage.transport.requests == []


async def test_who_leaves_while_connecting_costs_nothing(stage: Stage) -> None:
    await stage.play(
        ask("lab/billed"),
        row("intent"),
        asked("beta"),
        Leaves(),
        closed("beta"),
        row("cancelled", **NOTHING, usage_source="none"),
    )


async def test_who_leaves_before_the_first_token_is_not_charged(stage: Stage) -> None:
    await stage.play(
        ask("lab/large", bytes_long=3200),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, ROLE_ONLY),
        Leaves(),
        closed("acme"),
        row("cancelled", **NOTHING, insured=True, native_tokens_prompt=800, native_tokens_completion=0),
    )


async def test_who_leaves_mid_stream_pays_for_what_was_made_where_closing_stops_the_bill(stage: Stage) -> None:
    """Worked example E of the generation record."""
    await stage.play(
        ask("lab/solo", bytes_long=3200),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, *[text("word")] * 37),
        begun(200),
        *[chunk(content="word")] * 37,
        Leaves(),
        closed("acme"),
        row(
            "cancelled",
            cancelled=True,
            streamed=True,
            finish_reason=None,
            native_tokens_prompt=800,
            native_tokens_completion=37,
            usage_source="estimated",
            total_cost="0.002955",
            provider_name="Acme",
            delivered={"frames": 37, "bytes": 148},
            error=None,
        ),
    )


async def test_who_leaves_mid_stream_pays_for_all_of_it_where_closing_does_not_stop_the_bill(stage: Stage) -> None:
    """Worked example F of the generation record."""
    await stage.play(
        ask("lab/billed"),
        row("intent"),
        asked("beta"),
        Says(SENT, SSE, text("word")),
        begun(200),
        chunk(content="word"),
        Leaves(),
        Says(text("word"), text("word")),
        Elapse(1_100),
        row("progress"),
        Says(finish("stop"), counted(800, 512), DONE_MARK, END),
        row(
            "cancelled",
            cancelled=True,
            finish_reason=None,
            native_finish_reason="stop",
            native_tokens_completion=512,
            usage_source="drained",
            total_cost="0.01008",
            insured=False,
            delivered={"frames": 1, "bytes": 4},
        ),
    )


async def test_what_is_read_on_for_a_caller_who_left_early_was_not_delivered(stage: Stage) -> None:
    await stage.play(
        ask("lab/billed"),
        row("intent"),
        asked("beta"),
        Says(SENT, SSE, ROLE_ONLY),
        Leaves(),
        Says(text("word"), finish("stop"), counted(800, 512), DONE_MARK, END),
        row("cancelled", usage_source="drained", total_cost="0.01008", delivered={"frames": 0, "bytes": 0}),
    )


async def test_reading_on_for_a_caller_who_left_has_an_end(stage: Stage) -> None:
    await stage.play(
        ask("lab/billed", bytes_long=400),
        row("intent"),
        asked("beta"),
        Says(SENT, SSE, text("word")),
        begun(200),
        chunk(content="word"),
        Leaves(),
        Elapse(30_000),
        row("progress"),
        Says(text("word")),
        Elapse(31_000),
        closed("beta"),
        row("progress"),
        row("cancelled", cancelled=True, usage_source="estimated", native_tokens_completion=2, total_cost="0.00033"),
    )


async def test_a_whole_answer_is_paid_for_though_its_caller_left(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo", stream=False),
        row("intent"),
        asked("acme"),
        Says(SENT, JSON),
        Leaves(),
        Says(answer("Hello", 800, 512), END),
        row("cancelled", cancelled=True, streamed=False, native_tokens_completion=512, total_cost="0.01008"),
    )


async def test_who_leaves_between_two_tries_is_not_tried_for_again(stage: Stage) -> None:
    await stage.play(
        ask("lab/billed", models=["lab/solo"], stream=False),
        row("intent"),
        asked("beta"),
        Says(SENT),
        Leaves(),
        Says(*refused(500)[1:]),
        row("cancelled", **NOTHING, provider_name="Beta"),
    )
    assert len(stage.transport.requests) == 1


async def test_who_leaves_in_the_tick_of_the_first_token_gets_none_of_it(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo", bytes_long=400),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE),
        AtOnce(Says(text("word")), Leaves()),
        closed("acme"),
        row("cancelled", cancelled=True, native_tokens_completion=0, total_cost="0"),
    )


async def test_who_leaves_after_the_finish_is_not_cancelled(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo"),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, text("Hi"), finish()),
        begun(200),
        chunk(content="Hi"),
        chunk(finish="stop"),
        Leaves(),
        Says(counted(10, 2), DONE_MARK, END),
        row("done", cancelled=False, finish_reason="stop", usage_source="provider", total_cost="0.00006"),
    )


async def test_who_leaves_with_the_whole_answer_in_hand_is_not_cancelled(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo", stream=False),
        row("intent"),
        asked("acme"),
        Says(SENT, JSON, answer("Hi", 10, 2), END),
        row("done"),
        begun(200),
        body(),
        ENDED,
        Leaves(),
    )
    assert stage.record["cancelled"] is False


async def test_a_slow_caller_pauses_the_provider_and_is_given_the_rest_later(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo"),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, text("one")),
        begun(200),
        chunk(content="one"),
        Fills(),
        paused("acme"),
        Says(text("two"), finish(), counted(10, 2), END),
        Drains(),
        resumed("acme"),
        chunk(content="two"),
        chunk(finish="stop"),
        row("done", usage_source="provider", native_tokens_completion=2),
        chunk(completion_tokens=2),
        DONE,
        ENDED,
    )


async def test_a_slow_caller_is_not_the_providers_silence(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo"),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, text("one")),
        begun(200),
        chunk(content="one"),
        Elapse(30_000),
        COMMENT,
        row("progress"),
        Fills(),
        paused("acme"),
        Elapse(40_000),
        Drains(),
        resumed("acme"),
        Elapse(30_000),
        COMMENT,
        Says(finish(), counted(10, 2), END),
        chunk(finish="stop"),
        row("done"),
        chunk(),
        DONE,
        ENDED,
    )


async def test_a_slow_caller_loses_no_usage_that_waits_behind_the_finish(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo"),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, text("one"), finish()),
        begun(200),
        chunk(content="one"),
        chunk(finish="stop"),
        Fills(),
        paused("acme"),
        Says(counted(10, 2), END),
        Elapse(20_000),
        row("progress"),
        Drains(),
        resumed("acme"),
        row("done", usage_source="provider", native_tokens_prompt=10),
        chunk(completion_tokens=2),
        DONE,
        ENDED,
    )


async def test_a_slow_caller_who_leaves_after_the_finish_loses_no_usage(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo"),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, text("one"), finish()),
        begun(200),
        chunk(content="one"),
        chunk(finish="stop"),
        Fills(),
        paused("acme"),
        Says(counted(10, 2), END),
        Leaves(),
        resumed("acme"),
        row("done", usage_source="provider", native_tokens_prompt=10),
    )


async def test_a_caller_who_reads_nothing_for_a_minute_has_gone(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo", bytes_long=400),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, text("word")),
        begun(200),
        chunk(content="word"),
        Fills(),
        paused("acme"),
        Elapse(61_000),
        resumed("acme"),
        closed("acme"),
        row("progress"),
        row("cancelled", cancelled=True, total_cost="0.000315"),
        ENDED,
    )


async def test_a_slow_caller_who_left_is_read_on_for_at_full_speed(stage: Stage) -> None:
    await stage.play(
        ask("lab/billed"),
        row("intent"),
        asked("beta"),
        Says(SENT, SSE, text("one")),
        begun(200),
        chunk(content="one"),
        Fills(),
        paused("beta"),
        Leaves(),
        resumed("beta"),
        Says(finish(), counted(10, 2), END),
        row("cancelled", cancelled=True, usage_source="drained", total_cost="0.00006"),
    )


async def test_who_leaves_and_then_the_provider_fails_is_cancelled_not_an_error(stage: Stage) -> None:
    await stage.play(
        ask("lab/billed", bytes_long=400),
        row("intent"),
        asked("beta"),
        Says(SENT, SSE, text("word")),
        begun(200),
        chunk(content="word"),
        Leaves(),
        Says(Lost(UpstreamLost("The connection was reset; try again."))),
        row("cancelled", cancelled=True, finish_reason=None, usage_source="estimated", total_cost="0.000315"),
    )
