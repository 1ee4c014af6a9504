"""Requests with an Idempotency-Key: one call, its answer again, and what a repeat is told when there is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from routebook.config.secret import Secret
from routebook.config.settings import IdempotencyTable, Settings
from routebook.core.errors import Unavailable, UpstreamLost
from routebook.corridor.promises import Promises
from routebook.observe.clock import SystemDice
from routebook.store.memory import MemoryStore
from routebook.store.port import Promise
from routebook.testing.playbook import (
    COMMENT,
    DONE,
    ENDED,
    AtOnce,
    Caller,
    Cancel,
    Do,
    Elapse,
    Fills,
    Leaves,
    Request,
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
    LIMITED_KEY,
    MANAGEMENT_KEY,
    SENT,
    SSE,
    Stage,
    answer,
    counted,
    finish,
    raise_stage,
    refused,
    text,
)
from tests.support import ask as ask_plainly

pytestmark = pytest.mark.anyio

GOES_ON = (finish(), counted(1000, 100), DONE_MARK, END)
HELLO = (SENT, SSE, text("Hello"), *GOES_ON)
ENDS = (chunk(finish="stop"), row("done"), chunk(cost=...), DONE, ENDED)
SAID = (begun(200), chunk(content="Hello"), *ENDS)
AGAIN = (
    begun(200, idempotent_replayed="true", x_generation_id=...),
    chunk(content="Hello"),
    chunk(finish="stop"),
    chunk(cost=...),
    DONE,
    ENDED,
)
HOURS_MS = 3_600_000


def ask(model: str = "lab/solo", *, name: str = "one-key", **more: Any) -> Request:
    """A chat request with an Idempotency-Key."""
    return ask_plainly(model, headers={"idempotency-key": name}, **more)


def conflict(generation: Any = ...) -> tuple[Any, ...]:
    """What a repeat without an answer is told."""
    return begun(409, x_generation_id=generation), body(error=409, message=...), ENDED


async def say(stage: Stage, *arrivals: Any, **more: Any) -> Caller:
    """A first request that is answered well; who got the answer."""
    await stage.play(ask(**more), row("intent"), asked("acme"), Says(*(arrivals or HELLO)), *SAID)
    return stage.playbook.caller


def id_of(caller: Caller) -> str:
    return caller.headers["x-generation-id"]


async def with_table(tmp_path: Path, **table: int) -> Stage:
    return await raise_stage(
        tmp_path, settings=msgspec.structs.replace(Settings(), idempotency=IdempotencyTable(**table))
    )


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Stage]:
    """A gateway that keeps answers of 400 bytes at most."""
    stage = await with_table(tmp_path, answer_bytes=400)
    try:
        yield stage
        stage.check()
    finally:
        await stage.close()


# --- the answer again -------------------------------------------------------------------------------------------------


async def test_a_repeat_of_a_stream_gets_the_same_bytes_and_nobody_is_asked(stage: Stage) -> None:
    first = await say(stage)
    assert "idempotent-replayed" not in first.headers
    await stage.play(ask(), *AGAIN)
    repeat = stage.playbook.caller
    assert repeat.received == first.received
    assert repeat.headers == first.headers | {"idempotent-replayed": "true"}
    assert len(stage.transport.requests) == 1


async def test_a_repeat_of_a_whole_answer_gets_the_same_bytes(stage: Stage) -> None:
    await stage.play(
        ask(stream=False),
        row("intent"),
        asked("acme"),
        Says(SENT, JSON, answer("Hello", 1000, 100), END),
        row("done"),
        begun(200),
        body(content="Hello"),
        ENDED,
    )
    first = stage.playbook.caller
    await stage.play(ask(stream=False), begun(200, idempotent_replayed="true"), body(content="Hello"), ENDED)
    repeat = stage.playbook.caller
    assert repeat.received == first.received
    assert repeat.headers == first.headers | {"idempotent-replayed": "true"}


async def test_an_answer_is_given_again_as_often_as_it_is_asked_for(stage: Stage) -> None:
    first = await say(stage)
    for _ in range(3):
        await stage.play(ask(), *AGAIN)
        assert id_of(stage.playbook.caller) == id_of(first)


async def test_a_repeat_is_answered_though_the_limit_is_spent_meanwhile(stage: Stage) -> None:
    await say(stage, key=LIMITED_KEY, max_tokens=1000)
    dear = (SENT, SSE, text("Hello"), finish(), counted(10_000, 1000), DONE_MARK, END)
    plainly = ask_plainly("lab/solo", key=LIMITED_KEY, max_tokens=1000)
    await stage.play(plainly, row("intent"), asked("acme"), Says(*dear), *SAID)
    await stage.play(plainly, begun(402), body(error=402), ENDED)
    await stage.play(ask(key=LIMITED_KEY, max_tokens=1000), *AGAIN)


async def test_a_refusal_that_would_come_again_is_given_again(stage: Stage) -> None:
    await stage.play(
        ask(),
        row("intent"),
        asked("acme"),
        Says(*refused(400, "temperature is too high")),
        row("error"),
        begun(400),
        body(error=400),
        ENDED,
    )
    first = stage.playbook.caller
    await stage.play(ask(), begun(400, idempotent_replayed="true"), body(error=400), ENDED)
    assert stage.playbook.caller.received == first.received


async def test_an_answer_that_broke_off_is_given_again_with_its_error(stage: Stage) -> None:
    await stage.play(
        ask(),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, text("Hel"), Lost(UpstreamLost())),
        begun(200),
        chunk(content="Hel"),
        chunk(error=502),
        row("error"),
        chunk(cost=...),
        DONE,
        ENDED,
    )
    first = stage.playbook.caller
    await stage.play(
        ask(),
        begun(200, idempotent_replayed="true"),
        chunk(content="Hel"),
        chunk(error=502),
        chunk(cost=...),
        DONE,
        ENDED,
    )
    assert stage.playbook.caller.received == first.received


# --- other requests ---------------------------------------------------------------------------------------------------


async def test_another_body_with_the_same_key_is_refused(stage: Stage) -> None:
    first = await say(stage)
    await stage.play(
        ask(temperature=1), begun(422, x_generation_id=id_of(first)), body(error=422, error_type="unprocessable"), ENDED
    )


async def test_the_keys_of_other_callers_are_their_own(stage: Stage) -> None:
    await say(stage)
    first = id_of(stage.playbook.caller)
    await say(stage, key=LIMITED_KEY, max_tokens=1000)
    assert id_of(stage.playbook.caller) != first
    assert len(stage.transport.requests) == 2


async def test_another_idempotency_key_makes_another_call(stage: Stage) -> None:
    await say(stage)
    await say(stage, name="another-key")


async def test_requests_without_a_key_are_never_given_an_old_answer(stage: Stage) -> None:
    await say(stage)
    await stage.play(ask_plainly("lab/solo"), row("intent"), asked("acme"), Says(*HELLO), *SAID)


@pytest.mark.parametrize("name", ["", "a" * 256, "with blank", "ümlaut", "line\tfeed"])
async def test_a_key_that_is_none_is_refused(stage: Stage, name: str) -> None:
    await stage.play(ask(name=name), begun(400), body(error=400, error_type="invalid_request"), ENDED)


@pytest.mark.parametrize("name", ["a", "!~" * 127 + "x", '"8e03978e-40d5-43dd-bc93-6894a57f9324"'])
async def test_a_key_of_visible_characters_is_taken(stage: Stage, name: str) -> None:
    await say(stage, name=name)
    await stage.play(ask(name=name), *AGAIN)


async def test_who_may_not_call_is_told_so_and_no_answer(stage: Stage) -> None:
    await say(stage)
    await stage.play(ask(key="sk-rb-v1-wrong"), begun(401), body(error=401), ENDED)
    await stage.play(ask(key=MANAGEMENT_KEY), begun(403), body(error=403), ENDED)


async def test_a_request_that_never_became_a_call_leaves_its_key_free(stage: Stage) -> None:
    await stage.play(ask("lab/nowhere"), begun(400), body(error=400), ENDED)
    await say(stage)


# --- while the first runs ---------------------------------------------------------------------------------------------


async def test_a_repeat_while_the_first_runs_is_told_to_wait(stage: Stage) -> None:
    await stage.play(ask(), row("intent"), asked("acme"), Says(SENT, SSE, text("Hello")), begun(200), chunk())
    first = id_of(stage.playbook.caller)
    await stage.play(ask(), begun(409, x_generation_id=first, retry_after="1"), body(error=409), ENDED)
    metadata = stage.playbook.caller.received
    assert first.encode() in metadata
    await stage.play(Says(*GOES_ON), *ENDS)
    await stage.play(ask(), *AGAIN)


async def test_of_two_at_once_one_makes_the_call(stage: Stage) -> None:
    await stage.play(
        AtOnce(ask(), ask()), begun(409, retry_after="1"), body(error=409), ENDED, row("intent"), asked("acme")
    )
    await stage.play(Says(*HELLO), *SAID)
    first, second = stage.playbook.callers
    assert id_of(first) == id_of(second)
    assert len(stage.transport.requests) == 1


# --- no answer to give ------------------------------------------------------------------------------------------------


async def test_an_answer_above_the_limit_is_not_kept_and_a_repeat_is_told_which_call_it_was(small: Stage) -> None:
    await small.play(
        ask(),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, text("Hello" * 100), finish(), counted(1000, 100), DONE_MARK, END),
        begun(200),
        chunk(content="Hello" * 100),
        chunk(finish="stop"),
        row("done"),
        chunk(cost=...),
        DONE,
        ENDED,
    )
    first = id_of(small.playbook.caller)
    await small.play(ask(), *conflict(first))
    assert b"too large" in small.playbook.caller.received
    assert first.encode() in small.playbook.caller.received


async def test_an_answer_of_exactly_the_limit_is_kept(tmp_path: Path) -> None:
    for less, kept in ((0, True), (1, False)):
        stage = await raise_stage(tmp_path / str(less))
        size = len((await say(stage)).received)
        await stage.close()
        stage = await with_table(tmp_path / f"limited {less}", answer_bytes=size - less)
        await say(stage)
        await stage.play(ask(), *(AGAIN if kept else conflict()))
        stage.check()
        await stage.close()


async def test_a_refusal_that_says_to_try_again_frees_the_key(stage: Stage) -> None:
    stage.app.fleet.attempts = 1
    await stage.play(
        ask(),
        row("intent"),
        asked("acme"),
        Says(*refused(500, "down")),
        row("error"),
        begun(503),
        body(error=503),
        ENDED,
    )
    first = id_of(stage.playbook.caller)
    await say(stage)
    assert id_of(stage.playbook.caller) != first
    await stage.play(ask(), *AGAIN)


async def test_a_secret_that_is_another_one_now_makes_answers_unreadable_and_calls_no_second_time(stage: Stage) -> None:
    first = await say(stage)
    stage.app.promises = promises_of(stage, "another secret")
    await stage.play(ask(), *conflict(id_of(first)))
    assert b"secret" in stage.playbook.caller.received


def promises_of(stage: Stage, secret: str = "at rest") -> Promises:
    return Promises(
        stage.store,
        stage.daybook.name,
        stage.app.settings.idempotency,
        lambda: Secret(secret),
        SystemDice(),
        stage.clock.now_ns,
    )


async def test_an_answer_that_made_room_for_younger_ones_is_told_as_that(tmp_path: Path) -> None:
    stage = await with_table(tmp_path, total_bytes=2500)
    first = await say(stage)
    await say(stage, name="another-key")
    await stage.play(ask(), *conflict(id_of(first)))
    assert b"make room" in stage.playbook.caller.received
    await stage.play(ask(name="another-key"), *AGAIN)
    stage.check()
    await stage.close()


async def test_after_a_day_a_key_is_as_new(stage: Stage) -> None:
    first = await say(stage)
    await stage.play(Elapse(24 * HOURS_MS - 1000), ask(), *AGAIN)
    await stage.play(Elapse(1000))
    await say(stage)
    assert id_of(stage.playbook.caller) != id_of(first)


async def test_what_is_over_is_deleted(stage: Stage) -> None:
    await say(stage)
    promises = stage.app.promises
    assert promises is not None
    await promises.tidy()
    await stage.play(ask(), *AGAIN)
    await stage.play(Elapse(24 * HOURS_MS))
    await promises.tidy()
    assert not stage.store._promises


# --- callers who leave ------------------------------------------------------------------------------------------------


async def test_who_leaves_finds_the_whole_answer_when_they_come_back(stage: Stage) -> None:
    await stage.play(ask(), row("intent"), asked("acme"), Says(SENT, SSE, text("Hel")), begun(200), chunk())
    await stage.play(Leaves(), Says(text("lo"), *GOES_ON), row("done"))
    record = stage.record
    assert (record["cancelled"], record["finish_reason"]) == (False, "stop")
    assert record["routebook"]["delivered"]["frames"] == 1
    await stage.play(
        ask(),
        begun(200, idempotent_replayed="true"),
        chunk(content="Hel"),
        chunk(content="lo"),
        chunk(finish="stop"),
        chunk(cost=...),
        DONE,
        ENDED,
    )


async def test_who_leaves_before_anything_came_finds_the_answer_too(stage: Stage) -> None:
    await stage.play(AtOnce(ask(), Leaves()), row("intent"), asked("acme"), Says(*HELLO), row("done"))
    await stage.play(ask(), *AGAIN)


async def test_who_leaves_without_reading_on_holds_the_provider_back_no_longer(stage: Stage) -> None:
    await stage.play(ask(), row("intent"), asked("acme"), Says(SENT, SSE, text("Hello")), begun(200), chunk())
    await stage.play(Fills(), paused("acme"), Leaves(), resumed("acme"))
    await stage.play(Says(*GOES_ON), row("done"))
    await stage.play(ask(), *AGAIN)


async def test_who_leaves_an_answer_that_is_too_large_to_be_kept_ends_it(small: Stage) -> None:
    await small.play(ask(), row("intent"), asked("acme"), Says(SENT, SSE, text("Hello")), begun(200), chunk())
    await small.play(Leaves(), Says(text("o" * 400)), closed("acme"), row("cancelled"))
    await small.play(ask(), *conflict())


async def test_who_leaves_after_the_answer_grew_too_large_ends_it_at_once(small: Stage) -> None:
    await small.play(ask(), row("intent"), asked("acme"), Says(SENT, SSE, text("o" * 400)), begun(200), chunk())
    await small.play(Leaves(), closed("acme"), row("cancelled"))
    await small.play(ask(), *conflict())


async def test_a_caller_who_reads_nothing_for_a_minute_has_cut_the_answer_off(stage: Stage) -> None:
    await stage.play(ask(), row("intent"), asked("acme"), Says(SENT, SSE, text("Hello")), begun(200), chunk())
    await stage.play(Fills(), paused("acme"))
    await stage.play(Elapse(61_000), resumed("acme"), closed("acme"), row("progress"), row("cancelled"), ENDED)
    await stage.play(ask(), *conflict())
    assert b"cut off" in stage.playbook.caller.received


async def test_comments_that_kept_a_caller_waiting_are_part_of_the_bytes(stage: Stage) -> None:
    await stage.play(ask(), row("intent"), asked("acme"), Says(SENT), Elapse(11_000), begun(200), COMMENT)
    await stage.play(Says(*HELLO[1:]), chunk(), chunk(finish="stop"), row("done"), chunk(cost=...), DONE, ENDED)
    first = stage.playbook.caller
    await stage.play(ask(), begun(200), COMMENT, chunk(), chunk(finish="stop"), chunk(cost=...), DONE, ENDED)
    assert stage.playbook.caller.received == first.received


# --- trouble of our own -----------------------------------------------------------------------------------------------


class AwayStore(MemoryStore):
    """A store that is away at times, and that takes its time."""

    away = False

    def __init__(self) -> None:
        super().__init__()
        self.goes_on = asyncio.Event()
        """`end_promise` waits for it"""
        self.goes_on.set()

    def _check(self) -> None:
        if self.away:
            raise Unavailable("The store is away.")

    async def promise(self, key_hash: str, digest: bytes, now_ns: int) -> Promise | None:
        self._check()
        return await super().promise(key_hash, digest, now_ns)

    async def claim_promise(self, promise: Promise, now_ns: int, bytes_max: int) -> Promise | None:
        await asyncio.sleep(0)
        return await super().claim_promise(promise, now_ns, bytes_max)

    async def end_promise(
        self, promise: Promise, state: int, answer: bytes | None, now_ns: int, bytes_max: int
    ) -> bool:
        self._check()
        await self.goes_on.wait()
        return await super().end_promise(promise, state, answer, now_ns, bytes_max)


@pytest.fixture
async def shaky(stage: Stage) -> Stage:
    stage.store = AwayStore()
    stage.app.promises = promises_of(stage)
    return stage


def away(stage: Stage, value: bool) -> Do:
    def set_it() -> None:
        assert isinstance(stage.store, AwayStore)
        stage.store.away = value

    return Do(set_it)


async def test_without_a_store_who_asks_for_a_promise_is_refused_and_others_are_served(shaky: Stage) -> None:
    await shaky.play(away(shaky, True), ask(), begun(503), body(error=503), ENDED)
    await shaky.play(ask_plainly("lab/solo"), row("intent"), asked("acme"), Says(*HELLO), *SAID)


async def test_a_store_that_goes_away_meanwhile_takes_no_answer_from_its_caller(shaky: Stage) -> None:
    await shaky.play(ask(), row("intent"), asked("acme"), away(shaky, True), Says(*HELLO), *SAID)
    first = id_of(shaky.playbook.caller)
    await shaky.play(away(shaky, False), ask(), *conflict(first))
    assert b"still being answered" in shaky.playbook.caller.received
    assert shaky.app.promises is not None
    await shaky.app.promises.tidy()
    await shaky.play(ask(), *conflict(first))
    assert b"cut off" in shaky.playbook.caller.received


async def test_of_two_that_find_no_promise_yet_one_is_given_it_and_no_money_stays_on_hold(shaky: Stage) -> None:
    await shaky.play(
        AtOnce(ask(key=LIMITED_KEY, max_tokens=100), ask(key=LIMITED_KEY, max_tokens=100)),
        begun(409, retry_after="1"),
        body(error=409),
        ENDED,
        row("intent"),
        asked("acme"),
    )
    await shaky.play(Says(*HELLO), *SAID)
    first, second = shaky.playbook.callers
    assert id_of(first) == id_of(second)
    assert len(shaky.transport.requests) == 1
    await shaky.play(ask(key=LIMITED_KEY, max_tokens=100), *AGAIN)


async def test_the_last_bytes_wait_for_the_answer_to_be_durable(shaky: Stage) -> None:
    store = shaky.store
    assert isinstance(store, AwayStore)
    store.goes_on.clear()
    await shaky.play(ask(), row("intent"), asked("acme"), Says(*HELLO), *SAID[:-3])
    assert not shaky.playbook.caller.ended
    await shaky.play(Do(store.goes_on.set), chunk(cost=...), DONE, ENDED)


async def test_a_whole_answer_waits_for_being_durable_too(shaky: Stage) -> None:
    store = shaky.store
    assert isinstance(store, AwayStore)
    store.goes_on.clear()
    await shaky.play(
        ask(stream=False), row("intent"), asked("acme"), Says(SENT, JSON, answer("Hello", 1000, 100), END), row("done"),
        begun(200),
    )  # fmt: skip
    assert shaky.playbook.caller.received == b""
    await shaky.play(Do(store.goes_on.set), body(content="Hello"), ENDED)


async def test_a_gateway_that_keeps_no_answers_says_so(stage: Stage) -> None:
    stage.app.promises = None
    await stage.play(ask(), begun(503), body(error=503), ENDED)


async def test_without_a_secret_nothing_is_asked(stage: Stage) -> None:
    def unreadable() -> Secret:
        raise PermissionError("no")

    promises = promises_of(stage)
    promises._secret = unreadable
    stage.app.promises = promises
    await stage.play(ask(), begun(503), body(error=503), ENDED)
    assert stage.transport.requests == []


async def test_a_task_that_is_cancelled_still_ends_its_promise(stage: Stage) -> None:
    await stage.play(ask(), row("intent"), asked("acme"), Says(SENT, SSE, text("Hel")), begun(200), chunk())
    await stage.play(Cancel(), closed("acme"), chunk(finish="error"), row("error"), chunk(cost=...), DONE, ENDED)
    assert stage.app.promises is not None
    assert stage.app.promises.under_way == 0
    await stage.play(
        ask(), begun(200, idempotent_replayed="true"), chunk(), chunk(error=503), chunk(cost=...), DONE, ENDED
    )


async def test_nobody_holds_a_promise_after_its_answer(stage: Stage) -> None:
    await say(stage)
    assert stage.app.promises is not None
    assert stage.app.promises.under_way == 0
    assert await stage.store.running_promises(stage.daybook.name) == []
