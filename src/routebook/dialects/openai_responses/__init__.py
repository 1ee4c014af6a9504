"""The responses dialect, both faces: as a client of OpenAI and everyone who speaks its newer API, and to callers.

Upstream: `build` writes requests (`turns`, `wishes`), `reader` reads answers (`answer`, `item`, `usage`).
Surface: `surface` reads callers' requests (`asked`, `items`, `tools`), `writer` writes their answers (`output`: what
other dialects said; `splice`: what a provider of this one said; `envelope`: what stands around both).
`parts` are small shapes that both faces share. The API keeps nothing between two requests. Source: inference API,
section 4; the answers of the providers that `reader` names.
"""

from __future__ import annotations

from collections.abc import Mapping

from routebook.core.call import Call, Losses
from routebook.core.catalog import Endpoint
from routebook.core.errors import UpstreamFault
from routebook.core.ids import Mint
from routebook.dialects import faults
from routebook.dialects.base import Reader
from routebook.dialects.openai_responses.build import build
from routebook.dialects.openai_responses.parts import NAME
from routebook.dialects.openai_responses.reader import ResponsesReader
from routebook.dialects.openai_responses.surface import ResponsesSurface
from routebook.dialects.vendors import PLAIN, Vendor
from routebook.wire.http import HttpHead, HttpRequest

__all__ = ["SURFACE", "UPSTREAM", "ResponsesSurface", "ResponsesUpstream"]


class ResponsesUpstream:
    """The dialect as a client. `vendors` are the rows whose quirks apply to what is sent, by slug."""

    name = NAME

    def __init__(self, vendors: Mapping[str, Vendor] | None = None) -> None:
        self._vendors = dict(vendors or {})

    def build(self, call: Call, endpoint: Endpoint, secret: str | None, losses: Losses) -> HttpRequest:
        """POST {base_url}/responses. May raise CannotExpress."""
        row = self._vendors.get(endpoint.provider.vendor or "")
        return build(call, endpoint, row.quirks if row is not None else PLAIN, secret, losses)

    def reader(self, head: HttpHead, mint: Mint) -> Reader:
        """Reads every known form of the family, streamed or not, whoever answers."""
        return ResponsesReader(head, mint)

    def fault(self, head: HttpHead, body: bytes) -> UpstreamFault:
        """What an answer of any status but 200 means."""
        return faults.from_answer(head, body)


UPSTREAM = ResponsesUpstream()
"""Without vendor rows: nothing but the dialect itself."""

SURFACE = ResponsesSurface()
