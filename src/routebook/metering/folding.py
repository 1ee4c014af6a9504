"""Folds the rows of one call into what is known of it. Rows are never updated; here they become one call."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from routebook.core.generation import Amendment, Folded, Intent, Outcome, Progress, Row, State
from routebook.wire import codec


def fold(rows: Iterable[Row]) -> Folded | None:
    """One call of its rows in order of seq; None without an intent. Of several progress rows the last one counts.

    Raises codec.DecodeError for a row that is not what its state says.
    """
    intent: Intent | None = None
    progress: Progress | None = None
    outcome: Outcome | None = None
    state: int | None = None
    amendments: list[Amendment] = []
    seq = 0
    for row in rows:
        seq = row.seq
        if row.state == State.INTENT:
            intent = codec.unpack(row.blob, Intent)
        elif row.state == State.PROGRESS:
            progress = codec.unpack(row.blob, Progress)
        elif row.state == State.AMENDMENT:
            amendments.append(codec.unpack(row.blob, Amendment))
        elif row.state in State.TERMINAL:
            outcome, state = whole(codec.unpack(row.blob, Outcome)), row.state
    if intent is None:
        return None
    return Folded(seq, intent, progress, outcome, state, tuple(amendments))


def whole(outcome: Outcome) -> Outcome:
    """The outcome with what its attempts leave to it filled in."""
    if not any(row.as_outcome for row in outcome.attempts):
        return outcome
    return replace(
        outcome,
        attempts=tuple(
            replace(row, usage=outcome.usage, charge=outcome.charge) if row.as_outcome else row
            for row in outcome.attempts
        ),
    )


def unfold(data: bytes) -> Folded:
    """A call as the store keeps it, whole again. Raises codec.DecodeError."""
    folded = codec.unpack(data, Folded)
    return folded if folded.outcome is None else replace(folded, outcome=whole(folded.outcome))
