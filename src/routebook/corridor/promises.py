"""What a request with an Idempotency-Key is promised: one call at most, and its answer again while that is kept.

A promise is a row of the store (`store.port.Promise`), put there before the call is dispatched, so it holds across
workers and crashes. Here is what one worker does with them: digests, sealing, ending, and what a crash left behind.

Neither the key a caller chose nor the prompt is stored. The digest of the request is made with the caller's key in it,
so that whoever reads the store cannot try prompts against it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from hashlib import sha256

import msgspec

from routebook.config.problems import ConfigError
from routebook.config.secret import Secret
from routebook.config.settings import IdempotencyTable
from routebook.core.errors import Fault, Unavailable
from routebook.core.ids import locate
from routebook.daybook.port import Daybook
from routebook.observe.clock import NS, Dice
from routebook.observe.log import log
from routebook.store.port import Promise, Store
from routebook.store.vault import Vault
from routebook.wire.bulk import LargeBody
from routebook.wire.codec import DecodeError, pack, unpack

FREE = -1
"""How a promise may end beside `Promise.KEPT` and the others: it is taken back, and the next request makes a call."""
LATER_MAX = 10_000
"""Promises that could not be ended and are tried again; more wait for the next start."""
EXPIRED_MAX = 500
"""Rows that one transaction deletes."""

_LABEL = "routebook: answers to requests with an Idempotency-Key"


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """An answer as it left."""

    status: int
    content_type: str
    streamed: bool
    body: bytes


class Asked(msgspec.Struct, frozen=True):
    """A request with an Idempotency-Key, as digests."""

    key_hash: str
    """of the API key: no other key's requests are ever looked at"""
    digest: bytes
    request: bytes


async def digests(key_hash: str, idempotency_key: str, surface: str, body: bytes | LargeBody) -> Asked:
    """What identifies the request. A large body is read on another thread, piece by piece."""
    name = idempotency_key.encode()
    digest = sha256(b"routebook idempotency key\0" + name).digest()
    request = sha256(name + b"\0" + surface.encode() + b"\0")
    if isinstance(body, bytes):
        request.update(body)
    else:

        def read() -> None:
            for piece in pieces:
                request.update(piece)

        pieces = body.pieces()
        await asyncio.to_thread(read)
    return Asked(key_hash, digest, request.digest())


class Promises:
    """The promises of one worker. `secret` is asked for once, when the first is needed."""

    def __init__(
        self,
        store: Store,
        daybook: str,
        table: IdempotencyTable,
        secret: Callable[[], Secret],
        dice: Dice,
        now_ns: Callable[[], int],
    ) -> None:
        self.answer_bytes = table.answer_bytes
        self.under_way = 0
        """requests that hold a promise, or may soon; a stop waits for them"""
        self._store = store
        self._daybook = daybook
        self._table = table
        self._secret = secret
        self._dice = dice
        self._now_ns = now_ns
        self._vault: Vault | None = None
        self._later: dict[tuple[str, bytes], tuple[Promise, int]] = {}

    async def find(self, asked: Asked) -> Promise | None:
        """What an earlier request with that key was promised. Raises Unavailable if nobody can tell, or seal."""
        self._opened_vault()
        return await self._store.promise(asked.key_hash, asked.digest, self._now_ns())

    async def claim(self, asked: Asked, generation: str) -> tuple[Promise, bool]:
        """(the promise to that key, whether it is the one that was made now). Raises Unavailable."""
        now_ns = self._now_ns()
        promise = Promise(
            key_hash=asked.key_hash,
            digest=asked.digest,
            request=asked.request,
            generation=generation,
            owner=self._daybook,
            state=Promise.RUNNING,
            made_ns=now_ns,
            ends_ns=now_ns + self._table.hours * 3600 * NS,
        )
        standing = await self._store.claim_promise(promise, now_ns, self._table.total_bytes)
        return (promise, True) if standing is None else (standing, False)

    async def end(self, promise: Promise, state: int, kept: Kept | None = None) -> None:
        """The call is over; durable when this returns. Raises nothing but cancellation.

        While the store is away the answer cannot be kept. That the call is over is told to it later, by `tidy`.
        """
        try:
            answer = None if kept is None else self._opened_vault().seal(pack(kept), about(promise))
            await self._end(promise, state, answer)
        except Exception as error:
            log.error("the answer of %s is not kept for its Idempotency-Key: %s", promise.generation, error)
            if len(self._later) < LATER_MAX:
                again = FREE if state == FREE else Promise.CUT
                self._later[promise.key_hash, promise.digest] = (promise, again)

    async def _end(self, promise: Promise, state: int, answer: bytes | None) -> None:
        if state == FREE:
            await self._store.free_promise(promise)
        else:
            await self._store.end_promise(promise, state, answer, self._now_ns(), self._table.total_bytes)

    def answer_of(self, promise: Promise) -> Kept | None:
        """The answer that is kept; None if it was sealed with another secret, or is damaged. Raises Unavailable."""
        text = None if promise.answer is None else self._opened_vault().open(promise.answer, about(promise))
        if text is None:
            return None
        try:
            return unpack(text, Kept)
        except DecodeError:
            return None

    async def tidy(self) -> None:
        """Now and then: end what could not be ended, delete what is over. Raises Unavailable if the store is away."""
        for place, (promise, state) in list(self._later.items()):
            await self._end(promise, state, None)
            del self._later[place]
        deleted = EXPIRED_MAX
        while deleted == EXPIRED_MAX:
            deleted = await self._store.expire_promises(self._now_ns(), EXPIRED_MAX)

    def _opened_vault(self) -> Vault:
        if self._vault is None:
            try:
                secret = self._secret()
                if not secret.reveal():
                    raise ConfigError("the secret is empty")
                vault = Vault(secret, _LABEL, self._dice.roll)
                vault.seal(b"", b"")  # so that what is missing is missed before a call is made
            except (OSError, ValueError, ImportError, Fault, ConfigError) as error:
                log.error("answers cannot be sealed: %s", error)
                raise Unavailable(
                    "The gateway cannot keep answers for an Idempotency-Key now; its log says why. "
                    "Try again, or send the request without it."
                ) from error
            self._vault = vault
        return self._vault


async def recover(store: Store, daybook: Daybook, now_ns: int) -> None:
    """End what the last owner of that daybook left running; its orphans have their outcomes already.

    A call that is in the book may have been billed, so it stays the only one. One that is not was never dispatched.
    Raises Unavailable if the store is away.
    """
    for promise in await store.running_promises(daybook.name):
        place = locate(promise.generation)
        call = daybook.read(place[1]) if place is not None and place[0] == daybook.name else None
        entered = call is not None and call.intent.id == promise.generation
        if not entered and await store.generation(promise.generation) is None:
            await store.free_promise(promise)
        else:
            await store.end_promise(promise, Promise.CUT, None, now_ns, 0)


def about(promise: Promise) -> bytes:
    """What a sealed answer is bound to: the API key and the idempotency key it was given for."""
    return promise.key_hash.encode() + b"\0" + promise.digest
