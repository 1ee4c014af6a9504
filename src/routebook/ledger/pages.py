"""Every generation of the store, page by page, so that any number of them fits into memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

from routebook.store.port import Store, Stored

PAGE = 1000
"""generations read at once"""


async def pages(
    store: Store, since_ns: int = 0, until_ns: int | None = None, model: str | None = None, limit: int = PAGE
) -> AsyncIterator[list[Stored]]:
    """Newest first, accepted in [since_ns, until_ns), each exactly once; what is shipped meanwhile may be there or
    not. `model`: the slug that answered. Raises Unavailable."""
    # Calls of the nanosecond that the next page begins with, which were given out already.
    edge: set[str] = set()
    at = -1
    while True:
        page = await store.generations(account=None, since_ns=since_ns, until_ns=until_ns, model=model, limit=limit)
        fresh = [stored for stored in page if stored.id not in edge]
        if fresh:
            yield fresh
        if len(page) < limit:
            return
        # The next page begins with the very nanosecond this one ended in, since more calls of it may exist.
        last = page[-1].accepted_ns
        limit = limit if fresh and page[0].accepted_ns != last else limit * 2
        # Kept as long as pages begin with it: calls of it that are shipped meanwhile come first and push others out.
        edge = {stored.id for stored in page if stored.accepted_ns == last} | (edge if last == at else set())
        until_ns, at = last + 1, last
