"""Answers in Anthropic's dialect, written by hand, and their reading in three ways: shared by the reader's tests."""

from __future__ import annotations

import json
from typing import Any

from routebook.core.events import Counted, Delta, Event, Failed
from routebook.core.ids import Mint
from routebook.core.usage import Usage
from routebook.dialects.anthropic import UPSTREAM
from routebook.wire.http import HttpHead
from tests.dialects.plainest import plainest

STREAM = HttpHead(200, {"content-type": "text/event-stream; charset=utf-8"})
JSON = HttpHead(200, {"content-type": "application/json"})

Frame = dict[str, Any]


def stream(*frames: Frame) -> bytes:
    return b"".join(
        b"event: " + frame["type"].encode() + b"\ndata: " + json.dumps(frame).encode() + b"\n\n" for frame in frames
    )


def start(**usage: Any) -> Frame:
    message: Frame = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-test-1",
        "content": [],
        "stop_reason": None,
        "usage": {"input_tokens": 10, "output_tokens": 1, **usage},
    }
    return {"type": "message_start", "message": message}


def opens(index: int, **block: Any) -> Frame:
    return {"type": "content_block_start", "index": index, "content_block": block}


def gives(index: int, **delta: Any) -> Frame:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def closes(index: int) -> Frame:
    return {"type": "content_block_stop", "index": index}


def stops(reason: str | None, usage: dict[str, Any] | None = None, **delta: Any) -> Frame:
    frame: Frame = {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None, **delta}}
    if usage is not None:
        frame["usage"] = usage
    return frame


END: Frame = {"type": "message_stop"}
SAID = (opens(0, type="text", text=""), gives(0, type="text_delta", text="Hi"), closes(0))


def pieces(head: HttpHead, parts: list[bytes]) -> list[Event]:
    reader = UPSTREAM.reader(head, Mint(1_790_000_000, "gen-test"))
    out: list[Event] = []
    for part in parts:
        out += reader.feed(part)
    return plainest([*out, *reader.end()])


def comparable(events: list[Event]) -> list[Any]:
    return [(type(e.fault), e.fault.message, e.fault.status) if isinstance(e, Failed) else e for e in events]


def read(body: bytes, head: HttpHead = STREAM, *, ended: bool = True) -> list[Event]:
    """All events; the three ways must agree. `ended`: the body has its end mark, so junk after it changes nothing."""
    whole = pieces(head, [body])
    assert comparable(pieces(head, [body[i : i + 1] for i in range(len(body))])) == comparable(whole)
    if ended:
        junk = b"\n\ndata: {broken\n\nevent: error\ndata: {}\n\n}{ \xff\x00"
        assert comparable(pieces(head, [body, junk])) == comparable(whole)
        assert comparable(pieces(head, [body + junk])) == comparable(whole)
    return whole


def message(*content: Frame, stop: str | None = "end_turn", **members: Any) -> bytes:
    usage = {"input_tokens": 3, "output_tokens": 4}
    whole = {"id": "msg_2", "type": "message", "role": "assistant", "model": "claude-test-1", "content": list(content)}
    return json.dumps({**whole, "stop_reason": stop, "stop_sequence": None, "usage": usage, **members}).encode()


def only(events: list[Event], kind: type[Any]) -> Any:
    found = [event for event in events if isinstance(event, kind)]
    assert len(found) == 1, events
    return found[0]


def deltas(events: list[Event]) -> list[Delta]:
    return [event for event in events if isinstance(event, Delta)]


def last_usage(events: list[Event]) -> Usage:
    return [event for event in events if isinstance(event, Counted)][-1].usage
