"""How far the answer to a budgeted stream may go: its hold grows with it, and where it cannot, the answer is ended.

The provider's tokens are not known while it streams, its bytes are, and a token has at least one: so bytes are counted
against the tokens that the hold covers, and the bill cannot pass it. Per read that is one comparison of two integers.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING

from routebook.core.errors import Fault
from routebook.corridor.attempt import Attempt
from routebook.metering import allowance
from routebook.observe.log import log

if TYPE_CHECKING:
    from routebook.corridor.entry import Entry

NEVER = 1 << 62


class Reach:
    """Of one entry. Whoever sends its answer calls `near` once `alarm` bytes are reached."""

    __slots__ = ("_asking", "_entry", "_limit", "alarm", "allowed", "extended")

    def __init__(self, entry: Entry, tokens: int) -> None:
        plan = entry.held.plan
        self._entry = entry
        self._limit = allowance.own_limit(entry.call, plan.endpoints)
        """tokens after which the provider ends by itself"""
        self._asking: asyncio.Task[None] | None = None
        self.allowed = tokens
        self.alarm = tokens * 3 // 4
        self.extended = False

    def near(self, attempt: Attempt) -> None:
        """So much has come that the hold has to grow."""
        entry = self._entry
        if entry.settled or entry.cancelled or attempt.over or attempt.meter.finished:
            return
        size = attempt.meter.delivered_bytes
        if self._grow(attempt, size):
            return
        if size >= self.allowed and self._asking is None and self.alarm >= self.allowed:
            entry.run_out()
        elif self._asking is None:
            self.alarm = self.allowed
            self._asking = asyncio.ensure_future(self._ask(attempt))
        elif size >= self.allowed:
            # The answer comes faster than the money; it waits for it.
            attempt.pause()

    def _step(self, size: int) -> int:
        """Tokens to hold more; 0 if all that the provider may say is held."""
        step = max(allowance.HOLD_TOKENS, size - self.allowed + allowance.HOLD_TOKENS)
        return step if self._limit is None else max(0, min(step, self._limit - self.allowed))

    def _grow(self, attempt: Attempt, size: int) -> bool:
        """Hold more from this worker's purse. False where it does not hold so much."""
        step = self._step(size)
        if step == 0:
            self.alarm = NEVER
            return True
        if not self._entry.app.book.extend(self._entry.held.hold, self._price(attempt, step)):
            return False
        self._grown(step)
        return True

    def _price(self, attempt: Attempt, step: int) -> Decimal:
        slope = allowance.slope(self._entry.call, attempt.endpoint, self._entry.app.accounting)
        assert slope is not None, "a call that is stopped by its price has one"
        return allowance.price_of((slope,), step)

    def _grown(self, step: int) -> None:
        self.extended = True
        self.allowed += step
        self.alarm = self.allowed - allowance.HOLD_TOKENS // 4
        if self._limit is not None and self.allowed >= self._limit:
            self.alarm = NEVER
        self._entry.note_progress(self._entry.app.now_ns())

    async def _ask(self, attempt: Attempt) -> None:
        """The purse is too small: ask the store and the other workers, while the answer goes on."""
        entry = self._entry
        step = self._step(attempt.meter.delivered_bytes)
        try:
            granted = await entry.app.leases.extend(entry.held.hold, self._price(attempt, step))
        except Fault as fault:
            log.info("generation %s cannot hold more: %s", entry.intent.id, fault.message)
            granted = False
        except Exception:
            log.exception("generation %s cannot hold more", entry.intent.id)
            granted = False
        self._asking = None
        if entry.settled or attempt.over:
            return
        if granted:
            self._grown(step)
            entry.go_on(attempt)
        elif attempt.meter.delivered_bytes >= self.allowed:
            entry.run_out()
