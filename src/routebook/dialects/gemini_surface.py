"""Gemini as callers speak it: reads a request, whose model and method stand in its path.

Part of the dialect in `gemini.py`. Members may be in either spelling of protobuf's JSON (`generationConfig`,
`generation_config`). What is not valid is refused with its place; what the hub has no word for is named in
`Call.untold`. Beside the dialect's own members callers may send this API's: `provider`, `models`, `session_id`, `user`.
Sources, read 2026-11: ai.google.dev "Generating content" (GenerateContentRequest, GenerationConfig), "Structured
outputs", "Function calling", "Thinking"; inference API, sections 2.1 and 7.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote

import msgspec

from routebook.core.call import Call, Chat, FunctionTool, Loss, ProviderWish, ReasoningWish, Tool
from routebook.core.errors import BadRequest, Fault
from routebook.dialects import asking
from routebook.dialects.asking import Penalty, Positive, Temperature, Unit
from routebook.dialects.base import Surface, Writer
from routebook.dialects.gemini_asked import Asked, Content
from routebook.dialects.gemini_schema import json_schema
from routebook.dialects.gemini_writer import NAME, StreamWriter, UnaryWriter, error_body
from routebook.wire import codec
from routebook.wire.bulk import LargeBody, Stowed

_NEEDED = "`contents`"
METHODS = {"generateContent": False, "streamGenerateContent": True}
"""method of the path -> whether it streams"""


class _Thinking(msgspec.Struct, rename="camel"):
    include_thoughts: bool | None = None
    thinking_budget: int | None = None
    thinking_level: str | None = None


class _Config(msgspec.Struct, rename="camel"):
    temperature: Temperature | None = None
    top_p: Unit | None = None
    top_k: float | None = None
    max_output_tokens: Positive | None = None
    stop_sequences: list[str] | None = None
    candidate_count: Positive | None = None
    seed: int | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    response_mime_type: str | None = None
    response_schema: dict[str, Any] | None = None
    response_json_schema: dict[str, Any] | None = None
    response_logprobs: bool | None = None
    logprobs: int | None = None
    thinking_config: _Thinking | None = None
    response_modalities: list[str] | None = None
    speech_config: dict[str, Any] | None = None
    image_config: dict[str, Any] | None = None


class _Function(msgspec.Struct, rename="camel"):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    parameters_json_schema: dict[str, Any] | None = None


class _Calling(msgspec.Struct, rename="camel"):
    mode: str | None = None
    allowed_function_names: list[str] | None = None


class _ToolConfig(msgspec.Struct, rename="camel"):
    function_calling_config: _Calling | None = None


class _Body(msgspec.Struct, rename="camel"):
    contents: list[Content] | Content | None = None
    system_instruction: Content | str | None = None
    tools: list[dict[str, Any]] | dict[str, Any] | None = None
    tool_config: _ToolConfig | None = None
    generation_config: _Config | None = None
    service_tier: str | None = None
    models: list[str] | None = None
    provider: ProviderWish | None = None
    user: str | None = None
    session_id: str | None = None


_members = codec.decoder(dict[str, codec.Raw])

_FREE = frozenset(
    """args response parameters parametersJsonSchema responseSchema responseJsonSchema labels provider trace
    metadata""".split()
)
"""members whose own members are the caller's: their names stay as they are"""
_IGNORED = {
    "plugins": "the gateway runs no plugins",
    "preset": "the gateway has no presets",
    "route": "deprecated; use provider.sort",
    "trace": "the gateway broadcasts no traces",
}
_READ = frozenset(field.encode_name for field in msgspec.structs.fields(_Body)) | {"model"}
_CONFIG = frozenset(field.encode_name for field in msgspec.structs.fields(_Config))


def camel(value: Any) -> Any:
    """Names of members in the spelling that this dialect mostly has, but for those that are the caller's own."""
    if isinstance(value, list):
        return [camel(item) for item in value]
    if not isinstance(value, dict):
        return value
    out = {}
    for name, member in value.items():
        first, *others = name.split("_") if not name.startswith("_") else [name]
        spelt = first + "".join(word[:1].upper() + word[1:] for word in others)
        out[spelt] = member if spelt in _FREE else camel(member)
    return out


class GeminiSurface:
    """The dialect as callers speak it; see dialects.base.PathSurface. One that `at` gave knows its path."""

    name = NAME

    def __init__(self, model: str = "", stream: bool = False, sse: bool = False) -> None:
        self._model = model
        self._stream = stream
        self._sse = sse
        self.path = f"{model} {stream:d}{sse:d}" if model else ""

    def at(self, tail: str, query: str) -> Surface | None:
        """The surface of `…/models/<tail>?<query>`: the tail is a model and a method with a colon between them."""
        model, _, method = tail.rpartition(":")
        if method not in METHODS or not model:
            return None
        sse = parse_qs(query).get("alt", [""])[0] == "sse"
        return GeminiSurface(unquote(model), METHODS[method], sse)

    def read(self, body: bytes | LargeBody, headers: Mapping[str, str]) -> Call:
        """The call a body asks for; header names in lower case. Raises BadRequest."""
        if isinstance(body, bytes):
            return self._read(body, headers)
        return asking.read_large(body, lambda text, stowed: self._read(text, headers, stowed))

    def _read(self, body: bytes, headers: Mapping[str, str], stowed: Stowed | None = None) -> Call:
        asking.check_bytes(body, _NEEDED)
        try:
            raw = _members(body)
            said = camel(codec.decode(body))
        except codec.BAD:
            raise BadRequest(asking.what_is_wrong(body, dict[str, codec.Raw], _NEEDED)) from None
        try:
            wish = codec.convert(said, _Body)
        except codec.DecodeError as error:
            raise BadRequest(asking.placed(str(error), _NEEDED)) from None
        asked = _asked(wish)
        config = wish.generation_config or _Config()
        _unknown(said, asked)
        model, models = asking.models(self._model, wish.models)
        chat = _chat(wish, config, asked)
        media, audio = asking.media(asked.messages)
        return Call(
            surface=self.name,
            model=model,
            models=models,
            stream=self._stream,
            chat=chat,
            raw=raw,
            provider=asking.provider(wish.provider),
            user=wish.user,
            session_id=asking.session(wish.session_id, headers),
            bulk=stowed.bulk if stowed is not None else (),
            body_bytes=stowed.size if stowed is not None else len(body),
            media_prompt=media,
            audio_prompt=audio,
            ignored=asking.ignored(raw, _IGNORED),
            untold=tuple(asked.untold),
        )

    def writer(self, call: Call) -> Writer:
        """The writer of this call's answer; thoughts are shown to those who asked for them only."""
        wish = call.chat.reasoning
        exclude = wish is None or wish.exclude
        return StreamWriter(exclude, self._sse) if call.stream else UnaryWriter(exclude)

    def error_body(self, fault: Fault, generation_id: str | None) -> bytes:
        """`{error: {code, message, status, details}}`."""
        return error_body(fault, generation_id)


# --- members ----------------------------------------------------------------------------------------------------------


def _asked(wish: _Body) -> Asked:
    if wish.contents is None:
        raise BadRequest("contents: missing; send a list with at least one turn.")
    if wish.contents == []:
        raise BadRequest("contents: empty; send at least one turn.")
    asked = Asked()
    asked.system(wish.system_instruction)
    for place, turn in enumerate(wish.contents if isinstance(wish.contents, list) else [wish.contents]):
        asked.turn(turn, place)
    return asked


def _chat(wish: _Body, config: _Config, asked: Asked) -> Chat:
    tools, chosen = _tools(wish.tools, asked), _tool_choice(wish.tool_config)
    return Chat(
        messages=asked.messages,
        tools=tools,
        tool_choice=chosen if tools else None,
        response_format=_format(config, asked),
        reasoning=_reasoning(config.thinking_config),
        temperature=config.temperature,
        top_p=config.top_p,
        top_k=None if config.top_k is None else int(config.top_k),
        max_tokens=config.max_output_tokens,
        stop=config.stop_sequences or None,
        n=config.candidate_count,
        seed=config.seed,
        presence_penalty=config.presence_penalty,
        frequency_penalty=config.frequency_penalty,
        logprobs=config.response_logprobs,
        top_logprobs=config.logprobs,
        modalities=[kind.lower() for kind in config.response_modalities] if config.response_modalities else None,
        audio=_voice(config.speech_config, asked),
        image_config=_image(config.image_config),
        service_tier=_tier(wish.service_tier),
        user=wish.user,
    )


def _tools(tools: list[dict[str, Any]] | dict[str, Any] | None, asked: Asked) -> list[Tool] | None:
    """Functions; what only Google runs is told to providers of this dialect only."""
    out = []
    for place, tool in enumerate(tools if isinstance(tools, list) else [tools] if tools else ()):
        for name, member in tool.items():
            if name != "functionDeclarations":
                asked.lost(f"tools[{place}].{name}", "a tool that only Google runs")
                continue
            try:
                functions = codec.convert(member, list[_Function])
            except codec.DecodeError as error:
                raise BadRequest(f"tools[{place}].functionDeclarations: {error}.") from None
            for function in functions:
                schema = function.parameters_json_schema
                if schema is None and function.parameters is not None:
                    schema = json_schema(function.parameters)
                out.append(Tool("function", FunctionTool(function.name, function.description, schema)))
    return out or None


def _tool_choice(config: _ToolConfig | None) -> Any:
    calling = config.function_calling_config if config is not None else None
    if calling is None or calling.mode in (None, "MODE_UNSPECIFIED"):
        return None
    mode = (calling.mode or "").upper()
    names = calling.allowed_function_names or []
    if mode not in ("AUTO", "NONE", "ANY", "VALIDATED"):
        raise BadRequest("toolConfig.functionCallingConfig.mode: expected AUTO, ANY, NONE or VALIDATED.")
    if names and mode in ("ANY", "VALIDATED"):
        if len(names) == 1 and mode == "ANY":
            return {"type": "function", "function": {"name": names[0]}}
        tools = [{"type": "function", "function": {"name": name}} for name in names]
        wanted = {"mode": "required" if mode == "ANY" else "auto", "tools": tools}
        return {"type": "allowed_tools", "allowed_tools": wanted}
    return {"AUTO": "auto", "NONE": "none", "ANY": "required", "VALIDATED": "auto"}[mode]


def _format(config: _Config, asked: Asked) -> dict[str, Any] | None:
    schema = config.response_json_schema
    if schema is None and config.response_schema is not None:
        schema = json_schema(config.response_schema)
    kind = config.response_mime_type or "text/plain"
    if schema is not None:
        if kind == "text/x.enum":
            asked.lost("generationConfig.responseMimeType", "a word of a list comes as JSON there")
        return {"type": "json_schema", "json_schema": {"name": "answer", "strict": False, "schema": schema}}
    if kind == "application/json":
        return {"type": "json_object"}
    if kind != "text/plain":
        asked.lost("generationConfig.responseMimeType", f"there is no {kind[:60]} there")
    return None


def _reasoning(config: _Thinking | None) -> ReasoningWish | None:
    """A budget of 0 turns thinking off, -1 leaves it to the model."""
    if config is None:
        return None
    exclude = not config.include_thoughts
    budget = config.thinking_budget
    if config.thinking_level is not None:
        level = config.thinking_level.lower()
        if level not in ("minimal", "low", "medium", "high", "thinking_level_unspecified"):
            raise BadRequest("generationConfig.thinkingConfig.thinkingLevel: expected MINIMAL, LOW, MEDIUM or HIGH.")
        return ReasoningWish(effort=None if level.endswith("unspecified") else level, exclude=exclude)
    if budget is None or budget < 0:
        return ReasoningWish(enabled=None if budget is None and exclude else True, exclude=exclude)
    if budget == 0:
        return ReasoningWish(enabled=False, exclude=exclude)
    return ReasoningWish(max_tokens=budget, exclude=exclude)


def _voice(config: dict[str, Any] | None, asked: Asked) -> dict[str, Any] | None:
    if config is None:
        return None
    found: Any = config
    for name in ("voiceConfig", "prebuiltVoiceConfig", "voiceName"):
        found = found.get(name) if isinstance(found, dict) else None
    if set(config) - {"voiceConfig"} or not isinstance(found, str):
        asked.lost("generationConfig.speechConfig", "there is one voice there, by its name")
    return {"voice": found, "format": "pcm16"} if isinstance(found, str) else None


def _image(config: dict[str, Any] | None) -> dict[str, Any] | None:
    names = {"aspectRatio": "aspect_ratio", "imageSize": "image_size"}
    return {names.get(name, name): value for name, value in config.items()} if config else None


def _tier(tier: str | None) -> str | None:
    """The tier in the API's words."""
    if tier is None or tier.lower().endswith("unspecified"):
        return None
    low = tier.lower()
    return "default" if low == "standard" else low


def _unknown(said: dict[str, Any], asked: Asked) -> None:
    def note(members: Any, known: frozenset[str], at: str) -> None:
        for name, value in members.items() if isinstance(members, dict) else ():
            if name not in known and value not in (None, [], {}, False):
                asked.untold.append(Loss(f"{at}{name}", "a member that only Gemini knows"))

    note(said, _READ | set(_IGNORED), "")
    note(said.get("generationConfig"), _CONFIG, "generationConfig.")
    note(said.get("toolConfig"), frozenset({"functionCallingConfig"}), "toolConfig.")
