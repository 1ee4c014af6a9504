"""Content encodings of an answer, undone in pieces and within bounds.

We ask for `identity`; some providers and proxies compress all the same. Only what zlib can do is understood.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

PIECE = 64 * 1024
"""Bytes handed out at a time: what a hostile body can make us hold."""
RATIO = 100
"""Plain bytes per compressed byte, checked beyond `FREE`."""
FREE = 1024 * 1024
CEILING = 256 * 1024 * 1024
"""Plain bytes of one answer."""

_GZIP, _ZLIB, _RAW, _UNDECIDED = 31, 15, -15, 0


class DecodeError(Exception):
    """The body is not what its Content-Encoding says, or it is a bomb; the text says which."""


class Inflater:
    """Decoder of one body: `feed` what arrives, at the end ask `whole`."""

    def __init__(self, encoding: str) -> None:
        """Raises `DecodeError` for an encoding that is not gzip or deflate."""
        if encoding in ("gzip", "x-gzip"):
            self._bits = _GZIP
        elif encoding == "deflate":
            self._bits = _UNDECIDED
        else:
            raise DecodeError(f"a content encoding that was not asked for ({encoding[:40]!r})")
        self._zlib = zlib.decompressobj(_GZIP)
        self._held = b""
        self._in = 0
        self._out = 0

    @property
    def whole(self) -> bool:
        """Whether the body ended where its encoding ends; an empty body is whole."""
        return self._in == 0 or self._zlib.eof

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Plain pieces of at most `PIECE` bytes, never empty; stop iterating and nothing more is decompressed."""
        self._in += len(data)
        if self._bits == _UNDECIDED:
            self._held = data = self._held + data
            if len(data) < 2:
                return
            # Some servers send raw deflate under this name (RFC 9110 section 8.4.1.2); the zlib header tells.
            self._bits = _ZLIB if data[0] & 15 == 8 and (data[0] * 256 + data[1]) % 31 == 0 else _RAW
            self._zlib = zlib.decompressobj(self._bits)
        more = bool(data)
        while more:
            if self._zlib.eof:  # gzip allows several members in a row
                self._zlib = zlib.decompressobj(self._bits)
            try:
                plain = self._zlib.decompress(data, PIECE)
            except zlib.error as error:
                raise DecodeError("a compressed body that is damaged") from error
            data = self._zlib.unused_data if self._zlib.eof else self._zlib.unconsumed_tail
            more = bool(data) or (len(plain) == PIECE and not self._zlib.eof)  # a full piece may leave some inside
            if plain:
                self._out += len(plain)
                if self._out > CEILING or (self._out > FREE and self._out > RATIO * self._in):
                    raise DecodeError("a compressed body that grows beyond every measure")
                yield plain
