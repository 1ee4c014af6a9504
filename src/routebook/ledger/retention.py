"""Retention: deletes the store's oldest calls by age or by size, in short steps, and never what is an hour old.

Spend stays posted, and the store keeps count of what went, so that the proof of the book still holds. Time is cut at
whole hours and size with a margin: what is deleted is deleted in one go and then there is quiet, so whoever looks at
the whole book meets a store that holds still.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from routebook.observe.log import log
from routebook.store.port import Store

BATCH = 128
"""calls in one step, that is one transaction"""
MARGIN = 10
"""percent of `keep_bytes` that are freed when it is passed"""

_HOUR_NS = 3600 * 10**9
_DAY_NS = 24 * _HOUR_NS
_REST = 4
"""times as long as a step took, until the next one: the shipper uses the same thread and the same file"""
_REST_MIN = 0.01


class Retention:
    """What is configured, and the store it is about. One task of one process runs `once` now and then."""

    def __init__(self, store: Store, keep_days: int | None, keep_bytes: int | None, now_ns: Callable[[], int]) -> None:
        self._store = store
        self._keep_days = keep_days
        self._keep_bytes = keep_bytes
        self._now_ns = now_ns
        self.longest_ns = 0
        """the longest step so far"""

    @property
    def idle(self) -> bool:
        """Everything is kept for ever."""
        return self._keep_days is None and self._keep_bytes is None

    async def once(self) -> int:
        """Delete what is due now; how many calls. Raises Unavailable if the store is away: the rest is due later."""
        deleted = await self._by_age() + await self._by_size()
        if deleted:
            log.info("retention deleted %d calls; the longest step took %.1f ms", deleted, self.longest_ns / 10**6)
        return deleted

    async def _by_age(self) -> int:
        if self._keep_days is None:
            return 0
        before = (self._now_ns() - self._keep_days * _DAY_NS) // _HOUR_NS * _HOUR_NS
        deleted = 0
        while step := await self._step(before):
            deleted += step
        return deleted

    async def _by_size(self) -> int:
        if self._keep_bytes is None or await self._store.size() <= self._keep_bytes:
            return 0
        enough = self._keep_bytes * (100 - MARGIN) // 100
        before = self._now_ns() - _HOUR_NS
        deleted = 0
        while await self._store.size() > enough and (step := await self._step(before)):
            deleted += step
        if await self._store.size() > self._keep_bytes:
            log.warning("the store is larger than store.keep_bytes, but no call in it is older than an hour")
        return deleted

    async def _step(self, before_ns: int) -> int:
        started = self._now_ns()
        deleted = await self._store.delete_before(before_ns, BATCH)
        took = self._now_ns() - started
        self.longest_ns = max(self.longest_ns, took)
        if deleted:
            await asyncio.sleep(max(_REST_MIN, _REST * took / 10**9))
        return deleted
