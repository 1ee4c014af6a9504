"""One turn of a model in the words of four dialects, whole or streamed, as their vendors' pages show them.

Read 2026-11: platform.claude.com "Streaming messages"; platform.openai.com "Responses: streaming events" and "Chat: the
chunk object"; ai.google.dev "Thought signatures". Part of `turns.py`.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.acceptance.turns import Say

FRESH, CACHED, COMPLETION = 200, 1000, 30
"""Tokens of every turn: prompt that was not cached, prompt that was, and what the model said."""
PROMPT = FRESH + CACHED
STREAM = "text/event-stream"


def sealed(thought: str) -> str:
    """What a provider gives with a thought so that it knows it again."""
    return b64encode(f"sealed: {thought}".encode()).decode()


def lines(events: Iterator[dict[str, Any]] | list[dict[str, Any]]) -> bytes:
    return "".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in events).encode()


def given(call: tuple[str, dict[str, Any] | str], tools: list[dict[str, Any]]) -> dict[str, Any]:
    """A call's input as members. A text goes into the one member that the tool's schema asks for."""
    name, value = call
    if not isinstance(value, str):
        return value
    functions = [tool.get("function", tool) for tool in tools]
    (schema,) = [each.get("parameters") or each.get("input_schema") for each in functions if each.get("name") == name]
    (member,) = schema["required"]
    return {member: value}


def tools_of(asked: dict[str, Any]) -> list[dict[str, Any]]:
    """The tools of a request; in the responses API some may stand among the items."""
    items = asked.get("input") or ()
    more = [tool for item in items if isinstance(item, dict) for tool in item.get("tools") or ()]
    return [*(asked.get("tools") or ()), *more]


# --- Anthropic --------------------------------------------------------------------------------------------------------


def anthropic(say: Say, asked: dict[str, Any], number: int) -> tuple[str, bytes]:
    blocks: list[dict[str, Any]] = []
    if say.thought:
        hidden = (asked.get("thinking") or {}).get("display") == "omitted"
        thought = "" if hidden else say.thought
        blocks.append({"type": "thinking", "thinking": thought, "signature": sealed(say.thought)})
    if say.text:
        blocks.append({"type": "text", "text": say.text})
    if say.call is not None:
        members = given(say.call, asked.get("tools") or [])
        blocks.append({"type": "tool_use", "id": f"toolu_{number:04}", "name": say.call[0], "input": members})
    usage = {
        "input_tokens": FRESH,
        "cache_read_input_tokens": CACHED,
        "cache_creation_input_tokens": 0,
        "output_tokens": COMPLETION,
        "service_tier": "standard",
    }
    message = {
        "id": f"msg_{number:04}",
        "type": "message",
        "role": "assistant",
        "model": asked["model"],
        "content": blocks,
        "stop_reason": "end_turn" if say.call is None else "tool_use",
        "stop_sequence": None,
        "usage": usage,
    }
    if not asked.get("stream"):
        return "application/json", json.dumps(message).encode()
    return STREAM, lines(_events(message))


_EMPTY: dict[str, dict[str, Any]] = {
    "thinking": {"thinking": "", "signature": ""},
    "text": {"text": ""},
    "tool_use": {"input": {}},
}


def _events(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    begun = {**message, "content": [], "stop_reason": None, "usage": {**message["usage"], "output_tokens": 1}}
    yield {"type": "message_start", "message": begun}
    yield {"type": "ping"}
    for index, block in enumerate(message["content"]):
        kind = block["type"]
        yield {"type": "content_block_start", "index": index, "content_block": {**block, **_EMPTY[kind]}}
        deltas: list[dict[str, Any]]
        if kind == "tool_use":
            text = json.dumps(block["input"])
            halves = ("", text[: len(text) // 2], text[len(text) // 2 :])
            deltas = [{"type": "input_json_delta", "partial_json": half} for half in halves]
        elif kind == "thinking":
            deltas = [{"type": "thinking_delta", "thinking": block["thinking"]}] if block["thinking"] else []
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        else:
            deltas = [{"type": "text_delta", "text": piece} for piece in _pieces(block["text"])]
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    ended = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield {"type": "message_delta", "delta": ended, "usage": message["usage"]}
    yield {"type": "message_stop"}


def _pieces(text: str) -> list[str]:
    """A text in its words, with the spaces between them."""
    head, *rest = text.split(" ")
    return [head, *(f" {word}" for word in rest)]


# --- OpenAI's responses -----------------------------------------------------------------------------------------------


def responses(say: Say, asked: dict[str, Any], number: int) -> tuple[str, bytes]:
    items: list[dict[str, Any]] = []
    if say.thought:
        summary = [{"type": "summary_text", "text": say.thought}]
        item = {"type": "reasoning", "id": f"rs_{number}", "summary": summary}
        if "reasoning.encrypted_content" in (asked.get("include") or ()):
            item["encrypted_content"] = sealed(say.thought)
        items.append(item)
    if say.text:
        part = {"type": "output_text", "text": say.text, "annotations": [], "logprobs": []}
        head = {"type": "message", "id": f"msg_{number}", "role": "assistant", "status": "completed"}
        items.append({**head, "content": [part]})
    if say.call is not None:
        items.append(_call(say.call, tools_of(asked), number))
    usage = {
        "input_tokens": PROMPT,
        "input_tokens_details": {"cached_tokens": CACHED},
        "output_tokens": COMPLETION,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": PROMPT + COMPLETION,
    }
    response = {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": 1_790_000_000,
        "status": "completed",
        "model": asked["model"],
        "output": items,
        "error": None,
        "incomplete_details": None,
        "store": False,
        "usage": usage,
    }
    if not asked.get("stream"):
        return "application/json", json.dumps(response).encode()
    events = [{**event, "sequence_number": place} for place, event in enumerate(_response_events(response))]
    return STREAM, lines(events)


def _call(call: tuple[str, dict[str, Any] | str], tools: list[dict[str, Any]], number: int) -> dict[str, Any]:
    """A call of a function or of a tool of free text; a function in a namespace says which."""
    name, value = call
    head = {"call_id": f"call_{number:04}", "name": name, "status": "completed"}
    for space in tools:
        if any(each.get("name") == name for each in space.get("tools") or ()):
            head["namespace"] = space["name"]
    if isinstance(value, str):
        return {"type": "custom_tool_call", "id": f"ctc_{number}", "input": value, **head}
    return {"type": "function_call", "id": f"fc_{number}", "arguments": json.dumps(value), **head}


def _response_events(response: dict[str, Any]) -> Iterator[dict[str, Any]]:
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for place, item in enumerate(response["output"]):
        at = {"output_index": place, "item_id": item["id"]}
        empty = {"status": "in_progress"} if "status" in item else {}
        for member in ("content", "summary"):
            if member in item:
                empty[member] = []  # type: ignore[assignment]
        for member in ("arguments", "input"):
            if member in item:
                empty[member] = ""
        yield {"type": "response.output_item.added", "output_index": place, "item": {**item, **empty}}
        for event in _inside(item):
            yield {**at, **event}
        yield {"type": "response.output_item.done", "output_index": place, "item": item}
    yield {"type": "response.completed", "response": response}


def _inside(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The events of one item, without its place."""
    if item["type"] == "reasoning":
        (part,) = item["summary"]
        yield {"type": "response.reasoning_summary_part.added", "summary_index": 0, "part": {**part, "text": ""}}
        yield {"type": "response.reasoning_summary_text.delta", "summary_index": 0, "delta": part["text"]}
        yield {"type": "response.reasoning_summary_text.done", "summary_index": 0, "text": part["text"]}
        yield {"type": "response.reasoning_summary_part.done", "summary_index": 0, "part": part}
    elif item["type"] == "message":
        (part,) = item["content"]
        yield {"type": "response.content_part.added", "content_index": 0, "part": {**part, "text": ""}}
        for piece in _pieces(part["text"]):
            yield {"type": "response.output_text.delta", "content_index": 0, "delta": piece, "logprobs": []}
        yield {"type": "response.output_text.done", "content_index": 0, "text": part["text"], "logprobs": []}
        yield {"type": "response.content_part.done", "content_index": 0, "part": part}
    elif item["type"] == "function_call":
        yield {"type": "response.function_call_arguments.delta", "delta": item["arguments"]}
        yield {"type": "response.function_call_arguments.done", "arguments": item["arguments"]}
    else:
        yield {"type": "response.custom_tool_call_input.delta", "delta": item["input"]}
        yield {"type": "response.custom_tool_call_input.done", "input": item["input"]}


# --- OpenAI's chat ----------------------------------------------------------------------------------------------------


def chat(say: Say, asked: dict[str, Any], number: int) -> tuple[str, bytes]:
    message: dict[str, Any] = {"role": "assistant", "content": say.text or None}
    if say.thought:
        message["reasoning_content"] = say.thought
    if say.call is not None:
        function = {"name": say.call[0], "arguments": json.dumps(given(say.call, asked.get("tools") or []))}
        message["tool_calls"] = [{"id": f"call_{number:04}", "type": "function", "function": function}]
    finish = "stop" if say.call is None else "tool_calls"
    usage = {
        "prompt_tokens": PROMPT,
        "completion_tokens": COMPLETION,
        "total_tokens": PROMPT + COMPLETION,
        "prompt_tokens_details": {"cached_tokens": CACHED},
    }
    head: dict[str, Any] = {"id": f"chatcmpl-{number}", "created": 1_790_000_000, "model": asked["model"]}
    if not asked.get("stream"):
        choice = {"index": 0, "message": message, "finish_reason": finish}
        whole = {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
        return "application/json", json.dumps(whole).encode()
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    if say.thought:
        deltas.append({"reasoning_content": say.thought})
    deltas += [{"content": piece} for piece in _pieces(say.text)]
    deltas += [{"tool_calls": [{"index": 0, **call}]} for call in message.get("tool_calls", ())]
    choices: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": finish})
    chunks: list[dict[str, Any]] = [
        {**head, "object": "chat.completion.chunk", "choices": [choice]} for choice in choices
    ]
    chunks.append({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
    return STREAM, "".join(f"data: {json.dumps(each)}\n\n" for each in chunks).encode() + b"data: [DONE]\n\n"


# --- Gemini -----------------------------------------------------------------------------------------------------------


def gemini(say: Say, asked: dict[str, Any], number: int) -> tuple[str, bytes]:
    parts: list[dict[str, Any]] = []
    if say.thought and asked.get("generationConfig", {}).get("thinkingConfig", {}).get("includeThoughts"):
        parts.append({"text": say.thought, "thought": True})
    if say.text:
        parts.append({"text": say.text})
    if say.call is not None:
        functions = [each for tool in asked.get("tools") or () for each in tool.get("functionDeclarations") or ()]
        schemas = [{"name": each["name"], "parameters": each.get("parametersJsonSchema")} for each in functions]
        parts.append({"functionCall": {"name": say.call[0], "args": given(say.call, schemas)}})
    # The signature stands on the call, and on the last part where nothing is called (ai.google.dev, read 2026-11).
    parts[-1]["thoughtSignature"] = sealed(say.thought)
    usage = {
        "promptTokenCount": PROMPT,
        "cachedContentTokenCount": CACHED,
        "candidatesTokenCount": COMPLETION,
        "totalTokenCount": PROMPT + COMPLETION,
    }
    head = {"modelVersion": asked["model"], "responseId": f"r{number}", "usageMetadata": usage}

    def frame(parts: list[dict[str, Any]], **end: Any) -> dict[str, Any]:
        return {"candidates": [{"content": {"role": "model", "parts": parts}, "index": 0, **end}], **head}

    if not asked["stream"]:
        return "application/json", json.dumps(frame(parts, finishReason="STOP")).encode()
    frames = [*(frame([part]) for part in parts[:-1]), frame(parts[-1:], finishReason="STOP")]
    return STREAM, "".join(f"data: {json.dumps(each)}\n\n" for each in frames).encode()


SAID: dict[str, Callable[[Say, dict[str, Any], int], tuple[str, bytes]]] = {
    "anthropic": anthropic,
    "openai_responses": responses,
    "openai_chat": chat,
    "gemini": gemini,
}
