"""Reads answers of the responses family, streamed and not, from any provider, into canonical events.

Who speaks it and how they differ (API references and answers, read 2026-11): OpenAI (events numbered from July 2025 on,
padding in `obfuscation`), Azure (`content_filters` beside the output), xAI, DeepSeek, Amazon Bedrock, OpenRouter (no
`event:` lines, `[DONE]` at the end), llama.cpp (numbers neither events nor items nor parts), servers of the Open
Responses specification. An error comes as an event `error`,
flat or nested, or as `response.failed`, or as both.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from routebook.core.errors import UpstreamFault, UpstreamLost
from routebook.core.events import Event, Failed
from routebook.core.ids import Mint
from routebook.dialects import faults, lenient
from routebook.dialects.openai_responses.answer import Answer
from routebook.wire import codec, sse, text
from routebook.wire.http import HttpHead

UNARY_BYTES_MAX = 64 * 2**20
"""A body beyond this is no answer; pictures come inside of it."""
_DELTA = b'"response.output_text.delta"'
_FRAMED = b"event: response.output_text.delta\ndata: "
_MARKS = (b"data:", b"event:", b"id:", b"retry:", b":")
_BOM = b"\xef\xbb\xbf"


class Text(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The commonest event: a piece of text and nothing else."""

    type: Literal["response.output_text.delta"]
    delta: msgspec.Raw
    item_id: str
    output_index: int | None = None
    content_index: int | None = None
    sequence_number: int | None = None
    logprobs: list[None] | None = None
    """nothing but an empty one is read this way"""
    obfuscation: str | None = None


_text = codec.decoder(Text)


def text_event(data: bytes) -> Text | None:
    """The event, None if it is another one."""
    if _DELTA not in data[:4096]:
        return None
    try:
        found = _text(data)
    except codec.BAD:
        return None
    return None if found.logprobs or len(found.delta) < 3 or bytes(found.delta)[:1] != b'"' else found


class ResponsesReader:
    """One answer; see dialects.base.Reader for the rules."""

    __slots__ = ("_answer", "_chars", "_closed", "_decoder", "_head", "_mode", "_pieces", "_prefix", "_run", "_size")

    def __init__(self, head: HttpHead, mint: Mint) -> None:
        self._head = head
        self._answer = Answer(head, mint)
        self._mode = ""
        self._pieces: list[bytes] = []
        self._size = 0
        self._closed = False
        self._decoder = sse.SseDecoder()
        self._prefix = _FRAMED
        """what stands before the JSON of a piece of text"""
        self._run: list[tuple[bytes, bytes]] = []
        """(text in the provider's escapes, the event's JSON) of this read"""
        self._chars = 0
        """of the open text, that took the short way"""

    def feed(self, data: bytes) -> list[Event]:
        """Events that these bytes complete. Never raises."""
        if self._closed or not data:
            return []
        if not self._mode:
            return self._sniff(data)
        return self._collect(data) if self._mode == "unary" else self._stream(data)

    def end(self) -> list[Event]:
        """EOF."""
        if self._closed:
            return []
        if self._mode == "unary":
            return self._whole(b"".join(self._pieces))
        if self._mode == "stream":
            try:
                events = self._decoder.end()
            except sse.TooLong:
                return self._fail(_too_long())
            return self._events(events) + self._close()
        body = b"".join(self._pieces)
        if not body.strip():
            return self._fail(UpstreamLost("The provider ended its answer before the first byte; try again."))
        return self._fail(faults.garbage("it is neither JSON nor an event stream", body))

    # --- bytes --------------------------------------------------------------------------------------------------------

    def _sniff(self, data: bytes) -> list[Event]:
        """The first bytes say what the answer is; the content type only helps where they leave it open."""
        self._pieces.append(data)
        held = b"".join(self._pieces)
        start = held.removeprefix(_BOM).lstrip()
        if not start or _BOM.startswith(held):
            self._pieces = [held] if len(held) < 3 else []  # leading blanks are a sign of life
            return []
        if start[:1] in (b"{", b"["):
            self._mode, self._pieces = "unary", []
            return self._collect(held)
        declared = self._head.content_type == "text/event-stream" and start[:1] != b"<"
        if declared or start.startswith(_MARKS):
            self._mode, self._pieces = "stream", []
            self._prefix = _FRAMED if b"event:" in held else b"data: "
            return self._stream(held)
        if any(mark.startswith(start) for mark in _MARKS):
            return []
        return self._fail(faults.garbage("it is neither JSON nor an event stream", held))

    def _collect(self, data: bytes) -> list[Event]:
        self._pieces.append(data)
        self._size += len(data)
        if self._size > UNARY_BYTES_MAX:
            return self._fail(faults.garbage(f"its body is larger than {UNARY_BYTES_MAX} bytes"))
        return []

    def _stream(self, data: bytes) -> list[Event]:
        if data.startswith(self._prefix) and self._answer.open_text is not None and self._texts(data):
            return self._flush()
        try:
            events = self._decoder.feed(data)
        except sse.TooLong:
            return self._fail(_too_long())
        return self._events(events)

    def _events(self, events: list[sse.SseEvent]) -> list[Event]:
        out: list[Event] = []
        for event in events:
            data = event.data.strip()
            if self._closed:
                break
            if not data or self._short(data):
                continue
            out += self._flush()
            if self._closed:
                break
            out += self._event(event.event, data)
        return out if self._closed else out + self._flush()

    # --- the short way ------------------------------------------------------------------------------------------------

    def _short(self, data: bytes) -> bool:
        """Whether this is one more piece of the text that is open; it is kept until the run ends."""
        open_text = self._answer.open_text
        if open_text is None or (found := text_event(data)) is None:
            return False
        name, place, part = open_text
        if found.item_id != name or found.output_index not in (None, place) or found.content_index not in (None, part):
            return False
        self._run.append((bytes(found.delta)[1:-1], data))
        return True

    def _texts(self, data: bytes) -> bool:
        """Whether a read is whole events of the open text and nothing else, framed as most providers do it."""
        prefix = self._prefix
        if not data.endswith(b"\n\n") or 13 in data or not self._decoder.idle:
            return False
        start, lines = len(prefix), prefix.count(b"\n")
        for frame in data[:-2].split(b"\n\n"):
            if not frame.startswith(prefix) or frame.count(b"\n") != lines or not self._short(frame[start:]):
                self._run = []
                return False
        return True

    def _flush(self) -> list[Event]:
        """The run as one event; the full way, where one of its texts is not quite JSON."""
        held = self._run
        if not held:
            return []
        self._run = []
        run = text.plain(0, [piece for piece, _ in held])
        if run is not None:
            self._chars += run.chars
            return [run]
        out: list[Event] = []
        for _, data in held:
            if not self._closed:
                out += self._event("", data)
        return out

    # --- the full way -------------------------------------------------------------------------------------------------

    def _event(self, name: str, data: bytes) -> list[Event]:
        if data == b"[DONE]":
            return self._close()
        try:
            value, data = _decoded(data)
        except codec.DecodeError:
            return self._fail(faults.garbage("one event's data is not JSON", data))
        if not isinstance(value, dict):
            return self._fail(faults.garbage("one event's data is no JSON object", data))
        if name == "error" or ("type" not in value and name.startswith("response.")):
            value = {**value, "type": name}
        if self._chars:
            self._answer.text_heard(self._chars)
            self._chars = 0
        out = self._answer.event(value, data)
        if (out and isinstance(out[-1], Failed)) or self._answer.complete:
            self._shut()
        return out

    def _whole(self, body: bytes) -> list[Event]:
        data = body.removeprefix(_BOM).strip()
        try:
            value, data = _decoded(data, whole=True)
        except codec.DecodeError:
            return self._fail(faults.garbage("its body is not JSON", body))
        if not isinstance(value, dict):
            return self._fail(faults.garbage("its body is no JSON object", body))
        failed = value.get("error") or value.get("type") == "error" or value.get("status") == "failed"
        if not failed and not isinstance(value.get("output"), list):
            return self._fail(faults.garbage("it has no output", body))
        self._shut()
        return self._answer.whole(value, data)

    def _close(self) -> list[Event]:
        """The end mark or EOF before the answer's own end."""
        return (
            [] if self._closed else self._fail(UpstreamLost("The provider's answer stopped before its end; try again."))
        )

    def _fail(self, fault: UpstreamFault) -> list[Event]:
        self._shut()
        return [Failed(fault)]

    def _shut(self) -> None:
        self._closed = True
        self._pieces, self._run = [], []
        self._decoder = sse.SseDecoder()


def _decoded(data: bytes, whole: bool = False) -> tuple[Any, bytes]:
    """(the value, its JSON): the bytes as they came, or written anew where they were not quite JSON. What follows the
    value of a whole body is left out. Raises DecodeError.
    """
    try:
        return lenient.written(data)
    except codec.DecodeError:
        first = lenient.leading(data) if whole else None
        if first is None:
            raise
        return lenient.written(first)


def _too_long() -> UpstreamFault:
    return faults.garbage(f"one event is larger than {sse.EVENT_BYTES_MAX} bytes")
