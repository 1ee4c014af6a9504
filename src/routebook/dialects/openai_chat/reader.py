"""Reads answers of the chat completions family, streamed and not, from any provider, into canonical events.

Vendor forms and where they were seen (API references and answers, read 2026-11): `x_groq` (Groq), content as a list
of parts with `thinking` and `reference` (Mistral), `reasoning_content` (DeepSeek, Moonshot, xAI, Z.AI), `reasoning` and
`reasoning_details` (OpenRouter, Groq, Cerebras, vLLM), usage inside a choice (Moonshot), usage on every chunk
(Perplexity), tool calls without index or with one index for all, legacy `function_call`, error objects in the middle
of a stream with or without `event: error`. What only one provider sends travels in `Delta.extra`, so that a caller of
the same dialect loses nothing: members of the delta under their own name, of the choice as `choice.NAME`, of the whole
answer as `answer.NAME`. (`obfuscation` is padding against traffic analysis and is left out.)
"""

from __future__ import annotations

import re

import msgspec

from routebook.core.errors import UpstreamFault, UpstreamLost
from routebook.core.events import Delta, Event, Failed
from routebook.core.ids import Mint
from routebook.dialects import faults, plain
from routebook.dialects.lenient import decode, decode_leading
from routebook.dialects.openai_chat.answer import Answer
from routebook.dialects.openai_chat.common import common_answer, common_chunk
from routebook.wire import codec, sse
from routebook.wire.http import HttpHead

UNARY_BYTES_MAX = 64 * 2**20
"""A body beyond this is no chat answer."""

_BEGINS = re.compile(rb'"content"\s*:\s*"')
_PREFIXES = (b"data: ", b"data:")
_PADDING = re.compile(rb'"obfuscation"\s*:\s*"(?=[^"]*"}\Z)')
_PADDED = rb'[^"\\\x00-\x1f]*'

_MARKS = (b"data:", b"event:", b"id:", b"retry:", b":")


def _loose(tail: bytes) -> plain.Tail:
    """Padding against traffic analysis differs from frame to frame and means nothing."""
    padding = _PADDING.search(tail)
    return plain.Tail(tail) if padding is None else plain.Tail(tail[: padding.end()], _PADDED, b'"}')


_NO_LANE = plain.Lane(_BEGINS, ())
_NO_FRAMES = plain.Frames(_NO_LANE)
"""Stand for a stream that has not begun: never fed, so never clear."""


class ChatReader(msgspec.Struct, eq=False):
    """One answer; see dialects.base.Reader for the rules. A struct, because that is quicker to make."""

    _head: HttpHead
    _mint: Mint
    _mode: str = ""
    """`unary` or `stream`, once the first bytes have told"""
    _pieces: list[bytes] = []
    _size: int = 0
    _closed: bool = False
    _answer: Answer | None = None
    """made when the commonest form turns out not to be enough"""
    _frames: plain.Frames = _NO_FRAMES
    _lane: plain.Lane = _NO_LANE

    def feed(self, data: bytes) -> list[Event]:
        """Events that these bytes complete. Never raises."""
        if self._frames.clear and (run := self._lane.one(data)) is not None:
            return [run]
        if self._closed:
            return []
        if not self._mode:
            if self._pieces or not data.startswith(b"{"):
                return self._sniff(data)
            self._mode = "unary"
            self._pieces.append(data)
            self._size = len(data)
            return []
        return self._collect(data) if self._mode == "unary" else self._stream(data)

    def end(self) -> list[Event]:
        """EOF."""
        if self._closed:
            return []
        if self._mode == "unary":
            body = b"".join(self._pieces)
            common = common_answer(body)
            if common is None:
                return self._whole(body)
            self._closed = True
            return [common]
        if self._mode == "stream":
            out: list[Event] = []
            try:
                events = self._frames.end()
            except sse.TooLong:
                return self._fail(faults.garbage(f"one event is larger than {sse.EVENT_BYTES_MAX} bytes"))
            for event in events:
                out += self._event(event)
            return out + self._close()
        body = b"".join(self._pieces)
        if not body.strip():
            return self._fail(UpstreamLost("The provider ended its answer before the first byte; try again."))
        return self._fail(faults.garbage("it is neither JSON nor an event stream", body))

    # --- bytes --------------------------------------------------------------------------------------------------------

    def _sniff(self, data: bytes) -> list[Event]:
        """The first bytes say what the answer is; the content type only helps where they leave it open."""
        self._pieces.append(data)
        held = b"".join(self._pieces)
        start = held.removeprefix(b"\xef\xbb\xbf").lstrip()
        if not start or b"\xef\xbb\xbf".startswith(held):
            self._pieces = [held] if len(held) < 3 else []  # leading blanks are a router's sign of life
            return []
        if start[:1] in (b"{", b"["):
            self._mode = "unary"
            self._pieces = []
            return self._collect(held)
        declared = self._head.content_type == "text/event-stream" and start[:1] != b"<"
        if declared or start.startswith(_MARKS):
            self._mode = "stream"
            self._pieces = []
            self._answer = Answer(self._head, self._mint)
            self._lane = plain.Lane(_BEGINS, _PREFIXES, _loose)
            self._frames = plain.Frames(self._lane)
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
        out: list[Event] = []
        while data:
            try:
                run, events, data = self._frames.feed(data)
            except sse.TooLong:
                return out + self._fail(faults.garbage(f"one event is larger than {sse.EVENT_BYTES_MAX} bytes"))
            if run is not None:
                out.append(run)
            for event in events:
                out += self._event(event)
            if self._closed:
                break
        return out

    def _event(self, event: sse.SseEvent) -> list[Event]:
        data, answer = event.data.strip(), self._answer
        if self._closed or not data or answer is None:
            return []
        if not event.event and (run := self._lane.read(data)) is not None:
            return [run]
        if data == b"[DONE]":
            return self._close()
        if event.event != "error" and (chunk := common_chunk(data)) is not None:
            return self._learned(data, answer.common(chunk))
        try:
            value = decode(data)
        except codec.DecodeError:
            if answer.complete:
                return self._close()  # a good answer with junk behind its finish stays good
            return self._fail(faults.garbage("one event's data is not JSON", data))
        if event.event == "error":
            return self._fail(faults.from_object(value, self._head))
        if not isinstance(value, dict):
            return self._fail(faults.garbage("one event's data is no JSON object", data))
        return self._learned(data, answer.value(value, "delta"))

    def _learned(self, data: bytes, out: list[Event]) -> list[Event]:
        """What an event said, after a look at whether the next ones like it can take the lane."""
        if out and isinstance(out[-1], Failed):
            self._shut()
            return out
        one = out[0] if len(out) == 1 else None
        if isinstance(one, Delta) and one.text and one == Delta(index=one.index, text=one.text):
            self._lane.learn(data, one.text, one.index)
        elif not all(isinstance(event, Delta) and event.extra is None for event in out):
            self._lane.forget()
        return out

    def _whole(self, body: bytes) -> list[Event]:
        try:
            value = decode_leading(body.removeprefix(b"\xef\xbb\xbf").strip())
        except codec.DecodeError:
            return self._fail(faults.garbage("its body is not JSON", body))
        if isinstance(value, list) and value and isinstance(value[0], dict) and "error" in value[0]:
            value = value[0]
        if not isinstance(value, dict):
            return self._fail(faults.garbage("its body is no JSON object", body))
        answer = self._answer = Answer(self._head, self._mint)
        out = answer.value(value, "message")
        if out and isinstance(out[-1], Failed):
            self._closed = True
            return out
        if not answer.seen:
            return out + self._fail(faults.garbage("it has no choices", body))
        return out + self._close()

    def _close(self) -> list[Event]:
        """The end mark or EOF: good if every choice that was seen has finished."""
        if self._closed:
            return []
        if self._answer is not None and self._answer.complete:
            self._closed = True
            self._frames.drop()
            return []
        return self._fail(UpstreamLost("The provider's answer stopped before its finish; try again."))

    def _fail(self, fault: UpstreamFault) -> list[Event]:
        self._shut()
        return [Failed(fault)]

    def _shut(self) -> None:
        self._closed = True
        self._pieces = []
        if self._mode == "stream":
            self._frames.drop()
