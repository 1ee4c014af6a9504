"""Finds calls from outside the gateway: in the daybooks of the data folder first, then in the store."""

from __future__ import annotations

from collections.abc import Sequence

from routebook.core.generation import Folded, State
from routebook.core.ids import locate
from routebook.daybook.reading import ReadOnlyDaybook
from routebook.store.port import Store
from routebook.wire.codec import unpack

_PAGE = 1000


async def find(id: str, daybooks: Sequence[ReadOnlyDaybook], store: Store | None) -> Folded | None:
    """The call of exactly that id, None if nobody knows it. Raises Unavailable if the store is needed and away."""
    place = locate(id)
    for book in daybooks:
        if place is not None and book.name == place[0]:
            call = book.read(place[1])
            if call is not None and call.intent.id == id:
                return call
    stored = None if store is None else await store.generation(id)
    return None if stored is None else unpack(stored.folded, Folded)


async def latest(
    daybooks: Sequence[ReadOnlyDaybook],
    store: Store | None,
    *,
    since_ns: int = 0,
    model: str | None = None,
    limit: int = 20,
) -> list[Folded]:
    """Calls accepted since then, open ones included, newest first. `model`: the slug the record shows."""
    found: dict[str, Folded] = {}
    if store is not None:
        for stored in await store.generations(account=None, since_ns=since_ns, model=model, limit=limit):
            found[stored.id] = unpack(stored.folded, Folded)
    for book in daybooks:
        cursor = 0 if store is None else await store.cursor(book.name)
        for n in _unshipped(book, cursor):
            call = book.read(n)
            if call is not None:
                found[call.intent.id] = call
    wanted = [
        call
        for call in found.values()
        if call.intent.accepted_ns >= since_ns and (model is None or shown(call) == model)
    ]
    wanted.sort(key=lambda call: (call.intent.accepted_ns, call.intent.n), reverse=True)
    return wanted[:limit]


def shown(call: Folded) -> str:
    """The model slug that the record of the call shows."""
    answered = None if call.outcome is None else call.outcome.model
    return answered or call.intent.model or call.intent.requested_model


def _unshipped(book: ReadOnlyDaybook, cursor: int) -> set[int]:
    """Numbers of the calls that the store has not, or not as they are now: open, or with rows above the cursor."""
    numbers = set(book.unfinished())
    while rows := book.rows(cursor, _PAGE):
        numbers.update(row.n for row in rows if row.state != State.PROGRESS)
        cursor = rows[-1].seq
    return numbers
