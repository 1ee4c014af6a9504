"""The management of API keys: GET/POST /keys and GET/PATCH/DELETE /keys/{hash}, for management keys alone.

A management key sees the keys of its own account; any other hash is 404, as one that never was. The plain text of a new
key is in the answer to POST, once, and nowhere else. Source of shapes: platform, section 1. Members that these
operations do not know are ignored; there is one workspace an account, the default one.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from routebook.control.desk import Desk, answer, authenticate, read_body
from routebook.core.errors import BadRequest, Conflict, NotFound
from routebook.core.people import Key
from routebook.ledger.book import Usages, remaining
from routebook.ledger.people import default_workspace, hash_of, label_of, new_key_text
from routebook.ledger.windows import iso
from routebook.policy.admission import utc_ns

PAGE = 100
TRIES = 5
"""of one change: another worker, or the command line, may have been quicker"""

LIMIT_MAX = Decimal(10) ** 12
LIMIT_DIGITS_MAX = 40

Reset = Literal["daily", "weekly", "monthly"]
Name = Annotated[str, msgspec.Meta(min_length=1)]


class NewKey(msgspec.Struct, frozen=True):
    """Body of POST /keys; `limit` in USD."""

    name: Name
    limit: Decimal | None = None
    limit_reset: Reset | None = None
    include_byok_in_limit: bool = False
    expires_at: str | None = None
    workspace_id: str | None = None
    creator_user_id: Name | None = None


class KeyChange(msgspec.Struct, frozen=True):
    """Body of PATCH /keys/{hash}: what is absent stays, null removes a limit or its reset."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    disabled: bool | msgspec.UnsetType = msgspec.UNSET
    limit: Decimal | msgspec.UnsetType | None = msgspec.UNSET
    limit_reset: Reset | msgspec.UnsetType | None = msgspec.UNSET
    include_byok_in_limit: bool | msgspec.UnsetType = msgspec.UNSET


def make_key(wanted: NewKey, text: str, account: str, now_ns: int, management: bool = False) -> Key:
    """The key as stored, for the plain text that its owner gets. Raises BadRequest for a limit, time or workspace."""
    _check_limit(wanted.limit)
    if wanted.workspace_id not in (None, default_workspace(account)):
        raise BadRequest("No such workspace; leave workspace_id out for the default one.")
    return Key(
        hash=hash_of(text),
        name=wanted.name,
        label=label_of(text),
        account=account,
        management=management,
        limit=wanted.limit,
        limit_reset=wanted.limit_reset,
        include_byok_in_limit=wanted.include_byok_in_limit,
        created_at=iso(now_ns),
        expires_at=_checked_expiry(wanted.expires_at),
        creator_user_id=wanted.creator_user_id,
        workspace_id=default_workspace(account),
    )


def change_key(key: Key, change: KeyChange, now_ns: int) -> Key:
    """The key after a PATCH. Raises BadRequest for a limit that is no amount."""
    changes = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not msgspec.UNSET}
    _check_limit(changes.get("limit"))
    return msgspec.structs.replace(key, **changes, updated_at=iso(now_ns)) if changes else key


def money_fields(key: Key, usages: Usages) -> dict[str, Any]:
    """What a key may spend and has spent: the members that every key shape shares. USD."""
    return {
        "limit": key.limit,
        "limit_remaining": remaining(key, usages),
        "limit_reset": key.limit_reset,
        "include_byok_in_limit": key.include_byok_in_limit,
        "usage": usages.total,
        "usage_daily": usages.daily,
        "usage_weekly": usages.weekly,
        "usage_monthly": usages.monthly,
        "byok_usage": usages.byok_total,
        "byok_usage_daily": usages.byok_daily,
        "byok_usage_weekly": usages.byok_weekly,
        "byok_usage_monthly": usages.byok_monthly,
    }


def key_body(key: Key, usages: Usages) -> dict[str, Any]:
    """A key as the management API shows it.

    `external_user` and `last_used_at` are not in the schema of 2026-08, but OpenRouter's own SDKs refuse a key without
    them (openrouter 1.3.84, 2026-11); this version keeps neither, so both are null.
    """
    return {
        "hash": key.hash,
        "name": key.name,
        "label": key.label,
        "disabled": key.disabled,
        **money_fields(key, usages),
        "created_at": key.created_at,
        "updated_at": key.updated_at,
        "expires_at": key.expires_at,
        "creator_user_id": key.creator_user_id,
        "external_user": None,
        "last_used_at": None,
        "workspace_id": key.workspace_id or default_workspace(key.account),
    }


def routes(desk: Desk) -> list[Route]:
    """The paths, relative to the API's base."""

    async def list_keys(request: Request) -> Response:
        me = authenticate(request, desk.people, desk.now_ns(), "manage")
        offset = _offset(request.query_params.get("offset"))
        keys = await _keys_of(desk, me.account)
        if not _flag(request.query_params.get("include_disabled")):
            keys = [key for key in keys if not key.disabled]
        workspace = request.query_params.get("workspace_id") or default_workspace(me.account)
        keys = [key for key in keys if (key.workspace_id or default_workspace(key.account)) == workspace]
        return answer({"data": [await _shown(desk, key) for key in keys[offset : offset + PAGE]]})

    async def create_key(request: Request) -> Response:
        me = authenticate(request, desk.people, desk.now_ns(), "manage")
        wanted = await read_body(request, NewKey)
        text = new_key_text(desk.dice.roll(256))
        key = make_key(wanted, text, me.account, desk.now_ns())
        await desk.store.put_key(key)
        await desk.people.refresh(desk.store)
        return answer({"data": await _shown(desk, key), "key": text}, 201)

    async def get_key(request: Request) -> Response:
        me = authenticate(request, desk.people, desk.now_ns(), "manage")
        return answer({"data": await _shown(desk, await _find(desk, request, me))})

    async def patch_key(request: Request) -> Response:
        me = authenticate(request, desk.people, desk.now_ns(), "manage")
        change = await read_body(request, KeyChange)
        async with desk.people.changing:
            for _ in range(TRIES):
                known = await _find(desk, request, me)
                key = change_key(known, change, desk.now_ns())
                if await desk.store.change_key(known, key):
                    await desk.people.refresh(desk.store)
                    return answer({"data": await _shown(desk, key)})
        raise Conflict("Others change this key at the same moment; GET it and repeat what is still to be changed.")

    async def delete_key(request: Request) -> Response:
        me = authenticate(request, desk.people, desk.now_ns(), "manage")
        async with desk.people.changing:
            key = await _find(desk, request, me)
            await desk.store.delete_key(key.hash)
            await desk.people.refresh(desk.store)
        return answer({"deleted": True})

    return [
        Route("/keys", list_keys, methods=["GET"]),
        Route("/keys", create_key, methods=["POST"]),
        Route("/keys/{hash}", get_key, methods=["GET"]),
        Route("/keys/{hash}", patch_key, methods=["PATCH"]),
        Route("/keys/{hash}", delete_key, methods=["DELETE"]),
    ]


async def _shown(desk: Desk, key: Key) -> dict[str, Any]:
    return key_body(key, await desk.leases.usage(key.hash, desk.now_ns()))


async def _keys_of(desk: Desk, account: str) -> list[Key]:
    await desk.people.refresh(desk.store)  # somebody may have used the command line a moment ago
    return desk.people.of_account(account)


async def _find(desk: Desk, request: Request, me: Key) -> Key:
    await desk.people.refresh(desk.store)
    key = desk.people.by_hash(request.path_params["hash"])
    if key is None or key.admin or key.account != me.account:
        raise NotFound("No API key has this hash; GET /api/v1/keys lists yours.")
    return key


def _check_limit(limit: Decimal | None) -> None:
    if limit is None:
        return
    if not limit.is_finite() or limit < 0 or limit > LIMIT_MAX or -int(limit.as_tuple().exponent) > LIMIT_DIGITS_MAX:
        raise BadRequest("limit must be an amount of USD, zero or more, such as 25.50, or null for none.")


def _checked_expiry(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        utc_ns(text)
    except (ValueError, OverflowError):
        raise BadRequest("expires_at must be an ISO 8601 time in UTC, such as 2027-12-31T23:59:59Z.") from None
    # fromisoformat also takes 20271231T235959+00:00; clients and the API's schema do not
    return iso(utc_ns(text)).replace("+00:00", "Z").replace(".000000", "")


def _offset(text: str | None) -> int:
    if not text:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise BadRequest("offset must be a number of keys to skip, zero or more.")
    return int(text)


def _flag(text: str | None) -> bool:
    if text is not None and text not in ("true", "false", "1", "0", ""):
        raise BadRequest("include_disabled must be true or false.")
    return text in ("true", "1")
