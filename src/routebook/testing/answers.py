"""What the scripted provider answers: everything follows from the request, so the same request is answered the same.

A directive in the last user message says what happens, `[[name=value …]]`; without one the counts follow from the text:

    prompt, cached, written     prompt tokens, of them read from and written to the cache
    completion, reasoning       completion tokens, of them reasoning
    pieces                      pieces that the text comes in
    finish                      the native finish reason
    status                      refuse with that HTTP status, unbilled
    hang, cut, error            after that many pieces: say nothing until `release`, drop the line, report an error

A request with tools is answered with a call: of the one that `tool_choice` names, else of the first. After a tool's
result it is answered in text, unless a call is required: then with the first tool that this turn has not called. One
with a JSON schema is answered with a value of that schema. Values are what the user said where it fits, whole numbers
and texts in single quotes in their order, else something made up.
"""

from __future__ import annotations

import re
import zlib
from decimal import Context, Decimal, Inexact
from typing import Any

import msgspec

from routebook.testing.values import Said, sample
from routebook.wire import codec

_DIRECTIVE = re.compile(r"\[\[([^\]]*)\]\]")
_WORDS = "the book holds every call that was made and every token that came of it".split()
_EXACT = Context(prec=60, traps=[Inexact])


class Refusal(Exception):
    """The provider does not serve this request; `status` and the message are what it says."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A directive, read."""

    prompt: int | None = None
    cached: int = 0
    written: int = 0
    completion: int | None = None
    reasoning: int = 0
    pieces: int = 3
    finish: str | None = None
    status: int | None = None
    hang: int | None = None
    cut: int | None = None
    error: int | None = None


class Rates(msgspec.Struct, frozen=True):
    """One model's price sheet: USD per token (per request for `request`) as decimal strings."""

    prompt: str
    completion: str
    input_cache_read: str | None = None
    input_cache_write: str | None = None
    internal_reasoning: str | None = None
    request: str | None = None


class Billed(msgspec.Struct, frozen=True):
    """What one call was billed."""

    id: str
    model: str
    streamed: bool
    prompt: int
    cached: int
    written: int
    completion: int
    reasoning: int
    cost: Decimal
    whole: bool
    """False where the line broke before the answer's end; then only what was produced is billed"""


class Piece(msgspec.Struct, frozen=True):
    """One piece of an answer: members of its delta, and the completion and reasoning tokens it stands for."""

    delta: dict[str, Any]
    tokens: int = 0
    reasoning: int = 0


class Answer(msgspec.Struct, frozen=True):
    """All that will be said to one request."""

    id: str
    model: str
    streamed: bool
    reports: bool
    """the caller of a stream asked for its usage"""
    script: Script
    prompt: int
    pieces: tuple[Piece, ...]
    finish: str

    @property
    def completion(self) -> int:
        return sum(piece.tokens for piece in self.pieces)

    @property
    def reasoning(self) -> int:
        return sum(piece.reasoning for piece in self.pieces)

    def usage(self) -> dict[str, Any]:
        """The usage object of the whole answer."""
        details: dict[str, Any] = {"cached_tokens": self.script.cached}
        if self.script.written:
            details["cache_write_tokens"] = self.script.written
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": details,
            "completion_tokens_details": {"reasoning_tokens": self.reasoning},
        }


def answer(body: bytes, models: dict[str, Rates], number: int) -> Answer:
    """The answer to a request body; `number` tells apart requests with equal bodies. Raises Refusal."""
    request = _decoded(body)
    model = request.get("model")
    if model not in models:
        raise Refusal(404, f"The model `{model}` does not exist.")
    messages = request["messages"]
    script = _script(messages)
    if script.status is not None:
        raise Refusal(script.status, f"This provider was told to answer {script.status}.")
    fate = zlib.crc32(body)
    wanted = 3 + fate % 20 if script.completion is None else script.completion
    limit = request.get("max_completion_tokens") or request.get("max_tokens")
    kept = wanted if limit is None else min(wanted, limit)
    reasoning = min(script.reasoning, kept)
    pieces, finish = _pieces(request, script, fate, kept, reasoning)
    if kept < wanted:
        finish = "length"
    options = request.get("stream_options") or {}
    words = sum(len(_text_of(message).split()) + 4 for message in messages)
    return Answer(
        id=f"chatcmpl-{fate:08x}{number:04d}",
        model=model,
        streamed=bool(request.get("stream")),
        reports=bool(options.get("include_usage")),
        script=script,
        prompt=words if script.prompt is None else script.prompt,
        pieces=tuple(pieces),
        finish=script.finish or finish,
    )


def billed(answer: Answer, rates: Rates, produced: int | None = None) -> Billed:
    """The bill for a whole answer, or for the first `produced` pieces of one that broke off."""
    pieces = answer.pieces if produced is None else answer.pieces[:produced]
    completion = sum(piece.tokens for piece in pieces)
    reasoning = sum(piece.reasoning for piece in pieces)
    cached, written = answer.script.cached, answer.script.written
    counts = (
        (answer.prompt - cached - written, rates.prompt),
        (cached, rates.input_cache_read or rates.prompt),
        (written, rates.input_cache_write or rates.prompt),
        (completion - reasoning, rates.completion),
        (reasoning, rates.internal_reasoning or rates.completion),
        (1, rates.request or "0"),
    )
    cost = Decimal(0)
    for count, rate in counts:
        cost = _EXACT.add(cost, _EXACT.multiply(Decimal(count), Decimal(rate)))
    return Billed(
        id=answer.id,
        model=answer.model,
        streamed=answer.streamed,
        prompt=answer.prompt,
        cached=cached,
        written=written,
        completion=completion,
        reasoning=reasoning,
        cost=cost,
        whole=produced is None,
    )


def whole_body(answer: Answer, created: int) -> bytes:
    """The body of an answer that is not streamed."""
    message: dict[str, Any] = {"role": "assistant", "content": None}
    calls: list[dict[str, Any]] = []
    for piece in answer.pieces:
        for name, value in piece.delta.items():
            if name == "tool_calls":
                _join_calls(calls, value)
            else:
                message[name] = (message.get(name) or "") + value
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish}
    return codec.encode({**_head(answer, "chat.completion", created), "choices": [choice], "usage": answer.usage()})


def events(answer: Answer, created: int) -> tuple[list[bytes], list[bytes]]:
    """(one event for each piece, the events that end the stream)."""
    head = _head(answer, "chat.completion.chunk", created)

    def chunk(delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> bytes:
        choices = [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
        return b"data: " + codec.encode({**head, "choices": choices, **more}) + b"\n\n"

    pieces = [chunk(piece.delta) for piece in answer.pieces]
    if pieces:
        pieces[0] = chunk({"role": "assistant", "content": ""}) + pieces[0]
    end = [chunk({}, answer.finish)]
    if answer.reports:
        end.append(chunk(None, usage=answer.usage()))
    return pieces, [*end, b"data: [DONE]\n\n"]


def error_body(status: int, message: str) -> bytes:
    """An error as OpenAI writes it."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return codec.encode({"error": {"message": message, "type": kind, "param": None, "code": None}})


# --- pieces -----------------------------------------------------------------------------------------------------------


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        request = codec.decode(body)
    except codec.DecodeError as error:
        raise Refusal(400, f"The body is not JSON: {error}") from None
    if not isinstance(request, dict) or not isinstance(request.get("messages"), list) or not request["messages"]:
        raise Refusal(400, "messages: missing or empty")
    return request


def _script(messages: list[dict[str, Any]]) -> Script:
    found = _DIRECTIVE.search(_last_said(messages))
    pairs = dict(part.partition("=")[::2] for part in found[1].split()) if found else {}
    try:
        return codec.convert(pairs, Script, strict=False)
    except codec.DecodeError as error:
        raise Refusal(400, f"directive {pairs}: {error}") from None


def _last_said(messages: list[dict[str, Any]]) -> str:
    """The text of the last user message."""
    return next((_text_of(message) for message in reversed(messages) if message.get("role") == "user"), "")


def _text_of(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return " ".join(part.get("text") or "" for part in content)
    return content or ""


def _pieces(
    request: dict[str, Any], script: Script, fate: int, completion: int, reasoning: int
) -> tuple[list[Piece], str]:
    pieces: list[Piece] = []
    if reasoning:
        pieces.append(Piece({"reasoning_content": "Let me think about it."}, reasoning, reasoning))
    rest = completion - reasoning
    said = Said(_DIRECTIVE.sub("", _last_said(request["messages"])))
    if (function := _called(request)) is not None:
        return pieces + _call(function, said, fate, rest), "tool_calls"
    wanted = request.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        value = sample(wanted["json_schema"]["schema"], said)
        return [*pieces, Piece({"content": codec.encode(value).decode()}, rest)], "stop"
    count = min(script.pieces, rest)
    for place in range(count):
        word = _WORDS[(fate + place) % len(_WORDS)]
        # The first piece takes what does not divide.
        tokens = rest // count + (rest % count if place == 0 else 0)
        pieces.append(Piece({"content": word if place == 0 else f" {word}"}, tokens))
    return pieces, "stop"


def _called(request: dict[str, Any]) -> dict[str, Any] | None:
    """The function that this answer calls, if it calls one."""
    functions: list[dict[str, Any]] = [tool["function"] for tool in request.get("tools") or () if "function" in tool]
    choice = request.get("tool_choice")
    if not functions or choice == "none":
        return None
    if isinstance(choice, dict) and (named := choice.get("function")):
        return next((function for function in functions if function["name"] == named["name"]), None)
    if request["messages"][-1].get("role") != "tool":
        return functions[0]
    if choice != "required":
        return None
    done = _called_since_the_user(request["messages"])
    return next((function for function in functions if function["name"] not in done), functions[-1])


def _called_since_the_user(messages: list[dict[str, Any]]) -> set[str]:
    """Names of the functions called since somebody last said something."""
    names: set[str] = set()
    for message in reversed(messages):
        if message.get("role") == "user":
            break
        names |= {call["function"]["name"] for call in message.get("tool_calls") or ()}
    return names


def _call(function: dict[str, Any], said: Said, fate: int, tokens: int) -> list[Piece]:
    arguments = codec.encode(sample(function.get("parameters") or {"type": "object"}, said)).decode()
    half = len(arguments) // 2
    first = {"index": 0, "id": f"call_{fate:08x}", "type": "function"}
    return [
        Piece({"tool_calls": [first | {"function": {"name": function["name"], "arguments": ""}}]}, tokens),
        Piece({"tool_calls": [{"index": 0, "function": {"arguments": arguments[:half]}}]}),
        Piece({"tool_calls": [{"index": 0, "function": {"arguments": arguments[half:]}}]}),
    ]


def _join_calls(calls: list[dict[str, Any]], pieces: list[dict[str, Any]]) -> None:
    for piece in pieces:
        if piece["index"] == len(calls):
            calls.append({name: value for name, value in piece.items() if name != "index"})
        else:
            function = calls[piece["index"]]["function"]
            calls[piece["index"]]["function"] = {
                **function,
                "arguments": function["arguments"] + piece["function"]["arguments"],
            }


def _head(answer: Answer, kind: str, created: int) -> dict[str, Any]:
    return {
        "id": answer.id,
        "object": kind,
        "created": created,
        "model": answer.model,
        "system_fingerprint": "fp_scripted",
    }
