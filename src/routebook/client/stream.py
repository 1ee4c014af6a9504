"""Owns reading a streamed answer from its bytes: server-sent events, then chat chunks, errors and the end. No IO.

Source of the event syntax: the HTML standard, section "Server-sent events"; of the chunks: inference API, section 2.4.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from .chats import ChatChunk, ChatUsage
from .codec import decode
from .errors import StreamCut, UnreadableAnswer, from_error, redact

_LINE_END = re.compile(rb"\r\n|\n|\r")


class EventReader:
    """Bytes in, the data of whole events out. Comments, event names, ids and retry hints are skipped."""

    def __init__(self) -> None:
        self._tail: list[bytes] = []
        self._data: list[bytes] = []
        self._after_cr = False
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The data of each event that these bytes complete; bytes may be cut anywhere."""
        if self._after_cr and data:
            # The line ended at the CR already; the LF of a CRLF that was cut in two ends no second one.
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if not _LINE_END.search(data):
            self._tail.append(data)
            return
        self._after_cr = data.endswith(b"\r")
        lines = _LINE_END.split(b"".join(self._tail) + data)
        self._tail = [lines.pop()]
        for line in lines:
            event = self._line(line)
            if event:
                yield event

    def end(self) -> Iterator[bytes]:
        """What is left when the bytes end; a last event that lacks only its blank line counts."""
        for line in (b"".join(self._tail), b""):
            event = self._line(line)
            if event:
                yield event
        self._tail = []

    def _line(self, line: bytes) -> bytes | None:
        if not self._begun:
            line = line.removeprefix(b"\xef\xbb\xbf")
            self._begun = True
        if not line:
            event, self._data = b"\n".join(self._data), []
            return event
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        return None


class ChatReader:
    """Bytes of a streamed chat completion in, chunks out; the typed error where the stream reports one."""

    def __init__(self, generation_id: str | None, secret: str | None) -> None:
        self.generation_id = generation_id
        """From the header, else from the first chunk; None until then."""
        self.usage: ChatUsage | None = None
        """Tokens and cost, once they came."""
        self.done = False
        """The end marker came: nothing follows."""
        self._events = EventReader()
        self._secret = secret
        self._finished = False

    def feed(self, data: bytes) -> Iterator[ChatChunk]:
        """The chunks that these bytes complete. Raises the error that one reports, or `UnreadableAnswer`."""
        for event in self._events.feed(data):
            yield from self._event(event)

    def end(self) -> Iterator[ChatChunk]:
        """The last chunks when the bytes end. Raises `StreamCut` if the answer had neither finish nor end marker."""
        for event in self._events.end():
            yield from self._event(event)
        if not (self.done or self._finished):
            raise StreamCut(
                "The stream ended before the answer did",
                generation_id=self.generation_id,
            )

    def _event(self, data: bytes) -> Iterator[ChatChunk]:
        if self.done:
            return
        if data.strip() == b"[DONE]":
            self.done = True
            return
        try:
            chunk = decode(ChatChunk, data)
        except (msgspec.DecodeError, UnicodeDecodeError) as unreadable:
            raise UnreadableAnswer(
                f"An event of the stream is not a chat chunk: {unreadable}",
                generation_id=self.generation_id,
            ) from None
        if self.generation_id is None and chunk.id and chunk.id.startswith("gen-"):
            self.generation_id = chunk.id
        self.usage = chunk.usage or self.usage
        error = chunk.error or next((choice.error for choice in chunk.choices if choice.error), None)
        if error:
            body: dict[str, Any] = redact(decode(dict[str, Any], data), self._secret)
            fault = from_error(redact(error, self._secret), body=body)
            fault.generation_id = self.generation_id
            raise fault
        self._finished = self._finished or any(choice.finish_reason for choice in chunk.choices)
        yield chunk
