"""The store in one SQLite file: the default, nothing to install. Several processes may have it open at once.

Small reads run where they are called: in WAL mode a reader waits for nobody. Writes run one after another on a thread
of the store's own, with its own connection, because a writer may have to wait for another process; so do long reads, on
another thread.
Money is decimal text, added in Python inside the transaction. The file is readable by its owner alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time  # noqa: TID251 - only to wait, never to ask what time it is
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from routebook.core.errors import Unavailable
from routebook.core.money import plain
from routebook.core.people import App, Key
from routebook.store import calls, leases, promises
from routebook.store.lending import Ask, Lease, Lent
from routebook.store.migrate import migrate
from routebook.store.port import Amended, ModelSpend, Posting, Promise, Retired, Sheet, Spend, Stored

R = TypeVar("R")

BUSY_MS = 5_000
"""how long a write waits for the writer of another process"""

PAGE = 16_384
"""bytes; a sheet of calls is written in a quarter of the pages that SQLite's default would take"""

_CLOSED = "The store is closed: the gateway is shutting down."
_KEY = (
    "hash, name, label, account, disabled, management, limit_usd, limit_reset, include_byok_in_limit, "
    "created_at, updated_at, expires_at, creator_user_id, workspace_id"
)
_PUT_KEY = f"INSERT OR REPLACE INTO keys ({_KEY}) VALUES ({', '.join('?' * 14)})"


class SqliteStore:
    """`store.port.Store` on a file. Made ready by the constructor: file, schema and connections."""

    def __init__(self, path: Path) -> None:
        """Creates file and folder where missing, and brings the schema up to date. Raises Unavailable if it cannot."""
        self.path = path
        with contextlib.ExitStack() as opened:
            self._writer, _ = _ready(path)
            opened.callback(self._writer.close)
            with _faults():
                self._reader = _connect(path)
                opened.callback(self._reader.close)
                self._looker = _connect(path)
            opened.pop_all()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="routebook-store")
        self._reading = ThreadPoolExecutor(max_workers=1, thread_name_prefix="routebook-reads")
        self._calls = calls.Writer()
        self._closed = False

    # -- keys and apps

    async def keys(self) -> list[Key]:
        # There may be many, and they are read again whenever one changes.
        return await self._look(
            lambda db: [_key(row) for row in db.execute(f"SELECT {_KEY} FROM keys ORDER BY created_at, hash")]
        )

    async def put_key(self, key: Key) -> None:
        await self._write(lambda db: db.execute(_PUT_KEY, _key_row(key)))

    async def change_key(self, known: Key, changed: Key) -> bool:
        def change(db: sqlite3.Connection) -> bool:
            row = db.execute(f"SELECT {_KEY} FROM keys WHERE hash = ?", (known.hash,)).fetchone()
            if row is None or _key(row) != known:
                return False
            db.execute(_PUT_KEY, _key_row(changed))
            return True

        return await self._write(change)

    async def delete_key(self, hash: str) -> bool:
        return await self._write(lambda db: db.execute("DELETE FROM keys WHERE hash = ?", (hash,)).rowcount > 0)

    async def apps(self) -> list[App]:
        return [App(*row) for row in self._read("SELECT id, url, title FROM apps ORDER BY id")]

    async def app(self, url: str, title: str | None) -> App:
        for row in self._read("SELECT id, url, title FROM apps WHERE url = ?", (url,)):
            if title is None or title == row[2]:
                return App(*row)
        statement = (
            "INSERT INTO apps (url, title) VALUES (?, ?) ON CONFLICT (url) DO UPDATE SET "
            "title = coalesce(excluded.title, title) RETURNING id, url, title"
        )
        rows = await self._write(lambda db: db.execute(statement, (url, title)).fetchall())
        return App(*rows[0])

    async def put_app(self, app: App) -> None:
        row = (app.id, app.url, app.title)
        await self._write(lambda db: db.execute("INSERT OR REPLACE INTO apps (id, url, title) VALUES (?, ?, ?)", row))

    # -- generations and spend

    async def cursor(self, daybook: str) -> int:
        rows = self._read("SELECT seq FROM books WHERE daybook = ?", (daybook,))
        return int(rows[0][0]) if rows else 0

    async def ship(
        self,
        daybook: str,
        upto: int,
        generations: Sequence[Sheet],
        postings: Sequence[Posting],
        amendments: Sequence[Amended] = (),
    ) -> None:
        def post(db: sqlite3.Connection) -> None:
            if self._calls.ship(db, daybook, upto, generations, postings, amendments):
                leases.ship(db, daybook, postings)

        def ship(db: sqlite3.Connection) -> None:
            try:
                _transaction(db, post)
            except BaseException:
                self._calls.forget()
                raise

        await self._on_thread(ship)

    async def generation(self, id: str) -> Stored | None:
        if self._closed:
            raise Unavailable(_CLOSED)
        with _faults():
            return _transaction(self._reader, lambda db: calls.find(db, id), "BEGIN")

    async def generations(
        self,
        *,
        account: str | None,
        since_ns: int = 0,
        until_ns: int | None = None,
        model: str | None = None,
        limit: int = 100,
    ) -> list[Stored]:
        return await self._look(lambda db: calls.select(db, account, since_ns, until_ns, model, limit))

    async def spend(self, key_hash: str | None = None) -> list[Spend]:
        return await self._look(lambda db: calls.spends(db, "spend", key_hash))

    async def model_spend(self, since: str) -> list[ModelSpend]:
        return await self._look(lambda db: calls.model_spend(db, since))

    async def delete_before(self, ns: int, limit: int) -> int:
        return await self._write(lambda db: calls.delete_before(db, ns, limit))

    async def retired(self) -> Retired:
        return await self._look(calls.retired)

    async def states(self, account: str | None, since_ns: int, until_ns: int | None) -> dict[int, int]:
        return await self._look(lambda db: calls.states(db, account, since_ns, until_ns))

    async def ended(self, daybook: str, after: int, upto: int) -> int:
        return await self._look(lambda db: calls.ended(db, daybook, after, upto))

    # -- promises

    async def promise(self, key_hash: str, digest: bytes, now_ns: int) -> Promise | None:
        if self._closed:
            raise Unavailable(_CLOSED)
        with _faults():
            return promises.find(self._reader, key_hash, digest, now_ns)

    async def claim_promise(self, promise: Promise, now_ns: int, bytes_max: int) -> Promise | None:
        return await self._write(lambda db: promises.claim(db, promise, now_ns, bytes_max))

    async def end_promise(
        self, promise: Promise, state: int, answer: bytes | None, now_ns: int, bytes_max: int
    ) -> bool:
        return await self._write(lambda db: promises.end(db, promise, state, answer, now_ns, bytes_max))

    async def free_promise(self, promise: Promise) -> bool:
        return await self._write(lambda db: promises.free(db, promise))

    async def running_promises(self, owner: str) -> list[Promise]:
        return await self._look(lambda db: promises.running(db, owner))

    async def expire_promises(self, now_ns: int, limit: int) -> int:
        return await self._write(lambda db: promises.expire(db, now_ns, limit))

    # -- the rest

    async def lend(self, daybook: str, ask: Ask) -> Lent:
        return await self._write(lambda db: leases.lend(db, daybook, ask))

    async def give_back(self, given: Sequence[Lease]) -> None:
        await self._write(lambda db: leases.give_back(db, given))

    async def leases(self, daybook: str | None = None) -> list[Lease]:
        return await self._look(lambda db: leases.select(db, daybook))

    async def forfeit(self, daybook: str) -> list[Lease]:
        return await self._write(lambda db: leases.forfeit(db, daybook))

    async def size(self) -> int:
        ((pages, free, each),) = self._read(
            "SELECT page_count, freelist_count, page_size "
            "FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
        )
        return int((pages - free) * each)

    async def version(self) -> int:
        return int(self._read("SELECT value FROM counters WHERE name = 'version'")[0][0])

    async def close(self) -> None:
        """Waits for a write that is under way. Closing twice is fine."""
        if self._closed:
            return
        self._closed = True
        self._reader.close()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._reading, self._looker.close)
        await loop.run_in_executor(self._thread, self._writer.close)
        self._reading.shutdown(wait=False)
        self._thread.shutdown(wait=False)

    # -- how statements run

    def _read(self, statement: str, values: tuple[Any, ...] = ()) -> list[Any]:
        if self._closed:
            raise Unavailable(_CLOSED)
        with _faults():
            return self._reader.execute(statement, values).fetchall()

    async def _write(self, work: Callable[[sqlite3.Connection], R]) -> R:
        return await self._on_thread(lambda db: _transaction(db, work))

    async def _look(self, work: Callable[[sqlite3.Connection], R]) -> R:
        """A long read, all of it at one moment of the database."""
        return await self._run(self._reading, lambda: _transaction(self._looker, work, "BEGIN"))

    async def _on_thread(self, work: Callable[[sqlite3.Connection], R]) -> R:
        return await self._run(self._thread, lambda: work(self._writer))

    async def _run(self, thread: ThreadPoolExecutor, work: Callable[[], R]) -> R:
        def run() -> R:
            with _faults():
                return work()

        if self._closed:
            raise Unavailable(_CLOSED)
        return await asyncio.get_running_loop().run_in_executor(thread, run)


def upgrade(path: Path) -> tuple[int, int]:
    """Bring the file's schema up to date: (schema before, schema after). Raises Unavailable if it cannot."""
    db, schemas = _ready(path)
    db.close()
    return schemas


def _ready(path: Path) -> tuple[sqlite3.Connection, tuple[int, int]]:
    """A connection to the file, created where missing, and its schema (before, after)."""
    try:
        _prepare_file(path)
        with _faults():
            db = _connect(path)
            try:
                return db, migrate(db)
            except BaseException:
                db.close()
                raise
    except OSError as error:
        raise Unavailable(f"The store {path} cannot be opened: {error.strerror}.") from error
    except Unavailable as fault:
        raise Unavailable(f"{path}: {fault.message}") from fault


def _transaction(db: sqlite3.Connection, work: Callable[[sqlite3.Connection], R], begin: str = "BEGIN IMMEDIATE") -> R:
    db.execute(begin)
    try:
        result = work(db)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return result


def _key_row(key: Key) -> tuple[Any, ...]:
    return (
        key.hash,
        key.name,
        key.label,
        key.account,
        int(key.disabled),
        int(key.management),
        None if key.limit is None else plain(key.limit),
        key.limit_reset,
        int(key.include_byok_in_limit),
        key.created_at,
        key.updated_at,
        key.expires_at,
        key.creator_user_id,
        key.workspace_id,
    )


def _key(row: Any) -> Key:
    return Key(
        hash=row[0],
        name=row[1],
        label=row[2],
        account=row[3],
        disabled=bool(row[4]),
        management=bool(row[5]),
        limit=None if row[6] is None else Decimal(row[6]),
        limit_reset=row[7],
        include_byok_in_limit=bool(row[8]),
        created_at=row[9],
        updated_at=row[10],
        expires_at=row[11],
        creator_user_id=row[12],
        workspace_id=row[13],
    )


def _prepare_file(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        if path.is_file() and path.stat().st_mode & 0o077:
            # SQLite gives its side files the mode of the main one, so this covers them too. A file of another owner
            # that we may use all the same is that owner's decision.
            with contextlib.suppress(PermissionError):
                path.chmod(0o600)


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    db.execute(f"PRAGMA page_size = {PAGE}")  # of a new file; one that exists keeps its own
    _use_wal(db)
    db.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    # A power cut must not take back a key that was handed out; there are few commits, and they are off the loop.
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA journal_size_limit = 67108864")
    return db


def _use_wal(db: sqlite3.Connection) -> None:
    """WAL is a property of the file, set once.

    Where two processes set it at the same moment, SQLite refuses one of them at once, whatever its busy timeout says;
    so the waiting is done here.
    """
    for left in reversed(range(BUSY_MS // 20)):
        try:
            mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError:
            if not left:
                raise
            time.sleep(0.02)
            continue
        if mode != "wal":
            raise Unavailable(f"The store's file system has no shared memory for SQLite (journal mode {mode}).")
        return


@contextlib.contextmanager
def _faults() -> Iterator[None]:
    """What SQLite reports about file and disk is Unavailable; a wrong statement or a broken rule stays what it is."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError, sqlite3.NotSupportedError):
        raise
    except sqlite3.Error as error:
        raise Unavailable(
            f"The store cannot be used now ({error}); check its disk and file rights, then try again.", retry_after=1
        ) from error
