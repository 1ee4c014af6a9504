"""The gateway without its book, for one figure: what the book costs. No configuration can do this, and none should.

    python -m bench.nobook serve --config FILE …

The composition is the product's own but for one class: a daybook that promises everything and keeps nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from routebook.core.generation import Amendment, Folded, Intent, Outcome, Progress, Row


class NullDaybook:
    """Implements `daybook.port.Daybook` and forgets."""

    name = "000"
    recovered = 0
    trouble = None
    lost = False
    open_calls = 0

    def __init__(self, home: Path, **_: Any) -> None:
        self._n = 0
        (home / "daybooks" / self.name).mkdir(parents=True, exist_ok=True)  # other workers would knock there

    def next_n(self) -> int:
        self._n += 1
        return self._n

    async def open(self, intent: Intent) -> int:
        return intent.n

    async def close(self, id: str, n: int, state: int, outcome: Outcome) -> int:
        return n

    def note(self, id: str, n: int, row: Progress | Amendment) -> None:
        return None

    def read(self, n: int) -> Folded | None:
        return None

    def rows(self, after: int, limit: int) -> list[Row]:
        return []

    def shipped(self, seq: int) -> None:
        return None

    def scan(self) -> Iterator[Folded]:
        return iter(())

    async def aclose(self) -> None:
        return None


if __name__ == "__main__":
    from routebook import compose
    from routebook.cli.main import main

    compose.FileDaybook = NullDaybook  # type: ignore[attr-defined, assignment]
    main()
