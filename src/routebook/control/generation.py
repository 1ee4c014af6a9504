"""GET /generation: the record of one call, readable as soon as its caller has the last byte; and
POST /generation/{id}/cancel, which stops a running one.

Source: generation record, section 1; cancelling is an addition of ours. A record of another account is answered like
one that does not exist.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from routebook.config.settings import Settings
from routebook.control.desk import Desk, answer, authenticate
from routebook.core.errors import BadRequest, Conflict, Forbidden, NotFound, Unavailable
from routebook.core.generation import Folded
from routebook.core.ids import locate
from routebook.corridor.entry import Entry, cancel
from routebook.daybook.library import revised
from routebook.daybook.port import Daybook
from routebook.metering.folding import unfold
from routebook.metering.record import record
from routebook.store.port import Store


class GenerationDesk(Desk, Protocol):
    """The management desk, with the book that is being written."""

    @property
    def daybook(self) -> Daybook: ...

    @property
    def settings(self) -> Settings: ...

    @property
    def entries(self) -> Collection[Entry]:
        """calls under way here"""


Elsewhere = Callable[[str, int], Awaitable[Folded | None]]
"""Reads call `n` of another worker's daybook by its name; None if neither is there. Raises Unavailable."""


async def nowhere(name: str, n: int) -> None:
    """There is no other worker."""


CancelElsewhere = Callable[[str, str], Awaitable[bool]]
"""Has the worker that owns a daybook stop a call: (daybook, id) -> it will stop. Raises Unavailable if that worker does
not answer."""


async def nobody_cancels(daybook: str, id: str) -> bool:
    """There is no other worker."""
    raise Unavailable(f"Nobody runs daybook {daybook} now; ask again.", retry_after=1)


async def find(id: str, daybook: Daybook, store: Store, elsewhere: Elsewhere = nowhere) -> Folded | None:
    """The call of that id: from the daybook that the id names, else from the store; None if unknown.

    Raises Unavailable if only a store or a daybook could know that cannot be read now.
    """
    place, trouble = locate(id), None
    if place is not None:
        try:
            call = daybook.read(place[1]) if place[0] == daybook.name else await elsewhere(*place)
        except Unavailable as fault:
            call, trouble = None, fault
        # A number says where to look; only the whole id says that it is this call and not a guess.
        if call is not None and call.intent.id == id:
            return await revised(call, store)
    stored = await store.generation(id)
    if stored is None and trouble is not None:
        raise trouble  # it may be there, and not be shipped yet
    return None if stored is None else unfold(stored.folded)


def routes(
    desk: GenerationDesk, elsewhere: Elsewhere = nowhere, cancel_elsewhere: CancelElsewhere = nobody_cancels
) -> list[Route]:
    """The paths, relative to the API's base. Any key reads the records of its own account; who made a call may cancel
    it, and so may the account's management keys."""

    def missing(id: str) -> NotFound:
        return NotFound(f"Generation {id[:80]} not found; check the id and that the key is of the same account.")

    async def generation(request: Request) -> Response:
        key = authenticate(request, desk.people, desk.now_ns())
        id = request.query_params.get("id", "").strip()
        if not id:
            raise BadRequest("The query parameter `id` is missing; send the value of the header X-Generation-Id.")
        call = await find(id, desk.daybook, desk.store, elsewhere)
        if call is None or call.intent.account != key.account:
            raise missing(id)
        return answer({"data": record(call, desk.settings.accounting.latency)})

    async def cancelling(request: Request) -> Response:
        key = authenticate(request, desk.people, desk.now_ns())
        id = request.path_params["id"]
        call = await find(id, desk.daybook, desk.store, elsewhere)
        if call is None or call.intent.account != key.account:
            raise missing(id)
        if key.hash != call.intent.key_hash and not (key.management or key.admin):
            raise Forbidden("Only the key that made this call, or a management key, can cancel it.")
        place = locate(id)
        stops = False
        if call.outcome is None and place is not None:
            here = place[0] == desk.daybook.name
            stops = cancel(desk.entries, id) if here else await cancel_elsewhere(place[0], id)
        if not stops:
            raise Conflict(f"Generation {id} has ended; GET /generation?id={id} has its record.")
        return answer({"data": {"id": id, "cancelled": True}})

    return [
        Route("/generation", generation, methods=["GET"]),
        Route("/generation/{id}/cancel", cancelling, methods=["POST"]),
    ]
