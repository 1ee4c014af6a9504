"""Google's Vertex AI as an upstream: Gemini and Claude, each with the body of its own API.

What differs is where a request goes, how it is signed and, for Claude, where the model and the version stand. Gemini's
and Anthropic's dialects make the bodies and read the answers; the registry hands them in, because dialects do not
import each other. An answer does not say who made it, so its first bytes do.

`base_url` is `https://<host>/v1/projects/<project>/locations/<location>`; an `upstream_model` is a name
(`gemini-2.5-flash`, `claude-sonnet-4-5@20250929`) or begins with `publishers/` (`publishers/anthropic/models/…`), and
tuned models are `endpoints/<number>`. The credential is an OAuth access token, sent as bearer; a Google API key
(`AIza…`, `AQ.…`: Vertex in express mode) stays in its own header. Tokens last an hour; `upstream.google` makes them.
Sources, read 2026-11: cloud.google.com "Vertex AI API reference: generateContent", "Use Claude models",
"Vertex AI in express mode"; platform.claude.com "Claude on Vertex AI".
"""

from __future__ import annotations

import re
from typing import Any

from msgspec.structs import replace

from routebook.core.call import Call, Losses
from routebook.core.catalog import Endpoint
from routebook.core.errors import UpstreamFault
from routebook.core.events import Event, Failed
from routebook.core.ids import Mint
from routebook.dialects.base import Reader, Upstream
from routebook.wire import codec
from routebook.wire.http import HttpHead, HttpRequest

VERSION = "vertex-2023-10-16"
SNIFFED_MAX = 4096
"""Bytes in which an answer has to say whose it is."""

_API_KEY = re.compile(r"AIza[\w-]+|AQ\.[\w.-]+")
_FIELDS = rb"(?:(?::[^\n]*+|event:[^\n]*+|id:[^\n]*+|data:)\s*+)*+"
_FIRST = re.compile(rb"\A(?:\xef\xbb\xbf)?[\s\[]*+" + _FIELDS + rb'\{\s*+(?:"([^"\\]*+)"|\})')
"""The name of the first member of the first object, past what server-sent events have before it."""

_GEMINIS = frozenset((b"candidates", b"predictions", b"error"))
"""First members of Gemini's answers beside those with a capital inside, as all its longer names have; Claude's have
none. Errors come in Google's form for both."""


class Vertex:
    """`dialects.base.Upstream`."""

    name = "vertex"

    def __init__(self, gemini: Upstream, claude: Upstream) -> None:
        self._gemini = gemini
        self._claude = claude

    def build(self, call: Call, endpoint: Endpoint, secret: str | None, losses: Losses) -> HttpRequest:
        """POST {base_url}/publishers/{publisher}/models/{model}:{method}. Raises BadRequest, CannotExpress."""
        base, path = _place(endpoint)
        publisher = "anthropic" if "publishers/anthropic/" in path else "google"
        if publisher == "anthropic":
            request = self._claude.build(call, endpoint, None, losses)
            method = "streamRawPredict" if call.stream else "rawPredict"
            body, more = _claude_body(request, losses)
            headers = [(n, v) for n, v in request.headers if n in ("content-type", "accept")] + more
            request = HttpRequest("POST", f"{base}/{path}:{method}", tuple(headers), body)
        else:
            provider = replace(endpoint.provider, base_url=base)
            here = replace(endpoint, provider=provider, upstream_model=path)
            request = _tiered(self._gemini.build(call, here, None, losses))
        if secret is None:
            return request
        key = ("x-goog-api-key", secret) if _API_KEY.fullmatch(secret) else ("authorization", f"Bearer {secret}")
        return replace(request, headers=(*request.headers, key))

    def relays(self, surface: str, endpoint: Endpoint) -> bool:
        """Each publisher's models take that publisher's own bodies."""
        claude = "publishers/anthropic/" in _place(endpoint)[1]
        return surface == ("anthropic" if claude else "gemini")

    def reader(self, head: HttpHead, mint: Mint) -> Reader:
        return VertexReader(head, mint, self._gemini, self._claude)

    def fault(self, head: HttpHead, body: bytes) -> UpstreamFault:
        """Vertex writes Google's errors for both; what Claude itself refuses comes in Anthropic's own form."""
        if b'"type"' in body and b'"status"' not in body:
            return self._claude.fault(head, body)
        return self._gemini.fault(head, body)


def _place(endpoint: Endpoint) -> tuple[str, str]:
    """(base URL, path of the model below it); a base URL that ends in a publisher is tolerated."""
    base, model = endpoint.provider.base_url.rstrip("/"), endpoint.upstream_model
    if not model.startswith(("publishers/", "endpoints/")):
        publisher = "anthropic" if model.startswith("claude") else "google"
        found = re.search(r"/publishers/([\w-]+)$", base)
        model = f"publishers/{found[1] if found else publisher}/models/{model}"
    base = re.sub(r"/publishers/[\w-]+$", "", base)
    return _GLOBAL.sub(lambda found: found[0] if found[2] == "global" else _regional(found[1], found[2]), base), model


_GLOBAL = re.compile(r"\Ahttps://aiplatform\.googleapis\.com(/.*/locations/)([a-z0-9-]+)\Z")
"""The host that serves no region but `global`."""


def _regional(path: str, location: str) -> str:
    """The same place at the host that serves its location; `us` and `eu` have hosts of another form."""
    host = f"aiplatform.{location}.rep" if location in ("us", "eu") else f"{location}-aiplatform"
    return f"https://{host}.googleapis.com{path}{location}"


def _claude_body(request: HttpRequest, losses: Losses) -> tuple[bytes, list[tuple[str, str]]]:
    """(body, headers): the model is in the URL, the version in the body."""
    members: dict[str, Any] = codec.decode_as(request.body, dict[str, codec.Raw])
    members.pop("model", None)
    if members.pop("cache_control", None) is not None:
        losses.unsupported("cache_control", "Vertex has no automatic caching; mark a part of the content")
    if members.pop("service_tier", None) is not None:
        losses.unsupported("service_tier", "Vertex has no tiers for Claude")
    headers = [(name, value) for name, value in request.headers if name == "anthropic-beta"]
    return codec.encode({"anthropic_version": VERSION, **members}), headers


def _tiered(request: HttpRequest) -> HttpRequest:
    """Gemini's tier is a member of the body at Google AI Studio and a header at Vertex."""
    if b'"serviceTier"' not in request.body:
        return request
    members: dict[str, Any] = codec.decode_as(request.body, dict[str, codec.Raw])
    tier = members.pop("serviceTier", None)
    if tier is None:
        return request
    name = str(codec.decode(bytes(tier)))
    more = () if name == "standard" else (("x-vertex-ai-llm-shared-request-type", name),)
    return replace(request, headers=(*request.headers, *more), body=codec.encode(members))


class VertexReader:
    """Reads one answer of status 200 (`dialects.base.Reader`): holds its first bytes until they say whose it is."""

    __slots__ = ("_claude", "_gemini", "_head", "_held", "_inner", "_mint")

    def __init__(self, head: HttpHead, mint: Mint, gemini: Upstream, claude: Upstream) -> None:
        self._head = head
        self._mint = mint
        self._gemini = gemini
        self._claude = claude
        self._held = b""
        self._inner: Reader | None = None

    def feed(self, data: bytes) -> list[Event]:
        if self._inner is not None:
            return self._inner.feed(data)
        self._held += data
        found = _FIRST.match(self._held)
        if found is None and len(self._held) <= SNIFFED_MAX:
            return []
        return self._go(found[1] if found is not None else None)

    def end(self) -> list[Event]:
        out = self._go(None) if self._inner is None else []
        if any(isinstance(event, Failed) for event in out) or self._inner is None:
            return out
        return [*out, *self._inner.end()]

    def _go(self, first: bytes | None) -> list[Event]:
        """`first`: name of the first member; what cannot be told apart is read as Gemini's."""
        claude = first is not None and first not in _GEMINIS and first.lower() == first
        self._inner = (self._claude if claude else self._gemini).reader(self._head, self._mint)
        held, self._held = self._held, b""
        return self._inner.feed(held)
