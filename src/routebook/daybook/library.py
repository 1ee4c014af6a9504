"""Finds calls in the daybooks of the data folder that are written by others, then in the store."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from routebook.core.errors import Unavailable
from routebook.core.generation import Folded, State
from routebook.core.ids import locate
from routebook.daybook import folder
from routebook.daybook.reading import ReadOnlyDaybook
from routebook.daybook.shelf import DaybookDamaged
from routebook.daybook.tail import Tail
from routebook.ledger.pages import pages
from routebook.metering.folding import unfold
from routebook.metering.revision import with_revisions
from routebook.store.port import Store

_PAGE = 1000


class Siblings:
    """The daybooks of a worker's siblings, each followed from when it is first asked for."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._books: dict[str, Tail] = {}
        self._reading = threading.Lock()
        """of threads, not of tasks: a look whose caller is cancelled goes on"""

    async def look(self, name: str, n: int) -> Folded | None:
        """As `read`, and the loop goes on: who looks after a pause goes through megabytes (69 ms for 8 MB)."""
        return await asyncio.to_thread(self.read, name, n)

    async def aclose(self) -> None:
        """As `close`, when nobody looks any more."""
        await asyncio.to_thread(self.close)

    def read(self, name: str, n: int) -> Folded | None:
        """The call of that number in that daybook, None if there is no such daybook here, or no such call in it.

        Raises Unavailable if the files cannot be read: whoever asks may ask again.
        """
        with self._reading:
            try:
                book = self._books.get(name)
                if book is None:
                    if name not in folder.names(self._home):
                        return None
                    book = self._books[name] = Tail(folder.root(self._home) / name)
                return book.read(n)
            except (OSError, DaybookDamaged) as error:
                self._drop(name)
                raise Unavailable(
                    f"The daybook of another worker cannot be read ({error}); ask again.", retry_after=1
                ) from error

    def close(self) -> None:
        with self._reading:
            for name in list(self._books):
                self._drop(name)

    def _drop(self, name: str) -> None:
        book = self._books.pop(name, None)
        if book is not None:
            book.close()


async def find(id: str, daybooks: Sequence[ReadOnlyDaybook], store: Store | None) -> Folded | None:
    """The call of exactly that id, None if nobody knows it. Raises Unavailable if the store is needed and away."""
    place = locate(id)
    for book in daybooks:
        if place is not None and book.name == place[0]:
            call = book.read(place[1])
            if call is not None and call.intent.id == id:
                return call if store is None else await revised(call, store)
    stored = None if store is None else await store.generation(id)
    return None if stored is None else unfold(stored.folded)


async def revised(call: Folded, store: Store) -> Folded:
    """The call with the charges that were made anew: those are in the store, not in the daybook of the call.

    While the store is away they are not known, and the call is shown as its daybook has it.
    """
    if call.outcome is None:
        return call
    try:
        stored = await store.generation(call.intent.id)
    except Unavailable:
        return call
    return call if stored is None else with_revisions(call, unfold(stored.folded))


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
            found[stored.id] = unfold(stored.folded)
    for book in daybooks:
        cursor = 0 if store is None else await store.cursor(book.name)
        for n in _unshipped(book, cursor):
            call = book.read(n)
            if call is not None:
                known = found.get(call.intent.id)
                found[call.intent.id] = call if known is None else with_revisions(call, known)
    wanted = [
        call
        for call in found.values()
        if call.intent.accepted_ns >= since_ns and (model is None or shown(call) == model)
    ]
    wanted.sort(key=lambda call: (call.intent.accepted_ns, call.intent.n), reverse=True)
    return wanted[:limit]


async def every(
    daybooks: Sequence[ReadOnlyDaybook],
    store: Store | None,
    *,
    since_ns: int = 0,
    until_ns: int,
    model: str | None = None,
) -> AsyncIterator[tuple[bool, Folded]]:
    """(whether it is the store's, the call): every call accepted in [since_ns, until_ns), each exactly once.

    First those that the store has not yet, open ones included, then the store's, newest first. `until_ns` must not be
    in the future. Memory: a number for each call that waits to be shipped. Raises Unavailable.
    """
    waiting: dict[str, set[int]] = {}
    for book in daybooks:
        numbers = waiting[book.name] = _unshipped(book, 0 if store is None else await store.cursor(book.name))
        for n in sorted(numbers):
            call = book.read(n)
            if call is None or not since_ns <= call.intent.accepted_ns < until_ns:
                continue
            if model is None or shown(call) == model:
                yield False, call if store is None else await revised(call, store)
    if store is None:
        return
    async for page in pages(store, since_ns, until_ns, model):
        for stored in page:
            if stored.n not in waiting.get(stored.daybook, ()):
                yield True, unfold(stored.folded)


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
