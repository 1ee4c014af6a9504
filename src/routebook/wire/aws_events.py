"""AWS's binary event stream: bytes in any split in, whole messages out; and the bytes of one message.

A message is: total length and length of the headers (4 bytes each, big-endian), CRC-32 of these eight bytes, headers,
payload, CRC-32 of everything before it. A header is a name (its length in one byte before it), a type byte and a value.
Source: AWS, "Event stream encoding" (Amazon Transcribe and Bedrock developer guides, read 2026-11).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import NamedTuple

MESSAGE_BYTES_MAX = 17 * 2**20
"""AWS's own limit is 16 MB of payload and 128 KB of headers; a length beyond this is no message."""

_PRELUDE = 12
_LEAST = 16
"""bytes of a message without headers and payload"""

_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""bytes of a header's value by its type; 6 (bytes) and 7 (text) have their length before them"""
_TEXT = 7


class AwsEvent(NamedTuple):
    """One message. `kind` is `event`, `exception` or `error`; `name` says which (`contentBlockDelta`, say)."""

    kind: str
    name: str
    payload: bytes
    message: str = ""
    """what an `error` says, which has no payload"""


class AwsDecoder:
    """Feed it bytes; it gives the messages that are complete. Splitting the bytes differently changes nothing.

    A message whose checksum, lengths or headers are wrong sets `broken` and ends everything: nothing behind it can be
    found. What came before it is still given out.
    """

    __slots__ = ("_held", "_needed", "broken")

    def __init__(self) -> None:
        self._held = bytearray()
        self._needed = _PRELUDE
        """bytes to have before looking again"""
        self.broken: str | None = None
        """what is wrong with the bytes, as a clause"""

    @property
    def idle(self) -> bool:
        """Nothing is held back: EOF here does not cut a message."""
        return not self._held

    def feed(self, data: bytes) -> list[AwsEvent]:
        """Messages completed by `data`; nothing any more once `broken` is set."""
        if self.broken is not None:
            return []
        self._held += data
        out: list[AwsEvent] = []
        at = 0
        while len(self._held) - at >= self._needed:
            if self._needed == _PRELUDE:
                self._needed = self._length(at)
            else:
                end = at + self._needed
                event = self._message(bytes(self._held[at:end]))
                at, self._needed = end, _PRELUDE
                if event is not None:
                    out.append(event)
            if self.broken is not None:
                self._held.clear()
                return out
        del self._held[:at]
        return out

    def _length(self, at: int) -> int:
        """Of the message that begins here; the prelude has a checksum of its own, so that a wrong length is seen."""
        prelude = bytes(self._held[at : at + _PRELUDE])
        if zlib.crc32(prelude[:8]) != int.from_bytes(prelude[8:], "big"):
            self.broken = "the checksum of a message's prelude is wrong"
            return _PRELUDE
        total, headers = int.from_bytes(prelude[:4], "big"), int.from_bytes(prelude[4:8], "big")
        if not headers + _LEAST <= total <= MESSAGE_BYTES_MAX:
            self.broken = "a message has an impossible length"
        return total

    def _message(self, data: bytes) -> AwsEvent | None:
        if zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "big"):
            self.broken = "the checksum of a message is wrong"
            return None
        end = _PRELUDE + int.from_bytes(data[4:8], "big")
        headers = _headers(data[_PRELUDE:end])
        if headers is None:
            self.broken = "the headers of a message are not whole"
            return None
        kind = headers.get(":message-type", "event")
        name = headers.get(_NAMES.get(kind, ":event-type"), "")
        return AwsEvent(kind, name, data[end:-4], headers.get(":error-message", ""))


_NAMES = {"event": ":event-type", "exception": ":exception-type", "error": ":error-code"}


def _headers(data: bytes) -> dict[str, str] | None:
    """The headers whose value is text; None if the bytes are no headers."""
    found: dict[str, str] = {}
    at = 0
    while at < len(data):
        begin = at + 1
        at = begin + data[at]
        if at == begin or at >= len(data):
            return None
        name, kind = data[begin:at], data[at]
        at += 1
        if kind in (6, _TEXT):
            size = int.from_bytes(data[at : at + 2], "big")
            at += 2
        elif kind in _SIZES:
            size = _SIZES[kind]
        else:
            return None
        value = data[at : at + size]
        at += size
        if at > len(data):
            return None
        if kind == _TEXT:
            found[name.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
    return found


def message(headers: Mapping[str, str], payload: bytes = b"") -> bytes:
    """One message whose headers are texts, as a provider would send it."""
    packed = b"".join(
        bytes((len(name.encode()),)) + name.encode() + b"\x07" + len(value.encode()).to_bytes(2, "big") + value.encode()
        for name, value in headers.items()
    )
    lengths = (_LEAST + len(packed) + len(payload)).to_bytes(4, "big") + len(packed).to_bytes(4, "big")
    body = lengths + zlib.crc32(lengths).to_bytes(4, "big") + packed + payload
    return body + zlib.crc32(body).to_bytes(4, "big")


def event(name: str, payload: bytes) -> bytes:
    """One JSON event."""
    return message({":event-type": name, ":content-type": "application/json", ":message-type": "event"}, payload)


def exception(name: str, payload: bytes) -> bytes:
    """One exception: how a service ends a stream badly."""
    return message(
        {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}, payload
    )
