"""Owns the types of Routebook's own proof of completeness: `GET /ledger/completeness`.

Source: docs/completeness.md of the project; no other server of this API has the path.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from .codec import Shape, instant


class RowRange(Shape, frozen=True, kw_only=True):
    """Rows of a daybook that are there: numbers of the first and the last one, and how many there are."""

    first: int | None = None
    last: int | None = None
    count: int | None = None


class ChainHead(Shape, frozen=True, kw_only=True):
    """Where a daybook's hash chain stands: the last row, and the digest (hex) that all rows up to it make."""

    seq: int | None = None
    digest: str | None = None


class DaybookState(Shape, frozen=True, kw_only=True):
    """One daybook, that is one worker's book of original entry.

    Attributes:
        name: three characters.
        rows: what is there; earlier rows left when they were shipped and past retention.
        gaps: rows that are missing among those.
        segments: files.
        open: calls under way.
        shipped: the store has all rows up to that one; `waiting`: rows behind it.
        deleted: calls that retention deleted from the store.
        head: note it, and `routebook ledger verify --head` proves later that nothing before it was changed.
        breaks: where files are not as they were written, a sentence each.
    """

    name: str | None = None
    rows: RowRange | None = None
    gaps: int | None = None
    segments: int | None = None
    open: int | None = None
    shipped: int | None = None
    waiting: int | None = None
    deleted: int | None = None
    head: ChainHead | None = None
    breaks: list[str] | None = None


class StateCounts(Shape, frozen=True, kw_only=True):
    """Calls by state."""

    done: int | None = None
    error: int | None = None
    cancelled: int | None = None
    interrupted: int | None = None
    blocked: int | None = None
    open: int | None = None


class DeletedCalls(Shape, frozen=True, kw_only=True):
    """What retention deleted: how many calls, and since when (ISO 8601) all calls are kept; None: nothing was."""

    calls: int | None = None
    kept_since: str | None = None


class CompletenessData(Shape, frozen=True, kw_only=True):
    """Whether the book is complete.

    Attributes:
        since, until: the period asked for (`from` and `to` of the API), ISO 8601; None: without a bound.
        as_of: when this was true.
        holds: nothing is wrong; else `reasons` says what is.
        admitted: calls accepted in the period; `settled + open + interrupted` where all is well.
        states: the same calls by state.
        gaps: daybook rows that are missing, over all daybooks.
        deleted: what retention deleted, of all times; not among the counts.
        daybooks: those of the host that answered.
    """

    since: str | None = msgspec.field(default=None, name="from")
    until: str | None = msgspec.field(default=None, name="to")
    as_of: str | None = None
    holds: bool | None = None
    reasons: list[str] | None = None
    admitted: int | None = None
    settled: int | None = None
    open: int | None = None
    interrupted: int | None = None
    states: StateCounts | None = None
    gaps: int | None = None
    deleted: DeletedCalls | None = None
    daybooks: list[DaybookState] | None = None

    @property
    def as_of_datetime(self) -> datetime | None:
        """`as_of` as an aware datetime; None if absent or unreadable."""
        return instant(self.as_of)


class GetCompletenessResponseBody(Shape, frozen=True, kw_only=True):
    """The answer of `GET /ledger/completeness`."""

    data: CompletenessData
