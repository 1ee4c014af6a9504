"""The table of apps: which id belongs to which `HTTP-Referer`. In memory for the hot path, in the store for good."""

from __future__ import annotations

from routebook.core.errors import Unavailable
from routebook.core.people import App
from routebook.store.port import Store


class Apps:
    """Grows by one row for each app ever seen; a caller cannot grow it past APPS_MAX."""

    APPS_MAX = 100_000
    TITLES_MAX = 16
    """titles of one app that are stored between two starts: callers that take turns with two, or make up a new one for
    every call, must not make each call wait for the store"""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_url: dict[str, App] = {}
        self._titles: dict[str, set[str]] = {}
        """by URL: what was stored since the start"""

    async def refresh(self) -> None:
        """Read all apps of the store."""
        self._by_url = {app.url: app for app in await self._store.apps()}

    async def id_of(self, url: str | None, title: str | None) -> int | None:
        """The app's id, made on first sight; touches the store only for news.

        None without a URL, where there are too many apps, and for a new one while the store is away: which app it was
        is worth no call.
        """
        if url is None:
            return None
        app = self._by_url.get(url)
        if app is None and len(self._by_url) >= self.APPS_MAX:
            return None
        if app is None or (title is not None and title != app.title and self._is_news(url, title)):
            try:
                app = self._by_url[url] = await self._store.app(url, title)
            except Unavailable:
                return None if app is None else app.id
            if title is not None:
                self._titles.setdefault(url, set()).add(title)
        return app.id

    def _is_news(self, url: str, title: str) -> bool:
        stored = self._titles.get(url, ())
        return title not in stored and len(stored) < self.TITLES_MAX
