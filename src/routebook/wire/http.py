"""HTTP as values: what a dialect asks the transport to send. No socket here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import msgspec

from routebook.wire.bulk import Bulk, Piece, restored


class HttpRequest(msgspec.Struct, frozen=True, gc=False):
    """One request to a provider. `url` is absolute; `headers` hold credentials, so the repr shows method and URL only.

    Made by position where it is made often: that is what a struct does quickest.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    bulk: Bulk = ()
    """What goes where `body` has stand-ins."""
    seal: Callable[[HttpRequest, int], HttpRequest] | None = None
    """The last thing done to it, given the unix seconds at which it goes out: a signature over the whole of it, say."""

    def with_bulk(self, bulk: Bulk) -> HttpRequest:
        """The same request, with what its body's stand-ins stand for."""
        return HttpRequest(self.method, self.url, self.headers, self.body, bulk, self.seal)

    def sealed(self, at: int) -> HttpRequest:
        """The request as it goes out at `at` (unix seconds)."""
        return self if self.seal is None else self.seal(self, at)

    def pieces(self) -> tuple[Piece, ...]:
        """The body as it is sent, in order."""
        return restored(self.body, self.bulk) if self.bulk else (self.body,)

    @property
    def size(self) -> int:
        """Bytes of the body as it is sent."""
        return sum(map(len, self.pieces())) if self.bulk else len(self.body)

    def __repr__(self) -> str:
        return f"HttpRequest(method={self.method!r}, url={self.url!r})"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return [("method", self.method), ("url", self.url)]


class HttpHead(msgspec.Struct, frozen=True, gc=False):
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
