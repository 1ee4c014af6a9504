"""AWS's binary event stream: whole messages whatever the split, and nothing behind a message that is damaged."""

from __future__ import annotations

import random
import zlib

import pytest

from routebook.wire.aws_events import MESSAGE_BYTES_MAX, AwsDecoder, AwsEvent, event, exception, message

STREAM = event("messageStart", b'{"role":"assistant"}') + event("contentBlockDelta", "é€".encode()) + event("end", b"")
EVENTS = [
    AwsEvent("event", "messageStart", b'{"role":"assistant"}'),
    AwsEvent("event", "contentBlockDelta", "é€".encode()),
    AwsEvent("event", "end", b""),
]


def fed(*pieces: bytes) -> tuple[list[AwsEvent], str | None]:
    decoder = AwsDecoder()
    return [found for piece in pieces for found in decoder.feed(piece)], decoder.broken


def framed(headers: bytes, payload: bytes = b"") -> bytes:
    """A message with these bytes for headers, checksums and lengths right."""
    prelude = (16 + len(headers) + len(payload)).to_bytes(4, "big") + len(headers).to_bytes(4, "big")
    body = prelude + zlib.crc32(prelude).to_bytes(4, "big") + headers + payload
    return body + zlib.crc32(body).to_bytes(4, "big")


def test_the_empty_message_of_the_specification_is_sixteen_known_bytes() -> None:
    assert message({}) == bytes.fromhex("00000010 00000000 05c248eb 7d98c8ff")
    assert fed(message({})) == ([AwsEvent("event", "", b"")], None)


def test_a_message_with_a_header_is_laid_out_as_the_specification_says() -> None:
    made = message({"content-type": "application/json"}, b"{'foo':'bar'}")
    assert made[:8] == bytes.fromhex("0000003d 00000020")
    assert made[12:44] == b"\x0ccontent-type\x07\x00\x10application/json"
    assert made[8:12] == bytes.fromhex("07fd8396")
    assert made[-4:] == bytes.fromhex("8d9c08b1")


def test_messages_are_the_same_in_any_split() -> None:
    assert fed(STREAM) == (EVENTS, None)
    assert fed(*(STREAM[at : at + 1] for at in range(len(STREAM)))) == (EVENTS, None)
    dice = random.Random(7)
    for _ in range(50):
        cuts = sorted(dice.sample(range(len(STREAM)), 5))
        pieces = [STREAM[a:b] for a, b in zip([0, *cuts], [*cuts, len(STREAM)], strict=True)]
        assert fed(*pieces) == (EVENTS, None)


def test_every_flipped_bit_is_seen_and_what_came_before_it_is_given_out() -> None:
    last = len(event("end", b""))
    ends = [len(STREAM) - last - len(event("contentBlockDelta", "é€".encode())), len(STREAM) - last]
    for at in range(len(STREAM)):
        for bit in (1, 128):
            damaged = bytearray(STREAM)
            damaged[at] ^= bit
            found, broken = fed(bytes(damaged))
            assert broken is not None
            assert found == EVENTS[: sum(end <= at for end in ends)]


def test_nothing_is_read_behind_a_broken_message() -> None:
    decoder = AwsDecoder()
    assert decoder.feed(b"\x00" * 12) == []
    assert decoder.broken is not None
    assert decoder.feed(STREAM) == []


@pytest.mark.parametrize("total", [0, 15, MESSAGE_BYTES_MAX + 1, 2**32 - 1])
def test_a_length_that_cannot_be_is_refused_before_anything_is_kept_for_it(total: int) -> None:
    prelude = total.to_bytes(4, "big") + bytes(4)
    _, broken = fed(prelude + zlib.crc32(prelude).to_bytes(4, "big"))
    assert broken == "a message has an impossible length"


def test_exceptions_and_errors_are_named_by_their_own_headers() -> None:
    found, _ = fed(exception("throttlingException", b'{"message":"slow"}'))
    assert found == [AwsEvent("exception", "throttlingException", b'{"message":"slow"}')]
    found, _ = fed(message({":message-type": "error", ":error-code": "InternalError", ":error-message": "sorry"}))
    assert found == [AwsEvent("error", "InternalError", b"", "sorry")]


def test_headers_of_every_type_are_passed_over() -> None:
    others = b"".join(
        bytes((1,)) + b"x" + bytes((kind,)) + value
        for kind, value in (
            (0, b""),
            (1, b""),
            (2, b"1"),
            (3, b"12"),
            (4, b"1234"),
            (5, b"12345678"),
            (6, b"\x00\x03abc"),
            (8, b"12345678"),
            (9, b"1234567890123456"),
        )
    )
    named = b"\x0b:event-type\x07\x00\x03end"
    assert fed(framed(others + named, b"{}")) == ([AwsEvent("event", "end", b"{}")], None)


@pytest.mark.parametrize(
    "headers", [b"\x00", b"\x05ab", b"\x01a", b"\x01a\x0a", b"\x01a\x07", b"\x01a\x07\x00\x09abc", b"\x01a\x04\x00"]
)
def test_headers_that_are_not_whole_break_the_stream(headers: bytes) -> None:
    found, broken = fed(framed(headers))
    assert found == []
    assert broken == "the headers of a message are not whole"


def test_random_bytes_never_raise() -> None:
    dice = random.Random(11)
    for _ in range(300):
        decoder = AwsDecoder()
        decoder.feed(STREAM[: dice.randrange(len(STREAM))] + dice.randbytes(60))
        decoder.feed(dice.randbytes(60))
