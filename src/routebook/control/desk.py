"""What the control handlers work with: the few parts of the app they need, and the check at their door."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response

from routebook.core.errors import BadRequest, Fault, TooLarge
from routebook.core.people import Key
from routebook.ledger.leases import Leases
from routebook.ledger.people import People
from routebook.observe.clock import Dice
from routebook.policy.admission import Purpose, admit, credential
from routebook.store.port import Store
from routebook.wire.codec import DecodeError, T, decode_as, encode

BODY_MOST = 2**20
"""bytes of a body that manages something"""


class Desk(Protocol):
    """The parts of the running gateway behind the management paths."""

    @property
    def people(self) -> People: ...

    @property
    def store(self) -> Store: ...

    @property
    def leases(self) -> Leases:
        """also knows what was spent, at all workers"""

    @property
    def credits(self) -> Decimal:
        """USD the account was given, from the configuration"""

    @property
    def dice(self) -> Dice: ...

    def now_ns(self) -> int:
        """Nanoseconds of unix time."""


def authenticate(request: Request, people: People, now_ns: int, purpose: Purpose = "read") -> Key:
    """The key that calls. Raises Unauthenticated (no, unknown, disabled or expired key) or Forbidden (wrong kind)."""
    return admit(people.find(credential(request.headers)), now_ns, purpose)


def is_known(request: Request, people: People, now_ns: int) -> bool:
    """True with a key that may read here: what a public path tells more to."""
    try:
        authenticate(request, people, now_ns)
    except Fault:
        return False
    return True


def answer(body: Any, status: int = 200) -> Response:
    """A JSON answer; money in it is written digit for digit."""
    return Response(encode(body), status, media_type="application/json")


async def body_of(request: Request, limit: int, advice: str = "send less") -> bytes:
    """The body. Raises TooLarge as soon as it is known to be longer than that many bytes: no more of it is read."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > limit:
            raise TooLarge(f"The request body is larger than {limit} bytes; {advice}.")
    return bytes(body)


async def read_body(request: Request, kind: type[T]) -> T:
    """The JSON body as a typed value; other members are ignored. Raises BadRequest naming the place, and TooLarge."""
    try:
        return decode_as(await body_of(request, BODY_MOST), kind)
    except DecodeError as error:
        raise BadRequest(f"The request body is not what this operation takes: {error}.") from error
