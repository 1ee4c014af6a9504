"""A store of an earlier schema says after its upgrade what it said before."""

from __future__ import annotations

import sqlite3
from importlib.resources import files
from pathlib import Path

import pytest
from msgspec.structs import replace

from routebook.core.generation import Amendment, Folded
from routebook.core.money import plain
from routebook.store.migrate import newest_schema
from routebook.store.port import Kind, Stored
from routebook.store.sqlite import SqliteStore
from routebook.wire.codec import pack

from .samples import call, sheet, stored

pytestmark = pytest.mark.anyio


def first_schema(path: Path, rows: list[Stored], cursors: dict[str, int]) -> None:
    """A database as the first schema kept it: a row with a packed Folded for each call."""
    db = sqlite3.connect(path)
    script = next(file for file in (files("routebook.store") / "sql" / "sqlite").iterdir() if file.name[:4] == "0001")
    db.executescript(script.read_text("utf-8"))
    for each in rows:
        db.execute(
            "INSERT INTO generations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                each.daybook, each.n, each.id, each.accepted_ns, each.account, each.key_hash, each.model, each.provider,
                each.state, plain(each.total), each.folded,
            ),
        )  # fmt: skip
    db.executemany("INSERT INTO cursors VALUES (?, ?)", cursors.items())
    db.execute("INSERT INTO spend VALUES ('k', 'a', '2026-03-01', '1.5', '0', 3)")
    db.execute("PRAGMA user_version = 1")
    db.commit()
    db.close()


async def test_calls_amendments_cursors_and_spend_are_what_they_were(tmp_path: Path) -> None:
    calls = [
        call(1, total="0.00000012", provider="P"),
        call(2, progress=True, byok="0.25"),
        call(3, daybook="bbb", model="m/two", account="acme"),
        call(4, id="gen-of-another-shape"),
    ]
    rows = [stored(each) for each in calls]
    amendments = (Amendment(at_ns=1, tokens_prompt=3), Amendment(at_ns=2, tokens_completion=4))
    folded: Folded = replace(calls[2].folded, seq=9, amendments=amendments)
    rows[2] = replace(rows[2], folded=pack(folded))
    first_schema(tmp_path / "routebook.db", rows, {"aaa": 8})

    store = SqliteStore(tmp_path / "routebook.db")
    assert await store.generations(account=None) == rows[::-1]
    assert [await store.generation(row.id) for row in rows] == rows
    assert await store.generations(account="acme", model="m/two") == [rows[2]]
    assert (await store.cursor("aaa"), await store.cursor("bbb")) == (8, 0)
    assert [(each.day, str(each.usage), each.requests) for each in await store.spend()] == [("2026-03-01", "1.5", 3)]

    later = call(5, provider="P")
    await store.ship("aaa", 10, [sheet(later)], [])
    assert await store.generations(account=None, limit=1) == [stored(later)]
    assert await store.delete_before(2**62, 100) == 5
    (mine, theirs) = sorted((await store.retired()).spends, key=lambda spend: spend.requests, reverse=True)
    assert (mine.requests, str(mine.byok), theirs.account) == (4, "0.25", "acme")
    await store.close()


async def test_kinds_are_told_apart_by_what_is_missing_in_them(tmp_path: Path) -> None:
    calls = [call(1), call(2, provider="P"), call(3), call(4, provider="P")]
    first_schema(tmp_path / "routebook.db", [stored(each) for each in calls], {})
    store = SqliteStore(tmp_path / "routebook.db")
    with sqlite3.connect(store.path) as db:
        kinds = [Kind(*row) for row in db.execute("SELECT account, key_hash, model, provider FROM kinds ORDER BY id")]
    db.close()
    assert sorted(kind.provider or "" for kind in kinds) == ["", "P"]
    await store.ship("aaa", 10, [sheet(call(5), call(6, provider="P"))], [])
    with sqlite3.connect(store.path) as db:
        assert db.execute("SELECT count(*) FROM kinds").fetchone() == (2,)
        assert db.execute("PRAGMA user_version").fetchone() == (newest_schema(),)
    db.close()
    await store.close()
