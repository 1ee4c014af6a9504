"""Raw bytes that are no request, or two: each has its answer, and nothing after it on the connection is believed.

Every case carries a second request behind the bad bytes. Where the answer is a refusal, that one must never be
answered: it is what a smuggler would have hidden there. `asgi` is what uvicorn makes of the bytes where that differs:
it knows fewer rules, and the cases say which; an empty list where nothing certain comes back. Sources: RFC 9112
sections 2.2, 2.3, 3, 5, 6, 7 and 11.2; RFC 9110 sections 7.2, 10.1.1 and 15.
"""

from __future__ import annotations

import msgspec
import pytest

from routebook.edge.framing import Heads
from routebook.edge.native_server import NativeServer
from tests.acceptance.gateway import RunningGateway
from tests.edge.conftest import connect
from tests.edge.wire import chunked, request

MARKED = request("GET", "/api/v1/smuggled")
"""answered with 404 if it is taken for a request"""

HOST = b"Host: gateway.test\r\n"
POST = b"POST /api/v1/chat/completions HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


class Case(msgspec.Struct, frozen=True):
    """Bytes, and the status of the refusal; for a list of statuses: of the answers, in order."""

    name: str
    sent: bytes
    native: int | list[int] = 400
    asgi: int | list[int] | None = None
    """None: the same"""


def head(*lines: bytes, line: bytes = b"GET /healthz HTTP/1.1") -> bytes:
    return b"\r\n".join([line, *lines]) + b"\r\n\r\n"


LENGTHS = [
    Case("length and chunks", POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"abcd")),
    Case("chunks and length", POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n" + chunked(b"abcd")),
    Case("two lengths", POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde"),
    Case("the same length twice", POST + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd"),
    Case("a list of lengths", POST + b"Content-Length: 4, 4\r\n\r\nabcd"),
    Case("a length with a sign", POST + b"Content-Length: +4\r\n\r\nabcd"),
    Case("a negative length", POST + b"Content-Length: -4\r\n\r\nabcd"),
    Case("a length in hexadecimal", POST + b"Content-Length: 0x4\r\n\r\nabcd"),
    Case("a length with a blank in it", POST + b"Content-Length: 4 4\r\n\r\nabcd"),
    Case("an empty length", POST + b"Content-Length: \r\n\r\nabcd"),
    Case("a length beyond 64 bits", POST + b"Content-Length: 99999999999999999999999\r\n\r\nabcd"),
    Case("a length that fills 64 bits", POST + b"Content-Length: 9223372036854775807\r\n\r\nabcd", 413, [413]),
    Case("a length in digits of another script", POST + "Content-Length: ٤\r\n\r\nabcd".encode()),
]
CODINGS = [
    Case("an unknown coding", POST + b"Transfer-Encoding: chonked\r\n\r\n"),
    Case("identity", POST + b"Transfer-Encoding: identity\r\n\r\n"),
    Case("gzip before chunked", POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + chunked(b"abcd"), 501, [401, 404]),
    Case("gzip after chunked", POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n" + chunked(b"abcd")),
    Case("chunked twice", POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + chunked(b"abcd")),
    Case("two coding headers", POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n" + chunked(b"abcd")),
    Case("a vertical tab before chunked", POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + chunked(b"abcd")),
    Case(
        "chunks in HTTP/1.0",
        b"POST /api/v1/chat/completions HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"abcd"),
        400,
        [401],
    ),
    Case("a blank before the colon", POST + b"Transfer-Encoding : chunked\r\n\r\n" + chunked(b"abcd")),
    Case("a chunk size that overflows", CHUNKED + b"FFFFFFFFFFFFFFFFF\r\nabcd\r\n0\r\n\r\n"),
    Case("a chunk size with 0x", CHUNKED + b"0x4\r\nabcd\r\n0\r\n\r\n"),
    Case("a negative chunk size", CHUNKED + b"-4\r\nabcd\r\n0\r\n\r\n"),
    Case("a chunk size with a blank", CHUNKED + b"4 \r\nabcd\r\n0\r\n\r\n"),
    Case("no chunk size", CHUNKED + b"\r\nabcd\r\n0\r\n\r\n"),
    Case("more data than the chunk says", CHUNKED + b"4\r\nabcdef\r\n0\r\n\r\n"),
    Case("a bare line feed after a chunk size", CHUNKED + b"4\nabcd\r\n0\r\n\r\n"),
    Case("a bare line feed after a chunk extension", CHUNKED + b"4;a\nabcd\r\n0\r\n\r\n"),
    Case("a bare line feed after the data", CHUNKED + b"4\r\nabcd\n0\r\n\r\n"),
    Case("a length in the trailers", CHUNKED + b"4\r\nabcd\r\n0\r\nContent-Length: 40\r\n\r\n"),
]
LINES = [
    Case("a folded line", head(HOST[:-2], b"X-A: a", b" b")),
    Case("a folded line with a tab", head(HOST[:-2], b"X-A: a", b"\tb")),
    Case("a blank before the first header", head(b" " + HOST[:-2])),
    Case("bare line feeds", b"GET /healthz HTTP/1.1\nHost: gateway.test\n\n"),
    Case("one bare line feed", b"GET /healthz HTTP/1.1\r\nHost: gateway.test\nX-A: b\r\n\r\n"),
    Case("a bare line feed at the end", b"GET /healthz HTTP/1.1\r\nHost: gateway.test\r\n\n"),
    Case("a bare carriage return", head(b"Host: gateway.test\rX-A: b")),
    Case("two carriage returns", b"GET /healthz HTTP/1.1\r\nHost: gateway.test\r\r\n\r\n"),
    Case("NUL in a value", head(HOST[:-2], b"X-A: a\0b")),
    Case("NUL in a name", head(HOST[:-2], b"X-\0A: ab")),
    Case("a control character in a value", head(HOST[:-2], b"X-A: a\x01b")),
    Case("DEL in a value", head(HOST[:-2], b"X-A: a\x7fb")),
    Case("a blank before the colon of any header", head(HOST[:-2], b"X-A : b")),
    Case("a name with a blank", head(HOST[:-2], b"X A: b")),
    Case("a header without a colon", head(HOST[:-2], b"X-A")),
    Case("a header without a name", head(HOST[:-2], b": b")),
    Case("a name with a high byte", head(HOST[:-2], b"X-\xc3\xa4: b")),
    Case("no Host", head(), 400, [200, 404]),
    Case("two Hosts", head(HOST[:-2], b"Host: other.test"), 400, [200, 404]),
    Case("an expectation nobody has", head(HOST[:-2], b"Expect: 200-ok"), 417, [200, 404]),
]
START = [
    Case("HTTP/0.9, the short form", b"GET /healthz\r\n\r\n", 505, [200]),
    Case("HTTP/0.9 by name", head(line=b"GET /healthz HTTP/0.9"), 505, [200]),
    Case("HTTP/1.2", head(HOST[:-2], line=b"GET /healthz HTTP/1.2"), 505, 400),
    Case("HTTP/2.0", head(HOST[:-2], line=b"GET /healthz HTTP/2.0"), 505, [200]),
    Case("HTTP/9.9", head(HOST[:-2], line=b"GET /healthz HTTP/9.9"), 505, 400),
    Case("HTTP/1.11", head(HOST[:-2], line=b"GET /healthz HTTP/1.11")),
    Case("http in small letters", head(HOST[:-2], line=b"GET /healthz http/1.1")),
    Case("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 505, 400),
    Case("a TLS greeting", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"\xaa" * 64),
    Case("an unknown method", head(HOST[:-2], line=b"BREW /healthz HTTP/1.1")),
    Case("a method in small letters", head(HOST[:-2], line=b"get /healthz HTTP/1.1")),
    Case("tabs for blanks", head(HOST[:-2], line=b"GET\t/healthz\tHTTP/1.1")),
    Case("a blank in the target", head(HOST[:-2], line=b"GET /health z HTTP/1.1")),
    Case("a control character in the target", head(HOST[:-2], line=b"GET /health\x01z HTTP/1.1")),
    Case("NUL in the target", head(HOST[:-2], line=b"GET /health\0z HTTP/1.1")),
    Case("a high byte in the target", head(HOST[:-2], line=b"GET /health\xffz HTTP/1.1")),
    Case("a target that is no path", head(HOST[:-2], line=b"GET healthz HTTP/1.1")),
    Case("CONNECT", head(HOST[:-2], line=b"CONNECT provider.test:443 HTTP/1.1"), 501, []),
    Case("only a line", b"\0\r\n\r\n"),
    Case("garbage", bytes(range(128, 256)) * 8),
]
SIZES = [
    Case("a long request line", head(HOST[:-2], line=b"GET /" + b"a" * 500_000 + b" HTTP/1.1"), 414, []),
    Case("a request line above the cap", head(HOST[:-2], line=b"GET /" + b"a" * 70_000 + b" HTTP/1.1"), 414, []),
    Case("a long header", head(HOST[:-2], b"X-A: " + b"a" * 500_000), 431, [200, 404]),
    Case("a header above the cap", head(HOST[:-2], b"X-A: " + b"a" * 70_000), 431, [200, 404]),
    Case("a long name", head(HOST[:-2], b"X" * 500_000 + b": a"), 431, [200, 404]),
    Case("many headers", head(HOST[:-2], *[b"X-%d: a" % n for n in range(200)]), 431, [200, 404]),
    Case("a header without an end", b"GET /healthz HTTP/1.1\r\nX-A: " + b"a" * 2_000_000, 431, []),
    Case("headers without an end", b"GET /healthz HTTP/1.1\r\n" + b"X-A: a\r\n" * 200_000, 431, []),
    Case("a long chunk extension", CHUNKED + b"4;" + b"a" * 2_000_000 + b"\r\nabcd\r\n0\r\n\r\n", 413, [401, 404]),
    Case("many chunk extensions", CHUNKED + b"1;" + (b"a" * 500 + b"\r\na\r\n1;") * 4000, 413, []),
    Case("long trailers", CHUNKED + b"4\r\nabcd\r\n0\r\n" + b"X-A: a\r\n" * 200_000 + b"\r\n", 413, [401, 404]),
]
CASES = [*LENGTHS, *CODINGS, *LINES, *START, *SIZES]


def expected(case: Case, edge: str) -> int | list[int]:
    return case.native if edge == "native" or case.asgi is None else case.asgi


def edge_of(gateway: RunningGateway) -> str:
    return gateway.gateway.app.settings.server.edge


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_bytes_that_are_no_request_have_their_answer(gateway: RunningGateway, case: Case) -> None:
    wanted = expected(case, edge_of(gateway))
    with connect(gateway) as wire:
        wire.offer(case.sent + MARKED)
        if isinstance(wanted, int):
            got = wire.to_the_end()
            assert [each.status for each in got] == [wanted], "one refusal and the end of the connection"
            assert wire.closed
        else:
            assert [wire.answer().status for _ in wanted] == wanted
        if edge_of(gateway) == "native":
            assert isinstance(wanted, int)
            (last,) = got
            assert last.headers["connection"] == "close"
            assert last.json()["error"]["code"] == wanted


@pytest.mark.parametrize("case", [*LENGTHS, *CODINGS], ids=[case.name for case in (*LENGTHS, *CODINGS)])
def test_the_same_bytes_in_small_pieces_have_the_same_answer(native: RunningGateway, case: Case) -> None:
    with connect(native) as wire:
        for place in range(0, len(case.sent), 3):
            wire.offer(case.sent[place : place + 3])
        wire.offer(MARKED)
        assert [each.status for each in wire.to_the_end()] == [case.native]


@pytest.mark.parametrize("bad", [b"%%%%\r\n\r\n", b"\0", POST + b"Content-Length: x\r\n\r\n"])
def test_good_requests_before_garbage_are_answered_first(gateway: RunningGateway, bad: bytes) -> None:
    with connect(gateway) as wire:
        wire.send(request() * 3 + bad + MARKED)
        statuses = [each.status for each in wire.to_the_end()]
    if edge_of(gateway) == "native":
        assert statuses == [200, 200, 200, 400]
    else:
        # uvicorn refuses at once, in front of what it has not answered yet, and drops that.
        assert 404 not in statuses


def test_bytes_behind_the_last_request_are_not_read(gateway: RunningGateway) -> None:
    with connect(gateway) as wire:
        wire.send(request(Connection="close") + MARKED)
        assert [each.status for each in wire.to_the_end()] == [200]


def test_empty_lines_before_a_request_are_skipped(gateway: RunningGateway) -> None:
    with connect(gateway) as wire:
        wire.send(b"\r\n\r\n" + request() + b"\r\n" + request())
        assert [wire.answer().status, wire.answer().status] == [200, 200]


@pytest.mark.parametrize(
    "target", ["/api/v1/models/a%0d%0aX-Injected:%20yes/b/endpoints", "/api/v1/%0d%0a%0d%0aHTTP/1.1%20200%20OK"]
)
def test_line_breaks_in_a_target_never_become_headers(gateway: RunningGateway, target: str) -> None:
    with connect(gateway) as wire:
        wire.send(request("GET", target) + request())
        got = [wire.answer(), wire.answer()]
    assert [each.status for each in got] == [404, 200]
    assert not wire.answers
    assert "x-injected" not in got[0].headers


def test_a_header_of_an_answer_cannot_hold_a_line_break(native: RunningGateway) -> None:
    heads = native.run(_heads(native))
    with pytest.raises(ValueError, match="line break"):
        heads.head(200, [("location", "/a\r\nx-injected: yes")], chunked=False, close=False)
    with pytest.raises(ValueError, match="line break"):
        heads.head(200, [("location", "/a\0b")], chunked=False, close=False)


async def _heads(native: RunningGateway) -> Heads:
    assert isinstance(native.server, NativeServer)
    return native.server.edge.heads
