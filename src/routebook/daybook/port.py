"""The daybook as the corridor sees it: append, be told when durable, read back by call number.

The file-backed one is `daybook.book`; only `compose.py` names it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from routebook.core.generation import Amendment, Folded, Intent, Outcome, Progress, Row

__all__ = ["Daybook", "Folded", "Row"]


class Daybook(Protocol):
    """One worker's book of original entry."""

    name: str
    """three base62 characters, part of every generation id minted here"""

    def next_n(self) -> int:
        """The next call number; never given twice, also not after a restart."""

    async def open(self, intent: Intent) -> None:
        """Durable when it returns. Raises Unavailable if the book cannot be written."""

    async def close(self, id: str, n: int, state: int, outcome: Outcome) -> int:
        """Write the terminal row; durable when it returns; gives its sequence. A second close of one n raises."""

    def note(self, id: str, n: int, row: Progress | Amendment) -> None:
        """Append a progress or amendment row with the next commit; nobody waits for it."""

    def read(self, n: int) -> Folded | None:
        """The call of that number, None if there is none."""

    def rows(self, after: int, limit: int) -> list[Row]:
        """Rows with seq > after, in order, at most `limit`."""

    def scan(self) -> Iterator[Folded]:
        """Every call, in order of n."""
