"""What is learnt of endpoints decides whom the next call asks; and a lone provider that is busy is asked once more."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec.structs import replace

from routebook.core.errors import UpstreamLost
from routebook.core.money import Prices, PriceSheet
from routebook.policy.budget import FLOOR_A_SECOND, WINDOW_SECONDS
from routebook.testing.playbook import DONE, ENDED, Elapse, Leaves, Says, asked, begun, body, chunk, row
from routebook.testing.upstream import Data, Lost
from tests.support import (
    DONE_MARK,
    END,
    JSON,
    SENT,
    SSE,
    Stage,
    answer,
    ask,
    chunk_of,
    counted,
    finish,
    refused,
    text,
)

pytestmark = pytest.mark.anyio

GOOD = (SENT, SSE, text("Hi"), finish(), counted(10, 2), DONE_MARK, END)
SEEN = (begun(200), chunk(content="Hi"), chunk(finish="stop"), row("done"), chunk(), DONE, ENDED)
TOLD_503 = (row("error"), begun(503), body(error=503), ENDED)
UNREACHED = Lost(UpstreamLost("The connection to acme.example was refused; try again.", sent=False))


async def test_a_lone_provider_that_is_busy_is_asked_again_after_a_pause(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo"),
        row("intent"),
        asked("acme"),
        Says(*refused(529, "overloaded")),
        Elapse(300),
        asked("acme"),
        Says(*GOOD),
        *SEEN,
    )
    first, second = stage.record["routebook"]["attempts"]
    assert (first["error"], second["error"]) == ("UpstreamOverloaded", None)


async def test_a_short_pause_that_the_provider_asks_for_is_kept(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo"),
        row("intent"),
        asked("acme"),
        Says(*refused(429, "slow down", {"retry-after": "2"})),
        Elapse(1900),
        Elapse(200),
        asked("acme"),
        Says(*GOOD),
        *SEEN,
    )


async def test_a_long_pause_is_left_to_the_caller(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo"),
        row("intent"),
        asked("acme"),
        Says(*refused(429, "slow down", {"retry-after": "20"})),
        row("error"),
        begun(429, retry_after="20"),
        body(error=429),
        ENDED,
    )


async def test_who_leaves_during_the_pause_is_not_tried_for_again(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo"), row("intent"), asked("acme"), Says(*refused(529, "overloaded")), Leaves(), row("cancelled")
    )


async def test_a_provider_that_keeps_failing_goes_to_the_end_of_the_line_and_is_tried_out_later(stage: Stage) -> None:
    for _ in range(2):
        await stage.play(
            ask("lab/large"), row("intent"), asked("acme"), Says(UNREACHED), asked("beta"), Says(*GOOD), *SEEN
        )
    await stage.play(ask("lab/large"), row("intent"), asked("beta"), Says(*GOOD), *SEEN)
    await stage.play(Elapse(40_000))
    await stage.play(ask("lab/large"), row("intent"), asked("acme"), Says(*GOOD), *SEEN)
    await stage.play(ask("lab/large"), row("intent"), asked("acme"), Says(*GOOD), *SEEN)


async def test_an_explicit_order_overrides_what_was_learnt(stage: Stage) -> None:
    for _ in range(2):
        await stage.play(
            ask("lab/large"), row("intent"), asked("acme"), Says(UNREACHED), asked("beta"), Says(*GOOD), *SEEN
        )
    await stage.play(ask("lab/large", provider={"order": ["acme"]}), row("intent"), asked("acme"), Says(*GOOD), *SEEN)


async def test_without_fallbacks_the_first_providers_error_is_the_answer(stage: Stage) -> None:
    await stage.play(
        ask("lab/large", provider={"allow_fallbacks": False}),
        row("intent"),
        asked("acme"),
        Says(*refused(500, "oops")),
        *TOLD_503,
    )


async def test_when_the_budget_of_retries_is_spent_a_fault_is_told_at_once(stage: Stage) -> None:
    for _ in range(FLOOR_A_SECOND * WINDOW_SECONDS):
        assert stage.app.fleet.budget.retry(stage.app.now_ns())
    await stage.play(ask("lab/large"), row("intent"), asked("acme"), Says(*refused(500, "oops")), *TOLD_503)


async def test_how_tools_are_called_is_remembered_of_the_endpoint(stage: Stage) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    for name, arguments in (("look", '{"x": 1}'), ("look", '{"x": 1'), ("guess", "{}")):
        function = {"name": name, "arguments": arguments}
        called = chunk_of({"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "c", "function": function}]}})
        await stage.play(
            ask("lab/solo", tools=[tool]),
            row("intent"),
            asked("acme"),
            Says(SENT, SSE, called, finish("tool_calls"), counted(10, 5), DONE_MARK, END),
            begun(200),
            chunk(),
            chunk(finish="tool_calls"),
            row("done"),
            chunk(),
            DONE,
            ENDED,
        )
    vitals = stage.app.fleet.health.at(stage.clock.now_ns()).vitals("acme:lab/solo")
    assert vitals is not None
    assert (vitals.tools.ok, vitals.tools.failed) == (1, 2)


async def test_a_conversation_stays_where_its_prompt_is_cached(stage: Stage) -> None:
    cheap = PriceSheet(Prices(prompt=Decimal("2e-6"), completion=Decimal("8e-6"), input_cache_read=Decimal("1e-6")))
    found = stage.app.catalog.models["lab/large"]
    endpoints = tuple(replace(each, pricing=cheap) for each in found.endpoints)
    models = {**stage.app.catalog.models, "lab/large": replace(found, endpoints=endpoints)}
    stage.app.catalog = replace(stage.app.catalog, models=models)
    cached = Data(
        b'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":'
        b'{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,'
        b'"completion_tokens":1,"total_tokens":11,"prompt_tokens_details":{"cached_tokens":8}}}'
    )
    await stage.play(
        ask("lab/large", stream=False), row("intent"), asked("acme"), Says(UNREACHED),
        asked("beta"), Says(SENT, JSON, cached, END), row("done"), begun(200), body(), ENDED,
    )  # fmt: skip
    await stage.play(
        ask("lab/large", stream=False), row("intent"), asked("beta"), Says(SENT, JSON, answer("Hi", 10, 1), END),
        row("done"), begun(200), body(), ENDED,
    )  # fmt: skip
