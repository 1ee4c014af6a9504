"""Promises in SQLite: the rows behind requests with an Idempotency-Key, one for each key of each API key.

Every function is one step of a transaction of the caller's. A row is small and stays for its whole time, because it is
what forbids a second call; an answer may go before it, the oldest first, where the bytes of all of them are limited.
"""

from __future__ import annotations

import sqlite3

from routebook.store.port import Promise, full

ROW_BYTES = 512
"""what a promise counts as beside its answer: its row and its places in the indexes"""
OVER_MAX = 64
"""promises that are deleted in passing, at most, to make room"""
DROPPED_MAX = 2048
"""answers that are dropped for one: as many of the smallest as one of the largest needs"""

_FIELDS = "key_hash, digest, request, generation, owner, state, made_ns, ends_ns, answer"


def find(db: sqlite3.Connection, key_hash: str, digest: bytes, now_ns: int) -> Promise | None:
    """The promise of that key, unless its time is over."""
    row = db.execute(
        f"SELECT {_FIELDS} FROM promises WHERE key_hash = ? AND digest = ? AND ends_ns > ?", (key_hash, digest, now_ns)
    ).fetchone()
    return None if row is None else Promise(*row)


def claim(db: sqlite3.Connection, promise: Promise, now_ns: int, bytes_max: int) -> Promise | None:
    """Insert it unless there is one; gives the one that is there. Raises Unavailable where there is no room."""
    standing = find(db, promise.key_hash, promise.digest, now_ns)
    if standing is not None:
        return standing
    db.execute("DELETE FROM promises WHERE key_hash = ? AND digest = ?", (promise.key_hash, promise.digest))
    if not _make_room(db, ROW_BYTES, now_ns, bytes_max):
        raise full(bytes_max)
    db.execute(
        f"INSERT INTO promises ({_FIELDS}, size) VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, ?)",
        (
            promise.key_hash,
            promise.digest,
            promise.request,
            promise.generation,
            promise.owner,
            Promise.RUNNING,
            promise.made_ns,
            promise.ends_ns,
            ROW_BYTES,
        ),
    )
    return None


def end(
    db: sqlite3.Connection, promise: Promise, state: int, answer: bytes | None, now_ns: int, bytes_max: int
) -> bool:
    """From RUNNING to `state`; False if that very promise is not running any more. No room for the answer: DROPPED."""
    that_one = "WHERE key_hash = ? AND digest = ? AND generation = ? AND state = 0"
    place = (promise.key_hash, promise.digest, promise.generation)
    first = state if answer is None else Promise.DROPPED
    if not db.execute(f"UPDATE promises SET state = ? {that_one}", (first, *place)).rowcount:
        return False
    if answer is not None and _make_room(db, len(answer), now_ns, bytes_max):
        db.execute(
            "UPDATE promises SET state = ?, answer = ?, size = size + ? WHERE key_hash = ? AND digest = ?",
            (state, answer, len(answer), *place[:2]),
        )
    return True


def free(db: sqlite3.Connection, promise: Promise) -> bool:
    """Delete it if it is running; False if that very promise is not."""
    deleted = db.execute(
        "DELETE FROM promises WHERE key_hash = ? AND digest = ? AND generation = ? AND state = 0",
        (promise.key_hash, promise.digest, promise.generation),
    )
    return deleted.rowcount > 0


def running(db: sqlite3.Connection, owner: str) -> list[Promise]:
    """Those of one daybook that nobody has ended."""
    rows = db.execute(f"SELECT {_FIELDS} FROM promises WHERE owner = ? AND state = 0 ORDER BY made_ns", (owner,))
    return [Promise(*row) for row in rows]


def expire(db: sqlite3.Connection, now_ns: int, limit: int) -> int:
    """Delete those whose time is over, at most `limit`; how many."""
    return db.execute(
        "DELETE FROM promises WHERE rowid IN (SELECT rowid FROM promises WHERE ends_ns <= ? ORDER BY ends_ns LIMIT ?)",
        (now_ns, limit),
    ).rowcount


def _make_room(db: sqlite3.Connection, size: int, now_ns: int, bytes_max: int) -> bool:
    """Whether `size` more bytes fit, if need be after some that are over are deleted and old answers are dropped."""
    if _used(db) + size <= bytes_max:
        return True
    expire(db, now_ns, OVER_MAX)
    excess = _used(db) + size - bytes_max
    if excess <= 0:
        return True
    emptied = []
    rows = db.execute(
        "SELECT rowid, length(answer) FROM promises WHERE state = 1 ORDER BY made_ns, rowid LIMIT ?", (DROPPED_MAX,)
    ).fetchall()
    for rowid, length in rows:
        emptied.append((Promise.DROPPED, ROW_BYTES, rowid))
        excess -= length
        if excess <= 0:
            break
    else:
        return False  # dropping them would not do it, so they stay
    db.executemany("UPDATE promises SET state = ?, answer = NULL, size = ? WHERE rowid = ?", emptied)
    return True


def _used(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT value FROM counters WHERE name = 'promised_bytes'").fetchone()[0])
