"""HTTP/1.1 answers as bytes: status lines, heads, chunks. Pure but for one cached date."""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus

from routebook.wire import heads

_STATUS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_ENDS = {
    (False, False): "\r\n",
    (False, True): "connection: close\r\n\r\n",
    (True, False): "transfer-encoding: chunked\r\n\r\n",
    (True, True): "transfer-encoding: chunked\r\nconnection: close\r\n\r\n",
}
_FINAL = f"{heads.FINAL[0]}: {heads.FINAL[1]}\r\n"

LAST_CHUNK = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

SMALL_CHUNK = 1024
CHUNK_SIZES = tuple(b"%x\r\n" % size for size in range(SMALL_CHUNK))
"""The size lines of small chunks: looking up is cheaper than writing one for each event of a stream."""


class Heads:
    """Writes response heads; `date` is renewed once a second, not per answer."""

    __slots__ = ("_date", "_good")

    def __init__(self, unix: int) -> None:
        self.renew(unix)

    def renew(self, unix: int) -> None:
        """`unix`: seconds."""
        self._date = f"date: {formatdate(unix, usegmt=True)}\r\n"
        self._good = _STATUS[200] + self._date

    def head(self, status: int, headers: list[tuple[str, str]], *, chunked: bool, close: bool) -> bytes:
        """Status line, headers, and the blank line.

        Raises ValueError for a header that would be more than one line, or none.
        """
        text = "".join([f"{name}: {value}\r\n" for name, value in headers])
        if text.count("\n") != len(headers) or text.count("\r") != len(headers) or "\0" in text:
            raise ValueError("a header of the answer holds a line break")
        return f"{self._opening(status)}{text}{_ENDS[chunked, close]}".encode("latin-1")

    def answer(
        self,
        status: int,
        content_type: str,
        id: str | None,
        length: int | None,
        retry_after: int | None,
        more: str,
        chunked: bool,
        close: bool,
    ) -> bytes:
        """The head of an inference answer, whose values are all our own."""
        text = heads.text(content_type, id, length, retry_after)
        if status == 200:
            opening = self._good
        else:
            opening = self._opening(status)
            if heads.final(status):
                more += _FINAL
        return f"{opening}{text}{more}{_ENDS[chunked, close]}".encode("latin-1")

    def _opening(self, status: int) -> str:
        return (_STATUS.get(status) or f"HTTP/1.1 {status} Status\r\n") + self._date


def chunk(data: bytes) -> bytes:
    """`data` (not empty) as one chunk."""
    size = len(data)
    return b"".join((CHUNK_SIZES[size] if size < SMALL_CHUNK else b"%x\r\n" % size, data, b"\r\n"))
