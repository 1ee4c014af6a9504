"""The store as everybody sees it: a dozen verbs and plain structs. Concrete stores are named by `compose.py` alone.

All verbs are async so that a database across the network fits; they raise Unavailable when it cannot be reached.
One conformance suite (`tests/store`) runs against every implementation.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

import msgspec

from routebook.core.people import App, Key


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


class Posting(msgspec.Struct, frozen=True):
    """Spend of one call, added to its key's day."""

    key_hash: str
    account: str
    day: str
    """UTC day the call was accepted on, YYYY-MM-DD"""
    usage: Decimal
    byok: Decimal = Decimal(0)
    requests: int = 1


class Spend(msgspec.Struct, frozen=True):
    """What one key spent on one UTC day; exact."""

    key_hash: str
    account: str
    day: str
    usage: Decimal
    byok: Decimal
    requests: int


class Store(Protocol):
    async def keys(self) -> list[Key]: ...

    async def put_key(self, key: Key) -> None:
        """Insert or replace by hash."""

    async def delete_key(self, hash: str) -> bool: ...

    async def apps(self) -> list[App]: ...

    async def app(self, url: str, title: str | None) -> App:
        """The app of that URL, created with the next id if new; a title that is given replaces the old one."""

    async def put_app(self, app: App) -> None: ...

    async def cursor(self, daybook: str) -> int:
        """Highest daybook sequence whose rows are in the store; 0 for an unknown daybook."""

    async def ship(self, daybook: str, upto: int, generations: list[Stored], postings: list[Posting]) -> None:
        """One transaction: upsert generations by (daybook, n), add postings, move the cursor to `upto`.

        A generation whose (daybook, n) is there already in a terminal state is replaced (amendments came), and the
        caller must not repeat its posting. `upto` not above the cursor: nothing happens at all.
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

    async def spend(self) -> list[Spend]:
        """All days of all keys."""

    async def version(self) -> int:
        """Changes whenever keys or apps changed, by whichever process: then snapshots are read again.

        Shipping does not change it: rows come twice a second, and nobody keeps a snapshot of them.
        """

    async def close(self) -> None: ...
