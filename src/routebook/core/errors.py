"""Everything that can go wrong and that a caller may be told.

    Fault                      status  error_type
    ├── BadRequest             400     invalid_request
    │   └── ModelUnknown       400     not_found
    ├── Unauthenticated        401     authentication
    ├── PaymentRequired        402     payment_required
    ├── Forbidden              403     permission_denied
    ├── NotFound               404     not_found
    ├── RequestTimeout         408     timeout
    ├── Conflict               409     conflict
    ├── TooLarge               413     payload_too_large
    ├── RateLimited            429     rate_limit_exceeded
    ├── Cancelled              499     unmapped
    ├── Internal               500     server
    ├── Unavailable            503     provider_overloaded      (our own infrastructure)
    └── UpstreamFault          502     provider_unavailable     (a provider did it; `status` is what the caller sees)
        ├── UpstreamRefused    its own status (400, 413, 422, …)
        ├── UpstreamCredential 502     our credential was refused (401, 402, 403, 404 upstream; all 404: 404)
        ├── UpstreamLimited    429     rate_limit_exceeded
        ├── UpstreamOverloaded 503     provider_overloaded      (5xx and 529 upstream)
        ├── UpstreamTimeout    504     timeout
        ├── UpstreamLost       502     provider_unavailable     (connect, TLS, reset, cut off)
        └── UpstreamGarbage    502     provider_unavailable     (not the dialect that was promised)

The message of a fault is safe to show: it never holds a secret, a provider's key or a stack trace, and it says what to
do next. `ClientGone` and `Halted` are no faults: nobody is left to be told, or nothing is wrong.
Source of statuses and types: the API's error table (inference API, section 14).
"""

from __future__ import annotations

from typing import Any, ClassVar


class ClientGone(Exception):
    """The caller hung up before the answer ended."""


class Halted(ClientGone):
    """The answer is ended before the provider ends it, on purpose: the call was cancelled by request, or its budget
    covers no more. The caller is there and gets a proper end."""


class Fault(Exception):
    """Something went wrong; try again later, and if it stays, read the gateway's log."""

    status: int = 500
    error_type: str = "server"
    upstream: ClassVar[bool] = False
    routing: dict[str, Any] | None = None
    """What routing did of the call (`openrouter_metadata`), where its caller asked to be told."""

    def __init__(
        self,
        message: str | None = None,
        *,
        status: int | None = None,
        error_type: str | None = None,
        metadata: dict[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        super().__init__(self.message)
        if status is not None:
            self.status = status
        if error_type is not None:
            self.error_type = error_type
        self.metadata: dict[str, Any] = metadata or {}
        self.retry_after = retry_after
        """Seconds until a retry makes sense, if anybody said so."""


class Cancelled(Fault):
    """The generation was cancelled by request; send it again if you want its answer."""

    status = 499
    error_type = "unmapped"


class BadRequest(Fault):
    """The request is not valid; correct it and send it again."""

    status = 400
    error_type = "invalid_request"


class ModelUnknown(BadRequest):
    """No such model; GET /api/v1/models lists those this gateway serves."""

    error_type = "not_found"


class Unauthenticated(Fault):
    """Missing Authentication header; send `Authorization: Bearer <key>`."""

    status = 401
    error_type = "authentication"


class PaymentRequired(Fault):
    """The key's limit is spent; raise it or wait for its reset."""

    status = 402
    error_type = "payment_required"


class Forbidden(Fault):
    """This key may not do that; use a key with the needed right."""

    status = 403
    error_type = "permission_denied"


class NotFound(Fault):
    """Not found; check the id or the path."""

    status = 404
    error_type = "not_found"


class RequestTimeout(Fault):
    """The request did not arrive in time; send it again."""

    status = 408
    error_type = "timeout"


class Conflict(Fault):
    """The resource is in another state; read it again before changing it."""

    status = 409
    error_type = "conflict"


class TooLarge(Fault):
    """The request body is too large; send less."""

    status = 413
    error_type = "payload_too_large"


class RateLimited(Fault):
    """Too many requests; wait and try again."""

    status = 429
    error_type = "rate_limit_exceeded"


class Internal(Fault):
    """Internal error; the gateway's log has the details under this generation id."""


class Unavailable(Fault):
    """The gateway cannot take this request now; try again shortly."""

    status = 503
    error_type = "provider_overloaded"


class UpstreamFault(Fault):
    """The provider failed; try again, or name another provider or model."""

    status = 502
    error_type = "provider_unavailable"
    upstream: ClassVar[bool] = True

    def __init__(
        self,
        message: str | None = None,
        *,
        provider_status: int | None = None,
        provider_code: str | None = None,
        raw: str | None = None,
        status: int | None = None,
        error_type: str | None = None,
        metadata: dict[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, status=status, error_type=error_type, metadata=metadata, retry_after=retry_after)
        self.provider_status = provider_status
        """HTTP status the provider answered with, None if it gave none."""
        self.provider_code = provider_code
        """The provider's own error code or type, verbatim."""
        self.raw = raw
        """The provider's error body, at most 2 KiB; for the log and the record, never for the caller."""


class UpstreamRefused(UpstreamFault):
    """The provider refused the request as invalid; correct it and send it again."""

    status = 400
    error_type = "invalid_request"


class UpstreamCredential(UpstreamFault):
    """The provider refused the gateway's credential or account; the operator has to renew it."""


class UpstreamLimited(UpstreamFault):
    """The provider limits the rate of requests; wait and try again."""

    status = 429
    error_type = "rate_limit_exceeded"


class UpstreamOverloaded(UpstreamFault):
    """The provider is overloaded or down; try again shortly."""

    status = 503
    error_type = "provider_overloaded"


class UpstreamTimeout(UpstreamFault):
    """The provider did not answer in time; try again, or raise the timeout in [timeouts]."""

    status = 504
    error_type = "timeout"

    def __init__(self, message: str | None = None, *, sent: bool = True, **rest: Any) -> None:
        super().__init__(message, **rest)
        self.sent = sent
        """False where connecting took too long: not one byte of the request left."""


class UpstreamLost(UpstreamFault):
    """The connection to the provider failed; try again."""

    def __init__(self, message: str | None = None, *, sent: bool = True, **rest: Any) -> None:
        super().__init__(message, **rest)
        self.sent = sent
        """False where not one byte of the request left, so that nothing can have been billed."""


class UpstreamGarbage(UpstreamFault):
    """The provider's answer is not what its dialect promises; check the provider's base_url and dialect."""
