"""Heads that come again: a client that keeps its connection sends the same head with each call, but for the length.

The parser has read that very head on this connection, and every rule for heads was applied to it. So a read that
begins with the same bytes, in the same state of the parser (between two requests), means the same; only the digits of
the content-length may differ, and what may stand there besides digits is the parser's business again, as is a read
that holds more than this one request. Many clients send a head and its body in two pieces; so a body may be missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from routebook.edge.request import Request
from routebook.wire.bulk import LARGE

if TYPE_CHECKING:
    from collections.abc import Container

HEAD_MAX = 4096
"""Bytes of a head that is kept: a connection must not cost much memory."""
_DIGITS = 6
"""of the length of a body that is taken from here, so up to LARGE"""
_LENGTH = "content-length"


class Known:
    """One head that the parser has read, and what came of it."""

    __slots__ = ("_after", "_before", "_digits", "_headers", "_most", "_target")

    def __init__(self, request: Request, before: bytes, after: bytes, most: int) -> None:
        self._target = request.target
        self._headers = request.headers
        self._digits = request.headers[_LENGTH].encode("latin-1")
        self._before = before
        """up to the digits of the length"""
        self._after = after
        """behind them, to the end of the head"""
        self._most = most

    def again(self, data: bytes, begun_ns: int) -> Request | None:
        """The request in `data`, `accepted_ns` open; None if that is not this head, whole, and nothing but its body."""
        before, after = self._before, self._after
        if not data.startswith(before):
            return None
        start = len(before)
        stop = data.find(b"\r", start, start + _DIGITS + 1)
        if stop < 0 or not data.startswith(after, stop):
            return None
        digits = data[start:stop]
        if not digits.isdigit():
            return None
        body = data[stop + len(after) :]
        size, length = len(body), int(digits)
        if size > length or length > self._most:
            return None
        headers = self._headers
        if digits != self._digits:
            headers = headers.copy()
            headers[_LENGTH] = digits.decode()
        if size == length:
            return Request(begun_ns, 0, b"POST", self._target, headers, [body])
        parts = [body] if body else []
        return Request(begun_ns, 0, b"POST", self._target, headers, parts, size=size, missing=length - size)


def learn(data: bytes, request: Request, targets: Container[bytes], limit: int) -> Known | None:
    """What can be known of the request that this one read held whole and alone; None if it is not to be known.

    `targets`: whose heads are worth it; `limit`: bytes that a body may have.
    """
    headers = request.headers
    if request.method != b"POST" or request.target not in targets or _LENGTH not in headers:
        return None
    if request.close or request.expects or "upgrade" in headers or "transfer-encoding" in headers:
        return None
    end = data.find(b"\r\n\r\n", 0, HEAD_MAX) + 4
    if end < 4 or end + request.size != len(data):
        return None
    head = data[:end]
    # The parser takes neither a second length, nor a folded line, nor a bare line feed: this is the line, if it is one.
    digits = headers[_LENGTH].encode("latin-1")
    line = b"\r\ncontent-length: "
    place = head.lower().find(line + digits + b"\r\n")
    if place < 0 or not digits.isdigit():
        return None
    start = place + len(line)
    return Known(request, head[:start], head[start + len(digits) :], min(limit, LARGE))
