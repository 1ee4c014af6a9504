"""The composition root: from loaded configuration to a running gateway, and back down in order.

The only file that names concrete classes. Start: store, daybook (its orphans become `interrupted`), balances, keys,
transport, edge; then the background tasks. Stop: no new work, running streams get their drain time, everything is
shipped, and the parts close in reverse order.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from routebook.config.problems import ConfigError
from routebook.config.secret import Secret
from routebook.config.settings import Settings
from routebook.control import counting
from routebook.control.app import control_app
from routebook.control.health import Readiness
from routebook.core.catalog import Accounting
from routebook.core.errors import Unavailable
from routebook.corridor.fleet import Fleet
from routebook.corridor.ports import App, Moderator
from routebook.corridor.promises import Promises
from routebook.corridor.promises import recover as recover_promises
from routebook.corridor.reclaim import Reclaimer
from routebook.daybook import folder
from routebook.daybook.book import FileDaybook
from routebook.daybook.folder import DaybookLocked
from routebook.daybook.library import Siblings
from routebook.daybook.reference import TokenCounter
from routebook.daybook.reference import available as tokenizer_available
from routebook.daybook.revisions import Follower
from routebook.daybook.segments import Sizes
from routebook.daybook.standing import Standings
from routebook.dialects import registry
from routebook.dialects.vendors import Vendor
from routebook.edge.asgi import Edge
from routebook.edge.inside import Inside, Neighbours, verbs_of
from routebook.edge.listen import connections_max, tcp_listener, tls_context, unix_listener
from routebook.edge.native_server import NativeServer
from routebook.edge.server import HttpServer, Server
from routebook.edge.shared import Edge as NativeEdge
from routebook.ledger.apps import Apps
from routebook.ledger.book import Book
from routebook.ledger.leases import Leases
from routebook.ledger.people import People
from routebook.ledger.ranking import ranking_of
from routebook.ledger.retention import Retention
from routebook.ledger.ship import Shipper, restore
from routebook.load.catalog import Stock, known_vendors, load_stock
from routebook.load.home import ensure_home, kept_secret
from routebook.load.settings import Loaded
from routebook.observe.clock import NS, SystemClock, SystemDice
from routebook.observe.log import log
from routebook.observe.metrics import Metrics
from routebook.store.open import open_store
from routebook.store.port import Store
from routebook.upstream.client import Client
from routebook.upstream.credentials import Credentials
from routebook.upstream.fetch import fetch
from routebook.upstream.google import keep_fresh
from routebook.upstream.port import Transport
from routebook.upstream.proxy import proxies_from_environment

SWEEP_SECONDS = 0.25
"""Deadlines and keep-alives are looked at this often: one timer for all calls."""
REFRESH_SECONDS = 0.5
"""Keys that another process changed are seen within this."""
TIDY_SECONDS = 30
"""Answers that were kept long enough are deleted this often."""
RETAIN_SECONDS = 60
"""Calls past retention are looked for this often; they are due at whole hours."""
LEARN_SECONDS = 60
"""How traffic ranks the models is asked of the store this often."""
SETTLE_SECONDS = 10
"""What ended calls get at stop to write their outcome."""
POLL_SECONDS = 0.02
COLLECTOR = (20_000, 10, 10)
"""New objects, and collections of the young and the middle generation, before the next is looked at."""


@dataclass(slots=True)
class Gateway:
    """One worker. `start` inside a running loop, then serve `edge`; `stop` gives True if everything was shipped."""

    loaded: Loaded
    environ: Mapping[str, str]
    moderator: Moderator | None = None
    stock: Stock = field(init=False)
    app: App = field(init=False)
    edge: Edge = field(init=False)
    _daybook: FileDaybook = field(init=False)
    _shipper: Shipper = field(init=False)
    _transport: Transport = field(init=False)
    _counter: TokenCounter | None = field(init=False, default=None)
    _clock: SystemClock = field(init=False)
    _siblings: Siblings = field(init=False)
    _inside: Inside = field(init=False)
    _standings: Standings = field(init=False)
    _repriced: Follower = field(init=False)
    _tls: ssl.SSLContext | None = field(init=False)
    _native: Callable[[], NativeEdge] = field(init=False)
    _tasks: list[asyncio.Task[None]] = field(init=False, default_factory=list)
    _stop_shipping: asyncio.Event = field(init=False)
    broken: asyncio.Event = field(init=False)
    """set where this process cannot go on: whoever serves it ends it, with a failure"""

    async def start(self) -> None:
        """Raises ConfigError, Unavailable (store), DaybookLocked, DaybookDamaged."""
        home = self.loaded.home
        self._tls = tls_of(self.loaded)
        self._clock = SystemClock()
        vendors = known_vendors(self.environ)
        self.stock = load_stock(self.loaded, self.environ, self._today(), vendors)
        ensure_home(home)
        store = open_store(self.loaded.settings, home)
        self._daybook = await self._open_daybook(store)
        self.app = await self._assemble(store, vendors)
        self.app.fleet.taught(await ranking_of(store, self._clock.now_ns()))
        renewals = await keep_fresh(self.stock.accounts, self._transport, self._clock, self.app.credentials)
        self._shipper = Shipper(self._daybook, store, carry=self.app.leases.ship)
        self._stop_shipping = asyncio.Event()
        self.broken = asyncio.Event()
        await self._make_doors()
        if self._daybook.recovered:
            log.warning("%d calls of the last run were interrupted; their records say so", self._daybook.recovered)
        # The shipper first: it ends last.
        self._tasks = [asyncio.create_task(self._shipper.run(self._stop_shipping), name="shipper"), *self._chores()]
        self._tasks += renewals
        _calm_collector()

    async def _open_daybook(self, store: Store) -> FileDaybook:
        """This worker's; what the last one left open in it is ended, and so are those that nobody owns any more."""
        settings, home = self.loaded.settings, self.loaded.home
        table, workers, accounting = settings.store, settings.server.workers, accounting_of(settings)
        cursors = {name: await store.cursor(name) for name in folder.names(home)}
        daybook = FileDaybook(
            home,
            durability=table.durability,
            accounting=accounting,
            slots=workers,
            cursors=cursors,
            sizes=Sizes(keep_bytes=table.daybook_bytes, keep_seconds=table.daybook_hours * 3600),
        )
        await take_over(home, workers, store, accounting)
        await recover_promises(store, daybook, self._clock.now_ns())
        return daybook

    async def _assemble(self, store: Store, vendors: Mapping[str, Vendor]) -> App:
        """The parts of a call's way, and all that they know from before."""
        settings, home, daybook = self.loaded.settings, self.loaded.home, self._daybook
        book, people, apps = Book(), People(self.loaded.admin_key_hash), Apps(store)
        self._repriced = Follower(home, store)
        await self._repriced.begin()
        await restore(book, store, [daybook])
        leases = Leases(book, store, daybook.name, self._clock.now_ns, workers=settings.server.workers)
        await leases.begin()
        await people.refresh(store)
        await apps.refresh()
        self._transport = Client(proxies=proxies_from_environment(self.environ))
        if settings.accounting.reference_tokens and tokenizer_available():
            self._counter = TokenCounter(daybook, home / "cache" / "tokenizer", self._clock.now_ns)
        dice = SystemDice()
        return App(
            settings=settings,
            accounting=accounting_of(settings),
            clock=self._clock,
            dice=dice,
            catalog=self.stock.catalog,
            people=people,
            book=book,
            leases=leases,
            apps=apps,
            daybook=daybook,
            store=store,
            transport=self._transport,
            fetch=fetch,
            credentials=Credentials(self.stock.keys),
            upstreams=registry.upstreams(vendors),
            metrics=Metrics(lambda model: model in self.app.catalog.models),
            passthrough=self.stock.passthrough,
            moderator=self.moderator,
            counter=self._counter,
            fleet=Fleet(settings.routing),
            promises=Promises(store, daybook.name, settings.idempotency, self._secret, dice, self._clock.now_ns),
        )

    async def _make_doors(self) -> None:
        """What takes requests: the edges, the management paths, and the socket for the other workers of this host."""
        home, surfaces = self.loaded.home, registry.surfaces()
        self._siblings = Siblings(home)
        self._standings = Standings(home)
        neighbours = Neighbours(home)
        self.app.leases.recall = neighbours.recall
        self._inside = Inside(folder.root(home) / self._daybook.name, verbs_of(self.app))
        await self._inside.start()
        control = control_app(
            self.app,
            surfaces["openai_chat"],
            self.readiness,
            self._siblings.look,
            self._standings,
            neighbours.cancel,
            counting.routes(self.app, surfaces),
        )
        self.edge = Edge(lambda: self.app, surfaces, control)
        self._native = lambda: NativeEdge(lambda: self.app, surfaces, control, connections_max())

    def _chores(self) -> list[asyncio.Task[None]]:
        """What is done beside the calls, until it is cancelled."""
        store, table = self.app.store, self.loaded.settings.store
        retention = Retention(store, table.keep_days, table.keep_bytes, self._clock.now_ns)
        return [
            asyncio.create_task(self._sweep(), name="sweep"),
            asyncio.create_task(self._refresh(), name="refresh"),
            asyncio.create_task(self._learn(), name="learn"),
            asyncio.create_task(self._tidy(), name="tidy"),
            asyncio.create_task(self._retain(retention), name="retention"),
        ]

    def server(self, port: int | None = None, bind: Callable[[], socket.socket] | None = None) -> Server:
        """The HTTP server of the configured edge, not started yet. `port`: that one instead of the configured one.
        `bind` gives the socket of one worker among several, which share its address."""
        settings = self.app.settings.server
        port = settings.port if port is None else port
        if settings.edge == "asgi":
            return HttpServer(self.edge, settings.host, port, self._tls)
        path = None if settings.unix_socket is None else Path(settings.unix_socket).expanduser()

        def own() -> socket.socket:
            if path is not None:
                return unix_listener(path, int(settings.unix_socket_mode, 8))
            return tcp_listener(settings.host, port)

        return NativeServer(self._native(), bind or own, self._tls, unlink=bind is None)

    def readiness(self) -> Readiness:
        """What /readyz says now."""
        stopped, degraded = [], []
        if self.app.draining:
            stopped.append("shutting down")
        if trouble := self._daybook.trouble:
            stopped.append(f"the daybook cannot be written: {trouble}")
        if self._shipper.trouble is not None:
            degraded.append(f"records wait to be shipped: {self._shipper.trouble}")
        if not self.app.catalog.models and not self.app.catalog.providers:
            degraded.append("no provider is configured")
        degraded += [fault.message for fault in self.app.credentials.missing.values()]
        if self._counter is not None and self._counter.broken is not None:
            degraded.append(f"reference tokens are not counted: {self._counter.broken}")
        return Readiness(tuple(stopped), tuple(degraded))

    def drain(self) -> None:
        """Take no more work; running calls go on."""
        self.app.draining = True

    async def stop(self) -> bool:
        """Run out, ship everything, close. False if rows are left unshipped."""
        await self.run_out()
        if self._counter is not None:
            await self._counter.aclose()
        self._stop_shipping.set()
        shipper, *others = self._tasks
        for task in others:
            task.cancel()
        await asyncio.gather(shipper, *others, return_exceptions=True)
        shipped = await self._all_shipped()
        if shipped:
            with contextlib.suppress(Unavailable):
                await self.app.leases.end()
        await self._inside.close()
        await self._transport.aclose()
        await self._daybook.aclose()
        await self._siblings.aclose()
        self._standings.close()
        await self.app.store.close()
        return shipped

    async def run_out(self) -> None:
        """Let calls finish within the drain time, then end the others; their records are written either way."""
        self.drain()
        await self._wait_for_calls(self.app.settings.server.drain)
        for entry in list(self.app.entries):
            entry.shut_down()
        await self._wait_for_calls(SETTLE_SECONDS)

    async def _wait_for_calls(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds  # not the wall clock, which may be set meanwhile
        # Calls end in many ways; at stop a poll is the plain one.
        while self._busy() and loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)

    def _busy(self) -> bool:
        """A call is under way, or its answer on its way to being kept."""
        promises = self.app.promises
        return bool(self.app.entries) or (promises is not None and promises.under_way > 0)

    def _secret(self) -> Secret:
        """What encrypts at rest. Raises OSError, ConfigError."""
        return self.loaded.secret or kept_secret(self.loaded.home, self.app.dice.roll)

    async def _all_shipped(self) -> bool:
        with contextlib.suppress(Exception):
            cursor = await self.app.store.cursor(self.app.daybook.name)
            return not self.app.daybook.rows(after=cursor, limit=1)
        return False

    async def _sweep(self) -> None:
        reclaimer = Reclaimer(self.app)
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self._clock.follow(idle=not self.app.entries)
            now_ns = self._clock.now_ns()
            self.app.metrics.open = len(self.app.entries)
            for entry in list(self.app.entries):
                try:
                    entry.tick(now_ns)
                except Exception:
                    log.exception("the sweep failed on generation %s", entry.intent.id)
            try:
                reclaimer.look(now_ns)
            except Exception:
                log.exception("the sweep failed on the holds")
            if self._daybook.lost and not self.broken.is_set():
                log.critical("%s: this process ends; start it again, and the book is read anew", self._daybook.trouble)
                self.broken.set()

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                await self.app.people.refresh(self.app.store)
            except Exception as error:
                # Keys stay as they were: trouble of ours is never a 401.
                log.warning("keys could not be read again: %s", error)
            try:
                await self.app.leases.tidy(self.app.people)
            except Exception as error:
                log.warning("money that is not needed here could not be given back: %s", error)
            try:
                await self._repriced.follow(self.app.book)
            except Exception as error:
                log.warning("what was charged anew is not in the balances yet: %s", error)
            today = self._today()
            if self.stock.reload_on is not None and today.date().isoformat() >= self.stock.reload_on:
                await self._reload(today)

    async def _learn(self) -> None:
        while True:
            await asyncio.sleep(LEARN_SECONDS)
            try:
                self.app.fleet.taught(await ranking_of(self.app.store, self._clock.now_ns()))
            except Exception as error:
                log.warning("how traffic ranks the models could not be asked; it stays as it was: %s", error)

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(TIDY_SECONDS)
            try:
                if self.app.promises is not None:
                    await self.app.promises.tidy()
            except Exception as error:
                log.warning("kept answers could not be tidied up: %s", error)

    async def _retain(self, retention: Retention) -> None:
        while not retention.idle:
            await asyncio.sleep(RETAIN_SECONDS)
            # One worker does it for all.
            if folder.names(self.loaded.home)[:1] != [self.app.daybook.name]:
                continue
            try:
                await retention.once()
            except Unavailable as fault:
                log.warning("calls past retention wait to be deleted: %s", fault.message)
            except Exception:
                log.exception("calls past retention could not be deleted")

    async def _reload(self, today: datetime) -> None:
        """A dated price came into force: the catalogue is swapped whole; a request sees one version."""
        try:
            self.stock = await asyncio.to_thread(load_stock, self.loaded, self.environ, today)
        except Exception:
            log.exception("the catalogue could not be loaded again; the old one stays")
            self.stock = msgspec.structs.replace(self.stock, reload_on=None)
            return
        self.app.catalog, self.app.passthrough = self.stock.catalog, self.stock.passthrough

    def _today(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now_ns() // NS, UTC)


async def take_over(home: Path, workers: int, store: Store, accounting: Accounting) -> int:
    """Bring the daybooks of workers that the gateway no longer has to their end: open calls become `interrupted`, all
    rows go to the store. How many daybooks had something left. Raises Unavailable if the store is away."""
    taken = 0
    for name in folder.names(home)[workers:]:
        try:
            cursors = {name: await store.cursor(name)}
            book = FileDaybook(home, accounting=accounting, left_behind=name, cursors=cursors)
        except DaybookLocked:
            continue  # a sibling that starts at the same moment is at it
        try:
            await recover_promises(store, book, SystemClock().now_ns())
            shipper = Shipper(book, store)
            rows = 0
            while shipped := await shipper.ship_once():
                rows += shipped
            taken += rows > 0
            await store.forfeit(name)  # all that it was lent and did not spend
        finally:
            await book.aclose()
    return taken


def _calm_collector() -> None:
    """What is here now stays; a settled call leaves no cycle behind, so the collector has little to look for.

    Measured 2026-11: with the default thresholds it took a third of the CPU of a call.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR)


def tls_of(loaded: Loaded) -> ssl.SSLContext | None:
    """What the configured address speaks; None = no TLS. Raises ConfigError where the files are none TLS can use."""
    certificate, key = loaded.settings.server.tls_cert, loaded.settings.server.tls_key
    if certificate is None:
        return None
    try:
        return tls_context(Path(certificate).expanduser(), None if key is None else Path(key).expanduser())
    except OSError as error:
        reason = error.strerror if error.errno and not isinstance(error, ssl.SSLError) else error
        problem = ConfigError(f"no certificate and key for TLS in there: {reason}", ("server", "tls_cert"))
        raise loaded.located(problem) from None


def accounting_of(settings: Settings) -> Accounting:
    """The accounting rules of a configuration."""
    table = settings.accounting
    return Accounting(markup=table.markup, byok_fee=table.byok_fee, unpriced_ceiling=table.unpriced_ceiling)
