"""Providers that misbehave after they were believed."""

from __future__ import annotations

import pytest

from routebook.core.errors import UpstreamGarbage, UpstreamLost
from routebook.testing.playbook import (
    COMMENT,
    DONE,
    ENDED,
    Elapse,
    Left,
    Says,
    asked,
    begun,
    body,
    chunk,
    closed,
    row,
)
from routebook.testing.upstream import Data, Lost, Step
from tests.support import (
    END,
    JSON,
    SENT,
    SSE,
    Stage,
    answer,
    ask,
    chunk_of,
    counted,
    counts,
    failed,
    finish,
    text,
)

pytestmark = pytest.mark.anyio

BEGUN = (ask("lab/solo", bytes_long=400), row("intent"), asked("acme"), Says(SENT, SSE, text("word")))
SEEN = (begun(200), chunk(content="word"))


def broken(error: int, error_type: str) -> tuple[Left, ...]:
    """How a stream ends that broke off after one word: told, insured, and ended."""
    return (
        chunk(error=error, error_type=error_type, finish="error"),
        row(
            "error",
            finish_reason="error",
            total_cost="0",
            insured=True,
            native_tokens_prompt=100,
            native_tokens_completion=1,
            provider_name="Acme",
        ),
        chunk(prompt_tokens=100, completion_tokens=1, cost=0),
        DONE,
        ENDED,
    )


@pytest.mark.parametrize(
    ("steps", "error", "error_type", "shut"),
    [
        ((END,), 502, "provider_unavailable", False),
        ((Lost(UpstreamLost("The connection was reset; try again.")),), 502, "provider_unavailable", False),
        ((Data(b"data: {not json}\n\n"),), 502, "provider_unavailable", True),
        ((Data(b'data: "text"\n\n'),), 502, "provider_unavailable", True),
        ((Data(b"data: [DONE]\n\n"),), 502, "provider_unavailable", True),
        ((failed("slow down", code="rate_limit_exceeded"),), 429, "rate_limit_exceeded", True),
        ((failed("bad", type="authentication_error"),), 502, "provider_unavailable", True),
        ((Lost(UpstreamGarbage("The provider's framing is broken.")),), 502, "provider_unavailable", False),
    ],
    ids=["eof", "reset", "no json", "no object", "done without finish", "limited", "credential", "framing"],
)
async def test_a_stream_that_breaks_off_ends_with_an_error_and_costs_nothing(
    stage: Stage, steps: tuple[Step, ...], error: int, error_type: str, shut: bool
) -> None:
    await stage.play(*BEGUN, *SEEN, Says(*steps), *((closed("acme"),) if shut else ()), *broken(error, error_type))


async def test_a_provider_that_falls_silent_mid_stream_is_given_up(stage: Stage) -> None:
    await stage.play(
        *BEGUN,
        *SEEN,
        Elapse(59_000),
        COMMENT,
        row("progress"),
        Elapse(2_000),
        closed("acme"),
        *broken(504, "timeout"),
    )


async def test_every_byte_of_a_provider_is_a_sign_of_life(stage: Stage) -> None:
    await stage.play(
        *BEGUN,
        *SEEN,
        Elapse(50_000),
        COMMENT,
        row("progress"),
        Says(Data(b": ping\n\n")),
        Elapse(50_000),
        COMMENT,
        Says(finish(), counted(100, 1), END),
        chunk(finish="stop"),
        row("done"),
        chunk(),
        DONE,
        ENDED,
    )


async def test_a_provider_that_has_finished_but_never_ends_is_not_waited_for(stage: Stage) -> None:
    await stage.play(
        *BEGUN,
        *SEEN,
        Says(finish("stop"), counted(100, 1)),
        chunk(finish="stop"),
        Elapse(4_000),
        row("progress"),
        Elapse(2_000),
        closed("acme"),
        row("done", finish_reason="stop", usage_source="provider", native_tokens_prompt=100),
        chunk(),
        DONE,
        ENDED,
    )


async def test_a_connection_that_breaks_after_the_finish_is_a_good_end(stage: Stage) -> None:
    await stage.play(
        *BEGUN,
        *SEEN,
        Says(finish("stop"), counted(100, 1), Lost(UpstreamLost("The connection was reset; try again."))),
        chunk(finish="stop"),
        row("done", usage_source="provider"),
        chunk(),
        DONE,
        ENDED,
    )


async def test_a_connection_that_breaks_with_one_of_two_choices_unfinished_is_an_error(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo", n=2),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, text("Hi"), chunk_of({"index": 1, "delta": {"content": "Ho"}}), finish("stop")),
        begun(200),
        chunk(content="Hi"),
        chunk(content="Ho"),
        chunk(finish="stop"),
        Says(Lost(UpstreamLost("The connection was reset; try again."))),
        chunk(error=502, finish="error"),
        row("error", finish_reason="error", total_cost="0"),
        chunk(),
        DONE,
        ENDED,
    )


async def test_a_finish_of_error_is_insured_and_is_the_answer(stage: Stage) -> None:
    await stage.play(
        *BEGUN,
        *SEEN,
        Says(finish("error"), counted(100, 1), END),
        chunk(finish="error"),
        row("done", finish_reason="error", insured=True, total_cost="0", native_tokens_completion=1),
        chunk(cost=0),
        DONE,
        ENDED,
    )


async def test_an_error_event_may_bring_the_usage_that_the_record_keeps(stage: Stage) -> None:
    await stage.play(
        *BEGUN,
        *SEEN,
        Says(counted(120, 7), failed("the engine fell over")),
        closed("acme"),
        chunk(error=503, finish="error"),
        row("error", native_tokens_prompt=120, native_tokens_completion=7, total_cost="0", insured=True),
        chunk(prompt_tokens=120, completion_tokens=7),
        DONE,
        ENDED,
    )


async def test_a_page_instead_of_an_answer_is_a_502_that_says_what_to_check(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo", stream=False),
        row("intent"),
        asked("acme"),
        Says(SENT, JSON, Data(b"<html><body>It works!</body></html>")),
        closed("acme"),
        row("error", total_cost="0", finish_reason="error"),
        begun(502),
        body(error=502, error_type="provider_unavailable"),
        ENDED,
    )
    assert "base_url" in stage.record["routebook"]["error"]["message"]
    assert "It works" not in stage.playbook.caller.received.decode()


@pytest.mark.parametrize("count", [10**30, -5, "many", 1e30, 10.5, True], ids=str)
async def test_a_count_that_cannot_be_is_not_believed(stage: Stage, count: object) -> None:
    """A number that no model can produce must neither break the book nor be charged."""
    usage = {**counts(10, 2), "completion_tokens": count, "total_tokens": 12}
    await stage.play(
        ask("lab/solo", bytes_long=400),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, text("word"), finish(), chunk_of(usage=usage), END),
        begun(200),
        chunk(content="word"),
        chunk(finish="stop"),
        row(
            "done", native_tokens_prompt=10, native_tokens_completion=1, usage_source="estimated", total_cost="0.000045"
        ),
        chunk(prompt_tokens=10, completion_tokens=1, cost="0.000045"),
        DONE,
        ENDED,
    )


async def test_details_that_contradict_the_whole_are_cut_to_it_and_said(stage: Stage) -> None:
    more = {"prompt_tokens_details": {"cached_tokens": 50}, "completion_tokens_details": {"reasoning_tokens": 9}}
    await stage.play(
        ask("lab/solo"),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, text("word"), finish(), counted(10, 2, **more), END),
        begun(200),
        chunk(content="word"),
        chunk(finish="stop"),
        row("done", native_tokens_cached=50, native_tokens_prompt=10, total_cost="0.000033"),
        chunk(),
        DONE,
        ENDED,
    )
    assert "contradict" in stage.record["routebook"]["lines"][-1]["note"]


async def test_an_empty_answer_without_a_finish_reason_is_insured(stage: Stage) -> None:
    nothing = Data(
        b'{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":""}}],'
        b'"usage":{"prompt_tokens":10,"completion_tokens":0}}'
    )
    await stage.play(
        ask("lab/solo", stream=False),
        row("intent"),
        asked("acme"),
        Says(SENT, JSON, nothing, END),
        row("done", native_tokens_completion=0),
        begun(200),
        body(),
        ENDED,
    )


async def test_the_answer_of_one_call_never_mixes_with_another(stage: Stage) -> None:
    await stage.play(ask("lab/solo", stream=False), row("intent"), asked("acme"))
    await stage.play(ask("lab/billed", stream=False), row("intent"), asked("beta"))
    first, second = stage.transport.lines
    callers = stage.playbook.callers
    second.play(SENT, JSON, answer("for the second", 20, 2), END)
    await stage.playbook.rest()
    first.play(SENT, JSON, answer("for the first", 10, 1), END)
    await stage.playbook.rest()
    assert b"for the first" in callers[0].received
    assert b"for the second" in callers[1].received
    assert callers[0].headers["x-generation-id"] != callers[1].headers["x-generation-id"]
