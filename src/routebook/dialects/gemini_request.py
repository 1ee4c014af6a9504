"""A canonical call as a request to Gemini's generateContent: parameters, tools and reasoning.

Everything the caller sent is mapped, passed on, or recorded as a loss. Messages are written by `gemini_messages`.
Sources, read 2026-11: ai.google.dev "Generating content" (GenerateContentRequest, GenerationConfig), "Function
calling", "Structured outputs", "Thinking" (budgets and levels by model), "Flex inference", "Speech generation",
"Image generation"; inference API, sections 2.1, 5, 6 and 7.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from routebook.core.call import Call, Chat, Losses, Tool
from routebook.core.catalog import Endpoint
from routebook.dialects.gemini_messages import turns
from routebook.dialects.gemini_own import own_body
from routebook.dialects.gemini_parts import words
from routebook.dialects.gemini_thinking import generation, thinking
from routebook.wire import codec
from routebook.wire.http import HttpRequest

STOPS_MAX = 5

_CONFIG = (
    ("temperature", "temperature"),
    ("top_p", "topP"),
    ("top_k", "topK"),
    ("max_tokens", "maxOutputTokens"),
    ("presence_penalty", "presencePenalty"),
    ("frequency_penalty", "frequencyPenalty"),
)
_NEUTRAL: dict[str, Any] = {
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "min_p": 0,
    "top_a": 0,
    "repetition_penalty": 1,
    "logit_bias": {},
    "metadata": {},
}
"""values that change nothing: not sent, because models without penalties refuse even a penalty of 0, and no loss"""
_NOT_HERE = ("min_p", "top_a", "repetition_penalty", "logit_bias", "prediction", "verbosity", "user", "metadata")

_GATEWAY = words(
    "model models messages prompt route provider preset plugins transforms stream stream_options usage session_id "
    "trace debug max_tool_calls stop_server_tools_when tools tool_choice parallel_tool_calls response_format "
    "structured_outputs reasoning reasoning_effort include_reasoning temperature top_p top_k min_p top_a "
    "frequency_penalty presence_penalty repetition_penalty seed logit_bias logprobs top_logprobs max_tokens "
    "max_completion_tokens stop n verbosity modalities audio image_config prediction cache_control "
    "prompt_cache_key service_tier user metadata"
)
"""members of a chat request that the gateway acts on or that are translated here by name"""

_NATIVE = {"safety_settings": "safetySettings", "cached_content": "cachedContent", "labels": "labels"}
"""Gemini's own members, which a caller may send beside the chat API's"""

_NATIVE_TOOLS = words(
    "googleSearch google_search googleSearchRetrieval google_search_retrieval codeExecution code_execution urlContext "
    "url_context fileSearch file_search googleMaps google_maps computerUse computer_use "
    "enterpriseWebSearch enterprise_web_search"
)


class _Sent:
    """Asks whether the endpoint takes a parameter that the caller sent; a refusal is recorded once."""

    def __init__(self, endpoint: Endpoint, losses: Losses) -> None:
        self._supported = endpoint.supported_parameters
        self._losses = losses

    def takes(self, name: str, *others: str) -> bool:
        if self._supported is None or any(one in self._supported for one in (name, *others)):
            return True
        self._losses.unsupported(name, "the endpoint does not list it among its supported parameters")
        return False


def build(call: Call, endpoint: Endpoint, secret: str | None, losses: Losses) -> HttpRequest:
    """The vendor's request; the key travels in a header, never in the URL. Raises CannotExpress, BadRequest."""
    model = endpoint.upstream_model
    if call.surface == "gemini":
        body = own_body(call, endpoint, losses, signed=generation(model) >= (3, 0))
    else:
        body = _translated(call, endpoint, losses)
    name = model if "/" in model else f"models/{model}"
    method = "streamGenerateContent?alt=sse" if call.stream else "generateContent"
    headers = [("content-type", "application/json")]
    headers.append(("accept", "text/event-stream" if call.stream else "application/json"))
    if secret:
        headers.append(("x-goog-api-key", secret))
    url = f"{endpoint.provider.base_url.rstrip('/')}/{quote(name, safe='/@:')}:{method}"
    return HttpRequest("POST", url, tuple(headers), body)


def _translated(call: Call, endpoint: Endpoint, losses: Losses) -> bytes:
    """The body of a call in another dialect."""
    chat, sent, model = call.chat, _Sent(endpoint, losses), endpoint.upstream_model
    system, contents = turns(chat.messages, losses, signed=generation(model) >= (3, 0))
    body: dict[str, Any] = {"contents": contents}
    if system is not None:
        body["systemInstruction"] = system
    config = _config(chat, endpoint, sent, losses)
    if config:
        body["generationConfig"] = config
    _tools(call, body, sent, losses)
    _tier(chat, body, losses)
    _rest(call, body, losses)
    return codec.encode(body)


# --- generationConfig -------------------------------------------------------------------------------------------------


def _config(chat: Chat, endpoint: Endpoint, sent: _Sent, losses: Losses) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for name, theirs in _CONFIG:
        value = getattr(chat, name)
        others = ("max_completion_tokens",) if name == "max_tokens" else ()
        if value is not None and value != _NEUTRAL.get(name) and sent.takes(name, *others):
            config[theirs] = value
    if chat.seed is not None and sent.takes("seed"):
        if -(2**31) <= chat.seed < 2**31:
            config["seed"] = chat.seed
        else:
            losses.unsupported("seed", "Gemini takes 32 bits")
    if chat.stop and sent.takes("stop"):
        config["stopSequences"] = chat.stop[:STOPS_MAX]
        if len(chat.stop) > STOPS_MAX:
            losses.unsupported("stop", f"Gemini takes {STOPS_MAX} stop sequences; the first {STOPS_MAX} were sent")
    if chat.n is not None and chat.n != 1:
        config["candidateCount"] = chat.n
    if chat.logprobs and sent.takes("logprobs"):
        config["responseLogprobs"] = True
        if chat.top_logprobs is not None and sent.takes("top_logprobs", "logprobs"):
            config["logprobs"] = chat.top_logprobs
    elif chat.top_logprobs is not None:
        losses.unsupported("top_logprobs", "it needs logprobs")
    _format(chat, config, sent, losses)
    _output(chat, config, losses)
    if chat.reasoning is not None and sent.takes("reasoning", "reasoning_effort", "include_reasoning"):
        found = thinking(chat.reasoning, chat.max_tokens, endpoint.upstream_model, losses)
        if found:
            config["thinkingConfig"] = found
    return config


def _format(chat: Chat, config: dict[str, Any], sent: _Sent, losses: Losses) -> None:
    """`responseJsonSchema` takes JSON Schema as it is; the older `responseSchema` knows a subset of OpenAPI only."""
    wish = chat.response_format
    if wish is None or wish.get("type") == "text" or not sent.takes("response_format", "structured_outputs"):
        return
    kind = wish.get("type")
    if kind not in ("json_object", "json_schema"):
        losses.unsupported("response_format", f"Gemini has no format {kind!r}")
        return
    config["responseMimeType"] = "application/json"
    named = wish.get("json_schema")
    if kind == "json_schema" and isinstance(named, dict) and named.get("schema") is not None:
        schema = named["schema"]
        if named.get("description") and isinstance(schema, dict) and "description" not in schema:
            schema = {**schema, "description": named["description"]}
        config["responseJsonSchema"] = schema


def _output(chat: Chat, config: dict[str, Any], losses: Losses) -> None:
    """Modalities of the answer. Gemini's speaking models answer in sound alone, without a transcript."""
    if chat.modalities:
        kinds = [kind.upper() for kind in chat.modalities]
        if "AUDIO" in kinds and "TEXT" in kinds:
            losses.unsupported("modalities", "Gemini speaks without a transcript; only audio was asked for")
            kinds.remove("TEXT")
        config["responseModalities"] = kinds
    if chat.audio is not None:
        rest = dict(chat.audio)
        voice, form = rest.pop("voice", None), rest.pop("format", None)
        if voice is not None:
            config["speechConfig"] = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": voice}}}
        if form not in (None, "pcm16"):
            losses.unsupported("audio.format", "Gemini gives 16-bit PCM at 24 kHz")
        for name in rest:
            losses.unsupported(f"audio.{name}", "Gemini has no such option")
    if chat.image_config:
        names = {"aspect_ratio": "aspectRatio", "image_size": "imageSize"}
        config["imageConfig"] = {names.get(name, name): value for name, value in chat.image_config.items()}


# --- tools ------------------------------------------------------------------------------------------------------------


def _tools(call: Call, body: dict[str, Any], sent: _Sent, losses: Losses) -> None:
    """Function declarations with `parametersJsonSchema`, which takes JSON Schema as it is: the older `parameters`
    knows a subset of OpenAPI and refuses `$ref`, `additionalProperties` and the like."""
    chat = call.chat
    functions: list[dict[str, Any]] = []
    strict = False
    if chat.tools and sent.takes("tools"):
        native: list[dict[str, Any]] = []
        raw, ignored = _raw_tools(call), {name for name, _ in call.ignored}
        for at, tool in enumerate(chat.tools):
            if tool.cache_control is not None:
                losses.unsupported("cache_control", "Gemini caches by itself")
            if tool.function is not None:
                functions.append(_function(tool))
                strict = strict or bool(tool.function.strict)
            elif at < len(raw) and (own := {k: v for k, v in raw[at].items() if k in _NATIVE_TOOLS}):
                native.append(own)
            elif f"tools[{at}]" not in ignored:
                losses.unsupported(f"tools[{at}]", f"Gemini has no tool of type {tool.type!r}")
        tools = ([{"functionDeclarations": functions}] if functions else []) + native
        if tools:
            body["tools"] = tools
    if chat.parallel_tool_calls is False:
        losses.unsupported("parallel_tool_calls", "Gemini cannot be kept from calling several tools at once")
    _choice(chat.tool_choice, functions, strict, body, sent, losses)


def _raw_tools(call: Call) -> list[dict[str, Any]]:
    raw = call.raw.get("tools")
    found = codec.decode(bytes(raw)) if raw is not None else None
    return [item if isinstance(item, dict) else {} for item in found] if isinstance(found, list) else []


def _function(tool: Tool) -> dict[str, Any]:
    function = tool.function
    assert function is not None
    out: dict[str, Any] = {"name": function.name}
    if function.description is not None:
        out["description"] = function.description
    if function.parameters is not None:
        out["parametersJsonSchema"] = function.parameters
    return out


def _choice(
    wish: Any, functions: list[dict[str, Any]], strict: bool, body: dict[str, Any], sent: _Sent, losses: Losses
) -> None:
    """`VALIDATED` is `AUTO` with arguments held to the schema: what `strict` means; `ANY` holds them to it anyway."""
    if not functions:
        if wish is not None and wish not in ("auto", "none"):
            losses.unsupported("tool_choice", "no function is offered")
        return
    if wish is not None and not sent.takes("tool_choice", "tools"):
        wish = None
    mode, names = _mode(wish)
    if mode is None:
        losses.unsupported("tool_choice", "Gemini can be told auto, none, required or names of functions")
    if strict and mode in (None, "AUTO"):
        mode = "VALIDATED"
    elif wish is None:
        return
    if mode is not None:
        config: dict[str, Any] = {"mode": mode}
        if names:
            config["allowedFunctionNames"] = names
        body["toolConfig"] = {"functionCallingConfig": config}


def _mode(wish: Any) -> tuple[str | None, list[str]]:
    if wish is None or isinstance(wish, str):
        return {None: "AUTO", "auto": "AUTO", "none": "NONE", "required": "ANY", "any": "ANY"}.get(wish), []
    if not isinstance(wish, dict):
        return None, []
    if wish.get("type") == "allowed_tools":
        inner = wish.get("allowed_tools")
        inner = inner if isinstance(inner, dict) else wish
        tools = inner.get("tools")
        names = [name for item in (tools if isinstance(tools, list) else ()) if (name := _named(item))]
        return ("ANY" if inner.get("mode") == "required" else "VALIDATED"), names
    name = _named(wish)
    return ("ANY", [name]) if name else (None, [])


def _named(wish: Any) -> str:
    function = wish.get("function") if isinstance(wish, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else ""


# --- the rest ---------------------------------------------------------------------------------------------------------


def _tier(chat: Chat, body: dict[str, Any], losses: Losses) -> None:
    if chat.service_tier in (None, "auto"):
        return
    tier = {"default": "standard", "flex": "flex", "priority": "priority", "fast": "priority"}.get(chat.service_tier)
    if tier is None:
        losses.unsupported("service_tier", f"Gemini has no tier {chat.service_tier!r}")
    else:
        body["serviceTier"] = tier


def _rest(call: Call, body: dict[str, Any], losses: Losses) -> None:
    """What Gemini has no word for, and Gemini's own members that the caller sent beside the chat API's."""
    for name in _NOT_HERE:
        value = getattr(call.chat, name)
        if value is not None and value != _NEUTRAL.get(name):
            losses.unsupported(name, "Gemini has no such parameter")
    if call.chat.prompt_cache_key is not None:
        losses.unsupported("prompt_cache_key", "Gemini caches by itself")
    if call.chat.cache_control is not None:
        losses.unsupported("cache_control", "Gemini caches by itself")
    if call.surface != "openai_chat":
        return
    known = _GATEWAY | {name for name, _ in call.ignored}
    for name, raw in call.raw.items():
        theirs = _NATIVE.get(name, name)
        if theirs in _NATIVE.values():
            body[theirs] = raw
        elif name not in known and bytes(raw) != b"null":
            losses.unsupported(name, "Gemini has no such parameter")
