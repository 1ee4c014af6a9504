"""Counting the tokens of a prompt: `/messages/count_tokens`, and Gemini's `:countTokens`.

Nothing is generated, so there is no generation record and no generation id. `X-Routebook-Count` says who counted:
`provider`, `reference` (the o200k_base tokenizer) or `estimate`. Errors are written as the dialect of the path has
them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from routebook.control.desk import body_of
from routebook.core.errors import BadRequest, Fault, Internal, NotFound
from routebook.corridor.counting import Count, count
from routebook.corridor.ports import App, Arrival
from routebook.corridor.translation import is_asked, told
from routebook.dialects.base import PathSurface, Surface
from routebook.observe.log import log
from routebook.wire import codec
from routebook.wire.heads import TRANSLATION

HEADER = "X-Routebook-Count"
_METHOD = ":countTokens"
_GEMINI_BASES = ("/v1beta", "/api/v1beta", "/api/v1", "/v1")

Said = Callable[[Count], dict[str, Any]]


def routes(app: App, surfaces: Mapping[str, Surface]) -> list[BaseRoute]:
    """The paths of both dialects under each of their bases."""
    messages, gemini = surfaces["anthropic"], cast(PathSurface, surfaces["gemini"])

    async def count_messages(request: Request) -> Response:
        async def said() -> Count:
            return await _counted(app, messages, dict(request.headers), await _body(request, app))

        return await _answered(messages, request, said, lambda found: {"input_tokens": found.tokens})

    async def count_gemini(request: Request) -> Response:
        async def said() -> Count:
            tail: str = request.path_params["tail"]
            surface = gemini.at(tail.removesuffix(_METHOD) + ":generateContent", "")
            if surface is None or not tail.endswith(_METHOD):
                raise NotFound(f"No such path: {request.url.path}. Its method is none that this gateway has.")
            headers = dict(request.headers)
            if "x-goog-api-key" not in headers and (key := request.query_params.get("key")):
                headers["x-goog-api-key"] = key
            return await _counted(app, surface, headers, _inner(await _body(request, app)))

        return await _answered(gemini, request, said, lambda found: {"totalTokens": found.tokens})

    bases = ("/api/v1", "/v1", "/api")
    return [
        *(Route(f"{base}/messages/count_tokens", count_messages, methods=["POST"]) for base in bases),
        *(Route(f"{base}/models/{{tail:path}}", count_gemini, methods=["POST"]) for base in _GEMINI_BASES),
    ]


async def _counted(app: App, surface: Surface, headers: Mapping[str, str], body: bytes) -> Count:
    return await count(Arrival(surface, headers, body, app.now_ns()), app)


async def _answered(
    surface: Surface, request: Request, said: Callable[[], Awaitable[Count]], written: Said
) -> Response:
    """The count, or what went wrong, in the surface's own envelope."""
    try:
        found = await said()
    except Fault as fault:
        return _refused(surface, fault)
    except Exception:
        log.exception("the tokens of a prompt could not be counted")
        return _refused(surface, Internal("Internal error; the gateway's log has the details."))
    headers: dict[str, str] = {HEADER: found.source}
    if is_asked(request.headers):
        headers[TRANSLATION] = told(found.losses)
    return Response(codec.encode(written(found)), headers=headers, media_type="application/json")


def _refused(surface: Surface, fault: Fault) -> Response:
    headers = {} if fault.retry_after is None else {"retry-after": str(int(fault.retry_after))}
    return Response(surface.error_body(fault, None), fault.status, headers, media_type="application/json")


async def _body(request: Request, app: App) -> bytes:
    return await body_of(request, app.settings.limits.body_bytes, "send less, or raise [limits] body_bytes")


def _inner(body: bytes) -> bytes:
    """The request whose tokens are asked for: the body itself, or the whole request that stands in it."""
    try:
        found = codec.decode_as(body, dict[str, codec.Raw])
    except codec.DecodeError as error:
        raise BadRequest(f"The request body is not valid: {error}. Send a JSON object with `contents`.") from None
    inner = found.get("generateContentRequest") or found.get("generate_content_request")
    return body if inner is None else bytes(inner)
