"""One socket to a provider: HTTP/1.1 answers parsed by llhttp, straight from the socket to the sink.

The parser's callbacks only collect: `on_header` and `on_body` are operations of a `dict` and a `list`, so that a
header or a chunk costs no Python frame. The sink is called after the parser has taken the whole read: a read is one
`data`, and nothing a sink does (closing, sending the next request) can happen in the middle of a parse.

States: idle (`call` is None), busy (`call` is set), gone (the socket is closed or closing). Whatever arrives while idle
ends the connection: it belongs to no request. The same holds while a request waits in the outbox, and the loop looks at
its sockets before that is emptied: so a connection that the provider has closed, or has said something strange on, is
found out before the request leaves, without a system call to ask for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import operator
import socket
import struct
from collections.abc import Callable
from types import MethodType
from typing import Protocol, cast

import httptools

from routebook.core.errors import UpstreamLost
from routebook.upstream.call import Call
from routebook.upstream.decode import DecodeError, Inflater
from routebook.upstream.faults import describe
from routebook.upstream.fields import NO_FIELDS, Fields, fields_of
from routebook.upstream.slowly import Slowly
from routebook.upstream.target import Payload
from routebook.wire.http import HttpHead
from routebook.wire.outbox import Outbox

HEAD_LIMIT = 64 * 1024
"""Bytes of an answer without one byte of body: status line and headers, 1xx answers, chunk extensions, trailers."""
RETRY_WINDOW = 2.0
"""Seconds after the request in which a silent death of a reused connection means that the provider had closed it.

Later it may have died over the request itself, which the provider then has worked on: not ours to repeat.
"""
_PLAINTEXT = memoryview(bytearray(64 * 1024))
"""Where TLS decrypts to. A loop reads into it and hands it on without a step of anything else in between, and the
parser copies what it passes on, so one is enough. Without it uvloop (0.23) asks for 256 KiB of fresh memory for every
read and gives back all but what was read: three system calls and the page faults, which is more than TLS itself costs.
"""
_LINGER_NOT = struct.pack("ii", 1, 0)


class Home(Protocol):
    """Where a connection lives between requests (the pool of one origin)."""

    def closed(self, connection: Connection) -> None: ...
    def proven(self, connection: Connection) -> None: ...
    def give_back(self, connection: Connection, now: float, keep_alive: str | None) -> None: ...
    def redial(self, call: Call) -> None: ...
    def withdraw(self, connection: Connection) -> None: ...


class Connection(asyncio.BaseProtocol):
    """Carries one request at a time; see the module docstring. A socket is a `Plain` or a `Secure` one."""

    __slots__ = (
        "_after",
        "_answered",
        "_begun",
        "_complete",
        "_decoder",
        "_fields",
        "_flaw",
        "_head",
        "_headers",
        "_home",
        "_keep",
        "_loop",
        "_outbox",
        "_parser",
        "_parts",
        "_proven",
        "_quiet",
        "_rest",
        "_sock",
        "_unsent",
        "_wide",
        "call",
        "expires",
        "gone",
        "on_body",
        "on_header",
        "transport",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, outbox: Outbox, home: Home, sock: socket.socket) -> None:
        self._loop = loop
        self._outbox = outbox
        self._home = home
        self._sock: socket.socket | None = sock
        self.transport: asyncio.Transport | None = None
        self.call: Call | None = None
        self.gone = False
        self.expires = 0.0
        self._unsent = False  # the request is in the outbox
        self._proven = False  # a byte of some answer has arrived
        self._rest: Slowly | None = None  # of a large request
        self._parts: list[bytes] = []
        self._headers: dict[bytes, bytes] = {}
        self.on_body: Callable[[bytes], None] = self._parts.append
        # the same as `self._headers.__setitem__`, without the wrapper around that: half the cost of a header
        self.on_header: Callable[[bytes, bytes], None] = MethodType(operator.setitem, self._headers)
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._head: HttpHead | None = None  # parsed, not yet given to the sink
        self._fields: Fields = NO_FIELDS
        self._answered = False  # the final head has been given to the sink
        self._begun = False  # a byte of the answer has arrived
        self._complete = False
        self._after: int | None = None  # body parts of this answer, if bytes of another follow
        self._keep = False
        self._flaw: str | None = None
        self._quiet = 0
        self._wide = False
        self._decoder: Inflater | None = None

    # What the pool and the call do with it

    def start(self, call: Call, payload: Payload, now: float) -> bool:
        """Have the request of `call` written when the loop has looked at its sockets once more. False if the connection
        has died meanwhile; then nothing will be."""
        transport = self.transport
        if self.gone or transport is None or transport.is_closing():
            return False
        # Forget the last answer. `_after` and `_flaw` are None: with either, the connection would not have been kept.
        self._begun = self._answered = self._complete = self._wide = False
        self._decoder = self._rest = None
        self._quiet = 0
        if self._headers:  # trailers
            self._headers.clear()
        self.call = call
        call.connection = self
        call.wrote_at = now
        if call.paused:
            transport.pause_reading()
        self._unsent = True
        self._outbox.put(self._leave, payload)
        return True

    def _leave(self, payload: Payload) -> None:
        """Out of the outbox, unless nobody wants it any more. The sink hears of the first time only, where a dead
        connection was replaced."""
        self._unsent = False
        call, transport = self.call, self.transport
        if call is None or transport is None or transport.is_closing():
            return
        if isinstance(payload, bytes):
            transport.write(payload)
        else:
            self._rest = Slowly(self._loop, transport, payload)
            self._rest.go_on()
        if call.wrote:
            return
        call.wrote = True
        try:
            call.sink.sent()
        except Exception as error:  # a sink's mistake is not the loop's, nor the other requests'
            self._loop.call_exception_handler(
                {"message": "who listens to a provider's answer must not raise", "exception": error}
            )

    def read(self, on: bool) -> None:
        """Go on reading, or stop."""
        if self.transport is not None and not self.transport.is_closing():
            if on:
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()

    def reset(self) -> None:
        """Close at once so that the other side notices: a RST where the system allows it."""
        if self._sock is not None and not self.gone:
            with contextlib.suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self.discard()

    def discard(self) -> None:
        """Close; idempotent. A call that is on it must have been taken off before."""
        self.call = None
        if not self.gone:
            self.gone = True
            self._home.withdraw(self)
            if self.transport is not None:
                self.transport.abort()

    def tls(self) -> object | None:
        """The `ssl.SSLObject` below, None on a plain connection."""
        return None if self.transport is None else cast("object | None", self.transport.get_extra_info("ssl_object"))

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if self.gone:  # given up during the handshake
            self.transport.abort()

    def pause_writing(self) -> None:
        if self._rest is not None:
            self._rest.pause()

    def resume_writing(self) -> None:
        if self._rest is not None:
            self._rest.resume()

    def _received(self, data: bytes | memoryview) -> None:
        """One read, from the parser to the sink: the head, the body, the end or the loss."""
        call, parser = self.call, self._parser
        if call is None or parser is None or self._unsent:
            self._stray(call)
            return
        if not self._begun:
            self._begun = True
            call.payload = None
            if not self._proven:
                self._proven = True
                self._home.proven(self)
        size = self._quiet + len(data)
        if size > HEAD_LIMIT:
            self._wide = True
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._flaw = self._flaw or "it switched protocols"
        except httptools.HttpParserError as error:
            self._flaw = self._flaw or f"it is not valid HTTP/1.1: {error}"
        try:
            parts = self._parts
            if self._after is not None:
                del parts[self._after :]
            head = self._head
            if head is not None:
                self._head = None
                size = 0
                if self._fields.layout.coded or call.bodiless:
                    head = self._prepare(call, head)
                    if head is None:
                        return
                self._answered = True
                call.sink.head(head)
                if self.call is not call:
                    return
            if parts and self._answered:
                size = 0
                chunk = parts[0] if len(parts) == 1 else b"".join(parts)
                parts.clear()
                if self._decoder is None:
                    call.sink.data(chunk)
                else:
                    self._inflate(call, self._decoder, chunk)
                if self.call is not call:
                    return
            self._quiet = size
            if self._complete:
                self._finish(call)
            elif self._flaw is not None:
                self._fail(
                    call, f"The answer of {call.label} was given up: {self._flaw}; check the provider's base_url."
                )
            elif size > HEAD_LIMIT:
                self._fail(call, f"The answer of {call.label} was given up: its head or framing is larger than 64 KiB.")
        except BaseException:
            self.reset()
            raise

    def _stray(self, call: Call | None) -> None:
        """Bytes that belong to no request, or came before it had left: nothing that comes here can be trusted."""
        self.discard()
        if call is None:
            return
        call.connection = None
        if call.reused:
            self._home.redial(call)
        else:
            call.lose(UpstreamLost(f"{call.label} answered before it was asked; check its base_url.", sent=call.wrote))

    def eof_received(self) -> None:
        self._peer_closed(None)
        if self.transport is not None:
            self.transport.abort()  # a plain close would first wait for what is still to be written

    def connection_lost(self, exc: Exception | None) -> None:
        self._peer_closed(exc)
        self._home.closed(self)
        self.transport = None
        self._sock = None
        self._rest = None
        self._parser = None  # it holds methods of this object: break the cycle

    # llhttp

    def on_message_begin(self) -> None:
        if self._complete and self._after is None:
            self._after = len(self._parts)

    def on_headers_complete(self) -> None:
        parser = self._parser
        if parser is None or self._complete:
            return
        if self._wide and sum(map(len, self._headers)) + sum(map(len, self._headers.values())) > HEAD_LIMIT:
            self._flaw = self._flaw or "its head is larger than 64 KiB"
            return
        status = parser.get_status_code()
        if status < 200:
            self._headers.clear()
            return
        self._keep = parser.should_keep_alive()
        self._fields = fields_of(self._headers)
        self._headers.clear()
        self._head = HttpHead(status, self._fields)

    def on_message_complete(self) -> None:
        if self._head is not None or self._answered:
            self._complete = True

    # From the parser to the sink

    def _prepare(self, call: Call, head: HttpHead) -> HttpHead | None:
        """Get ready for a body that is coded or must be none. The head as the sink is to see it, None after a loss."""
        if call.bodiless:
            self._complete, self._keep = True, False
        fields = self._fields
        coding, encoding = fields.get("transfer-encoding", "chunked"), fields.get("content-encoding", "").lower()
        flaw = None if coding.lower() == "chunked" else "its transfer encoding is not chunked"
        if flaw is None and encoding not in ("identity", ""):
            try:
                self._decoder = Inflater(encoding)
            except DecodeError as error:
                flaw = f"it has {error}"
            plain = {k: v for k, v in fields.items() if k not in ("content-encoding", "content-length")}
            head = HttpHead(head.status, plain)
        if flaw is not None:
            self._fail(call, f"The answer of {call.label} was given up: {flaw}; check the provider's base_url.")
            return None
        return head

    def _inflate(self, call: Call, decoder: Inflater, chunk: bytes) -> None:
        try:
            for plain in decoder.feed(chunk):
                call.sink.data(plain)
                if self.call is not call:
                    return
        except DecodeError as error:
            self._fail(
                call, f"The answer of {call.label} was given up: it has {error}; try again, or tell the provider."
            )

    def _finish(self, call: Call) -> None:
        """The answer is over: first the connection goes where it belongs, then the sink hears of it."""
        if self._decoder is not None and not self._decoder.whole and not call.bodiless:
            self._fail(call, f"{call.label} cut its compressed answer off; try again.")
            return
        self.call = None
        call.done = True
        call.payload = call.connection = None
        transport = self.transport
        if (
            self._keep
            and self._after is None
            and self._flaw is None
            and not self.gone
            and transport is not None
            and (self._rest is None or self._rest.done)
            and transport.get_write_buffer_size() == 0
        ):
            if call.paused:
                self.read(True)
            fields = self._fields
            self._home.give_back(self, self._loop.time(), fields["keep-alive"] if fields.layout.lasting else None)
        else:
            self.discard()
        call.sink.end()

    def _fail(self, call: Call, message: str) -> None:
        self.reset()
        call.lose(UpstreamLost(message))

    def _peer_closed(self, exc: Exception | None) -> None:
        """End of file, a reset, or our own abort: settle what was under way."""
        call = self.call
        self.call = None
        if not self.gone:
            self.gone = True
            self._home.withdraw(self)
        if call is None:
            return
        call.connection = None
        cause = f"({describe(exc)})" if exc is not None else "(end of file)"
        until_eof = not self._fields.layout.framed
        # A paused TLS connection drops what it has not read yet, so that its end of file proves nothing.
        if self._answered and until_eof and exc is None and not call.paused:
            self._finish(call)
        elif self._answered:
            call.lose(UpstreamLost(f"{call.label} cut its answer off {cause}; try again."))
        elif self._begun:
            call.lose(UpstreamLost(f"{call.label} cut the head of its answer off {cause}; try again."))
        elif call.reused and self._loop.time() - call.wrote_at <= RETRY_WINDOW:
            self._home.redial(call)
        else:
            message = f"{call.label} closed the connection without an answer {cause}; try again."
            call.lose(UpstreamLost(message, sent=call.wrote))


class Plain(Connection, asyncio.Protocol):
    """On a bare socket."""

    __slots__ = ()
    data_received = Connection._received


class Secure(Connection, asyncio.BufferedProtocol):
    """Under TLS. What is decrypted goes into one buffer that all connections share: see `_PLAINTEXT`."""

    __slots__ = ()

    def get_buffer(self, sizehint: int) -> memoryview:
        return _PLAINTEXT

    def buffer_updated(self, nbytes: int) -> None:
        self._received(_PLAINTEXT[:nbytes])
