"""Reference token counts: one niced child counts, the result is an amendment, no answer waits for it.

The child is started at the first call and ends with this process (its stdin closes). The queue is bounded in calls and
bytes; what does not fit is dropped, and the record then says that its counts are native ones.
Frames both ways: four bytes of length (big endian), then msgpack.
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from routebook.core.call import Call
from routebook.core.generation import Amendment
from routebook.daybook.port import Daybook
from routebook.metering.reference import TOKENIZER, prompt_text
from routebook.observe.log import log
from routebook.wire import codec

QUEUE_CALLS_MAX = 1_000
QUEUE_BYTES_MAX = 16 * 2**20
TEXT_BYTES_MAX = 4 * 2**20
"""A longer text is not counted: its native counts have to do."""
PATIENCE = 5.0
"""Seconds that somebody who waits for a count waits at most; starting the child takes about one."""


class Job(msgspec.Struct, frozen=True, array_like=True):
    id: str
    n: int
    prompt: str
    completion: str


class Count(msgspec.Struct, frozen=True, array_like=True):
    id: str
    n: int
    prompt: int | None
    completion: int | None
    """None: a text that the tokenizer gives up on (it did on a million blanks in a row)"""


def available() -> bool:
    """True if the extra `tokens` is installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("tiktoken", "bpe_openai"))


class TokenCounter:
    """Owns the child. Implements the corridor's ReferenceCounter."""

    def __init__(self, daybook: Daybook, cache: Path, now_ns: Callable[[], int]) -> None:
        self._daybook = daybook
        self._cache = cache
        self._now_ns = now_ns
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._waiting = 0
        """jobs handed over whose count has not come back"""
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._runner: asyncio.Task[None] | None = None
        self._asked: dict[int, asyncio.Future[int | None]] = {}
        """who waits for the count of a prompt, by numbers below 0, which no call has"""
        self._questions: deque[tuple[int, bytes]] = deque()
        """of those: what the child has not been given yet"""
        self._questions_bytes = 0
        self._numbers = itertools.count(-1, -1)
        self.dropped = 0
        self.broken: str | None = None

    def submit(self, id: str, n: int, call: Call, completion: str) -> None:
        """Queue one finished call; dropped and counted when the queue is full or the child does not work."""
        prompt = prompt_text(call.chat)
        if self.broken is not None or len(prompt) + len(completion) > TEXT_BYTES_MAX:
            self.dropped += 1
            return
        frame = codec.pack(Job(id, n, prompt, completion))
        if len(self._queue) >= QUEUE_CALLS_MAX or self._queued_bytes + len(frame) > QUEUE_BYTES_MAX:
            self.dropped += 1
            return
        self._queue.append(frame)
        self._queued_bytes += len(frame)
        self._begin()

    async def count(self, call: Call) -> int | None:
        """Tokens of a call's prompt, before everything that is queued; None if they cannot be had soon."""
        prompt = prompt_text(call.chat)
        if self.broken is not None or len(prompt) > TEXT_BYTES_MAX:
            return None
        number = next(self._numbers)
        frame = codec.pack(Job("", number, prompt, ""))
        if len(self._questions) >= QUEUE_CALLS_MAX or self._questions_bytes + len(frame) > QUEUE_BYTES_MAX:
            return None
        waiter = self._asked[number] = asyncio.get_running_loop().create_future()
        self._questions.append((number, frame))
        self._questions_bytes += len(frame)
        self._begin()
        try:
            await asyncio.wait({waiter}, timeout=PATIENCE)
            return waiter.result() if waiter.done() and not waiter.cancelled() else None
        finally:
            del self._asked[number]

    def _begin(self) -> None:
        self._idle.clear()
        self._wake.set()
        if self._runner is None:
            self._runner = asyncio.ensure_future(self._run())

    async def aclose(self, patience: float = 2.0) -> None:
        """Let the child finish what is queued, for a while, then end it."""
        if self._runner is None:
            return
        try:
            await asyncio.wait_for(self._idle.wait(), patience)
        except TimeoutError:
            log.warning("reference token counts of %d calls were not waited for", len(self._queue) + self._waiting)
        self._runner.cancel()
        await asyncio.gather(self._runner, return_exceptions=True)

    def _next(self) -> bytes | None:
        """What the child is given now; questions that nobody waits for any more are passed over."""
        while self._questions:
            number, frame = self._questions.popleft()
            self._questions_bytes -= len(frame)
            if number in self._asked:
                return frame
        if not self._queue:
            return None
        frame = self._queue.popleft()
        self._queued_bytes -= len(frame)
        return frame

    async def _run(self) -> None:
        try:
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "routebook.daybook.reference_child",
                str(self._cache),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                # Ctrl-C goes to all of a terminal's group; this one ends when its work is done and its stdin closes.
                start_new_session=True,
            )
        except OSError as error:
            self._give_up(f"the counting process cannot be started: {error.strerror}")
            return
        assert child.stdin is not None
        assert child.stdout is not None
        reader = asyncio.ensure_future(self._collect(child.stdout))
        try:
            while not reader.done():
                while (frame := self._next()) is not None:
                    self._waiting += 1
                    child.stdin.write(len(frame).to_bytes(4, "big") + frame)
                    await child.stdin.drain()
                self._rest()
                self._wake.clear()
                waiter = asyncio.ensure_future(self._wake.wait())
                await asyncio.wait({waiter, reader}, return_when=asyncio.FIRST_COMPLETED)
                waiter.cancel()
            self._give_up("the counting process ended")
        except (ConnectionError, OSError) as error:
            self._give_up(str(error))
        finally:
            reader.cancel()
            child.stdin.close()
            if child.returncode is None:
                child.terminate()
                await child.wait()

    async def _collect(self, stdout: asyncio.StreamReader) -> None:
        while True:
            try:
                size = int.from_bytes(await stdout.readexactly(4), "big")
                count = codec.unpack(await stdout.readexactly(size), Count)
            except (asyncio.IncompleteReadError, codec.DecodeError):
                return
            self._take(count)
            self._waiting -= 1
            self._rest()

    def _rest(self) -> None:
        if not (self._waiting or self._queue or self._questions):
            self._idle.set()

    def _take(self, count: Count) -> None:
        if count.n < 0:
            waiter = self._asked.get(count.n)
            if waiter is not None and not waiter.done():
                waiter.set_result(count.prompt)
            return
        if count.prompt is None or count.completion is None:
            self.dropped += 1
            return
        row = Amendment(
            at_ns=self._now_ns(),
            tokens_prompt=count.prompt,
            tokens_completion=count.completion,
            reference_tokenizer=TOKENIZER,
        )
        self._daybook.note(count.id, count.n, row)

    def _give_up(self, why: str) -> None:
        self.broken = why
        self._queue.clear()
        self._questions.clear()
        for waiter in self._asked.values():
            waiter.cancel()
        self._idle.set()
        log.warning("reference tokens are not counted any more (%s); records keep native counts", why)
