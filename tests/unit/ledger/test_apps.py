"""The table of apps: a caller's headers neither stop its call nor make work for everybody else's."""

from __future__ import annotations

import pytest

from routebook.core.errors import Unavailable
from routebook.core.people import App
from routebook.ledger.apps import Apps
from routebook.store.memory import MemoryStore

pytestmark = pytest.mark.anyio

URL = "https://app.example"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Watched(MemoryStore):
    """Counts what is asked of it, and is away where a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.away = False

    async def app(self, url: str, title: str | None) -> App:
        self.asked += 1
        if self.away:
            raise Unavailable("the store is away")
        return await super().app(url, title)


async def test_an_app_has_one_id_and_the_store_is_asked_for_news_alone() -> None:
    store = Watched()
    apps = Apps(store)
    first = await apps.id_of(URL, "App")
    assert [await apps.id_of(URL, title) for title in ("App", None, "App")] == [first] * 3
    assert store.asked == 1
    assert await apps.id_of(None, "App") is None
    assert await apps.id_of("https://other.example", None) != first


async def test_a_title_replaces_the_old_one_and_two_that_take_turns_are_no_news() -> None:
    store = Watched()
    apps = Apps(store)
    await apps.id_of(URL, "Old")
    await apps.id_of(URL, "New")
    (app,) = await store.apps()
    assert app.title == "New"
    for _ in range(50):
        await apps.id_of(URL, "Old")
        await apps.id_of(URL, "New")
    assert store.asked == 2


async def test_titles_that_never_end_are_not_all_stored() -> None:
    store = Watched()
    apps = Apps(store)
    ids = {await apps.id_of(URL, f"Title {number}") for number in range(1000)}
    assert len(ids) == 1
    assert store.asked == Apps.TITLES_MAX


async def test_a_store_that_is_away_leaves_the_app_unknown_and_no_call_fails_for_that() -> None:
    store = Watched()
    apps = Apps(store)
    known = await apps.id_of(URL, "App")
    store.away = True
    assert await apps.id_of(URL, "Renamed") == known
    assert await apps.id_of("https://new.example", "New") is None
    store.away = False
    assert await apps.id_of("https://new.example", "New") is not None
    assert await apps.id_of(URL, "Renamed") == known
    assert {app.title for app in await store.apps()} == {"Renamed", "New"}
