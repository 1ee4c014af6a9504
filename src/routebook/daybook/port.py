"""The daybook as the corridor sees it: append, be told when durable, read back by call number.

The file-backed one is `daybook.book`; only `compose.py` names it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from typing import Protocol

from routebook.core.generation import Amendment, Folded, Intent, Outcome, Progress, Row

__all__ = ["Daybook", "Folded", "Row"]


class Daybook(Protocol):
    """One worker's book of original entry."""

    name: str
    """three base62 characters, part of every generation id minted here"""

    def next_n(self) -> int:
        """The next call number; never given twice, also not after a restart."""

    def open(self, intent: Intent) -> Awaitable[int]:
        """Durable when it is awaited; gives its sequence. Raises Unavailable, then or at once, if the book cannot be
        written."""

    def close(self, id: str, n: int, state: int, outcome: Outcome) -> Awaitable[int]:
        """Write the terminal row; durable when it is awaited; gives its sequence. A second close of one n raises."""

    def note(self, id: str, n: int, row: Progress | Amendment) -> None:
        """Append a progress or amendment row with the next commit; nobody waits for it."""

    def read(self, n: int) -> Folded | None:
        """The call of that number. None if there is none, or if it is shipped and long ago: the store has it."""

    def rows(self, after: int, limit: int) -> list[Row]:
        """Rows with seq > after, in order, at most `limit`."""

    def scan(self) -> Iterator[Folded]:
        """Every call that the files hold, in order of n."""

    def shipped(self, seq: int) -> None:
        """The store has all rows up to that one: what was only kept for it may go."""
