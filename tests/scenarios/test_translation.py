"""`X-Routebook-Translation`: what a provider could not be told, in the head of the answer, for callers who ask."""

from __future__ import annotations

from typing import Any

import pytest

from routebook.testing.playbook import (
    COMMENT,
    DONE,
    ENDED,
    Elapse,
    Request,
    Says,
    asked,
    begun,
    body,
    chunk,
    row,
)
from routebook.wire import codec
from tests.support import END, JSON, OPEN_KEY, SENT, SSE, Stage, answer, ask, counted, finish, refused, text

pytestmark = pytest.mark.anyio

ASKS = {"x-routebook-translation": "enabled"}
GOOD = (SENT, JSON, answer("Hi", 10, 2), END)
STREAM = (SENT, SSE, text("Hi"), finish(), counted(10, 2), END)
MORE: dict[str, Any] = {"top_p": 0.5, "seed": 7, "temperature": 0.5}
"""of which the endpoint of lab/plain takes the temperature alone"""
STRICT: dict[str, Any] = {"provider": {"require_parameters": True}}


async def test_a_whole_answer_names_what_was_lost(stage: Stage) -> None:
    await stage.play(
        ask("lab/plain", stream=False, headers=ASKS, **MORE), row("intent"), asked("acme", top_p=None, seed=None),
        Says(*GOOD), row("done"), begun(200, x_routebook_translation="lost=top_p,seed"), body(content="Hi"), ENDED,
    )  # fmt: skip
    assert [loss["parameter"] for loss in stage.record["routebook"]["losses"]] == ["top_p", "seed"]


async def test_a_stream_names_it_in_its_head(stage: Stage) -> None:
    await stage.play(
        ask("lab/plain", headers=ASKS, **MORE), row("intent"), asked("acme"),
        Says(*STREAM), begun(200, x_routebook_translation="lost=top_p,seed"), chunk(content="Hi"),
        chunk(finish="stop"), row("done"), chunk(completion_tokens=2), DONE, ENDED,
    )  # fmt: skip


async def test_nothing_lost_is_none_and_who_does_not_ask_has_no_header(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo", stream=False, headers=ASKS), row("intent"), asked("acme"), Says(*GOOD), row("done"),
        begun(200, x_routebook_translation="none"), body(), ENDED,
    )  # fmt: skip
    await stage.play(
        ask("lab/plain", stream=False, **MORE), row("intent"), asked("acme"), Says(*GOOD), row("done"),
        begun(200, x_routebook_translation=None), body(), ENDED,
    )  # fmt: skip
    assert "x-routebook-translation" not in stage.playbook.caller.headers


async def test_an_error_names_what_the_provider_that_failed_was_not_told(stage: Stage) -> None:
    await stage.play(
        ask("lab/plain", stream=False, headers=ASKS, **MORE), row("intent"), asked("acme"), Says(*refused(400)),
        row("error"), begun(400, x_routebook_translation="lost=top_p,seed"), body(error=400), ENDED,
    )  # fmt: skip


async def test_after_failover_it_is_about_who_answered(stage: Stage) -> None:
    """claude cannot be told `seed` and is asked first; acme can."""
    await stage.play(
        ask("lab/cached", stream=False, headers=ASKS, models=["lab/solo"], seed=7), row("intent"), asked("claude"),
        Says(*refused(503)), asked("acme", seed=7), Says(*GOOD), row("done"),
        begun(200, x_routebook_translation="none"), body(), ENDED,
    )  # fmt: skip


async def test_a_head_that_leaves_before_anybody_answers_says_that_it_does_not_know(stage: Stage) -> None:
    await stage.play(ask("lab/plain", headers=ASKS, **MORE), row("intent"), asked("acme"))
    await stage.play(Elapse(10_000), begun(200, x_routebook_translation="unknown"), COMMENT)
    await stage.play(
        Says(*STREAM), chunk(content="Hi"), chunk(finish="stop"), row("done"), chunk(completion_tokens=2), DONE, ENDED
    )


async def test_what_a_caller_requires_is_refused_by_name_and_nobody_is_asked(stage: Stage) -> None:
    """claude takes no seed; without require_parameters it is asked all the same."""
    await stage.play(
        ask("lab/cached", stream=False, headers=ASKS, seed=7, **STRICT), row("intent"), row("error"),
        begun(404, x_routebook_translation="refused=seed"), body(error=404), ENDED,
    )  # fmt: skip
    assert stage.transport.lines == []


async def test_an_effort_that_the_api_itself_maps_is_told_and_refuses_nobody(stage: Stage) -> None:
    asks = ask("lab/solo", stream=False, headers=ASKS, reasoning={"max_tokens": 1000}, **STRICT)
    await stage.play(
        asks, row("intent"), asked("acme", reasoning_effort="low"), Says(*GOOD), row("done"),
        begun(200, x_routebook_translation="mapped=reasoning.max_tokens"), body(), ENDED,
    )  # fmt: skip
    (loss,) = stage.record["routebook"]["losses"]
    assert loss == {"parameter": "reasoning.max_tokens", "detail": "the provider takes an effort: low", "mapped": True}


SURFACES: dict[str, tuple[dict[str, Any], str]] = {
    "openai_text": ({"prompt": "Hello", "suffix": "!"}, "lost=suffix"),
    "openai_responses": ({"input": "Hello", "truncation": "auto"}, "lost=truncation"),
    "anthropic": (
        {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 9, "container": "c"},
        "lost=container",
    ),
}


@pytest.mark.parametrize("surface", SURFACES)
async def test_every_surface_that_names_its_model_in_the_body_has_it(stage: Stage, surface: str) -> None:
    said, lost = SURFACES[surface]
    request = Request(
        codec.encode({"model": "lab/solo", **said}), {"authorization": f"Bearer {OPEN_KEY}", **ASKS}, surface
    )
    await stage.play(
        request, row("intent"), asked("acme"), Says(*GOOD), row("done"),
        begun(200, x_routebook_translation=lost), body(), ENDED,
    )  # fmt: skip
