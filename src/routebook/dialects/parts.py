"""Small shapes of a canonical request that several dialects write: data URLs, ids of tool calls, arguments as JSON,
and which parameters of a call a target has no word for.

What only one dialect needs lies with that dialect.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote_to_bytes

from routebook.core.call import Call, Chat, Losses
from routebook.core.catalog import Endpoint
from routebook.core.errors import BadRequest
from routebook.wire import codec

BAD = (codec.DecodeError, ValueError, RecursionError)
"""What decoding text that a caller or a model wrote may raise."""

_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")

GATEWAY = frozenset(
    """model models messages prompt stream stream_options usage route provider preset plugins transforms session_id
    trace debug stop_server_tools_when max_tool_calls web_search_options x_search_filter include_reasoning
    reasoning_effort structured_outputs max_completion_tokens""".split()
)
"""members of a chat body that the gateway itself acts on or accounts for"""

_NEUTRAL: dict[str, Any] = {
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "min_p": 0,
    "top_a": 0,
    "repetition_penalty": 1,
    "n": 1,
    "logit_bias": {},
    "metadata": {},
    "logprobs": False,
    "modalities": ["text"],
    "service_tier": "auto",
}
"""values that change nothing: leaving them out is no loss"""


def is_data_url(url: str) -> bool:
    return url[:5].lower() == "data:"


def data_url(url: str, at: str) -> tuple[str, str]:
    """(media type in lower case, base64) of a data URL; base64 stays as it came, it may be a stand-in for more. Raises
    BadRequest naming the place."""
    head, comma, data = url[5:].partition(",")
    if not comma:
        raise BadRequest(f"{at} is a data URL without data; write data:<media type>;base64,<data>.")
    media, *rest = [word.strip().lower() for word in head.split(";")]
    if "base64" not in rest:
        data = b64encode(unquote_to_bytes(data)).decode()
    return media or "text/plain", data


def tool_id(text: str) -> str:
    """The id with nothing but letters, digits, `_` and `-`, at most 64 of them. Equal ids stay equal."""
    if _ID.fullmatch(text):
        return text
    plain = re.sub(r"[^a-zA-Z0-9_-]", "_", text)[:48]
    return f"{plain}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def arguments(text: str, at: str, losses: Losses) -> Any:
    """A call's arguments as the object they are, for dialects that want no text. What is no object (a model wrote it,
    after all) becomes `{"arguments": "<the text>"}`, and that is recorded."""
    text = text.strip() or "{}"
    try:
        if isinstance(codec.decode(text), dict):
            return codec.Raw(text.encode())
    except BAD:
        pass
    losses.mapped(f"{at}.function.arguments", "not a JSON object: sent as the text in one")
    return {"arguments": text}


class Takes:
    """Which parameters the endpoint is known to take; what it does not is recorded and not sent."""

    def __init__(self, endpoint: Endpoint, losses: Losses) -> None:
        self._known = endpoint.supported_parameters
        self._losses = losses

    def __call__(self, parameter: str, *also: str) -> bool:
        """True if the endpoint takes `parameter` or one of its other names."""
        if self._known is None or not self._known.isdisjoint((parameter, *also)):
            return True
        self._losses.unsupported(parameter, "this endpoint does not take it")
        return False


def not_here(call: Call, names: Iterable[str], who: str, losses: Losses) -> None:
    """Record those of the parameters (fields of Chat) that the call asks for and that change something."""
    for name in names:
        value = getattr(call.chat, name)
        if value is not None and value != _NEUTRAL.get(name):
            losses.unsupported(name, f"{who} has no such parameter")


def own_members(call: Call, known: Iterable[str]) -> dict[str, codec.Raw]:
    """What a chat caller sent beside the chat API's parameters, by name, where `known` has the name."""
    if call.surface != "openai_chat":
        return {}
    names = frozenset(known)
    return {name: value for name, value in call.raw.items() if name in names and bytes(value) != b"null"}


def strangers(call: Call, known: Iterable[str], who: str, losses: Losses) -> None:
    """Record what a chat caller sent that is neither the chat API's nor the gateway's nor `known`."""
    if call.surface != "openai_chat":
        return
    noted = {name.partition("[")[0].partition(".")[0] for name, _ in call.ignored} | frozenset(known)
    for name, value in call.raw.items():
        ours = name in GATEWAY or name in Chat.__struct_fields__ or name in noted
        if not ours and bytes(value) != b"null":
            losses.unsupported(name, f"not a parameter that {who} knows")


_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}\[\]"]', re.DOTALL)
"""a whole JSON string, a bracket, or the quote of a string that does not end"""


def broken_off(body: bytes) -> bool:
    """Whether the bytes begin a JSON object or array that does not end in them."""
    if body[:1] not in (b"{", b"["):
        return False
    depth = 0
    for token in _TOKEN.finditer(body):
        sign = token.group()
        if sign == b'"':
            return True
        depth += (sign in b"{[") - (sign in b"}]")
        if depth == 0:
            return False
    return True


def text_of(value: Any) -> str | None:
    """The value if it is text that is not empty."""
    return value if isinstance(value, str) and value else None


def count_of(value: Any) -> int | None:
    """A count that can be trusted, else None. Providers are known to write whole counts as `12.0`."""
    if not isinstance(value, int) and hasattr(value, "is_finite"):
        whole = value.is_finite() and value < 10**18 and value == value.to_integral_value()
        value = int(value) if whole else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
