"""What a provider may answer, and what the sink hears of it."""

from __future__ import annotations

import asyncio
import gzip
import zlib

import pytest

from routebook.core.errors import UpstreamLost
from routebook.upstream.client import Client
from routebook.wire.http import HttpRequest
from tests.upstream.harness import OK, Peer, answer, ask, client_of, once, post, send, serve

pytestmark = pytest.mark.anyio

CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_a_request_arrives_whole_with_the_headers_that_http_wants() -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.write(OK)

    async with serve(script) as server, client_of(Client()) as client:
        recorder = await ask(client, post(server, b'{"a":1}', (("Authorization", "Bearer x"), ("X-A", "b"))))
        head, body = seen[0]
        lines = head.decode().split("\r\n")
        assert lines[0] == "POST /v1/chat?x=1 HTTP/1.1"
        assert f"Host: 127.0.0.1:{server.port}" in lines
        assert "Content-Length: 7" in lines
        assert "Accept-Encoding: identity" in lines
        assert any(line.startswith("User-Agent: routebook/") for line in lines)
        assert "Authorization: Bearer x" in lines
        assert "X-A: b" in lines
        assert body == b'{"a":1}'
    assert recorder.order == ["sent", "head", "data", "end"]
    assert (recorder.status, recorder.body) == (200, b"ok")


async def test_a_large_body_arrives_whole() -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append((await peer.request())[1])
        await peer.write(OK)

    body = bytes(range(256)) * 40_000
    async with serve(script) as server, client_of(Client()) as client:
        assert (await ask(client, post(server, body))).body == b"ok"
    assert seen == [body]


async def test_nothing_is_called_back_from_inside_send() -> None:
    async with serve(answer(OK)) as server, client_of(Client()) as client:
        await ask(client, post(server))
        warm, _ = send(client, post(server))
        refused, _ = send(client, post(server, headers=(("X", "a\nb"),)))
        assert warm.calls == []
        assert refused.calls == []
        await warm.wait()
        await refused.wait()


@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
async def test_a_chunked_body_is_the_same_however_it_is_cut(size: int) -> None:
    raw = CHUNKED + b"5\r\nhello\r\n1;ext=1\r\n \r\n5\r\nworld\r\n0\r\nX-Trailer: 1\r\n\r\n"
    pieces = [raw[i : i + size] for i in range(0, len(raw), size)]
    async with serve(answer(*pieces)) as server, client_of(Client()) as client:
        for _ in range(2):
            recorder = await ask(client, post(server))
            assert recorder.body == b"hello world"
            assert recorder.order == ["sent", "head", "data", "end"]
            assert "x-trailer" not in recorder.headers
        assert server.accepted == 1


async def test_one_read_is_one_piece_of_data() -> None:
    events = b"".join(b"3\r\nabc\r\n" for _ in range(50))
    async with serve(answer(CHUNKED + events + b"0\r\n\r\n")) as server, client_of(Client()) as client:
        recorder = await ask(client, post(server))
    assert recorder.body == b"abc" * 50
    assert len(recorder.chunks) == 1


async def test_header_names_are_lower_case_and_the_last_of_a_repeated_one_wins() -> None:
    raw = b"HTTP/1.1 200 OK\r\nX-Request-ID: one\r\nx-request-id:  two \r\nContent-Length: 0\r\n\r\n"
    async with serve(answer(raw)) as server, client_of(Client()) as client:
        recorder = await ask(client, post(server))
    assert recorder.headers == {"x-request-id": "two", "content-length": "0"}
    assert recorder.order == ["sent", "head", "end"]


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_an_answer_without_a_body_ends_with_its_head(status: str) -> None:
    async with serve(answer(f"HTTP/1.1 {status}\r\n\r\n".encode())) as server, client_of(Client()) as client:
        for _ in range(2):
            assert (await ask(client, post(server))).order == ["sent", "head", "end"]
        assert server.accepted == 1


async def test_an_answer_to_head_has_no_body_whatever_it_says() -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
    async with serve(answer(raw)) as server, client_of(Client()) as client:
        recorder = await ask(client, HttpRequest("HEAD", server.url))
    assert recorder.order == ["sent", "head", "end"]


async def test_interim_answers_are_swallowed() -> None:
    raw = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    async with serve(answer(raw, OK)) as server, client_of(Client()) as client:
        recorder = await ask(client, post(server))
    assert recorder.order == ["sent", "head", "data", "end"]
    assert recorder.status == 200
    assert "link" not in recorder.headers


async def test_a_switch_of_protocols_is_a_loss() -> None:
    raw = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\nxx"
    async with serve(answer(raw)) as server, client_of(Client()) as client:
        recorder = await ask(client, post(server))
    assert recorder.order == ["sent", "lost"]
    assert "switched protocols" in str(recorder.fault)


async def test_a_redirect_is_delivered_and_not_followed() -> None:
    raw = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    async with serve(answer(raw)) as server, client_of(Client()) as client:
        recorder = await ask(client, post(server))
        assert server.accepted == 1
    assert recorder.status == 307
    assert recorder.headers["location"] == "http://127.0.0.1:1/"


async def test_end_of_file_ends_a_body_without_length() -> None:
    async with serve(once(b"HTTP/1.1 200 OK\r\n\r\nall of it")) as server, client_of(Client()) as client:
        recorder = await ask(client, post(server))
    assert recorder.order == ["sent", "head", "data", "end"]
    assert recorder.body == b"all of it"


@pytest.mark.parametrize(
    ("raw", "order"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", ["sent", "head", "data", "lost"]),
        (CHUNKED + b"5\r\nhello\r\n", ["sent", "head", "data", "lost"]),
        (CHUNKED + b"5\r\nhel", ["sent", "head", "data", "lost"]),
        (CHUNKED + b"zz\r\nhello\r\n", ["sent", "head", "lost"]),
        (b"HTTP/1.1 200 OK\r\nContent-", ["sent", "lost"]),
        (b"", ["sent", "lost"]),
        (b"SSH-2.0-OpenSSH_9.2\r\n", ["sent", "lost"]),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ["sent", "lost"]),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", ["sent", "lost"]),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab", ["sent", "lost"]),
    ],
)
async def test_an_answer_that_is_not_whole_or_not_http_is_a_loss(raw: bytes, order: list[str]) -> None:
    async with serve(once(raw)) as server, client_of(Client()) as client:
        recorder = await ask(client, post(server))
    assert recorder.order == order
    assert isinstance(recorder.fault, UpstreamLost)
    assert recorder.fault.sent
    assert f"127.0.0.1:{server.port}" in recorder.fault.message


async def test_a_reset_in_a_body_without_length_is_a_loss() -> None:
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(b"HTTP/1.1 200 OK\r\n\r\nsome")
        await go.wait()
        peer.reset()

    async with serve(script) as server, client_of(Client()) as client:
        recorder, _ = send(client, post(server))
        await recorder.until("data")
        go.set()
        await recorder.wait()
    assert recorder.order == ["sent", "head", "data", "lost"]


@pytest.mark.parametrize(
    "bomb",
    [
        b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 20_000,
        b"HTTP/1.1 200 OK\r\nX-A: " + b"b" * 200_000,
        b"HTTP/1.1 200 OK\r\nX-A: " + b"b" * 100_000 + b"\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 5_000,
        CHUNKED + b"1\r\na\r\n0\r\n" + b"X-T: b\r\n" * 200_000,
        CHUNKED + b"1;" + b"e" * 900_000,
    ],
    ids=["many headers", "endless header", "one fat header", "interim flood", "trailers", "chunk extension"],
)
async def test_a_bomb_in_head_or_framing_is_a_loss(bomb: bytes) -> None:
    async with serve(answer(bomb)) as server, client_of(Client()) as client:
        recorder = await ask(client, post(server))
    assert recorder.calls[-1] == "lost"
    assert "64 KiB" in str(recorder.fault)


async def test_a_head_just_below_the_limit_is_fine() -> None:
    raw = b"HTTP/1.1 200 OK\r\nX-A: " + b"b" * 60_000 + b"\r\nContent-Length: 2\r\n\r\nok"
    async with serve(answer(raw)) as server, client_of(Client()) as client:
        recorder = await ask(client, post(server))
    assert recorder.body == b"ok"
    assert len(recorder.headers["x-a"]) == 60_000


def _zip_deflate(data: bytes) -> bytes:
    return zlib.compress(data)


def _raw_deflate(data: bytes) -> bytes:
    return zlib.compress(data)[2:-4]


def _two_members(data: bytes) -> bytes:
    return gzip.compress(data[:10]) + gzip.compress(data[10:])


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("gzip", _two_members),
        ("deflate", _zip_deflate),
        ("Deflate", _raw_deflate),
    ],
)
async def test_a_compressed_answer_is_decoded_although_identity_was_asked(encoding: str, pack: object) -> None:
    assert callable(pack)
    plain = b"data: hello, hello, hello\n\n" * 9000
    packed = pack(plain)
    raw = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (encoding.encode(), len(packed))
    async with serve(answer(raw, packed[:3], packed[3:])) as server, client_of(Client()) as client:
        recorder = await ask(client, post(server))
    assert recorder.body == plain
    assert recorder.calls[-1] == "end"
    assert "content-encoding" not in recorder.headers
    assert "content-length" not in recorder.headers
    assert max(map(len, recorder.chunks)) <= 64 * 1024


@pytest.mark.parametrize(
    ("encoding", "body", "says"),
    [
        (b"gzip", gzip.compress(bytes(20 * 2**20)), "beyond every measure"),
        (b"gzip", b"this is not gzip", "damaged"),
        (b"gzip", gzip.compress(b"x" * 1000)[:-9], "cut its compressed answer off"),
        (b"br", b"xxxx", "not asked for"),
        (b"gzip, gzip", b"xxxx", "not asked for"),
    ],
    ids=["bomb", "lie", "cut", "unknown", "twice"],
)
async def test_a_compressed_answer_that_cannot_be_trusted_is_a_loss(encoding: bytes, body: bytes, says: str) -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (encoding, len(body))
    async with serve(answer(raw + body)) as server, client_of(Client()) as client:
        recorder = await ask(client, post(server))
    assert recorder.calls[-1] == "lost"
    assert says in str(recorder.fault)
    assert len(recorder.body) < 4 * 2**20


@pytest.mark.parametrize(
    "header",
    [
        ("X-A", "b\r\nX-Evil: 1"),
        ("X-A", "b\nX-Evil: 1"),
        ("X-A", "b\rc"),
        ("X-A", "b\0c"),
        ("X-A: b\r\nX-Evil", "1"),
        ("X A", "b"),
        ("", "b"),
        ("X-A", "\u20ac"),
        ("Transfer-Encoding", "chunked"),
        ("Content-Length", "1"),
        ("Connection", "close"),
    ],
)
async def test_a_header_that_could_smuggle_is_refused_before_anything_is_sent(header: tuple[str, str]) -> None:
    async with serve(answer(OK)) as server, client_of(Client()) as client:
        recorder = await ask(client, post(server, headers=(header,)))
        assert server.accepted == 0
    assert recorder.calls == ["lost"]
    assert isinstance(recorder.fault, UpstreamLost)
    assert not recorder.fault.sent
    assert "Evil" not in recorder.fault.message


@pytest.mark.parametrize(
    "url",
    [
        "/v1",
        "ftp://h/",
        "http://",
        "http://user:secret@127.0.0.1/",
        "http://127.0.0.1/a b",
        "http://h/\r\nX: y",
        "http://h:x/",
    ],
)
async def test_a_url_that_leads_nowhere_is_refused_without_quoting_it(url: str) -> None:
    async with client_of(Client()) as client:
        recorder = await ask(client, HttpRequest("GET", url))
    assert recorder.calls == ["lost"]
    assert isinstance(recorder.fault, UpstreamLost)
    assert not recorder.fault.sent
    assert "secret" not in recorder.fault.message
