"""How a week of the gateway's own traffic ranks the models, for `openrouter/auto`: the store's sums, put in order."""

from __future__ import annotations

from routebook.ledger.windows import day_number, day_text
from routebook.policy.routers import learnt
from routebook.store.port import Store

DAYS = 7
"""UTC days that count, today's among them. Source: routing, section 8 (the market's last seven days)."""


async def ranking_of(store: Store, now_ns: int) -> tuple[str, ...]:
    """Slugs of the models that callers named themselves, by what they spent on each, the most first.

    `now_ns`: nanoseconds of unix time. A sum a model and day is read, however many calls there were.
    Raises Unavailable.
    """
    spent = await store.model_spend(day_text(day_number(now_ns) - DAYS + 1))
    return learnt((each.model, each.usd) for each in spent)
