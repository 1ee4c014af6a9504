"""The judge: three accounts of the same calls (what callers were told, the provider's bill, the book) must agree."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Context, Decimal, localcontext
from typing import Any, cast

from chaos.home import Home
from chaos.lines import Told
from chaos.lives import command
from routebook.core.generation import Folded, State
from routebook.daybook.reading import read_daybooks
from routebook.ledger.verify import verify
from routebook.testing.provider import Billed

_EXACT = Context(prec=200)
NAMED = 20
"""broken promises that are told in full; the others are counted"""


@dataclass
class Verdict:
    """What was found. `broken`: sentences, each a promise that does not hold."""

    counts: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def breaks(self, what: str) -> None:
        self.counts["broken"] += 1
        if len(self.broken) < NAMED:
            self.broken.append(what)

    def add(self, other: Verdict) -> None:
        self.counts += other.counts
        self.broken += other.broken[: NAMED - len(self.broken)]


def judge(home: Home, told: Iterable[Told], *, open_allowed: bool, prefix: str = "") -> Verdict:
    """Compare a book whose gateway is down with its callers and its provider. `open_allowed`: the gateway was killed
    and has not been started again, so calls may lack their end. `prefix`: only of calls whose name begins so."""
    verdict = Verdict()
    bills = home.provider.bills
    book: dict[str, list[Folded]] = {}
    for each in read_daybooks(home.folder):
        with each:
            for call in each.scan():
                name = call.intent.external_user or call.intent.id
                if name.startswith(prefix):
                    book.setdefault(name, []).append(call)
    told = list(told)
    for note in told:
        _of_a_caller(verdict, note, book.get(note.ask.call, []), reached=note.ask.call in home.provider.asked)
    for name in {note.ask.call for note in told} | book.keys():
        calls = book.get(name, [])
        if len(calls) > 1:
            verdict.counts["duplicates"] += 1
            verdict.breaks(f"{name}: {len(calls)} records of one call")
        if not calls and name in home.provider.asked:
            verdict.counts["unrecorded"] += 1
            verdict.breaks(f"{name}: it reached the provider, and the book has no record of it")
        for call in calls:
            _of_the_book(verdict, name, call, bills.get(name, []), open_allowed=open_allowed)
    return verdict


def _of_a_caller(verdict: Verdict, note: Told, calls: list[Folded], *, reached: bool) -> None:
    verdict.counts["calls"] += 1
    name = note.ask.call
    if note.status == 503 and not calls and not reached:
        verdict.counts["refused"] += 1  # the book could not be written, and nothing was sent to a provider
        return
    if note.id is not None and note.id not in {call.intent.id for call in calls}:
        verdict.counts["lost"] += 1
        verdict.breaks(f"{name}: the caller has the id {note.id}, the book has not")
        return
    if not note.acknowledged:
        return
    verdict.counts["acknowledged"] += 1
    call = calls[0]
    if call.outcome is None or call.state != (State.ERROR if note.failed else State.DONE):
        verdict.counts["lost"] += 1
        verdict.breaks(f"{name}: the caller was told its end, the book says {_state(call)}")
    elif note.cost is not None and call.outcome.charge.total != note.cost:
        verdict.counts["lost"] += 1
        verdict.breaks(f"{name}: the caller was told {note.cost} USD, the book says {call.outcome.charge.total}")


def _of_the_book(verdict: Verdict, name: str, call: Folded, bills: list[Billed], *, open_allowed: bool) -> None:
    verdict.counts["admitted"] += 1
    verdict.counts[_state(call)] += 1
    if call.outcome is None:
        if not open_allowed:
            verdict.breaks(f"{name}: still open, and nobody is there to end it")
        return
    charge, hold = call.outcome.charge.total, call.hold
    due = total(item.cost for item in bills)
    assert hold is not None, f"{name}: every model of the harness has a price"
    if charge > hold:
        verdict.breaks(
            f"{name} ({_state(call)}, {call.outcome.usage_source}): charged {charge} USD above its hold of {hold}"
        )
    if call.outcome.usage_source in ("provider", "drained"):
        verdict.counts["exact"] += 1
        if charge != due:
            verdict.counts["differ"] += 1
            verdict.breaks(f"{name} ({_state(call)}): the provider bills {due} USD, the book says {charge}")
    elif call.state == State.INTERRUPTED:
        if not charge <= due <= hold:
            verdict.counts["differ"] += 1
            verdict.breaks(f"{name}: interrupted; the bill {due} is not between estimate {charge} and hold {hold}")
    elif call.outcome.usage_source == "estimated":
        verdict.counts["estimated"] += 1
        if due > hold:
            verdict.counts["differ"] += 1
            verdict.breaks(f"{name} ({_state(call)}): the bill {due} is above the hold {hold}")
    elif due != charge:
        verdict.counts["differ"] += 1
        verdict.breaks(f"{name} ({_state(call)}): nothing is known to have been used, the provider bills {due}")


def _state(call: Folded) -> str:
    return "open" if call.state is None else State.NAMES[call.state]


def total(values: Iterable[Decimal]) -> Decimal:
    with localcontext(_EXACT):
        return sum(values, Decimal(0))


async def proved(home: Home, verdict: Verdict) -> None:
    """`routebook ledger verify` as a command of its own. A book that does not hold is broken."""
    code, said = await command(home, ["ledger", "verify", "--json", "--config", str(home.config)])
    if not said:
        verdict.breaks(f"ledger verify said nothing and ended with {code}; see {home.log}")
        return
    report = json.loads(said)
    if code or not report["holds"]:
        failures = [line for check in report["checks"] for line in check["failures"]]
        verdict.breaks(f"ledger verify: {'; '.join(failures)[:600]}")
    _count(verdict, {check["name"]: check["figures"] for check in report["checks"]})


async def proved_alone(home: Home, verdict: Verdict) -> None:
    """The same proof of the daybooks alone, in this process: read-only, so that the next life finds what this left."""
    books = read_daybooks(home.folder)
    try:
        report = await verify(books, None)
    finally:
        for book in books:
            book.close()
    if not report.holds:
        failures = [line for check in report.checks for line in check.failures]
        verdict.breaks(f"the daybooks: {'; '.join(failures)[:600]}")
    _count(verdict, {check.name: cast("dict[str, Any]", check.figures) for check in report.checks})


def _count(verdict: Verdict, figures: dict[str, dict[str, Any]]) -> None:
    calls, sequence = figures.get("calls"), figures.get("sequence")
    if calls is None or sequence is None:
        return
    verdict.counts["gaps"] += int(sequence["gaps"])
    verdict.counts["proofs"] += 1
    if calls["admitted"] != calls["settled"] + calls["open"] + calls["interrupted"]:
        verdict.breaks(f"admitted is not settled + open + interrupted: {calls}")
