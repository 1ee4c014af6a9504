"""What a dialect writes it reads back as what was said: for every call that a dialect can say whole, writing what was
read gives the same request again, byte for byte as JSON. Of the dialects that have both faces.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from routebook.core.call import (
    CacheControl,
    Call,
    Chat,
    FilePart,
    FunctionCall,
    FunctionTool,
    ImageUrl,
    InputAudio,
    Message,
    Part,
    ReasoningWish,
    Tool,
    ToolCall,
)
from routebook.dialects.base import PathSurface, Surface
from routebook.wire import codec
from tests.conformance.cases import PDF, PNG, SCHEMA, WAV
from tests.conformance.lanes import LANES, SURFACES, Lane

BOTH = [lane for lane in LANES if lane.name in SURFACES]
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20).filter(
    lambda text: bool(text.strip())
)
NAMES = st.from_regex(r"\A[a-z][a-z_]{0,8}\Z")
PARTS = st.one_of(
    st.builds(Part, st.just("text"), text=WORDS),
    st.builds(Part, st.just("text"), text=WORDS, cache_control=st.sampled_from([None, CacheControl()])),
    st.just(Part("image_url", image_url=ImageUrl(PNG))),
    st.just(Part("file", file=FilePart(PDF, filename="z.pdf"))),
    st.just(Part("input_audio", input_audio=InputAudio(WAV, "wav"))),
)
USERS = st.builds(Message, st.just("user"), WORDS | st.lists(PARTS, min_size=1, max_size=3))
ARGUMENTS = st.dictionaries(NAMES, st.none() | st.booleans() | st.integers(-9, 9) | WORDS, max_size=3)
CALLS = st.lists(st.tuples(NAMES, ARGUMENTS, WORDS), min_size=1, max_size=3)


@st.composite
def with_calls(draw: st.DrawFn, place: int) -> list[Message]:
    """An answer that called functions, and their results."""
    made = draw(CALLS)
    ids = [f"call_{place}_{n}" for n in range(len(made))]
    calls = [
        ToolCall(FunctionCall(name, codec.encode(arguments).decode()), id)
        for id, (name, arguments, _) in zip(ids, made, strict=True)
    ]
    said = draw(st.none() | WORDS)
    results = [Message("tool", result, tool_call_id=id) for id, (_, _, result) in zip(ids, made, strict=True)]
    return [Message("assistant", said, tool_calls=calls), *results]


@st.composite
def turns(draw: st.DrawFn) -> list[Message]:
    out = [Message("system", draw(WORDS))] if draw(st.booleans()) else []
    for place in range(draw(st.integers(0, 3))):
        out.append(draw(USERS))
        out += draw(with_calls(place)) if draw(st.booleans()) else [Message("assistant", draw(WORDS))]
    return [*out, draw(USERS)]


@st.composite
def chats(draw: st.DrawFn) -> Chat:
    messages = draw(turns())
    names = sorted({call.function.name for message in messages for call in message.tool_calls or ()})
    tools = [Tool("function", FunctionTool(name, "What it does", SCHEMA)) for name in names] or None
    choice = draw(st.sampled_from([None, "auto", "none", "required"])) if tools else None
    schema = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA}}
    return Chat(
        messages,
        tools=tools,
        tool_choice=choice,
        response_format=draw(st.sampled_from([None, schema])) if tools is None else None,
        reasoning=draw(st.sampled_from([None, ReasoningWish(max_tokens=2048), ReasoningWish(effort="low")])),
        temperature=draw(st.sampled_from([None, 0.0, 0.25, 1.0])),
        max_tokens=draw(st.sampled_from([9000, 12_000])),
        stop=draw(st.none() | st.lists(WORDS, min_size=1, max_size=3, unique=True)),
        seed=draw(st.none() | st.integers(0, 2**31 - 1)),
    )


def surface_of(lane: Lane) -> Surface:
    surface = SURFACES[lane.dialect]
    return surface.at("acme/x:generateContent", "") or surface if isinstance(surface, PathSurface) else surface


def built(lane: Lane, chat: Chat) -> tuple[bytes, set[str]]:
    """(what is sent, what is lost) of a caller of another dialect."""
    request, losses, _ = lane.build(Call(surface="of another dialect", model="acme/x", chat=chat, raw={}))
    assume(request is not None)
    assert request is not None
    return request.body, {loss.parameter for loss in losses.items}


@pytest.mark.parametrize("lane", BOTH, ids=lambda lane: lane.name)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(chat=chats())
def test_what_was_written_and_read_is_written_the_same_again(lane: Lane, chat: Chat) -> None:
    first, _ = built(lane, chat)
    read = surface_of(lane).read(first, {})
    assert read.untold == ()
    again, _ = built(lane, read.chat)
    assert plain(again) == plain(first)


@pytest.mark.parametrize("lane", BOTH, ids=lambda lane: lane.name)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(chat=chats())
def test_a_caller_of_the_dialect_is_heard_as_said(lane: Lane, chat: Chat) -> None:
    """The same request, by a caller of the dialect itself: it reaches the provider as it came."""
    first, _ = built(lane, chat)
    request, losses, _ = lane.build(surface_of(lane).read(first, {}))
    assert request is not None
    assert losses.items == []
    assert plain(request.body) == plain(first)


def plain(body: bytes) -> Any:
    value = codec.decode_exact(body)
    value.pop("stream", None)
    return value
