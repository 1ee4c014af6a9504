"""What goes wrong inside: money, moderation, the disk, shutdown, our own mistakes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path

import pytest

from routebook.core.call import Call
from routebook.core.events import Event
from routebook.core.generation import Intent
from routebook.corridor.ports import Verdict
from routebook.dialects.openai_chat.writer import StreamWriter
from routebook.ledger.people import hash_of
from routebook.testing.clock import FrozenClock
from routebook.testing.playbook import (
    DONE,
    ENDED,
    AtOnce,
    Cancel,
    Do,
    Request,
    Says,
    asked,
    begun,
    body,
    chunk,
    closed,
    row,
)
from tests.support import (
    END,
    JSON,
    LIMITED_KEY,
    MANAGEMENT_KEY,
    OPEN_KEY,
    SENT,
    SSE,
    Stage,
    answer,
    ask,
    counted,
    finish,
    raise_stage,
    refused,
    text,
)
from tests.unit.daybook.disk import FullDisk

pytestmark = pytest.mark.anyio

GOOD = (SENT, JSON, answer("Hi", 10, 2), END)


# --- refused before anything is entered -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "status", "error_type"),
    [
        (Request(b"{}"), 401, "authentication"),
        (ask(key="sk-rb-v1-unknown"), 401, "authentication"),
        (ask(key=MANAGEMENT_KEY), 403, "permission_denied"),
        (Request(b"{", {"authorization": f"Bearer {OPEN_KEY}"}), 400, "invalid_request"),
        (ask(temperature="hot"), 400, "invalid_request"),
        (ask("lab/nowhere"), 400, "not_found"),
        (ask("lab/solo", provider={"only": ["nobody"]}), 404, "not_found"),
        (ask("lab/solo", provider={"zdr": True}), 404, "not_found"),
        (ask("lab/solo", bytes_long=33 * 2**20), 413, "payload_too_large"),
        (ask("lab/solo", key=LIMITED_KEY, max_tokens=4000, bytes_long=16_000), 402, "payment_required"),
    ],
    ids=["no key", "unknown key", "management key", "no json", "type", "model", "only", "zdr", "large", "budget"],
)
async def test_a_request_that_cannot_be_served_is_refused_with_nothing_sent_or_booked(
    stage: Stage, request_: Request, status: int, error_type: str
) -> None:
    await stage.play(request_, begun(status), body(error=status, error_type=error_type), ENDED)
    assert stage.transport.requests == []
    assert stage.daybook.rows(0, 10) == []


async def test_a_malformed_referer_is_no_reason_to_refuse(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo", stream=False, headers={"http-referer": "http://[::1/"}),
        row("intent", origin="", app_id=None, http_referer="http://[::1/"),
        asked("acme"),
        Says(*GOOD),
        row("done"),
        begun(200),
        body(),
        ENDED,
    )


async def test_while_draining_nothing_new_is_taken(stage: Stage) -> None:
    stage.app.draining = True
    await stage.play(ask(), begun(503, retry_after="1"), body(error=503, error_type="provider_overloaded"), ENDED)


# --- money ------------------------------------------------------------------------------------------------------------


async def test_a_running_call_holds_its_bound_and_gives_it_back_for_the_charge(stage: Stage) -> None:
    limited = hash_of(LIMITED_KEY)
    await stage.play(ask("lab/solo", key=LIMITED_KEY, stream=False, max_tokens=100), row("intent"), asked("acme"))
    held = stage.app.book.held(limited)
    assert held > Decimal("0.0015")
    await stage.play(
        Says(*GOOD), row("done", hold=str(held), over_hold=False, total_cost="0.00006"), begun(200), body(), ENDED
    )
    assert stage.app.book.held(limited) == 0
    assert stage.app.book.usage(limited, stage.clock.now_ns()).total == Decimal("0.00006")


async def test_calls_that_run_at_once_cannot_hold_more_than_the_limit(stage: Stage) -> None:
    call = ask("lab/solo", key=LIMITED_KEY, stream=False, max_tokens=3000)
    await stage.play(call, row("intent"), asked("acme"))
    await stage.play(call, begun(402), body(error=402, error_type="payment_required"), ENDED)
    await stage.play(Says(*GOOD), row("done"), begun(200), body(), ENDED)
    await stage.play(call, row("intent"), asked("acme"), Says(*GOOD), row("done"), begun(200), body(), ENDED)


async def test_a_charge_above_its_hold_is_posted_whole_and_flagged(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo", key=LIMITED_KEY, stream=False, max_tokens=1),
        row("intent"),
        asked("acme"),
        Says(SENT, JSON, answer("Hi", 10_000, 1), END),
        row("done", over_hold=True, total_cost="0.030015"),
        begun(200),
        body(),
        ENDED,
    )
    assert stage.app.book.over_holds == 1


# --- moderation -------------------------------------------------------------------------------------------------------


class ScriptedModerator:
    """Takes 50 ms and says what it was told to say."""

    def __init__(self, clock: Callable[[], FrozenClock], verdict: Verdict | Exception = Verdict(False)) -> None:
        self._clock = clock
        self._verdict = verdict
        self.seen: list[Call] = []

    async def check(self, call: Call) -> Verdict:
        self.seen.append(call)
        self._clock().advance(50)
        if isinstance(self._verdict, Exception):
            raise self._verdict
        return self._verdict


FLAGGED = Verdict(True, ("violence",), "x" * 300)


async def test_a_flagged_prompt_is_a_403_with_reasons_and_reaches_no_provider(stage: Stage) -> None:
    stage.app.moderator = ScriptedModerator(lambda: stage.clock, FLAGGED)
    await stage.play(
        ask("lab/strict"),
        row("intent"),
        row("blocked", moderation_latency=50, total_cost="0", provider_name=None, provider_responses=None),
        begun(403, x_generation_id=...),
        body(
            error=403,
            error_type="permission_denied",
            metadata={
                "reasons": ["violence"],
                "flagged_input": "x" * 100,
                "provider_name": "Strict",
                "model_slug": "lab/strict",
                "error_type": "permission_denied",
            },
        ),
        ENDED,
    )
    assert stage.transport.requests == []


async def test_a_prompt_that_passes_goes_on_and_its_moderation_is_timed(stage: Stage) -> None:
    stage.app.moderator = ScriptedModerator(lambda: stage.clock)
    await stage.play(
        ask("lab/strict", stream=False),
        row("intent"),
        asked("strict"),
        Says(*GOOD),
        row("done", moderation_latency=50, latency=50, generation_time=0),
        begun(200),
        body(),
        ENDED,
    )


async def test_a_provider_that_is_not_moderated_gets_the_prompt_unchecked(stage: Stage) -> None:
    stage.app.moderator = moderator = ScriptedModerator(lambda: stage.clock, FLAGGED)
    await stage.play(
        ask("lab/solo", stream=False),
        row("intent"),
        asked("acme"),
        Says(*GOOD),
        row("done", moderation_latency=None),
        begun(200),
        body(),
        ENDED,
    )
    assert moderator.seen == []


async def test_a_moderated_provider_that_is_only_the_second_choice_gets_no_unchecked_prompt(stage: Stage) -> None:
    stage.app.moderator = ScriptedModerator(lambda: stage.clock, FLAGGED)
    await stage.play(
        ask("lab/mixed", stream=False),
        row("intent"),
        asked("acme"),
        Says(*refused(500)),
        row("blocked", moderation_latency=50),
        begun(403),
        body(error=403),
        ENDED,
    )


async def test_a_moderator_that_breaks_lets_nothing_through(stage: Stage) -> None:
    stage.app.moderator = ScriptedModerator(lambda: stage.clock, RuntimeError("the moderator is down"))
    await stage.play(
        ask("lab/strict"),
        row("intent"),
        row("error", total_cost="0"),
        begun(500),
        body(error=500, error_type="server"),
        ENDED,
    )
    assert "the moderator is down" not in stage.playbook.caller.received.decode()


# --- the disk ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def disk(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FullDisk]:
    monkeypatch.setattr("routebook.daybook.book.GIVE_UP_AFTER", 0.0)
    disk = FullDisk(stage.daybook)
    yield disk
    disk.allow()


async def test_a_book_that_cannot_be_written_takes_no_call(stage: Stage, disk: FullDisk) -> None:
    disk.refuse()
    await stage.play(
        ask("lab/solo"),
        begun(503, retry_after="1", x_generation_id=...),
        body(error=503, error_type="provider_overloaded"),
        ENDED,
    )
    assert stage.transport.requests == []


async def test_a_stream_whose_outcome_cannot_be_written_gets_no_end_mark(stage: Stage, disk: FullDisk) -> None:
    await stage.play(
        ask("lab/solo"),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, text("Hi")),
        begun(200),
        chunk(content="Hi"),
        Do(disk.refuse),
        Says(finish(), counted(10, 2), END),
        chunk(finish="stop"),
        ENDED,
    )
    stage.left_open = 1


async def test_a_whole_answer_whose_outcome_cannot_be_written_is_not_given(stage: Stage, disk: FullDisk) -> None:
    await stage.play(
        ask("lab/solo", stream=False),
        row("intent"),
        asked("acme"),
        Do(disk.refuse),
        Says(*GOOD),
        begun(503),
        body(error=503, error_type="provider_overloaded"),
        ENDED,
    )
    stage.left_open = 1


# --- shutdown and cancellation ----------------------------------------------------------------------------------------


def shut_down(stage: Stage) -> Do:
    def down() -> None:
        for entry in list(stage.app.entries):
            entry.shut_down()

    return Do(down)


async def test_shutting_down_ends_a_stream_with_an_error_and_a_receipt(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo", bytes_long=400),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, text("word")),
        begun(200),
        chunk(content="word"),
        shut_down(stage),
        closed("acme"),
        chunk(error=503, error_type="provider_overloaded", finish="error"),
        row("error", finish_reason="error", cancelled=False, total_cost="0", native_tokens_completion=1),
        chunk(),
        DONE,
        ENDED,
    )


async def test_shutting_down_before_the_first_token_is_a_503_and_no_failover(stage: Stage) -> None:
    await stage.play(
        ask("lab/large"),
        row("intent"),
        asked("acme"),
        Says(SENT),
        shut_down(stage),
        closed("acme"),
        row("error", finish_reason="error"),
        begun(503, retry_after="1"),
        body(error=503),
        ENDED,
    )


async def test_shutting_down_before_dispatch_sends_nothing_more(stage: Stage) -> None:
    release = asyncio.Event()

    class Slow:
        async def check(self, call: Call) -> Verdict:
            await release.wait()
            return Verdict(False)

    stage.app.moderator = Slow()
    await stage.play(
        ask("lab/strict"),
        row("intent"),
        shut_down(stage),
        Do(release.set),
        row("error", finish_reason="error", provider_responses=None),
        begun(503),
        body(error=503),
        ENDED,
    )
    assert stage.transport.requests == []


async def test_a_cancelled_task_still_settles_and_still_tells_its_caller(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo", bytes_long=400),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, text("word")),
        begun(200),
        chunk(content="word"),
        Cancel(),
        closed("acme"),
        chunk(error=503, error_type="provider_overloaded", finish="error"),
        row("error", finish_reason="error", native_tokens_completion=1, total_cost="0"),
        chunk(),
        DONE,
        ENDED,
    )
    assert stage.playbook.tasks[-1].cancelled()


def at_the_intent(stage: Stage) -> Callable[[], None]:
    """Cancels the task as soon as its intent waits for the disk."""
    opened = stage.daybook.open

    async def open_and_cancel(intent: Intent) -> None:
        asyncio.get_running_loop().call_soon(stage.playbook.tasks[-1].cancel)
        await opened(intent)

    return lambda: setattr(stage.daybook, "open", open_and_cancel)


async def test_a_task_that_is_cancelled_while_its_intent_is_written_leaves_no_open_call(stage: Stage) -> None:
    await stage.play(
        AtOnce(ask("lab/solo"), Do(at_the_intent(stage))),
        row("intent"),
        row("error", finish_reason="error", total_cost="0", provider_responses=None),
        begun(503),
        body(error=503),
        ENDED,
    )


# --- our own mistakes -------------------------------------------------------------------------------------------------


def break_writer(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    def broken(self: StreamWriter, event: Event) -> bytes:
        raise RuntimeError("a mistake of ours with a secret in it")

    monkeypatch.setattr(StreamWriter, method, broken)


async def test_a_mistake_of_ours_in_mid_stream_ends_the_call_and_leaks_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.play(
        ask("lab/solo", bytes_long=400),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, text("word")),
        begun(200),
        chunk(content="word"),
        Do(lambda: break_writer(monkeypatch, "feed")),
        Says(text("word")),
        closed("acme"),
        chunk(error=500, error_type="server", finish="error"),
        row("error", finish_reason="error", total_cost="0"),
        chunk(),
        DONE,
        ENDED,
    )
    assert b"secret" not in stage.playbook.caller.received
    assert "secret" not in str(stage.record)


async def test_a_mistake_of_ours_in_the_last_bytes_ends_the_answer_without_an_end_mark(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_writer(monkeypatch, "end")
    await stage.play(
        ask("lab/solo"),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, text("Hi"), finish(), counted(10, 2), END),
        begun(200),
        chunk(content="Hi"),
        chunk(finish="stop"),
        row("done", total_cost="0.00006"),
        ENDED,
    )


async def test_a_mistake_of_ours_in_the_accounts_leaves_no_hold_and_no_waiting_caller(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **more: object) -> None:
        raise ArithmeticError("a sum that does not work out")

    monkeypatch.setattr("routebook.corridor.settle.price", broken)
    await stage.play(
        ask("lab/solo", stream=False, bytes_long=400),
        row("intent"),
        asked("acme"),
        Says(*GOOD),
        row("error", finish_reason="error", total_cost="0", native_tokens_prompt=10, unpriced=True),
        begun(200),
        body(error=500, error_type="server", finish="error", content="Hi", prompt_tokens=10, cost=0),
        ENDED,
    )


async def test_the_stage_itself_notices_what_is_left_behind(tmp_path: Path) -> None:
    stage = await raise_stage(tmp_path)
    await stage.play(ask("lab/solo"), row("intent"), asked("acme"))
    with pytest.raises(AssertionError, match="still being served"):
        stage.check()
    await stage.play(Cancel(), closed("acme"), row("error"), begun(503), body(), ENDED)
    stage.check()
    await stage.close()
