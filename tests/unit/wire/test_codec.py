"""The codec: exact money, and one kind of error for every kind of bad bytes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from routebook.wire import codec

BAD = {
    "cut off": b'{"a":',
    "not UTF-8": b'{"a":"\xff\xfe"}',
    "nested without end": b"[" * 100_000,
    "two values": b"{} {}",
    "nothing": b"",
}


def test_a_number_out_of_all_bounds_is_a_decode_error_where_digits_are_kept() -> None:
    with pytest.raises(codec.DecodeError):
        codec.decode_exact(b'{"a":1e99999999999999999999}')


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_every_kind_of_bad_bytes_is_a_decode_error(data: bytes) -> None:
    for read in (codec.decode, codec.decode_exact, lambda raw: codec.decode_as(raw, dict[str, Any])):
        with pytest.raises(codec.DecodeError):
            read(data)


@pytest.mark.parametrize("text", ["0.0015", "0.00000001", "12345678901234567890.123456789"])
def test_money_keeps_every_digit_through_json_and_msgpack(text: str) -> None:
    money = Decimal(text)
    assert codec.decode_exact(codec.encode({"usd": money})) == {"usd": money}
    assert codec.unpack(codec.pack(money), Decimal) == money
