"""Writes a request for one provider: of a caller of this dialect the own members verbatim, of others the hub's call.

Whoever calls, in this order: the gateway's own members are not sent, but to a router those that mean something to it;
`model`, `store`, `user` and `safety_identifier` (hashed), the limit and the wish for reasoning are written by us; a
parameter that the endpoint or the vendor does not take goes to `losses.unsupported`. Nothing is ever stored: `store` is
false. `null` means "not sent" and is left out. Source of the parameters: inference API, sections 2.1 and 4.
"""

from __future__ import annotations

import hashlib
from typing import Any

from msgspec.structs import replace

from routebook.core.call import Call, Chat, Losses
from routebook.core.catalog import Endpoint
from routebook.dialects.openai_responses import turns, wishes
from routebook.dialects.openai_responses.parts import NAME
from routebook.dialects.openai_responses.sealed import SEALED, own_input
from routebook.dialects.vendors import Quirks
from routebook.wire import codec
from routebook.wire.http import HttpRequest

GATEWAY_MEMBERS = frozenset(
    (
        "models route provider plugins preset transforms session_id trace debug usage stop_server_tools_when "
        "x_search_filter background store previous_response_id conversation"
    ).split()
)
"""What callers say to the gateway and not to the model; the surface records those that it does not act on."""
ROUTER_MEMBERS = frozenset("plugins transforms session_id stop_server_tools_when x_search_filter".split())

PROBABLE = "message.output_text.logprobs"

_NULL = b"null"
_NEUTRAL = frozenset((b"0", b"0.0", b"[]", b"{}", b'["text"]'))
_OWN = frozenset("model input stream user safety_identifier max_output_tokens reasoning".split())
_ROUTERS = frozenset(
    (
        "top_k min_p top_a repetition_penalty frequency_penalty presence_penalty cache_control image_config modalities"
    ).split()
)
"""Parameters of the public API that no provider's own API knows, as far as its pages say."""
_LISTED = {
    "temperature": ("temperature",),
    "top_p": ("top_p",),
    "top_k": ("top_k",),
    "top_logprobs": ("logprobs", "top_logprobs"),
    "max_output_tokens": ("max_tokens", "max_completion_tokens"),
    "tools": ("tools", "tool_choice", "parallel_tool_calls"),
    "tool_choice": ("tools", "tool_choice", "parallel_tool_calls"),
    "parallel_tool_calls": ("tools", "tool_choice", "parallel_tool_calls"),
    "reasoning": ("reasoning", "reasoning_effort", "include_reasoning"),
    "frequency_penalty": ("frequency_penalty",),
    "presence_penalty": ("presence_penalty",),
}
"""our name -> what lists of supported parameters call it"""
_LOST = (
    "seed stop logit_bias audio prediction min_p top_a repetition_penalty top_k image_config cache_control "
    "frequency_penalty presence_penalty"
).split()
_CHATS = GATEWAY_MEMBERS.union(
    Chat.__struct_fields__,
    "model max_completion_tokens reasoning_effort include_reasoning stream stream_options max_tool_calls".split(),
    "structured_outputs prompt".split(),
)
"""Members of a chat request that are said in other words, or are the gateway's."""
_NAMES_PROVIDERS = ("order", "only", "ignore", "allow_fallbacks", "options")


def build(call: Call, endpoint: Endpoint, quirks: Quirks, secret: str | None, losses: Losses) -> HttpRequest:
    """POST {base_url}/responses. The same input gives the same bytes. May raise CannotExpress."""
    request = _Request(call, endpoint, quirks, losses)
    body = request.own() if call.surface == NAME and "input" in call.raw else request.translated()
    accept = "text/event-stream" if call.stream else "application/json"
    headers = [("content-type", "application/json"), ("accept", accept), *quirks.headers.items()]
    if secret is not None:
        name = quirks.key_header
        headers.insert(0, (name, f"Bearer {secret}" if name == "authorization" else secret))
    url = endpoint.provider.base_url.rstrip("/") + "/responses"
    return HttpRequest("POST", url, tuple(headers), codec.encode(body))


class _Request:
    def __init__(self, call: Call, endpoint: Endpoint, quirks: Quirks, losses: Losses) -> None:
        self._call = call
        self._endpoint = endpoint
        self._quirks = quirks
        self._losses = losses
        self._body: dict[str, Any] = {"model": endpoint.upstream_model}

    def own(self) -> dict[str, Any]:
        """The caller speaks this dialect: members travel as the bytes that came in."""
        body, call = self._body, self._call
        for name, value in call.raw.items():
            if bytes(value) == _NULL or name in _OWN:
                continue
            if name in GATEWAY_MEMBERS:
                self._gateway(name, bytes(value))
            elif name == "tools":
                self._tools(value)
            elif not (name in _ROUTERS and bytes(value) in _NEUTRAL) and self._allowed(name):
                body[name] = value
        body["input"] = own_input(call, self._quirks.router, self._losses)
        own = call.raw.get("reasoning")
        self._common(codec.decode_exact(bytes(own)) if own is not None and bytes(own) != _NULL else {}, as_came=True)
        for name in ("user", "safety_identifier"):
            if (said := call.raw.get(name)) is not None and bytes(said) != _NULL:
                self._person(name, str(codec.decode(bytes(said))))
        return body

    def translated(self) -> dict[str, Any]:
        """The caller speaks another dialect."""
        body, call, chat = self._body, self._call, self._call.chat
        quirks, losses = self._quirks, self._losses
        body["input"] = turns.input_items(chat.messages, losses, quirks)
        for name in ("temperature", "top_p", "metadata", "service_tier", "prompt_cache_key"):
            if (value := getattr(chat, name)) is not None and self._allowed(name):
                body[name] = value
        tools = wishes.tools(chat.tools, losses, router=quirks.router) if chat.tools and self._allowed("tools") else []
        if tools:
            body["tools"] = tools
            if chat.tool_choice is not None:
                body["tool_choice"] = wishes.tool_choice(chat.tool_choice)
            if chat.parallel_tool_calls is not None:
                body["parallel_tool_calls"] = chat.parallel_tool_calls
        if (text := wishes.text(chat, losses)) is not None:
            body["text"] = text
        include: list[str] = []
        if chat.logprobs and self._allowed("top_logprobs"):
            include.append(PROBABLE)
            body["top_logprobs"] = chat.top_logprobs or 0
        self._rest()
        self._common({})
        asked = chat.reasoning is not None and chat.reasoning.asked and "reasoning" in body
        if asked or turns.has_sealed(chat.messages):
            include.append(SEALED)  # else nobody could hand the reasoning back
        if include:
            body["include"] = include
        if call.user is not None:
            self._person("safety_identifier", call.user)
        return body

    def _common(self, own: dict[str, Any], *, as_came: bool = False) -> None:
        body, chat = self._body, self._call.chat
        body["store"] = False
        if self._call.stream:
            body["stream"] = True
        if chat.max_tokens is not None and self._allowed("max_output_tokens"):
            body["max_output_tokens"] = chat.max_tokens
        wish = chat.reasoning
        if as_came and wish is not None:  # an item of the input may have changed the effort, which is told there
            wish = replace(wish, effort=own.get("effort"), max_tokens=own.get("max_tokens"), enabled=own.get("enabled"))
        if wish is None:
            if own:
                body["reasoning"] = own
        elif (own or wish.asked or wish.off or wish.summary is not None) and self._allowed("reasoning"):
            found = wishes.reasoning(wish, own, chat.max_tokens, self._quirks, self._losses)
            if found:
                body["reasoning"] = found

    def _rest(self) -> None:
        """What the dialect has no word for."""
        chat, router = self._call.chat, self._quirks.router
        for name in _LOST:
            value = getattr(chat, name)
            if value in (None, [], {}) or (name.endswith("penalty") and value == (1 if name[0] == "r" else 0)):
                continue
            if router and name in _ROUTERS:
                self._body[name] = value
            else:
                self._losses.unsupported(name, "the responses API has no such parameter")
        if chat.n is not None and chat.n > 1:
            self._losses.unsupported("n", "the responses API gives one answer")
        if chat.modalities is not None and set(chat.modalities) - {"text"}:
            if router:
                self._body["modalities"] = chat.modalities
            else:
                self._losses.unsupported("modalities", "the responses API makes pictures by a tool")
        if self._call.surface != "openai_chat":
            return
        noted = _CHATS.union(name.partition("[")[0].partition(".")[0] for name, _ in self._call.ignored)
        for name, value in self._call.raw.items():
            if name not in noted and bytes(value) != _NULL:
                self._losses.unsupported(name, "not a parameter that the responses API knows")

    def _allowed(self, name: str) -> bool:
        why = self._why_not(name)
        if why is not None:
            self._losses.unsupported(name, why)
        return why is None

    def _why_not(self, name: str) -> str | None:
        supported, quirks = self._endpoint.supported_parameters, self._quirks
        group = _LISTED.get(name)
        if supported is not None and group is not None and supported.isdisjoint(group):
            return "not among the endpoint's supported parameters"
        if name in _ROUTERS and not quirks.router:
            return "the provider does not know it"
        if name in quirks.drop:
            return "the provider refuses it"
        return None

    def _person(self, name: str, user: str) -> None:
        if self._quirks.user:
            self._body[name] = hashlib.sha256(user.encode()).hexdigest()[:32]
        else:
            self._losses.unsupported(name, "the provider does not take it")

    def _tools(self, value: codec.Raw) -> None:
        """The caller's tools, without those that only a router runs."""
        if not self._allowed("tools"):
            return
        if self._quirks.router or b'"openrouter:' not in bytes(value):
            self._body["tools"] = value
            return
        kept: list[Any] = []
        for place, tool in enumerate(codec.decode_exact(bytes(value))):
            kind = str(tool.get("type", ""))
            if kind.startswith("openrouter:"):
                self._losses.unsupported(f"tools[{place}]", f"{kind[:60]} is not a tool that the provider knows")
            else:
                kept.append(tool)
        if kept:
            self._body["tools"] = kept

    def _gateway(self, name: str, value: bytes) -> None:
        if not self._quirks.router:
            return
        if name in ROUTER_MEMBERS:
            self._body[name] = codec.Raw(value)
        elif name == "provider":
            wish: dict[str, Any] = codec.decode_exact(value)
            kept = {key: member for key, member in wish.items() if key not in _NAMES_PROVIDERS and member is not None}
            if kept:
                self._body[name] = kept
