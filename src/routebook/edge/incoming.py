"""Requests as they are read: the parser's callbacks, the caps, and the rules that a head must pass.

Sources: RFC 9112 (message framing, sections 2-7), RFC 9110 (sections 7.2, 10.1.1, 15). What the parser itself refuses
(both lengths, folded lines, bare line feeds, blanks before a colon, bad chunks, …) is not looked for again here.
A request that breaks a rule gets one answer and the connection is read no further, so nothing hides behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container

import httptools

from routebook.core.errors import BadRequest, Fault, TooLarge
from routebook.edge.recall import Known, learn
from routebook.edge.request import Request
from routebook.wire.bulk import LARGE

HEAD_BYTES_MAX = 64 * 1024
HEADERS_MAX = 128
FRAMING_BYTES_MAX = 64 * 1024
"""Chunk sizes, chunk extensions and trailers of one request together, and FRAMING_PER_BYTE more for each body byte."""
FRAMING_PER_BYTE = 8
LESSONS = 3
"""Times that a connection tries to learn its head: some clients write a new one each time."""

_COMMON = (
    "accept accept-encoding accept-language authorization cache-control connection content-encoding content-length "
    "content-type cookie expect host http-referer origin pragma referer sec-fetch-mode traceparent transfer-encoding "
    "upgrade user-agent x-api-key x-forwarded-for x-openrouter-title x-request-id x-stainless-arch x-stainless-async "
    "x-stainless-lang x-stainless-os x-stainless-package-version x-stainless-raw-response x-stainless-read-timeout "
    "x-stainless-retry-count x-stainless-runtime x-stainless-runtime-version x-title"
).split()
_NAMES = {written.encode(): name for name in _COMMON for written in (name, name.title())}
_NAMES |= {b"HTTP-Referer": "http-referer"}
"""Spellings that clients use, to names in lower case: looking up is cheaper than decoding."""


class _Refused(Exception):
    """Ends parsing; its cause for the caller is the fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class Reader:
    """Turns the bytes of one connection into requests, in order. The parser calls its `on_` methods."""

    __slots__ = (
        "_known",
        "_limit",
        "_lines",
        "_now_ns",
        "_parser",
        "_read",
        "_recalled",
        "_ticked_ns",
        "_untaught",
        "_wish",
        "arrived",
        "current",
        "deaf",
    )

    def __init__(self, body_limit: int, now_ns: Callable[[], int], recalled: Container[bytes] = ()) -> None:
        """`recalled`: targets whose heads are worth remembering."""
        self._limit = body_limit
        self._now_ns = now_ns
        self._recalled = recalled
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._lines: list[tuple[bytes, bytes]] = []
        self._read = 0
        self._wish = False
        """the request that is coming asks for another protocol"""
        self._ticked_ns = 0
        self._known: Known | None = None
        self._untaught = LESSONS + 1
        """the first request teaches nothing yet: many connections have no second one"""
        self.current: Request | None = None
        """the request whose bytes are coming"""
        self.arrived: deque[Request] = deque()
        """complete ones, and at the end perhaps one with a fault"""
        self.deaf = False
        """nothing more is read: after a fault, or a last request"""

    def feed(self, data: bytes, ticked_ns: int) -> None:
        """`ticked_ns`: what time it was at the last tick; deadlines need no more."""
        parser, known = self._parser, self._known
        if self.deaf or parser is None:
            return
        request = self.current
        if request is None:
            if known is not None and (request := known.again(data, ticked_ns)) is not None:
                request.accepted_ns = self._now_ns()
                if request.missing:
                    self.current = request
                else:
                    self.arrived.append(request)
                return
        elif request.missing:
            self._go_on(request, data, ticked_ns)
            return
        alone = self.current is None and not self.arrived
        self._read = len(data)
        self._ticked_ns = ticked_ns
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_without(memoryview(data), upgrade)
        except httptools.HttpParserError as error:
            self._broken(error)
        request = self.current
        if request is not None:
            self._look_at_part(request)
        elif alone and self._untaught and len(self.arrived) == 1 and self.arrived[0].target in self._recalled:
            self._untaught -= 1
            if self._untaught < LESSONS:
                self._known = learn(data, self.arrived[0], self._recalled, self._limit) or self._known

    def _go_on(self, request: Request, data: bytes, ticked_ns: int) -> None:
        """More of a body of which everything is known but its bytes."""
        rest = data[request.missing :]
        part = data[: request.missing] if rest else data
        request.body.append(part)
        request.size += len(part)
        request.missing -= len(part)
        if not request.missing:
            self.arrived.append(request)
            self.current = None
        if rest:
            self.feed(rest, ticked_ns)

    def refuse(self, fault: Fault) -> None:
        """The request that is coming, or whatever comes, is answered with the fault; nothing after it is read."""
        request = self.current or Request(self._ticked_ns)
        self.current = None
        self.deaf = True
        request.fault = fault
        request.close = True
        request.body, request.large = [], None
        self.arrived.append(request)

    def shut(self) -> None:
        """Let go of the parser, which holds this object."""
        self.deaf = True
        self._parser = self._known = self.current = None

    def _go_on_without(self, data: memoryview, upgrade: httptools.HttpParserUpgrade) -> None:
        """The client would rather speak another protocol, and nobody here does: what it said in HTTP/1.1 counts, and so
        does what it says after that. Java's client sends such a wish with its first request, body and all.

        The parser stops at the end of that head and drops the body; another one, told the body's length, reads it.
        """
        while True:
            data = data[upgrade.args[0] :]
            self._wish = False
            rest = _Rest(self)
            self._parser = parser = httptools.HttpRequestParser(rest)
            try:
                if self.current is not None:
                    parser.feed_data(rest.head(self.current.headers))
                rest.first = False
                parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as another:
                upgrade = another
            except httptools.HttpParserError as error:
                self._broken(error)
                return

    def _broken(self, error: httptools.HttpParserError) -> None:
        cause = error.__context__
        if isinstance(cause, _Refused):
            self.refuse(cause.fault)
            return
        if isinstance(error, httptools.HttpParserCallbackError):
            raise error
        if self.current is None:
            self.deaf = True  # bytes after a request that said it was the last one
            return
        self.refuse(_unreadable(str(error)))

    def _look_at_part(self, request: Request) -> None:
        """Caps on what is not complete after a read; what came within one read is small enough anyway."""
        request.framing += self._read
        if not request.method:
            if request.framing > HEAD_BYTES_MAX or len(self._lines) > HEADERS_MAX:
                self.refuse(_head_too_large(request))
        elif request.framing - request.size > FRAMING_BYTES_MAX + FRAMING_PER_BYTE * request.size:
            self.refuse(TooLarge("Chunk extensions or trailers are too long; send the body without them."))

    # --- the parser -------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._lines = []
        self.current = Request(self._ticked_ns)

    def on_url(self, url: bytes) -> None:
        assert self.current is not None
        self.current.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers land here as well and stay in a list that nobody looks at.
        self._lines.append((name, value))

    def on_headers_complete(self) -> None:
        request, parser = self.current, self._parser
        assert request is not None
        assert parser is not None
        request.method = parser.get_method()
        request.lines = lines = self._lines
        self._lines = []
        if request.framing + self._read > HEAD_BYTES_MAX and _head_bytes(request.target, lines) > HEAD_BYTES_MAX:
            raise _Refused(_head_too_large(request))
        request.framing = -self._read
        headers = request.headers
        for name, value in lines:
            key = _NAMES.get(name) or name.decode("latin-1").lower()
            if key not in headers:
                headers[key] = value.decode("latin-1")
            elif key == "host":
                raise _Refused(BadRequest("The request has two Host headers; send one."))
        request.close = not parser.should_keep_alive()
        fault = self._judge(request, parser)
        if fault is not None:
            raise _Refused(fault)
        request.accepted_ns = self._now_ns()

    def on_body(self, data: bytes) -> None:
        request = self.current
        assert request is not None
        request.size += len(data)
        if request.size > self._limit:
            raise _Refused(too_large(self._limit))
        if request.size <= LARGE:
            request.body.append(data)
        else:
            request.enlarge(data)

    def on_message_complete(self) -> None:
        request = self.current
        assert request is not None
        if self._wish and _has_body(request.headers):
            return
        self.arrived.append(request)
        self.current = None
        if request.close:
            self._known = None

    def _judge(self, request: Request, parser: httptools.HttpRequestParser) -> Fault | None:
        """What is wrong with a complete head, None if nothing."""
        headers, version = request.headers, parser.get_http_version()
        if version != "1.1":
            if version != "1.0":
                return _version_unknown()
            if "transfer-encoding" in headers:
                return BadRequest("HTTP/1.0 has no Transfer-Encoding; send a Content-Length.")
            request.old = request.close = True
        elif "host" not in headers:
            return BadRequest("The Host header is missing; HTTP/1.1 asks for one.")
        if len(request.lines) > HEADERS_MAX:
            return _head_too_large(request)
        if "transfer-encoding" in headers and (coding := headers["transfer-encoding"].strip().lower()) != "chunked":
            return _coding_unknown(coding)
        if "content-length" in headers and int(headers["content-length"]) > self._limit:
            return too_large(self._limit)
        if "content-encoding" in headers and headers["content-encoding"].strip().lower() not in ("", "identity"):
            return compressed()
        if "expect" in headers:
            if headers["expect"].lower() != "100-continue":
                return BadRequest("The only expectation known here is 100-continue.", status=417)
            request.expects = not request.old
        if request.method == b"CONNECT":
            return _not_implemented("This is no proxy; CONNECT is not served.")
        if "upgrade" in headers:
            self._wish = parser.should_upgrade()
        return None


class _Rest:
    """What the parser calls that reads on after a wish for another protocol: at first only a body, then all."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.first = True
        """the head is our own"""
        self.on_header = reader.on_header
        self.on_body = reader.on_body
        self.on_message_complete = reader.on_message_complete

    def head(self, headers: dict[str, str]) -> bytes:
        """Enough of a head for the parser to know where the body ends."""
        name = "content-length" if "content-length" in headers else "transfer-encoding"
        return f"POST / HTTP/1.1\r\n{name}: {headers[name]}\r\n\r\n".encode("latin-1")

    def on_message_begin(self) -> None:
        if not self.first:
            self._reader.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self.first:
            self._reader.on_url(url)

    def on_headers_complete(self) -> None:
        if not self.first:
            self._reader.on_headers_complete()


def _has_body(headers: dict[str, str]) -> bool:
    return "transfer-encoding" in headers or int(headers.get("content-length", "0")) > 0


def too_large(limit: int) -> TooLarge:
    """413: a body above the limit."""
    return TooLarge(f"The request body is larger than {limit} bytes; send less, or raise [limits] body_bytes.")


def compressed() -> BadRequest:
    """415: a body in some coding."""
    return BadRequest("Compressed request bodies are not taken; send it with Content-Encoding: identity.", status=415)


def _head_bytes(target: bytes, lines: list[tuple[bytes, bytes]]) -> int:
    return len(target) + sum(len(name) + len(value) + 4 for name, value in lines)


def _head_too_large(request: Request) -> BadRequest:
    if len(request.target) > HEAD_BYTES_MAX // 2:
        return BadRequest(f"The request line is longer than {HEAD_BYTES_MAX} bytes.", status=414)
    return BadRequest(
        f"The request head has more than {HEAD_BYTES_MAX} bytes or {HEADERS_MAX} lines; send fewer headers.", status=431
    )


def _version_unknown() -> Fault:
    return Fault("Only HTTP/1.1 and HTTP/1.0 are spoken here.", status=505, error_type="invalid_request")


def _coding_unknown(coding: str) -> Fault:
    if coding.endswith("chunked"):
        return _not_implemented("Only the transfer coding `chunked` is known; send the body plain.")
    return BadRequest("The last transfer coding of a request must be `chunked`.")


def _not_implemented(message: str) -> Fault:
    return Fault(message, status=501, error_type="invalid_request")


def _unreadable(reason: str) -> Fault:
    """What the parser's sentence means for the caller."""
    if reason.startswith(("Invalid HTTP version", "Pause on PRI")):
        return _version_unknown()
    return BadRequest(f"The request is not valid HTTP/1.1 ({reason}); the connection is closed.")
