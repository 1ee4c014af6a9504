"""Anthropic Messages, answers to callers: a message's stream of events, or the whole message.

Part of the dialect in `anthropic.py`. What a provider of the same dialect wrote is written as it came, with `id`,
`model` and usage put in (`core.events.Native`); all else is made of canonical events by `anthropic_blocks`.
Sources: inference API, sections 4b and 17; platform.claude.com "Streaming messages", "Stop reasons", read 2026-11.
"""

from __future__ import annotations

from typing import Any

import msgspec

from routebook.core.errors import Fault
from routebook.core.events import Counted, Delta, Event, Finish, Native, Plain, Start, Whole
from routebook.core.usage import Usage
from routebook.dialects.anthropic_blocks import Blocks, Step, ended, grown
from routebook.dialects.anthropic_receipt import charged, error_object, usage_object
from routebook.dialects.base import Receipt, Stamp
from routebook.wire import codec, sse
from routebook.wire.text import texts

NAME = "anthropic"
PING = b'event: ping\ndata: {"type":"ping"}\n\n'
_NOBODY = Stamp("", 0, "", None)


# --- how an answer ended ----------------------------------------------------------------------------------------------

_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_NATIVE = frozenset(
    "end_turn max_tokens model_context_window_exceeded stop_sequence tool_use pause_turn refusal compaction".split()
)


def ending(finish: Finish | None) -> dict[str, Any]:
    """stop_reason, stop_sequence, stop_details and container; a reason that this dialect has no word for is null."""
    if finish is None:
        return {"stop_reason": None, "stop_sequence": None, "stop_details": None, "container": None}
    reason = finish.native if finish.native in _NATIVE else _REASONS.get(finish.reason)
    if reason == "end_turn" and finish.stop_sequence is not None:
        reason = "stop_sequence"
    if finish.reason == "tool_calls" and reason in ("end_turn", "stop_sequence"):
        reason = "tool_use"
    details = {"type": "refusal", "category": None, "explanation": finish.message} if reason == "refusal" else None
    return {
        "stop_reason": reason,
        "stop_sequence": finish.stop_sequence if reason == "stop_sequence" else None,
        "stop_details": details,
        "container": None,
    }


def message_id(stamp: Stamp) -> str:
    """`msg_…` of a generation id: the same digits and letters, without what stands between them."""
    return "msg_" + stamp.id.removeprefix("gen-").replace("-", "")


def _opening(stamp: Stamp, usage: dict[str, Any]) -> dict[str, Any]:
    """A message that has nothing in it yet."""
    message: dict[str, Any] = {"id": message_id(stamp), "type": "message", "role": "assistant", "model": stamp.model}
    if stamp.provider is not None:
        message["provider"] = stamp.provider
    return {**message, "content": [], **ending(None), "usage": usage}


# --- streams ----------------------------------------------------------------------------------------------------------


class _Opened(msgspec.Struct, frozen=True):
    type: str = ""


class _Frame(msgspec.Struct, frozen=True):
    index: int = 0
    content_block: _Opened = _Opened()


_frame = codec.decoder(_Frame)

_TEXT_END = b'"}}\n\n'


class StreamWriter:
    """Events; see dialects.base.Writer."""

    content_type = "text/event-stream"

    def __init__(self, exclude: bool = False) -> None:
        self._exclude = exclude
        self._stamp = _NOBODY
        self._blocks = Blocks("", exclude)
        self._begun = False
        self._own = False
        """the provider speaks this dialect: its events are written as they are"""
        self._text_at: int | None = None
        """the block that text belongs to, where it may be written without further looks"""
        self._text_head = b""
        self._tier: str | None = None
        self._usage = Usage()
        self._finish: Finish | None = None
        self._more: dict[str, Any] = {}
        """what the provider's own end of the message says beside the reason"""
        self._failed = False

    def start(self, stamp: Stamp) -> None:
        self._stamp = stamp
        self._blocks = Blocks(stamp.id.rpartition("-")[2], self._exclude)

    def feed(self, event: Event) -> bytes:
        if isinstance(event, Plain):
            return self._plain(event)
        if isinstance(event, Whole):
            return b"".join([self.feed(part) for part in event.parts()])
        if isinstance(event, Delta):
            return self._delta(event)
        if isinstance(event, Finish):
            if event.index == 0:
                self._finish = event
        elif isinstance(event, Counted):
            self._usage = event.usage
        elif isinstance(event, Start) and event.service_tier is not None:
            self._tier = event.service_tier
        return b""

    def _plain(self, event: Plain) -> bytes:
        if event.index:
            return b""
        if self._text_at is None:
            return b"".join([self._delta(Delta(text=piece)) for piece in texts(event)])
        head = self._text_head
        return head + (_TEXT_END + head).join(event.texts) + _TEXT_END

    def _delta(self, event: Delta) -> bytes:
        native = event.native
        if native is not None and native.dialect == NAME:
            return self._native(native)
        if event.index or not (event.content or event.annotations):
            return b""
        if self._own and event.text and self._text_at is not None:
            return self._text_head + codec.encode(event.text)[1:-1] + _TEXT_END
        return self._begin() + self._steps(self._blocks.feed(event))

    def _begin(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        message = _opening(self._stamp, usage_object(self._usage, self._tier))
        return _event("message_start", {"message": message})

    def _steps(self, steps: list[Step]) -> bytes:
        if not steps:
            return b""
        out = []
        for kind, index, value in steps:
            if kind == "delta":
                out.append(_event("content_block_delta", {"index": index, "delta": value}))
            elif kind == "start":
                out.append(_event("content_block_start", {"index": index, "content_block": value}))
            else:
                out.append(_event("content_block_stop", {"index": index}))
        self._text_in(self._blocks.index if self._blocks.in_text else None)
        return b"".join(out)

    def _text_in(self, index: int | None) -> None:
        if index != self._text_at and index is not None:
            self._text_head = (
                b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
                b'"delta":{"type":"text_delta","text":"' % index
            )
        self._text_at = index

    # --- the provider's own words -------------------------------------------------------------------------------------

    def _native(self, native: Native) -> bytes:
        kind, data = native.kind, native.data
        if not data:
            return b""  # said with the event before it
        if kind == "message_start":
            return self._own_start(data)
        if kind == "message_delta":
            found = codec.decode_exact(data)
            self._more |= {name: value for name, value in found.items() if name not in ("type", "delta", "usage")}
            self._more["delta"] = {**self._more.get("delta", {}), **(found.get("delta") or {})}
            return b""
        if not kind:
            return self._whole(data)
        begin = b"" if self._begun else self._begin()
        self._own = True
        if kind == "content_block_start":
            frame = _frame(data)
            self._text_in(frame.index if frame.content_block.type == "text" else None)
        elif kind == "content_block_stop":
            self._text_at = None
        return begin + sse.frame(data, kind)

    def _own_start(self, data: bytes) -> bytes:
        """The provider's message, with what the gateway says of it."""
        self._own = True
        if self._begun:
            return b""
        self._begun = True
        given = codec.decode_exact(data).get("message") or {}
        message = _opening(self._stamp, usage_object(self._usage, self._tier, own=True))
        ours = {name: message[name] for name in ("id", "model", "provider", "usage") if name in message}
        return _event("message_start", {"message": {**message, **given, **ours, "content": []}})

    def _whole(self, data: bytes) -> bytes:
        """A message that came whole although a stream was asked for."""
        found = codec.decode_exact(data)
        self._own = True
        self._more = {"delta": {name: found[name] for name in _ENDS if name in found}}
        if found.get("context_management") is not None:
            self._more["context_management"] = found["context_management"]
        content = found.get("content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
        out = [self._begin()]
        for index, block in enumerate(block for block in blocks if isinstance(block, dict)):
            out += [_event("content_block_start", {"index": index, "content_block": _emptied(block)})]
            out += [_event("content_block_delta", {"index": index, "delta": delta}) for delta in _deltas(block)]
            out += [_event("content_block_stop", {"index": index})]
        return b"".join(out)

    # --- the end ------------------------------------------------------------------------------------------------------

    def fault(self, fault: Fault) -> bytes:
        """The `error` event, after which nothing comes."""
        self._failed = True
        return _event("error", {"error": error_object(fault)})

    def end(self, receipt: Receipt) -> bytes:
        """The last block's end, `message_delta` with reason and usage, `message_stop`."""
        if self._failed:
            return b""
        closing = self._begin() + (b"" if self._own else self._steps(self._blocks.end()))
        more = {name: value for name, value in self._more.items() if name != "delta"}
        delta = {**ending(self._finish), **self._more.get("delta", {})}
        end = {"delta": delta, "usage": charged(receipt, self._tier, self._own), **more}
        told = {} if receipt.routing is None else {"openrouter_metadata": receipt.routing}
        return closing + _event("message_delta", end) + _event("message_stop", told)

    def keepalive(self) -> bytes:
        """A ping."""
        return PING


_ENDS = ("stop_reason", "stop_sequence", "stop_details", "container")


def _event(kind: str, members: dict[str, Any]) -> bytes:
    return sse.frame(codec.encode({"type": kind, **members}), kind)


def _emptied(block: dict[str, Any]) -> dict[str, Any]:
    """A block as a stream begins it."""
    kind = block.get("type")
    if kind == "text":
        return {**block, "text": "", "citations": [] if block.get("citations") else block.get("citations")}
    if kind == "thinking":
        return {**block, "thinking": "", "signature": ""}
    return {**block, "input": {}} if kind == "tool_use" else block


def _deltas(block: dict[str, Any]) -> list[dict[str, Any]]:
    kind = block.get("type")
    if kind == "text":
        cites = block.get("citations")
        cited = [{"type": "citations_delta", "citation": each} for each in cites] if isinstance(cites, list) else []
        return [*cited, {"type": "text_delta", "text": block.get("text") or ""}]
    if kind == "thinking":
        out = [{"type": "thinking_delta", "thinking": block["thinking"]}] if block.get("thinking") else []
        return [*out, {"type": "signature_delta", "signature": block.get("signature") or ""}]
    if kind == "tool_use":
        return [{"type": "input_json_delta", "partial_json": codec.encode(block.get("input") or {}).decode()}]
    return []


# --- whole messages ---------------------------------------------------------------------------------------------------


class UnaryWriter:
    """One message; see dialects.base.Writer."""

    content_type = "application/json"

    def __init__(self, exclude: bool = False) -> None:
        self._exclude = exclude
        self._stamp = _NOBODY
        self._blocks = Blocks("", exclude)
        self._content: dict[int, dict[str, Any]] = {}
        self._text_at = -1
        self._own = False
        self._message: dict[str, Any] = {}
        self._tier: str | None = None
        self._finish: Finish | None = None

    def start(self, stamp: Stamp) -> None:
        self._stamp = stamp
        self._blocks = Blocks(stamp.id.rpartition("-")[2], self._exclude)

    def feed(self, event: Event) -> bytes:
        """Folds; nothing is given before the end."""
        if isinstance(event, Plain):
            for piece in texts(event) if not event.index else ():
                self._delta(Delta(text=piece))
        elif isinstance(event, Whole):
            for part in event.parts():
                self.feed(part)
        elif isinstance(event, Delta):
            self._delta(event)
        elif isinstance(event, Finish):
            self._finish = event if event.index == 0 else self._finish
        elif isinstance(event, Start) and event.service_tier is not None:
            self._tier = event.service_tier
        return b""

    def _delta(self, event: Delta) -> None:
        native = event.native
        if native is not None and native.dialect == NAME:
            self._native(native)
        elif self._own and event.text and self._text_at in self._content:
            grown(self._content[self._text_at], {"text": event.text})
        elif event.index == 0 and (event.content or event.annotations):
            self._apply(self._blocks.feed(event))

    def _apply(self, steps: list[Step]) -> None:
        for kind, index, value in steps:
            if kind == "start":
                self._content[index] = dict(value)
            elif kind == "delta":
                grown(self._content[index], value)

    def _native(self, native: Native) -> None:
        if not native.data:
            return
        self._own = True
        found = codec.decode_exact(native.data)
        index = found.get("index", 0)
        if not native.kind:
            content = found.pop("content", [])
            content = [{"type": "text", "text": content}] if isinstance(content, str) else content
            self._content = {place: block for place, block in enumerate(content) if isinstance(block, dict)}
            self._message = found
        elif native.kind == "message_start":
            self._message = dict(found.get("message") or {})
        elif native.kind == "message_delta":
            more = {name: value for name, value in found.items() if name not in ("type", "delta", "usage")}
            self._message |= more | (found.get("delta") or {})
        elif native.kind == "content_block_start":
            self._content[index] = dict(found["content_block"])
            self._text_at = index
        elif native.kind == "content_block_delta" and index in self._content:
            grown(self._content[index], found["delta"])

    def fault(self, fault: Fault) -> None:
        """Nothing: this dialect has no message that ended in an error, so the answer becomes the error."""
        return

    def end(self, receipt: Receipt) -> bytes:
        """The whole message."""
        if not self._own:
            self._apply(self._blocks.end())
        message = _opening(self._stamp, charged(receipt, self._tier, self._own))
        ours = {name: message[name] for name in ("id", "model", "provider", "usage") if name in message}
        message |= ending(self._finish) | self._message | ours
        message["content"] = [ended(block) for _, block in sorted(self._content.items())]
        if receipt.routing is not None:
            message["openrouter_metadata"] = receipt.routing
        return codec.encode(message)

    def keepalive(self) -> bytes:
        """Nothing: the body is one JSON value."""
        return b""
