"""What a key may know about itself, and what the account has: GET /key and GET /credits.

Source of shapes: platform, sections 1 and 4.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from routebook.control.desk import Desk, answer, authenticate
from routebook.control.keys import money_fields
from routebook.core.people import Key
from routebook.ledger.book import Usages


def current_key_body(key: Key, usages: Usages) -> dict[str, Any]:
    """The calling key as GET /key shows it. `rate_limit` is a relic that says nothing: the schema wants it, with -1."""
    manages = key.management or key.admin
    return {
        "label": key.label,
        **money_fields(key, usages),
        "is_free_tier": False,
        "is_management_key": manages,
        "is_provisioning_key": manages,
        "expires_at": key.expires_at,
        "creator_user_id": key.creator_user_id,
        "rate_limit": {"requests": -1, "interval": "1h", "note": "This field is deprecated and safe to ignore."},
    }


def credits_body(credits: Decimal, used: Decimal) -> dict[str, Any]:
    """What the account was given and what its keys were charged, USD."""
    return {"total_credits": credits, "total_usage": used}


def routes(desk: Desk) -> list[Route]:
    """The paths, relative to the API's base."""

    async def current_key(request: Request) -> Response:
        key = authenticate(request, desk.people, desk.now_ns())
        return answer({"data": current_key_body(key, desk.book.usage(key.hash, desk.now_ns()))})

    async def credits(request: Request) -> Response:
        me = authenticate(request, desk.people, desk.now_ns(), "manage")
        return answer({"data": credits_body(desk.credits, desk.book.account_usage(me.account))})

    return [Route("/key", current_key, methods=["GET"]), Route("/credits", credits, methods=["GET"])]
