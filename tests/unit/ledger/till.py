"""A book and its leases as one thing, for tests that need no loop: the store is in memory, so nothing ever waits."""

from __future__ import annotations

from collections.abc import Coroutine
from decimal import Decimal
from typing import Any, TypeVar

from routebook.core.people import Key
from routebook.ledger.book import Book
from routebook.ledger.leases import Leases
from routebook.ledger.tally import Hold
from routebook.store.memory import MemoryStore

T = TypeVar("T")


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it waits")


class _Leases(Leases):
    async def _surely(self, work: Coroutine[Any, Any, T]) -> T:
        return await work


class Till:
    """A worker that is alone: `hold` asks the store where the purse is too small. All else is the book's."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.book = Book()
        self.store = store or MemoryStore()
        self.now_ns = 0
        self.leases = _Leases(self.book, self.store, "aaa", lambda: self.now_ns)

    def hold(self, key: Key, bound: Decimal | None, accepted_ns: int) -> Hold:
        self.now_ns = accepted_ns
        hold = self.book.hold(key, bound, accepted_ns)
        if hold is None:
            assert bound is not None
            hold = at_once(self.leases.hold(key, bound, accepted_ns))
        return hold

    def __getattr__(self, name: str) -> Any:
        return getattr(self.book, name)
