"""The worked examples of the generation record, section 14. E and F stand in test_callers, C is priced here alone."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from routebook.core.catalog import Accounting
from routebook.core.errors import UpstreamLost
from routebook.core.usage import Usage
from routebook.metering.pricing import price
from routebook.testing.playbook import DONE, ENDED, Elapse, Says, asked, begun, body, chunk, closed, row
from routebook.testing.upstream import Data, Head, Lost, Wait
from routebook.wire import codec
from tests.support import (
    DONE_MARK,
    END,
    JSON,
    SENT,
    SHEET,
    SSE,
    Stage,
    answer,
    ask,
    counted,
    failed,
    finish,
    refused,
    text,
)

pytestmark = pytest.mark.anyio


def said_claude(**usage: int) -> Data:
    """A whole answer in the Messages dialect."""
    return Data(
        codec.encode(
            {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "model": "cached-2026",
                "content": [{"type": "text", "text": "Hello"}],
                "stop_reason": "end_turn",
                "usage": usage,
            }
        )
    )


async def whole(stage: Stage, model: str, provider: str, said: Data, **facts: Any) -> None:
    """One unary call whose record has these facts and whose caller is told the same money."""
    await stage.play(
        ask(model, stream=False, max_tokens=512),
        row("intent"),
        asked(provider),
        Says(SENT, JSON, said, END),
        row("done", **facts),
        begun(200),
        body(cost=facts["total_cost"]),
        ENDED,
    )


async def test_a_cached_reads_and_a_small_write(stage: Stage) -> None:
    await whole(
        stage,
        "lab/cached",
        "claude",
        said_claude(
            input_tokens=1500, cache_read_input_tokens=10_000, cache_creation_input_tokens=500, output_tokens=400
        ),
        native_tokens_prompt=12_000,
        native_tokens_cached=10_000,
        native_tokens_completion=400,
        total_cost="0.015375",
        usage="0.015375",
        upstream_inference_cost="0.015375",
        cache_discount="0.026625",
    )


async def test_b_a_first_write_costs_extra_and_the_discount_says_so(stage: Stage) -> None:
    await whole(
        stage,
        "lab/cached",
        "claude",
        said_claude(
            input_tokens=2000, cache_read_input_tokens=0, cache_creation_input_tokens=10_000, output_tokens=100
        ),
        native_tokens_prompt=12_000,
        native_tokens_cached=0,
        total_cost="0.045",
        cache_discount="-0.0075",
    )


def test_c_a_callers_own_key_is_charged_the_fee_and_shown_the_list_price() -> None:
    usage = Usage(prompt=12_000, completion=400, cached=10_000, cache_write=500)
    charge = price(usage, SHEET, Accounting(byok_fee=Decimal("0.05")), is_byok=True)
    assert charge.upstream == Decimal("0.015375")
    assert charge.total == Decimal("0.00076875")
    free = price(usage, SHEET, Accounting(), is_byok=True)
    assert (free.total, free.upstream) == (Decimal(0), Decimal("0.015375"))


async def test_d_the_times_of_a_fallback_are_the_winners_and_the_latency_spans_all(stage: Stage) -> None:
    """The example's 15 ms of our own are spent before the first dispatch here, where frozen time can show them."""
    await stage.play(
        ask("lab/large"),
        row("intent"),
        asked("acme"),
        Says(Wait(15), SENT, Wait(120), *refused(429)[1:]),
        asked("beta"),
        Says(SENT, Wait(900), *refused(503)[1:]),
        asked("gamma"),
        Says(SENT, SSE, Wait(460), text("Hi"), Wait(1640), finish(), counted(800, 512), DONE_MARK, END),
        begun(200),
        chunk(content="Hi"),
        chunk(finish="stop"),
        row("done", generation_time=2100, latency=3135, provider_name="Gamma", total_cost="0.01008"),
        chunk(cost="0.01008"),
        DONE,
        ENDED,
    )
    assert [item["status"] for item in stage.record["provider_responses"]] == [429, 503, 200]
    assert [item["latency"] for item in stage.record["provider_responses"]][1:] == [900, 460]
    marks = stage.record["routebook"]["marks"]
    assert marks["first_token"] == 120 + 900 + 460 + 15


async def test_g_an_upstream_that_fails_after_fifty_tokens_is_free_and_its_tokens_are_kept(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo"),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, *[text("word")] * 50),
        begun(200),
        *[chunk(content="word")] * 50,
        Says(Lost(UpstreamLost("The connection was reset; try again."))),
        chunk(finish="error", error=502),
        row("error", finish_reason="error", native_tokens_completion=50, total_cost="0", insured=True),
        chunk(completion_tokens=50, cost=0),
        DONE,
        ENDED,
    )
    assert Decimal(stage.record["routebook"]["lines"][-1]["amount"]) < 0


async def test_i_reasoning_without_a_price_of_its_own_is_completion(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo"),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, text("Hi"), finish()),
        begun(200),
        chunk(content="Hi"),
        chunk(finish="stop"),
        Says(counted(100, 900, completion_tokens_details={"reasoning_tokens": 700}), DONE_MARK, END),
        row("done", native_tokens_completion=900, native_tokens_reasoning=700, total_cost="0.0138"),
        chunk(),
        DONE,
        ENDED,
    )
    lines = {line["item"]: line for line in stage.record["routebook"]["lines"]}
    assert lines["reasoning"]["note"] == "no internal_reasoning price: billed as completion"
    assert Decimal(lines["reasoning"]["amount"]) + Decimal(lines["completion"]["amount"]) == 900 * Decimal("0.000015")


@pytest.mark.parametrize(("prompt", "cost"), [(200_000, "0.600015"), (200_001, "1.200036")])
async def test_j_a_long_prompt_costs_more_only_when_it_is_strictly_longer(stage: Stage, prompt: int, cost: str) -> None:
    await whole(stage, "lab/long", "acme", answer("Hi", prompt, 1), total_cost=cost)


async def test_a_call_belongs_to_the_day_it_was_accepted_on(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo", stream=False),
        row("intent"),
        asked("acme"),
        Says(SENT, Head(200)),
        Elapse(500_000),
        Says(answer("Hi", 10, 2), END),
        row("done", created_at="2026-01-02T03:04:05.000000+00:00"),
        begun(200),
        body(),
        ENDED,
    )


async def test_a_price_for_an_image_is_paid_for_pictures_and_not_for_files(stage: Stage) -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    paper = {"type": "file", "file": {"file_data": "https://example.com/a.pdf"}}
    await stage.play(
        ask("lab/seeing", stream=False, messages=[{"role": "user", "content": [picture, paper, picture]}]),
        row("intent", num_media_prompt=3),
        asked("acme"),
        Says(SENT, JSON, answer("Hi", 10, 2), END),
        row("done", num_media_prompt=3, total_cost="0.002"),
        begun(200),
        body(),
        ENDED,
    )


async def test_what_a_try_cost_that_did_not_answer_is_upstream_cost_and_no_charge(stage: Stage) -> None:
    await stage.play(
        ask("lab/large"),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, counted(100, 0), failed()),
        closed("acme"),
        asked("beta"),
        Says(SENT, SSE, text("Hello"), finish(), counted(200, 10), DONE_MARK, END),
        begun(200),
        chunk(content="Hello"),
        chunk(finish="stop"),
        row("done", total_cost="0.00075", upstream_inference_cost="0.00105"),
        chunk(cost="0.00075"),
        DONE,
        ENDED,
    )
    own = stage.record["routebook"]
    assert own["hidden_retry_spend"] == "0.0003"
    lost, answered = own["attempts"]
    assert (lost["total_cost"], lost["upstream_inference_cost"]) == ("0", "0.0003")
    assert (answered["total_cost"], answered["upstream_inference_cost"]) == ("0.00075", "0.00075")
    assert lost["counts"] == {"prompt": 100, "completion": 0}
    assert lost["provider_usage"] == {"prompt_tokens": 100, "completion_tokens": 0, "total_tokens": 100}
    assert [line["item"] for line in lost["lines"]] == ["prompt", "unanswered"]
    assert sum(Decimal(line["amount"]) for line in own["lines"]) == Decimal("0.00075")
    tokens = (stage.record["native_tokens_prompt"], stage.record["native_tokens_completion"])
    assert tokens == (200, 10), "tokens are those of the attempt that answered"
