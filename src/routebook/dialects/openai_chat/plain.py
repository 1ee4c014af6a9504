"""The shortest way for the commonest frame: a chunk that holds one piece of text and is otherwise, byte for byte, the
chunk before it. The text is all that is decoded; whatever does not fit takes the full way, which gives the same events.

A frame is learned only where the full way found nothing in it but text, so equal bytes around the text mean equal
events: nothing new begins, nothing is counted, nothing ends. Measured 2026-11 on a shared two-core machine: 2.6 µs a
frame with its SSE decoding, 8.5 µs the full way.
"""

from __future__ import annotations

import re

from routebook.wire import codec

TRIES_MAX = 8
"""A provider whose frames never repeat is not studied any longer than this."""

_TEXT = re.compile(rb'"content"\s*:\s*"')
_REST = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_PADDING = re.compile(rb'"obfuscation"\s*:\s*"(?=[^"]*"}\Z)')


class PlainText:
    """Learns one frame at a time."""

    __slots__ = ("_head", "_padded", "_tail", "_tries", "index")

    def __init__(self) -> None:
        self._head = b""
        self._tail = b""
        self._padded = False
        self._tries = 0
        self.index = 0

    def learn(self, data: bytes, text: str, index: int) -> None:
        """`data` is a frame in which the full way found this text for this choice and nothing else."""
        if self._tries >= TRIES_MAX:
            return
        self._tries += 1
        self._head = b""
        begin = _TEXT.search(data)
        if begin is None or _TEXT.search(data, begin.end()):
            return
        rest = _REST.match(data, begin.end())
        if rest is None:
            return
        tail = data[rest.end() - 1 :]
        # Padding against traffic analysis differs from frame to frame and means nothing.
        padding = _PADDING.search(tail)
        self._padded = padding is not None
        self._tail = tail if padding is None else tail[: padding.end()]
        self._head = data[: begin.end()]
        self.index = index
        if self.read(data) != text:
            self._head = b""

    def forget(self) -> None:
        """What the answer says as a whole has changed, so the learned frame would say something new now."""
        self._head = b""

    def read(self, data: bytes) -> str | None:
        """The frame's text, None if it is not the frame that was learned."""
        head = self._head
        if not head or not data.startswith(head):
            return None
        if self._padded:
            end = data.rfind(self._tail)
            padding = data[end + len(self._tail) :]
            if end < len(head) or not padding.endswith(b'"}') or b'"' in padding[:-2] or b"\\" in padding:
                return None
        else:
            end = len(data) - len(self._tail)
            if end < len(head) or not data.endswith(self._tail):
                return None
        try:
            text = codec.decode(b'"' + data[len(head) : end] + b'"')
        except (codec.DecodeError, UnicodeDecodeError):
            return None
        return text if isinstance(text, str) else None
