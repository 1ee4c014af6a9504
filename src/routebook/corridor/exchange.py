"""One inference request, from arrival to receipt. Read this file first: the steps, in order, on one screen.

Each step takes what the one before it returned, so none can be skipped or moved:
Arrival -> Admitted -> Plan -> Held -> Entry (its intent goes to disk) -> Attempt (content began) -> settled record.
A request with an Idempotency-Key goes the same way, once: `idempotency.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from routebook.core.errors import ClientGone, Fault, Internal
from routebook.corridor.admit import admit
from routebook.corridor.answer import Answer
from routebook.corridor.dispatch import dispatch
from routebook.corridor.entry import enter
from routebook.corridor.idempotency import HEADER, Keeper, once
from routebook.corridor.plan import borrow, draw_plan, reserve
from routebook.corridor.ports import App, Arrival, Reply
from routebook.corridor.relay import relay
from routebook.corridor.settle import settle
from routebook.observe.log import log


def exchange(arrival: Arrival, reply: Reply, app: App) -> Coroutine[Any, Any, None]:
    """Answer one request through `reply`. Never raises but for cancellation, and settles even then."""
    if HEADER in arrival.headers:
        return once(arrival, reply, app, _exchange)
    return _exchange(arrival, reply, app)


async def _exchange(arrival: Arrival, reply: Reply, app: App, keeper: Keeper | None = None) -> None:
    answer = Answer(reply, arrival.surface, arrival.accepted_ns)
    try:
        admitted = admit(arrival, app)  # who is asking, may they, and what
        plan = draw_plan(admitted, app)  # which endpoints, and the most it can cost
        held = reserve(plan, app) or await borrow(plan, app)  # money put aside
        entry = await enter(held, answer, app)  # an id, and a place in the book
    except Fault as fault:
        answer.refuse(fault)
        return
    except Exception:
        log.exception("a request failed before it was entered")
        answer.refuse(Internal())
        return

    error: BaseException | None = None
    try:
        if keeper is not None:
            await keeper.claim(entry)  # nobody else makes a call for this Idempotency-Key
        await entry.write()  # the intent is durable
        attempt = await dispatch(entry)  # the first endpoint whose answer begins
        await relay(entry, attempt)  # out it goes, metered
    except (Fault, ClientGone) as known:
        error = known
    except asyncio.CancelledError as cancelled:
        error = cancelled
        entry.shut_down()
        raise
    except Exception as unknown:
        log.exception("generation %s failed inside the gateway", entry.intent.id)
        error = unknown
        entry.stop(Internal())
    finally:
        await settle(entry, error)  # always, once, durable, then the end
