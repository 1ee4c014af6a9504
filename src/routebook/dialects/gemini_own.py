"""Gemini where caller and vendor both speak it: the caller's own members, verbatim, are the request.

Part of the dialect in `gemini.py`. What is the gateway's own is not sent; the limit of the answer (it may have been
lowered) is written anew; a parameter that the endpoint is known not to take goes to `losses.unsupported`; reasoning of
other vendors is taken out, and a call that Gemini did not make gets the signature that Google allows for it.
"""

from __future__ import annotations

from typing import Any

from routebook.core.call import Call, Losses
from routebook.core.catalog import Endpoint
from routebook.dialects.gemini_messages import UNSIGNED
from routebook.dialects.sealing import BEGINS, unseal
from routebook.wire import codec

_NOT_SENT = frozenset(
    """model models provider plugins preset route session_id sessionId stop_server_tools_when trace user debug
    stream""".split()
)
_NAMES = {
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "stopSequences": "stop",
    "seed": "seed",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
    "responseLogprobs": "logprobs",
    "thinkingConfig": "reasoning",
}
"""a member of generationConfig -> what lists of supported parameters call it"""
_SPELT = {"generation_config": "generationConfig", "max_output_tokens": "maxOutputTokens"}
_SPELT |= {"top_p": "topP", "top_k": "topK", "stop_sequences": "stopSequences", "presence_penalty": "presencePenalty"}
_SPELT |= {"frequency_penalty": "frequencyPenalty", "response_logprobs": "responseLogprobs"}
_SPELT |= {"thinking_config": "thinkingConfig"}


def own_body(call: Call, endpoint: Endpoint, losses: Losses, *, signed: bool) -> bytes:
    """The request's body. `signed`: the model refuses function calls without a thought signature."""
    body: dict[str, Any] = {}
    known = endpoint.supported_parameters
    for name, value in call.raw.items():
        if name in _NOT_SENT or bytes(value) == b"null":
            continue
        spelt = _SPELT.get(name, name)
        if spelt == "generationConfig":
            body[spelt] = _config(value, call, known, losses)
        elif name == "contents":
            body[name] = _contents(value, losses, signed=signed)
        elif name in ("tools", "toolConfig", "tool_config") and known is not None and "tools" not in known:
            losses.unsupported(name, "the endpoint does not list it among its supported parameters")
        else:
            body[name] = value
    if "generationConfig" not in body and call.chat.max_tokens is not None:
        body["generationConfig"] = {"maxOutputTokens": call.chat.max_tokens}
    return codec.encode(body)


def _config(value: codec.Raw, call: Call, known: frozenset[str] | None, losses: Losses) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for name, member in codec.decode_as(bytes(value), dict[str, codec.Raw]).items():
        spelt = _SPELT.get(name, name)
        asked = _NAMES.get(spelt)
        if known is not None and asked is not None and asked not in known:
            losses.unsupported(asked, "the endpoint does not list it among its supported parameters")
        elif spelt != "maxOutputTokens":
            config[spelt] = member
    if call.chat.max_tokens is not None:
        config["maxOutputTokens"] = call.chat.max_tokens
    return config


def _contents(value: codec.Raw, losses: Losses, *, signed: bool) -> Any:
    data = bytes(value)
    foreign = BEGINS.encode() in data
    calls = signed and (b'"functionCall"' in data or b'"function_call"' in data)
    if not foreign and not calls:
        return value
    found = codec.decode_exact(data)
    turns: list[dict[str, Any]] = found if isinstance(found, list) else [found]
    for turn in turns:
        parts = turn.get("parts") or []
        turn["parts"] = parts = [part for part in parts if not (foreign and _emptied(part))]
        call = next((part for part in parts if "functionCall" in part or "function_call" in part), None)
        if signed and call is not None and not (call.get("thoughtSignature") or call.get("thought_signature")):
            call["thoughtSignature"] = UNSIGNED
    if foreign:
        losses.unsupported("contents.thoughtSignature", "reasoning of another provider cannot be handed back")
    return [turn for turn in turns if turn["parts"]]


def _emptied(part: dict[str, Any]) -> bool:
    """Take another provider's reasoning out of a part; True where nothing is left of it."""
    for name in ("thoughtSignature", "thought_signature"):
        if unseal(part.get(name)) is not None:
            del part[name]
            return not part.get("text") and set(part) <= {"text", "thought"}
    return False
