"""The transport as the corridor sees it: send one request, be called back with what arrives.

Callbacks instead of an async iterator: what happens per event then costs no task, no future and no await.
The concrete pool is `upstream.client`; `testing.upstream` has a scripted one. Only `compose.py` names either.
"""

from __future__ import annotations

from typing import Protocol

from routebook.core.errors import UpstreamFault
from routebook.wire.http import HttpHead, HttpRequest


class Sink(Protocol):
    """Who listens to an answer. Calls come in order: `sent`, `head`, `data`*, then exactly one of `end` and `lost`;
    none of them from inside `Transport.send`.

    After `Line.close()` nothing more is called. A sink must not raise.
    """

    def sent(self) -> None:
        """The request's bytes were handed to a connected socket: from here on the provider may bill."""

    def head(self, head: HttpHead) -> None:
        """Status and headers are there (1xx answers are swallowed by the transport)."""

    def data(self, chunk: bytes) -> None:
        """Body bytes, de-chunked and never empty; sizes are whatever the socket gave."""

    def end(self) -> None:
        """The body ended as HTTP wants it (also: EOF of a body that has neither length nor chunking)."""

    def lost(self, fault: UpstreamFault) -> None:
        """No answer, or not the whole of it: connect, TLS, timeout of connect, reset, short body, bad framing."""


class Line(Protocol):
    """One request under way."""

    def pause(self) -> None:
        """Stop reading from the provider until `resume` (the caller does not read as fast)."""

    def resume(self) -> None: ...

    def close(self) -> None:
        """Give up: the socket is closed at once; no further callback. Idempotent, harmless after the end."""


class Transport(Protocol):
    """Carries requests to providers. Never raises from `send`: failures arrive at `Sink.lost`."""

    def send(self, request: HttpRequest, sink: Sink, *, connect_timeout: float) -> Line: ...

    async def aclose(self) -> None:
        """Close idle connections; lines still open are lost."""
