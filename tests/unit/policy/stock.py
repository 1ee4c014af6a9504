"""A small catalogue, calls and health for the tests of routing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from routebook.core.call import Call, Chat, Message, Part, ProviderWish, Tool
from routebook.core.catalog import Catalog, Endpoint, Model, Provider
from routebook.core.money import Prices, PriceSheet
from routebook.policy.health import Speed, Stills, Tally, Vitals
from routebook.policy.histogram import Percentiles
from routebook.policy.routing import NOTHING_KNOWN, Outlook, Route, route
from routebook.wire import codec

NS = 1_000_000_000
NOW = 1_790_000_000 * NS

GOOD = Vitals(Tally(10), Tally(200), Tally(500), Tally(900))
OUT = Vitals(Tally(1, 3), Tally(200, 5), Tally(500, 5), Tally(900, 5))
DEGRADED = Vitals(Tally(10), Tally(90, 10), Tally(500, 10), Tally(900, 10))
DOWN = Vitals(Tally(10), Tally(70, 30), Tally(500, 30), Tally(900, 30))


def provider(slug: str, **more: Any) -> Provider:
    return Provider(slug, more.pop("name", slug.capitalize()), "openai_chat", f"https://{slug}.example/v1", **more)


def sheet(prompt: str | None, completion: str | None = None, **more: str) -> PriceSheet:
    """USD per million tokens."""
    each = {"prompt": prompt, "completion": prompt if completion is None else completion}
    prices = {name: Decimal(price) / 1_000_000 for name, price in each.items() if price is not None}
    discount = Decimal(more.pop("discount", "0"))
    return PriceSheet(Prices(**prices, **{name: Decimal(price) for name, price in more.items()}), discount)


def endpoint(of: Provider | str, model: str = "lab/one", price: str | None = "1", **more: Any) -> Endpoint:
    """An endpoint of a provider; `price` is USD per million tokens, None = unpriced."""
    served = provider(of) if isinstance(of, str) else of
    tag = more.pop("tag", served.slug)
    pricing = more.pop("pricing", None if price is None else sheet(price))
    return Endpoint(f"{tag}:{model}", model, served, f"{model}-up", tag, pricing, **more)


def model(slug: str, *endpoints: Endpoint, **more: Any) -> Model:
    served = tuple(msgspec.structs.replace(e, model=slug, id=f"{e.tag}:{slug}") for e in endpoints)
    return Model(slug, more.pop("name", slug), served, **more)


def catalog(*models: Model, aliases: dict[str, str] | None = None) -> Catalog:
    providers = {e.provider.slug: e.provider for each in models for e in each.endpoints}
    return Catalog({each.slug: each for each in models}, providers, aliases or {})


def one(*endpoints: Endpoint, **more: Any) -> Catalog:
    """The catalogue with nothing but the model lab/one."""
    return catalog(model("lab/one", *endpoints, **more))


CHAT = frozenset(Chat.__struct_fields__)


def call(name: str = "lab/one", *others: str, wish: dict[str, Any] | None = None, **body: Any) -> Call:
    """A call with these members in its body; `messages`, `session_id` and what a Call counts go where they belong."""
    counted = {
        each: body.pop(each)
        for each in ("session_id", "media_prompt", "audio_prompt", "body_bytes", "bulk")
        if each in body
    }
    messages = body.pop("messages", [Message("user", "Hi")])
    chat = {each: value for each, value in body.items() if each in CHAT}
    if chat.get("tools"):
        chat["tools"] = [Tool() for _ in chat["tools"]]
    raw = {each: msgspec.Raw(codec.encode(value)) for each, value in body.items()}
    raw["messages"] = msgspec.Raw(codec.encode(messages))
    if wish is not None:
        raw["provider"] = msgspec.Raw(codec.encode(wish))
    return Call(
        surface="openai_chat",
        model=name,
        models=others,
        chat=Chat(messages=messages, **chat),
        raw=raw,
        provider=None if wish is None else codec.convert(wish, ProviderWish),
        **counted,
    )


def picture() -> Message:
    return codec.convert(
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}]}, Message
    )


def text(role: str, said: str) -> Message:
    return Message(role, [Part("text", text=said)])


def speed(throughput: float | None = None, latency: float | None = None) -> Speed:
    """The same at every percentile."""
    return Speed(
        None if latency is None else Percentiles(latency, latency, latency, latency),
        None if throughput is None else Percentiles(throughput, throughput, throughput, throughput),
    )


def outlook(health: dict[str, Vitals] | None = None, speeds: dict[str, Speed] | None = None, **more: Any) -> Outlook:
    """What is known; health and speeds by tag, of the model lab/one."""
    stills = Stills(
        {f"{tag}:lab/one": each for tag, each in (health or {}).items()},
        {f"{tag}:lab/one": each for tag, each in (speeds or {}).items()},
    )
    return Outlook(health=stills, **more)


def plan(asked: Call, here: Catalog, known: Outlook = NOTHING_KNOWN, seed: int | None = None, **more: Any) -> Route:
    return route(asked, here, more.pop("passthrough", lambda slug: None), known, NOW, seed, **more)


def tags(found: Route) -> list[str]:
    return [each.tag for each in found.endpoints]


def tried(asked: Call, here: Catalog, known: Outlook = NOTHING_KNOWN, seed: int | None = None) -> list[str]:
    """Tags in the order in which they are tried."""
    return tags(plan(asked, here, known, seed))
