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
from routebook.core.money import subtract
from routebook.core.people import Key
from routebook.ledger.book import Usages, remaining
from routebook.ledger.people import default_workspace
from routebook.ledger.windows import next_reset


def current_key_body(key: Key, usages: Usages, now_ns: int) -> dict[str, Any]:
    """The calling key as GET /key shows it. `rate_limit` is a relic that says nothing: the schema wants it, with -1.

    The members from `organization_id` on are not in the schema of 2026-08, but OpenRouter's own SDKs refuse an answer
    without them (openrouter 1.3.84, 2026-11). A key has one budget, its own limit; models that are free have no quota
    here, which is said as -1.
    """
    manages = key.management or key.admin
    budgets = _budgets(key, usages, now_ns)
    return {
        "label": key.label,
        **money_fields(key, usages),
        "is_free_tier": False,
        "is_management_key": manages,
        "is_provisioning_key": manages,
        "expires_at": key.expires_at,
        "creator_user_id": key.creator_user_id,
        "rate_limit": {"requests": -1, "interval": "1h", "note": "This field is deprecated and safe to ignore."},
        "organization_id": None,
        "workspace_id": key.workspace_id or default_workspace(key.account),
        "allowed_data_regions": ["global"],
        "budgets": budgets,
        "effective_budget": budgets[0] if budgets else None,
        "free_model_daily_requests": {"limit": -1, "remaining": -1, "used": 0},
    }


def _budgets(key: Key, usages: Usages, now_ns: int) -> list[dict[str, Any]]:
    left = remaining(key, usages)
    if key.limit is None or left is None:
        return []
    return [
        {
            "scope": "key_limit",
            "budget_id": None,
            "guardrail_id": None,
            "limit_usd": key.limit,
            "spend_usd": subtract(key.limit, left),
            "remaining_usd": left,
            "reset_interval": key.limit_reset,
            "resets_at": next_reset(key.limit_reset, now_ns),
            "include_byok": key.include_byok_in_limit,
        }
    ]


def credits_body(credits: Decimal, used: Decimal) -> dict[str, Any]:
    """What the account was given and what its keys were charged, USD."""
    return {"total_credits": credits, "total_usage": used}


def routes(desk: Desk) -> list[Route]:
    """The paths, relative to the API's base."""

    async def current_key(request: Request) -> Response:
        now_ns = desk.now_ns()
        key = authenticate(request, desk.people, now_ns)
        usages = await desk.leases.usage(key.hash, now_ns)
        return answer({"data": current_key_body(key, usages, now_ns)})

    async def credits(request: Request) -> Response:
        me = authenticate(request, desk.people, desk.now_ns(), "manage")
        return answer({"data": credits_body(desk.credits, await desk.leases.account_usage(me.account))})

    return [Route("/key", current_key, methods=["GET"]), Route("/credits", credits, methods=["GET"])]
