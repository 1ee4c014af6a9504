"""Reads the daybooks of a data folder from any process, beside a running gateway or without one. Never writes a row."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from routebook.core.generation import Folded, Row
from routebook.daybook import folder, rows
from routebook.metering.folding import fold


class ReadOnlyDaybook:
    """One daybook as it stands on the disk: committed rows only. Use as a context manager, or `close()` it."""

    def __init__(self, home: Path, name: str) -> None:
        self.name = name
        self.path = folder.segment(home, name)
        self._conn = _connect(self.path)

    def rows(self, after: int, limit: int) -> list[Row]:
        """Rows with seq > after, in order, at most `limit`."""
        return rows.after(self._conn, after, limit)

    def scan(self) -> Iterator[Folded]:
        """Every call folded, in order of n."""
        return rows.folds(self._conn)

    def calls(self) -> Iterator[list[Row]]:
        """The rows of every call as they are, in order of n: for who proves the book."""
        return rows.calls(self._conn)

    def read(self, n: int) -> Folded | None:
        """The call of that number, None if there is none."""
        return fold(rows.of_call(self._conn, n))

    def call(self, n: int) -> list[Row]:
        """The rows of one call number as they are, in order."""
        return rows.of_call(self._conn, n)

    def unfinished(self) -> list[int]:
        """Numbers of the calls without an outcome: under way, or left by a gateway that died and not started since."""
        return rows.unfinished(self._conn)

    def highest(self) -> tuple[int, int]:
        """(seq, n) of the highest stored, 0 where the book is empty."""
        return rows.highest(self._conn)

    def close(self) -> None:
        self._conn.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_daybooks(home: Path) -> list[ReadOnlyDaybook]:
    """All daybooks of the data folder, in order of name; empty where no gateway ever ran."""
    return [ReadOnlyDaybook(home, name) for name in folder.names(home) if has_table(folder.segment(home, name))]


def _connect(path: Path) -> sqlite3.Connection:
    conn = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=5.0)
    try:
        conn.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        conn.close()
        if path.with_name(path.name + "-wal").exists():
            raise
        # Somebody else's folder that may not be written, and no gateway runs: there is no log, the file says it all.
        conn = sqlite3.connect(f"{path.resolve().as_uri()}?immutable=1", uri=True, isolation_level=None)
    return conn


def has_table(path: Path) -> bool:
    """The file is a daybook. Raises sqlite3.Error if it cannot be read."""
    # A gateway that was killed while making its folder leaves an empty file, which is no daybook yet.
    if not path.is_file():
        return False
    conn = _connect(path)
    try:
        return conn.execute("SELECT 1 FROM sqlite_master WHERE name = 'rows'").fetchone() is not None
    finally:
        conn.close()
