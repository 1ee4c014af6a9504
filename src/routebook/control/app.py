"""The control application: every path that is not inference, assembled; faults become the API's error envelope."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount

from routebook.control import account, catalog, generation, health, keys, ledger
from routebook.control.desk import is_known
from routebook.core.errors import Fault, Internal, NotFound
from routebook.dialects.base import Surface
from routebook.observe.log import log

if TYPE_CHECKING:
    from routebook.corridor.ports import App

BASES = ("/api/v1", "/v1")


_UNDER = tuple(f"{base}/" for base in BASES)
_TWICE = tuple(f"{base}{again}" for base in BASES for again in _UNDER)
_POSTED = ("/chat/completions", "/completions", "/responses", "/messages")


def control_app(
    app: App,
    surface: Surface,
    ready: Callable[[], health.Readiness],
    elsewhere: generation.Elsewhere = generation.nowhere,
    daybooks: ledger.Daybooks | None = None,
    cancel_elsewhere: generation.CancelElsewhere = generation.nobody_cancels,
    counts: Sequence[BaseRoute] = (),
) -> Starlette:
    """`surface` writes the error envelopes; `ready` says whether the gateway takes work, and what is wrong if not;
    `elsewhere` reads the daybooks of other workers; `daybooks` looks at all of this host;
    `cancel_elsewhere` has other workers stop a call; `counts` are the paths of `counting`."""
    api: list[BaseRoute] = [
        *catalog.routes(
            lambda: app.catalog,
            lambda endpoint_id: app.fleet.health.listing(endpoint_id, app.now_ns()),
            lambda request: is_known(request, app.people, app.now_ns()),
        ),
        *keys.routes(app),
        *account.routes(app),
        *generation.routes(app, elsewhere, cancel_elsewhere),
        *(() if daybooks is None else ledger.routes(app, daybooks)),
    ]
    routes: list[BaseRoute] = [
        *health.routes(app.metrics, ready),
        *counts,  # before the others, whose bases they share
        *(Mount(base, routes=api) for base in BASES),
    ]

    def envelope(request: Request, error: Exception) -> Response:
        fault = error if isinstance(error, Fault) else _told(request, error)
        headers = {} if fault.retry_after is None else {"retry-after": str(int(fault.retry_after))}
        return Response(surface.error_body(fault, None), fault.status, headers, media_type="application/json")

    return Starlette(
        routes=routes,
        exception_handlers={Fault: envelope, HTTPException: envelope, Exception: envelope},
    )


def _no_path(method: str, path: str) -> str:
    """What somebody hears whose base URL is mostly a little wrong."""
    if method == "GET" and path.startswith(_UNDER) and path.endswith(_POSTED):
        return f"No such path: GET {path}. It takes POST."
    if path.startswith(_UNDER) and not path.startswith(_TWICE):
        return f"No such path: {method} {path}. GET /api/v1/models is a good start."
    return (
        f"No such path: {method} {path}. The API is under /api/v1, as in /api/v1/chat/completions; "
        "correct the client's base URL."
    )


def _told(request: Request, error: Exception) -> Fault:
    if isinstance(error, HTTPException):
        if error.status_code == 404:
            return NotFound(_no_path(request.method, request.url.path))
        if error.status_code == 405:
            return Fault(f"{request.method} is not what this path takes.", status=405, error_type="invalid_request")
        return Fault(str(error.detail), status=error.status_code, error_type="invalid_request")
    log.error("a management request failed", exc_info=error)
    return Internal("Internal error; the gateway's log has the details.")
