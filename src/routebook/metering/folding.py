"""Folds the rows of one call into what is known of it. Rows are never updated; here they become one call."""

from __future__ import annotations

from collections.abc import Iterable

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
            outcome, state = codec.unpack(row.blob, Outcome), row.state
    if intent is None:
        return None
    return Folded(seq, intent, progress, outcome, state, tuple(amendments))
