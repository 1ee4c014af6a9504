"""Calls as the chat surface reads them, and what a dialect makes of them: shared by the tests of requests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from routebook.core.call import Call, Chat, Losses
from routebook.core.catalog import Endpoint, Provider
from routebook.dialects.base import Upstream
from routebook.wire.http import HttpRequest

Body = dict[str, Any]


def endpoint(model: str, base: str, vendor: str | None = None, **rest: Any) -> Endpoint:
    provider = Provider("acme", "Acme", "any", base, vendor)
    return Endpoint("acme:x", "acme/x", provider, model, "acme", **rest)


def call(body: Body) -> Call:
    """What a chat surface reads from this body, near enough."""
    known = {name: value for name, value in body.items() if name in Chat.__struct_fields__}
    if isinstance(known.get("stop"), str):
        known["stop"] = [known["stop"]]
    return Call(
        surface="openai_chat",
        model="acme/x",
        stream=body.get("stream", False),
        chat=msgspec.convert({"messages": [{"role": "user", "content": "Hi"}], **known}, Chat),
        raw={name: msgspec.Raw(json.dumps(value).encode()) for name, value in body.items()},
        user=body.get("user"),
    )


class Caller:
    """Builds requests of one dialect for one endpoint."""

    def __init__(
        self, upstream: Upstream, model: str, base: str, secret: str | None, vendor: str | None = None
    ) -> None:
        self.upstream = upstream
        self.model = model
        self.base = base
        self.secret = secret
        self.vendor = vendor

    def request(self, body: Body | None = None, losses: Losses | None = None, **rest: Any) -> HttpRequest:
        model, base = rest.pop("model", self.model), rest.pop("base", self.base)
        secret = rest.pop("secret", self.secret)
        target = endpoint(model, base, self.vendor, **rest)
        return self.upstream.build(call(body or {}), target, secret, losses if losses is not None else Losses())

    def sent(self, body: Body, **rest: Any) -> tuple[Any, list[str]]:
        """(the request's body, the parameters recorded as lost)"""
        losses = Losses()
        request = self.request(body, losses, **rest)
        return json.loads(request.body), [loss.parameter for loss in losses.items]

    def body(self, body: Body, **rest: Any) -> Any:
        """The request's body, of a call that loses nothing; an effort may be said in other words."""
        losses = Losses()
        request = self.request(body, losses, **rest)
        assert [loss for loss in losses.items if not loss.mapped] == []
        return json.loads(request.body)

    def lost(self, body: Body, **rest: Any) -> list[str]:
        return self.sent(body, **rest)[1]


def user(*parts: Mapping[str, Any]) -> list[Body]:
    return [{"role": "user", "content": list(parts)}]


def text(words: str, **rest: Any) -> Body:
    return {"type": "text", "text": words, **rest}


def image(url: str, **rest: Any) -> Body:
    return {"type": "image_url", "image_url": {"url": url, **rest}}


def tool_call(call_id: str = "t1", name: str = "f", arguments: str = "{}") -> Body:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def tool(name: str = "f", **rest: Any) -> Body:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}, **rest}}
