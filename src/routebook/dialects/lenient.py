"""JSON as providers write it: exact numbers, and forgiveness for what they are known to write that JSON forbids."""

from __future__ import annotations

import re
from typing import Any

from routebook.wire import codec

_STRING_OR_NUMBER = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|-?\b(?:NaN|Infinity)\b', re.DOTALL)
_SURROGATE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}|\\."
)
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[\]}]', re.DOTALL)


def decode(data: bytes) -> Any:
    """JSON with exact numbers. Raises DecodeError; tolerates what providers are known to write that JSON forbids:
    half of a surrogate pair, bytes that are not UTF-8, NaN and Infinity."""
    try:
        return codec.decode_exact(data)
    except (codec.DecodeError, UnicodeDecodeError):
        return codec.decode_exact(_repaired(data))
    except RecursionError:
        raise codec.DecodeError("nested too deeply") from None


def written(data: bytes) -> tuple[Any, bytes]:
    """(the value, its JSON): as `decode`, with the bytes as they came, or written anew where those were not quite JSON,
    for who passes them on. Raises DecodeError."""
    try:
        return codec.decode_exact(data), data
    except (codec.DecodeError, UnicodeDecodeError, RecursionError):
        value = decode(data)
        return value, codec.encode(value)


def _repaired(data: bytes) -> bytes:
    data = data.decode("utf-8", "replace").encode()
    data = _SURROGATE.sub(lambda m: m[0] if len(m[0]) in (2, 12) else b"\\ufffd", data)
    return _STRING_OR_NUMBER.sub(lambda m: m[0] if m[0][:1] == b'"' else b"null", data)


def decode_leading(data: bytes) -> Any:
    """The first JSON value of the bytes, whatever follows it."""
    try:
        return decode(data)
    except codec.DecodeError:
        first = leading(data)
        if first is None:
            raise
        return decode(first)


def leading(data: bytes) -> bytes | None:
    """The bytes of the first object or list, whatever follows it; None where it does not end."""
    depth = 0
    for match in _TOKEN.finditer(data):
        token = match[0]
        if token in (b"{", b"["):
            depth += 1
        elif token in (b"}", b"]"):
            depth -= 1
            if depth <= 0:
                return data[: match.end()]
    return None
