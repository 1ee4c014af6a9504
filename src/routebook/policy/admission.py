"""Who may come in: the one place that reads a credential from headers, and the one that says yes or no to a key. Pure.

Every surface and every control handler uses these two functions, so that no path is open by another rule.
Source of statuses and of the two messages that clients know by heart: platform, head of the document and section 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal

from routebook.core.errors import Forbidden, Unauthenticated
from routebook.core.people import Key

Purpose = Literal["inference", "manage", "read"]
"""what the caller wants: spend tokens, administer the account, or look at what is the account's own"""

MISSING = "Missing Authentication header"
MANAGEMENT_ONLY = "Only management keys can perform this operation"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def credential(headers: Mapping[str, str]) -> str:
    """The key string of `Authorization: Bearer <key>`, else of `x-api-key` (what Anthropic clients send), else of
    `x-goog-api-key` (what Gemini clients send).

    `headers` has lower-case names or ignores case. Where several are sent the bearer counts: some clients fill
    `x-api-key` with a placeholder. Raises Unauthenticated without any.
    """
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    token = token.strip()
    if scheme.lower() == "bearer" and token:
        return token
    for name in ("x-api-key", "x-goog-api-key"):
        token = headers.get(name, "").strip()
        if token:
            return token
    raise Unauthenticated(MISSING)


def admit(key: Key | None, now_ns: int, purpose: Purpose) -> Key:
    """The key itself if it may do that now; `key` is None where the credential is unknown.

    Raises Unauthenticated (unknown, disabled, expired) and Forbidden (known, but the wrong kind of key).
    `now_ns`: nanoseconds of unix time.
    """
    if key is None:
        raise Unauthenticated("Unknown API key; check it, or make one with `routebook keys create --name NAME`.")
    if key.disabled:
        raise Unauthenticated("This API key is disabled; enable it again or use another one.")
    if key.expires_at is not None and _over(key.expires_at, now_ns):
        raise Unauthenticated(f"This API key expired at {key.expires_at}; use another one.")
    if purpose == "manage" and not (key.management or key.admin):
        raise Forbidden(MANAGEMENT_ONLY)
    if purpose == "inference" and key.management and not key.admin:
        raise Forbidden("Management keys cannot call models; use an ordinary API key.")
    return key


@lru_cache(maxsize=4096)
def utc_ns(text: str) -> int:
    """Nanoseconds of unix time of an ISO 8601 time in UTC (`2027-12-31T23:59:59Z`).

    Raises ValueError for anything else, a time without zone and one of another zone included.
    """
    moment = datetime.fromisoformat(text)
    if moment.utcoffset() != timedelta(0):
        raise ValueError(f"{text} is not a time in UTC")
    past = moment - _EPOCH
    return (past.days * 86_400 + past.seconds) * 1_000_000_000 + past.microseconds * 1_000


def _over(expires_at: str, now_ns: int) -> bool:
    try:
        return now_ns >= utc_ns(expires_at)
    except ValueError:
        return True  # a damaged expiry must not turn into a key that never ends
