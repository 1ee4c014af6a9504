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

import msgspec

from routebook.core.call import Call, Losses
from routebook.core.catalog import Endpoint
from routebook.dialects.openai_chat.history import messages_for, tools_for, written
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
_REASONING = frozenset("reasoning reasoning_effort include_reasoning".split())

_GROUPS: tuple[frozenset[str], ...] = (
    frozenset({"max_tokens", "max_completion_tokens"}),
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


def build(call: Call, endpoint: Endpoint, secret: str | None, losses: Losses, quirks: Quirks) -> HttpRequest:
    """POST {base_url}/chat/completions. The same input gives the same bytes. May raise CannotExpress."""
    members = _members(call)
    body: dict[str, bytes] = {"model": codec.encode(endpoint.upstream_model)}
    allowed = _Allowed(endpoint, quirks, losses)
    for name, value in members.items():
        if name in _REASONING:
            continue
        if name in _OWN:
            _own(name, value, call, quirks, allowed, body, losses)
        elif name in GATEWAY_MEMBERS:
            _gateway(name, value, quirks, body)
        elif allowed(name):
            body[quirks.rename.get(name, name)] = value
    if "tools" in members and "tools" not in body:
        for name in ("tool_choice", "parallel_tool_calls"):
            body.pop(name, None)
    if call.stream and quirks.stream_usage:
        body["stream_options"] = _stream_options(members.get("stream_options"))
    reasoning_members(call, members, quirks, allowed, body, losses)
    headers = [
        ("content-type", "application/json"),
        ("accept", "text/event-stream" if call.stream else "application/json"),
    ]
    if secret is not None:
        headers.append(("authorization", f"Bearer {secret}"))
    headers += quirks.headers.items()
    return HttpRequest(
        "POST",
        endpoint.provider.base_url.rstrip("/") + "/chat/completions",
        tuple(headers),
        b"{" + b",".join(codec.encode(name) + b":" + value for name, value in body.items()) + b"}",
    )


class _Allowed:
    """Whether a parameter may be sent; what may not is recorded once."""

    def __init__(self, endpoint: Endpoint, quirks: Quirks, losses: Losses) -> None:
        self._supported = endpoint.supported_parameters
        self._quirks = quirks
        self._losses = losses

    def __call__(self, name: str) -> bool:
        why = self.why_not(name)
        if why is not None:
            self._losses.unsupported(name, why)
        return why is None

    def why_not(self, name: str) -> str | None:
        """The reason for which the parameter is not sent, None if it may be."""
        group = next((group for group in _GROUPS if name in group), {name})
        if self._supported is not None and name in _LISTED and not (group & self._supported):
            return "not among the endpoint's supported parameters"
        if name == "cache_control" and self._quirks.cache != "keep":
            return "the provider knows no cache markers"
        if name in self._quirks.drop:
            return "the provider refuses it"
        sent = self._quirks.rename.get(name, name)
        if self._quirks.accepts and sent not in self._quirks.accepts and not (group & set(self._quirks.accepts)):
            return "the provider does not know it"
        return None


def _members(call: Call) -> dict[str, bytes]:
    """The request's members as bytes: the caller's own where the caller speaks this dialect, else written anew."""
    if call.surface == "openai_chat":
        found = {name: bytes(value) for name, value in call.raw.items()}
        return {name: value for name, value in found.items() if value != b"null"}
    out: dict[str, bytes] = {}
    for name in call.chat.__struct_fields__:
        value = getattr(call.chat, name)
        if value is not None and name not in ("reasoning", "max_tokens"):
            out[name] = codec.encode(written(value))
    if call.chat.max_tokens is not None:
        out["max_completion_tokens"] = codec.encode(call.chat.max_tokens)
    if call.stream:
        out["stream"] = b"true"
    if call.user is not None:
        out["user"] = codec.encode(call.user)
    return out


def _own(
    name: str, value: bytes, call: Call, quirks: Quirks, allowed: _Allowed, body: dict[str, bytes], losses: Losses
) -> None:
    """A member that we write ourselves."""
    if name == "messages":
        body[name] = messages_for(value, call.chat.messages, quirks, losses)
    elif name == "tools":
        if call.chat.tools and allowed(name) and (tools := tools_for(value, call.chat.tools, quirks, losses)):
            body[name] = tools
    elif name == "stream" and call.stream:
        body[name] = b"true"
    elif name == "user" and call.user is not None:
        if quirks.user:
            body[name] = codec.encode(hashed(call.user))
        else:
            losses.unsupported("user", "the provider does not take it")
    elif name in ("max_tokens", "max_completion_tokens"):
        field = quirks.max_tokens or name
        # The decoded value, not the caller's bytes: the gateway may have clamped it. One of the two names is enough.
        if (
            call.chat.max_tokens is not None
            and not ({"max_tokens", "max_completion_tokens"} & set(body))
            and allowed(name)
        ):
            body[field] = codec.encode(call.chat.max_tokens)


def hashed(user: str) -> str:
    """What a provider is told instead of the caller's own name for an end user."""
    return hashlib.sha256(user.encode()).hexdigest()[:32]


def _gateway(name: str, value: bytes, quirks: Quirks, body: dict[str, bytes]) -> None:
    if not quirks.router:
        return
    if name in ROUTER_MEMBERS:
        body[name] = value
    elif name == "provider":
        wish: dict[str, Any] = codec.decode_exact(value)
        kept = {key: member for key, member in wish.items() if key not in _NAMES_PROVIDERS and member is not None}
        if kept:
            body[name] = codec.encode(kept)


def _stream_options(value: bytes | None) -> bytes:
    """The caller's stream options with usage asked for: the book needs it whatever the caller wants."""
    options: Any = None
    if value is not None:
        try:
            options = codec.decode_exact(value)
        except msgspec.MsgspecError:
            options = None
    options = options if isinstance(options, dict) else {}
    return codec.encode({**options, "include_usage": True})
