"""Finds money that is on hold for nobody. It never should be: a hold ends with its call, whatever becomes of that. If a
mistake of ours leaves one behind, it must not block a budget until the next start.
"""

from __future__ import annotations

from routebook.core.money import ZERO, plain
from routebook.corridor.ports import App
from routebook.observe.clock import NS
from routebook.observe.log import log

EVERY_NS = 10 * NS
WITHOUT_CALL_NS = 300 * NS
"""A hold whose call has no id after this: between the two there is nothing that waits longer than a store does."""


class Reclaimer:
    """Looks now and then; `look` is for the sweep."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._due_ns = 0

    def look(self, now_ns: int) -> int:
        """How many holds were released."""
        if now_ns < self._due_ns or not self._app.book.holds_open:
            return 0
        self._due_ns = now_ns + EVERY_NS
        # A call takes its hold when it is entered, and leaves it in the step in which it is no entry any more.
        living = {entry.held.hold for entry in self._app.entries}
        lost = [
            hold
            for hold in self._app.book.holds()
            if hold not in living and (hold.id is not None or now_ns - hold.since_ns > WITHOUT_CALL_NS)
        ]
        for hold in lost:
            self._app.book.reclaim(hold)
            log.error(
                "generation %s is gone and left $%s of key %s on hold; released. This is a mistake of the gateway",
                hold.id or "(none)",
                plain(hold.amount or ZERO),
                hold.key_hash[:12],
            )
        return len(lost)
