"""What the scenarios of URLs in prompts share: providers that fetch none, and the outside world, scripted."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from routebook.core.catalog import Catalog, Endpoint, Provider
from routebook.core.errors import BadRequest
from routebook.testing.playbook import Request
from routebook.upstream.fetch import Fetched
from tests.support import END, JSON, PROVIDERS, SENT, Stage, answer, ask, model, offer, raise_stage

PNG = b"\x89PNG\r\n\x1a\n"
CAT = "https://pictures.example/cat.png"
DOG = "https://pictures.example/dog.png"
INLINE = "data:image/png;base64," + b64encode(PNG).decode()
GOOD = (SENT, JSON, answer("A cat.", 900, 2), END)


class Pictures:
    """The outside world, scripted: every URL is a picture, unless `holds` says otherwise."""

    def __init__(self, holds: dict[str, Fetched | Exception] | None = None) -> None:
        self.holds = holds or {}
        self.fetched: list[str] = []
        self.given_up: list[str] = []
        self.running = self.most = 0
        self.open = asyncio.Event()
        """not set: nothing arrives"""
        self.open.set()

    async def __call__(self, url: str) -> Fetched:
        self.fetched.append(url)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.given_up.append(url)
            raise
        finally:
            self.running -= 1
        got = self.holds.get(url, Fetched("image/png", PNG))
        if isinstance(got, Exception):
            raise got
        return got


GONE = BadRequest("Could not download the URL: 404.", error_type="image_download_failed", metadata={"host": "x"})


def blind(slug: str, provider: str = "acme", **changes: Any) -> Endpoint:
    """What a provider offers that fetches no URLs."""
    changed: Provider = msgspec.structs.replace(PROVIDERS[provider], fetches_urls=False, **changes)
    return msgspec.structs.replace(offer(slug, provider), provider=changed)


GEMINI = {"dialect": "gemini", "base_url": "https://gamma.example/v1"}
MODELS = (
    model("lab/seeing", offer("lab/seeing", "acme")),
    model("lab/blind", blind("lab/blind")),
    model("lab/claude", blind("lab/claude", "claude")),
    model("lab/gemini", blind("lab/gemini", "gamma", **GEMINI)),
    model("lab/three", blind("lab/three"), blind("lab/three", "beta"), offer("lab/three", "gamma")),
    model("lab/late", offer("lab/late", "acme"), blind("lab/late", "beta")),
    model("lab/strict", blind("lab/strict", "strict")),
)


@asynccontextmanager
async def media_stage(home: Path) -> AsyncIterator[Stage]:
    """A gateway in front of these providers, with what must hold after every scenario."""
    stage = await raise_stage(home, models=Catalog({each.slug: each for each in MODELS}, PROVIDERS))
    try:
        yield stage
        stage.check()
    finally:
        await stage.close()


def image(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


def user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, *parts]}]


def show(slug: str, *parts: dict[str, Any], **members: Any) -> Request:
    return ask(slug, **{"messages": user(*(parts or (image(CAT),))), "stream": False, **members})
