"""The store as everybody sees it: a dozen verbs and plain structs. Concrete stores are named by `compose.py` alone.

All verbs are async so that a database across the network fits; they raise Unavailable when it cannot be reached.
One conformance suite (`tests/store`) runs against every implementation.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar, Protocol

import msgspec

from routebook.core.errors import Unavailable
from routebook.core.people import App, Key

if TYPE_CHECKING:
    from routebook.store.lending import Ask, Lease, Lent


class Kind(msgspec.Struct, frozen=True, eq=False):
    """Who called what, and who served it: what many calls have in common. Compared by identity, so that a look-up is
    cheap; two kinds of equal fields mean the same."""

    account: str
    key_hash: str
    model: str | None
    provider: str | None


SHEET = 64
"""calls in one sheet at most"""


class Sheet(msgspec.Struct, frozen=True):
    """Ended calls of one daybook on their way into the store, at most `SHEET`: their blobs as the daybook wrote them,
    side by side, and column by column what queries ask for. The place of a call in all of them is its slot."""

    n: list[int]
    seq: list[int]
    """daybook sequence of the terminal row"""
    accepted_ns: list[int]
    kind: list[Kind]
    state: list[int]
    total: list[str]
    """USD charged, plain decimal text"""
    byok: list[str | None]
    """list price of a call on the caller's own provider key, plain decimal text; None for any other call"""
    intents: bytes
    """msgpack array of packed core.generation.Intent"""
    outcomes: bytes
    """msgpack array of packed core.generation.Outcome"""
    progress: dict[int, bytes] = {}
    """slot -> packed core.generation.Progress, the last one; of calls that had any"""
    odd_ids: dict[int, str] = {}
    """slot -> id, where its last nine characters do not name (daybook, n) as `core.ids.generation_id` writes them"""


class Amended(msgspec.Struct, frozen=True):
    """Something learnt after the end of a call; the call may have been shipped long before."""

    daybook: str
    """of the call"""
    n: int
    seq: int
    """in the daybook that is being shipped"""
    blob: bytes
    """packed core.generation.Amendment"""


class Stored(msgspec.Struct, frozen=True):
    """One generation as shipped: the folded rows of one daybook call, packed (`wire.codec.pack`)."""

    id: str
    daybook: str
    n: int
    accepted_ns: int
    account: str
    key_hash: str
    model: str | None
    provider: str | None
    state: int
    total: Decimal
    folded: bytes
    """packed core.generation.Folded"""


class ModelSpend(msgspec.Struct, frozen=True):
    """What callers spent on one model that they named themselves, on one UTC day; exact. What a router chose for them
    is not in it, so that a ranking made of it does not feed on itself."""

    model: str
    day: str
    usd: Decimal
    """what was charged, and the list price where the caller's own provider key paid"""


class Posting(msgspec.Struct, frozen=True):
    """Spend of one call or several, added to its key's day."""

    key_hash: str
    account: str
    day: str
    """UTC day the call was accepted on, YYYY-MM-DD"""
    usage: Decimal
    byok: Decimal = Decimal(0)
    requests: int = 1
    models: tuple[ModelSpend, ...] = ()
    """how much of it is which model's; each with the day of the posting"""


class Spend(msgspec.Struct, frozen=True):
    """What one key spent on one UTC day; exact."""

    key_hash: str
    account: str
    day: str
    usage: Decimal
    byok: Decimal
    requests: int


class RetiredBook(msgspec.Struct, frozen=True):
    """What retention has deleted of the calls of one daybook."""

    daybook: str
    calls: int
    seq: int
    """no call that ended with a later row is among them"""


class Retired(msgspec.Struct, frozen=True):
    """What retention has deleted so far: the spend of these calls stays posted, though no generation explains it."""

    kept_since_ns: int
    """calls accepted before may be gone; 0 = nothing was ever deleted"""
    spends: list[Spend]
    books: list[RetiredBook] = []
    """in order of name"""


class Promise(msgspec.Struct, frozen=True):
    """What one Idempotency-Key of one API key was promised: one call at most, and its answer again while it is kept."""

    RUNNING: ClassVar[int] = 0
    """the call is under way, or its process died"""
    KEPT: ClassVar[int] = 1
    """its answer is here"""
    LARGE: ClassVar[int] = 2
    """it ended, with an answer too large to be kept"""
    CUT: ClassVar[int] = 3
    """it ended, and there was no whole answer that could be kept"""
    DROPPED: ClassVar[int] = 4
    """it ended, and its answer made room for younger ones"""

    key_hash: str
    """of the API key"""
    digest: bytes
    """of the idempotency key, which itself is stored nowhere"""
    request: bytes
    """digest of what was asked"""
    generation: str
    """id of the call"""
    owner: str
    """daybook of the process that makes the call"""
    state: int
    made_ns: int
    ends_ns: int
    """from then on it is as if it had never been"""
    answer: bytes | None = None
    """sealed; of KEPT ones"""


def full(bytes_max: int) -> Unavailable:
    """There is no room for one more promise, though every answer that could be dropped was."""
    return Unavailable(
        f"The requests with an Idempotency-Key fill the {bytes_max} bytes that are kept for them; "
        "send this one without the key, or raise [idempotency] total_bytes.",
        retry_after=60,
    )


class Store(Protocol):
    async def keys(self) -> list[Key]: ...

    async def put_key(self, key: Key) -> None:
        """Insert or replace by hash."""

    async def change_key(self, known: Key, changed: Key) -> bool:
        """Replace `known` by `changed`, which has the same hash. False, and nothing happens, if that key is not as it
        was known any more: another process changed or deleted it meanwhile."""

    async def delete_key(self, hash: str) -> bool: ...

    async def apps(self) -> list[App]: ...

    async def app(self, url: str, title: str | None) -> App:
        """The app of that URL, created with the next id if new; a title that is given replaces the old one."""

    async def put_app(self, app: App) -> None: ...

    async def cursor(self, daybook: str) -> int:
        """Highest daybook sequence whose rows are in the store; 0 for an unknown daybook."""

    async def ship(
        self,
        daybook: str,
        upto: int,
        generations: Sequence[Sheet],
        postings: Sequence[Posting],
        amendments: Sequence[Amended] = (),
    ) -> None:
        """One transaction: put generations by (daybook, n), add postings and amendments, move the cursor to `upto`.
        What is posted is taken off the daybook's leases.

        `upto` not above the cursor: nothing happens at all. A generation whose (daybook, n) is there already is
        replaced; the caller must not repeat its posting.
        """

    async def generation(self, id: str) -> Stored | None: ...

    async def generations(
        self,
        *,
        account: str | None,
        since_ns: int = 0,
        until_ns: int | None = None,
        model: str | None = None,
        limit: int = 100,
    ) -> list[Stored]:
        """Newest first; accepted in [since_ns, until_ns); `account` and `model` None = all."""

    async def spend(self, key_hash: str | None = None) -> list[Spend]:
        """All days of all keys, or of one; in order of day, key and account."""

    async def model_spend(self, since: str) -> list[ModelSpend]:
        """Of each model and day, from that UTC day (YYYY-MM-DD) on, in order of day and model. Neither retention nor a
        charge made anew changes it."""

    async def delete_before(self, ns: int, limit: int) -> int:
        """Delete the oldest generations accepted before `ns`, at most `limit` of them, with their amendments; how many.

        Spend stays, and `retired` grows by what was theirs. One short transaction: repeat it until it gives 0.
        """

    async def retired(self) -> Retired: ...

    async def states(self, account: str | None, since_ns: int, until_ns: int | None) -> dict[int, int]:
        """Terminal state -> how many generations, accepted in [since_ns, until_ns); `account` None = all."""

    async def ended(self, daybook: str, after: int, upto: int) -> int:
        """How many generations of that daybook ended with a row in (after, upto]."""

    async def promise(self, key_hash: str, digest: bytes, now_ns: int) -> Promise | None:
        """The promise of that idempotency key, unless its time is over."""

    async def claim_promise(self, promise: Promise, now_ns: int, bytes_max: int) -> Promise | None:
        """Put it, RUNNING and durable, unless there is one: then that is given back and nothing happens.

        All promises take `bytes_max` at most: old answers make room. Raises Unavailable where that is not enough.
        """

    async def end_promise(
        self, promise: Promise, state: int, answer: bytes | None, now_ns: int, bytes_max: int
    ) -> bool:
        """A running promise is over; durable. An answer that finds no room is not kept (DROPPED).

        False, and nothing happens, if there is no running one of that key and generation.
        """

    async def free_promise(self, promise: Promise) -> bool:
        """Delete a running promise: the next request with its key makes a call. False as `end_promise`."""

    async def running_promises(self, owner: str) -> list[Promise]:
        """Those of that daybook that nobody has ended, the oldest first."""

    async def expire_promises(self, now_ns: int, limit: int) -> int:
        """Delete promises whose time is over, at most `limit`; how many. Repeat it until it gives 0."""

    async def lend(self, daybook: str, ask: Ask) -> Lent:
        """One transaction: grant more of a budget to a daybook, or nothing, as `store.lending.lend` says; durable.

        `ship` takes what it posts off the daybook's leases, in its own transaction.
        """

    async def give_back(self, given: Sequence[Lease]) -> None:
        """Take these amounts off these leases, never below zero. To be called by who owns them, for what it has not
        spent and will not spend."""

    async def leases(self, daybook: str | None = None) -> list[Lease]:
        """Those of that daybook, or all, that are above zero."""

    async def forfeit(self, daybook: str) -> list[Lease]:
        """Give back all that a daybook has, because it was recovered or will never be; what that was."""

    async def size(self) -> int:
        """Bytes in use; what deleting has freed is not counted, though a file may keep it for later."""

    async def version(self) -> int:
        """Changes whenever keys changed, by whichever process: then snapshots of them are read again.

        Nothing that calls bring along changes it, neither their rows nor new apps: nobody keeps a snapshot of those.
        """

    async def close(self) -> None: ...
