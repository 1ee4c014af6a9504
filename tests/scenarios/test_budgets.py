"""A call that may cost more than its key's budget covers: told to say less, stopped with a receipt, or refused."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from routebook.core.catalog import Accounting
from routebook.core.errors import Unavailable
from routebook.core.money import Prices, PriceSheet
from routebook.corridor.reclaim import Reclaimer
from routebook.ledger.people import hash_of
from routebook.testing.playbook import DONE, ENDED, Do, Leaves, Says, asked, begun, body, chunk, closed, row
from routebook.testing.upstream import ScriptedLine
from tests.support import (
    DONE_MARK,
    END,
    JSON,
    LIMITED_KEY,
    OPEN_KEY,
    SENT,
    SSE,
    Stage,
    answer,
    ask,
    catalog,
    counted,
    finish,
    model,
    offer,
    raise_stage,
    text,
)

pytestmark = pytest.mark.anyio

D = Decimal
LIMIT = D("0.05")
CHEAP = PriceSheet(Prices(prompt=D(0), completion=D("0.000005")))
"""10,000 completion tokens for the limit of the key, and a prompt that costs nothing"""
MODELS = catalog(
    model("lab/cheap", offer("lab/cheap", "acme", CHEAP)),
    model("lab/cheap-billed", offer("lab/cheap-billed", "beta", CHEAP)),
    model("lab/bounded", offer("lab/bounded", "acme", CHEAP, max_completion_tokens=6000)),
    model(
        "lab/thinking",
        offer("lab/thinking", "acme", CHEAP, supported_parameters=frozenset({"reasoning", "max_tokens"})),
    ),
)


@pytest.fixture
async def budgeted(tmp_path: Path) -> Any:
    stage = await raise_stage(tmp_path, models=MODELS)
    try:
        yield stage
        stage.check()
    finally:
        await stage.close()


def held(stage: Stage) -> Decimal:
    return stage.app.book.held(hash_of(LIMITED_KEY))


def words(size: int) -> Any:
    """One frame with so many bytes."""
    return text("x" * size)


GOOD_END = (finish(), counted(10, 100), DONE_MARK, END)


async def test_a_call_that_cannot_be_stopped_is_told_to_say_what_the_budget_covers(budgeted: Stage) -> None:
    await budgeted.play(
        ask("lab/cheap-billed", key=LIMITED_KEY, stream=False, max_tokens=20_000),
        row("intent", hold="0.05"),
        asked("beta", max_tokens=10_000),
        Says(SENT, JSON, answer("Hi", 10, 10_000, "length"), END),
        row("done", total_cost="0.05", over_hold=False, finish_reason="length"),
        begun(200),
        body(finish="length"),
        ENDED,
    )
    detail = "clamped to 10000: 20000 were asked for, the key's limit covers no more"
    assert budgeted.record["routebook"]["losses"] == [{"parameter": "max_tokens", "detail": detail, "mapped": True}]


async def test_where_nothing_bounds_the_answer_the_call_of_a_budgeted_key_is_bounded(budgeted: Stage) -> None:
    call = ask("lab/cheap-billed", key=LIMITED_KEY, stream=False)
    await budgeted.play(call, row("intent", hold="0.02048"), asked("beta", max_tokens=4096))
    await budgeted.play(
        Says(SENT, JSON, answer("Hi", 10, 5), END), row("done", total_cost="0.000025"), begun(200), body(), ENDED
    )
    assert budgeted.record["routebook"]["losses"] == [
        {"parameter": "max_tokens", "detail": "clamped to 4096: the key has a limit", "mapped": True}
    ]
    await budgeted.play(
        ask("lab/cheap-billed", key=OPEN_KEY, stream=False),
        row("intent"),
        asked("beta", max_tokens=None),
        Says(SENT, JSON, answer("Hi", 10, 5), END),
        row("done", losses=[]),
        begun(200),
        body(),
        ENDED,
    )


async def test_of_several_choices_each_gets_its_part(budgeted: Stage) -> None:
    await budgeted.play(
        ask("lab/cheap-billed", key=LIMITED_KEY, stream=False, max_tokens=6_000, n=3),
        row("intent", hold="0.05"),
        asked("beta", max_tokens=3_333),
        Says(SENT, JSON, answer("Hi", 10, 5), END),
        row("done"),
        begun(200),
        body(),
        ENDED,
    )


async def test_a_clamp_that_would_leave_too_little_is_a_refusal_that_says_so(budgeted: Stage) -> None:
    await budgeted.play(
        ask("lab/cheap-billed", key=LIMITED_KEY, stream=False, max_tokens=9_800),
        row("intent", hold="0.049"),
        asked("beta", max_tokens=9_800),
    )
    # 200 tokens are left: enough for who asks for no more, too little for who wants a whole answer.
    await budgeted.play(
        ask("lab/cheap-billed", key=LIMITED_KEY, stream=False, max_tokens=300),
        begun(402),
        body(error=402, error_type="payment_required"),
        ENDED,
    )
    await budgeted.play(
        ask("lab/cheap-billed", key=LIMITED_KEY, stream=False, max_tokens=200),
        row("intent", hold="0.001"),
        asked("beta", max_tokens=200),
        Says(SENT, JSON, answer("Hi", 10, 200), END),
        row("done"),
        begun(200),
        body(),
        ENDED,
    )
    first = budgeted.transport.lines[0]
    await budgeted.play(
        Do(lambda: first.play(SENT, JSON, answer("Hi", 10, 1), END)), row("done"), begun(200), body(), ENDED
    )


async def test_a_stream_that_can_be_stopped_holds_a_first_piece_and_more_as_it_goes_on(budgeted: Stage) -> None:
    await budgeted.play(
        ask("lab/cheap", key=LIMITED_KEY),
        row("intent", hold="0.0208"),
        asked("acme", max_tokens=None),
        Says(SENT, SSE, words(3000)),
        begun(200),
        chunk(),
    )
    assert held(budgeted) == D("0.0208")
    await budgeted.play(Says(words(100)), chunk(), row("progress", hold="0.04128"))
    assert held(budgeted) == D("0.04128")
    await budgeted.play(
        Says(*GOOD_END),
        chunk(finish="stop"),
        row("done", hold="0.04128", total_cost="0.0005", over_hold=False),
        chunk(cost="0.0005"),
        DONE,
        ENDED,
    )


async def test_a_stream_that_comes_to_the_end_of_the_budget_is_stopped_with_a_receipt(budgeted: Stage) -> None:
    await budgeted.play(
        ask("lab/cheap", key=LIMITED_KEY),
        row("intent", hold="0.0208"),
        asked("acme"),
        Says(SENT, SSE, words(3500)),
        begun(200),
        chunk(),
        row("progress", hold="0.04128"),
    )
    # 8,192 bytes are covered. The next piece does not fit the limit any more: 0.04128 + 0.02048 > 0.05.
    await budgeted.play(Says(words(4000)), chunk())
    await budgeted.play(
        Says(words(800)),
        chunk(),
        closed("acme"),
        row("done", finish_reason="length", usage_source="estimated", total_cost="0.010375", over_hold=False),
        chunk(finish="length"),
        chunk(cost="0.010375", completion_tokens=2075),
        DONE,
        ENDED,
    )
    assert budgeted.record["cancelled"] is False
    assert budgeted.record["routebook"]["completion"] == {"delivered": 2075, "generated": 2075, "billed": 2075}
    assert budgeted.record["routebook"]["losses"] == [
        {"parameter": "max_tokens", "detail": "stopped: the key's limit covers no more"}
    ]
    assert budgeted.record["routebook"]["attempts"][0]["error"] == "Halted"


async def test_money_that_another_call_gives_back_in_time_lets_the_stream_go_on(budgeted: Stage) -> None:
    await budgeted.play(
        ask("lab/cheap-billed", key=LIMITED_KEY, stream=False, max_tokens=5000),
        row("intent", hold="0.025"),
        asked("beta"),
    )
    other: ScriptedLine = budgeted.transport.lines[0]
    caller = budgeted.playbook.caller
    await budgeted.play(
        ask("lab/cheap", key=LIMITED_KEY),
        row("intent", hold="0.0208"),
        asked("acme"),
        Says(SENT, SSE, words(3500)),
        begun(200),
        chunk(),
    )
    assert held(budgeted) == D("0.0458"), "the purse is too small to hold more, and nobody has any"
    await budgeted.play(
        Do(lambda: other.play(SENT, JSON, answer("Hi", 10, 10), END)), row("done"), begun(200), body(), ENDED
    )
    assert caller.ended
    await budgeted.play(Says(words(700)), chunk(), row("progress", hold="0.0418"))
    await budgeted.play(Says(*GOOD_END), chunk(finish="stop"), row("done", hold="0.0418"), chunk(), DONE, ENDED)


async def test_a_stream_holds_no_more_than_its_provider_may_say(budgeted: Stage) -> None:
    await budgeted.play(
        ask("lab/bounded", key=LIMITED_KEY),
        row("intent", hold="0.0208"),
        asked("acme", max_tokens=None),
        Says(SENT, SSE, words(3500)),
        begun(200),
        chunk(),
        row("progress", hold="0.03032"),
    )
    # 6,000 tokens are all there can be: any number of bytes may come now.
    await budgeted.play(
        Says(words(20_000), finish(), counted(10, 6000), DONE_MARK, END),
        chunk(),
        chunk(finish="stop"),
        row("done", total_cost="0.03", over_hold=False),
        chunk(),
        DONE,
        ENDED,
    )


@pytest.mark.parametrize(
    "more",
    [
        {"model": "lab/cheap:thinking"},
        {"model": "lab/thinking"},
        {"reasoning": {"effort": "high"}},
        {"modalities": ["text", "image"]},
    ],
)
async def test_who_may_bill_what_nobody_sees_is_clamped_and_not_stopped(budgeted: Stage, more: dict[str, Any]) -> None:
    await budgeted.play(
        ask(key=LIMITED_KEY, max_tokens=20_000, **{"model": "lab/cheap", **more}),
        row("intent", hold="0.05"),
        asked("acme", max_tokens=10_000),
        Leaves(),
        closed("acme"),
        row("cancelled"),
    )


async def test_an_estimate_after_a_crash_may_reach_what_the_stream_held_at_last(tmp_path: Path) -> None:
    stage = await raise_stage(tmp_path, models=MODELS)
    await stage.play(
        ask("lab/cheap", key=LIMITED_KEY),
        row("intent", hold="0.0208"),
        asked("acme"),
        Says(SENT, SSE, words(3500)),
        begun(200),
        chunk(),
        row("progress", hold="0.04128"),
    )
    assert stage.record["routebook"]["hold"] == "0.04128"
    await stage.play(Leaves(), closed("acme"), row("cancelled", hold="0.04128"))
    stage.check()
    await stage.close()


# --- prices that nobody knows


async def test_an_unpriced_model_is_refused_to_a_budgeted_key_or_held_at_the_ceiling(tmp_path: Path) -> None:
    call = ask("lab/unpriced", key=LIMITED_KEY, stream=False)
    stage = await raise_stage(tmp_path / "refused")
    await stage.play(call, begun(402), body(error=402, error_type="payment_required", message=...), ENDED)
    await stage.close()
    stage = await raise_stage(tmp_path / "ceiling", accounting=Accounting(unpriced_ceiling=D("0.02")))
    try:
        for _ in range(2):
            await stage.play(call, row("intent", hold="0.02"), asked("acme", max_tokens=4096))
        await stage.play(call, begun(402), body(error=402), ENDED)
        for line in stage.transport.lines:
            end = partial(line.play, SENT, JSON, answer("Hi", 10, 5), END)
            await stage.play(Do(end), row("done", unpriced=True), begun(200), body(), ENDED)
        stage.check()
    finally:
        await stage.close()


# --- when the store cannot say


async def test_a_budgeted_call_that_its_lease_does_not_cover_is_503_while_the_store_is_away(budgeted: Stage) -> None:
    async def away(*_: object) -> Any:
        raise Unavailable("The store cannot be used now; try again.", retry_after=1)

    budgeted.store.lend = away  # type: ignore[method-assign, assignment]
    await budgeted.play(
        ask("lab/cheap", key=LIMITED_KEY, max_tokens=10),
        begun(503, retry_after="1"),
        body(error=503, error_type="provider_overloaded"),
        ENDED,
    )
    await budgeted.play(
        ask("lab/cheap", key=OPEN_KEY, stream=False, max_tokens=10),
        row("intent"),
        asked("acme"),
        Says(SENT, JSON, answer("Hi", 10, 5), END),
        row("done"),
        begun(200),
        body(),
        ENDED,
    )


# --- a hold that outlives its call


async def test_a_hold_whose_call_is_gone_is_found_and_released_by_its_id(
    budgeted: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """The mistake is made here: an entry is lost without being settled."""
    reclaimer = Reclaimer(budgeted.app)
    await budgeted.play(
        ask("lab/cheap-billed", key=LIMITED_KEY, stream=False, max_tokens=9_900), row("intent"), asked("beta")
    )
    assert reclaimer.look(budgeted.clock.now_ns()) == 0, "it runs"
    (entry,) = budgeted.app.entries
    budgeted.app.entries.clear()
    assert reclaimer.look(budgeted.clock.now_ns()) == 0, "it was looked a moment ago"
    budgeted.clock.advance(10_000)
    assert reclaimer.look(budgeted.clock.now_ns()) == 1
    assert f"generation {entry.intent.id} is gone and left $0.0495 of key" in caplog.text
    assert held(budgeted) == 0
    assert budgeted.app.book.holds_open == 0
    # What was lost is settled after all: it costs what it costs, and is not given back twice.
    await budgeted.play(Says(SENT, JSON, answer("Hi", 10, 5), END), row("done"), begun(200), body(), ENDED)


async def test_a_hold_that_never_got_a_call_is_released_after_a_while(budgeted: Stage) -> None:
    key = budgeted.app.people.by_hash(hash_of(LIMITED_KEY))
    assert key is not None
    await budgeted.app.leases.hold(key, D("0.05"), budgeted.clock.now_ns())
    reclaimer = Reclaimer(budgeted.app)
    for _ in range(30):
        budgeted.clock.advance(10_000)
        assert reclaimer.look(budgeted.clock.now_ns()) == 0
    budgeted.clock.advance(10_000)
    assert reclaimer.look(budgeted.clock.now_ns()) == 1
    assert held(budgeted) == 0


def test_a_plan_of_endpoints_is_as_dear_as_its_dearest() -> None:
    from routebook.metering.allowance import Slope, cost, tokens

    slopes = [Slope(D("0.1"), D("0.001")), Slope(D("0.2"), D("0.0001")), Slope(D("0.05"), D(0))]
    assert cost(slopes, 0) == D("0.2")
    assert cost(slopes, 1000) == D("1.1")
    for money in (D("0.25"), D("0.4"), D("1.1"), D("7")):
        most = tokens(slopes, money)
        assert most is not None
        assert cost(slopes, most) <= money < cost(slopes, most + 1)
    assert tokens(slopes, D("0.15")) == -1
    assert tokens([Slope(D("0.05"), D(0))], D(1)) is None
