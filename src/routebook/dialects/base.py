"""What a dialect is: pure objects between bytes and canonical calls and events.

A dialect has two faces. As an *upstream* it builds requests for a vendor and reads the vendor's answers; as a
*surface* it reads callers' requests and writes their answers. Both live in one file, and no dialect imports another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import msgspec

from routebook.core.call import Call, Losses
from routebook.core.catalog import Endpoint
from routebook.core.errors import Fault, UpstreamFault
from routebook.core.events import Event
from routebook.core.ids import Mint
from routebook.core.money import Charge
from routebook.core.usage import Usage
from routebook.wire.bulk import LargeBody
from routebook.wire.http import HttpHead, HttpRequest


class Reader(Protocol):
    """Reads one answer of status 200: feed it bytes in any split, in order; then `end` once.

    Readers never raise on what a provider sends: bytes that are not the dialect become one Failed event, after which
    everything is ignored. Feeding byte by byte gives the same events as feeding all at once.
    """

    def feed(self, data: bytes) -> list[Event]: ...

    def end(self) -> list[Event]:
        """EOF. After the dialect's finish: nothing. Before it: Failed(UpstreamLost) even if HTTP ended cleanly."""


class Upstream(Protocol):
    """A dialect as a client of a vendor."""

    name: str

    def build(self, call: Call, endpoint: Endpoint, secret: str | None, losses: Losses) -> HttpRequest:
        """The vendor's request. `secret` is the credential for its auth header. May raise CannotExpress, BadRequest."""

    def reader(self, head: HttpHead, mint: Mint) -> Reader:
        """A reader for an answer of status 200; the answer's content type, not the request, picks stream or unary."""

    def fault(self, head: HttpHead, body: bytes) -> UpstreamFault:
        """What an answer of any other status means: kind, safe message, provider's code, retry delay."""


@runtime_checkable
class Counting(Protocol):
    """An upstream whose vendor counts a prompt's tokens without answering it, and does not bill that."""

    def count_request(self, call: Call, endpoint: Endpoint, secret: str | None, losses: Losses) -> HttpRequest:
        """What asks the vendor. May raise CannotExpress, BadRequest."""

    def count_answer(self, body: bytes) -> int | None:
        """Tokens that an answer of status 200 tells; None if it is no such answer."""


@runtime_checkable
class Relaying(Protocol):
    """An upstream that has the models of another dialect at a place of its own, and takes that dialect's bodies."""

    def relays(self, surface: str, endpoint: Endpoint) -> bool:
        """Whether a body in the dialect of that name travels to this endpoint as it is."""


def speaks(upstream: Upstream, surface: str, endpoint: Endpoint) -> bool:
    """Whether callers of that dialect are heard in their own words."""
    return upstream.name == surface or (isinstance(upstream, Relaying) and upstream.relays(surface, endpoint))


class Stamp(msgspec.Struct, frozen=True):
    """What the gateway writes over every answer."""

    id: str
    """generation id"""
    created: int
    """unix seconds"""
    model: str
    """slug of the model that answers"""
    provider: str | None
    """display name of who serves it"""


class Receipt(msgspec.Struct, frozen=True):
    """What the end of an answer tells the caller. `usage` is null-safe: unknown counts are written as 0."""

    usage: Usage
    charge: Charge
    is_byok: bool = False
    routing: dict[str, Any] | None = None
    """`openrouter_metadata`, for callers who asked for it"""


class Writer(Protocol):
    """Writes one answer in the caller's dialect. For a unary answer everything is folded and `end` returns the body."""

    content_type: str

    def start(self, stamp: Stamp) -> None:
        """The answering model and provider are known; called once, before the first event, or before `fault`."""

    def feed(self, event: Event) -> bytes:
        """Bytes for the caller now, b"" for none (always, if unary). Failed is never fed: see `fault`."""

    def fault(self, fault: Fault) -> bytes | None:
        """The answer ends with this error after it began: the dialect's in-band error. `end` still follows.
        None: the dialect has no such thing for a whole body; the error itself is the answer, with its true status."""

    def end(self, receipt: Receipt) -> bytes:
        """The last bytes: usage and the end mark of a stream, or the whole unary body."""

    def keepalive(self) -> bytes:
        """What tells a waiting caller that we are alive; b"" where the dialect has nothing."""


class Surface(Protocol):
    """A dialect as callers speak it to us."""

    name: str

    def read(self, body: bytes | LargeBody, headers: Mapping[str, str]) -> Call:
        """Raises BadRequest with the place and what was expected."""

    def writer(self, call: Call) -> Writer: ...

    def error_body(self, fault: Fault, generation_id: str | None) -> bytes:
        """The JSON body of an error with a true HTTP status, before any byte of an answer."""


@runtime_checkable
class PathSurface(Surface, Protocol):
    """A dialect whose callers say in the path what others say in the body."""

    path: str
    """what the path of this one says, and how; empty for the one whose `at` gives them"""

    def at(self, tail: str, query: str) -> Surface | None:
        """The surface of one path: `tail` is what follows the row's path, decoded, `query` the target's query. None
        where that is no inference path."""


def asked_of(surface: Surface) -> str:
    """What tells requests with equal bodies apart: the surface, and what stands in the path."""
    return f"{surface.name} {surface.path}" if isinstance(surface, PathSurface) else surface.name
