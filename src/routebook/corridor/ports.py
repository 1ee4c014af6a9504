"""What the corridor needs from outside, and the one object that carries it: `App`. Built by `compose.py` alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol

import msgspec

from routebook.config.settings import Settings
from routebook.core.call import Call
from routebook.core.catalog import Accounting, Catalog, Model
from routebook.corridor.fleet import Fleet
from routebook.corridor.promises import Promises
from routebook.daybook.port import Daybook
from routebook.dialects.base import Surface, Upstream
from routebook.ledger.apps import Apps
from routebook.ledger.book import Book
from routebook.ledger.leases import Leases
from routebook.ledger.people import People
from routebook.observe.clock import Clock, Dice
from routebook.observe.metrics import Metrics
from routebook.store.port import Store
from routebook.upstream.credentials import Credentials
from routebook.upstream.fetch import Fetched
from routebook.upstream.port import Transport
from routebook.wire.bulk import LargeBody

if TYPE_CHECKING:
    from routebook.corridor.entry import Entry


class Arrival(msgspec.Struct, frozen=True):
    """One inference request as the edge read it, complete."""

    surface: Surface
    headers: Mapping[str, str]
    """names in lower case"""
    body: bytes | LargeBody
    accepted_ns: int


class Watcher(Protocol):
    """Who wants to know how the caller's connection fares."""

    def gone(self) -> None:
        """The caller has hung up; called once, never after the answer's end was written."""

    def full(self) -> None:
        """More is buffered for the caller than should be; stop producing until `drained`."""

    def drained(self) -> None: ...


class Reply(Protocol):
    """The edge's side of one answer: bytes out, in order. Never raises; after `gone` everything is dropped."""

    def watch(self, watcher: Watcher) -> None: ...

    def begin(
        self,
        status: int,
        content_type: str,
        id: str | None,
        length: int | None,
        retry_after: int | None = None,
        replayed: bool = False,
        translation: str | None = None,
    ) -> None:
        """The head; once. `id`: the generation's; `length`: bytes of the body, None for a stream; `retry_after`:
        seconds; `replayed`: the answer was given before; `translation`: `translation.told`, None where nobody asked.
        Nothing of it is as a caller or a provider wrote it, and edges need not look for line breaks."""

    def write(self, data: bytes) -> None: ...

    def end(self, data: bytes = b"") -> None:
        """The last bytes of the body, perhaps none; once, and nothing after it."""


class Verdict(msgspec.Struct, frozen=True):
    """What a moderator found."""

    flagged: bool
    reasons: tuple[str, ...] = ()
    flagged_input: str = ""
    """the part it is about, at most 100 characters"""


class Moderator(Protocol):
    """Looks at a prompt before a moderated provider does."""

    async def check(self, call: Call) -> Verdict: ...


class MediaFetch(Protocol):
    """Reads a URL that a caller names, for a provider that does not; guarded, with limits of its own."""

    async def __call__(self, url: str) -> Fetched:
        """Raises BadRequest with error_type `image_download_failed` for whatever goes wrong."""


class ReferenceCounter(Protocol):
    """Counts text with the reference tokenizer, later and elsewhere; the count arrives as an amendment."""

    def submit(self, id: str, n: int, call: Call, completion: str) -> None:
        """Queue one finished call; dropped in silence when the queue is full (the record then says native)."""

    async def count(self, call: Call) -> int | None:
        """Tokens of a call's prompt, for somebody who waits; None if they cannot be had soon."""


@dataclass(slots=True)
class App:
    """Everything one worker serves with. `catalog` and `people` are replaced whole; a request sees one version."""

    settings: Settings
    accounting: Accounting
    clock: Clock
    dice: Dice
    catalog: Catalog
    people: People
    book: Book
    leases: Leases
    apps: Apps
    daybook: Daybook
    store: Store
    transport: Transport
    fetch: MediaFetch
    credentials: Credentials
    upstreams: Mapping[str, Upstream]
    """dialect name -> the dialect as a vendor's client"""
    metrics: Metrics
    passthrough: Callable[[str], Model | None] = lambda slug: None
    """offers a model of a provider with an open catalogue"""
    moderator: Moderator | None = None
    counter: ReferenceCounter | None = None
    fleet: Fleet = field(default_factory=Fleet)
    """what was learnt of the endpoints; fed by every attempt"""
    promises: Promises | None = None
    """what requests with an Idempotency-Key were promised; None: such requests are refused"""
    entries: set[Entry] = field(default_factory=set)
    """calls under way"""
    draining: bool = False

    def now_ns(self) -> int:
        return self.clock.now_ns()

    @property
    def credits(self) -> Decimal:
        """USD the account was given."""
        return self.settings.accounting.credits
