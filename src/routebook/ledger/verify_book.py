"""Proves one daybook call by call: counts that add up, no row missing, one id and one end a call, lines that sum."""

from __future__ import annotations

from routebook.core.generation import Folded, Row, State
from routebook.core.ids import locate
from routebook.core.money import ZERO, Charge, plain
from routebook.ledger.checks import PAGE, Check, Progress, Source, no_progress
from routebook.ledger.verify_revisions import charge_faults, revision_in
from routebook.metering.folding import fold
from routebook.wire.codec import DecodeError


class BookProof:
    """Walks one daybook call by call."""

    CHAIN = "every row is as it was written, each commit vouches for the one before it"

    def __init__(self, book: Source) -> None:
        self.book = book
        self.last, _ = book.highest()
        self.first, self.first_n = book.begins()
        self.ended: list[tuple[int, int, int]] = []
        """(n, seq of the terminal row, when it was accepted; 0 = its intent is gone) of every ended call"""
        self.calls = Check("calls", "every admitted call is settled, open or interrupted, and none is two of these")
        self.calls.figures = {"admitted": 0, "settled": 0, "open": 0, "interrupted": 0}
        self.sequence = Check("sequence", "no daybook row is missing")
        self.chain = Check("chain", self.CHAIN)
        self.identity = Check("identity", "every call number has one intent, one id that names it, one end at most")
        self.lines = Check("lines", "the lines of every priced record sum to its total, each line to its amount")
        self.lines.figures = {"priced": 0, "unpriced": 0, "lines": 0, "over_hold": 0}
        self.charged = ZERO
        self.upstream = ZERO

    @property
    def checks(self) -> list[Check]:
        return [self.calls, self.sequence, self.chain, self.identity, self.lines]

    def prove(self, progress: Progress = no_progress) -> None:
        count, what = 0, f"daybook {self.book.name}"
        for group in self.book.calls():
            rows = [row for row in group if row.seq <= self.last]
            if rows:
                count += len(rows)
                self._call(rows)
                progress(what, count, self.last - self.first)
        links, breaks = self.book.links(), self.book.breaks()
        self.chain.figures = {
            "segments": len(links),
            "commits": sum(link.frames for link in links),
            "breaks": len(breaks),
        }
        for each in breaks:
            self.chain.fail(each.what)
        gaps = self.last - self.first - count
        self.sequence.figures = {"rows": count, "gaps": gaps}
        if gaps:
            self._name_gaps()
        figures = {name: int(value) for name, value in self.calls.figures.items()}
        if figures["admitted"] != figures["settled"] + figures["open"] + figures["interrupted"]:
            self.calls.fail(f"daybook {self.book.name}: admitted is not settled + open + interrupted")
        self.lines.figures |= {"charged": plain(self.charged), "upstream": plain(self.upstream)}

    def _call(self, rows: list[Row]) -> None:
        n = rows[0].n
        if self._is_revision(rows):
            return
        if n < self.first_n and rows[0].state != State.INTENT:
            # Its beginning left with a segment past retention; the store's check looks at all of it.
            self.calls.count("begun_before")
            self.ended += [(n, row.seq, 0) for row in rows if row.state in State.TERMINAL]
            return
        intents = [row for row in rows if row.state == State.INTENT]
        ends = [row for row in rows if row.state in State.TERMINAL]
        self.calls.count("admitted", len(intents))
        for end in ends:
            self.calls.count("interrupted" if end.state == State.INTERRUPTED else "settled")
        if intents and not ends:
            self.calls.count("open")
        self.identity.count("calls")
        if len(intents) != 1 or len(ends) > 1 or rows[0].state != State.INTENT:
            self.identity.fail(
                f"call {n} of daybook {self.book.name} ({rows[0].id}): {len(intents)} intents, {len(ends)} ends"
            )
        try:
            call = fold(rows)
        except DecodeError as error:
            self.identity.fail(f"call {n} of daybook {self.book.name} ({rows[0].id}) cannot be read: {error}")
            return
        if call is None:
            return
        id = call.intent.id
        if call.intent.n != n or locate(id) != (self.book.name, n) or any(row.id != id for row in rows):
            self.identity.fail(f"call {n} of daybook {self.book.name}: the id {id} does not name it")
        if call.outcome is not None:
            self.ended.append((n, ends[0].seq, call.intent.accepted_ns))
            self._charge(call, call.outcome.charge)

    def _charge(self, call: Folded, charge: Charge) -> None:
        id = call.intent.id
        self.charged += charge.total
        self.upstream += charge.upstream or ZERO
        if call.hold is not None and charge.total > call.hold:
            self.lines.count("over_hold")
        for fault in charge_faults(id, charge):
            self.lines.fail(fault)
        self.lines.count("unpriced" if charge.lines is None else "priced")
        self.lines.count("lines", len(charge.lines or ()))

    def _is_revision(self, rows: list[Row]) -> bool:
        """A row about a call of another daybook, which the store's proof looks at."""
        try:
            return len(rows) == 1 and revision_in(rows[0]) is not None
        except DecodeError:
            return False

    def _name_gaps(self) -> None:
        expected = self.first + 1
        after = self.first
        while rows := self.book.rows(after, PAGE):
            for row in rows:
                if row.seq > self.last:
                    return
                if row.seq != expected:
                    span = str(expected) if row.seq == expected + 1 else f"{expected} to {row.seq - 1}"
                    self.sequence.fail(f"daybook {self.book.name}: row {span} is missing")
                expected = row.seq + 1
            after = rows[-1].seq
