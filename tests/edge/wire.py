"""A client that says exactly what it is told to, byte by byte, and shows exactly what came back."""

from __future__ import annotations

import json
import socket
import ssl
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httptools

SMALL = 32 * 1024
"""a receive buffer that is soon full, and large enough that the system's own timers do not rule the pace"""
PATIENCE = 10.0
"""seconds for any single answer; nothing here waits longer than an answer takes"""


class Got:
    """One answer."""

    def __init__(self) -> None:
        self.status = 0
        self.lines: list[tuple[str, str]] = []
        self.body = b""
        self.complete = False

    @property
    def headers(self) -> dict[str, str]:
        return dict(self.lines)

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """What the error envelope says."""
        message: str = self.json()["error"]["message"]
        return message

    def __repr__(self) -> str:
        return f"<{self.status} {self.body[:200]!r}{'' if self.complete else ' …'}>"


class Wire:
    """One connection. Use as a context manager."""

    def __init__(
        self,
        port: int = 0,
        *,
        path: Path | None = None,
        tls: ssl.SSLContext | None = None,
        receive_buffer: int | None = None,
    ) -> None:
        """To a port of the loopback, or to the UNIX socket at `path`."""
        family = socket.AF_INET if path is None else socket.AF_UNIX
        plain = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        plain.settimeout(PATIENCE)
        self.socket = plain
        try:
            plain.connect(("127.0.0.1", port) if path is None else str(path))
            if tls is not None:
                self.socket = tls.wrap_socket(plain, server_hostname="localhost")
        except BaseException:
            plain.close()
            raise
        self.raw = b""
        """everything that came"""
        self.closed = False
        """the other side ended the connection"""
        self.answers: deque[Got] = deque()
        self._parser = httptools.HttpResponseParser(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def offer(self, data: bytes) -> None:
        """Send what the other side may have stopped reading."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            self.closed = True

    def answer(self) -> Got:
        """The next whole answer. Fails if the connection ends before."""
        while not (self.answers and self.answers[0].complete):
            assert self.more(), f"the connection ended; so far: {list(self.answers)}"
        return self.answers.popleft()

    def read_until(self, marker: bytes) -> None:
        """Read until that was in an answer's body, complete or not."""
        while not any(marker in got.body for got in self.answers):
            assert self.more(), f"the connection ended before {marker!r}: {list(self.answers)}"

    def to_the_end(self) -> list[Got]:
        """All answers until the other side ends the connection."""
        while self.more():
            pass
        return list(self.answers)

    def more(self) -> bool:
        """Read what is there; False at the end of the connection."""
        if self.closed:
            return False
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            self.closed = True
            return False
        self.raw += data
        self._parser.feed_data(data)
        return True

    # --- the parser ---------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.answers.append(Got())

    def on_header(self, name: bytes, value: bytes) -> None:
        self.answers[-1].lines.append((name.decode().lower(), value.decode()))

    def on_headers_complete(self) -> None:
        self.answers[-1].status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self.answers[-1].body += data

    def on_message_complete(self) -> None:
        last = self.answers[-1]
        last.complete = True
        if last.status == 100:
            self.answers.pop()


def request(
    method: str = "GET", target: str = "/healthz", body: bytes | None = None, version: str = "1.1", **headers: str
) -> bytes:
    """A well-formed request. Header names: `_` stands for `-`."""
    lines = [f"{method} {target} HTTP/{version}", "Host: gateway.test"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


def chunked(*parts: bytes) -> bytes:
    """A body in chunks, with its end."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))
