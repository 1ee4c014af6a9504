"""The chat completions dialect, both faces: as a client of OpenAI and everyone who speaks its API, and to callers.

`reader` reads answers, `usage` counts, `build` writes requests to vendors (their quirks are rows of vendors.toml),
`surface` reads callers' requests, `writer` writes their answers. `text` is the legacy text API on top of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from routebook.core.call import Call, Losses
from routebook.core.catalog import Endpoint
from routebook.core.errors import UpstreamFault
from routebook.core.ids import Mint
from routebook.dialects import faults
from routebook.dialects.base import Reader
from routebook.dialects.openai_chat.build import Known, build
from routebook.dialects.openai_chat.reader import ChatReader
from routebook.dialects.openai_chat.surface import ChatSurface
from routebook.dialects.openai_chat.text import TextSurface
from routebook.dialects.vendors import PLAIN, Vendor
from routebook.wire.http import HttpHead, HttpRequest

__all__ = ["SURFACE", "TEXT", "UPSTREAM", "ChatSurface", "ChatUpstream"]


KNOWN_MAX = 4096
"""Endpoints whose common parts are kept; a catalogue that is swapped leaves its old ones here until then."""


class ChatUpstream:
    """The dialect as a client. `vendors` are the rows whose quirks apply to what is sent, by slug.

    `home` is the row for providers that are no known vendor: a dialect that is this one but for a row of quirks
    (`azure`) is made so, under a name of its own.
    """

    def __init__(
        self, vendors: Mapping[str, Vendor] | None = None, name: str = "openai_chat", home: str | None = None
    ) -> None:
        self.name = name
        self._vendors = dict(vendors or {})
        self._home = home
        self._known: dict[int, Known] = {}
        """by identity of the endpoint; an endpoint that is known is held, so its identity stays its own"""

    def build(self, call: Call, endpoint: Endpoint, secret: str | None, losses: Losses) -> HttpRequest:
        """POST {base_url}/chat/completions. May raise CannotExpress."""
        known = self._known.get(id(endpoint))
        return build(call, known if known is not None else self._learn(endpoint), secret, losses)

    def _learn(self, endpoint: Endpoint) -> Known:
        row = self._vendors.get(endpoint.provider.vendor or self._home or "")
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        known = self._known[id(endpoint)] = Known(endpoint, row.quirks if row is not None else PLAIN)
        return known

    def reader(self, head: HttpHead, mint: Mint) -> Reader:
        """Reads every known form of the family, streamed or not, whoever answers."""
        return ChatReader(head, mint)

    def fault(self, head: HttpHead, body: bytes) -> UpstreamFault:
        """What an answer of any status but 200 means."""
        return faults.from_answer(head, body)


UPSTREAM = ChatUpstream()
"""Without vendor rows: nothing but the dialect itself."""

SURFACE = ChatSurface()
TEXT = TextSurface()
