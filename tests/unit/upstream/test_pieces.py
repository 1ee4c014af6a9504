"""Small parts of the transport: names remembered, idle times, decoding, the words for a failure."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import zlib

import pytest

from routebook.upstream.decode import DecodeError, Inflater
from routebook.upstream.faults import describe
from routebook.upstream.pool import Pool
from routebook.upstream.resolve import Address, Resolver
from routebook.upstream.tls import Sessions


class _Book(Resolver):
    """A resolver whose system answers from a list, and fails when it is empty."""

    def __init__(self, *answers: list[str], ttl: float = 1000.0) -> None:
        super().__init__(ttl=ttl)
        self.answers = list(answers)
        self.asked = 0

    async def _ask_system(self, host: str, port: int) -> list[Address]:
        self.asked += 1
        await asyncio.sleep(0)
        if not self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [Address(socket.AF_INET6 if ":" in ip else socket.AF_INET, (ip, port)) for ip in self.answers.pop(0)]


def test_many_askers_cost_one_look_up_and_the_answer_is_remembered() -> None:
    async def main() -> None:
        resolver = _Book(["10.0.0.1"])
        results = await asyncio.gather(*(resolver.resolve("many.test", 80) for _ in range(10)))
        results.append(await resolver.resolve("many.test", 80))
        assert {result[0].ip for result in results} == {"10.0.0.1"}
        assert resolver.asked == 1

    asyncio.run(main())


def test_an_answer_that_is_too_old_is_asked_for_again() -> None:
    async def main() -> None:
        resolver = _Book(["10.0.0.1"], ["10.0.0.2"], ttl=0.0)
        assert (await resolver.resolve("old.test", 80))[0].ip == "10.0.0.1"
        assert (await resolver.resolve("old.test", 80))[0].ip == "10.0.0.2"

    asyncio.run(main())


def test_a_failure_is_not_remembered() -> None:
    async def main() -> None:
        resolver = _Book()
        with pytest.raises(OSError, match="Name or service"):
            await resolver.resolve("new.test", 80)
        resolver.answers.append(["10.0.0.1"])
        assert (await resolver.resolve("new.test", 80))[0].ip == "10.0.0.1"

    asyncio.run(main())


def test_a_look_up_goes_on_when_one_of_its_askers_gives_up() -> None:
    async def main() -> None:
        resolver = _Book(["10.0.0.1"])
        first = asyncio.ensure_future(resolver.resolve("shared.test", 80))
        second = asyncio.ensure_future(resolver.resolve("shared.test", 80))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second)[0].ip == "10.0.0.1"
        assert resolver.asked == 1

    asyncio.run(main())


def test_families_alternate_and_doubles_are_dropped() -> None:
    async def main() -> None:
        resolver = _Book(["fd00::1", "fd00::2", "fd00::1", "10.0.0.1", "10.0.0.2", "10.0.0.3"])
        order = [address.ip for address in await resolver.resolve("both.test", 80)]
        assert order == ["fd00::1", "10.0.0.1", "fd00::2", "10.0.0.2", "10.0.0.3"]

    asyncio.run(main())


def test_an_address_is_not_looked_up() -> None:
    async def main() -> None:
        resolver = _Book()
        assert await resolver.resolve("10.0.0.1", 80) == [Address(socket.AF_INET, ("10.0.0.1", 80))]
        assert await resolver.resolve("fd00::1", 80) == [Address(socket.AF_INET6, ("fd00::1", 80, 0, 0))]
        assert resolver.asked == 0

    asyncio.run(main())


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 20.0),
        ("timeout=5", 4.0),
        ("timeout=5, max=1000", 4.0),
        ("max=7, timeout=10", 8.0),
        ("Timeout = 10", 8.0),
        ('timeout="10"', 8.0),
        ("timeout=0", 0.0),
        ("timeout=600", 20.0),
        ("max=7", 20.0),
        ("xtimeout=1", 20.0),
        ("timeout=soon", 20.0),
    ],
)
def test_a_connection_is_kept_for_less_than_the_server_keeps_it(header: str | None, seconds: float) -> None:
    pool = Pool(
        ("https", "api.test", 443), Sessions(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)), 20.0, lambda pool, call: None
    )
    assert pool.idle_time(header) == pytest.approx(seconds)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(b"some text " * 50)),
        ("gzip", gzip.compress(b"some text " * 20) + gzip.compress(b"some text " * 30)),
        ("deflate", zlib.compress(b"some text " * 50)),
        ("deflate", zlib.compress(b"some text " * 50)[2:-4]),
    ],
    ids=["gzip", "two members", "zlib", "raw"],
)
def test_a_compressed_body_is_the_same_however_it_is_cut(size: int, encoding: str, packed: bytes) -> None:
    inflater = Inflater(encoding)
    plain = b"".join(
        piece for start in range(0, len(packed), size) for piece in inflater.feed(packed[start : start + size])
    )
    assert plain == b"some text " * 50
    assert inflater.whole


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 65_700, 131_072, 131_073, 200_000])
def test_a_body_that_fills_a_piece_exactly_is_whole(size: int) -> None:
    inflater = Inflater("gzip")
    assert b"".join(inflater.feed(gzip.compress(bytes(size)))) == bytes(size)
    assert inflater.whole


def test_a_compressed_body_that_is_cut_is_not_whole() -> None:
    inflater = Inflater("gzip")
    assert inflater.whole  # nothing came: an answer may be empty
    assert b"".join(inflater.feed(gzip.compress(b"text" * 100)[:-4])) == b"text" * 100
    assert not inflater.whole


def test_a_bomb_is_stopped_while_it_is_unpacked() -> None:
    sizes: list[int] = []
    pieces = Inflater("gzip").feed(gzip.compress(bytes(200 * 2**20)))
    with pytest.raises(DecodeError, match="beyond every measure"):
        sizes.extend(map(len, pieces))
    assert max(sizes) <= 64 * 1024
    assert sum(sizes) < 25 * 2**20


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", ""])
def test_an_encoding_that_zlib_does_not_know_is_refused(encoding: str) -> None:
    with pytest.raises(DecodeError, match="not asked for"):
        Inflater(encoding)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(111, "whatever"), "Connection refused"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (ConnectionResetError(), "the connection was reset"),
        (UnicodeError("label too long"), "the host name is not valid"),
        (OSError("secret detail"), "OSError"),
    ],
)
def test_a_failure_is_described_without_its_own_text(error: Exception, words: str) -> None:
    assert describe(error) == words
