"""Brings a SQLite store to the schema this version knows: the numbered files of `sql/sqlite`, each in one transaction.

The number of the last file applied is the database's `user_version`. Opening a store and `routebook db upgrade` are the
same code. What a file cannot say in SQL it calls by name: the functions at the end of this file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from importlib.resources import files

import msgspec

from routebook.core.errors import Unavailable
from routebook.core.money import plain
from routebook.store.sheets import notes_of, place_of, row_of
from routebook.wire.codec import Raw, pack, unpack


def migrate(connection: sqlite3.Connection) -> tuple[int, int]:
    """(schema before, schema after). The connection is in autocommit mode.

    Raises Unavailable for a database of a newer version and for one of another program; both stay untouched.
    """
    steps = _steps()
    newest = max(steps)
    before = schema_of(connection)
    if before == newest:
        return before, before
    _add_functions(connection)
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have done it while this one waited for the lock.
        before = schema_of(connection)
        if before > newest:
            raise Unavailable(
                f"The store has schema {before} of a newer version; this one knows {newest}. Upgrade Routebook."
            )
        if before == 0 and connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            raise Unavailable("The store's file is a database of another program; name another file in store.url.")
        for number in range(before + 1, newest + 1):
            for statement in _statements(steps[number]):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {newest}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return before, newest


def newest_schema() -> int:
    """The schema this version knows."""
    return max(_steps())


def schema_of(connection: sqlite3.Connection) -> int:
    """The schema a database has; 0 for an empty file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _steps() -> dict[int, str]:
    folder = files("routebook.store") / "sql" / "sqlite"
    return {int(file.name[:4]): file.read_text("utf-8") for file in folder.iterdir() if file.name.endswith(".sql")}


def _statements(text: str) -> Iterator[str]:
    """The statements of a script one by one: `executescript` would end the transaction around it."""
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        raise AssertionError(f"unfinished SQL statement: {statement.strip()[:60]}")


class _Folded(msgspec.Struct):
    """A packed core.generation.Folded, its parts unread."""

    seq: int
    intent: Raw
    progress: Raw
    """of nothing, if there was none"""
    outcome: Raw
    amendments: tuple[Raw, ...]


class _Price(msgspec.Struct, array_like=True):
    total: Decimal
    upstream: Decimal | None = None


class _End(msgspec.Struct, array_like=True):
    """The beginning of an outcome, as far as `byok_of` needs it."""

    ended_ns: int
    model: str | None
    provider_name: str | None
    charge: _Price
    is_byok: bool


def _add_functions(connection: sqlite3.Connection) -> None:
    """Of 0002: from the packed Folded that a generation was until then to its parts."""

    def folded(blob: bytes) -> _Folded:
        return unpack(blob, _Folded)

    def intents_of(blob: bytes) -> bytes:
        return row_of([bytes(folded(blob).intent)])

    def outcomes_of(blob: bytes) -> bytes:
        return row_of([bytes(folded(blob).outcome)])

    def progress_of(blob: bytes) -> bytes | None:
        progress = bytes(folded(blob).progress)
        return None if progress == pack(None) else notes_of({0: progress})

    def seq_of(blob: bytes) -> int:
        whole = folded(blob)
        return whole.seq - len(whole.amendments)

    def byok_of(blob: bytes) -> str | None:
        end = unpack(bytes(folded(blob).outcome), _End)
        return plain(end.charge.upstream) if end.is_byok and end.charge.upstream is not None else None

    def amendment_of(blob: bytes, place: int) -> bytes | None:
        amendments = folded(blob).amendments
        return bytes(amendments[place]) if place < len(amendments) else None

    def names(id: str, daybook: str, n: int) -> bool:
        return place_of(id) == (daybook, n)

    for function in (intents_of, outcomes_of, progress_of, seq_of, byok_of, amendment_of, names):
        connection.create_function(function.__name__, function.__code__.co_argcount, function, deterministic=True)
