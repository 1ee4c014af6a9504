"""Every generation once, also of one nanosecond, also while more are shipped."""

from __future__ import annotations

import asyncio

from routebook.ledger.pages import pages
from routebook.store.memory import MemoryStore
from tests.store.samples import batch, call


async def shipped(store: MemoryStore, first: int, last: int, at: int = 5_000) -> None:
    await store.ship("aaa", 2 * last, batch([call(n, accepted_ns=at) for n in range(first, last + 1)]), [])


def test_calls_of_one_nanosecond_that_are_shipped_between_two_pages_bring_no_call_twice() -> None:
    async def run() -> None:
        store = MemoryStore()
        await shipped(store, 1, 40)
        await shipped(store, 41, 60, at=4_000)
        seen: list[int] = []
        after = 61
        async for page in pages(store, limit=4):
            seen += [stored.n for stored in page]
            if after < 300:
                await shipped(store, after, after + 2 + len(page))  # newer ones of the same nanosecond come first
                after += 3 + len(page)
        assert len(seen) == len(set(seen)), sorted(n for n in seen if seen.count(n) > 1)
        assert set(range(1, 61)) <= set(seen)

    asyncio.run(run())


def test_a_period_and_a_model_narrow_it() -> None:
    async def run() -> None:
        store = MemoryStore()
        calls = [call(n, accepted_ns=1_000 + n, model="m/one" if n % 2 else "m/two") for n in range(1, 101)]
        await store.ship("aaa", 200, batch(calls), [])
        found = [stored.n async for page in pages(store, 1_010, 1_020, "m/two", limit=3) for stored in page]
        assert found == [18, 16, 14, 12, 10]

    asyncio.run(run())
