"""Scenarios in a readable notation: what arrives, and what must leave for it, in order, on every side at once.

    await playbook.play(
        Request(body),                                            # arrives: the caller asks
        row("intent"), asked("acme"),                             # leaves: first the book, then the provider
        Says(Sent(), Head(200, "text/event-stream"), Data(b"data: …")),   # arrives: the provider answers
        begun(200), chunk(content="Hi"),                          # leaves: to the caller
        Leaves(),                                                 # arrives: the caller hangs up
        closed("acme"), row("cancelled", total_cost="0.0001"),
    )

After each arrival the loop runs until nothing moves any more (what is to arrive in one tick stands in `AtOnce`). Then
everything that left is compared with what must leave, kind by kind and fact by fact. A fact that is not named is not
compared; `...` stands for any value but None. Money is compared as text, digit for digit. A mismatch shows both sides.

Rows are read from the daybook's file through a connection of its own, just before each thing that leaves is noted.
So a row that stands before a request or a byte was on the disk before that request or byte left.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from routebook.core.generation import State
from routebook.daybook.reading import ReadOnlyDaybook
from routebook.metering.record import record
from routebook.testing.clock import FrozenClock
from routebook.testing.leaving import (
    COMMENT,
    DONE,
    ENDED,
    Caller,
    Left,
    asked,
    begun,
    body,
    chunk,
    closed,
    paused,
    resumed,
    row,
    written,
)
from routebook.testing.upstream import ScriptedLine, ScriptedTransport, Step
from routebook.wire import codec

__all__ = [
    "AtOnce", "COMMENT", "Caller", "Cancel", "DONE", "Do", "Drains", "ENDED", "Elapse", "Fills", "Leaves", "Left",
    "Playbook", "Request", "Says", "asked", "begun", "body", "chunk", "closed", "paused", "resumed", "row",
]  # fmt: skip

QUIET_TICKS = 12
"""Loop ticks without a move after which nothing more will come by itself: the longest chain of waits has five."""
TICKS_MAX = 20_000

_ROWS = State.NAMES | {State.INTENT: "intent", State.PROGRESS: "progress", State.AMENDMENT: "amendment"}


# --- what arrives -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """A caller asks."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    surface: str = "openai_chat"
    """the dialect they speak"""


@dataclass(frozen=True, init=False)
class Says:
    """The provider that was asked last goes on with its answer."""

    steps: tuple[Step, ...]

    def __init__(self, *steps: Step) -> None:
        object.__setattr__(self, "steps", steps)


@dataclass(frozen=True)
class Elapse:
    """Time passes, and the sweep comes by."""

    ms: int


@dataclass(frozen=True)
class Leaves:
    """The caller hangs up."""


@dataclass(frozen=True)
class Fills:
    """More is buffered for the caller than should be."""


@dataclass(frozen=True)
class Drains:
    """The caller has read on."""


@dataclass(frozen=True)
class Cancel:
    """The task that serves the caller is cancelled."""


@dataclass(frozen=True)
class Do:
    """Anything else that happens: a lock on the disk, a shutdown."""

    what: Callable[[], object]


@dataclass(frozen=True, init=False)
class AtOnce:
    """Several things arrive before anybody can act on the first."""

    arrivals: tuple[Arrival, ...]

    def __init__(self, *arrivals: Arrival) -> None:
        object.__setattr__(self, "arrivals", arrivals)


Arrival = Request | Says | Elapse | Leaves | Fills | Drains | Cancel | Do | AtOnce


# --- the play ---------------------------------------------------------------------------------------------------------


class Playbook:
    """Plays scenarios against one gateway.

    `serve` answers one request through a Caller; `sweep` is what the gateway does now and then; `hosts` are the
    providers' names by the start of their URL; `home` and `daybook` say where the book is.
    """

    def __init__(
        self,
        *,
        serve: Callable[[Request, Caller], Coroutine[Any, Any, None]],
        sweep: Callable[[], None],
        transport: ScriptedTransport,
        clock: FrozenClock,
        hosts: Mapping[str, str],
        home: Path,
        daybook: str,
    ) -> None:
        self._serve = serve
        self._sweep = sweep
        self._clock = clock
        self._hosts = hosts
        self._transport = transport
        self._book = ReadOnlyDaybook(home, daybook)
        self._seen = 0
        self._left: list[Left] = []
        self._told: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.callers: list[Caller] = []
        transport.watch = self._watch

    @property
    def caller(self) -> Caller:
        """Of the last request."""
        return self.callers[-1]

    def record(self) -> dict[str, Any]:
        """The last call's record, as its rows on the disk give it."""
        folded = self._book.read(self._book.highest()[1])
        assert folded is not None, "no call is in the book"
        return record(folded)

    async def play(self, *scenario: Arrival | Left) -> None:
        """Raises AssertionError with both sides where what left is not what must leave."""
        wanted: list[Left] = []
        await self.rest()
        for step in scenario:
            if isinstance(step, Left):
                wanted.append(step)
                continue
            self._compare(wanted)
            wanted = []
            self._arrive(step)
            await self.rest()
        self._compare(wanted)

    def close(self) -> None:
        self._book.close()

    def _arrive(self, step: Arrival) -> None:
        self._told.append(f">> {step}")
        match step:
            case Request():
                self.callers.append(caller := Caller(self._note))
                self.tasks.append(asyncio.ensure_future(self._serve(step, caller)))
            case Says():
                self._transport.lines[-1].play(*step.steps)
            case Elapse():
                self._clock.advance(step.ms)
                self._sweep()
            case Leaves():
                self.caller.leave()
            case Fills() | Drains():
                assert self.caller.watcher is not None, "nobody watches this caller"
                (self.caller.watcher.full if isinstance(step, Fills) else self.caller.watcher.drained)()
            case Cancel():
                self.tasks[-1].cancel()
            case Do():
                step.what()
            case AtOnce():
                for each in step.arrivals:
                    self._arrive(each)

    async def rest(self) -> None:
        """Let the loop run until nothing moves any more."""
        still, before = 0, -1
        for _ in range(TICKS_MAX):
            await asyncio.sleep(0)
            self._look()
            moves = len(self._left) + self._transport.played + sum(task.done() for task in self.tasks)
            still = still + 1 if moves == before else 0
            before = moves
            if still >= QUIET_TICKS:
                return
        raise AssertionError("the gateway does not come to rest")

    def _compare(self, wanted: list[Left]) -> None:
        left, self._left = self._left, []
        if len(left) == len(wanted) and all(found.meets(want) for found, want in zip(left, wanted, strict=True)):
            self._told += [want.line() for want in wanted]
            return
        expected = [want.line() for want in wanted]
        actual = [found.line() for found in left]
        kinds = difflib.SequenceMatcher(None, [want.kind for want in wanted], [found.kind for found in left], False)
        for at, there, size in kinds.get_matching_blocks():
            for step in range(size):
                want, found = wanted[at + step], left[there + step]
                actual[there + step] = want.line() if found.meets(want) else found.line(want.facts)
        difference = "\n".join(difflib.ndiff(expected, actual))
        raise AssertionError(
            "\n".join(["what left is not what must leave (- must, + did):", *self._told]) + "\n" + difference
        )

    def _note(self, left: Left) -> None:
        self._look()
        self._left.append(left)

    def _look(self) -> None:
        """Note the rows that have reached the disk since."""
        for each in self._book.rows(self._seen, 1000):
            self._seen = each.seq
            folded = self._book.read(each.n)
            assert folded is not None, "a row without an intent"
            data = record(folded)
            facts = data | data.pop("routebook")
            self._left.append(Left(f"row {_ROWS[each.state]}", {name: written(fact) for name, fact in facts.items()}))

    def _watch(self, what: str, line: ScriptedLine) -> None:
        url = line.request.url
        name = next((name for start, name in self._hosts.items() if url.startswith(start)), url)
        facts: dict[str, Any] = {}
        if what == "asked":
            facts = {"path": url} | codec.decode_exact(b"".join(line.request.pieces()))
        self._note(Left(f"{what} {name}", facts))
