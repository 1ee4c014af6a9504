"""Shipped calls in SQLite: how a batch is written, how calls are found, and how the oldest go. Schema: 0002_sheets.sql.

A call has one narrow row, with small integers for what many calls share, and a slot in a sheet (store/sheets.py). Its
row's key is made of daybook and call number, which its id names, so that an id is found without an index of its own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from routebook.core.money import ZERO, add, plain
from routebook.store import sheets
from routebook.store.port import (
    SHEET,
    Amended,
    Kind,
    ModelSpend,
    Posting,
    Retired,
    RetiredBook,
    Sheet,
    Spend,
    Stored,
)

Sums = dict[tuple[str, str, str], tuple[Decimal, Decimal, int]]
"""(key_hash, account, day) -> usage, byok, requests"""

N_BITS = 36
"""of a place; six base62 characters fit"""
SLOT_BITS = 6
_MANY = 500
"""places in one IN (…)"""
_SHEETS_AT_HAND = 16
_KINDS_AT_HAND = 10_000
_DAY_NS = 86_400 * 10**9

_SELECT = (
    "SELECT c.place, b.daybook, c.accepted_ns, k.account, k.key_hash, k.model, k.provider, c.seq, c.state, c.total, "
    "c.kept FROM calls c CROSS JOIN kinds k ON k.id = c.kind CROSS JOIN books b ON b.id = c.place >> 36"
)
_KIND = (
    "INSERT INTO kinds (key_hash, account, model, provider, newest_ns) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (key_hash, account, ifnull(model, ''), ifnull(provider, '')) "
    "DO UPDATE SET newest_ns = max(newest_ns, excluded.newest_ns) RETURNING id"
)
_WIDTH = 8
"""columns of `calls`"""
_WIDTHS = (SHEET, 8, 1)
"""rows in one INSERT"""
_INSERT = {
    width: "INSERT OR REPLACE INTO calls VALUES " + ", ".join([f"({', '.join('?' * _WIDTH)})"] * width)
    for width in _WIDTHS
}
_OLDEST = "SELECT place FROM calls WHERE accepted_ns < ? ORDER BY accepted_ns, kind, place LIMIT ?"


class Writer:
    """Writes batches; to be used inside a transaction, by one thread.

    It knows the ids of kinds it has seen. After a transaction that failed it must `forget` them: they may not exist.
    """

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str, str | None, str | None], tuple[int, int]] = {}
        """id, and until when (ns) the kind's newest_ns allows calls"""
        self._kinds_deleted = -1

    def forget(self) -> None:
        self._kinds.clear()

    def ship(
        self,
        db: sqlite3.Connection,
        daybook: str,
        upto: int,
        batch: Sequence[Sheet],
        postings: Sequence[Posting],
        amendments: Sequence[Amended],
    ) -> bool:
        """As `store.port.Store.ship`, without the leases. False: the store has all that, and nothing happened."""
        row = db.execute("SELECT id, seq FROM books WHERE daybook = ?", (daybook,)).fetchone()
        if row is not None and upto <= row[1]:
            return False
        book = _book(db, daybook, upto)
        self._put(db, book, batch)
        for each in amendments:
            if each.daybook != daybook:
                self._amend(db, book, each)
                continue
            place = book << N_BITS | each.n
            db.execute("INSERT OR REPLACE INTO amendments VALUES (?, ?, ?, ?)", (place, book, each.seq, each.blob))
        sums: Sums = {}
        for posting in postings:
            where = (posting.key_hash, posting.account, posting.day)
            _sum(db, "spend", sums, where, posting.usage, posting.byok, posting.requests)
        _save(db, "spend", sums)
        _add_to_models(db, postings)
        return True

    def _amend(self, db: sqlite3.Connection, book: int, each: Amended) -> None:
        """A revision of a call of another daybook. Where retention was quicker, its difference is retired at once."""
        place = _book(db, each.daybook) << N_BITS | each.n
        revised = sheets.revision_in(each.blob)
        if revised is not None and db.execute("SELECT 1 FROM calls WHERE place = ?", (place,)).fetchone() is None:
            (since,) = db.execute("SELECT value FROM counters WHERE name = 'kept_since_ns'").fetchone()
            if revised.accepted_ns < since:
                due, sums = sheets.posting_of_revision(revised), {}  # type: Posting, Sums
                _sum(db, "retired", sums, (due.key_hash, due.account, due.day), due.usage, due.byok, 0)
                _save(db, "retired", sums)
                return
        db.execute("INSERT OR REPLACE INTO amendments VALUES (?, ?, ?, ?)", (place, book, each.seq, each.blob))

    def _put(self, db: sqlite3.Connection, book: int, batch: Sequence[Sheet]) -> None:
        if not batch:
            return
        base = book << N_BITS
        ids = self._ids(db, batch)
        (last,) = db.execute("SELECT ifnull(max(id), 0) FROM sheets").fetchone()
        for number, sheet in enumerate(batch, last + 1):
            newest, notes = max(sheet.accepted_ns), sheets.notes_of(sheet.progress)
            db.execute(
                "INSERT INTO sheets VALUES (?, ?, ?, ?, ?)", (number, newest, sheet.intents, sheet.outcomes, notes)
            )
            kept, count = number << SLOT_BITS, len(sheet.n)
            values: list[Any] = [None] * (_WIDTH * count)
            values[0::_WIDTH] = [base | n for n in sheet.n]
            values[1::_WIDTH] = sheet.accepted_ns
            values[2::_WIDTH] = [ids[kind] for kind in sheet.kind]
            values[3::_WIDTH] = sheet.seq
            values[4::_WIDTH] = sheet.state
            values[5::_WIDTH] = sheet.total
            values[6::_WIDTH] = sheet.byok
            values[7::_WIDTH] = range(kept, kept + count)
            _insert(db, values, count)
            for slot, id in sheet.odd_ids.items():
                db.execute("INSERT OR REPLACE INTO odd_ids VALUES (?, ?)", (id, base | sheet.n[slot]))

    def _ids(self, db: sqlite3.Connection, batch: Sequence[Sheet]) -> dict[Kind, int]:
        """The id of every kind in the batch."""
        (deleted,) = db.execute("SELECT value FROM counters WHERE name = 'kinds_deleted'").fetchone()
        if deleted != self._kinds_deleted or len(self._kinds) > _KINDS_AT_HAND:
            self._kinds.clear()
            self._kinds_deleted = deleted
        newest = max([max(sheet.accepted_ns) for sheet in batch])
        ids: dict[Kind, int] = {}
        for kind in {kind for sheet in batch for kind in sheet.kind}:
            fields = (kind.key_hash, kind.account, kind.model or None, kind.provider or None)
            known = self._kinds.get(fields)
            if known is None or newest >= known[1]:
                # To the end of the day, so that a kind in use is written once a day and not with every batch.
                until = (newest // _DAY_NS + 1) * _DAY_NS
                (id,) = db.execute(_KIND, (*fields, until)).fetchone()
                known = self._kinds[fields] = (id, until)
            ids[kind] = known[0]
        return ids


def find(db: sqlite3.Connection, id: str) -> Stored | None:
    """The call of exactly that id."""
    where = sheets.place_of(id)
    if where is not None:
        row = db.execute("SELECT id FROM books WHERE daybook = ?", where[:1]).fetchone()
        if row is not None:
            found = _read(db, f"{_SELECT} WHERE c.place = ?", (row[0] << N_BITS | where[1],))
            if found and found[0].id == id:
                return found[0]
    odd = db.execute("SELECT place FROM odd_ids WHERE id = ?", (id,)).fetchone()
    found = _read(db, f"{_SELECT} WHERE c.place = ?", odd) if odd else []
    return found[0] if found else None


def select(
    db: sqlite3.Connection,
    account: str | None,
    since_ns: int,
    until_ns: int | None,
    model: str | None,
    limit: int,
) -> list[Stored]:
    """As `store.port.Store.generations`."""
    where, values = ["c.accepted_ns >= ?"], [since_ns]  # type: list[str], list[Any]
    for clause, value in (("c.accepted_ns < ?", until_ns), ("k.account = ?", account), ("k.model = ?", model)):
        if value is not None:
            where.append(clause)
            values.append(value)
    order = "ORDER BY c.accepted_ns DESC, b.daybook DESC, c.place DESC LIMIT ?"
    return _read(db, f"{_SELECT} WHERE {' AND '.join(where)} {order}", (*values, limit))


def spends(db: sqlite3.Connection, table: str, key_hash: str | None = None) -> list[Spend]:
    """The days of `spend` or `retired`, of all keys or of one, in order."""
    where, values = ("", ()) if key_hash is None else (" WHERE key_hash = ?", (key_hash,))
    rows = db.execute(
        f"SELECT key_hash, account, day, usage, byok, requests FROM {table}{where} ORDER BY day, key_hash, account",
        values,
    ).fetchall()
    return [Spend(row[0], row[1], row[2], Decimal(row[3]), Decimal(row[4]), row[5]) for row in rows]


def model_spend(db: sqlite3.Connection, since: str) -> list[ModelSpend]:
    """As `store.port.Store.model_spend`."""
    rows = db.execute("SELECT model, day, usd FROM model_spend WHERE day >= ? ORDER BY day, model", (since,)).fetchall()
    return [ModelSpend(model, day, Decimal(usd)) for model, day, usd in rows]


def _add_to_models(db: sqlite3.Connection, postings: Sequence[Posting]) -> None:
    sums: dict[tuple[str, str], Decimal] = {}
    for each in [each for posting in postings for each in posting.models]:
        where = (each.day, each.model)
        old = sums.get(where)
        if old is None:
            row = db.execute("SELECT usd FROM model_spend WHERE day = ? AND model = ?", where).fetchone()
            old = Decimal(row[0]) if row else ZERO
        sums[where] = add(old, each.usd)
    db.executemany(
        "INSERT OR REPLACE INTO model_spend (day, model, usd) VALUES (?, ?, ?)",
        [(*where, plain(usd)) for where, usd in sums.items()],
    )


def retired(db: sqlite3.Connection) -> Retired:
    """As `store.port.Store.retired`; to be used inside a transaction."""
    (since,) = db.execute("SELECT value FROM counters WHERE name = 'kept_since_ns'").fetchone()
    books = db.execute(
        "SELECT b.daybook, r.calls, r.seq FROM retired_books r JOIN books b ON b.id = r.book ORDER BY b.daybook"
    ).fetchall()
    return Retired(since, spends(db, "retired"), [RetiredBook(*row) for row in books])


def states(db: sqlite3.Connection, account: str | None, since_ns: int, until_ns: int | None) -> dict[int, int]:
    """As `store.port.Store.states`."""
    where, values = ["c.accepted_ns >= ?"], [since_ns]  # type: list[str], list[Any]
    for clause, value in (("c.accepted_ns < ?", until_ns), ("k.account = ?", account)):
        if value is not None:
            where.append(clause)
            values.append(value)
    source = "calls c" if account is None else "calls c JOIN kinds k ON k.id = c.kind"
    return dict(
        db.execute(f"SELECT c.state, count(*) FROM {source} WHERE {' AND '.join(where)} GROUP BY c.state", values)
    )


def ended(db: sqlite3.Connection, daybook: str, after: int, upto: int) -> int:
    """As `store.port.Store.ended`."""
    (count,) = db.execute(
        "SELECT count(*) FROM books b JOIN calls c "
        f"ON c.place BETWEEN b.id << {N_BITS} AND (b.id + 1 << {N_BITS}) - 1 AND c.seq > ? AND c.seq <= ? "
        "WHERE b.daybook = ?",
        (after, upto, daybook),
    ).fetchone()
    return int(count)


def delete_before(db: sqlite3.Connection, ns: int, limit: int) -> int:
    """As `store.port.Store.delete_before`; to be used inside a transaction."""
    rows = db.execute(
        "SELECT k.key_hash, k.account, c.accepted_ns, c.total, c.byok FROM calls c CROSS JOIN kinds k ON k.id = c.kind "
        f"WHERE c.place IN ({_OLDEST}) ORDER BY c.accepted_ns",
        (ns, limit),
    ).fetchall()
    if not rows:
        return 0
    sums: Sums = {}
    for key_hash, account, accepted_ns, total, byok in rows:
        where = (key_hash, account, sheets.day_of(accepted_ns))
        _sum(db, "retired", sums, where, Decimal(total), Decimal(byok or 0), 1)
    foreign = f"SELECT blob FROM amendments WHERE source <> place >> {N_BITS} AND place IN ({_OLDEST})"
    for (blob,) in db.execute(foreign, (ns, limit)).fetchall():
        if (revised := sheets.difference_in(blob)) is not None:
            where = (revised.key_hash, revised.account, revised.day)
            _sum(db, "retired", sums, where, revised.usage, revised.byok, 0)
    _save(db, "retired", sums)
    db.execute(
        f"INSERT INTO retired_books SELECT place >> {N_BITS}, count(*), max(seq) FROM calls WHERE place IN ({_OLDEST}) "
        "GROUP BY 1 ON CONFLICT (book) DO UPDATE SET calls = calls + excluded.calls, seq = max(seq, excluded.seq)",
        (ns, limit),
    )
    for table in ("amendments", "odd_ids", "calls"):
        db.execute(f"DELETE FROM {table} WHERE place IN ({_OLDEST})", (ns, limit))
    since = rows[-1][2] + 1
    db.execute("UPDATE counters SET value = max(value, ?) WHERE name = 'kept_since_ns'", (since,))
    # Whatever is older than the oldest call that is left belongs to no call any more.
    (oldest,) = db.execute("SELECT ifnull(min(accepted_ns), ?) FROM calls", (since,)).fetchone()
    db.execute("DELETE FROM sheets WHERE id IN (SELECT id FROM sheets WHERE newest_ns < ? LIMIT ?)", (oldest, limit))
    if db.execute("DELETE FROM kinds WHERE newest_ns <= ?", (oldest,)).rowcount:
        db.execute("UPDATE counters SET value = value + 1 WHERE name = 'kinds_deleted'")
    return len(rows)


def _insert(db: sqlite3.Connection, values: list[Any], count: int) -> None:
    """Write rows of `calls`. Many in one statement: a statement for each would take and drop the interpreter's lock
    each time, and wait for it while the loop is busy. Few widths, because each is a statement to prepare."""
    done = 0
    for width in _WIDTHS:
        while count - done >= width:
            db.execute(_INSERT[width], values[done * _WIDTH : (done + width) * _WIDTH])
            done += width


def _book(db: sqlite3.Connection, daybook: str, seq: int = 0) -> int:
    """The id of a daybook; its cursor is moved to `seq` if that is ahead."""
    row = db.execute(
        "INSERT INTO books (daybook, seq) VALUES (?, ?) "
        "ON CONFLICT (daybook) DO UPDATE SET seq = max(seq, excluded.seq) RETURNING id",
        (daybook, seq),
    ).fetchone()
    return int(row[0])


def _sum(
    db: sqlite3.Connection,
    table: str,
    sums: Sums,
    where: tuple[str, str, str],
    usage: Decimal,
    byok: Decimal,
    requests: int,
) -> None:
    """Add to a key's day; what the table has of it is read first."""
    old = sums.get(where)
    if old is None:
        row = db.execute(
            f"SELECT usage, byok, requests FROM {table} WHERE key_hash = ? AND account = ? AND day = ?", where
        ).fetchone()
        old = (Decimal(row[0]), Decimal(row[1]), row[2]) if row else (ZERO, ZERO, 0)
    sums[where] = add(old[0], usage), add(old[1], byok), old[2] + requests


def _save(db: sqlite3.Connection, table: str, sums: Sums) -> None:
    db.executemany(
        f"INSERT OR REPLACE INTO {table} (key_hash, account, day, usage, byok, requests) VALUES (?, ?, ?, ?, ?, ?)",
        [(*where, plain(usage), plain(byok), requests) for where, (usage, byok, requests) in sums.items()],
    )


def _read(db: sqlite3.Connection, statement: str, values: Iterable[Any]) -> list[Stored]:
    """The calls that a statement made of `_SELECT` finds, with their blobs."""
    rows = db.execute(statement, tuple(values)).fetchall()
    amended = _amendments(db, [row[0] for row in rows])
    at_hand: dict[int, sheets.Leaves] = {}
    found: list[Stored] = []
    for place, daybook, accepted_ns, account, key_hash, model, provider, seq, state, total, kept in rows:
        sheet, slot = kept >> SLOT_BITS, kept & (1 << SLOT_BITS) - 1
        leaves = at_hand.get(sheet)
        if leaves is None:
            if len(at_hand) >= _SHEETS_AT_HAND:
                at_hand.clear()
            blobs = db.execute("SELECT intents, outcomes, progress FROM sheets WHERE id = ?", (sheet,)).fetchone()
            leaves = at_hand[sheet] = sheets.Leaves(*blobs)
        leaf = leaves[slot]
        found.append(
            Stored(
                sheets.id_of(leaf.intent),
                daybook,
                place & (1 << N_BITS) - 1,
                accepted_ns,
                account,
                key_hash,
                model,
                provider,
                state,
                Decimal(total),
                sheets.fold(leaf, seq, state, amended.get(place, ())),
            )
        )
    return found


def _amendments(db: sqlite3.Connection, places: list[int]) -> dict[int, list[tuple[int, bytes]]]:
    """place -> (seq, blob) of its amendments: its own daybook's in order, then those that others wrote, with seq 0."""
    found: dict[int, list[tuple[int, bytes]]] = {}
    for start in range(0, len(places), _MANY):
        part = places[start : start + _MANY]
        for place, seq, blob in db.execute(
            f"SELECT place, iif(source = place >> {N_BITS}, seq, 0), blob FROM amendments "
            f"WHERE place IN ({', '.join('?' * len(part))}) "
            f"ORDER BY place, source <> place >> {N_BITS}, source, seq",
            part,
        ):
            found.setdefault(place, []).append((seq, blob))
    return found
