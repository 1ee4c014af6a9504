"""The corridor's Reply straight onto a native connection: framing, and news of the client to the watcher."""

from __future__ import annotations

from typing import TYPE_CHECKING

from routebook.corridor.ports import Watcher
from routebook.edge.cors import WITH_ORIGIN, WITHOUT_ORIGIN
from routebook.edge.framing import CHUNK_SIZES, LAST_CHUNK, SMALL_CHUNK, chunk
from routebook.wire.heads import REPLAYED, TRANSLATION

if TYPE_CHECKING:
    from routebook.edge.native import Connection
    from routebook.edge.request import Request


_REPLAYED = "{}: {}\r\n".format(*REPLAYED)


class NativeReply:
    """One answer. The head leaves with the first byte of the body, and the last chunk with the last, in one write."""

    __slots__ = ("_chunked", "_connection", "_ended", "_gone", "_head", "_request", "_watcher")

    def __init__(self, connection: Connection, request: Request) -> None:
        self._connection = connection
        self._request = request
        self._watcher: Watcher | None = None
        self._head: bytes | None = None
        self._chunked = False
        self._gone = False
        self._ended = False

    def watch(self, watcher: Watcher) -> None:
        self._watcher = watcher
        if self._gone:
            watcher.gone()
        elif self._connection.is_full:
            watcher.full()

    def begin(
        self,
        status: int,
        content_type: str,
        id: str | None,
        length: int | None,
        retry_after: int | None = None,
        replayed: bool = False,
        translation: str | None = None,
    ) -> None:
        request, edge = self._request, self._connection.edge
        # HTTP/1.0 has no chunks; the end of the connection is the end of the body.
        self._chunked = chunked = length is None and not request.old
        more = WITH_ORIGIN if "origin" in request.headers else WITHOUT_ORIGIN
        if replayed:
            more = _REPLAYED + more
        if translation is not None:
            more = f"{TRANSLATION}: {translation}\r\n{more}"
        close = request.close or edge.closing
        self._head = edge.heads.answer(status, content_type, id, length, retry_after, more, chunked, close)

    def write(self, data: bytes) -> None:
        if self._gone or not data:
            return
        if self._chunked:
            # `chunk`, without a call for each event of a stream
            size = len(data)
            data = b"".join((CHUNK_SIZES[size] if size < SMALL_CHUNK else b"%x\r\n" % size, data, b"\r\n"))
        if self._head is not None:
            data = self._head + data
            self._head = None
        self._connection.send(data)

    def end(self, data: bytes = b"") -> None:
        if self._ended:
            return
        self._ended = True
        self._watcher = None  # it holds the answer, and the answer holds this
        if self._gone:
            return
        if self._chunked:
            data = chunk(data) + LAST_CHUNK if data else LAST_CHUNK
        if self._head is not None:
            data = self._head + data
            self._head = None
        connection = self._connection
        if data:
            connection.send(data)
        connection.finished(self._request)

    # --- what the connection tells ------------------------------------------------------------------------------------

    def lost(self) -> None:
        self._gone = True
        if self._watcher is not None and not self._ended:
            self._watcher.gone()

    def full(self) -> None:
        if self._watcher is not None:
            self._watcher.full()

    def drained(self) -> None:
        if self._watcher is not None:
            self._watcher.drained()
