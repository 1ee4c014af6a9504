"""Owns the types of keys and credits, and what a caller may say when making or changing a key.

Source: `/keys`, `/keys/{hash}`, `/key` and `/credits` of the API (OpenAPI of 2026-08-22, platform notes 1 and 4).
A key of the JSON that the server did not send is None. Money is USD, exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any, Required, TypedDict

from .codec import Shape, instant


class KeyFields(TypedDict, total=False):
    """What a key may be made with. Leave a field out for the server's default.

    `limit` is USD (give a `Decimal`, an int or a decimal string to be exact), None for no limit; `limit_reset` is
    `daily`, `weekly`, `monthly` or None; `expires_at` is ISO 8601 in UTC, or an aware datetime.
    """

    name: Required[str]
    limit: Decimal | int | float | str | None
    limit_reset: str | None
    include_byok_in_limit: bool
    expires_at: str | datetime | None
    workspace_id: str
    creator_user_id: str | None


class KeyChanges(TypedDict, total=False):
    """What may be changed on a key. A field that is left out stays; None clears `limit` or `limit_reset`."""

    name: str
    disabled: bool
    limit: Decimal | int | float | str | None
    limit_reset: str | None
    include_byok_in_limit: bool


class KeySpend(Shape, frozen=True, kw_only=True):
    """What every view of a key has: its limit and its use. `usage_*` are of the current UTC day, week and month.

    Attributes:
        label: masked form of the key.
        limit, limit_remaining: USD; None when unlimited. `limit_reset`: `daily`, `weekly`, `monthly` or None.
        usage, usage_daily, usage_weekly, usage_monthly: USD charged.
        byok_usage, ...: USD at list price on caller-owned provider keys.
        expires_at: ISO 8601; `expires_datetime` gives it as a datetime.
    """

    label: str | None = None
    limit: Decimal | None = None
    limit_remaining: Decimal | None = None
    limit_reset: str | None = None
    include_byok_in_limit: bool | None = None
    usage: Decimal | None = None
    usage_daily: Decimal | None = None
    usage_weekly: Decimal | None = None
    usage_monthly: Decimal | None = None
    byok_usage: Decimal | None = None
    byok_usage_daily: Decimal | None = None
    byok_usage_weekly: Decimal | None = None
    byok_usage_monthly: Decimal | None = None
    expires_at: str | None = None
    creator_user_id: str | None = None

    @property
    def expires_datetime(self) -> datetime | None:
        """`expires_at` as an aware datetime; None if absent or unreadable."""
        return instant(self.expires_at)


class KeyData(KeySpend, frozen=True, kw_only=True):
    """A key as its manager sees it; `hash` names it in `keys.get`, `keys.update` and `keys.delete`."""

    hash: str | None = None
    name: str | None = None
    disabled: bool | None = None
    created_at: str | None = None
    updated_at: str | None = None
    workspace_id: str | None = None

    @property
    def created_datetime(self) -> datetime | None:
        """`created_at` as an aware datetime; None if absent or unreadable."""
        return instant(self.created_at)

    @property
    def updated_datetime(self) -> datetime | None:
        """`updated_at` as an aware datetime; None if absent or unreadable."""
        return instant(self.updated_at)


class CurrentKeyData(KeySpend, frozen=True, kw_only=True):
    """The calling key as it sees itself.

    Attributes:
        is_free_tier: the account never paid for credits.
        is_management_key, is_provisioning_key: may manage keys (the second is the deprecated name).
        rate_limit: deprecated, ignore it.
    """

    is_free_tier: bool | None = None
    is_management_key: bool | None = None
    is_provisioning_key: bool | None = None
    rate_limit: dict[str, Any] | None = None


class ListKeysResponseBody(Shape, frozen=True, kw_only=True):
    """The answer of `GET /keys`. Iterate it for the keys of this page."""

    data: list[KeyData]

    def __iter__(self) -> Iterator[KeyData]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)


class KeyResponseBody(Shape, frozen=True, kw_only=True):
    """The answer of `GET` and `PATCH /keys/{hash}`."""

    data: KeyData


class CreateKeyResponseBody(Shape, frozen=True, kw_only=True):
    """The answer of `POST /keys`.

    `key` is the new key in plain text. It is shown this once; `repr` hides it, `to_dict` and `to_json` do not.
    """

    data: KeyData
    key: str | None = None

    def __repr__(self) -> str:
        shown = None if self.key is None else "(hidden)"
        return f"{type(self).__name__}(data={self.data!r}, key={shown!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("data", self.data), ("key", None if self.key is None else "(hidden)")]


class DeleteKeyResponseBody(Shape, frozen=True, kw_only=True):
    """The answer of `DELETE /keys/{hash}`."""

    deleted: bool | None = None


class GetCurrentKeyResponseBody(Shape, frozen=True, kw_only=True):
    """The answer of `GET /key`."""

    data: CurrentKeyData


class CreditsData(Shape, frozen=True, kw_only=True):
    """USD: credits bought and credits used."""

    total_credits: Decimal | None = None
    total_usage: Decimal | None = None

    @property
    def remaining(self) -> Decimal | None:
        """Bought minus used, USD, exact; None if either is unknown."""
        if self.total_credits is None or self.total_usage is None:
            return None
        return self.total_credits - self.total_usage


class GetCreditsResponseBody(Shape, frozen=True, kw_only=True):
    """The answer of `GET /credits`."""

    data: CreditsData
