"""Requests with an Idempotency-Key: the first one makes the call and its answer is kept, a repeat gets that answer.

What a repeat is told while the first runs, when its body is another one, or when there is no answer to give, is decided
here; `promises.py` has what is stored. The answer is durable before its last byte leaves.

A first request is carried to its end even if its caller hangs up: a lost connection is what a repeat is for. It is
given up after all once its answer is too large to be kept. A refusal that says to try again (408, 409, 429, 5xx) before
any provider's answer began is not kept, and a repeat makes a new call: whoever repeats would be refused for ever.
Sources: Stripe's idempotent requests, and draft-ietf-httpapi-idempotency-key-header-07 (422, 409).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from routebook.core.errors import BadRequest, Conflict, Fault, Internal, Unavailable
from routebook.corridor.answer import Answer
from routebook.corridor.ports import App, Arrival, Reply, Watcher
from routebook.corridor.promises import FREE, Asked, Kept, Promises, digests
from routebook.dialects.base import asked_of
from routebook.observe.log import log
from routebook.policy.admission import admit as admit_key
from routebook.policy.admission import credential
from routebook.store.port import Promise

if TYPE_CHECKING:
    from routebook.corridor.entry import Entry

HEADER = "idempotency-key"
LENGTH_MAX = 255
_TRY_AGAIN = frozenset((408, 409, 425, 429))

Run = Callable[[Arrival, Reply, App, "Keeper"], Awaitable[None]]


async def once(arrival: Arrival, reply: Reply, app: App, run: Run) -> None:
    """Answer a request that has the header. `run` makes a call, as for any other request; it is given the Keeper."""
    try:
        promises, asked = await _asked(arrival, app)
        promises.under_way += 1
        try:
            standing = await promises.find(asked)
            if standing is None:
                keeper = Keeper(reply, asked, promises)
                try:
                    await run(arrival, keeper, app, keeper)
                finally:
                    await keeper.close()
                standing = keeper.standing
        finally:
            promises.under_way -= 1
        if standing is not None:
            _again(standing, asked, reply, promises)
    except Fault as fault:
        _refuse(arrival, reply, fault)
    except Exception:
        log.exception("a request with an Idempotency-Key failed before it was entered")
        _refuse(arrival, reply, Internal())


async def _asked(arrival: Arrival, app: App) -> tuple[Promises, Asked]:
    """Raises as `admit` does for who may not call, BadRequest for a header that is none, Unavailable."""
    key = admit_key(app.people.find(credential(arrival.headers)), arrival.accepted_ns, "inference")
    name = arrival.headers[HEADER]
    if not 0 < len(name) <= LENGTH_MAX or not all("!" <= letter <= "~" for letter in name):
        raise BadRequest(f"Idempotency-Key must be 1 to {LENGTH_MAX} visible ASCII characters; a UUID is a good one.")
    if app.promises is None:
        raise Unavailable("This gateway keeps no answers; send the request without Idempotency-Key.")
    return app.promises, await digests(key.hash, name, asked_of(arrival.surface), arrival.body)


def _again(promise: Promise, asked: Asked, reply: Reply, promises: Promises) -> None:
    """Give the answer of the first request. Raises the Fault that says why not."""
    named = {"generation_id": promise.generation}
    if promise.request != asked.request:
        raise BadRequest(
            "This Idempotency-Key was used for another request; send that one again, or choose a new key.",
            status=422,
            error_type="unprocessable",
            metadata=named,
        )
    if promise.state == Promise.RUNNING:
        raise Conflict(
            f"The first request with this Idempotency-Key is still being answered (generation {promise.generation}); "
            "try again later.",
            metadata=named,
            retry_after=1,
        )
    kept = promises.answer_of(promise) if promise.state == Promise.KEPT else None
    if kept is None:
        raise Conflict(
            f"The first request with this Idempotency-Key made generation {promise.generation}, but "
            f"{_WHY[promise.state]}; its record says what it did and cost. Choose a new key to ask again.",
            metadata=named,
        )
    length = None if kept.streamed else len(kept.body)
    reply.begin(kept.status, kept.content_type, promise.generation, length, None, replayed=True)
    reply.end(kept.body)


_WHY = {
    Promise.KEPT: "its answer cannot be read with the gateway's present secret",
    Promise.LARGE: "its answer was too large to be kept",
    Promise.CUT: "its answer was cut off",
    Promise.DROPPED: "its answer had to make room for younger ones",
}


def _refuse(arrival: Arrival, reply: Reply, fault: Fault) -> None:
    id = fault.metadata.get("generation_id")
    Answer(reply, arrival.surface, arrival.accepted_ns, id).refuse(fault)


class Keeper:
    """The Reply of a first request: passes everything on, keeps it, and holds the last bytes back until `close`.

    Towards the caller's connection it is the Watcher: that the caller has gone it keeps to itself.
    """

    __slots__ = (
        "_asked",
        "_content_type",
        "_ended",
        "_entry",
        "_gone",
        "_last",
        "_parts",
        "_promise",
        "_promises",
        "_reply",
        "_size",
        "_status",
        "_streamed",
        "_watcher",
        "standing",
    )

    def __init__(self, reply: Reply, asked: Asked, promises: Promises) -> None:
        self._reply = reply
        self._asked = asked
        self._promises = promises
        self._promise: Promise | None = None
        """the one given to this request, from `claim` on"""
        self.standing: Promise | None = None
        """the one that another request was given meanwhile: nothing this one says is heard"""
        self._entry: Entry | None = None
        self._watcher: Watcher | None = None
        self._gone = False
        self._status = 0
        self._content_type = ""
        self._streamed = False
        self._parts: list[bytes] = []
        self._size = 0
        self._last = b""
        self._ended = False

    async def claim(self, entry: Entry) -> None:
        """Nobody else calls for this key from here on. Raises Conflict if somebody does already, Unavailable."""
        self._entry = entry
        promise, mine = await self._promises.claim(self._asked, entry.intent.id)
        if not mine:
            self.standing = promise
            raise Conflict
        self._promise = promise

    async def close(self) -> None:
        """The call is over: what is kept of it becomes durable, and the last bytes leave."""
        try:
            if self._promise is not None:
                state = self._state()
                kept = None
                if state == Promise.KEPT:
                    kept = Kept(self._status, self._content_type, self._streamed, b"".join(self._parts))
                self._parts.clear()
                await self._promises.end(self._promise, state, kept)
        finally:
            if self._ended:
                self._reply.end(self._last)
            self._entry = self._watcher = None

    def _state(self) -> int:
        """How the promise ends."""
        attempt = None if self._entry is None else self._entry.current
        answered = attempt is not None and attempt.first_ns is not None
        if self._status in _TRY_AGAIN or self._status >= 500:
            return Promise.CUT if answered else FREE
        if not self._last:
            # Of every whole answer something is held back until its record is durable, so this is none.
            return Promise.CUT
        return Promise.LARGE if self._size > self._promises.answer_bytes else Promise.KEPT

    # --- the Reply of the corridor ------------------------------------------------------------------------------------

    def watch(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._reply.watch(self)

    def begin(
        self,
        status: int,
        content_type: str,
        id: str | None,
        length: int | None,
        retry_after: int | None = None,
        replayed: bool = False,
        translation: str | None = None,
    ) -> None:
        if self.standing is None:
            self._status, self._content_type, self._streamed = status, content_type, length is None
            self._reply.begin(status, content_type, id, length, retry_after, replayed, translation)

    def write(self, data: bytes) -> None:
        if self.standing is None:
            self._keep(data)
            self._reply.write(data)

    def end(self, data: bytes = b"") -> None:
        if self.standing is None:
            self._keep(data)
            self._last, self._ended = data, True

    def _keep(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= self._promises.answer_bytes:
            self._parts.append(data)
        elif self._parts:
            self._parts.clear()
            if self._gone and self._watcher is not None:
                asyncio.get_running_loop().call_soon(self._watcher.gone)

    # --- the Watcher of the connection --------------------------------------------------------------------------------

    def gone(self) -> None:
        self._gone = True
        watcher, entry = self._watcher, self._entry
        if watcher is None:
            return
        if self._size > self._promises.answer_bytes:
            watcher.gone()
            return
        if entry is not None:
            entry.note_delivered()
        watcher.drained()  # who waited for the caller to read on waits no more

    def full(self) -> None:
        if self._watcher is not None and not self._gone:
            self._watcher.full()

    def drained(self) -> None:
        if self._watcher is not None and not self._gone:
            self._watcher.drained()
