"""The newest committed rows of the owner, in memory until the store has them.

The shipper comes for them twice a second, and reading them back out of frames would cost as much as all the rest that
it does with them.
"""

from __future__ import annotations

from routebook.core.generation import Row

MOST = 8192
"""rows kept while nobody ships them, about 5 MB; older ones are read from the files"""


class Recent:
    """Rows without a gap, in order of seq."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        """the owner appends to it, and calls `trim` after each commit"""

    def after(self, seq: int, limit: int) -> list[Row] | None:
        """Rows with a higher seq, at most `limit`; None if the first of them is not here any more."""
        rows = self.rows
        if not rows or rows[0].seq > seq + 1:
            return None
        start = seq + 1 - rows[0].seq
        return rows[start : start + limit]

    def trim(self) -> None:
        """Keep to the bound. Half of them go at once, so that this is rarely more than a look."""
        if len(self.rows) > MOST:
            del self.rows[: len(self.rows) - MOST // 2]

    def forget(self, seq: int) -> None:
        """Nobody asks for rows up to that one any more."""
        rows = self.rows
        if rows and rows[0].seq <= seq:
            del rows[: seq + 1 - rows[0].seq]
