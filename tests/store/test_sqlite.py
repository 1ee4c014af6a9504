"""What only the store in a file has to do: its file, its schema, and company of other processes."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from routebook.config.settings import Settings, StoreTable
from routebook.core.errors import Unavailable
from routebook.core.people import Key
from routebook.store.migrate import migrate, newest_schema
from routebook.store.open import database_path, open_store, upgrade_store
from routebook.store.port import Posting
from routebook.store.sqlite import SqliteStore

from .samples import batch, call, sheet, stored

pytestmark = pytest.mark.anyio

KEY = Key(hash="a" * 64, name="n", label="l", limit=Decimal("5"), created_at="2026-01-01T00:00:00+00:00")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_the_file_and_its_side_files_are_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "home" / "routebook.db"
    store = SqliteStore(path)
    await store.put_key(KEY)
    files = sorted(file.name for file in path.parent.iterdir())
    assert files == ["routebook.db", "routebook.db-shm", "routebook.db-wal"]
    assert {mode_of(file) for file in path.parent.iterdir()} == {0o600}
    assert mode_of(path.parent) == 0o700
    await store.close()


async def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "routebook.db"
    await SqliteStore(path).close()
    path.chmod(0o644)
    await SqliteStore(path).close()
    assert mode_of(path) == 0o600


async def test_everything_is_there_after_the_file_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "routebook.db"
    store = SqliteStore(path)
    await store.put_key(KEY)
    await store.ship("aaa", 7, [], [Posting(KEY.hash, "default", "2026-03-01", Decimal("0.1"))])
    version = await store.version()
    await store.close()
    await store.close()
    again = SqliteStore(path)
    assert await again.keys() == [KEY]
    assert await again.cursor("aaa") == 7
    assert (await again.spend())[0].usage == Decimal("0.1")
    assert await again.version() == version
    await again.close()


async def test_a_closed_store_is_unavailable(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "routebook.db")
    await store.close()
    with pytest.raises(Unavailable):
        await store.keys()
    with pytest.raises(Unavailable):
        await store.put_key(KEY)


async def test_money_is_kept_as_plain_decimal_text(tmp_path: Path) -> None:
    path = tmp_path / "routebook.db"
    store = SqliteStore(path)
    await store.ship("aaa", 1, [], [Posting(KEY.hash, "default", "2026-03-01", Decimal("1E-7"), Decimal("1E+3"))])
    await store.close()
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT usage, byok FROM spend").fetchall() == [("0.0000001", "1000")]
    db.close()


async def test_a_key_disabled_by_hand_in_the_file_changes_the_version(tmp_path: Path) -> None:
    path = tmp_path / "routebook.db"
    store = SqliteStore(path)
    await store.put_key(KEY)
    before = await store.version()
    db = sqlite3.connect(path)
    db.execute("UPDATE keys SET disabled = 1")
    db.commit()
    db.close()
    assert await store.version() != before
    assert (await store.keys())[0].disabled
    await store.close()


async def test_a_write_waits_for_the_writer_of_another_process_and_the_loop_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "routebook.db"
    store = SqliteStore(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    write = asyncio.create_task(store.put_key(KEY))
    done, _ = await asyncio.wait([write], timeout=0.2)
    assert not done
    assert await store.keys() == []  # reads wait for nobody
    other.execute("COMMIT")
    await asyncio.wait_for(write, 10)
    assert await store.keys() == [KEY]
    other.close()
    await store.close()


async def test_all_keys_are_read_off_the_loop(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "routebook.db")
    await store.put_key(KEY)
    readers: dict[int, str] = {}
    for connection in (store._reader, store._looker, store._writer):
        connection.set_trace_callback(lambda statement: readers.setdefault(threading.get_ident(), statement))
    assert await store.keys() == [KEY]
    assert readers
    assert threading.get_ident() not in readers
    await store.close()


async def test_a_failed_transaction_leaves_nothing_behind(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "routebook.db")
    bad = Posting(KEY.hash, "default", None, Decimal(1))  # type: ignore[arg-type]
    with pytest.raises(sqlite3.IntegrityError):
        await store.ship("aaa", 9, [], [bad])
    assert await store.cursor("aaa") == 0
    await store.put_key(KEY)
    assert await store.keys() == [KEY]
    await store.close()


async def test_parallel_writers_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "routebook.db"
    stores = [SqliteStore(path) for _ in range(4)]

    async def write(number: int, store: SqliteStore) -> None:
        for seq in range(1, 26):
            await store.ship(f"d{number}", seq, [], [Posting(KEY.hash, "default", "2026-03-01", Decimal("0.01"))])

    await asyncio.gather(*(write(number, store) for number, store in enumerate(stores)))
    (spend,) = await stores[0].spend()
    assert (spend.usage, spend.requests) == (Decimal("1.00"), 100)
    for store in stores:
        await store.close()


_OPEN = """
import asyncio, sys
from pathlib import Path
from routebook.core.people import Key
from routebook.store.sqlite import SqliteStore
sys.stdin.readline()
store = SqliteStore(Path(sys.argv[1]))
asyncio.run(store.put_key(Key(hash=sys.argv[2] * 64, name="n", label="l")))
"""


def test_processes_that_make_the_file_at_the_same_moment_all_succeed(tmp_path: Path) -> None:
    path = tmp_path / "routebook.db"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", _OPEN, str(path), letter], stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for letter in "abcdef"
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write(b"go\n")
        child.stdin.flush()
    for child in children:
        _, errors = child.communicate(timeout=60)
        assert (child.returncode, errors) == (0, b"")
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT substr(hash, 1, 1) FROM keys ORDER BY 1").fetchall() == [(c,) for c in "abcdef"]
    db.close()


async def test_a_process_that_waited_for_anothers_upgrade_does_not_upgrade_again(tmp_path: Path) -> None:
    path = tmp_path / "routebook.db"
    first, second = (sqlite3.connect(path, isolation_level=None, check_same_thread=False) for _ in range(2))
    first.execute("PRAGMA journal_mode = WAL")
    first.execute("BEGIN IMMEDIATE")
    waiting = threading.Event()
    second.set_trace_callback(lambda statement: waiting.set() if statement.startswith("BEGIN") else None)
    other = asyncio.create_task(asyncio.to_thread(migrate, second))
    assert await asyncio.to_thread(waiting.wait, 10)
    # The first one does its step while the second waits: by hand, because it is in a transaction already.
    first.execute("CREATE TABLE keys (hash TEXT)")
    first.execute(f"PRAGMA user_version = {newest_schema()}")
    first.execute("COMMIT")
    assert await asyncio.wait_for(other, 10) == (newest_schema(), newest_schema())
    first.close()
    second.close()


async def test_a_reader_of_a_file_that_is_not_in_wal_mode_yet_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "routebook.db"
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("PRAGMA user_version = 0")
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM sqlite_schema").fetchall()
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            reader.execute("COMMIT")

    monkeypatch.setattr("routebook.store.sqlite.time.sleep", sleep)
    store = SqliteStore(path)
    assert len(waits) == 3
    assert await store.keys() == []
    reader.close()
    await store.close()


_SHIP = """
import asyncio, sys
from decimal import Decimal
from pathlib import Path
from routebook.store.port import Posting
from routebook.store.sqlite import SqliteStore

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    seq = await store.cursor("aaa")
    while True:
        seq += 1
        await store.ship("aaa", seq, [], [Posting("a" * 64, "default", "2026-03-01", Decimal("0.01"))])
        print(seq, flush=True)

asyncio.run(main())
"""


def test_a_shipper_killed_at_any_moment_has_posted_exactly_what_its_cursor_says(tmp_path: Path) -> None:
    path, acknowledged = tmp_path / "routebook.db", 0
    for kill_after in (1, 2, 7, 20, 60):
        child = subprocess.Popen([sys.executable, "-c", _SHIP, str(path)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        for _ in range(kill_after):
            acknowledged = int(child.stdout.readline())
        child.kill()
        rest = child.stdout.read().split()
        acknowledged = int(rest[-1]) if rest else acknowledged
        child.stdout.close()
        child.wait(10)
        with sqlite3.connect(path) as db:
            ((seq,),) = db.execute("SELECT seq FROM books").fetchall()
            ((usage, requests),) = db.execute("SELECT usage, requests FROM spend").fetchall()
        db.close()
        assert seq >= acknowledged
        assert (Decimal(usage), requests) == (Decimal("0.01") * seq, seq)


async def test_a_database_of_a_newer_version_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "routebook.db"
    await SqliteStore(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(Unavailable, match=r"schema 99 .*Upgrade Routebook"):
        SqliteStore(path)
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (99,)
    db.close()


async def test_a_database_of_another_program_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()
    with pytest.raises(Unavailable, match="another program"):
        SqliteStore(path)
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]
    db.close()


async def test_a_store_that_cannot_be_opened_a_second_time_is_unavailable_and_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk, or another process, may come between its connections."""
    opened: list[sqlite3.Connection] = []
    real = sqlite3.connect

    def connect(*args: Any, **settings: Any) -> sqlite3.Connection:
        if len(opened) == 2:
            raise sqlite3.OperationalError("unable to open database file")
        opened.append(real(*args, **settings))
        return opened[-1]

    monkeypatch.setattr("routebook.store.sqlite.sqlite3.connect", connect)
    with pytest.raises(Unavailable, match="unable to open database file"):
        SqliteStore(tmp_path / "routebook.db")
    for connection in opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


@pytest.mark.parametrize("what", ["no database", "a folder", "below a file"])
async def test_a_file_that_cannot_be_a_store_is_refused_in_a_sentence(tmp_path: Path, what: str) -> None:
    path = tmp_path / "routebook.db"
    if what == "no database":
        path.write_bytes(b"hello, I am a text file that is longer than a header of SQLite. " * 20)
    elif what == "a folder":
        path.mkdir(mode=0o755)
    else:
        path.write_bytes(b"")
        path = path / "deeper.db"
    with pytest.raises(Unavailable) as fault:
        SqliteStore(path)
    assert str(path) in fault.value.message
    if what == "a folder":
        assert mode_of(path) == 0o755


async def test_the_url_of_the_settings_names_the_file(tmp_path: Path) -> None:
    assert database_path(Settings(), tmp_path) == tmp_path / "routebook.db"
    absolute = Settings(store=StoreTable(url=f"sqlite:///{tmp_path}/elsewhere/x.db"))
    assert database_path(absolute, Path("/nowhere")) == tmp_path / "elsewhere" / "x.db"
    with pytest.raises(ValueError, match="no store for postgresql"):
        database_path(Settings(store=StoreTable(url="postgresql://user@host/db")), tmp_path)


async def test_upgrading_says_from_which_schema_to_which(tmp_path: Path) -> None:
    assert upgrade_store(Settings(), tmp_path) == (0, newest_schema())
    assert upgrade_store(Settings(), tmp_path) == (newest_schema(), newest_schema())
    store = open_store(Settings(), tmp_path)
    assert await store.keys() == []
    await store.close()


async def test_a_batch_that_failed_leaves_no_kind_behind_that_the_next_one_would_count_on(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "routebook.db")
    bad = Posting(KEY.hash, "default", None, Decimal(1))  # type: ignore[arg-type]
    with pytest.raises(sqlite3.IntegrityError):
        await store.ship("aaa", 2, [sheet(call(1))], [bad])
    await store.ship("aaa", 2, [sheet(call(2, model="m/other"))], [])
    await store.ship("aaa", 4, [sheet(call(1))], [])
    assert await store.generations(account=None) == [stored(call(2, model="m/other")), stored(call(1))]
    await store.close()


async def test_kinds_that_another_process_deleted_are_made_again(tmp_path: Path) -> None:
    one, other = SqliteStore(tmp_path / "routebook.db"), SqliteStore(tmp_path / "routebook.db")
    day_ns = 86_400 * 10**9
    await one.ship("aaa", 1, [sheet(call(1, accepted_ns=day_ns, model="m/gone"))], [])
    await other.ship("bbb", 1, [sheet(call(9, daybook="bbb", accepted_ns=9 * day_ns))], [])
    assert await other.delete_before(5 * day_ns, 10) == 1
    again = call(2, accepted_ns=day_ns + 1, model="m/gone")
    await one.ship("aaa", 2, [sheet(again)], [])
    assert await other.generation(again.name) == stored(again)
    with sqlite3.connect(one.path) as db:
        assert db.execute("SELECT count(*) FROM kinds").fetchone() == (2,)
    db.close()
    await one.close()
    await other.close()


async def test_a_long_read_does_not_wait_for_a_write(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "routebook.db")
    await store.ship("aaa", 1, [sheet(call(1))], [])
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    write = asyncio.create_task(store.put_key(KEY))
    await asyncio.sleep(0)
    assert await asyncio.wait_for(store.generations(account=None), 4) == [stored(call(1))]
    assert not write.done()
    other.execute("COMMIT")
    other.close()
    await asyncio.wait_for(write, 10)
    await store.close()


async def test_retention_leaves_neither_sheets_nor_kinds_of_calls_that_are_gone(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "routebook.db")
    day_ns = 86_400 * 10**9
    calls = [call(n, accepted_ns=n * day_ns, model=f"m/{n}") for n in range(1, 131)]
    for part in (calls[:50], calls[50:100], calls[100:]):
        await store.ship("aaa", part[-1].n, batch(part), [])
    counts = []
    while await store.delete_before(129 * day_ns, 50):
        with sqlite3.connect(store.path) as db:
            counts.append([db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("sheets", "kinds")])
        db.close()
    assert counts == [[2, 80], [1, 30], [1, 30]]
    assert await store.delete_before(2**62, 50) == 2
    with sqlite3.connect(store.path) as db:
        assert [db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("calls", "sheets")] == [0, 0]
    db.close()
    await store.close()
