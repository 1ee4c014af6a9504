"""HTTP as values: what a dialect asks the transport to send. No socket here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request to a provider. `url` is absolute; `headers` hold credentials, so their repr is hidden."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class HttpHead:
    """Status line and headers of a provider's answer; header names in lower case, the last of a repeated one wins."""

    status: int
    headers: Mapping[str, str]

    @property
    def content_type(self) -> str:
        """The media type without parameters, in lower case; empty if the provider named none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()
