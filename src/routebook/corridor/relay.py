"""Step 7: the answer goes to the caller as it comes, and the meter runs. No task and no await per event."""

from __future__ import annotations

from routebook.core.errors import UpstreamFault
from routebook.corridor.attempt import Attempt
from routebook.corridor.entry import Entry
from routebook.policy.sticky import sticks


async def relay(entry: Entry, attempt: Attempt) -> None:
    """Returns when the provider's answer has ended well; raises the Fault or ClientGone that ended it otherwise."""
    if not entry.cancelled:
        entry.answer.start(entry.stamp(attempt.endpoint))
    attempt.commit(entry.send)
    app = entry.app
    try:
        await attempt.ended()
    except UpstreamFault as fault:
        app.fleet.failed(attempt, fault, app.now_ns(), entry.intent.accepted_ns)
        raise
    except BaseException:
        app.fleet.left(attempt, app.now_ns())
        raise
    app.fleet.answered(attempt, entry.call)
    _stay(entry, attempt)


def _stay(entry: Entry, attempt: Attempt) -> None:
    """The conversation's next turn finds this provider's prompt cache warm."""
    route = entry.held.plan.route
    if route.conversation is None:
        return
    usage = attempt.meter.usage
    cached = max(usage.cached or 0, usage.cache_write or 0)
    if sticks(entry.call, attempt.endpoint, cached, routed=route.router is not None):
        entry.app.fleet.sticky.keep(route.conversation, attempt.endpoint, entry.app.now_ns())
