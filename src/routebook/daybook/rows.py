"""The daybook's one table: its SQL, how rows are written in one statement and read back by call number.

`seq` counts rows without a gap and never restarts; the one index covers `(n, state)`, so that a call is found by its
number and unfinished calls are found without touching a blob.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from routebook.core.generation import Folded, Row, State
from routebook.metering.folding import fold

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS rows (seq INTEGER PRIMARY KEY, n INTEGER NOT NULL, id TEXT, state INTEGER, blob BLOB)",
    "CREATE INDEX IF NOT EXISTS by_n ON rows (n, state)",
)

WIDEST = 64
"""rows in one INSERT; each width is its own prepared statement"""

_COLUMNS = "seq, n, id, state, blob"
_SCAN_STEP = 256

Entry = tuple[int, str, int, bytes]
"""n, id, state, blob: a row that has no sequence yet"""


@lru_cache(maxsize=WIDEST)
def _insert_sql(width: int) -> str:
    return f"INSERT INTO rows ({_COLUMNS}) VALUES " + ",".join(["(?,?,?,?,?)"] * width)


def insert(conn: sqlite3.Connection, first: int, entries: list[Entry]) -> None:
    """Write all entries as rows `first`, `first + 1`, … in one transaction; all or none. Raises sqlite3.Error."""
    width = len(entries)
    if width <= WIDEST:
        # One statement is its own transaction: that saves the two round trips of BEGIN and COMMIT.
        conn.execute(_insert_sql(width), _parameters(first, entries))
        return
    conn.execute("BEGIN IMMEDIATE")
    try:
        for start in range(0, width, WIDEST):
            part = entries[start : start + WIDEST]
            conn.execute(_insert_sql(len(part)), _parameters(first + start, part))
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise


def _parameters(first: int, entries: list[Entry]) -> list[Any]:
    values: list[Any] = []
    for seq, entry in enumerate(entries, first):
        values.append(seq)
        values.extend(entry)
    return values


def after(conn: sqlite3.Connection, seq: int, limit: int) -> list[Row]:
    """Rows with a higher seq, in order, at most `limit`."""
    found = conn.execute(f"SELECT {_COLUMNS} FROM rows WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit))
    return [Row(*values) for values in found.fetchall()]


def of_call(conn: sqlite3.Connection, n: int) -> list[Row]:
    """The rows of one call number, in order."""
    found = conn.execute(f"SELECT {_COLUMNS} FROM rows WHERE n = ? ORDER BY seq", (n,))
    return [Row(*values) for values in found.fetchall()]


def calls(conn: sqlite3.Connection) -> Iterator[list[Row]]:
    """The rows of every call, call by call in order of n. Reads in steps, so that no cursor stays open in between."""
    n = -1
    while True:
        (start,) = conn.execute("SELECT MIN(n) FROM rows WHERE n > ?", (n,)).fetchone()
        if start is None:
            return
        n = start + _SCAN_STEP - 1
        group: list[Row] = []
        for values in conn.execute(
            f"SELECT {_COLUMNS} FROM rows WHERE n BETWEEN ? AND ? ORDER BY n, seq", (start, n)
        ).fetchall():
            row = Row(*values)
            if group and group[0].n != row.n:
                yield group
                group = []
            group.append(row)
        if group:
            yield group


def folds(conn: sqlite3.Connection) -> Iterator[Folded]:
    """Every call folded, in order of n; rows without an intent (a damaged book) are left out."""
    for group in calls(conn):
        folded = fold(group)
        if folded is not None:
            yield folded


def unfinished(conn: sqlite3.Connection) -> list[int]:
    """Call numbers without a terminal row."""
    lowest = min(State.TERMINAL)
    found = conn.execute("SELECT n FROM rows GROUP BY n HAVING MAX(state) < ? ORDER BY n", (lowest,))
    return [n for (n,) in found.fetchall()]


def highest(conn: sqlite3.Connection) -> tuple[int, int]:
    """(seq, n) of the highest stored, 0 where the book is empty."""
    (seq,) = conn.execute("SELECT COALESCE(MAX(seq), 0) FROM rows").fetchone()
    (n,) = conn.execute("SELECT COALESCE(MAX(n), 0) FROM rows").fetchone()
    return seq, n
