"""Writes a chat request for one vendor: the caller's own members verbatim, what the vendor needs done differently, and
nothing dropped without a word.

What becomes of the members of a request, in this order:

- the gateway's own (`models`, `route`, `plugins`, …) are not sent; a vendor that is itself such a router gets those
  that mean something to it (ROUTER_MEMBERS), and of `provider` only what does not name this gateway's providers;
- `model`, `user` (hashed), the limit, `stream_options` and the wish for reasoning are written by us;
- a parameter that the endpoint or the vendor does not take goes to `losses.unsupported`;
- messages and tools are rewritten only where they hold something the vendor would refuse;
- everything else travels as the bytes that came in.

`null` means "not sent" and is left out. Source of the parameters: inference API, section 2.1; of reasoning: section 7.
"""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import quote

import msgspec

from routebook.core.call import Call, Losses
from routebook.core.catalog import Endpoint
from routebook.dialects.openai_chat.common_request import COMMON_MEMBERS
from routebook.dialects.openai_chat.history import messages_for, portable, tools_for, written
from routebook.dialects.openai_chat.thinking import reasoning_members
from routebook.dialects.vendors import Quirks
from routebook.wire import codec
from routebook.wire.http import HttpRequest

GATEWAY_MEMBERS = frozenset(
    (
        "models route provider plugins preset transforms session_id trace debug usage stop_server_tools_when "
        "max_tool_calls x_search_filter structured_outputs prompt"
    ).split()
)
"""What callers say to the gateway and not to the model; `session_id`, `trace` and `usage` are acted on, the surface
records the others as ignored."""

ROUTER_MEMBERS = frozenset(
    ("plugins transforms session_id stop_server_tools_when max_tool_calls x_search_filter structured_outputs").split()
)

_OWN = frozenset("model messages stream stream_options user max_tokens max_completion_tokens tools".split())
_LIMITS = frozenset({"max_tokens", "max_completion_tokens"})
_REASONING = frozenset("reasoning reasoning_effort include_reasoning".split())

_GROUPS: tuple[frozenset[str], ...] = (
    _LIMITS,
    frozenset({"tools", "tool_choice", "parallel_tool_calls"}),
    frozenset({"response_format", "structured_outputs"}),
    frozenset({"logprobs", "top_logprobs"}),
    _REASONING,
)
_LISTED = frozenset(
    (
        "temperature top_p top_k min_p top_a frequency_penalty presence_penalty repetition_penalty seed stop "
        "logit_bias verbosity web_search_options"
    ).split()
).union(*_GROUPS)
"""Parameters that lists of supported parameters speak of; one that no list ever names (`user`, say) is not held
against an endpoint."""

_NAMES_PROVIDERS = ("order", "only", "ignore", "allow_fallbacks", "options")


_OFTEN = _LISTED | _OWN | frozenset("metadata service_tier prompt_cache_key safety_identifier store".split())
_KEYS = {name: b"," + codec.encode(name) + b":" for name in _OFTEN}
"""Names of members as they are written, for those that come often."""

_WITH_USAGE = msgspec.Raw(b'{"include_usage":true}')

Bytes = bytes | msgspec.Raw
Headers = tuple[tuple[str, str], ...]


class Known:
    """What every request to one endpoint has in common. Made once for each endpoint of a catalogue."""

    __slots__ = (
        "_secret",
        "_signed",
        "_why",
        "endpoint",
        "keeps",
        "model",
        "quirks",
        "streamed",
        "takes",
        "url",
        "whole",
    )

    def __init__(self, endpoint: Endpoint, quirks: Quirks) -> None:
        self.endpoint = endpoint
        self.quirks = quirks
        self.url = _url(endpoint, quirks.path)
        self.model = msgspec.Raw(codec.encode(endpoint.upstream_model))
        common = (*quirks.headers.items(),)
        self.streamed = (("content-type", "application/json"), ("accept", "text/event-stream"), *common)
        self.whole = (("content-type", "application/json"), ("accept", "application/json"), *common)
        self.keeps = quirks.developer and quirks.history == "keep" and quirks.cache == "keep"
        """messages need no look: nothing that can stand in them is refused"""
        self._why: dict[str, str | None] = {}
        self._secret: str | None = None
        self._signed = (self.whole, self.streamed)
        """the headers with that credential"""
        self.takes = self._takes()
        """members of a common request that this endpoint gets as they are; it gets model and stream from us"""

    def headers(self, secret: str | None, streamed: bool) -> Headers:
        """What is sent with a request; the same object every time, as long as the credential is the same."""
        if secret != self._secret:
            first = () if secret is None else (_credential(secret, self.quirks.key_header),)
            self._signed = ((*first, *self.whole), (*first, *self.streamed))
            self._secret = secret
        return self._signed[streamed]

    def _takes(self) -> frozenset[str]:
        quirks = self.quirks
        taken = {name for name in COMMON_MEMBERS if name not in quirks.rename and self.why_not(name) is None}
        return frozenset(taken | {"model", "messages", "stream", "stream_options"})

    def why_not(self, name: str) -> str | None:
        """The reason for which a parameter is not sent to this endpoint, None if it may be."""
        try:
            return self._why[name]
        except KeyError:
            why = self._reason(name)
            if name in _KEYS:  # names that callers make up are not remembered
                self._why[name] = why
            return why

    def _reason(self, name: str) -> str | None:
        supported, quirks = self.endpoint.supported_parameters, self.quirks
        group = next((group for group in _GROUPS if name in group), {name})
        if supported is not None and name in _LISTED and not (group & supported):
            return "not among the endpoint's supported parameters"
        if name == "cache_control" and quirks.cache != "keep":
            return "the provider knows no cache markers"
        if name in quirks.drop:
            return "the provider refuses it"
        sent = quirks.rename.get(name, name)
        if quirks.accepts and sent not in quirks.accepts and not (group & set(quirks.accepts)):
            return "the provider does not know it"
        return None


def _url(endpoint: Endpoint, path: str) -> str:
    base = endpoint.provider.base_url.rstrip("/")
    if base.endswith("/v1"):
        path = "/chat/completions"
    return base + path.replace("{model}", quote(endpoint.upstream_model, safe=""))


def _credential(secret: str, header: str) -> tuple[str, str]:
    """A web token (`eyJ…`) is never a key of the vendor's own, so it goes as bearer wherever keys do not."""
    if header == "authorization" or secret.startswith("eyJ"):
        return "authorization", f"Bearer {secret}"
    return header, secret


def build(call: Call, known: Known, secret: str | None, losses: Losses) -> HttpRequest:
    """POST {base_url}/chat/completions. The same input gives the same bytes. May raise CannotExpress."""
    body = _short(call, known) if call.common and call.surface == "openai_chat" else None
    if body is None:
        body = _full(call, known, losses)
    return HttpRequest("POST", known.url, known.headers(secret, call.stream), body)


def _short(call: Call, known: Known) -> bytes | None:
    """The body of a common request to an endpoint that takes all of it as it is; None if it has to be looked at."""
    if not call.raw.keys() <= known.takes:
        return None
    members: dict[str, Any] = {**call.raw, "model": known.model}
    given = "max_tokens" if "max_tokens" in members else "max_completion_tokens"
    if given in members:
        del members[given]
        if call.chat.max_tokens is not None:  # it may have been clamped; nothing else is changed on its way here
            members[known.quirks.max_tokens or given] = call.chat.max_tokens
    if not call.stream:
        members.pop("stream", None)
        members.pop("stream_options", None)
    elif known.quirks.stream_usage:
        members["stream_options"] = _WITH_USAGE
    else:
        members.pop("stream_options", None)
    return codec.encode(members)


def _full(call: Call, known: Known, losses: Losses) -> bytes:
    """The body of any request."""
    members = _members(call, losses)
    quirks = known.quirks
    body: dict[str, Bytes] = {"model": known.model}
    allowed = _Allowed(known, losses)
    if call.surface == "openai_chat":
        for loss in call.untold:  # what this API's callers can say and its providers cannot be told
            losses.mapped(loss.parameter, loss.detail)
    for name, value in members.items():
        if name in _REASONING:
            continue
        if name in _OWN:
            _own(name, value, call, known, allowed, body, losses)
        elif name in GATEWAY_MEMBERS:
            _gateway(name, bytes(value), quirks, body)
        elif allowed(name):
            body[quirks.rename.get(name, name)] = value
    if "tools" in members and "tools" not in body:
        for name in ("tool_choice", "parallel_tool_calls"):
            body.pop(name, None)
    if call.stream and quirks.stream_usage:
        body["stream_options"] = _stream_options(members.get("stream_options"))
    if call.chat.reasoning is not None:
        reasoning_members(call, members, quirks, allowed, body, losses)
    parts: list[Bytes] = []
    for name, value in body.items():
        parts.append(_KEYS.get(name) or b"," + codec.encode(name) + b":")
        parts.append(value)
    parts[0] = b'{"model":'
    parts.append(b"}")
    return b"".join(parts)


class _Allowed:
    """Whether a parameter may be sent; what may not is recorded once."""

    __slots__ = ("_losses", "_why_not")

    def __init__(self, known: Known, losses: Losses) -> None:
        self._why_not = known.why_not
        self._losses = losses

    def __call__(self, name: str) -> bool:
        why = self._why_not(name)
        if why is not None:
            self._losses.unsupported(name, why)
        return why is None


_NULL = msgspec.Raw(b"null")


def _members(call: Call, losses: Losses) -> dict[str, Bytes]:
    """The request's members as bytes: the caller's own where the caller speaks this dialect, else written anew."""
    if call.surface == "openai_chat":
        return {name: value for name, value in call.raw.items() if value != _NULL}
    out: dict[str, Bytes] = {}
    for name in call.chat.__struct_fields__:
        value = getattr(call.chat, name)
        if value is not None and name not in ("reasoning", "max_tokens"):
            out[name] = codec.encode(written(portable(value, losses) if name == "messages" else value))
    if call.chat.max_tokens is not None:
        out["max_completion_tokens"] = codec.encode(call.chat.max_tokens)
    if call.stream:
        out["stream"] = b"true"
    if call.user is not None:
        out["user"] = codec.encode(call.user)
    return out


def _own(
    name: str, value: Bytes, call: Call, known: Known, allowed: _Allowed, body: dict[str, Bytes], losses: Losses
) -> None:
    """A member that we write ourselves."""
    quirks = known.quirks
    if name == "messages":
        body[name] = value if known.keeps else messages_for(bytes(value), call.chat.messages, quirks, losses)
    elif name == "tools":
        if call.chat.tools and allowed(name) and (tools := tools_for(bytes(value), call.chat.tools, quirks, losses)):
            body[name] = tools
    elif name == "stream" and call.stream:
        body[name] = b"true"
    elif name == "user" and call.user is not None:
        if quirks.user:
            body[quirks.rename.get(name, name)] = codec.encode(hashed(call.user))
        else:
            losses.unsupported("user", "the provider does not take it")
    elif name in _LIMITS:
        field = quirks.max_tokens or name
        # The decoded value, not the caller's bytes: the gateway may have clamped it. One of the two names is enough.
        if (
            call.chat.max_tokens is not None
            and "max_tokens" not in body
            and "max_completion_tokens" not in body
            and allowed(name)
        ):
            body[field] = codec.encode(call.chat.max_tokens)


def hashed(user: str) -> str:
    """What a provider is told instead of the caller's own name for an end user."""
    return hashlib.sha256(user.encode()).hexdigest()[:32]


def _gateway(name: str, value: bytes, quirks: Quirks, body: dict[str, Bytes]) -> None:
    if not quirks.router:
        return
    if name in ROUTER_MEMBERS:
        body[name] = value
    elif name == "provider":
        wish: dict[str, Any] = codec.decode_exact(value)
        kept = {key: member for key, member in wish.items() if key not in _NAMES_PROVIDERS and member is not None}
        if kept:
            body[name] = codec.encode(kept)


def _stream_options(value: Bytes | None) -> bytes:
    """The caller's stream options with usage asked for: the book needs it whatever the caller wants."""
    options: Any = None
    if value is not None:
        try:
            options = codec.decode_exact(bytes(value))
        except msgspec.MsgspecError:
            options = None
    options = options if isinstance(options, dict) else {}
    return codec.encode({**options, "include_usage": True})
