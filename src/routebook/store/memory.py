"""The store's twin in memory, for tests and for anybody who wants nothing kept. Passes the same suite as the others."""

from __future__ import annotations

from routebook.core.money import ZERO, add
from routebook.core.people import App, Key
from routebook.store.port import Posting, Spend, Stored


class MemoryStore:
    """`store.port.Store` that ends with the process."""

    def __init__(self) -> None:
        self._keys: dict[str, Key] = {}
        self._apps: dict[int, App] = {}
        self._cursors: dict[str, int] = {}
        self._generations: dict[tuple[str, int], Stored] = {}
        self._by_id: dict[str, tuple[str, int]] = {}
        self._spend: dict[tuple[str, str, str], Spend] = {}
        self._version = 1

    async def keys(self) -> list[Key]:
        return sorted(self._keys.values(), key=lambda key: (key.created_at, key.hash))

    async def put_key(self, key: Key) -> None:
        self._keys[key.hash] = key
        self._version += 1

    async def delete_key(self, hash: str) -> bool:
        if self._keys.pop(hash, None) is None:
            return False
        self._version += 1
        return True

    async def apps(self) -> list[App]:
        return [self._apps[id] for id in sorted(self._apps)]

    async def app(self, url: str, title: str | None) -> App:
        app = next((each for each in self._apps.values() if each.url == url), None)
        if app is not None and title in (None, app.title):
            return app
        app = App(app.id if app else max(self._apps, default=0) + 1, url, title)
        await self.put_app(app)
        return app

    async def put_app(self, app: App) -> None:
        self._apps = {id: each for id, each in self._apps.items() if each.url != app.url}
        self._apps[app.id] = app
        self._version += 1

    async def cursor(self, daybook: str) -> int:
        return self._cursors.get(daybook, 0)

    async def ship(self, daybook: str, upto: int, generations: list[Stored], postings: list[Posting]) -> None:
        if daybook in self._cursors and upto <= self._cursors[daybook]:
            return
        self._cursors[daybook] = upto
        for each in generations:
            self._generations[each.daybook, each.n] = each
            self._by_id[each.id] = (each.daybook, each.n)
        for posting in postings:
            place = (posting.day, posting.key_hash, posting.account)
            old = self._spend.get(place)
            usage, byok, requests = (old.usage, old.byok, old.requests) if old else (ZERO, ZERO, 0)
            self._spend[place] = Spend(
                key_hash=posting.key_hash,
                account=posting.account,
                day=posting.day,
                usage=add(usage, posting.usage),
                byok=add(byok, posting.byok),
                requests=requests + posting.requests,
            )

    async def generation(self, id: str) -> Stored | None:
        place = self._by_id.get(id)
        return self._generations[place] if place else None

    async def generations(
        self,
        *,
        account: str | None,
        since_ns: int = 0,
        until_ns: int | None = None,
        model: str | None = None,
        limit: int = 100,
    ) -> list[Stored]:
        found = [
            each
            for each in self._generations.values()
            if each.accepted_ns >= since_ns
            and (until_ns is None or each.accepted_ns < until_ns)
            and account in (None, each.account)
            and model in (None, each.model)
        ]
        found.sort(key=lambda each: (each.accepted_ns, each.daybook, each.n), reverse=True)
        return found[:limit]

    async def spend(self) -> list[Spend]:
        return [self._spend[place] for place in sorted(self._spend)]

    async def version(self) -> int:
        return self._version

    async def close(self) -> None:
        """Nothing to close."""
