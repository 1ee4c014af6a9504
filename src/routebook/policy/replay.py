"""Past calls through another policy or other prices: who would have answered, and what that changes. Pure.

A record holds no prompt, so a plan is drawn again from what it does hold: the model that was asked for, when (which is
the seed), for which account and session, how long the request was and whether it had media. What it does not hold, and
so is not there when a plan is drawn again: the `provider` object, fallback models, tools and other parameters.

Health is what the calls of the period themselves show, in the order in which they ended: it starts empty, as a gateway
does. An endpoint that failed for a call is taken to fail for it again; of the others the first of the plan answers.
Tokens stay as they were counted, which is exact where the model stays the same.

Latency of a call that stays where it was is the recorded one. At another endpoint it is worked out from what was
measured there in the period: the time to the first content, and then the time a token takes, both the median of its
answers; before that come the tries that fail again. Whole numbers of nanoseconds throughout, so that the same records
give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from heapq import heappop, heappush

import msgspec

from routebook.core import errors
from routebook.core.call import Call, Chat
from routebook.core.catalog import Accounting, Catalog, Endpoint
from routebook.core.errors import Fault, UpstreamFault
from routebook.core.generation import AttemptRow, Folded
from routebook.core.money import ZERO, add
from routebook.metering.revision import Sheets, charge_of, price_again
from routebook.policy.breaker import Breakers
from routebook.policy.health import Health, Seen
from routebook.policy.house import House
from routebook.policy.retry import ATTEMPTS_MAX, blame
from routebook.policy.routers import ELSEWHERE, NAMES
from routebook.policy.routing import Outlook, Route, nobody, route
from routebook.policy.sticky import Sticky, sticks
from routebook.policy.targets import Passthrough
from routebook.policy.variants import PRESET


class World(msgspec.Struct, frozen=True):
    """What plans are drawn from and charges are made by."""

    catalog: Catalog
    house: House
    sheets_at: Callable[[int], Sheets]
    """the price sheets in force at a moment"""
    passthrough: Passthrough = nobody
    attempts: int = ATTEMPTS_MAX


class Pace(msgspec.Struct, frozen=True):
    """How fast an endpoint answered in the period. Times in ns."""

    answers: int
    first_ns: int
    """median time to the first content; of answers that are not streamed 0"""
    token_ns: int
    """median time of a token after that; of answers that are not streamed over all of it"""

    def of(self, tokens: int) -> int:
        """How long an answer of so many tokens takes."""
        return self.first_ns + tokens * self.token_ns


class Move(msgspec.Struct):
    """Calls that go from one endpoint to another, or stay. USD, exact; latencies in ns, those known on both sides."""

    model: str
    """the one that answered"""
    provider: str
    to_model: str
    to_provider: str
    stays: bool
    calls: int = 0
    old: Decimal = ZERO
    new: Decimal = ZERO
    old_ns: list[int] = []
    new_ns: list[int] = []
    unknown: int = 0
    """calls whose latency is not known, because nothing was measured at the endpoint"""


class Report(msgspec.Struct):
    """What a replay found."""

    looked_at: int = 0
    rerun: int = 0
    as_planned: int = 0
    """of these, calls whose first endpoint was the one that the present configuration draws again"""
    left: dict[str, int] = {}
    """calls that cannot be run again, by why"""
    refused: dict[str, int] = {}
    """calls that the other policy would not have served, by the filter or fault that says so"""
    refused_old: Decimal = ZERO
    """USD, what the refused ones were charged"""
    moves: dict[tuple[str, str, str, str], Move] = {}
    with_session: int = 0
    with_media: int = 0
    paces: dict[str, Pace] = {}
    """by endpoint id, those that were asked for"""
    off: list[int] = []
    """of calls that stay: by how many thousandths of what was measured their latency is estimated wrong"""

    @property
    def cost(self) -> tuple[Decimal, Decimal]:
        """(charged, would be) of the calls that were run again, USD."""
        old = new = ZERO
        for move in self.moves.values():
            old, new = add(old, move.old), add(new, move.new)
        return old, new

    @property
    def latencies(self) -> tuple[list[int], list[int], int]:
        """(as recorded, as they would be, how many are not known), ns."""
        moves = [self.moves[place] for place in sorted(self.moves)]
        old_ns = [ns for move in moves for ns in move.old_ns]
        return old_ns, [ns for move in moves for ns in move.new_ns], sum(move.unknown for move in moves)


def replay(calls: Sequence[Folded], present: World, other: World, accounting: Accounting) -> Report:
    """Run the calls, in order of `accepted_ns`, through the other world. `present` is what the configuration says now;
    it may be the same object. `accounting`: for calls that had no price."""
    report = Report(looked_at=len(calls))
    clocks = Clocks(calls)
    past = _Past()
    mine, theirs = _Plans(present, past), _Plans(other, past)
    for call in calls:
        past.until(call.intent.accepted_ns)
        why = left_as_it_is(call)
        if why is not None:
            report.left[why] = report.left.get(why, 0) + 1
        else:
            _run(report, call, mine, theirs, clocks, accounting)
        past.ended(call)
    return report


def left_as_it_is(call: Folded) -> str | None:
    """Why a call cannot be run again, None if it can."""
    outcome = call.outcome
    if outcome is None:
        return "under way"
    if outcome.interrupted:
        return "interrupted by a crash: how it would have ended is not known"
    if answered(call) is None:
        return "no provider answered"
    asked = call.intent.requested_model
    if PRESET in asked:
        return "asked for a preset"
    if asked.partition(":")[0] in (*NAMES, *ELSEWHERE):
        return "asked for a router, which chooses by the prompt"
    if charge_of(call).unpriced:
        return "had no price"
    if outcome.is_byok:
        return "ran on the caller's own key"
    return None


def answered(call: Folded) -> AttemptRow | None:
    """The attempt whose content the caller had."""
    rows = () if call.outcome is None else call.outcome.attempts
    return rows[-1] if rows and rows[-1].first_ns is not None else None


def call_of(call: Folded) -> Call:
    """The request as far as its record knows it."""
    intent = call.intent
    return Call(
        surface="openai_chat",
        model=intent.requested_model,
        stream=bool(intent.streamed),
        chat=Chat(messages=[]),
        raw={},
        user=intent.external_user,
        session_id=intent.session_id,
        body_bytes=intent.prompt_bytes,
        media_prompt=intent.num_media_prompt,
        audio_prompt=intent.num_input_audio_prompt,
    )


# --- one call ---------------------------------------------------------------------------------------------------------


def _run(report: Report, call: Folded, mine: _Plans, theirs: _Plans, clocks: Clocks, accounting: Accounting) -> None:
    then, intent = answered(call), call.intent
    assert then is not None
    asked = call_of(call)
    try:
        plan = theirs.of(call, asked)
    except Fault as fault:
        _refused(report, call, fault)
        return
    failed = {row.endpoint_id for row in call.outcome.attempts[:-1]} if call.outcome is not None else set()
    tried = plan.endpoints[: theirs.world.attempts]
    chosen = next((endpoint for endpoint in tried if endpoint.id not in failed), None)
    if chosen is None:
        report.left[ALL_FAIL] = report.left.get(ALL_FAIL, 0) + 1
        return
    sheet = theirs.world.sheets_at(intent.accepted_ns)(chosen.id, chosen.model)
    charge = price_again(call, lambda endpoint_id, model: sheet, accounting)
    if charge is None:
        report.left[NO_PRICE] = report.left.get(NO_PRICE, 0) + 1
        return
    report.rerun += 1
    report.with_session += intent.session_id is not None
    report.with_media += bool(intent.num_media_prompt or intent.num_input_audio_prompt)
    report.as_planned += _as_planned(call, asked, plan, mine, theirs)
    theirs.stay(asked, plan, chosen, call)
    stays = chosen.id == then.endpoint_id
    place = (then.model, then.provider_name, chosen.model, chosen.provider.name)
    move = report.moves.setdefault(place, Move(*place, stays=stays))
    move.calls += 1
    move.old, move.new = add(move.old, charge_of(call).total), add(move.new, charge.total)
    _time(report, move, call, then, chosen, tried, clocks)


ALL_FAIL = "every endpoint of the plan failed for it"
NO_PRICE = "no price is known where it would go"


def _refused(report: Report, call: Folded, fault: Fault) -> None:
    availability = fault.metadata.get("availability")
    why = availability.get("excluded_by") or availability.get("code") if isinstance(availability, dict) else None
    why = str(why or fault.error_type)
    report.refused[why] = report.refused.get(why, 0) + 1
    report.refused_old = add(report.refused_old, charge_of(call).total)


def _as_planned(call: Folded, asked: Call, plan: Route, mine: _Plans, theirs: _Plans) -> bool:
    """True if the present configuration asks whom the gateway asked first."""
    if mine.world is not theirs.world:
        try:
            plan = mine.of(call, asked)
        except Fault:
            return False
        rows = call.outcome.attempts if call.outcome is not None else ()
        home = next((e for e in plan.endpoints if rows and e.id == rows[-1].endpoint_id), None)
        if home is not None:
            mine.stay(asked, plan, home, call)
    return plan.endpoints[0].id == call.intent.endpoint_id


def _time(
    report: Report,
    move: Move,
    call: Folded,
    then: AttemptRow,
    chosen: Endpoint,
    tried: Sequence[Endpoint],
    clocks: Clocks,
) -> None:
    """The call's latency on both sides, where both are known."""
    outcome = call.outcome
    assert outcome is not None
    old_ns = outcome.ended_ns - call.intent.accepted_ns
    tokens = outcome.usage.completion
    pace = clocks.pace(chosen.id, bool(call.intent.streamed))
    if pace is not None:
        report.paces[chosen.id] = pace
    if move.stays:
        move.old_ns.append(old_ns)
        move.new_ns.append(old_ns)
        took = _took(then)
        if pace is not None and tokens and took:
            report.off.append(abs(pace.of(tokens) - took) * 1000 // took)
        return
    if pace is None or tokens is None:
        move.unknown += 1
        return
    before = [endpoint.id for endpoint in tried[: tried.index(chosen)]]
    rows = outcome.attempts[:-1]
    lost = sum((row.ended_ns or row.started_ns) - row.started_ns for row in rows if row.endpoint_id in before)
    move.old_ns.append(old_ns)
    move.new_ns.append(outcome.attempts[0].started_ns - call.intent.accepted_ns + lost + pace.of(tokens))


class _Plans:
    """Draws plans in one world; remembers where its conversations are at home."""

    def __init__(self, world: World, past: _Past) -> None:
        self.world = world
        self._sticky = Sticky()
        self._plain = Outlook(world.house, past.health, past.breakers.of)
        self._session = msgspec.structs.replace(self._plain, sticky=self._sticky)

    def of(self, call: Folded, asked: Call) -> Route:
        """Raises what `route` raises."""
        intent, world = call.intent, self.world
        # Without a session a conversation is known by its prompt, which no record holds.
        outlook = self._plain if intent.session_id is None else self._session
        at_ns = intent.accepted_ns
        return route(asked, world.catalog, world.passthrough, outlook, at_ns, at_ns, intent.account)

    def stay(self, asked: Call, plan: Route, chosen: Endpoint, call: Folded) -> None:
        """The conversation's next turn finds this endpoint's prompt cache warm."""
        if plan.conversation is None or call.outcome is None:
            return
        usage = call.outcome.usage
        if sticks(asked, chosen, max(usage.cached or 0, usage.cache_write or 0)):
            self._sticky.keep(plan.conversation, chosen, call.outcome.ended_ns)


# --- what the period shows of endpoints -------------------------------------------------------------------------------


class _Past:
    """Health and breakers as the attempts that have ended by then made them."""

    def __init__(self) -> None:
        self.health = Health()
        self.breakers = Breakers()
        self._coming: list[tuple[int, int, int, AttemptRow, int | None]] = []
        self._count = 0

    def ended(self, call: Folded) -> None:
        """The call's attempts are seen from their ends on."""
        if call.outcome is None:
            return
        rows, seed = call.outcome.attempts, call.intent.accepted_ns
        for row in rows:
            tokens = call.outcome.usage.completion if row is rows[-1] else None
            if row.ended_ns is not None:
                self._count += 1
                heappush(self._coming, (row.ended_ns, self._count, seed, row, tokens))

    def until(self, now_ns: int) -> None:
        """See everything that ended before that moment."""
        while self._coming and self._coming[0][0] <= now_ns:
            ended_ns, _, seed, row, tokens = heappop(self._coming)
            self._see(row, ended_ns, seed, tokens)

    def _see(self, row: AttemptRow, ended_ns: int, seed: int, tokens: int | None) -> None:
        id = row.endpoint_id
        if row.error is None:
            self.breakers.succeeded(id, ended_ns)
            if row.sent_ns is not None and row.first_ns is not None:
                took_ns = ended_ns - row.sent_ns
                self.health.record(Seen(id, ended_ns, True, row.first_ns - row.sent_ns, took_ns, tokens))
            return
        kind = getattr(errors, row.error, None)
        if not (isinstance(kind, type) and issubclass(kind, UpstreamFault)):
            self.breakers.left(id, ended_ns)
            return
        ok, limited = blame(kind(provider_status=row.status))
        self.health.record(Seen(id, ended_ns, ok, limited=limited))
        if limited:
            self.breakers.limited(id, ended_ns, None)  # how long it asked to be left alone is not in the record
        elif ok is False:
            self.breakers.failed(id, ended_ns, seed)
        else:
            self.breakers.left(id, ended_ns)


class Clocks:
    """The pace of every endpoint, streamed and whole answers apart."""

    def __init__(self, calls: Iterable[Folded]) -> None:
        self._seen: dict[tuple[str, bool], list[tuple[int, int]]] = {}
        self._paces: dict[tuple[str, bool], Pace | None] = {}
        for call in calls:
            row = answered(call)
            if row is None or row.error is not None or call.outcome is None or call.outcome.cancelled:
                continue
            took, tokens = _took(row), call.outcome.usage.completion
            if not took or not tokens or row.sent_ns is None or row.first_ns is None:
                continue
            streamed = bool(call.intent.streamed)
            first = row.first_ns - row.sent_ns if streamed else 0
            self._seen.setdefault((row.endpoint_id, streamed), []).append((first, (took - first) // tokens))

    def pace(self, endpoint_id: str, streamed: bool) -> Pace | None:
        """From answers of the same kind, else of the other; None if there was not one."""
        return self._of((endpoint_id, streamed)) or self._of((endpoint_id, not streamed))

    def _of(self, key: tuple[str, bool]) -> Pace | None:
        if key not in self._paces:
            seen = self._seen.get(key)
            self._paces[key] = None
            if seen:
                self._paces[key] = Pace(
                    len(seen), percentile([first for first, _ in seen], 50), percentile([each for _, each in seen], 50)
                )
        return self._paces[key]


def _took(row: AttemptRow) -> int:
    return row.ended_ns - row.sent_ns if row.ended_ns is not None and row.sent_ns is not None else 0


def percentile(values: Sequence[int], percent: int) -> int:
    """Nearest rank; `values` is not empty."""
    ordered = sorted(values)
    return ordered[max(0, -(-percent * len(ordered) // 100) - 1)]
