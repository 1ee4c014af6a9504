"""A host on loopback that answers as Bedrock, Vertex, Azure, Cohere and Ollama do, each at its own paths.

It says the same in all of them: a thought where the dialect has one, a text, one call of a function, and the same
counts. It checks what it is sent: credentials, and of Amazon's signature every byte, worked out anew with the stdlib.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from routebook.wire.aws_events import event as aws_event
from tests.loopback import Loopback

TEXT = ("Good ", "day — é")
CALL = ("call_1", "weather", {"city": "Bern"})
PROMPT, COMPLETION = 70, 30
BEARER = "bearer-secret"
ACCESS, SECRET, SESSION = "AKIDEXAMPLE", "aws-secret", "aws-session"

Said = tuple[str, bytes]
"""(content type, body)"""


class Clouds(Loopback):
    """From entering to leaving the context. `asked`: (path, body) of every request whose credential was right."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, Any]] = []
        self.signed = 0
        """requests that had Amazon's signature, and the right one"""

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
        if not self._known(path, headers, body):
            return 403, "application/json", b'{"message":"Who are you?"}'
        asked = json.loads(body)
        self.asked.append((path, asked))
        return 200, *_dialect(path)(path, asked)

    def _known(self, path: str, headers: dict[str, str], body: bytes) -> bool:
        told = headers.get("authorization", "")
        if not told.startswith("AWS4-HMAC-SHA256 "):
            return told == f"Bearer {BEARER}" or headers.get("api-key") == BEARER
        stamp = headers["x-amz-date"]
        names = ["content-type", "host", "x-amz-date", "x-amz-security-token"]
        lines = "".join(f"{name}:{headers[name]}\n" for name in names)
        digest = hashlib.sha256(body).hexdigest()
        canonical = f"POST\n{quote(path, safe='/')}\n\n{lines}\n{';'.join(names)}\n{digest}"
        scope = f"{stamp[:8]}/us-east-1/bedrock/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = f"AWS4{SECRET}".encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        want = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        right = (
            told == (f"AWS4-HMAC-SHA256 Credential={ACCESS}/{scope}, SignedHeaders={';'.join(names)}, Signature={want}")
            and headers["x-amz-security-token"] == SESSION
        )
        self.signed += right
        return right


def said(path: str, asked: Any) -> Said:
    """The answer at a path."""
    return _dialect(path)(path, asked)


def _dialect(path: str) -> Callable[[str, Any], Said]:
    if "/converse" in path:
        return _converse
    if "/invoke" in path or "awPredict" in path:
        return _claude
    if "enerateContent" in path:
        return _gemini
    if path == "/v2/chat":
        return _cohere
    return _ollama if path == "/api/chat" else _azure


def _lines(*events: Any, named: bool = False) -> Said:
    frames = [(f"event: {e['type']}\n" if named else "") + f"data: {json.dumps(e)}\n\n" for e in events]
    return "text/event-stream", "".join(frames).encode()


def _whole(value: Any) -> Said:
    return "application/json", json.dumps(value).encode()


def _converse(path: str, asked: Any) -> Said:
    usage = {"inputTokens": PROMPT, "outputTokens": COMPLETION, "totalTokens": PROMPT + COMPLETION}
    call = {"toolUseId": CALL[0], "name": CALL[1]}
    if not path.endswith("-stream"):
        content = [{"text": "".join(TEXT)}, {"toolUse": {**call, "input": CALL[2]}}]
        message = {"role": "assistant", "content": content}
        return _whole({"output": {"message": message}, "stopReason": "tool_use", "usage": usage})
    events: list[tuple[str, Any]] = [("messageStart", {"role": "assistant"})]
    events += [("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}}) for text in TEXT]
    events += [
        ("contentBlockStop", {"contentBlockIndex": 0}),
        ("contentBlockStart", {"contentBlockIndex": 1, "start": {"toolUse": call}}),
        ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"toolUse": {"input": json.dumps(CALL[2])}}}),
        ("contentBlockStop", {"contentBlockIndex": 1}),
        ("messageStop", {"stopReason": "tool_use"}),
        ("metadata", {"usage": usage, "metrics": {"latencyMs": 1}}),
    ]
    body = b"".join(aws_event(name, json.dumps(value).encode()) for name, value in events)
    return "application/vnd.amazon.eventstream", body


def _claude(path: str, asked: Any) -> Said:
    call = {"type": "tool_use", "id": CALL[0], "name": CALL[1]}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude"}
    if not path.endswith(("-stream", ":streamRawPredict")):
        content = [{"type": "text", "text": "".join(TEXT)}, {**call, "input": CALL[2]}]
        usage = {"input_tokens": PROMPT, "output_tokens": COMPLETION}
        return _whole({**message, "content": content, "stop_reason": "tool_use", "usage": usage})
    texts = [{"type": "text_delta", "text": text} for text in TEXT]
    events = [
        {"type": "message_start", "message": {**message, "content": [], "usage": {"input_tokens": PROMPT}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in texts),
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {**call, "input": {}}},
        {
            "type": "content_block_delta",
            "index": 1,
            "delta": {"type": "input_json_delta", "partial_json": json.dumps(CALL[2])},
        },
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": COMPLETION}},
        {"type": "message_stop"},
    ]
    if path.endswith(":streamRawPredict"):
        return _lines(*events, named=True)
    chunks = [{"bytes": b64encode(json.dumps(value).encode()).decode()} for value in events]
    body = b"".join(aws_event("chunk", json.dumps(value).encode()) for value in chunks)
    return "application/vnd.amazon.eventstream", body


def _gemini(path: str, asked: Any) -> Said:
    call = {"functionCall": {"id": CALL[0], "name": CALL[1], "args": CALL[2]}}
    counts = {
        "promptTokenCount": PROMPT,
        "candidatesTokenCount": COMPLETION,
        "totalTokenCount": PROMPT + COMPLETION,
    }

    def frame(*parts: Any, **more: Any) -> dict[str, Any]:
        return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, **more}], "usageMetadata": counts}

    if "streamGenerateContent" not in path:
        return _whole(frame({"text": "".join(TEXT)}, call, finishReason="STOP"))
    return _lines(*(frame({"text": text}) for text in TEXT), frame(call, finishReason="STOP"))


def _cohere(path: str, asked: Any) -> Said:
    usage = {"billed_units": {"input_tokens": PROMPT, "output_tokens": COMPLETION}}
    call = {"id": CALL[0], "type": "function", "function": {"name": CALL[1], "arguments": json.dumps(CALL[2])}}
    end = {"finish_reason": "TOOL_CALL", "usage": usage}
    if not asked["stream"]:
        content = [{"type": "text", "text": "".join(TEXT)}]
        return _whole({"id": "c", "message": {"role": "assistant", "content": content, "tool_calls": [call]}, **end})
    events: list[Any] = [{"type": "message-start", "id": "c"}]
    events += [{"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": t}}}} for t in TEXT]
    events += [
        {"type": "tool-call-start", "index": 0, "delta": {"message": {"tool_calls": call}}},
        {"type": "tool-call-end", "index": 0},
        {"type": "message-end", "delta": end},
    ]
    return _lines(*events, named=True)


def _ollama(path: str, asked: Any) -> Said:
    call = {"id": CALL[0], "function": {"name": CALL[1], "arguments": CALL[2]}}
    end = {"done": True, "done_reason": "stop", "prompt_eval_count": PROMPT, "eval_count": COMPLETION}
    head = {"model": "m", "done": False}
    if not asked["stream"]:
        message = {"role": "assistant", "content": "".join(TEXT), "tool_calls": [call]}
        return _whole({**head, "message": message, **end})
    lines: list[Any] = [{**head, "message": {"role": "assistant", "content": text}} for text in TEXT]
    lines += [{**head, "message": {"tool_calls": [call]}}, {**head, "message": {"content": ""}, **end}]
    return "application/x-ndjson", "".join(json.dumps(line) + "\n" for line in lines).encode()


def _azure(path: str, asked: Any) -> Said:
    usage = {"prompt_tokens": PROMPT, "completion_tokens": COMPLETION, "total_tokens": PROMPT + COMPLETION}
    call = {"id": CALL[0], "type": "function", "function": {"name": CALL[1], "arguments": json.dumps(CALL[2])}}
    head: dict[str, Any] = {"id": "chatcmpl-1", "model": "m"}
    if not asked.get("stream"):
        message = {"role": "assistant", "content": "".join(TEXT), "tool_calls": [call]}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls", "content_filter_results": {}}
        return _whole({**head, "choices": [choice], "usage": usage, "prompt_filter_results": []})
    deltas: list[Any] = [{"content": text} for text in TEXT] + [{"tool_calls": [{"index": 0, **call}]}]
    chunks = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    kind, body = _lines(*chunks, {**head, "choices": [], "usage": usage})
    return kind, body + b"data: [DONE]\n\n"
