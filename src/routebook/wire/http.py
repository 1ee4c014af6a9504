"""HTTP as values: what a dialect asks the transport to send. No socket here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import msgspec

from routebook.wire.bulk import Bulk, Piece, restored


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request to a provider. `url` is absolute; `headers` hold credentials, so their repr is hidden."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)
    bulk: Bulk = field(default=(), repr=False)
    """What goes where `body` has stand-ins."""

    def pieces(self) -> tuple[Piece, ...]:
        """The body as it is sent, in order."""
        return restored(self.body, self.bulk) if self.bulk else (self.body,)

    @property
    def size(self) -> int:
        """Bytes of the body as it is sent."""
        return sum(map(len, self.pieces())) if self.bulk else len(self.body)


class HttpHead(msgspec.Struct, frozen=True):
    """Status line and headers of a provider's answer; header names in lower case, the last of a repeated one wins."""

    status: int
    headers: Mapping[str, str]

    @property
    def content_type(self) -> str:
        """The media type without parameters, in lower case; empty if the provider named none."""
        return _media_type(self.headers.get("content-type", ""))


@lru_cache(maxsize=256)
def _media_type(value: str) -> str:
    return value.partition(";")[0].strip().lower()
