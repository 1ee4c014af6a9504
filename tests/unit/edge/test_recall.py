"""Heads that come again: whatever is sent, a reader that remembers heads reads what one reads that does not."""

from __future__ import annotations

import pytest

from routebook.core.errors import RequestTimeout
from routebook.edge.incoming import LESSONS, Reader
from routebook.edge.recall import HEAD_MAX, learn
from routebook.edge.request import Request
from routebook.observe.clock import NS
from routebook.wire.bulk import LARGE

LIMIT = 400_000
CHAT = b"/api/v1/chat/completions"
LINES = (
    b"Host: gateway.test",
    b"Authorization: Bearer sk-rb-v1-0123456789",
    b"Content-Type: application/json",
    b"X-Title: \xe4pp",
)


def ask(
    body: bytes, *lines: bytes, length: bytes | None = None, target: bytes = CHAT, method: bytes = b"POST"
) -> bytes:
    size = b"%d" % len(body) if length is None else length
    head = (method + b" " + target + b" HTTP/1.1", *LINES, b"content-length: " + size, *lines, b"", b"")
    return b"\r\n".join(head) + body


class Pair:
    """A reader that remembers and one that does not, who are told the same."""

    def __init__(self, *before: bytes) -> None:
        clock = iter(range(10**9))
        self.remembers = Reader(LIMIT, lambda: next(clock), {CHAT})
        self.forgets = Reader(LIMIT, lambda: 0)
        for data in before:
            self.read(data)

    def read(self, data: bytes) -> list[tuple[object, ...]]:
        """What both made of it; they must agree."""
        got = []
        for reader in (self.remembers, self.forgets):
            reader.feed(data, 7)
            got.append(([shape(reader.arrived.popleft()) for _ in range(len(reader.arrived))], part(reader)))
        assert got[0] == got[1]
        return got[0][0]


def shape(request: Request) -> tuple[object, ...]:
    fault = None if request.fault is None else (request.fault.status, request.fault.message)
    content = request.content()
    body = content if isinstance(content, bytes) else content.whole()
    return request.method, request.target, request.headers, body, request.close, request.old, request.expects, fault


def part(reader: Reader) -> tuple[object, ...] | None:
    """What has come of a request that is not complete, and whether anything more is read."""
    coming = reader.current
    if coming is None:
        return reader.deaf, None
    return reader.deaf, (coming.method, coming.target, coming.headers, b"".join(coming.body), coming.size)


def taught() -> Pair:
    """Both have read two requests, and the one that remembers knows their head."""
    pair = Pair(ask(b"one"), ask(b"two"))
    assert pair.remembers._known is not None
    return pair


def recalls(pair: Pair, data: bytes) -> bool:
    """Whether the next read would not go to the parser."""
    known = pair.remembers._known
    return known is not None and known.again(data, 0) is not None


@pytest.mark.parametrize("body", [b"two", b"x", b"", b"a longer one", b"x" * 100_000, b"\r\n\r\n", ask(b"in a body")])
def test_a_head_that_comes_again_is_not_parsed_again(body: bytes) -> None:
    pair = taught()
    assert recalls(pair, ask(body))
    ((method, target, headers, content, *_),) = pair.read(ask(body))
    assert (method, target, content) == (b"POST", CHAT, body)
    assert isinstance(headers, dict)
    assert headers["content-length"] == str(len(body))
    assert headers["x-title"] == "äpp"


def test_a_body_of_another_length_changes_no_headers_that_were_handed_out() -> None:
    pair = taught()
    ((_, _, first, *_),) = pair.read(ask(b"two"))
    ((_, _, second, *_),) = pair.read(ask(b"three"))
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert (first["content-length"], second["content-length"]) == ("3", "5")


def test_one_byte_of_the_head_that_is_another_makes_the_same_difference_with_and_without_memory() -> None:
    good = ask(b"four")
    odd = [bytes([code]) for code in b"\r\n\0 :;09aZ-+\x80\t"]
    for place in range(len(good) - len(b"four")):
        for piece in (*odd, b"", b"\r\n", b"00", good[place : place + 1] * 2):
            pair = taught()
            pair.read(good[:place] + piece + good[place + 1 :])
            if not pair.remembers.deaf:
                pair.read(good)


@pytest.mark.parametrize(
    "length",
    [
        *(b"+4", b"-4", b"4 ", b" 4", b"0x4", b"4,4", b"4_0", b"", b"004", b"3", b"5", b"4;", b"4\n", b"\xb2"),
        *(b"9" * 6, b"9" * 7, b"9" * 30, "٤".encode(), b"4\r\nContent-Length: 4", b"4\r\nTransfer-Encoding: chunked"),
    ],
)
def test_a_length_is_what_the_parser_says_it_is(length: bytes) -> None:
    pair = taught()
    pair.read(ask(b"four", length=length))
    if not pair.remembers.deaf:
        pair.read(b"x")


def test_a_head_and_a_body_may_come_in_pieces() -> None:
    whole = ask(b"a body in pieces")
    for place in range(len(whole)):
        pair = taught()
        assert recalls(pair, whole[:place]) == (place >= whole.index(b"\r\n\r\n") + 4)
        pair.read(whole[:place])
        if place:
            assert pair.read(whole[place:])
        assert pair.read(ask(b"and on"))


@pytest.mark.parametrize("size", [1, 2, 7, 100])
@pytest.mark.parametrize("follows", [b"", b"\r\n", b"x", ask(b"next"), ask(b"next")[:-2], ask(b"1") + ask(b"2") + b"G"])
def test_a_body_may_come_in_many_pieces_with_what_follows_in_the_last(size: int, follows: bytes) -> None:
    whole = ask(b"a body in pieces" * 3)
    start = whole.index(b"\r\n\r\n") + 4
    pair = taught()
    pair.read(whole[:start])
    rest = whole[start:] + follows
    arrived = [request for place in range(0, len(rest), size) for request in pair.read(rest[place : place + size])]
    assert arrived[0][3] == b"a body in pieces" * 3


def test_a_body_that_stays_away_is_late_and_refused() -> None:
    pair = taught()
    pair.read(ask(b"", length=b"5000") + b"x" * 10)
    coming = pair.remembers.current
    assert coming is not None
    assert coming.late(8 * NS)
    pair.remembers.refuse(RequestTimeout())
    pair.remembers.feed(b"x" * 4990, 0)
    (refused,) = pair.remembers.arrived
    assert refused.fault is not None
    assert refused.content() == b""


@pytest.mark.parametrize(
    "after", [b"\r\n", b"\r", b"x", b"GET / HTTP/1.1\r\n\r\n", ask(b"next"), ask(b"next")[:50], b"0\r\n\r\n"]
)
def test_what_follows_in_the_same_read_is_the_parsers(after: bytes) -> None:
    pair = taught()
    pair.read(ask(b"four") + after)
    if not pair.remembers.deaf:
        pair.read(ask(b"four"))


def test_blank_lines_before_a_request_change_nothing() -> None:
    for blank in (b"\r\n", b"\r", b"\r\n\r"):
        pair = taught()
        pair.read(blank)
        assert len(pair.read(ask(b"four"))) == 1


def test_nothing_counts_after_a_last_request() -> None:
    pair = taught()
    pair.read(ask(b"bye", b"Connection: close"))
    assert pair.read(ask(b"more")) == []


def test_a_body_above_the_limit_is_refused_and_one_above_large_is_gathered() -> None:
    pair = taught()
    assert not recalls(pair, ask(b"x" * (LARGE + 1)))
    ((*_, fault),) = pair.read(ask(b"x" * (LIMIT + 1)))
    assert isinstance(fault, tuple)
    assert fault[0] == 413


@pytest.mark.parametrize(
    "sent",
    [
        ask(b"x", b"Expect: 100-continue"),
        ask(b"x", b"Connection: close"),
        ask(b"x", b"Connection: Upgrade", b"Upgrade: h2c"),
        ask(b"x", target=b"/api/v1/keys"),
        ask(b"x", method=b"PUT"),
        ask(b"x", b"X-Long: " + b"y" * HEAD_MAX),
        ask(b"x", length=b"1 "),
        b"\r\n" + ask(b"\r\nx"),
        ask(b"\r\nx") + b"\r\n",
    ],
)
def test_only_plain_heads_of_inference_are_learnt(sent: bytes) -> None:
    pair = Pair(ask(b"one", target=b"/"))
    pair.read(ask(b"x"))
    pair.read(sent)
    before = pair.remembers._known
    pair.read(sent)
    assert pair.remembers._known is before
    pair.read(ask(b"four"))


def test_what_lies_around_a_body_is_never_taken_for_a_part_of_it() -> None:
    request = Request(0, 0, b"POST", CHAT, {"content-length": "3"}, [b"\r\nx"], size=3)
    head = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n"
    assert learn(head + b"\r\nx", request, {CHAT}, LIMIT) is not None
    assert learn(head + b"\r\nx\r\n", request, {CHAT}, LIMIT) is None
    assert learn(b"\r\n" + head + b"\r\nx", request, {CHAT}, LIMIT) is not None
    assert learn(b"\r\n\r\n" + head + b"\r\nx", request, {CHAT}, LIMIT) is None


def test_the_rest_of_a_head_is_no_head() -> None:
    whole = ask(b"two")
    for place in range(1, 60):
        pair = Pair(ask(b"one"), whole[:place], whole[place:])
        pair.read(whole[place:])


def test_a_client_whose_head_is_always_new_stops_costing_lessons() -> None:
    pair = Pair(ask(b"0", b"traceparent: 0"))
    for number in range(1, LESSONS + 1):
        pair.read(ask(b"x", b"traceparent: %d" % number))
    last = pair.remembers._known
    assert last is not None
    pair.read(ask(b"x", b"traceparent: one more"))
    assert pair.remembers._known is last
