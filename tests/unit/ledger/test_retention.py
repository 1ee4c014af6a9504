"""Retention on a real store: by age at whole hours, by size with a margin, in steps, and the proof after it."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from routebook.ledger import retention as module
from routebook.ledger.retention import Retention
from routebook.store.sqlite import SqliteStore
from tests.store.samples import batch, call

HOUR_NS = 3600 * 10**9
DAY_NS = 24 * HOUR_NS
NOW_NS = 20_000 * DAY_NS + HOUR_NS // 2


async def filled(path: Path, hours: int, *, each: int = 1) -> SqliteStore:
    """`each` calls an hour, a nanosecond apart, the last of them now."""
    store = SqliteStore(path / "routebook.db")
    calls = [
        call(n, accepted_ns=NOW_NS - n // each * HOUR_NS - n % each, total="0.25", finish="x" * 2000)
        for n in range(hours * each - 1, -1, -1)
    ]
    for start in range(0, len(calls), 500):
        await store.ship("aaa", start + 500, batch(calls[start : start + 500]), [])
    return store


async def left(store: SqliteStore) -> int:
    return sum((await store.states(None, 0, None)).values())


def test_calls_older_than_the_days_that_are_kept_go_in_steps_at_whole_hours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 7)
    now = NOW_NS

    async def run() -> None:
        nonlocal now
        store = await filled(tmp_path, 72)
        retention = Retention(store, 1, None, lambda: now)
        assert await retention.once() == 72 - 25
        assert await left(store) == 25
        assert (await store.retired()).books[0].calls == 47
        now += HOUR_NS // 2 - 1
        assert await retention.once() == 0, "nothing between two whole hours"
        now += 1
        assert await retention.once() == 1
        assert sum(each.usage for each in (await store.retired()).spends) == 48 * Decimal("0.25")
        await store.close()

    asyncio.run(run())


def test_a_store_that_is_too_large_loses_its_oldest_calls_down_to_a_margin(tmp_path: Path) -> None:
    async def run() -> None:
        store = await filled(tmp_path, 2, each=2000)
        size = await store.size()
        retention = Retention(store, None, size - 1, lambda: NOW_NS + 1)
        deleted = await retention.once()
        assert 0 < deleted < 2000
        assert await store.size() <= size * 9 // 10
        assert (await store.generations(account=None, limit=1))[0].accepted_ns == NOW_NS
        assert await retention.once() == 0
        await store.close()

    asyncio.run(run())


def test_no_call_of_the_last_hour_is_deleted_however_large_the_store_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        store = await filled(tmp_path, 2, each=100)
        assert await Retention(store, None, 1, lambda: NOW_NS - 99).once() == 0
        assert await Retention(store, None, 1, lambda: NOW_NS + 1).once() == 100
        assert await left(store) == 100
        await store.close()

    with caplog.at_level("WARNING", "routebook"):
        asyncio.run(run())
    assert "larger than store.keep_bytes" in caplog.text


def test_without_a_setting_everything_is_kept(tmp_path: Path) -> None:
    async def run() -> None:
        store = await filled(tmp_path, 5)
        retention = Retention(store, None, None, lambda: NOW_NS * 2)
        assert retention.idle
        assert await retention.once() == 0
        assert await left(store) == 5
        await store.close()

    asyncio.run(run())
