"""A caller's request body as a Call: what is not valid is refused with its place and what to do, what the gateway does
not act on is named in `Call.ignored`, what the hub cannot say in `Call.untold`, and everything is kept verbatim.

Nothing is kept between two requests: `store`, `previous_response_id` and `conversation` are refused.
Source: inference API, section 4, and its schema; limits that no page states are not checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from routebook.core.call import CacheControl, Call, Chat, Loss, Message, ProviderWish, ReasoningWish
from routebook.core.errors import BadRequest
from routebook.dialects import asking, efforts
from routebook.dialects.asking import Effort, Penalty, Positive, Temperature, Unit
from routebook.dialects.openai_responses.items import read_items
from routebook.dialects.openai_responses.parts import NAME
from routebook.dialects.openai_responses.tools import read_choice, read_form, read_tools
from routebook.wire import codec
from routebook.wire.bulk import Stowed

NEEDED = "`model` and `input`"

_Long = Annotated[str, msgspec.Meta(max_length=256)]


class _Reasoning(msgspec.Struct):
    effort: Effort | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    max_tokens: Positive | None = None
    enabled: bool | None = None
    exclude: bool | None = None
    generate_summary: str | None = None
    context: str | None = None
    mode: str | None = None


class _Body(msgspec.Struct):
    model: str | None = None
    models: list[str] | None = None
    input: str | list[Any] | None = None
    instructions: str | None = None
    max_output_tokens: Positive | None = None
    parallel_tool_calls: bool | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Any = None
    text: dict[str, Any] | None = None
    reasoning: _Reasoning | None = None
    include: list[str] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    background: bool | None = None
    store: bool | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    prompt: dict[str, Any] | None = None
    metadata: dict[str, str] | None = None
    modalities: list[str] | None = None
    image_config: dict[str, Any] | None = None
    temperature: Temperature | None = None
    top_p: Unit | None = None
    top_k: int | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    user: _Long | None = None
    session_id: str | None = None
    trace: dict[str, Any] | None = None
    cache_control: CacheControl | None = None
    prompt_cache_key: str | None = None
    provider: ProviderWish | None = None
    stream: bool | None = None
    max_tool_calls: Positive | None = None
    plugins: list[dict[str, Any]] | None = None


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
    "background": "nothing is kept to be asked for later; the answer comes at once",
}
_SAID = frozenset({*_Body.__struct_fields__, "stream_options"}) - {"include", "truncation", "prompt", "max_tool_calls"}
"""Members that the hub says in its own words, or that are the gateway's."""
_KNOWN_INCLUDES = frozenset({"reasoning.encrypted_content", "message.output_text.logprobs"})


def read_call(body: bytes, headers: Mapping[str, str], stowed: Stowed | None = None) -> Call:
    """The call a body asks for; header names in lower case. Raises BadRequest."""
    asking.check_bytes(body, NEEDED)
    try:
        wish = _body(body)
        raw = _members(body)
    except codec.BAD:
        raise BadRequest(asking.what_is_wrong(body, _Body, NEEDED)) from None
    _check(wish)
    untold: list[Loss] = []
    chat = _chat(wish, untold)
    model, models = asking.models(wish.model, wish.models)
    media, audio = asking.media(chat.messages)
    _rest(wish, raw, untold)
    return Call(
        surface=NAME,
        model=model,
        models=models,
        stream=bool(wish.stream),
        chat=chat,
        raw=raw,
        bulk=stowed.bulk if stowed is not None else (),
        provider=asking.provider(wish.provider),
        user=wish.safety_identifier or wish.user,
        session_id=asking.session(wish.session_id, headers),
        body_bytes=stowed.size if stowed is not None else len(body),
        media_prompt=media,
        audio_prompt=audio,
        ignored=asking.ignored(raw, _IGNORED, [tool.get("type") for tool in wish.tools or ()]),
        untold=tuple(untold),
    )


def _check(wish: _Body) -> None:
    if wish.store:
        raise BadRequest("store: answers are not stored here; leave it out, or send false.")
    if wish.previous_response_id is not None:
        raise BadRequest("previous_response_id: answers are not stored here; send the whole conversation as input.")
    if wish.conversation is not None:
        raise BadRequest("conversation: nothing is stored here; send the whole conversation as input.")
    if wish.metadata is not None:
        asking.check_metadata(wish.metadata)
    own = wish.reasoning
    if own is not None and own.effort is not None and own.max_tokens is not None:
        raise BadRequest("reasoning: effort and max_tokens exclude each other; send one of them.")
    if wish.prompt is not None and not isinstance(wish.prompt.get("id"), str):
        raise BadRequest("prompt.id: missing; name the stored prompt.")


def _chat(wish: _Body, untold: list[Loss]) -> Chat:
    messages: list[Message] = []
    changed: efforts.Change | None = None
    if wish.instructions:
        messages.append(Message("system", wish.instructions))
    tools = read_tools(wish.tools or [], "tools", untold)
    if isinstance(wish.input, str):
        messages.append(Message("user", wish.input))
    elif wish.input:
        found = read_items(wish.input, untold)
        messages += found.messages
        changed = found.changed
        known = {tool.function.name for tool in tools if tool.function is not None}
        tools += [tool for tool in found.tools if tool.function is not None and tool.function.name not in known]
    elif wish.prompt is None and wish.instructions is None:
        raise BadRequest("input: missing; send a text or a list of items.")
    choice, tools = read_choice(wish.tool_choice, tools, untold)
    form, verbosity = read_form(wish.text)
    probable = wish.top_logprobs or "message.output_text.logprobs" in (wish.include or ())
    return Chat(
        messages=messages,
        tools=tools or None,
        tool_choice=choice if tools else None,
        parallel_tool_calls=wish.parallel_tool_calls if tools else None,
        response_format=form,
        reasoning=efforts.wished(_reasoning(wish.reasoning, untold), changed),
        temperature=wish.temperature,
        top_p=wish.top_p,
        top_k=wish.top_k,
        frequency_penalty=wish.frequency_penalty,
        presence_penalty=wish.presence_penalty,
        logprobs=True if probable else None,
        top_logprobs=wish.top_logprobs or None,
        max_tokens=wish.max_output_tokens,
        verbosity=verbosity,
        modalities=wish.modalities,
        image_config=wish.image_config,
        cache_control=wish.cache_control,
        prompt_cache_key=wish.prompt_cache_key,
        service_tier=None if wish.service_tier == "auto" else wish.service_tier,
        user=wish.user,
        metadata=wish.metadata or None,
    )


def _reasoning(own: _Reasoning | None, untold: list[Loss]) -> ReasoningWish | None:
    if own is None:
        return None
    for name in ("context", "mode"):
        value = getattr(own, name)
        if value not in (None, "auto", "standard"):
            untold.append(Loss(f"reasoning.{name}", "only the responses API has it"))
    return ReasoningWish(
        effort=own.effort,
        max_tokens=own.max_tokens,
        exclude=bool(own.exclude),
        enabled=own.enabled,
        summary=own.summary,
    )


def _rest(wish: _Body, raw: Mapping[str, codec.Raw], untold: list[Loss]) -> None:
    """What the hub has no word for."""
    for name, value in raw.items():
        if name in _SAID or name in _IGNORED or not asking.says(value):
            continue
        if name == "truncation" and wish.truncation == "disabled":
            continue
        if name == "include" and _KNOWN_INCLUDES.issuperset(wish.include or ()):
            continue
        untold.append(Loss(name[:80], "only the responses API has it"))
