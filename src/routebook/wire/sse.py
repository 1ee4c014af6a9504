"""Server-sent events: bytes in any split in, whole events out; and the few bytes a writer needs.

Source: WHATWG HTML living standard, section 9.2.6 (read 2026-11). Lines end in LF, CR or CRLF; one leading BOM is
dropped; comments and unknown fields are ignored; an event without its blank line at EOF is given out by `end`,
because providers are known to close right after the last data line.
"""

from __future__ import annotations

from typing import NamedTuple

EVENT_BYTES_MAX = 16 * 2**20
"""A single event larger than this is not an answer but an attack or a mistake."""

DONE = b"data: [DONE]\n\n"


class TooLong(Exception):
    """One event passed EVENT_BYTES_MAX."""


class SseEvent(NamedTuple):
    """One event; `data` are the joined data lines, `event` is empty unless named."""

    event: str
    data: bytes


class SseDecoder:
    """Feed it bytes; it gives the events that are complete. Splitting the bytes differently changes nothing."""

    __slots__ = ("_begun", "_buffer", "_data", "_event", "_held", "_pieces", "_size", "_skip_lf")

    def __init__(self) -> None:
        self._buffer = b""
        self._pieces: list[bytes] = []  # of a line whose end has not come: joined once, however small they are
        self._held = 0
        self._data: list[bytes] = []
        self._event = ""
        self._size = 0
        self._begun = False
        self._skip_lf = False

    @property
    def idle(self) -> bool:
        """Whether the next byte begins a new event: whoever can read events from bytes themselves may do so now."""
        return self._begun and not (self._buffer or self._pieces or self._data or self._event or self._skip_lf)

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Events completed by `chunk`. Raises TooLong."""
        if (
            chunk.startswith(b"data: ")
            and chunk.endswith(b"\n\n")
            and chunk.find(b"\n") == len(chunk) - 2
            and self.idle
            and len(chunk) < EVENT_BYTES_MAX
            and 13 not in chunk
        ):
            return [SseEvent("", chunk[6:-2])]  # one whole event and nothing else, as providers mostly send them
        if self._begun and b"\n" not in chunk and b"\r" not in chunk and not self._skip_lf:
            self._pieces.append(chunk)
            self._held += len(chunk)
            if self._held + len(self._buffer) + self._size > EVENT_BYTES_MAX:
                raise TooLong
            return []
        data = self._joined() + chunk
        if not self._begun:
            if len(data) < 3 and b"\xef\xbb\xbf".startswith(data):
                self._buffer = data
                return []
            self._begun = True
            data = data.removeprefix(b"\xef\xbb\xbf")
        if self._skip_lf and data:
            self._skip_lf = False
            data = data.removeprefix(b"\n")
        if b"\r" in data:
            # A CR at the very end may be half of a CRLF: it ends the line now, and an LF that follows is dropped.
            self._skip_lf = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = data.split(b"\n")
        self._buffer = lines.pop()
        if len(self._buffer) + self._size > EVENT_BYTES_MAX:
            raise TooLong
        out: list[SseEvent] = []
        for line in lines:
            if not line:
                if self._data:
                    out.append(self._take())
                else:
                    self._event = ""
            else:
                self._line(line)
        return out

    def end(self) -> list[SseEvent]:
        """The event that EOF completed, if any."""
        line, self._buffer = self._joined(), b""
        if line:
            self._line(line)
        return [self._take()] if self._data else []

    def _joined(self) -> bytes:
        if not self._pieces:
            return self._buffer
        data = b"".join((self._buffer, *self._pieces))
        self._pieces.clear()
        self._held = 0
        return data

    def _line(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._size += len(value) + 1
            if self._size > EVENT_BYTES_MAX:
                raise TooLong
            self._data.append(value)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")

    def _take(self) -> SseEvent:
        event = SseEvent(self._event, self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
        self._data = []
        self._event = ""
        self._size = 0
        return event


def frame(data: bytes, event: str = "") -> bytes:
    """One event as bytes; `data` must hold no line break (our JSON never does)."""
    if event:
        return b"event: " + event.encode() + b"\ndata: " + data + b"\n\n"
    return b"data: " + data + b"\n\n"


def comment(text: str) -> bytes:
    """A keep-alive that clients skip."""
    return b": " + text.encode() + b"\n\n"
