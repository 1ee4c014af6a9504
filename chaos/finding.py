"""What a suite found: a promise, its figures, and the sentences that break it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chaos.judge import Verdict

Figure = int | float | str
Say = Callable[[str], None]
"""how a suite tells its progress"""


@dataclass
class Finding:
    """`skipped`: why it could not be looked at here."""

    name: str
    promise: str
    figures: dict[str, Figure] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    skipped: str | None = None
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        return not self.broken and self.skipped is None

    def take(self, verdict: Verdict, *names: str) -> None:
        """Take over what a judge found; of its counts those names, and all that must be 0."""
        for name in (*names, "lost", "duplicates", "unrecorded", "differ", "gaps"):
            self.figures[name] = int(self.figures.get(name, 0)) + verdict.counts[name]
        self.broken += verdict.broken


def quantiles(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    """p50, p99, p99.9 and max: the value at that rank, none in between made up. Empty without values."""
    ordered = sorted(values)
    if not ordered:
        return {}
    places = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
    last = len(ordered) - 1
    return {name: round(ordered[min(last, int(share * len(ordered)))], digits) for name, share in places.items()}


def strace_is_missing() -> str | None:
    """Why nothing can be injected into system calls here; None where it can."""
    return None if shutil.which("strace") else "strace is not installed (apt-get install strace)"
