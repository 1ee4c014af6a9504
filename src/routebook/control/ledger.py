"""GET /ledger/completeness: whether the book is complete, for management keys. Our own path; docs/completeness.md."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from routebook.control.desk import Desk, answer, authenticate
from routebook.core.errors import BadRequest
from routebook.ledger.completeness import Completeness, Shelved, Standing, completeness
from routebook.ledger.windows import iso

_MICROSECOND = timedelta(microseconds=1)
_YEAR_10000_NS = 253_402_300_800 * 10**9


class Daybooks(Protocol):
    """The daybooks of this host; `daybook.standing.Standings` is one."""

    def names(self) -> list[str]: ...

    async def look(self, cursors: dict[str, int]) -> list[Standing]: ...


def routes(desk: Desk, daybooks: Daybooks) -> list[Route]:
    """The path, relative to the API's base."""

    async def read(request: Request) -> Response:
        key = authenticate(request, desk.people, desk.now_ns(), "manage")
        since, until = (_moment(request, name) for name in ("from", "to"))
        if since is not None and until is not None and since > until:
            raise BadRequest("`from` must not be later than `to`.")
        account = None if key.admin else key.account
        found = await completeness(daybooks.names(), daybooks.look, desk.store, account, since or 0, until)
        return answer({"data": body_of(found, since, until, desk.now_ns())})

    return [Route("/ledger/completeness", read, methods=["GET"])]


def body_of(found: Completeness, since_ns: int | None, until_ns: int | None, now_ns: int) -> dict[str, Any]:
    """The answer's `data`, as docs/completeness.md has it."""
    counts = found.counts
    return {
        "from": None if since_ns is None else iso(since_ns),
        "to": None if until_ns is None else iso(until_ns),
        "as_of": iso(now_ns),
        "holds": not found.reasons,
        "reasons": found.reasons,
        "admitted": found.admitted,
        "settled": counts.settled,
        "open": counts.open,
        "interrupted": counts.interrupted,
        "states": counts,
        "gaps": sum(each.standing.gaps for each in found.daybooks),
        "deleted": {
            "calls": found.deleted,
            "kept_since": None if not found.kept_since_ns else iso(found.kept_since_ns),
        },
        "daybooks": [_daybook(each) for each in found.daybooks],
    }


def _daybook(each: Shelved) -> dict[str, Any]:
    standing = each.standing
    return {
        "name": standing.daybook,
        "rows": {"first": standing.after + 1, "last": standing.head.seq, "count": standing.rows},
        "gaps": standing.gaps,
        "segments": standing.segments,
        "open": len(standing.under_way),
        "shipped": each.shipped,
        "waiting": each.waiting,
        "deleted": each.deleted,
        "head": {"seq": standing.head.seq, "digest": standing.head.digest},
        "breaks": standing.breaks,
    }


def _moment(request: Request, name: str) -> int | None:
    """Nanoseconds of unix time that a query parameter means; None where it is absent. Without a zone: UTC."""
    text = request.query_params.get(name, "").strip()
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        found = (at - datetime(1970, 1, 1, tzinfo=UTC)) // _MICROSECOND * 1000
    except (ValueError, OverflowError):
        found = -1
    if not 0 <= found < _YEAR_10000_NS:
        raise BadRequest(f"`{name}` must be a day or a time in ISO 8601, such as 2027-01-31 or 2027-01-31T12:00:00Z.")
    return found
