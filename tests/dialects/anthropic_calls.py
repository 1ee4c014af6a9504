"""Calls as a chat surface reads them, built for Anthropic: shared by the tests of its requests."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from routebook.core.call import Call, Chat, Losses
from routebook.core.catalog import Endpoint, Provider
from routebook.dialects.anthropic import UPSTREAM
from routebook.wire.http import HttpRequest

SONNET = "claude-sonnet-4-5"
Body = dict[str, Any]


def endpoint(model: str = SONNET, base: str = "https://api.example", **rest: Any) -> Endpoint:
    provider = Provider("acme", "Acme", "anthropic", base)
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


def request(body: Body, losses: Losses | None = None, target: Endpoint | None = None) -> HttpRequest:
    return UPSTREAM.build(call(body), target or endpoint(), "sk-ant-secret", losses or Losses())


def sent(body: Body, model: str = SONNET, **rest: Any) -> tuple[Body, list[str]]:
    """(the request's body, the parameters recorded as lost)"""
    losses = Losses()
    got: Body = json.loads(request(body, losses, endpoint(model, **rest)).body)
    return got, [loss.parameter for loss in losses.items]


def turns(*messages: Body, model: str = SONNET) -> tuple[Body, list[str]]:
    return sent({"messages": list(messages)}, model)


def user(content: Any = "Hi", **rest: Any) -> Body:
    return {"role": "user", "content": content, **rest}


def text(words: str, **rest: Any) -> Body:
    return {"type": "text", "text": words, **rest}


def tool_call(call_id: str = "t1", name: str = "f", arguments: str = "{}") -> Body:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
