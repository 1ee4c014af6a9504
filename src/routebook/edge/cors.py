"""Which web pages may call the API: any, with a key of their own. The one place of that rule, for both edges.

No cookie is ever looked at, so a page can do nothing that its key could not do from anywhere else.
"""

from __future__ import annotations

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

EXPOSED = ["X-Generation-Id", "Retry-After", "Idempotent-Replayed", "X-Routebook-Translation"]
PREFLIGHT_SECONDS = 86_400


def with_cors(app: ASGIApp) -> CORSMiddleware:
    """The application, with preflight requests answered and the headers that let a page read its answers."""
    return CORSMiddleware(
        app,
        allow_origins=["*"],
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=EXPOSED,
        max_age=PREFLIGHT_SECONDS,
    )


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("only its headers are wanted")


WITHOUT_ORIGIN = "vary: Origin\r\n"
"""The lines that the middleware adds to an answer, for the edge that writes its inference answers itself."""
WITH_ORIGIN = (
    "".join([f"{name.lower()}: {value}\r\n" for name, value in with_cors(_nothing).simple_headers.items()])
    + WITHOUT_ORIGIN
)
