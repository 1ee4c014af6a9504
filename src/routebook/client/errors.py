"""Owns everything that a call may raise, and how an answer of the server becomes one of them.

    RoutebookError
    ├── BadArgument (also a ValueError)   the call cannot be made like this; nothing was sent
    ├── BadRequest                        400 and every other 4xx without a class of its own
    │   ├── Conflict                      409
    │   ├── Gone                          410
    │   ├── PreconditionFailed            412
    │   ├── PayloadTooLarge               413
    │   └── Unprocessable                 422
    ├── Unauthorized                      401
    ├── PaymentRequired                   402
    ├── Forbidden                         403
    ├── NotFound                          404
    ├── RequestTimeout                    408
    ├── RateLimited                       429
    ├── ServerError                       500 and every other 5xx without a class of its own
    │   ├── ProviderUnavailable           502
    │   ├── ProviderOverloaded            503, 529
    │   └── ProviderTimeout               504, 524
    ├── UnreadableAnswer                  not what the API promises: HTML, cut JSON, a redirect, a field of another type
    └── ConnectionFailed                  no whole answer came: refused, reset, no such host, TLS
        ├── TimedOut                      nothing came for `timeout` seconds
        └── StreamCut                     a streamed answer ended before its end

Statuses and error types: the API's error table (inference API, section 14). The api key is cut out of everything that
the server said before it gets here.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any, ClassVar

import msgspec

from .codec import decode


class RoutebookError(Exception):
    """Something went wrong with a call.

    Attributes:
        status: HTTP status; of a streamed answer's error, the status it names; None if there was none.
        message: what went wrong, in the server's words if it spoke.
        error_type: the API's stable word for it, e.g. `rate_limit_exceeded`.
        metadata: details that the server gave; empty if none.
        generation_id: `gen-...`, if a generation was begun: `generations.get` tells what it cost.
        retry_after: seconds until a retry makes sense, if the server said so.
        body: the whole error body as parsed JSON; None if there was none.
    """

    advice: ClassVar[str] = ""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        error_type: str | None = None,
        metadata: dict[str, Any] | None = None,
        generation_id: str | None = None,
        retry_after: float | None = None,
        body: Any = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.error_type = error_type
        self.metadata: dict[str, Any] = metadata if metadata is not None else {}
        self.generation_id = generation_id
        self.retry_after = retry_after
        self.body = body

    def __str__(self) -> str:
        said = self.message if self.message.endswith((".", "!", "?")) else self.message + "."
        words = [f"{self.status}: {said}" if self.status else said, self.advice]
        if self.retry_after is not None:
            words.append(f"Wait {self.retry_after:g} s first.")
        if self.generation_id is not None:
            words.append(f"(generation {self.generation_id})")
        return " ".join(word for word in words if word)


class BadArgument(RoutebookError, ValueError):
    """The call cannot be made like this; nothing was sent."""


class BadRequest(RoutebookError):
    """The server refuses the request as it is (400 and other 4xx)."""

    advice = "Correct the request and send it again."


class Conflict(BadRequest):
    """The resource is in another state (409)."""

    advice = "Read it again before changing it."


class Gone(BadRequest):
    """The server no longer offers this (410)."""

    advice = "Use another operation."


class PreconditionFailed(BadRequest):
    """A condition of the request does not hold (412)."""


class PayloadTooLarge(BadRequest):
    """The request body is too large (413)."""

    advice = "Send less, or send URLs in place of data."


class Unprocessable(BadRequest):
    """The request is well-formed but makes no sense to the server or provider (422)."""


class Unauthorized(RoutebookError):
    """No key, or one that is unknown, disabled or expired (401)."""

    advice = "Pass api_key=... or set ROUTEBOOK_API_KEY to a key of this server."


class PaymentRequired(RoutebookError):
    """The key's limit or the account's credit is spent (402)."""

    advice = "Raise the key's limit, wait for its reset, or add credits."


class Forbidden(RoutebookError):
    """The key may not do that, or a guardrail or moderation blocked the input (403)."""

    advice = "Use a key with the needed right (keys and credits need a management key), or change blocked input."


class NotFound(RoutebookError):
    """No such thing, or it belongs to somebody else (404)."""

    advice = "Check the id, the model and the base URL."


class RequestTimeout(RoutebookError):
    """The server waited too long for the request (408)."""

    advice = "Send it again."


class RateLimited(RoutebookError):
    """Too many requests, here or at every provider tried (429)."""

    advice = "Send fewer requests at a time, or name another model."


class ServerError(RoutebookError):
    """The server failed (500 and other 5xx)."""

    advice = "Try again; if it stays, the server's log has the details."


class ProviderUnavailable(ServerError):
    """The provider failed or answered with garbage (502)."""

    advice = "Try again, or name another provider or model."


class ProviderOverloaded(ServerError):
    """Nothing can take the request now (503, 529)."""

    advice = "Try again shortly, or name another provider or model."


class ProviderTimeout(ServerError):
    """The provider did not answer in time (504, 524)."""

    advice = "Try again, ask for less, or name another provider or model."


class UnreadableAnswer(RoutebookError):
    """The answer is not what the API promises."""

    advice = (
        "Check that the base URL is that of the API (it ends in /api/v1) and that nothing in between answers for it."
    )


class ConnectionFailed(RoutebookError):
    """No whole answer came.

    Attributes:
        maybe_sent: False if the server cannot have seen the request, so that sending it again costs nothing twice;
            True if it may have, and a generation may have been charged.
    """

    advice = "Check that the server runs and that the base URL is right."
    maybe_sent = True


class TimedOut(ConnectionFailed):
    """Nothing came for `timeout` seconds."""

    advice = "Raise timeout=..., or ask for less."


class StreamCut(ConnectionFailed):
    """A streamed answer ended before its end: what came so far is incomplete."""

    advice = "Look at the generation's record for what was charged before you send it again."


_BY_STATUS: dict[int, type[RoutebookError]] = {
    401: Unauthorized,
    402: PaymentRequired,
    403: Forbidden,
    404: NotFound,
    408: RequestTimeout,
    409: Conflict,
    410: Gone,
    412: PreconditionFailed,
    413: PayloadTooLarge,
    422: Unprocessable,
    429: RateLimited,
    502: ProviderUnavailable,
    503: ProviderOverloaded,
    504: ProviderTimeout,
    524: ProviderTimeout,
    529: ProviderOverloaded,
}

# For an error inside a 200 answer that names no status.
_STATUS_OF_TYPE = {
    "invalid_request": 400,
    "authentication": 401,
    "payment_required": 402,
    "permission_denied": 403,
    "not_found": 404,
    "payload_too_large": 413,
    "unprocessable": 422,
    "rate_limit_exceeded": 429,
    "server": 500,
    "server_error": 500,
    "provider_unavailable": 502,
    "provider_overloaded": 503,
    "timeout": 504,
}


def kind_of(status: int) -> type[RoutebookError]:
    """The class for an HTTP status of 400 or more."""
    return _BY_STATUS.get(status) or (ServerError if status >= 500 else BadRequest)


def from_answer(status: int, headers: Mapping[str, str], body: bytes, secret: str | None) -> RoutebookError:
    """The error that an answer with a status of 300 or more means. `headers` has lower-case names."""
    try:
        parsed = redact(decode(dict[str, Any], body), secret)
    except (msgspec.DecodeError, UnicodeDecodeError):
        parsed = None
    what = headers.get("content-type", "").split(";")[0] or "no content type"
    if status < 400:
        fault: RoutebookError = UnreadableAnswer(f"The server answered {status} ({what})", status=status)
    elif parsed is None:
        fault = kind_of(status)(
            f"The server answered {status} without the API's error body ({what})",
            status=status,
        )
    else:
        fault = from_error(parsed.get("error"), body=parsed, status=status)
    fault.generation_id = headers.get("x-generation-id") or fault.generation_id
    after = _seconds(headers.get("retry-after"), headers.get("date"))
    fault.retry_after = after if after is not None else fault.retry_after
    return fault


def from_error(error: Any, *, body: dict[str, Any], status: int | None = None) -> RoutebookError:
    """The error that an `error` object means, alone or in a 200 answer. Every known form of it is understood.

    `body` is the object that holds it; without `status` the object's own code or type decides.
    """
    detail: dict[str, Any] = error if isinstance(error, dict) else {}
    metadata = detail.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    error_type = _text(
        metadata.get("error_type"),
        detail.get("error_type"),
        body.get("error_type"),
        detail.get("type"),
    )
    if status is None:
        status = _named_status(detail.get("code"), error_type)
    message = _text(error, detail.get("message"), body.get("message"), body.get("detail"))
    availability = detail.get("availability")
    hint = availability.get("retry_after") if isinstance(availability, dict) else metadata.get("retry_after")
    # An error alone carries a request id only in the Messages shape; a chunk of a stream has the id itself.
    begun = _text(metadata.get("generation_id"), body.get("request_id"), body.get("id"))
    return kind_of(status)(
        message or f"The server reports an error ({error_type or status}) without saying why",
        status=status,
        error_type=error_type,
        metadata=metadata,
        generation_id=begun if begun and begun.startswith("gen-") else None,
        retry_after=_seconds(None if hint is None else str(hint), None),
        body=body,
    )


def redact(value: Any, secret: str | None) -> Any:
    """`value` with the api key cut out of every string in it. A key of under 8 characters is no secret."""
    if not secret or len(secret) < 8:
        return value
    if isinstance(value, str):
        return value.replace(secret, "(api key)")
    if isinstance(value, dict):
        return {redact(key, secret): redact(item, secret) for key, item in value.items()}
    if isinstance(value, list):
        return [redact(item, secret) for item in value]
    return value


def _text(*candidates: Any) -> str | None:
    return next((text for text in candidates if isinstance(text, str) and text), None)


def _named_status(code: Any, error_type: str | None) -> int:
    if isinstance(code, str) and code.isdecimal():
        code = int(code)
    if isinstance(code, int) and not isinstance(code, bool) and 400 <= code <= 599:
        return code
    for word in (error_type, code):
        if isinstance(word, str) and word in _STATUS_OF_TYPE:
            return _STATUS_OF_TYPE[word]
    return 500


def _seconds(retry_after: str | None, date: str | None) -> float | None:
    """Seconds that a `Retry-After` asks for; one that names a time is measured from the answer's own `Date`."""
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(retry_after) - parsedate_to_datetime(date or "")).total_seconds()
        except (TypeError, ValueError):
            return None
    return max(seconds, 0.0) if isfinite(seconds) else None
