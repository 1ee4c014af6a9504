"""A whole gateway without sockets, for scenarios: a real daybook file, a real book, real dialects; a scripted provider
side, frozen time and loaded dice. And the frames that providers answer with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from routebook.config.secret import Secret
from routebook.config.settings import Settings
from routebook.core.catalog import Accounting, Catalog, Endpoint, Model, Provider
from routebook.core.money import Override, Prices, PriceSheet
from routebook.core.people import Key
from routebook.corridor.exchange import exchange
from routebook.corridor.fleet import Fleet
from routebook.corridor.ports import App, Arrival, MediaFetch, Moderator
from routebook.corridor.promises import Promises
from routebook.daybook.book import FileDaybook
from routebook.dialects import registry
from routebook.ledger.apps import Apps
from routebook.ledger.book import Book
from routebook.ledger.leases import Leases
from routebook.ledger.people import People, hash_of
from routebook.observe.clock import SystemDice
from routebook.observe.metrics import Metrics
from routebook.store.memory import MemoryStore
from routebook.testing.clock import FrozenClock, LoadedDice
from routebook.testing.playbook import Caller, Playbook, Request
from routebook.testing.upstream import Data, End, Head, ScriptedTransport, Sent
from routebook.upstream.credentials import Credentials
from routebook.upstream.fetch import Fetched
from routebook.wire import codec

OPEN_KEY = "sk-rb-v1-" + "1" * 64
"""no limit"""
LIMITED_KEY = "sk-rb-v1-" + "2" * 64
"""may spend 0.05 USD"""
MANAGEMENT_KEY = "sk-rb-v1-" + "3" * 64

SHEET = PriceSheet(
    Prices(
        prompt=Decimal("0.000003"),
        completion=Decimal("0.000015"),
        input_cache_read=Decimal("0.0000003"),
        input_cache_write=Decimal("0.00000375"),
    ),
    revision="2026-01",
)
"""The prices of the worked examples: generation record, section 14."""

SEEING = PriceSheet(Prices(prompt=Decimal(0), completion=Decimal(0), image=Decimal("0.001")))
LONG = PriceSheet(
    SHEET.base,
    overrides=(Override(Prices(prompt=Decimal("0.000006"), completion=Decimal("0.00003")), min_prompt_tokens=200_000),),
)


def provider(slug: str, dialect: str = "openai_chat", **more: Any) -> Provider:
    suffix = "" if dialect == "anthropic" else "/v1"
    return Provider(
        slug=slug, name=slug.capitalize(), dialect=dialect, base_url=f"https://{slug}.example{suffix}", **more
    )


PROVIDERS = {
    each.slug: each
    for each in (
        provider("acme", abortable=True),
        provider("beta"),  # closing its socket does not stop its bill
        provider("gamma", abortable=True),
        provider("claude", "anthropic", abortable=True),
        provider("strict", moderated=True, abortable=True),
        provider("delta", "openai_responses", abortable=True),
    )
}


def offer(slug: str, name: str, pricing: PriceSheet | None = SHEET, **more: Any) -> Endpoint:
    """What provider `name` offers of model `slug`."""
    return Endpoint(
        id=f"{name}:{slug}",
        model=slug,
        provider=PROVIDERS[name],
        upstream_model=f"{slug.rpartition('/')[2]}-2026",
        tag=name,
        pricing=pricing,
        context_length=more.pop("context_length", 400_000),
        **more,
    )


def model(slug: str, *endpoints: Endpoint) -> Model:
    return Model(slug, slug, endpoints)


MODELS = (
    model("lab/large", offer("lab/large", "acme"), offer("lab/large", "beta"), offer("lab/large", "gamma")),
    model("lab/solo", offer("lab/solo", "acme")),
    model("lab/billed", offer("lab/billed", "beta")),
    model("lab/cached", offer("lab/cached", "claude", max_completion_tokens=1024)),
    model("lab/unpriced", offer("lab/unpriced", "acme", None)),
    model("lab/long", offer("lab/long", "acme", LONG)),
    model("lab/seeing", offer("lab/seeing", "acme", SEEING)),
    model("lab/strict", offer("lab/strict", "strict")),
    model("lab/mixed", offer("lab/mixed", "acme"), offer("lab/mixed", "strict")),
    model("lab/items", offer("lab/items", "delta"), offer("lab/items", "acme")),
    model("lab/plain", offer("lab/plain", "acme", supported_parameters=frozenset({"temperature"}))),
)


def catalog(*more: Model) -> Catalog:
    return Catalog({each.slug: each for each in (*MODELS, *more)}, PROVIDERS, version="1")


def keys() -> tuple[Key, ...]:
    return (
        Key(hash_of(OPEN_KEY), "open", "open", workspace_id="550e8400-e29b-41d4-a716-446655440000"),
        Key(hash_of(LIMITED_KEY), "limited", "limited", limit=Decimal("0.05")),
        Key(hash_of(MANAGEMENT_KEY), "manager", "manager", management=True),
    )


@dataclass
class Stage:
    """One gateway on a stage, and the playbook that plays on it."""

    app: App
    daybook: FileDaybook
    store: MemoryStore
    transport: ScriptedTransport
    clock: FrozenClock
    playbook: Playbook
    left_open: int = field(default=0)
    """calls that the scenario leaves open on purpose, because its book could not be written"""

    @property
    def record(self) -> dict[str, Any]:
        """The last call's record."""
        return self.playbook.record()

    async def play(self, *scenario: Any) -> None:
        await self.playbook.play(*scenario)

    def check(self) -> None:
        """What holds after every scenario: nobody is left waiting, no money is left on hold, and every sum is right."""
        book = self.app.book
        assert all(task.done() for task in self.playbook.tasks), "a request is still being served"
        assert all(caller.ended for caller in self.playbook.callers), "an answer never ended"
        assert not self.app.entries, "an entry outlived its call"
        assert book.holds_open == 0, "a hold outlived its call"
        assert all(book.held(key.hash) == 0 for key in keys()), "money is still on hold"
        assert self.daybook.open_calls == self.left_open, "a call has an intent and no outcome"
        assert all(line.closed or line.ended for line in self.transport.lines), "a provider is still connected"
        charged = Decimal(0)
        for folded in self.daybook.scan():
            if folded.outcome is not None:
                charge = folded.outcome.charge
                charged += charge.total
                assert charge.lines is None or sum((line.amount for line in charge.lines), Decimal(0)) == charge.total
        if not self.left_open:
            assert charged == book.account_usage("default"), "the book and the balances differ"

    async def close(self) -> None:
        self.playbook.close()
        await self.transport.aclose()
        await self.daybook.aclose()


async def nothing_to_fetch(url: str) -> Fetched:
    """For scenarios in which nobody may fetch."""
    raise AssertionError(f"fetched {url}")


async def raise_stage(
    home: Path,
    *,
    settings: Settings = Settings(),
    accounting: Accounting = Accounting(),
    moderator: Moderator | None = None,
    fetch: MediaFetch | None = None,
    models: Catalog | None = None,
    at: str = "2026-01-02T03:04:05+00:00",
) -> Stage:
    """A gateway with its daybook in `home`."""
    clock = FrozenClock(at)
    store = MemoryStore()
    for key in keys():
        await store.put_key(key)
    people = People()
    await people.refresh(store)
    dice = LoadedDice()
    daybook = FileDaybook(home, accounting=accounting, dice=dice)
    transport = ScriptedTransport(clock, open_ended=True)
    book = Book()
    app = App(
        settings=settings,
        accounting=accounting,
        clock=clock,
        dice=dice,
        catalog=models or catalog(),
        people=people,
        book=book,
        leases=Leases(book, store, daybook.name, clock.now_ns),
        apps=Apps(store),
        daybook=daybook,
        store=store,
        transport=transport,
        fetch=fetch or nothing_to_fetch,
        credentials=Credentials({slug: Secret(f"secret-of-{slug}") for slug in PROVIDERS}),
        upstreams=registry.upstreams({}),
        metrics=Metrics(),
        moderator=moderator,
        # Scenarios say who is asked and then whom: nobody is drawn.
        fleet=Fleet(msgspec.structs.replace(settings.routing, balance="order")),
        promises=Promises(
            store, daybook.name, settings.idempotency, lambda: Secret("at rest"), SystemDice(), clock.now_ns
        ),
    )
    surfaces = registry.surfaces()

    async def serve(request: Request, caller: Caller) -> None:
        await exchange(Arrival(surfaces[request.surface], request.headers, request.body, clock.now_ns()), caller, app)

    def sweep() -> None:
        for entry in list(app.entries):
            entry.tick(clock.now_ns())

    playbook = Playbook(
        serve=serve,
        sweep=sweep,
        transport=transport,
        clock=clock,
        hosts={each.base_url: slug for slug, each in PROVIDERS.items()},
        home=home,
        daybook=daybook.name,
    )
    return Stage(app, daybook, store, transport, clock, playbook)


# --- what callers send ------------------------------------------------------------------------------------------------


def ask(
    model: str = "lab/solo",
    *,
    key: str = OPEN_KEY,
    headers: Mapping[str, str] | None = None,
    bytes_long: int | None = None,
    **members: Any,
) -> Request:
    """A chat request, streamed unless `stream=False`; `bytes_long` pads its prompt so that the body has that length."""
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "stream": True}
    body |= members
    data = codec.encode(body)
    if bytes_long is not None:
        body["messages"] = [{"role": "user", "content": "Hello" + "o" * (bytes_long - len(data))}]
        data = codec.encode(body)
    return Request(data, {"authorization": f"Bearer {key}", **(headers or {})})


# --- what providers answer --------------------------------------------------------------------------------------------

SENT = Sent()
SSE = Head(200, "text/event-stream")
JSON = Head(200, "application/json")
END = End()
DONE_MARK = Data(b"data: [DONE]\n\n")


def event(value: Any) -> Data:
    return Data(b"data: " + codec.encode(value) + b"\n\n")


def chunk_of(*choices: dict[str, Any], **more: Any) -> Data:
    return event({"id": "chatcmpl-1", "model": "large-2026", "choices": list(choices), **more})


def text(content: str, **delta: Any) -> Data:
    """A frame with a piece of text."""
    return chunk_of({"index": 0, "delta": {"content": content, **delta}, "finish_reason": None})


ROLE_ONLY = chunk_of({"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None})


def finish(reason: str = "stop", index: int = 0) -> Data:
    return chunk_of({"index": index, "delta": {}, "finish_reason": reason})


def counted(prompt: int, completion: int, **more: Any) -> Data:
    """The usage frame at the end of a stream."""
    return chunk_of(usage=counts(prompt, completion, **more))


def counts(prompt: int, completion: int, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion, **more}


def failed(message: str = "the engine fell over", **more: Any) -> Data:
    """An error inside a stream."""
    return event({"error": {"message": message, "type": "server_error", **more}})


def answer(content: str, prompt: int, completion: int, finish_reason: str = "stop") -> Data:
    """A whole body that is no stream."""
    return Data(
        codec.encode(
            {
                "id": "chatcmpl-1",
                "model": "large-2026",
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": content},
                        "finish_reason": finish_reason,
                    }
                ],
                "usage": counts(prompt, completion),
            }
        )
    )


def refused(
    status: int, message: str = "no", headers: Mapping[str, str] | None = None, **error: Any
) -> tuple[Any, ...]:
    """An answer with an error status."""
    return (
        SENT,
        Head(status, headers=dict(headers or {})),
        Data(codec.encode({"error": {"message": message, **error}})),
        END,
    )


def with_timeouts(**seconds: float) -> Settings:
    settings = Settings()
    return msgspec.structs.replace(settings, timeouts=msgspec.structs.replace(settings.timeouts, **seconds))
