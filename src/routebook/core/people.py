"""Who calls: keys, their limits, apps. Only hashes of keys are ever held."""

from __future__ import annotations

from decimal import Decimal

import msgspec

DEFAULT_ACCOUNT = "default"


class Key(msgspec.Struct, frozen=True, omit_defaults=True):
    """One API key as stored. Times are ISO 8601 UTC strings; money is USD."""

    hash: str
    """sha-256 of the whole key string, lower-case hex"""
    name: str
    label: str
    """masked form, `sk-rb-v1-0e6...1c96`"""
    account: str = DEFAULT_ACCOUNT
    disabled: bool = False
    management: bool = False
    """manages only: 403 on inference"""
    admin: bool = False
    """the operator's own key: manages and infers, no limit"""
    limit: Decimal | None = None
    limit_reset: str | None = None
    """daily, weekly, monthly or None (lifetime)"""
    include_byok_in_limit: bool = False
    created_at: str = ""
    updated_at: str | None = None
    expires_at: str | None = None
    creator_user_id: str | None = None
    workspace_id: str | None = None


class App(msgspec.Struct, frozen=True):
    """An application that names itself by `HTTP-Referer`."""

    id: int
    url: str
    title: str | None = None
