"""The composition root: from loaded configuration to a running gateway, and back down in order.

The only file that names concrete classes. Start: store, daybook (its orphans become `interrupted`), balances, keys,
transport, edge; then the background tasks. Stop: no new work, running streams get their drain time, everything is
shipped, and the parts close in reverse order.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from routebook.config.settings import Settings
from routebook.control.app import control_app
from routebook.control.health import Readiness
from routebook.core.catalog import Accounting
from routebook.corridor.ports import App, Moderator
from routebook.daybook.book import FileDaybook
from routebook.daybook.reference import TokenCounter
from routebook.daybook.reference import available as tokenizer_available
from routebook.dialects import registry
from routebook.edge.asgi import Edge
from routebook.ledger.apps import Apps
from routebook.ledger.book import Book
from routebook.ledger.people import People
from routebook.ledger.ship import Shipper, restore
from routebook.load.catalog import Stock, known_vendors, load_stock
from routebook.load.home import ensure_home
from routebook.load.settings import Loaded
from routebook.observe.clock import NS, SystemClock, SystemDice
from routebook.observe.log import log
from routebook.observe.metrics import Metrics
from routebook.store.open import open_store
from routebook.upstream.client import Client
from routebook.upstream.credentials import Credentials
from routebook.upstream.fetch import fetch
from routebook.upstream.port import Transport
from routebook.upstream.proxy import proxies_from_environment

SWEEP_SECONDS = 0.25
"""Deadlines and keep-alives are looked at this often: one timer for all calls."""
REFRESH_SECONDS = 0.5
"""Keys that another process changed are seen within this."""
SETTLE_SECONDS = 10
"""What ended calls get at stop to write their outcome."""
POLL_SECONDS = 0.02


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
    _tasks: list[asyncio.Task[None]] = field(init=False, default_factory=list)
    _stop_shipping: asyncio.Event = field(init=False)

    async def start(self) -> None:
        """Raises ConfigError, Unavailable (store), DaybookLocked."""
        settings, home = self.loaded.settings, self.loaded.home
        accounting = accounting_of(settings)
        self._clock = SystemClock()
        vendors = known_vendors()
        self.stock = load_stock(self.loaded, self.environ, self._today(), vendors)
        ensure_home(home)
        store = open_store(settings, home)
        daybook = FileDaybook(home, durability=settings.store.durability, accounting=accounting)
        book, people, apps = Book(), People(self.loaded.admin_key_hash), Apps(store)
        await restore(book, store, [daybook])
        await people.refresh(store)
        await apps.refresh()
        self._transport = Client(proxies=proxies_from_environment(self.environ))
        if settings.accounting.reference_tokens and tokenizer_available():
            self._counter = TokenCounter(daybook, home / "cache" / "tokenizer", self._clock.now_ns)
        self.app = App(
            settings=settings,
            accounting=accounting,
            clock=self._clock,
            dice=SystemDice(),
            catalog=self.stock.catalog,
            people=people,
            book=book,
            apps=apps,
            daybook=daybook,
            store=store,
            transport=self._transport,
            fetch=fetch,
            credentials=Credentials(self.stock.keys),
            upstreams=registry.upstreams(vendors),
            metrics=Metrics(),
            passthrough=self.stock.passthrough,
            moderator=self.moderator,
            counter=self._counter,
        )
        self._daybook = daybook
        self._shipper = Shipper(daybook, store)
        self._stop_shipping = asyncio.Event()
        surfaces = registry.surfaces()
        control = control_app(self.app, surfaces["openai_chat"], self.readiness)
        self.edge = Edge(lambda: self.app, surfaces, control)
        if daybook.recovered:
            log.warning("%d calls of the last run were interrupted; their records say so", daybook.recovered)
        self._tasks = [
            asyncio.create_task(self._shipper.run(self._stop_shipping), name="shipper"),
            asyncio.create_task(self._sweep(), name="sweep"),
            asyncio.create_task(self._refresh(), name="refresh"),
        ]

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
        await self._transport.aclose()
        await self._daybook.aclose()
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
        deadline = self._clock.now_ns() + int(seconds * NS)
        while self.app.entries and self._clock.now_ns() < deadline:
            await asyncio.sleep(POLL_SECONDS)  # noqa: ASYNC110 - calls end in many ways; at stop a poll is the plain one

    async def _all_shipped(self) -> bool:
        with contextlib.suppress(Exception):
            cursor = await self.app.store.cursor(self.app.daybook.name)
            return not self.app.daybook.rows(after=cursor, limit=1)
        return False

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self._clock.follow()
            now_ns = self._clock.now_ns()
            self.app.metrics.open = len(self.app.entries)
            for entry in list(self.app.entries):
                try:
                    entry.tick(now_ns)
                except Exception:
                    log.exception("the sweep failed on generation %s", entry.intent.id)

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                await self.app.people.refresh(self.app.store)
            except Exception as error:
                # Keys stay as they were: trouble of ours is never a 401.
                log.warning("keys could not be read again: %s", error)
            today = self._today()
            if self.stock.reload_on is not None and today.date().isoformat() >= self.stock.reload_on:
                await self._reload(today)

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


def accounting_of(settings: Settings) -> Accounting:
    """The accounting rules of a configuration."""
    table = settings.accounting
    return Accounting(markup=table.markup, byok_fee=table.byok_fee, unpriced_ceiling=table.unpriced_ceiling)
