"""What a provider's usage export says, in one form: lines of time, model, tokens and money; how cells are read. Pure.

Counts have the meaning of `core.usage.Usage`: prompt includes cache reads and writes, completion includes reasoning.
Money is Decimal, times are nanoseconds of unix time. A cell that is empty or absent is None, never 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

import msgspec

from routebook.core.money import EXACT

DAY_NS = 86_400 * 10**9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST = Decimal(10) ** 15
"""dollars; and no amount is written finer than its inverse squared"""


class ExportError(Exception):
    """The file cannot be read as an export; the message says what is missing and what to do."""


class Tokens(msgspec.Struct, frozen=True):
    """Counts by kind; None = not said."""

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    reasoning: int | None = None

    def plus(self, other: Tokens) -> Tokens:
        """The sum of what is known."""
        return Tokens(*(_sum(getattr(self, kind), getattr(other, kind)) for kind in KINDS))

    def known(self) -> dict[str, int]:
        """The counts that are said, by kind."""
        return {kind: count for kind in KINDS if (count := getattr(self, kind)) is not None}


KINDS: tuple[str, ...] = Tokens.__struct_fields__


def _sum(left: int | None, right: int | None) -> int | None:
    return right if left is None else left if right is None else left + right


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One row of an export."""

    row: int
    """place in the file, from 1, the header not counted"""
    start_ns: int
    end_ns: int | None = None
    """end of the bucket, exclusive; None = the row is one call at `start_ns`"""
    id: str | None = None
    """the provider's id of the call"""
    model: str | None = None
    requests: int | None = None
    tokens: Tokens = Tokens()
    cost: Decimal | None = None
    """USD"""
    searches: bool = False
    """the row is what web searches cost, not tokens"""
    key: str | None = None
    """whatever the export says about who called: key, project, workspace"""


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """A whole file, read."""

    format: str
    provider: str | None
    """slug that this format is of; None for a mapping of one's own"""
    lines: list[Line]
    spans: list[tuple[int, int]] = []
    """buckets that the file has, empty ones included: (start, end) in ns"""
    unit: Decimal | None = None
    """smallest step that amounts are written in, USD; None without amounts"""
    notes: list[str] = []

    @property
    def by_call(self) -> bool:
        """One row a call, with ids to match by; else sums are compared."""
        return any(line.id is not None for line in self.lines)


class Cells:
    """One row by column name. Every reading error names row and column."""

    __slots__ = ("_values", "row")

    def __init__(self, row: int, values: Mapping[str, Any]) -> None:
        self.row = row
        self._values = values

    def _fault(self, column: str, what: str) -> ExportError:
        return ExportError(f"row {self.row}, column {column}: {what}")

    def text(self, column: str | None) -> str | None:
        """The cell without the blanks around it; None for an empty or absent one."""
        value = None if column is None else self._values.get(column)
        if value is None:
            return None
        if isinstance(value, dict | list):
            raise self._fault(str(column), "is a list or an object where one value is expected")
        return str(value).strip() or None

    def count(self, column: str | None) -> int | None:
        """A whole number from 0 up; `3.0` is one too, since some exports write counts so."""
        text = self.text(column)
        if column is None or text is None:
            return None
        value = _decimal(text)
        if value is None or value != value.to_integral_value() or value < 0:
            raise self._fault(column, f"{text[:40]!r} is not a count")
        return int(value)

    def amount(self, column: str | None, scale: int = 0) -> Decimal | None:
        """USD; `scale` 2 reads cents. A leading `$` is taken off."""
        text = self.text(column)
        if column is None or text is None:
            return None
        value = _decimal(text.removeprefix("$"))
        if value is None:
            raise self._fault(column, f"{text[:40]!r} is not an amount")
        return value.scaleb(-scale, EXACT)

    def moment(self, column: str) -> tuple[int, bool]:
        """(unix ns, it is a whole UTC day): unix seconds or milliseconds, an ISO date or time (UTC where unsaid)."""
        text = self.text(column)
        if text is None:
            raise self._fault(column, "is empty; every row needs its time")
        if re.fullmatch(r"\d{9,10}(\.0+)?", text):
            return int(text.partition(".")[0]) * 10**9, False
        if re.fullmatch(r"\d{12,13}", text):
            return int(text) * 10**6, False
        try:
            at = datetime.fromisoformat(text.removesuffix(" UTC"))
        except ValueError:
            raise self._fault(column, f"{text[:40]!r} is neither unix seconds nor an ISO time") from None
        whole_day = re.fullmatch(r"\d{4}-\d\d-\d\d", text) is not None
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        return (at - _EPOCH) // timedelta(microseconds=1) * 1000, whole_day


def _decimal(text: str) -> Decimal | None:
    """None for what is no number, or one beyond all bounds: a sum of those would have millions of digits."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    if not value.is_finite() or abs(value) > _MOST or value.as_tuple().exponent < -60:  # type: ignore[operator]
        return None
    return value


_DATED = re.compile(r"-(?:20\d\d-?[01]\d-?[0-3]\d|latest)$")
_VARIANT = re.compile(r":(?:free|beta|nitro|floor|online|thinking|extended|exacto)$")


@lru_cache(maxsize=4096)
def family(model: str) -> str:
    """The name that all spellings of a model have in common: no author, no snapshot date, dashes alone.

    `openai/gpt-4.1-2025-04-14`, `GPT-4.1` and `gpt-4.1` are one family. Answers and exports do not always name the
    same snapshot, so sums are compared by family; two snapshots of one family in one bucket are one sum.
    """
    name = _VARIANT.sub("", model.strip().lower()).rpartition("/")[2]
    name = re.sub(r"[^a-z0-9:]+", "-", name).strip("-")
    return _DATED.sub("", name) or name
