"""What a plan costs: `python -m bench.routing [rounds]` prints µs of CPU in Markdown, the best of several rounds.

The aims: 10 µs with 5 endpoints, 100 µs with 200, and 1 µs for the call that asks for nothing of a model with one.
"""

from __future__ import annotations

import sys
import time
import timeit
from collections.abc import Callable
from decimal import Decimal
from itertools import count
from typing import Any

import msgspec

from routebook.core.call import Call, Chat, Message, ProviderWish
from routebook.core.catalog import Catalog, Endpoint, Model, Provider
from routebook.core.money import Prices, PriceSheet
from routebook.policy.breaker import Breakers
from routebook.policy.health import Health, Seen
from routebook.policy.routing import NOTHING_KNOWN, Outlook, route
from routebook.policy.sticky import Sticky
from routebook.wire import codec

NS = 1_000_000_000
NOW = 1_790_000_000 * NS
AIMS = {1: 1.0, 5: 10.0, 200: 100.0}


def catalog(size: int) -> Catalog:
    """One model with that many endpoints, each at a provider of its own."""
    endpoints = []
    for n in range(size):
        provider = Provider(f"p{n}", f"Provider {n}", "openai_chat", f"https://p{n}.example/v1")
        price = Decimal(1 + n * 7 % 13) / 1_000_000
        prices = Prices(prompt=price, completion=4 * price, input_cache_read=price / 10)
        endpoints.append(Endpoint(f"p{n}:lab/one", "lab/one", provider, "up", f"p{n}", PriceSheet(prices), 131_072))
    model = Model("lab/one", "One", tuple(endpoints))
    return Catalog({"lab/one": model}, {e.provider.slug: e.provider for e in endpoints})


def call(wish: dict[str, Any] | None = None, **body: Any) -> Call:
    messages = [Message("system", "Be brief."), Message("user", "Hi " * 200)]
    body |= {"messages": messages} | ({} if wish is None else {"provider": wish})
    return Call(
        surface="openai_chat",
        model="lab/one",
        chat=Chat(messages=messages, tools=body.get("tools")),
        raw={name: msgspec.Raw(codec.encode(value)) for name, value in body.items()},
        provider=None if wish is None else codec.convert(wish, ProviderWish),
        body_bytes=800,
    )


def lived(size: int, *, troubled: bool) -> Outlook:
    """A gateway that has seen traffic; with trouble a fifth of its endpoints failed a moment ago."""
    health, breakers = Health(), Breakers()
    for n in range(size):
        for turn in range(20):
            at_ns = NOW - 20 * NS + turn * NS // 2
            health.record(Seen(f"p{n}:lab/one", at_ns, True, NS // 2 + n, 4 * NS, 100 + n))
        if troubled and n % 5 == 0:
            for _ in range(30):
                health.record(Seen(f"p{n}:lab/one", NOW, False))
                breakers.failed(f"p{n}:lab/one", NOW, n)
    return Outlook(health=health, breakers=breakers.of, sticky=Sticky() if troubled else None)


def cost(asked: Call, size: int, known: Outlook, rounds: int) -> float:
    """µs a plan, the seed and the time of every one another."""
    here, seeds = catalog(size), count(NOW)

    def plan() -> None:
        seed = next(seeds)
        route(asked, here, outlook=known, now_ns=seed, seed=seed, account="me")

    return best(plan, rounds)


def best(work: Callable[[], None], rounds: int) -> float:
    once = timeit.timeit(work, number=50) / 50
    number = max(50, int(0.05 / once))
    return min(timeit.repeat(work, number=number, repeat=rounds, timer=time.thread_time)) / number * 1e6


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    wish = {"ignore": ["nobody"], "sort": "throughput", "preferred_max_latency": {"p90": 3}, "max_price": {"prompt": 9}}
    cases: list[tuple[str, Call, Callable[[int], Outlook]]] = [
        ("nothing asked, nothing known", call(), lambda size: NOTHING_KNOWN),
        ("nothing asked, all well", call(), lambda size: lived(size, troubled=False)),
        ("nothing asked, a fifth out, conversations kept", call(), lambda size: lived(size, troubled=True)),
        ("order and ignore", call({"order": ["p0"], "ignore": ["p3"]}), lambda size: lived(size, troubled=False)),
        ("sort, preference, ceiling", call(wish), lambda size: lived(size, troubled=False)),
        ("tools", call(tools=[{"type": "function"}]), lambda size: lived(size, troubled=False)),
    ]
    print("| request | " + " | ".join(f"{size} endpoint{'s' * (size > 1)}, µs" for size in AIMS) + " |")
    print("|---" * (1 + len(AIMS)) + "|")
    for name, asked, known in cases:
        print(f"| {name} | " + " | ".join(f"{cost(asked, size, known(size), rounds):.2f}" for size in AIMS) + " |")
    print("| the aim | " + " | ".join(f"{aim:.0f}" for aim in AIMS.values()) + " |")
    health, turn = Health(), count()
    seen = [Seen("a", NOW + n * 10_000_000, True, NS, 4 * NS, 100) for n in range(10_000)]
    spent = best(lambda: health.record(seen[next(turn) % len(seen)]), rounds)
    print(f"\none attempt recorded: {spent:.2f} µs")


if __name__ == "__main__":
    main()
