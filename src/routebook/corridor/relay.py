"""Step 7: the answer goes to the caller as it comes, and the meter runs. No task and no await per event."""

from __future__ import annotations

from routebook.corridor.attempt import Attempt
from routebook.corridor.entry import Entry


async def relay(entry: Entry, attempt: Attempt) -> None:
    """Returns when the provider's answer has ended well; raises the Fault or ClientGone that ended it otherwise."""
    if not entry.cancelled:
        entry.answer.start(entry.stamp(attempt.endpoint))
    attempt.commit(entry.send)
    await attempt.ended()
