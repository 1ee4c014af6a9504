"""The mock's answers in the dialects that it does not speak by itself, as files of ready bytes that it is given.

Each says what the mock says in the two dialects it has: a whole answer, and a stream of 100 words. A file is a list of
pieces, each a line `<bytes> <1 if a paced stream pauses before it>`, the bytes, and a line feed: the whole answer with
its head, the head of the stream, and the stream's events as they leave.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from routebook.wire.aws_events import event as aws_event

PROMPT, WHOLE, STREAMED = 212, 96, 200
"""tokens of the prompt, of the whole answer, of the streamed one"""
PROSE = " ".join(f"Every entry stands where it was written, line {n:02d}." for n in range(12))
WORDS = 100
"""content events of a stream of the mock; event k says " word<k>" """
TEXTS = [f" word{k:02d}" for k in range(WORDS)]
SSE = "text/event-stream; charset=utf-8"


@dataclass(frozen=True)
class Prepared:
    """One dialect: what its paths have in them, and what is answered there."""

    dialect: str
    base: str
    """of a provider's URL, behind the port"""
    whole_at: str
    streamed_at: str
    """what the path of a request for either has in it; the same where the body says `"stream": true`"""
    whole: bytes
    kind: str
    """content type of the stream"""
    events: tuple[tuple[bytes, bool], ...]
    """(bytes, whether it is one of the words)"""

    def write(self, folder: Path) -> list[str]:
        """The files, as options of the mock."""
        options: list[str] = []
        for mark in dict.fromkeys((self.streamed_at, self.whole_at)):
            path = folder / f"{self.dialect}-{len(options)}"
            streams = mark == self.streamed_at
            pieces = [(_head("application/json", len(self.whole)) + self.whole, False)]
            if streams:
                pieces.append((_head(self.kind, None), False))
                pieces += [(b"%x\r\n%s\r\n" % (len(data), data), waits) for data, waits in self.events]
            if streams and self.whole_at != self.streamed_at:
                pieces[0] = (b"", False)  # nothing but streams at this path
            path.write_bytes(b"".join(b"%d %d\n%s\n" % (len(data), waits, data) for data, waits in pieces))
            options += ["-a", f"{mark}={path}"]
        return options


def _head(kind: str, length: int | None) -> bytes:
    framed = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return (
        "HTTP/1.1 200 OK\r\nDate: Mon, 05 Jan 2026 10:00:00 GMT\r\nServer: bench\r\n"
        f"x-request-id: req_8f14e45fceea167a5a36dedd4bea2543\r\nContent-Type: {kind}\r\n{framed}\r\n\r\n"
    ).encode()


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _sse(value: Any, name: str | None = None) -> bytes:
    named = b"" if name is None else b"event: %s\n" % name.encode()
    return named + b"data: %s\n\n" % _json(value)


def _with_words(before: list[bytes], words: list[bytes], after: list[bytes]) -> tuple[tuple[bytes, bool], ...]:
    waits = [(data, n > 0) for n, data in enumerate(words)]
    return (*((data, False) for data in before), *waits, *((data, n == 0) for n, data in enumerate(after)))


def _responses() -> Prepared:
    def usage(made: int) -> dict[str, Any]:
        return {
            "input_tokens": PROMPT, "output_tokens": made, "total_tokens": PROMPT + made,
            "input_tokens_details": {"cached_tokens": 128}, "output_tokens_details": {"reasoning_tokens": 0},
        }  # fmt: skip

    def answer(status: str, text: str, made: int | None) -> dict[str, Any]:
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        item = {"id": "msg_1", "type": "message", "status": status, "role": "assistant", "content": [part]}
        return {
            "id": "resp_1", "object": "response", "created_at": 1767607200, "status": status, "error": None,
            "model": "mock-large-2026-01", "output": [] if made is None else [item],
            "usage": None if made is None else usage(made), "service_tier": "default",
        }  # fmt: skip

    number = iter(range(1000))

    def event(kind: str, **members: Any) -> bytes:
        return _sse({"type": kind, "sequence_number": next(number), **members}, kind)

    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    item = {"id": "msg_1", "type": "message", "status": "in_progress", "role": "assistant", "content": []}
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    whole = "".join(TEXTS)
    ended = answer("completed", whole, STREAMED)
    before = [
        event("response.created", response=answer("in_progress", "", None)),
        event("response.in_progress", response=answer("in_progress", "", None)),
        event("response.output_item.added", output_index=0, item=item),
        event("response.content_part.added", **at, part=part),
    ]
    words = [event("response.output_text.delta", **at, delta=text, logprobs=[]) for text in TEXTS]
    after = [
        event("response.output_text.done", **at, text=whole, logprobs=[]),
        event("response.content_part.done", **at, part={**part, "text": whole}),
        event("response.output_item.done", output_index=0, item=ended["output"][0]),
        event("response.completed", response=ended),
    ]
    body = _json(answer("completed", PROSE, WHOLE))
    return Prepared(
        "openai_responses", "/v1", "/responses ", "/responses ", body, SSE, _with_words(before, words, after)
    )


def _converse() -> Prepared:
    def usage(made: int) -> dict[str, Any]:
        return {"inputTokens": PROMPT - 128, "outputTokens": made, "totalTokens": PROMPT + made,
                "cacheReadInputTokens": 128}  # fmt: skip

    message = {"role": "assistant", "content": [{"text": PROSE}]}
    whole = {"output": {"message": message}, "stopReason": "end_turn", "usage": usage(WHOLE),
             "metrics": {"latencyMs": 412}}  # fmt: skip

    def event(name: str, value: Any) -> bytes:
        return aws_event(name, _json(value))

    words = [event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}}) for text in TEXTS]
    after = [
        event("contentBlockStop", {"contentBlockIndex": 0}),
        event("messageStop", {"stopReason": "end_turn"}),
        event("metadata", {"usage": usage(STREAMED), "metrics": {"latencyMs": 412}}),
    ]
    events = _with_words([event("messageStart", {"role": "assistant"})], words, after)
    kind = "application/vnd.amazon.eventstream"
    return Prepared("bedrock", "", "/converse ", "/converse-stream ", _json(whole), kind, events)


def _gemini() -> Prepared:
    def frame(text: str, made: int, **more: Any) -> dict[str, Any]:
        candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0, **more}
        counts = {"promptTokenCount": PROMPT, "candidatesTokenCount": made, "totalTokenCount": PROMPT + made,
                  "cachedContentTokenCount": 128}  # fmt: skip
        return {"candidates": [candidate], "usageMetadata": counts, "modelVersion": "mock-large", "responseId": "r1"}

    words = [_sse(frame(text, 2 * n + 2)) for n, text in enumerate(TEXTS)]
    after = [_sse(frame("", STREAMED, finishReason="STOP"))]
    whole = _json(frame(PROSE, WHOLE, finishReason="STOP"))
    at = (":generateContent", ":streamGenerateContent")
    return Prepared("gemini", "/v1beta", *at, whole, SSE, _with_words([], words, after))


def _cohere() -> Prepared:
    def usage(made: int) -> dict[str, Any]:
        counts = {"input_tokens": PROMPT, "output_tokens": made}
        return {"billed_units": counts, "tokens": counts, "cached_tokens": 128}

    message = {"role": "assistant", "content": [{"type": "text", "text": PROSE}]}
    whole = {"id": "c1", "message": message, "finish_reason": "COMPLETE", "usage": usage(WHOLE)}

    def event(kind: str, **members: Any) -> bytes:
        return _sse({"type": kind, **members}, kind)

    start = {"message": {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}}
    before = [
        event("message-start", id="c1", delta=start),
        event("content-start", index=0, delta={"message": {"content": {"type": "text", "text": ""}}}),
    ]
    words = [event("content-delta", index=0, delta={"message": {"content": {"text": text}}}) for text in TEXTS]
    after = [
        event("content-end", index=0),
        event("message-end", delta={"finish_reason": "COMPLETE", "usage": usage(STREAMED)}),
    ]
    return Prepared("cohere", "", "/v2/chat ", "/v2/chat ", _json(whole), SSE, _with_words(before, words, after))


def _ollama() -> Prepared:
    head = {"model": "mock-large", "created_at": "2026-01-05T10:00:00Z"}

    def line(text: str, **more: Any) -> bytes:
        return _json({**head, "message": {"role": "assistant", "content": text}, "done": False, **more}) + b"\n"

    def end(made: int) -> dict[str, Any]:
        return {
            "done": True,
            "done_reason": "stop",
            "total_duration": 4,
            "prompt_eval_count": PROMPT,
            "eval_count": made,
        }

    words = [line(text) for text in TEXTS]
    events = _with_words([], words, [line("", **end(STREAMED))])
    whole = line(PROSE, **end(WHOLE)).strip()
    return Prepared("ollama", "", "/api/chat ", "/api/chat ", whole, "application/x-ndjson", events)


PREPARED = (_responses(), _converse(), _gemini(), _cohere(), _ollama())
