"""The store's twin in memory, for tests and for anybody who wants nothing kept. Passes the same suite as the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from routebook.core.money import ZERO, add, subtract
from routebook.core.people import App, Key
from routebook.store import lending, sheets
from routebook.store.lending import Ask, Lease, Lent, Window
from routebook.store.port import (
    Amended,
    ModelSpend,
    Posting,
    Promise,
    Retired,
    RetiredBook,
    Sheet,
    Spend,
    Stored,
    full,
)
from routebook.store.promises import ROW_BYTES


class _Call:
    """One call of a shipped sheet."""

    def __init__(self, id: str, sheet: Sheet, slot: int, leaf: sheets.Leaf) -> None:
        self.id = id
        self.leaf = leaf
        self.n = sheet.n[slot]
        self.seq = sheet.seq[slot]
        self.accepted_ns = sheet.accepted_ns[slot]
        self.kind = sheet.kind[slot]
        self.state = sheet.state[slot]
        self.total = Decimal(sheet.total[slot])
        self.byok = Decimal(sheet.byok[slot] or 0)


class MemoryStore:
    """`store.port.Store` that ends with the process."""

    def __init__(self) -> None:
        self._keys: dict[str, Key] = {}
        self._apps: dict[int, App] = {}
        self._cursors: dict[str, int] = {}
        self._calls: dict[tuple[str, int], _Call] = {}
        self._amendments: dict[tuple[str, int], dict[tuple[bool, str, int], Amended]] = {}
        self._by_id: dict[str, tuple[str, int]] = {}
        self._spend: dict[tuple[str, str, str], Spend] = {}
        self._models: dict[tuple[str, str], ModelSpend] = {}
        self._retired: dict[tuple[str, str, str], Spend] = {}
        self._retired_books: dict[str, RetiredBook] = {}
        self._promises: dict[tuple[str, bytes], Promise] = {}
        self._leases: dict[tuple[Window, str], Decimal] = {}
        self._kept_since = 0
        self._version = 1

    async def keys(self) -> list[Key]:
        return sorted(self._keys.values(), key=lambda key: (key.created_at, key.hash))

    async def put_key(self, key: Key) -> None:
        self._keys[key.hash] = key
        self._version += 1

    async def change_key(self, known: Key, changed: Key) -> bool:
        if self._keys.get(known.hash) != known:
            return False
        await self.put_key(changed)
        return True

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

    async def cursor(self, daybook: str) -> int:
        return self._cursors.get(daybook, 0)

    async def ship(
        self,
        daybook: str,
        upto: int,
        generations: Sequence[Sheet],
        postings: Sequence[Posting],
        amendments: Sequence[Amended] = (),
    ) -> None:
        if daybook in self._cursors and upto <= self._cursors[daybook]:
            return
        self._cursors[daybook] = upto
        for sheet in generations:
            leaves = sheets.Leaves(sheet.intents, sheet.outcomes, sheets.notes_of(sheet.progress))
            for slot in range(len(sheet.n)):
                leaf = leaves[slot]
                call = _Call(sheets.id_of(leaf.intent), sheet, slot, leaf)
                self._calls[daybook, call.n] = call
                self._by_id[call.id] = (daybook, call.n)
        for each in amendments:
            place, revised = (each.daybook, each.n), sheets.revision_in(each.blob)
            gone = revised is not None and place not in self._calls and revised.accepted_ns < self._kept_since
            if each.daybook != daybook and revised is not None and gone:
                _add(self._retired, sheets.posting_of_revision(revised))
                continue
            self._amendments.setdefault(place, {})[each.daybook != daybook, daybook, each.seq] = each
        for posting in postings:
            _add(self._spend, posting)
            for part in posting.models:
                old = self._models.get((part.day, part.model))
                usd = part.usd if old is None else add(old.usd, part.usd)
                self._models[part.day, part.model] = ModelSpend(part.model, part.day, usd)
        for budget, day, usage, byok in lending.shipped(postings):
            for (window, name), amount in list(self._leases.items()):
                if (window.budget, name) == (budget, daybook) and window.holds(day):
                    self._put_lease(Lease(window, name, lending.less(amount, window.byok, usage, byok)))

    async def generation(self, id: str) -> Stored | None:
        place = self._by_id.get(id)
        return self._stored(place) if place else None

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
            (call.accepted_ns, place)
            for place, call in self._calls.items()
            if call.accepted_ns >= since_ns
            and (until_ns is None or call.accepted_ns < until_ns)
            and account in (None, call.kind.account)
            and model in (None, call.kind.model)
        ]
        found.sort(reverse=True)
        return [self._stored(place) for _, place in found[:limit]]

    async def spend(self, key_hash: str | None = None) -> list[Spend]:
        return [self._spend[place] for place in sorted(self._spend) if key_hash in (None, place[1])]

    async def model_spend(self, since: str) -> list[ModelSpend]:
        return [self._models[place] for place in sorted(self._models) if place[0] >= since]

    async def delete_before(self, ns: int, limit: int) -> int:
        found = sorted((call.accepted_ns, place) for place, call in self._calls.items() if call.accepted_ns < ns)
        for accepted_ns, place in found[:limit]:
            call = self._calls.pop(place)
            del self._by_id[call.id]
            for each in self._amendments.pop(place, {}).values():
                if (revised := sheets.difference_in(each.blob)) is not None:
                    _add(self._retired, revised)
            day = sheets.day_of(accepted_ns)
            _add(self._retired, Posting(call.kind.key_hash, call.kind.account, day, call.total, call.byok))
            self._kept_since = max(self._kept_since, accepted_ns + 1)
            gone = self._retired_books.get(place[0], RetiredBook(place[0], 0, 0))
            self._retired_books[place[0]] = RetiredBook(place[0], gone.calls + 1, max(gone.seq, call.seq))
        return min(len(found), limit)

    async def retired(self) -> Retired:
        spends = [self._retired[place] for place in sorted(self._retired)]
        return Retired(self._kept_since, spends, [self._retired_books[name] for name in sorted(self._retired_books)])

    async def states(self, account: str | None, since_ns: int, until_ns: int | None) -> dict[int, int]:
        return dict(
            Counter(
                call.state
                for call in self._calls.values()
                if call.accepted_ns >= since_ns
                and (until_ns is None or call.accepted_ns < until_ns)
                and account in (None, call.kind.account)
            )
        )

    async def ended(self, daybook: str, after: int, upto: int) -> int:
        return sum(name == daybook and after < call.seq <= upto for (name, _), call in self._calls.items())

    async def promise(self, key_hash: str, digest: bytes, now_ns: int) -> Promise | None:
        found = self._promises.get((key_hash, digest))
        return found if found is not None and found.ends_ns > now_ns else None

    async def claim_promise(self, promise: Promise, now_ns: int, bytes_max: int) -> Promise | None:
        standing = await self.promise(promise.key_hash, promise.digest, now_ns)
        if standing is not None:
            return standing
        if not self._make_room(ROW_BYTES, now_ns, bytes_max):
            raise full(bytes_max)
        self._promises[promise.key_hash, promise.digest] = _as(promise, Promise.RUNNING, None)
        return None

    async def end_promise(
        self, promise: Promise, state: int, answer: bytes | None, now_ns: int, bytes_max: int
    ) -> bool:
        running, place = self._running(promise), (promise.key_hash, promise.digest)
        if running is None:
            return False
        if answer is not None and not self._make_room(len(answer), now_ns, bytes_max):
            state, answer = Promise.DROPPED, None
        if place in self._promises:  # its time may be over, and its room have been needed
            self._promises[place] = _as(running, state, answer)
        return True

    async def free_promise(self, promise: Promise) -> bool:
        if self._running(promise) is None:
            return False
        del self._promises[promise.key_hash, promise.digest]
        return True

    async def running_promises(self, owner: str) -> list[Promise]:
        found = [each for each in self._promises.values() if (each.owner, each.state) == (owner, Promise.RUNNING)]
        return sorted(found, key=lambda each: each.made_ns)

    async def expire_promises(self, now_ns: int, limit: int) -> int:
        over = sorted((each.ends_ns, place) for place, each in self._promises.items() if each.ends_ns <= now_ns)
        for _, place in over[:limit]:
            del self._promises[place]
        return min(len(over), limit)

    async def lend(self, daybook: str, ask: Ask) -> Lent:
        window = ask.window
        leases = [each for each in await self.leases() if each.window.overlaps(window)]
        key_hash = lending.key_of(window.budget)
        spends = [each for each in self._spend.values() if each.key_hash == key_hash and each.day >= window.first]
        lent = lending.lend(ask, daybook, leases, spends)
        if lent.granted:
            self._put_lease(Lease(window, daybook, add(self._leases.get((window, daybook), ZERO), lent.granted)))
        return lent

    async def give_back(self, given: Sequence[Lease]) -> None:
        for each in given:
            before = self._leases.get((each.window, each.daybook), ZERO)
            self._put_lease(msgspec.structs.replace(each, amount=max(ZERO, subtract(before, each.amount))))

    async def leases(self, daybook: str | None = None) -> list[Lease]:
        found = [Lease(*place, amount) for place, amount in self._leases.items() if daybook in (None, place[1])]
        return sorted(found, key=lambda each: (each.daybook, *msgspec.structs.astuple(each.window)))

    async def forfeit(self, daybook: str) -> list[Lease]:
        gone = await self.leases(daybook)
        for each in gone:
            del self._leases[each.window, each.daybook]
        return gone

    async def size(self) -> int:
        return sum(len(bytes(call.leaf.intent)) + len(bytes(call.leaf.outcome)) for call in self._calls.values())

    async def version(self) -> int:
        return self._version

    async def close(self) -> None:
        """Nothing to close."""

    def _running(self, promise: Promise) -> Promise | None:
        found = self._promises.get((promise.key_hash, promise.digest))
        wanted = (promise.generation, Promise.RUNNING)
        return found if found is not None and (found.generation, found.state) == wanted else None

    def _make_room(self, size: int, now_ns: int, bytes_max: int) -> bool:
        """Whether `size` more bytes fit, if need be without what is over and without old answers."""

        def excess() -> int:
            return sum(ROW_BYTES + len(each.answer or b"") for each in self._promises.values()) + size - bytes_max

        if excess() > 0:
            self._promises = {place: each for place, each in self._promises.items() if each.ends_ns > now_ns}
        kept = sorted(
            ((each.made_ns, place) for place, each in self._promises.items() if each.answer is not None), reverse=True
        )
        if sum(len(self._promises[place].answer or b"") for _, place in kept) < excess():
            return False
        while excess() > 0:
            _, place = kept.pop()
            self._promises[place] = _as(self._promises[place], Promise.DROPPED, None)
        return True

    def _put_lease(self, lease: Lease) -> None:
        self._leases.pop((lease.window, lease.daybook), None)
        if lease.amount:
            self._leases[lease.window, lease.daybook] = lease.amount

    def _stored(self, place: tuple[str, int]) -> Stored:
        call, (daybook, n) = self._calls[place], place
        found = sorted(self._amendments.get(place, {}).items())
        amendments = [(0 if foreign else each.seq, each.blob) for (foreign, _, _), each in found]
        return Stored(
            call.id,
            daybook,
            n,
            call.accepted_ns,
            call.kind.account,
            call.kind.key_hash,
            call.kind.model,
            call.kind.provider,
            call.state,
            call.total,
            sheets.fold(call.leaf, call.seq, call.state, amendments),
        )


def _as(promise: Promise, state: int, answer: bytes | None) -> Promise:
    return msgspec.structs.replace(promise, state=state, answer=answer)


def _add(sums: dict[tuple[str, str, str], Spend], posting: Posting) -> None:
    place = (posting.day, posting.key_hash, posting.account)
    old = sums.get(place)
    usage, byok, requests = (old.usage, old.byok, old.requests) if old else (ZERO, ZERO, 0)
    sums[place] = Spend(
        key_hash=posting.key_hash,
        account=posting.account,
        day=posting.day,
        usage=add(usage, posting.usage),
        byok=add(byok, posting.byok),
        requests=requests + posting.requests,
    )
