"""One conversation in the words of four surfaces: how each is asked, and what each was answered, in one form."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx2

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
}
TOOL = ("weather", "The weather of a city.", SCHEMA)


@dataclass
class Heard:
    """What a caller was told."""

    text: str = ""
    thought: str = ""
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    """(id, name, arguments)"""
    finish: str | None = None
    """in the chat API's words"""
    prompt: int = 0
    completion: int = 0
    cost: Decimal | None = None


@dataclass(frozen=True)
class Result:
    """What a tool gave back for a call that was heard."""

    heard: Heard
    text: str


Turn = str | Result
"""The caller's words, or the model's turn and what its tool gave back."""


@dataclass(frozen=True)
class Tongue:
    """A surface: `asked(model, turns, stream)` is (path, body), `heard` reads an answer."""

    asked: Callable[[str, list[Turn], bool], tuple[str, dict[str, Any]]]
    heard: Callable[[httpx2.Response, bool], Heard]


def frames(response: httpx2.Response) -> list[Any]:
    """The events of a stream; money exact."""
    lines = [line for line in response.text.splitlines() if line.startswith("data: {")]
    return [json.loads(line[6:], parse_float=Decimal) for line in lines]


def whole(response: httpx2.Response) -> Any:
    return json.loads(response.text, parse_float=Decimal)


def _counted(heard: Heard, usage: dict[str, Any], prompt: str, completion: str) -> Heard:
    heard.prompt, heard.completion, heard.cost = usage[prompt], usage[completion], usage["cost"]
    return heard


# --- chat -------------------------------------------------------------------------------------------------------------


def _chat_asked(model: str, turns: list[Turn], stream: bool) -> tuple[str, dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for turn in turns:
        if isinstance(turn, str):
            messages.append({"role": "user", "content": turn})
            continue
        ((id, name, given),) = turn.heard.calls
        call = {"id": id, "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
        messages.append({"role": "assistant", "content": turn.heard.text, "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": id, "content": turn.text})
    name, about, schema = TOOL
    tools = [{"type": "function", "function": {"name": name, "description": about, "parameters": schema}}]
    body = {"model": model, "messages": messages, "tools": tools, "max_tokens": 500, "stream": stream}
    return "/api/v1/chat/completions", body


def _chat_heard(response: httpx2.Response, stream: bool) -> Heard:
    heard = Heard()
    pieces: dict[int, list[str]] = {}
    answers = frames(response) if stream else [whole(response)]
    for answer in answers:
        for choice in answer["choices"]:
            said = choice["delta" if stream else "message"]
            heard.text += said.get("content") or ""
            heard.thought += said.get("reasoning") or ""
            heard.finish = choice["finish_reason"] or heard.finish
            for place, call in enumerate(said.get("tool_calls") or ()):
                known = pieces.setdefault(call.get("index", place), ["", "", ""])
                known[0] += call.get("id") or ""
                known[1] += call["function"].get("name") or ""
                known[2] += call["function"].get("arguments") or ""
    heard.calls = [(id, name, json.loads(given)) for id, name, given in pieces.values()]
    (usage,) = [answer["usage"] for answer in answers if answer.get("usage")]
    return _counted(heard, usage, "prompt_tokens", "completion_tokens")


# --- Anthropic's messages ---------------------------------------------------------------------------------------------

_STOPS = {"end_turn": "stop", "tool_use": "tool_calls", "max_tokens": "length"}


def _messages_asked(model: str, turns: list[Turn], stream: bool) -> tuple[str, dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for turn in turns:
        if isinstance(turn, str):
            messages.append({"role": "user", "content": turn})
            continue
        ((id, name, given),) = turn.heard.calls
        said: list[dict[str, Any]] = [{"type": "text", "text": turn.heard.text}] if turn.heard.text else []
        messages.append(
            {"role": "assistant", "content": [*said, {"type": "tool_use", "id": id, "name": name, "input": given}]}
        )
        result = {"type": "tool_result", "tool_use_id": id, "content": turn.text}
        messages.append({"role": "user", "content": [result]})
    name, about, schema = TOOL
    tools = [{"name": name, "description": about, "input_schema": schema}]
    body = {"model": model, "max_tokens": 500, "messages": messages, "tools": tools, "stream": stream}
    return "/api/v1/messages", body


def _messages_heard(response: httpx2.Response, stream: bool) -> Heard:
    heard = Heard()
    if stream:
        blocks: dict[int, dict[str, Any]] = {}
        usage: dict[str, Any] = {}
        for event in frames(response):
            kind = event["type"]
            if kind == "content_block_start":
                blocks[event["index"]] = {**event["content_block"], "json": ""}
            elif kind == "content_block_delta":
                block, delta = blocks[event["index"]], event["delta"]
                for name in ("text", "thinking"):
                    block[name] = block.get(name, "") + delta.get(name, "")
                block["json"] += delta.get("partial_json", "")
            elif kind == "message_delta":
                usage, heard.finish = event["usage"], _STOPS[event["delta"]["stop_reason"]]
        content = list(blocks.values())
        for block in content:
            if block["type"] == "tool_use":
                block["input"] = json.loads(block["json"])
    else:
        message = whole(response)
        content, usage, heard.finish = message["content"], message["usage"], _STOPS[message["stop_reason"]]
    heard.text = "".join(block["text"] for block in content if block["type"] == "text")
    heard.thought = "".join(block["thinking"] for block in content if block["type"] == "thinking")
    heard.calls = [(b["id"], b["name"], b["input"]) for b in content if b["type"] == "tool_use"]
    return _counted(heard, usage, "input_tokens", "output_tokens")


# --- responses --------------------------------------------------------------------------------------------------------


def _responses_asked(model: str, turns: list[Turn], stream: bool) -> tuple[str, dict[str, Any]]:
    items: list[dict[str, Any]] = []
    for turn in turns:
        if isinstance(turn, str):
            items.append({"role": "user", "content": turn})
            continue
        ((id, name, given),) = turn.heard.calls
        if turn.heard.text:
            items.append({"role": "assistant", "content": turn.heard.text})
        items.append({"type": "function_call", "call_id": id, "name": name, "arguments": json.dumps(given)})
        items.append({"type": "function_call_output", "call_id": id, "output": turn.text})
    name, about, schema = TOOL
    tools = [{"type": "function", "name": name, "description": about, "parameters": schema}]
    body = {"model": model, "input": items, "tools": tools, "max_output_tokens": 500, "stream": stream}
    return "/api/v1/responses", body


def _responses_heard(response: httpx2.Response, stream: bool) -> Heard:
    heard = Heard()
    if stream:
        events = frames(response)
        assert events[-1]["type"] == "response.completed", events[-1]
        answer = events[-1]["response"]
        streamed = "".join(each["delta"] for each in events if each["type"] == "response.output_text.delta")
    else:
        answer, streamed = whole(response), None
    for item in answer["output"]:
        if item["type"] == "message":
            heard.text += "".join(part["text"] for part in item["content"])
        elif item["type"] == "reasoning":
            parts = [*item.get("summary", ()), *(item.get("content") or ())]
            heard.thought += "".join(part["text"] for part in parts)
        elif item["type"] == "function_call":
            heard.calls.append((item["call_id"], item["name"], json.loads(item["arguments"])))
    assert streamed in (None, heard.text), "the pieces of the text are the text"
    heard.finish = "tool_calls" if heard.calls else "stop"
    assert answer["status"] == "completed"
    return _counted(heard, answer["usage"], "input_tokens", "output_tokens")


# --- Gemini -----------------------------------------------------------------------------------------------------------


def _gemini_asked(model: str, turns: list[Turn], stream: bool) -> tuple[str, dict[str, Any]]:
    contents: list[dict[str, Any]] = []
    for turn in turns:
        if isinstance(turn, str):
            contents.append({"role": "user", "parts": [{"text": turn}]})
            continue
        ((id, name, given),) = turn.heard.calls
        said: list[dict[str, Any]] = [{"text": turn.heard.text}] if turn.heard.text else []
        contents.append({"role": "model", "parts": [*said, {"functionCall": {"id": id, "name": name, "args": given}}]})
        result = {"id": id, "name": name, "response": {"result": turn.text}}
        contents.append({"role": "user", "parts": [{"functionResponse": result}]})
    name, about, schema = TOOL
    tools = [{"functionDeclarations": [{"name": name, "description": about, "parametersJsonSchema": schema}]}]
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    wish = {"maxOutputTokens": 500, "thinkingConfig": {"includeThoughts": True}}
    body = {"contents": contents, "tools": tools, "generationConfig": wish}
    return f"/v1beta/models/{model}:{method}", body


def _gemini_heard(response: httpx2.Response, stream: bool) -> Heard:
    heard = Heard()
    answers = frames(response) if stream else [whole(response)]
    for answer in answers:
        for candidate in answer.get("candidates", ()):
            for part in candidate.get("content", {}).get("parts", ()):
                if part.get("thought"):
                    heard.thought += part.get("text", "")
                else:
                    heard.text += part.get("text", "")
                if (call := part.get("functionCall")) is not None:
                    heard.calls.append((call["id"], call["name"], call["args"]))
            heard.finish = candidate.get("finishReason") or heard.finish
    assert heard.finish in ("STOP", "FUNCTION_CALL"), heard.finish  # the second is aimock's alone
    heard.finish = "tool_calls" if heard.calls else "stop"
    return _counted(heard, answers[-1]["usageMetadata"], "promptTokenCount", "candidatesTokenCount")


TONGUES = {
    "chat": Tongue(_chat_asked, _chat_heard),
    "messages": Tongue(_messages_asked, _messages_heard),
    "responses": Tongue(_responses_asked, _responses_heard),
    "gemini": Tongue(_gemini_asked, _gemini_heard),
}
