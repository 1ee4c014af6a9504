"""HTTP/1.1 answers as bytes: status lines, heads, chunks. Pure but for one cached date."""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus

_STATUS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_ENDS = {
    (False, False): b"\r\n",
    (False, True): b"connection: close\r\n\r\n",
    (True, False): b"transfer-encoding: chunked\r\n\r\n",
    (True, True): b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n",
}

LAST_CHUNK = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Heads:
    """Writes response heads; `date` is renewed once a second, not per answer."""

    __slots__ = ("_date",)

    def __init__(self, unix: int) -> None:
        self._date = b""
        self.renew(unix)

    def renew(self, unix: int) -> None:
        """`unix`: seconds."""
        self._date = b"date: " + formatdate(unix, usegmt=True).encode() + b"\r\n"

    def head(
        self, status: int, headers: list[tuple[str, str]], more: bytes = b"", *, chunked: bool, close: bool
    ) -> bytes:
        """Status line, headers, the lines of `more`, and the blank line.

        Raises ValueError for a header that would be more than one line, or none.
        """
        line = _STATUS.get(status) or f"HTTP/1.1 {status} Status\r\n".encode()
        text = "".join([f"{name}: {value}\r\n" for name, value in headers])
        if text.count("\n") != len(headers) or text.count("\r") != len(headers) or "\0" in text:
            raise ValueError("a header of the answer holds a line break")
        return line + self._date + text.encode("latin-1") + more + _ENDS[chunked, close]


def chunk(data: bytes) -> bytes:
    """`data` (not empty) as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)
