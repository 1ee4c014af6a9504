"""Any order of requests, repeats, endings, departures, crashes and passing days on two workers with one store, against
a model of what an Idempotency-Key promises: `Model` below, which knows nothing of rows, sealing or the corridor.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from routebook.config.secret import Secret
from routebook.config.settings import IdempotencyTable, Settings
from routebook.core.errors import Unavailable, UpstreamLost
from routebook.corridor.exchange import exchange
from routebook.corridor.ports import Arrival
from routebook.corridor.promises import Promises, recover
from routebook.daybook import folder
from routebook.dialects import registry
from routebook.observe.clock import NS, SystemDice
from routebook.store.memory import MemoryStore
from routebook.testing.leaving import Caller
from routebook.testing.upstream import Lost, ScriptedLine, Step
from tests.support import (
    DONE_MARK,
    END,
    LIMITED_KEY,
    OPEN_KEY,
    SENT,
    SSE,
    Stage,
    ask,
    counted,
    finish,
    raise_stage,
    refused,
    text,
)

T = TypeVar("T")

EXAMPLES = int(os.environ.get("ROUTEBOOK_TEST_EXAMPLES", "60"))
"""more for a long run"""
ANSWER_BYTES = 2000
DAY = 24 * 3600 * NS
TICKS = 30
"""of the loop, until what was started has come to rest"""
LAST = (finish(), counted(10, 5), DONE_MARK, END)
ENDINGS: dict[str, tuple[Step, ...]] = {
    "done": (SENT, SSE, text("Hello"), *LAST),
    "large": (SENT, SSE, text("Hello" * 400), *LAST),
    "broken": (SENT, SSE, text("Hel"), Lost(UpstreamLost())),
    "refused": refused(400, "too hot"),
    "try again": refused(500, "down"),
}


# --- the model --------------------------------------------------------------------------------------------------------


@dataclass
class Given:
    """What was promised to one key of one caller."""

    body: int
    ends_ns: int
    state: str = "running"
    """or kept, or ended"""
    answer: tuple[int, str, bytes] | None = None
    """status, generation and bytes, once anybody has seen them"""


@dataclass
class Model:
    now_ns: int
    given: dict[tuple[str, str], Given] = field(default_factory=dict)
    calls: int = 0
    """that have been made"""

    def expect(self, key: str, name: str, body: int) -> tuple[str, Given]:
        given = self.given.get((key, name))
        if given is None or given.ends_ns <= self.now_ns:
            self.calls += 1
            given = self.given[key, name] = Given(body, self.now_ns + DAY)
            return "call", given
        if given.body != body:
            return "other", given
        return {"running": "wait", "kept": "again", "ended": "none"}[given.state], given

    def end(self, key: str, name: str, given: Given, how: str) -> None:
        if self.given.get((key, name)) is not given:
            return  # its time was over, and another request came
        if how == "try again":
            del self.given[key, name]
        else:
            given.state = "ended" if how in ("large", "crash") else "kept"


# --- the gateway ------------------------------------------------------------------------------------------------------


class Lifeline:
    """One worker's way to the store that all share; nothing comes through once its process is dead."""

    def __init__(self, shared: MemoryStore) -> None:
        self.shared = shared
        self.dead = False

    def __getattr__(self, verb: str) -> Any:
        if self.dead:
            raise Unavailable("this process is dead")
        return getattr(self.shared, verb)


@dataclass
class Call:
    """A request that is being answered by a provider."""

    number: int
    """of the worker"""
    key: str
    name: str
    given: Given
    caller: Caller
    line: ScriptedLine
    left: bool = False


class Worker:
    """One process: its gateway, what it is doing, and its way to the store."""

    def __init__(self, home: Path, stage: Stage, lifeline: Lifeline, promises: Promises) -> None:
        self.home = home
        self.stage = stage
        self.lifeline = lifeline
        self.promises = promises
        self.tasks: list[asyncio.Task[None]] = []


async def begin(home: Path, store: MemoryStore, now_ns: int) -> Worker:
    """Starts as a gateway does: it takes its daybook over, and what that left promised."""
    table = IdempotencyTable(answer_bytes=ANSWER_BYTES)
    at = datetime.fromtimestamp(now_ns // NS, UTC).isoformat()
    stage = await raise_stage(home, settings=msgspec.structs.replace(Settings(), idempotency=table), at=at)
    stage.app.fleet.attempts = 1  # the model knows no pauses
    lifeline = Lifeline(store)
    reached: Any = lifeline
    promises = Promises(reached, stage.daybook.name, table, lambda: Secret("at rest"), SystemDice(), stage.clock.now_ns)
    stage.app.store, stage.app.promises = reached, promises
    await recover(store, stage.daybook, stage.clock.now_ns())
    return Worker(home, stage, lifeline, promises)


async def rest() -> None:
    for _ in range(TICKS):
        await asyncio.sleep(0)


class Gateway(RuleBasedStateMachine):
    """Two workers. What they do is compared with the model at every step."""

    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.store = MemoryStore()
        self.running: list[Call] = []
        self.begun = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @initialize()
    def start(self) -> None:
        now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        self.model = Model(int(now.timestamp()) * NS)
        self.workers = []
        for name in ("aaa", "bbb"):
            home = self.folder / name
            (folder.root(home) / name).mkdir(parents=True)
            self.workers.append(self.run(begin(home, self.store, self.model.now_ns)))

    @rule(
        target=calls,
        number=st.sampled_from((0, 1)),
        key=st.sampled_from((OPEN_KEY, LIMITED_KEY)),
        name=st.sampled_from(("first", "second")),
        body=st.sampled_from((0, 1)),
    )
    def request(self, number: int, key: str, name: str, body: int) -> Any:
        worker = self.workers[number]
        expected, given = self.model.expect(key, name, body)
        caller = Caller(lambda left: None)
        sent = ask("lab/solo", key=key, max_tokens=100 + body, headers={"idempotency-key": name})
        arrival = Arrival(SURFACE, sent.headers, sent.body, self.model.now_ns)
        lines = worker.stage.transport.lines
        before = len(lines)

        async def serve() -> None:
            worker.tasks.append(asyncio.ensure_future(exchange(arrival, caller, worker.stage.app)))
            await rest()

        self.run(serve())
        if expected == "call":
            assert len(lines) == before + 1, caller.received
            call = Call(number, key, name, given, caller, lines[-1])
            self.running.append(call)
            return call
        assert len(lines) == before
        assert caller.ended
        if expected == "again":
            assert caller.headers["idempotent-replayed"] == "true"
            seen(given, caller)
        else:
            assert caller.status == (422 if expected == "other" else 409)
            assert ("retry-after" in caller.headers) == (expected == "wait")
            assert caller.headers["x-generation-id"].encode() in caller.received
        return multiple()

    @rule(call=consumes(calls), how=st.sampled_from(sorted(ENDINGS)))
    def ends(self, call: Call, how: str) -> None:
        if call not in self.running:
            return
        self.running.remove(call)

        async def play() -> None:
            call.line.play(*ENDINGS[how])
            await rest()

        self.run(play())
        assert call.caller.ended
        assert call.line.ended or (how == "large" and call.left), "the provider's answer was not read to its end"
        self.model.end(call.key, call.name, call.given, how)
        if call.given.state == "kept" and not call.left:
            seen(call.given, call.caller)

    @rule(call=calls)
    def leaves(self, call: Call) -> None:
        async def leave() -> None:
            call.caller.leave()
            await rest()

        if call in self.running and not call.left:
            call.left = True
            self.run(leave())
            assert not call.line.closed

    @rule(hours=st.sampled_from((1, 12, 23, 24)))
    def time_passes(self, hours: int) -> None:
        self.model.now_ns += hours * 3600 * NS
        for worker in self.workers:
            worker.stage.clock.advance(hours * 3_600_000)

    @rule(number=st.sampled_from((0, 1)))
    def tidies_up(self, number: int) -> None:
        self.run(self.workers[number].promises.tidy())

    @rule(number=st.sampled_from((0, 1)))
    def crashes(self, number: int) -> None:
        """A killed process leaves what it had written until then; its successor begins with that."""
        old = self.workers[number]
        self.begun += 1
        home = self.folder / f"{old.home.name}-{self.begun}"
        shutil.copytree(old.home, home, ignore=shutil.ignore_patterns("reserve", "next"))
        old.lifeline.dead = True
        self.run(end(old))
        for call in [call for call in self.running if call.number == number]:
            self.running.remove(call)
            self.model.end(call.key, call.name, call.given, "crash")
        self.workers[number] = self.run(begin(home, self.store, self.model.now_ns))

    @invariant()
    def no_promise_is_under_way_without_its_call(self) -> None:
        for number, worker in enumerate(getattr(self, "workers", [])):
            assert worker.promises.under_way == sum(call.number == number for call in self.running)

    def teardown(self) -> None:
        for worker in getattr(self, "workers", []):
            self.run(end(worker))
        self.loop.close()
        shutil.rmtree(self.folder)


def seen(given: Given, caller: Caller) -> None:
    """That answer is the one, for everybody who ever gets it."""
    assert caller.status is not None
    answer = (caller.status, caller.headers["x-generation-id"], caller.received)
    assert given.answer in (None, answer)
    given.answer = answer


async def end(worker: Worker) -> None:
    for task in worker.tasks:
        task.cancel()
    await asyncio.gather(*worker.tasks, return_exceptions=True)
    await worker.stage.close()


SURFACE = registry.surfaces()["openai_chat"]

TestGateway = Gateway.TestCase
TestGateway.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
