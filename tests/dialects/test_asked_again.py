"""Canonical cases by dialect: what the hub asks of a vendor, read back as callers of that dialect would ask it.

`build` writes a request of the dialect, its surface reads one: together they have to give the same call again, or the
case is one that the dialect has no word for, which `UNSAID` names with what is left of it.
"""

from __future__ import annotations

from typing import Any

import pytest

from routebook.core.call import (
    CacheControl,
    Call,
    Chat,
    FilePart,
    FunctionCall,
    FunctionTool,
    ImageUrl,
    InputAudio,
    Losses,
    Message,
    Part,
    ReasoningWish,
    Tool,
    ToolCall,
)
from routebook.core.catalog import Endpoint, Provider
from routebook.dialects import anthropic, gemini
from routebook.dialects.base import Surface, Upstream

PNG = "data:image/png;base64,iVBORw0KGgo="
PDF = "data:application/pdf;base64,JVBERi0="
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CLOSED = {**SCHEMA, "additionalProperties": False}
WEATHER = Tool("function", FunctionTool("weather", "The weather", SCHEMA))
TIME = Tool("function", FunctionTool("time", None, SCHEMA))
CALL = ToolCall(FunctionCall("weather", '{"city":"Oslo"}'), "call_1")
OTHER = ToolCall(FunctionCall("time", '{"city":"Rome"}'), "call_2")
HI = Message("user", "Hi")
LIMIT = 4096


def asking(*messages: Message, **members: Any) -> Chat:
    return Chat(list(messages) or [HI], max_tokens=members.pop("max_tokens", LIMIT), **members)


def thought(format: str) -> dict[str, Any]:
    return {"type": "reasoning.text", "text": "Hm.", "signature": "c2lnbmVk", "format": format, "index": 0}


def with_tools(*turns: Message, **members: Any) -> Chat:
    return asking(HI, *turns, tools=[WEATHER, TIME], **members)


CASES: dict[str, Chat] = {
    "a text": asking(),
    "a conversation": asking(HI, Message("assistant", "Hello."), Message("user", "And you?")),
    "instructions": asking(Message("system", "Be brief."), HI),
    "a picture": asking(Message("user", [Part("text", text="See:"), Part("image_url", image_url=ImageUrl(PNG))])),
    "a PDF": asking(Message("user", [Part("file", file=FilePart(PDF)), Part("text", text="Read.")])),
    "a sound": asking(Message("user", [Part("input_audio", input_audio=InputAudio("UklGRg==", "wav"))])),
    "a cache mark": asking(Message("user", [Part("text", text="Long", cache_control=CacheControl(ttl="1h"))])),
    "tools": with_tools(),
    "a tool that must be called": with_tools(tool_choice="required"),
    "no tool this time": with_tools(tool_choice="none"),
    "one tool by name": with_tools(tool_choice={"type": "function", "function": {"name": "weather"}}),
    "one tool at a time": with_tools(tool_choice="auto", parallel_tool_calls=False),
    "a call and its result": with_tools(
        Message("assistant", tool_calls=[CALL]), Message("tool", "sunny", tool_call_id="call_1")
    ),
    "two calls and their results": with_tools(
        Message("assistant", "Both:", tool_calls=[CALL, OTHER]),
        Message("tool", "sunny", tool_call_id="call_1"),
        Message("tool", "noon", tool_call_id="call_2"),
    ),
    "a result with a picture": with_tools(
        Message("assistant", tool_calls=[CALL]),
        Message(
            "tool",
            [Part("text", text="This:"), Part("image_url", image_url=ImageUrl(PNG))],
            tool_call_id="call_1",
        ),
    ),
    "signed thoughts": asking(HI, Message("assistant", "So.", reasoning_details=[thought("anthropic-claude-v1")]), HI),
    "Gemini's thoughts": asking(HI, Message("assistant", "So.", reasoning_details=[thought("google-gemini-v1")]), HI),
    "a schema": asking(
        response_format={"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": CLOSED}}
    ),
    "any JSON": asking(response_format={"type": "json_object"}),
    "a budget of thinking": asking(reasoning=ReasoningWish(max_tokens=2048)),
    "no thinking": asking(reasoning=ReasoningWish(enabled=False)),
    "sampling": asking(temperature=0.5, top_k=40),
    "words to stop at": asking(stop=["END", "FIN"]),
    "a seed": asking(seed=7),
    "several choices": asking(n=2),
    "penalties": asking(presence_penalty=0.5, frequency_penalty=0.25),
    "log probabilities": asking(logprobs=True, top_logprobs=3),
}

ENDPOINTS = {"anthropic": "claude-sonnet-4-5", "gemini": "gemini-2.5-flash"}
FACES: dict[str, tuple[Upstream, Surface]] = {
    "anthropic": (anthropic.UPSTREAM, anthropic.SURFACE),
    "gemini": (gemini.UPSTREAM, gemini.SURFACE.at("lab/model:generateContent", "") or gemini.SURFACE),
}
UNSAID: dict[tuple[str, str], dict[str, Any]] = {
    ("anthropic", "a sound"): {"refused": True},
    ("anthropic", "Gemini's thoughts"): {"losses": ["messages[1].reasoning_details"]},
    ("anthropic", "any JSON"): {"losses": ["response_format"], "response_format": None},
    ("anthropic", "a seed"): {"losses": ["seed"], "seed": None},
    ("anthropic", "several choices"): {"losses": ["n"], "n": None},
    ("anthropic", "penalties"): {
        "losses": ["frequency_penalty", "presence_penalty"],
        "presence_penalty": None,
        "frequency_penalty": None,
    },
    ("anthropic", "log probabilities"): {
        "losses": ["logprobs", "top_logprobs"],
        "logprobs": None,
        "top_logprobs": None,
    },
    ("gemini", "a cache mark"): {"losses": ["cache_control"]},
    ("gemini", "one tool at a time"): {"losses": ["parallel_tool_calls"], "parallel_tool_calls": None},
    ("gemini", "signed thoughts"): {"losses": ["reasoning_details"]},  # its words travel, its signature does not
    ("gemini", "a result with a picture"): {"losses": []},  # before Gemini 3 pictures stand beside the result
}
"""(dialect, case) -> the losses that are recorded, and members that differ when read back; messages are looked at only
where nothing is lost"""

IMPLIED: dict[tuple[str, str], dict[str, Any]] = {
    ("gemini", "a schema"): {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": False, "schema": CLOSED},
        }
    },
    ("gemini", "a budget of thinking"): {"reasoning": ReasoningWish(max_tokens=2048)},
    ("gemini", "no thinking"): {"reasoning": ReasoningWish(enabled=False, exclude=True)},
}
"""what is said in other words, and means the same"""


def endpoint(dialect: str) -> Endpoint:
    provider = Provider(slug=dialect, name=dialect, dialect=dialect, base_url="https://vendor.example")
    return Endpoint(
        id="e", model="lab/model", provider=provider, upstream_model=ENDPOINTS[dialect], tag=dialect, pricing=None
    )


def plain(messages: list[Message]) -> list[Message]:
    """Messages as both sides mean them: one text alone is a string."""
    out = []
    for message in messages:
        content = message.content
        if isinstance(content, list) and len(content) == 1 and content[0] == Part("text", text=content[0].text):
            content = content[0].text
        out.append(
            Message(**{**{name: getattr(message, name) for name in Message.__struct_fields__}, "content": content})
        )
    return out


@pytest.mark.parametrize("dialect", FACES)
@pytest.mark.parametrize("case", CASES)
def test_what_is_asked_in_a_dialect_is_read_back_as_the_same_call(dialect: str, case: str) -> None:
    chat = CASES[case]
    upstream, surface = FACES[dialect]
    losses = Losses()
    call = Call(surface="openai_chat", model="lab/model", chat=chat, raw={})
    unsaid = dict(UNSAID.get((dialect, case), {}))
    if unsaid.pop("refused", False):
        with pytest.raises(Exception, match="no text, image or file"):
            upstream.build(call, endpoint(dialect), None, losses)
        return
    request = upstream.build(call, endpoint(dialect), None, losses)
    body = request.body if dialect == "gemini" else request.body.replace(b"claude-sonnet-4-5", b"lab/model")
    got = surface.read(body, {})
    assert [loss.parameter for loss in losses.items] == unsaid.pop("losses", [])
    assert got.untold == ()
    assert got.ignored == ()
    lossy = (dialect, case) in UNSAID
    differs = {**unsaid, **IMPLIED.get((dialect, case), {})}
    for name in Chat.__struct_fields__:
        if name == "messages":
            if not lossy:
                assert plain(got.chat.messages) == plain(chat.messages)
        else:
            assert getattr(got.chat, name) == differs.get(name, getattr(chat, name)), name
