"""A whole gateway for acceptance tests: the composed application under its real HTTP server, on a loopback port.

It runs on a thread with its own loop, so that clients of every kind may block against it.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2
import msgspec
import uvloop

from routebook.compose import Gateway
from routebook.corridor.ports import Moderator
from routebook.edge.server import Server
from routebook.load.settings import Flags, Loaded, load_settings
from routebook.testing.provider import Rates, ScriptedProvider

T = TypeVar("T")

ADMIN_KEY = "an-admin-key-for-acceptance-tests-only"

MODELS: dict[str, Rates] = {
    "plain-1": Rates(prompt="0.00000015", completion="0.0000006"),
    "cached-1": Rates(
        prompt="0.0000025",
        completion="0.00001",
        input_cache_read="0.00000125",
        input_cache_write="0.000003125",
        internal_reasoning="0.0000123",
        request="0.0007",
    ),
    "odd-1": Rates(prompt="0.00000000333", completion="0.0000000777777", input_cache_read="0.000000000111"),
    "unpriced-1": Rates(prompt="0.1", completion="0.1"),
    "down-1": Rates(prompt="1", completion="1"),
}
"""Upstream name -> what the scripted provider charges. The gateway is not told the price of `unpriced-1`."""
FAILING = {"down-1": 503}


def slug(upstream: str) -> str:
    """The model's name at the gateway: `plain-1` is `scripted/plain`."""
    return f"scripted/{upstream.removesuffix('-1')}"


def configuration(provider: ScriptedProvider, extra: str = "", **accounting: str) -> str:
    """A configuration file for that provider. `extra` is more TOML at its end; `accounting` fills that table.

    The published description of the API lists the names that a provider may have, so these are among them.
    """
    parts = [
        "[catalog]\nprice_list = false",
        # Tests name who is asked first, so nobody is drawn.
        '[routing]\nbalance = "order"',
        "[accounting]\n" + "\n".join(f'{name} = "{value}"' for name, value in accounting.items()),
        _provider("scripted", "Infermatic", provider, "abortable = true"),
        _provider("slow", "Novita", provider, "abortable = false"),
        _provider("prudent", "DeepInfra", provider, "moderated = true"),
    ]
    for upstream, rates in provider.models.items():
        parts.append(_model(slug(upstream), "scripted", upstream, None if upstream == "unpriced-1" else rates))
    plain = provider.models["plain-1"]
    parts.append(_model("scripted/moderated", "prudent", "plain-1", plain))
    parts.append(_model("scripted/drained", "slow", "plain-1", plain))
    parts.append(_model("scripted/fallback", "scripted", "down-1", provider.models["down-1"]))
    parts.append(_endpoint("slow", "plain-1", plain))
    return "\n\n".join([*parts, extra]) + "\n"


def _provider(slug: str, name: str, provider: ScriptedProvider, more: str) -> str:
    return (
        f'[[providers]]\nslug = "{slug}"\nname = "{name}"\ndialect = "openai_chat"\n'
        f'base_url = "{provider.base_url}"\napi_key = "{provider.api_key}"\n{more}'
    )


def _model(slug: str, provider: str, upstream: str, rates: Rates | None) -> str:
    head = f'[[models]]\nslug = "{slug}"\ncontext_length = 131072\n'
    return head + _endpoint(provider, upstream, rates)


def _endpoint(provider: str, upstream: str, rates: Rates | None) -> str:
    lines = [f'[[models.endpoints]]\nprovider = "{provider}"\nupstream_model = "{upstream}"']
    lines.append("max_completion_tokens = 8192")
    if rates is not None:
        lines.append("[models.endpoints.pricing]")
        prices = {name: getattr(rates, name) for name in Rates.__struct_fields__}
        lines += [f'{name} = "{price}"' for name, price in prices.items() if price is not None]
    return "\n".join(lines)


class RunningGateway:
    """From `start` to `stop`; use as a context manager."""

    def __init__(
        self, home: Path, config: str, environ: Mapping[str, str] | None = None, moderator: Moderator | None = None
    ) -> None:
        self.home = home
        self.environ = {"ROUTEBOOK_ADMIN_KEY": ADMIN_KEY, **(environ or {})}
        self.config = home.parent / f"{home.name}.toml"
        self.config.write_text(config, "utf-8")
        self.moderator = moderator
        self.port = 0
        self.gateway: Gateway
        self.server: Server
        self.shipped: bool | None = None
        """what stopping said: all rows are in the store"""
        self._loop: asyncio.AbstractEventLoop
        self._thread: threading.Thread | None = None

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base(self) -> str:
        """The base URL that clients are given."""
        return f"{self.origin}/api/v1"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Serves when this returns. Raises what starting raised."""
        ready: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

        def run() -> None:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve(ready))

        self._thread = threading.Thread(target=run, name="gateway")
        self._thread.start()
        if (trouble := ready.get()) is not None:
            self._thread.join()
            self._thread = None
            raise trouble

    def stop(self) -> None:
        """Drains, ships, closes, in the order of SIGTERM. Harmless when it is stopped."""
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
            self._thread = None

    def run(self, what: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the gateway's loop."""
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(timeout=60)

    def until(self, holds: Callable[[], bool], seconds: float = 10) -> None:
        """Returns when `holds()` is true on the gateway's loop; an AssertionError after `seconds`."""

        async def watch() -> None:
            async with asyncio.timeout(seconds):
                while not holds():  # noqa: ASYNC110 - what it waits for is not always an event
                    await asyncio.sleep(0.001)

        self.run(watch())

    def new_key(self, **fields: Any) -> str:
        """A fresh key, made through the API."""
        answer = httpx2.post(f"{self.base}/keys", json={"name": "test", **fields}, headers=bearer(ADMIN_KEY))
        assert answer.status_code == 201, answer.text
        key: str = answer.json()["key"]
        return key

    async def _serve(self, ready: queue.SimpleQueue[BaseException | None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        try:
            loaded = on_edge(load_settings(self.config, self.environ, Flags(home=self.home)))
            self.gateway = Gateway(loaded, self.environ, self.moderator)
            await self.gateway.start()
            server = self.server = self.gateway.server(0)
            await server.start()
        except BaseException as error:
            ready.put(error)
            return
        self.port = server.port
        ready.put(None)
        await self._stopping.wait()
        self.gateway.drain()
        await self.gateway.run_out()
        await server.stop()
        self.shipped = await self.gateway.stop()


def on_edge(loaded: Loaded) -> Loaded:
    """With the edge that ROUTEBOOK_TEST_EDGE names, for a run of everything on the other one, unless a test chose."""
    name = os.environ.get("ROUTEBOOK_TEST_EDGE")
    if name not in ("asgi", "native") or ("server", "edge") in loaded.lines:
        return loaded
    settings = loaded.settings
    server = msgspec.structs.replace(settings.server, edge=name)
    return msgspec.structs.replace(loaded, settings=msgspec.structs.replace(settings, server=server))


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}
