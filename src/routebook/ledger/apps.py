"""The table of apps: which id belongs to which `HTTP-Referer`. In memory for the hot path, in the store for good."""

from __future__ import annotations

from routebook.core.people import App
from routebook.store.port import Store


class Apps:
    """Grows by one row for each app ever seen; a caller cannot grow it past APPS_MAX."""

    APPS_MAX = 100_000

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_url: dict[str, App] = {}

    async def refresh(self) -> None:
        """Read all apps of the store."""
        self._by_url = {app.url: app for app in await self._store.apps()}

    async def id_of(self, url: str | None, title: str | None) -> int | None:
        """The app's id, made on first sight; None without a URL. Touches the store only for news."""
        if url is None:
            return None
        app = self._by_url.get(url)
        if app is None and len(self._by_url) >= self.APPS_MAX:
            return None
        if app is None or (title is not None and title != app.title):
            app = await self._store.app(url, title)
            self._by_url[url] = app
        return app.id
