"""Leases in SQLite. Every function is one step of a transaction of the caller's; what they mean is in store/lending.py.

A lease that is used up or given back has no row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from routebook.core.money import ZERO, add, plain, subtract
from routebook.store import lending
from routebook.store.lending import Ask, Lease, Lent, Window
from routebook.store.port import Posting, Spend

_FIELDS = "budget, first, last, byok, daybook, amount"


def lend(db: sqlite3.Connection, daybook: str, ask: Ask) -> Lent:
    """As `store.port.Store.lend`."""
    window = ask.window
    rows = db.execute(
        f"SELECT {_FIELDS} FROM leases WHERE budget = ? AND first <= ? AND last >= ?",
        (window.budget, window.last, window.first),
    ).fetchall()
    leases = [_lease(row) for row in rows]
    spends = db.execute(
        "SELECT key_hash, account, day, usage, byok, requests FROM spend WHERE key_hash = ? AND day >= ?",
        (lending.key_of(window.budget), window.first),
    )
    spent = [Spend(row[0], row[1], row[2], Decimal(row[3]), Decimal(row[4]), row[5]) for row in spends]
    lent = lending.lend(ask, daybook, leases, spent)
    if lent.granted:
        before = next((each.amount for each in leases if (each.window, each.daybook) == (window, daybook)), ZERO)
        _put(db, Lease(window, daybook, add(before, lent.granted)))
    return lent


def give_back(db: sqlite3.Connection, leases: Sequence[Lease]) -> None:
    """As `store.port.Store.give_back`."""
    for lease in leases:
        place = (*_place(lease.window), lease.daybook)
        row = db.execute(
            "SELECT amount FROM leases WHERE budget = ? AND first = ? AND last = ? AND byok = ? AND daybook = ?", place
        ).fetchone()
        if row is not None:
            rest = max(ZERO, subtract(Decimal(row[0]), lease.amount))
            _put(db, Lease(lease.window, lease.daybook, rest))


def select(db: sqlite3.Connection, daybook: str | None) -> list[Lease]:
    """As `store.port.Store.leases`."""
    where, values = ("", ()) if daybook is None else (" WHERE daybook = ?", (daybook,))
    rows = db.execute(f"SELECT {_FIELDS} FROM leases{where} ORDER BY daybook, budget, first, last, byok", values)
    return [_lease(row) for row in rows.fetchall()]


def forfeit(db: sqlite3.Connection, daybook: str) -> list[Lease]:
    """As `store.port.Store.forfeit`."""
    gone = select(db, daybook)
    db.execute("DELETE FROM leases WHERE daybook = ?", (daybook,))
    return gone


def ship(db: sqlite3.Connection, daybook: str, postings: Sequence[Posting]) -> None:
    """Take what is posted off the daybook's leases."""
    if db.execute("SELECT 1 FROM leases WHERE daybook = ? LIMIT 1", (daybook,)).fetchone() is None:
        return
    for budget, day, usage, byok in lending.shipped(postings):
        rows = db.execute(
            f"SELECT {_FIELDS} FROM leases WHERE budget = ? AND daybook = ? AND first <= ? AND last >= ?",
            (budget, daybook, day, day),
        ).fetchall()
        for lease in map(_lease, rows):
            _put(db, Lease(lease.window, daybook, lending.less(lease.amount, lease.window.byok, usage, byok)))


def _put(db: sqlite3.Connection, lease: Lease) -> None:
    place = (*_place(lease.window), lease.daybook)
    if lease.amount:
        db.execute(
            f"INSERT OR REPLACE INTO leases ({_FIELDS}) VALUES (?, ?, ?, ?, ?, ?)", (*place, plain(lease.amount))
        )
    else:
        db.execute("DELETE FROM leases WHERE budget = ? AND first = ? AND last = ? AND byok = ? AND daybook = ?", place)


def _place(window: Window) -> tuple[str, str, str, int]:
    return window.budget, window.first, window.last, int(window.byok)


def _lease(row: Any) -> Lease:
    return Lease(Window(row[0], row[1], row[2], bool(row[3])), row[4], Decimal(row[5]))
