"""The one JSON and msgpack codec of the package. Nobody else encodes or decodes.

JSON numbers that are money are written from Decimal exactly as they are (`0.0015`, never `0.0015000000000000001`);
decoding into a struct field of type Decimal keeps every digit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

Raw = msgspec.Raw
"""A JSON value left as the bytes that came in."""

DecodeError = msgspec.MsgspecError
"""What every decode here raises, and all it raises: malformed bytes (bad UTF-8 and bottomless nesting included) or a
value of the wrong type; str() of it names the place."""

_json = msgspec.json.Encoder(decimal_format="number")
_pack = msgspec.msgpack.Encoder(decimal_format="string")


encode: Callable[[Any], bytes] = _json.encode
"""JSON bytes of any value msgspec knows; Decimal becomes a JSON number with exactly its digits."""


def decode(data: bytes | str) -> Any:
    """Any JSON value as plain Python; numbers with a fraction become float, so never use this for money."""
    return _safely(msgspec.json.decode, data)


def decode_as(data: bytes | str, kind: type[T]) -> T:
    """A JSON value checked against a type. Raises DecodeError naming the place (`$.messages[0].role`)."""
    try:
        return msgspec.json.decode(data, type=kind)
    except _LET_THROUGH as error:
        raise _decode_error(error) from None


def decode_exact(data: bytes | str) -> Any:
    """Any JSON value as plain Python with numbers that have a fraction as Decimal: for provider usage and prices."""
    return _safely(_exact.decode, data)


def convert(value: Any, kind: type[T], *, strict: bool = True) -> T:
    """A plain Python value as a typed one. Raises DecodeError naming the place."""
    return msgspec.convert(value, kind, strict=strict)


def decoder(kind: type[T]) -> Callable[[bytes], T]:
    """What decodes JSON into this type, made once. Raises any of BAD."""
    return msgspec.json.Decoder(kind).decode


def count_of(body: bytes, name: str) -> int | None:
    """The count that stands under this name in a JSON object; None if there is none."""
    try:
        found = decode(body)
    except DecodeError:
        return None
    value = found.get(name) if isinstance(found, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


pack: Callable[[Any], bytes] = _pack.encode
"""msgpack bytes of a struct; Decimal travels as its string, so no digit is lost."""


def unpack(data: bytes, kind: type[T]) -> T:
    """The struct that `pack` wrote."""
    return msgspec.msgpack.decode(data, type=kind)


def unpacker(kind: type[T]) -> Callable[[bytes], T]:
    """What unpacks this type, made once."""
    return msgspec.msgpack.Decoder(kind).decode


def array_of(parts: Iterable[bytes], count: int) -> bytes:
    """A msgpack array of `count` elements from what is packed already; `parts` joined are the elements."""
    return b"".join((b"\xdd", count.to_bytes(4, "big"), *parts))


_LET_THROUGH = (UnicodeDecodeError, RecursionError, ArithmeticError)
"""What the decoder raises beside its own errors; a caller of ours has one error to catch."""


def _safely(read: Callable[[bytes | str], Any], data: bytes | str) -> Any:
    try:
        return read(data)
    except _LET_THROUGH as error:
        raise _decode_error(error) from None


def _decode_error(error: Exception) -> msgspec.DecodeError:
    if isinstance(error, RecursionError):
        return msgspec.DecodeError("JSON is nested too deeply")
    if isinstance(error, ArithmeticError):
        return msgspec.DecodeError("JSON holds a number that is out of all bounds")
    return msgspec.DecodeError("JSON is not valid UTF-8")


_exact: msgspec.json.Decoder[Any] = msgspec.json.Decoder(float_hook=Decimal)

BAD = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError)
"""What `decoder(…)` and `decode_text` raise: they are for the hottest path and translate nothing."""

decode_text: Callable[[bytes], str] = msgspec.json.Decoder(str).decode
"""One JSON string with its quotes, as text."""
