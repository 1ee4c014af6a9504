"""Brings a SQLite store to the schema this version knows: the numbered files of `sql/sqlite`, each in one transaction.

The number of the last file applied is the database's `user_version`. Opening a store and `routebook db upgrade` are the
same code.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from importlib.resources import files

from routebook.core.errors import Unavailable


def migrate(connection: sqlite3.Connection) -> tuple[int, int]:
    """(schema before, schema after). The connection is in autocommit mode.

    Raises Unavailable for a database of a newer version and for one of another program; both stay untouched.
    """
    steps = _steps()
    newest = max(steps)
    before = schema_of(connection)
    if before == newest:
        return before, before
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
