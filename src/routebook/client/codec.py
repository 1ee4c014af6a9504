"""Owns how the client's types become JSON and come back: exact numbers, unknown keys ignored, absent keys None.

Every number of a money field is a `Decimal` with the very digits the server wrote. In untyped parts (`dict[str, Any]`)
a number with a fraction is a `Decimal` too, because such parts may hold money; whole numbers are `int`.
"""

from __future__ import annotations

from collections.abc import Hashable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, Self, TypeVar, cast

import msgspec

T = TypeVar("T")


class Price(Decimal):
    """USD per unit, exact. A plain `Decimal` that is written as a JSON string, as price lists do ("0.00000015")."""


def _to_wire(value: object) -> str:
    if isinstance(value, Price):
        return format(value, "f")
    raise NotImplementedError(f"{type(value).__name__} has no JSON form; use str, int, Decimal, list, dict or None")


def _from_wire(kind: type[Any], value: Any) -> Price:
    if kind is not Price:
        raise NotImplementedError(f"no reader for {kind}")
    try:
        return Price(str(value))
    except InvalidOperation:
        raise ValueError("expected a price: a decimal string or a number") from None


_encoder = msgspec.json.Encoder(decimal_format="number", enc_hook=_to_wire)


@cache
def _decoder(kind: Hashable) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(cast(Any, kind), dec_hook=_from_wire, float_hook=Decimal)


def encode(value: object) -> bytes:
    """JSON of `value`; a `Decimal` becomes a JSON number with all its digits. Raises TypeError for other objects."""
    try:
        return _encoder.encode(value)
    except NotImplementedError as unknown:
        raise TypeError(str(unknown)) from None


def decode(kind: type[T], body: bytes | str) -> T:
    """Read JSON into `kind`. Raises `msgspec.DecodeError` (not JSON) or its child `ValidationError` (not that type)."""
    result: T = _decoder(cast(Hashable, kind)).decode(body)
    return result


def instant(text: str | None) -> datetime | None:
    """An ISO 8601 timestamp as an aware datetime (UTC if it names no zone); None if absent or unreadable."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """The base of everything the client returns: immutable, compared by value, readable from and writable to JSON."""

    def to_dict(self) -> dict[str, Any]:
        """The value as plain dicts and lists under the API's names; money stays `Decimal`, prices are strings."""
        result: dict[str, Any] = msgspec.to_builtins(self, builtin_types=(Decimal,), enc_hook=_to_wire)
        return result

    def to_json(self) -> bytes:
        """The value as JSON; `from_json` of it is equal to the value."""
        return encode(self)

    @classmethod
    def from_json(cls, body: bytes | str) -> Self:
        """Read the API's JSON. Raises `msgspec.DecodeError` where it is not JSON or has a field of another type."""
        return decode(cls, body)
