"""Reads a caller's chat request. What is not valid is refused with its place and what to do; what the gateway does not
act on is named in `Call.ignored`; everything else is kept, decoded and verbatim.

Source: inference API, sections 2.1, 2.2 and 7. Where that document states no limit, none is checked: providers know
their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from routebook.core.call import CacheControl, Call, Chat, Message, ProviderWish, ReasoningWish, Tool
from routebook.core.errors import BadRequest, Fault
from routebook.dialects import asking, efforts
from routebook.dialects.asking import Effort, Penalty, Positive, Temperature, Unit
from routebook.dialects.base import Writer
from routebook.dialects.openai_chat.common_request import BYTES_MAX, common_call
from routebook.dialects.openai_chat.writer import StreamWriter, UnaryWriter, error_body
from routebook.wire import codec
from routebook.wire.bulk import LargeBody, Stowed

_NEEDED = "`model` and `messages`"


class _Reasoning(msgspec.Struct):
    effort: Effort | None = None
    max_tokens: Positive | None = None
    exclude: bool | None = None
    enabled: bool | None = None
    summary: str | None = None


class _Body(msgspec.Struct, gc=False):
    """The members of Chat first and in its order, so that one slice of the values makes one."""

    messages: list[Message] | None = None
    tools: list[Tool] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    reasoning: _Reasoning | None = None
    temperature: Temperature | None = None
    top_p: Unit | None = None
    top_k: int | None = None
    min_p: float | None = None
    top_a: float | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    repetition_penalty: Temperature | None = None
    seed: int | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    max_tokens: Positive | None = None
    stop: str | list[str] | None = None
    n: Positive | None = None
    verbosity: str | None = None
    modalities: list[str] | None = None
    audio: dict[str, Any] | None = None
    image_config: dict[str, Any] | None = None
    prediction: dict[str, Any] | None = None
    cache_control: CacheControl | None = None
    prompt_cache_key: str | None = None
    service_tier: str | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    # What is no part of Chat:
    prompt: str | list[str] | None = None
    model: str | None = None
    models: list[str] | None = None
    stream: bool | None = None
    provider: ProviderWish | None = None
    reasoning_effort: Effort | None = None
    include_reasoning: bool | None = None
    max_completion_tokens: Positive | None = None
    session_id: str | None = None
    trace: dict[str, Any] | None = None


_CHAT = len(Chat.__struct_fields__)
_REASONING_AT = Chat.__struct_fields__.index("reasoning")
_MAX_TOKENS_AT = Chat.__struct_fields__.index("max_tokens")
_STOP_AT = Chat.__struct_fields__.index("stop")
assert _Body.__struct_fields__[:_CHAT] == Chat.__struct_fields__

_body = codec.decoder(_Body)
_members = codec.decoder(dict[str, codec.Raw])


_IGNORED = {
    "route": "deprecated; use provider.sort",
    "plugins": "the gateway runs no plugins",
    "transforms": "the gateway does not shorten prompts",
    "preset": "the gateway has no presets",
    "debug": "the gateway does not echo upstream bodies",
    "trace": "the gateway broadcasts no traces",
    "stop_server_tools_when": "the gateway runs no server tools",
    "max_tool_calls": "the gateway runs no server tools",
    "x_search_filter": "the gateway runs no search",
    "structured_outputs": "response_format says it",
}

_ROLES = ("system", "developer", "user", "assistant", "tool")


class ChatSurface:
    """The dialect as callers speak it."""

    name = "openai_chat"

    def read(self, body: bytes | LargeBody, headers: Mapping[str, str]) -> Call:
        """The call a body asks for; header names in lower case. Raises BadRequest."""
        if isinstance(body, bytes):
            if len(body) <= BYTES_MAX:
                session = asking.session(None, headers) if "x-session-id" in headers else None
                if (common := common_call(body, session)) is not None:
                    return common
            return self._read(body, headers)
        return asking.read_large(body, lambda text, stowed: self._read(text, headers, stowed))

    def _read(self, body: bytes, headers: Mapping[str, str], stowed: Stowed | None = None) -> Call:
        asking.check_bytes(body, _NEEDED)
        try:
            wish = _body(body)
            raw = _members(body)
        except codec.BAD:
            raise BadRequest(asking.what_is_wrong(body, _Body, _NEEDED)) from None
        messages = _messages(wish)
        if wish.messages is None:
            raw["messages"] = codec.Raw(codec.encode(messages))
        messages, raw["messages"], changed = efforts.taken_out(messages, raw["messages"])
        model, models = asking.models(wish.model, wish.models)
        chat = _chat(wish, messages, changed)
        media, audio = asking.media(messages)
        return Call(
            surface=self.name,
            model=model,
            models=models,
            stream=bool(wish.stream),
            chat=chat,
            raw=raw,
            provider=asking.provider(wish.provider),
            user=wish.user,
            session_id=asking.session(wish.session_id, headers),
            bulk=stowed.bulk if stowed is not None else (),
            body_bytes=stowed.size if stowed is not None else len(body),
            media_prompt=media,
            audio_prompt=audio,
            ignored=asking.ignored(raw, _IGNORED, [tool.type for tool in wish.tools or ()]),
            untold=() if changed is None else (changed.loss(),),
        )

    def writer(self, call: Call) -> Writer:
        """The writer of this call's answer, streamed as the caller asked."""
        wish = call.chat.reasoning
        exclude = wish is not None and wish.exclude
        return StreamWriter(exclude) if call.stream else UnaryWriter(exclude)

    def error_body(self, fault: Fault, generation_id: str | None) -> bytes:
        """`{"error": {code, message, metadata}}`; the generation id travels in its header alone."""
        return error_body(fault)


# --- members ----------------------------------------------------------------------------------------------------------


def _messages(wish: _Body) -> list[Message]:
    messages = wish.messages
    if messages is None and wish.prompt is not None:
        if isinstance(wish.prompt, list) and len(wish.prompt) != 1:
            raise BadRequest("prompt: one text is taken, not a list of them; use messages.")
        return [Message("user", wish.prompt if isinstance(wish.prompt, str) else wish.prompt[0])]
    if messages is None:
        raise BadRequest("messages: missing; send a list with at least one message.")
    if not messages:
        raise BadRequest("messages: empty; send at least one message.")
    for place, message in enumerate(messages):
        if isinstance(message.content, str) and message.role in _SIMPLE:
            continue
        if message.role not in _ROLES:
            raise BadRequest(f"messages[{place}].role: `{message.role[:40]}` is not one of {', '.join(_ROLES)}.")
        if message.role == "tool" and not message.tool_call_id:
            raise BadRequest(f"messages[{place}].tool_call_id: missing; name the tool call that this answers.")
        if message.role != "assistant" and message.content is None and message.configuration_update is None:
            raise BadRequest(f"messages[{place}].content: missing; send a text or a list of parts.")
        for at, part in enumerate(message.content if isinstance(message.content, list) else ()):
            if part.type in _FILLED and getattr(part, part.type) is None:
                raise BadRequest(f"messages[{place}].content[{at}].{part.type}: missing in a part of that type.")
    return messages


_SIMPLE = frozenset(_ROLES) - {"tool"}
_FILLED = frozenset({"text", "image_url", "input_audio", "video_url", "input_video", "file"})


def _chat(wish: _Body, messages: list[Message], changed: efforts.Change | None) -> Chat:
    _check_members(wish)
    values = list(msgspec.structs.astuple(wish)[:_CHAT])
    values[0] = messages
    values[_REASONING_AT] = efforts.wished(_reasoning(wish), changed)
    if wish.max_completion_tokens is not None:
        values[_MAX_TOKENS_AT] = wish.max_completion_tokens
    if isinstance(wish.stop, str):
        values[_STOP_AT] = [wish.stop]
    return Chat(*values)


def _check_members(wish: _Body) -> None:
    for place, tool in enumerate(wish.tools or ()):
        if tool.type == "function" and (tool.function is None or not tool.function.name):
            raise BadRequest(f"tools[{place}].function: missing; a function tool has a function with a name.")
    choice = wish.tool_choice
    if isinstance(choice, str) and choice not in ("none", "auto", "required"):
        raise BadRequest("tool_choice: expected none, auto, required or an object that names a function.")
    if choice is not None and not isinstance(choice, (str, dict)):
        raise BadRequest("tool_choice: expected a text or an object.")
    if wish.response_format is not None and not isinstance(wish.response_format.get("type"), str):
        raise BadRequest("response_format.type: missing; send text, json_object or json_schema.")
    if wish.metadata is not None:
        asking.check_metadata(wish.metadata)


def _reasoning(wish: _Body) -> ReasoningWish | None:
    """`reasoning`, `reasoning_effort` and `include_reasoning` as one wish; None if the caller said nothing."""
    own = wish.reasoning
    if own is None and wish.reasoning_effort is None and wish.include_reasoning is None:
        return None
    own = own or _Reasoning()
    if own.effort is not None and wish.reasoning_effort is not None and own.effort != wish.reasoning_effort:
        raise BadRequest("reasoning_effort: differs from reasoning.effort; send one of them.")
    effort = own.effort or wish.reasoning_effort
    if effort is not None and own.max_tokens is not None:
        raise BadRequest("reasoning: effort and max_tokens exclude each other; send one of them.")
    exclude = own.exclude
    if wish.include_reasoning is not None:
        if exclude is not None and exclude == wish.include_reasoning:
            raise BadRequest("include_reasoning: contradicts reasoning.exclude; send one of them.")
        exclude = not wish.include_reasoning
    return ReasoningWish(
        effort=effort, max_tokens=own.max_tokens, exclude=bool(exclude), enabled=own.enabled, summary=own.summary
    )
