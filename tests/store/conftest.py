"""Both stores behind one door: `fresh` opens an empty one, `again` opens the same one a second time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from routebook.store.memory import MemoryStore
from routebook.store.port import Store
from routebook.store.sqlite import SqliteStore


@dataclass
class Opener:
    """Opens stores on one place and closes them at the end of the test."""

    make: Callable[[], Store]

    def __post_init__(self) -> None:
        self.opened: list[Store] = []

    def __call__(self) -> Store:
        store = self.make()
        self.opened.append(store)
        return store


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["sqlite", "memory"])
async def opener(request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Opener]:
    if request.param == "sqlite":
        opener = Opener(lambda: SqliteStore(tmp_path / "home" / "routebook.db"))
    else:
        shared = MemoryStore()
        opener = Opener(lambda: shared)  # the twin ends with the process: opening it again is the same object
    yield opener
    for store in opener.opened:
        await store.close()
