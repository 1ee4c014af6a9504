"""What the dialects cost a gateway, without sockets: `python bench/lanes.py [WORD]` prints µs of CPU, best of several.

Owns the micro-benchmarks of the lanes: reader, meter and writer for every streamed event of plain text (several in
one read, and one in a read), a whole answer of about 1 KB read and written, a request of about 1 KB read and built.
Each row is the best of ROUNDS rounds by `time.thread_time`, because the machine is shared.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from routebook.core.call import Losses
from routebook.core.catalog import Endpoint, Provider
from routebook.core.events import Failed
from routebook.core.ids import Mint
from routebook.core.money import Charge
from routebook.dialects import anthropic, gemini, openai_chat
from routebook.dialects.base import Receipt, Stamp, Upstream
from routebook.metering.meter import Meter
from routebook.wire.http import HttpHead

ROUNDS = 9
TEXT = "".join(f"word{n} " for n in range(9))
EVENTS = (50, 550)
"""content events of a short and a long answer: their difference is what an event costs, the short one what begins and
ends a stream"""
SSE = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}
STAMP = Stamp("gen-1790000000-0123456789abcdefghij", 1_790_000_000, "acme/large", "Acme")
HEADERS = {"authorization": "Bearer sk-rb-v1-0", "content-type": "application/json"}


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def chat_frames(events: int) -> list[bytes]:
    def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
        choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
        head = {"id": "chatcmpl-Bx1234567890abcdefghijklmnop", "object": "chat.completion.chunk", "created": 1_790_000}
        more = {"service_tier": "default", "system_fingerprint": "fp_0123456789", **more, "usage": more.get("usage")}
        return b"data: " + compact({**head, "model": "large-2026-01", "choices": choices, **more}) + b"\n\n"

    usage = {"prompt_tokens": 200, "completion_tokens": 100, "total_tokens": 300}
    return [
        chunk({"role": "assistant", "content": "", "refusal": None}),
        *(chunk({"content": TEXT}) for _ in range(events)),
        chunk({}, "stop"),
        re.sub(rb'"choices":\[.*?\}\]', b'"choices":[]', chunk({}, usage=usage)),
        b"data: [DONE]\n\n",
    ]


def anthropic_frames(events: int) -> list[bytes]:
    def event(kind: str, **members: Any) -> bytes:
        return b"event: %s\ndata: %s\n\n" % (kind.encode(), compact({"type": kind, **members}))

    usage = {"input_tokens": 200, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 1}
    message = {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": "large-1",
        "content": [],
        "usage": usage,
    }
    text = {"type": "text_delta", "text": TEXT}
    return [
        event("message_start", message=message),
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        *(event("content_block_delta", index=0, delta=text) for _ in range(events)),
        event("content_block_stop", index=0),
        event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 100}),
        event("message_stop"),
    ]


def gemini_frames(events: int) -> list[bytes]:
    def frame(n: int, text: str, **more: Any) -> bytes:
        usage = {"promptTokenCount": 200, "candidatesTokenCount": n, "totalTokenCount": 200 + n}
        candidate = {"content": {"parts": [{"text": text}], "role": "model"}, **more, "index": 0}
        value = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "large-1", "responseId": "r1"}
        return b"data: " + compact(value) + b"\r\n\r\n"

    return [*(frame(n, TEXT) for n in range(events + 1)), frame(events + 1, "", finishReason="STOP")]


def streamed(upstream: Upstream, frames: list[bytes], together: int, events: int) -> Callable[[], None]:
    """Everything that one streamed answer costs between two sockets."""
    head = HttpHead(200, SSE)
    reads = [b"".join(frames[at : at + together]) for at in range(0, len(frames), together)]
    receipt = Receipt(Meter().usage, Charge())

    def run() -> None:
        reader, meter = upstream.reader(head, Mint(1, "gen-x")), Meter()
        writer = openai_chat.SURFACE.writer(CALL)
        writer.start(STAMP)
        size = 0
        for data in reads:
            for event in reader.feed(data):
                if isinstance(event, Failed):
                    raise event.fault
                meter.feed(event)
                size += len(writer.feed(event))
        for event in reader.end():
            raise event.fault if isinstance(event, Failed) else AssertionError(event)
        size += len(writer.end(receipt))
        assert meter.finished
        assert meter.frames >= events
        assert size > events * 100

    return run


def whole(upstream: Upstream, body: bytes) -> Callable[[], None]:
    head = HttpHead(200, JSON)

    def run() -> None:
        reader, meter = upstream.reader(head, Mint(1, "gen-x")), Meter()
        writer = openai_chat.SURFACE.writer(UNARY_CALL)
        writer.start(STAMP)
        for event in (*reader.feed(body), *reader.end()):
            meter.feed(event)
            writer.feed(event)
        body_out = writer.end(Receipt(meter.usage, Charge()))
        assert len(body_out) > 300
        assert meter.finished

    return run


REQUEST = compact(
    {
        "model": "acme/large",
        "messages": [
            {"role": "system", "content": "You are a helpful assistant. " * 6},
            {"role": "user", "content": "Tell me about the sea and the sky, please. " * 14},
        ],
        "temperature": 0.7,
        "max_tokens": 512,
    }
)
STREAM_REQUEST = REQUEST[:-1] + b',"stream":true}'
CALL = openai_chat.SURFACE.read(STREAM_REQUEST, HEADERS)
UNARY_CALL = openai_chat.SURFACE.read(REQUEST, HEADERS)


def answers() -> dict[str, bytes]:
    text = "The sea is wide and the sky is high. " * 14
    details = {"cached_tokens": 0, "audio_tokens": 0}
    made = {"reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}
    usage = {"prompt_tokens": 200, "completion_tokens": 100, "total_tokens": 300, "prompt_tokens_details": details}
    message: dict[str, object] = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    chat = {
        "id": "chatcmpl-Bx1234567890abcdefghijklmnop",
        "object": "chat.completion",
        "created": 1_790_000,
        "model": "large-2026-01",
        "choices": [choice],
        "usage": {**usage, "completion_tokens_details": made},
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
    }
    tokens = {"input_tokens": 200, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 99}
    messages = {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": "large-1",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": tokens,
    }
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": "STOP", "index": 0}
    generated = {
        "candidates": [candidate],
        "usageMetadata": {"promptTokenCount": 200, "candidatesTokenCount": 100, "totalTokenCount": 300},
        "modelVersion": "large-1",
        "responseId": "r1",
    }
    return {"chat": compact(chat), "anthropic": compact(messages), "gemini": compact(generated)}


def endpoint(dialect: str, url: str) -> Endpoint:
    return Endpoint("a:b", "acme/large", Provider("acme", "Acme", dialect, url), "large-2026-01", "acme")


def best(run: Callable[[], object], times: int) -> float:
    """µs of CPU a run, the best of ROUNDS rounds."""
    run()
    found = []
    for _ in range(ROUNDS):
        begin = time.thread_time()
        for _ in range(times):
            run()
        found.append((time.thread_time() - begin) / times)
    return min(found) * 1e6


def main(word: str) -> None:
    lanes: tuple[tuple[str, Upstream, Callable[[int], list[bytes]], str], ...] = (
        ("chat", openai_chat.UPSTREAM, chat_frames, "https://acme.test/v1"),
        ("anthropic", anthropic.UPSTREAM, anthropic_frames, "https://acme.test"),
        ("gemini", gemini.UPSTREAM, gemini_frames, "https://acme.test/v1beta"),
    )
    bodies = answers()
    print(f"request {len(REQUEST)} bytes, answer {len(bodies['chat'])} bytes, event {len(chat_frames(1)[1])} bytes")
    for name, upstream, frames, _ in lanes:
        for together in (1, 4, 20):
            if word in f"{name} event":
                few, many = (best(streamed(upstream, frames(n), together, n), 40000 // n) for n in EVENTS)
                a, b = EVENTS
                each = (many - few) / (b - a)
                print(f"{name + f' event, {together} a read':32} {each:8.2f} µs, and {few - a * each:.1f} µs a stream")
    rows: list[tuple[str, Callable[[], object]]] = [
        (f"{name} whole answer", whole(upstream, bodies[name])) for name, upstream, _, _ in lanes
    ]
    rows.append(("request read", lambda: openai_chat.SURFACE.read(REQUEST, HEADERS)))
    for name, upstream, _, url in lanes:
        target = endpoint(upstream.name, url)
        rows.append((f"{name} request built", partial(build, upstream, target)))
    for name, run in rows:
        if word in name:
            print(f"{name:32} {best(run, 3000):8.2f} µs")


def build(upstream: Upstream, target: Endpoint) -> object:
    return upstream.build(UNARY_CALL, target, "sk-0", Losses())


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
