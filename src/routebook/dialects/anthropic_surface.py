"""Anthropic Messages as callers speak it: reads a request, names what the hub has no word for.

Part of the dialect in `anthropic.py`. What is not valid is refused with its place; limits of single models are theirs
to enforce. Sources: inference API, sections 1, 4b and 7; platform.claude.com "Messages", read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from routebook.core.call import (
    CacheControl,
    Call,
    Chat,
    FunctionTool,
    Loss,
    ProviderWish,
    ReasoningWish,
    Tool,
)
from routebook.core.errors import BadRequest, Fault
from routebook.dialects import asking
from routebook.dialects.anthropic_asked import Asked, Block, Turn
from routebook.dialects.anthropic_receipt import error_body
from routebook.dialects.anthropic_writer import NAME, StreamWriter, UnaryWriter
from routebook.dialects.asking import Effort, Positive, Temperature, Unit
from routebook.dialects.base import Writer
from routebook.wire import codec
from routebook.wire.bulk import LargeBody, Stowed

_NEEDED = "`model` and `messages`"


class _Tool(msgspec.Struct):
    type: str | None = None
    name: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None
    cache_control: CacheControl | None = None
    defer_loading: bool | None = None
    input_examples: list[Any] | None = None
    allowed_callers: list[str] | None = None


class _Choice(msgspec.Struct):
    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class _Thinking(msgspec.Struct):
    type: str
    budget_tokens: Positive | None = None
    display: str | None = None


class _Format(msgspec.Struct):
    type: str = "json_schema"
    schema: dict[str, Any] | None = None


class _Output(msgspec.Struct):
    effort: Effort | None = None
    format: _Format | None = None
    task_budget: Any = None


class _Metadata(msgspec.Struct):
    user_id: str | None = None


class _Fallback(msgspec.Struct, forbid_unknown_fields=True):
    model: str


class _Body(msgspec.Struct, gc=False):
    messages: list[Turn] | None = None
    model: str | None = None
    system: str | list[Block] | None = None
    max_tokens: Positive | None = None
    stream: bool | None = None
    temperature: Temperature | None = None
    top_p: Unit | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    tools: list[_Tool] | None = None
    tool_choice: _Choice | None = None
    thinking: _Thinking | None = None
    output_config: _Output | None = None
    output_format: _Format | None = None
    metadata: _Metadata | None = None
    service_tier: str | None = None
    speed: str | None = None
    cache_control: CacheControl | None = None
    models: list[str] | None = None
    fallbacks: list[_Fallback] | None = None
    provider: ProviderWish | None = None
    user: str | None = None
    session_id: str | None = None
    trace: dict[str, Any] | None = None


_body = codec.decoder(_Body)
_members = codec.decoder(dict[str, codec.Raw])

_IGNORED = {
    "route": "deprecated; use provider.sort",
    "plugins": "the gateway runs no plugins",
    "preset": "the gateway has no presets",
    "trace": "the gateway broadcasts no traces",
    "stop_server_tools_when": "the gateway runs no server tools",
}
_READ = frozenset(_Body.__struct_fields__)
_FALLBACKS_MAX = 3
_USER_MAX = 256


class MessagesSurface:
    """The dialect as callers speak it; see dialects.base.Surface."""

    name = NAME

    def read(self, body: bytes | LargeBody, headers: Mapping[str, str]) -> Call:
        """The call a body asks for; header names in lower case. Raises BadRequest."""
        if isinstance(body, bytes):
            return self._read(body, headers)
        return asking.read_large(body, lambda text, stowed: self._read(text, headers, stowed))

    def _read(self, body: bytes, headers: Mapping[str, str], stowed: Stowed | None = None) -> Call:
        asking.check_bytes(body, _NEEDED)
        try:
            wish = _body(body)
            raw = _members(body)
        except codec.BAD:
            raise BadRequest(asking.what_is_wrong(body, _Body, _NEEDED)) from None
        asked = _asked(wish)
        model, models = asking.models(wish.model, _fallbacks(wish))
        chat = _chat(wish, asked)
        media, audio = asking.media(asked.messages)
        user = wish.user or (wish.metadata.user_id if wish.metadata is not None else None)
        if user is not None and len(user) > _USER_MAX and wish.user:
            raise BadRequest(f"user: at most {_USER_MAX} characters.")
        _unknown(raw, asked)
        return Call(
            surface=self.name,
            model=model,
            models=models,
            stream=bool(wish.stream),
            chat=chat,
            raw=raw,
            provider=asking.provider(wish.provider),
            user=user,
            session_id=asking.session(wish.session_id, headers),
            bulk=stowed.bulk if stowed is not None else (),
            body_bytes=stowed.size if stowed is not None else len(body),
            media_prompt=media,
            audio_prompt=audio,
            ignored=asking.ignored(raw, _IGNORED, [tool.type for tool in wish.tools or ()]),
            untold=tuple(asked.untold),
            betas=betas(headers),
        )

    def writer(self, call: Call) -> Writer:
        """The writer of this call's answer, streamed as the caller asked."""
        wish = call.chat.reasoning
        exclude = wish is not None and wish.exclude
        return StreamWriter(exclude) if call.stream else UnaryWriter(exclude)

    def error_body(self, fault: Fault, generation_id: str | None) -> bytes:
        """`{type: error, error: {type, message, error_type}, request_id}`."""
        return error_body(fault, generation_id)


def betas(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Names of beta features that the caller asks the provider for, each once."""
    given = ",".join(headers.get(name, "") for name in ("x-anthropic-beta", "anthropic-beta"))
    return tuple(dict.fromkeys(name for part in given.split(",") if (name := part.strip())))


# --- members ----------------------------------------------------------------------------------------------------------


def _asked(wish: _Body) -> Asked:
    if wish.messages is None:
        raise BadRequest("messages: missing; send a list with at least one message.")
    if not wish.messages:
        raise BadRequest("messages: empty; send at least one message.")
    asked = Asked()
    asked.system(wish.system)
    for place, turn in enumerate(wish.messages):
        asked.turn(turn, place)
    return asked


def _fallbacks(wish: _Body) -> list[str] | None:
    """Models after the first, by either of their names."""
    if not wish.fallbacks:
        return wish.models
    if wish.models:
        raise BadRequest("fallbacks: cannot stand beside models; send one of them.")
    if len(wish.fallbacks) > _FALLBACKS_MAX:
        raise BadRequest(f"fallbacks: at most {_FALLBACKS_MAX} entries.")
    return [each.model for each in wish.fallbacks]


def _chat(wish: _Body, asked: Asked) -> Chat:
    choice, parallel = _tool_choice(wish.tool_choice)
    tools = _tools(wish.tools, asked)
    if tools is None:
        choice = parallel = None  # none is left that could be chosen
    output = wish.output_config or _Output()
    if output.task_budget is not None:
        asked.lost("output_config.task_budget", "there is no budget for a whole task there")
    if asked.changed is not None:
        asked.untold.append(asked.changed.loss())
    reasoning, verbosity = _reasoning(wish, output.effort if asked.changed is None else asked.changed.effort)
    return Chat(
        messages=asked.messages,
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=parallel,
        response_format=_format(output.format or wish.output_format),
        reasoning=reasoning,
        verbosity=verbosity,
        temperature=wish.temperature,
        top_p=wish.top_p,
        top_k=wish.top_k,
        max_tokens=wish.max_tokens,
        stop=wish.stop_sequences or None,
        cache_control=wish.cache_control,
        service_tier=_tier(wish),
        user=wish.user,
    )


def _tools(tools: list[_Tool] | None, asked: Asked) -> list[Tool] | None:
    """Functions; a tool of Anthropic's own is told to providers of this dialect only."""
    out = []
    for place, tool in enumerate(tools or ()):
        at = f"tools[{place}]"
        if tool.type in (None, "custom"):
            if not tool.name:
                raise BadRequest(f"{at}.name: missing.")
            if tool.input_schema is None:
                raise BadRequest(f"{at}.input_schema: missing; send the JSON schema of the tool's input.")
            function = FunctionTool(tool.name, tool.description, tool.input_schema, tool.strict)
            out.append(Tool("function", function, tool.cache_control))
            _beside(tool, at, asked)
        elif not (tool.type or "").startswith("openrouter:"):
            asked.lost(at, f"a tool of type {(tool.type or '')[:60]} is Anthropic's own")
    return out or None


def _beside(tool: _Tool, at: str, asked: Asked) -> None:
    """What a tool says beside its function. Sources, read 2026-11: platform.claude.com "Tool search tool", "Tool use
    examples", "Programmatic tool calling". How eagerly its input streams (`eager_input_streaming`) is no loss."""
    if tool.defer_loading:
        why = "told from the beginning: there is no search for tools"
        asked.untold.append(Loss(f"{at}.defer_loading", why, mapped=True))
    if tool.input_examples:
        asked.lost(f"{at}.input_examples", "a tool has no examples there")
    if set(tool.allowed_callers or ()) - {"direct"}:
        asked.lost(f"{at}.allowed_callers", "nobody but the model calls tools there")


def _tool_choice(choice: _Choice | None) -> tuple[Any, bool | None]:
    """(the hub's tool_choice, parallel_tool_calls)"""
    if choice is None:
        return None, None
    parallel = None if choice.disable_parallel_tool_use is None else not choice.disable_parallel_tool_use
    if choice.type == "tool":
        if not choice.name:
            raise BadRequest("tool_choice.name: missing; name the tool.")
        return {"type": "function", "function": {"name": choice.name}}, parallel
    known = {"auto": "auto", "any": "required", "none": "none"}.get(choice.type)
    if known is None:
        raise BadRequest(f"tool_choice.type: `{choice.type[:40]}` is not one of auto, any, tool, none.")
    return known, parallel


def _reasoning(wish: _Body, effort: str | None) -> tuple[ReasoningWish | None, str | None]:
    """(what is wanted of reasoning, verbosity): an effort is of reasoning, unless reasoning is turned off."""
    thinking = wish.thinking
    if thinking is None:
        return (None if effort is None else ReasoningWish(effort=effort)), None
    exclude = thinking.display == "omitted"
    if thinking.display not in (None, "summarized", "omitted"):
        raise BadRequest("thinking.display: expected summarized or omitted.")
    if thinking.type == "disabled":
        return ReasoningWish(enabled=False), effort
    if thinking.type == "adaptive":
        return ReasoningWish(effort=effort, enabled=True, exclude=exclude), None
    if thinking.type != "enabled":
        raise BadRequest(f"thinking.type: `{thinking.type[:40]}` is not one of enabled, disabled, adaptive.")
    if thinking.budget_tokens is None:
        raise BadRequest("thinking.budget_tokens: missing; thinking of type enabled has a budget.")
    return ReasoningWish(max_tokens=thinking.budget_tokens, exclude=exclude), effort


def _format(wanted: _Format | None) -> dict[str, Any] | None:
    if wanted is None:
        return None
    if wanted.type != "json_schema" or wanted.schema is None:
        raise BadRequest("output_config.format: expected type json_schema and a schema.")
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": wanted.schema}}


def _tier(wish: _Body) -> str | None:
    """The tier in the API's words; Anthropic's base tier is called standard, and fast mode is a tier here."""
    if wish.speed is not None:
        if wish.speed not in ("fast", "standard"):
            raise BadRequest("speed: expected fast or standard.")
        if wish.speed == "fast":
            return "priority"
    return "default" if wish.service_tier in ("standard_only", "standard") else wish.service_tier


def _unknown(raw: Mapping[str, msgspec.Raw], asked: Asked) -> None:
    for name, value in raw.items():
        if name not in _READ and name not in _IGNORED and asking.says(value):
            asked.untold.append(Loss(name, "a member that only Anthropic knows"))
