"""What the tests of the chat dialect share: answers as bytes, three ways of feeding them, calls and endpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from routebook.core.call import Call, Losses
from routebook.core.catalog import Endpoint, Provider
from routebook.core.events import Event, Failed
from routebook.core.ids import Mint
from routebook.dialects.openai_chat import SURFACE, ChatUpstream
from routebook.dialects.vendors import Vendor
from routebook.wire.http import HttpHead, HttpRequest
from tests.dialects.plainest import plainest

JSON = "application/json"
SSE = "text/event-stream"


def chunk(delta: Mapping[str, Any] | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """One chunk of a stream with one choice, or with none where there is neither delta nor finish."""
    choices = [] if delta is None and finish is None else [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m-1",
        "choices": choices,
        **more,
    }


def stream(*chunks: Any, done: bool = True) -> bytes:
    """Chunks as a provider frames them; a text is taken as it is."""
    lines = [item if isinstance(item, str) else f"data: {json.dumps(item)}\n\n" for item in chunks]
    return ("".join(lines) + ("data: [DONE]\n\n" if done else "")).encode()


def unary(message: Mapping[str, Any], finish: str | None = "stop", **more: Any) -> bytes:
    """A whole answer with one choice."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return json.dumps(
        {"id": "chatcmpl-1", "object": "chat.completion", "model": "m-1", "choices": [choice], **more}
    ).encode()


def read_once(body: bytes, kind: str, step: int | None = None, junk: bytes = b"") -> list[Event]:
    reader = ChatUpstream().reader(HttpHead(200, {"content-type": kind}), Mint(1, "gen-x"))
    pieces = [body] if step is None else [body[at : at + step] for at in range(0, len(body), step)]
    out: list[Event] = []
    for piece in [*pieces, *([junk] if junk else [])]:
        out += reader.feed(piece)
    return plainest(out + reader.end())


def comparable(events: list[Event]) -> list[Any]:
    return [(type(e.fault), e.fault.message, e.fault.status) if isinstance(e, Failed) else e for e in events]


def read(body: bytes, kind: str = SSE) -> list[Event]:
    """The events of an answer; byte by byte and with trailing junk must give the same."""
    whole = read_once(body, kind)
    assert comparable(read_once(body, kind, step=1)) == comparable(whole)
    assert comparable(read_once(body, kind, junk=b'\n\ndata: {"junk\n\n} tail \xff')) == comparable(whole)
    return whole


def call(body: Mapping[str, Any], **headers: str) -> Call:
    """What the surface reads from this body."""
    return SURFACE.read(json.dumps(body).encode(), headers)


def hello(**members: Any) -> Call:
    """A call with one message and these members."""
    return call({"model": "acme/large", "messages": [{"role": "user", "content": "Hi"}], **members})


def endpoint(vendor: Vendor | None = None, supported: set[str] | None = None) -> Endpoint:
    provider = Provider(
        slug="acme",
        name="Acme",
        dialect="openai_chat",
        base_url="https://acme.test/v1/",
        vendor=vendor.slug if vendor else None,
    )
    return Endpoint(
        id="acme:large",
        model="acme/large",
        provider=provider,
        upstream_model="large-2026",
        tag="acme",
        supported_parameters=None if supported is None else frozenset(supported),
    )


def sent(
    request: Call, vendor: Vendor | None = None, supported: set[str] | None = None, strict: bool = False
) -> tuple[dict[str, Any], dict[str, str], HttpRequest]:
    """(body as JSON, losses by parameter, the request) of what would be sent."""
    losses = Losses(strict)
    upstream = ChatUpstream({vendor.slug: vendor} if vendor else {})
    out = upstream.build(request, endpoint(vendor, supported), "sk-secret-0123456789", losses)
    return json.loads(out.body), {loss.parameter: loss.detail for loss in losses.items}, out
