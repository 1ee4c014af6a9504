"""What this worker has learnt of its endpoints: how each attempt ended goes in here, and plans are drawn from it.

Health, breakers, the retry budget and the places of conversations are state machines of `policy`; here they are kept
together, told the time, and fed. One per worker; it starts empty.
"""

from __future__ import annotations

from msgspec.structs import replace

from routebook.config.settings import RoutingTable
from routebook.core.call import Call
from routebook.core.errors import Fault
from routebook.corridor.attempt import Attempt
from routebook.policy.breaker import Breakers
from routebook.policy.budget import Budget
from routebook.policy.health import Health
from routebook.policy.house import house_of
from routebook.policy.retry import blame
from routebook.policy.routing import Outlook
from routebook.policy.sticky import Sticky
from routebook.policy.tools import tools_ok
from routebook.policy.vitals import Seen


class Fleet:
    """Fed by `dispatch` and `relay`, asked by `draw_plan`. Times are nanoseconds of unix time."""

    __slots__ = ("attempts", "breakers", "budget", "health", "outlook", "sticky")

    def __init__(self, table: RoutingTable = RoutingTable()) -> None:
        self.health = Health()
        self.breakers = Breakers()
        self.sticky = Sticky()
        self.budget = Budget(table.retry_percent, table.retry_floor)
        self.attempts = table.attempts
        """most attempts of one call"""
        self.outlook = Outlook(house_of(table), self.health, self.breakers.of, self.sticky)

    def follow(self, table: RoutingTable) -> None:
        """The house rules have changed; what was learnt stays."""
        self.attempts = table.attempts
        self.outlook = replace(self.outlook, house=house_of(table))

    def taught(self, ranking: tuple[str, ...]) -> None:
        """How all traffic of late ranks the models, those of other workers included (`ledger.ranking`)."""
        if ranking != self.outlook.ranking:
            self.outlook = replace(self.outlook, ranking=ranking)

    def answered(self, attempt: Attempt, call: Call) -> None:
        """The attempt's answer to that call has ended well."""
        endpoint, sent_ns, first_ns, now_ns = attempt.endpoint, attempt.sent_ns, attempt.first_ns, attempt.ended_ns
        assert now_ns is not None, "it has ended"
        if self.breakers.of:
            self.breakers.succeeded(endpoint.id, now_ns)
        meter = attempt.meter
        if meter.finish_reason == "error":
            self.health.record(Seen(endpoint.id, now_ns, False))
        elif sent_ns is not None and first_ns is not None:
            took_ns, tokens = now_ns - sent_ns, meter.usage.completion
            tool_ok = None
            if meter.tool_calls is not None and meter.finish_reason == "tool_calls":
                tool_ok = tools_ok(call, meter.tool_calls.values())
            self.health.record(Seen(endpoint.id, now_ns, True, first_ns - sent_ns, took_ns, tokens, False, tool_ok))

    def failed(self, attempt: Attempt, fault: Fault, now_ns: int, seed: int) -> None:
        """The attempt ended with that fault, before its first content or after it."""
        id = attempt.endpoint.id
        ok, limited = blame(fault)
        self.health.record(Seen(id, now_ns, ok, limited=limited))
        if limited:
            self.breakers.limited(id, now_ns, fault.retry_after)
        elif ok is False:
            self.breakers.failed(id, now_ns, seed)
        else:
            self.breakers.left(id, now_ns)

    def left(self, attempt: Attempt, now_ns: int) -> None:
        """The attempt ended without saying anything of its endpoint: the caller left, or the gateway ended the call."""
        self.breakers.left(attempt.endpoint.id, now_ns)
