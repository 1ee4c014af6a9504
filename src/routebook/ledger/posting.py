"""From a call's rows to what the store keeps of it: the call as it is, and its spend added to its key's day. Pure."""

from __future__ import annotations

from decimal import Decimal
from functools import reduce

import msgspec

from routebook.core.generation import Folded, Intent, Outcome, Row
from routebook.core.ids import ALPHABET, base62
from routebook.core.money import ZERO, add, plain
from routebook.ledger.windows import DAY_NS, day_number, day_text
from routebook.store.port import SHEET, Kind, ModelSpend, Posting, Sheet, Stored
from routebook.wire.codec import array_of, pack, unpacker


def byok_spend(outcome: Outcome) -> Decimal:
    """What the call cost on the caller's own provider key, at list price; 0 for any other call.

    Source: generation record, section 4.4 (these counters take the list price, not the fee).
    """
    if not outcome.is_byok or outcome.charge.upstream is None:
        return ZERO
    return outcome.charge.upstream


class _IntentHead(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The beginning of an intent, as far as the store asks for it; what follows is carried unread."""

    id: str
    n: int
    request_id: str
    accepted_ns: int
    account: str
    key_hash: str
    api_type: str
    requested_model: str
    streamed: bool | None = False
    model: str | None = None
    router: str | None = None


class _ChargeHead(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Money as the text it is packed as."""

    total: str = "0"
    upstream: str | None = None


class _OutcomeHead(msgspec.Struct, frozen=True, array_like=True, gc=False):
    ended_ns: int
    model: str | None = None
    provider_name: str | None = None
    charge: _ChargeHead = _ChargeHead()
    is_byok: bool = False


_PAIRS = [high + low for high in ALPHABET for low in ALPHABET]
_PAIR = len(_PAIRS)

_intents = unpacker(list[_IntentHead])
_outcomes = unpacker(list[_OutcomeHead])


_Who = tuple[str, str, str, str | None, int, bool]
"""account, key, model, provider, day, and whether a router chose the model"""


class _Tally:
    """The calls of one kind and one day in a batch, those apart whose model a router chose."""

    __slots__ = ("byoks", "day", "kind", "routed", "totals")

    def __init__(self, kind: Kind, day: int, routed: bool) -> None:
        self.kind = kind
        self.day = day
        self.routed = routed
        self.totals: list[str] = []
        self.byoks: list[str] = []


class Batch:
    """Ended calls of one daybook, gathered for one transaction of the store. `finish` it before it is shipped."""

    def __init__(self, daybook: str) -> None:
        self.daybook = daybook
        self.sheets: list[Sheet] = []
        self._tallies: dict[_Who, _Tally] = {}
        self._ends: list[Row] = []
        self._intents: list[bytes] = []

    def add(self, ends: list[Row], intents: list[bytes], progress: dict[int, bytes]) -> None:
        """Add calls: their terminal rows, and their packed intents in the same order. What `progress` has of them by
        call number is taken out of it. Raises codec.DecodeError."""
        self._ends += ends
        self._intents += intents
        while len(self._ends) >= SHEET:
            self._sheet(progress)

    def finish(self, progress: dict[int, bytes]) -> None:
        """The last sheet, with what is left."""
        if self._ends:
            self._sheet(progress)

    def _sheet(self, progress: dict[int, bytes]) -> None:
        """Blobs are moved as they are; only their heads are read, those of a sheet at once."""
        ends, blobs = self._ends[:SHEET], self._intents[:SHEET]
        del self._ends[:SHEET], self._intents[:SHEET]
        count, tallies, base = len(ends), self._tallies, self.daybook
        intents, outcomes = array_of(blobs, count), array_of([row.blob for row in ends], count)
        heads, n = _intents(intents), [row.n for row in ends]
        kinds: list[Kind] = []
        totals: list[str] = []
        byoks: list[str | None] = [None] * count
        odd: dict[int, str] = {}
        high, named = -1, ""
        for slot, (head, end) in enumerate(zip(heads, _outcomes(outcomes), strict=True)):
            charge = end.charge
            model = end.model or head.model or head.requested_model
            routed = head.router is not None
            who = (head.account, head.key_hash, model, end.provider_name, head.accepted_ns // DAY_NS, routed)
            tally = tallies.get(who) or self._tally(who, head.accepted_ns)
            total = charge.total
            if "E" in total:
                total = plain(Decimal(total))
            kinds.append(tally.kind)
            totals.append(total)
            tally.totals.append(total)
            if end.is_byok and charge.upstream is not None:
                byoks[slot] = byok = plain(Decimal(charge.upstream))
                tally.byoks.append(byok)
            first, last = divmod(n[slot], _PAIR)
            if first != high:
                high, named = first, base + base62(first, 4)
            if head.id[-9:] != named + _PAIRS[last]:
                odd[slot] = head.id
        self.sheets.append(
            Sheet(
                n,
                [row.seq for row in ends],
                [head.accepted_ns for head in heads],
                kinds,
                [row.state for row in ends],
                totals,
                byoks,
                intents,
                outcomes,
                {slot: progress.pop(each) for slot, each in enumerate(n) if each in progress} if progress else {},
                odd,
            )
        )

    def _tally(self, who: _Who, accepted_ns: int) -> _Tally:
        tally = self._tallies[who] = _Tally(Kind(*who[:4]), day_number(accepted_ns), who[5])
        return tally

    def postings(self) -> list[Posting]:
        """The spend of the batch: one for each key, account and day."""
        sums: dict[tuple[str, str, int], tuple[Decimal, Decimal, int]] = {}
        models: dict[tuple[str, str, int], list[ModelSpend]] = {}
        for tally in self._tallies.values():
            where = (tally.kind.key_hash, tally.kind.account, tally.day)
            usage, byok, requests = sums.get(where, (ZERO, ZERO, 0))
            used = reduce(add, map(Decimal, tally.totals), ZERO)
            listed = reduce(add, map(Decimal, tally.byoks), ZERO)
            sums[where] = add(usage, used), add(byok, listed), requests + len(tally.totals)
            usd = add(used, listed)
            if usd > 0 and tally.kind.model is not None and not tally.routed:
                spent = ModelSpend(tally.kind.model, day_text(tally.day), usd)
                models.setdefault(where, []).append(spent)
        return [
            Posting(where[0], where[1], day_text(where[2]), usage, byok, requests, tuple(models.get(where, ())))
            for where, (usage, byok, requests) in sums.items()
        ]


def posting_of(intent: Intent, outcome: Outcome) -> Posting:
    """The spend of one ended call, on the UTC day it was accepted on."""
    return Posting(
        key_hash=intent.key_hash,
        account=intent.account,
        day=day_text(day_number(intent.accepted_ns)),
        usage=outcome.charge.total,
        byok=byok_spend(outcome),
    )


def stored_of(daybook: str, folded: Folded) -> Stored:
    """The generation as the store keeps it. ValueError for a call that is still open."""
    intent, outcome = folded.intent, folded.outcome
    if outcome is None or folded.state is None:
        raise ValueError(f"{intent.id} is still open")
    return Stored(
        id=intent.id,
        daybook=daybook,
        n=intent.n,
        accepted_ns=intent.accepted_ns,
        account=intent.account,
        key_hash=intent.key_hash,
        model=outcome.model or intent.model or intent.requested_model,
        provider=outcome.provider_name,
        state=folded.state,
        total=outcome.charge.total,
        folded=pack(folded),
    )
