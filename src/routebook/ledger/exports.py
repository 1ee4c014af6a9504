"""Reads a provider's usage export: bytes -> rows -> lines. CSV, JSON (one answer or pages of one), JSON lines. Pure.

The format is found from the columns; `ColumnMap` is for exports that nobody here knows. A JSON answer of buckets
becomes rows too: one for each result, with the bucket's start and end in it.
"""

from __future__ import annotations

import csv
import io
import tomllib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from routebook.ledger.export_formats import BUCKETS, FORMATS, Columns, Format, line
from routebook.ledger.export_lines import Cells, Export, ExportError, Line
from routebook.wire import codec

CENT = Decimal("0.01")
_TIMES = frozenset({"start_time", "end_time", "start_time_iso", "end_time_iso", "starting_at", "ending_at"})
_NAMES = Columns.__struct_fields__


class ColumnMap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping of one's own, as in a TOML file."""

    columns: Columns
    bucket: str | None = None
    """`minute`, `hour` or `day` where rows are sums over that; `call` where they are calls; None = as the times look"""
    provider: str | None = None


class _Table(msgspec.Struct):
    """Rows by column name."""

    columns: list[str]
    rows: list[Cells]
    spans: list[tuple[Cells, str, str]] = []
    """a bucket's own cells, and the names of its start and end"""
    notes: list[str] = []


def read(data: bytes, format: str | None = None, mapping: ColumnMap | None = None) -> Export:
    """The export in those bytes. Raises ExportError with a sentence that says what is wrong and what to do."""
    table = _json(data) if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[") else _csv(data)
    if mapping is not None:
        _check(table, mapping.columns)
        return _export("mapping", mapping.provider, table, mapping.columns, mapping.bucket)
    known = _named(format, table) if format is not None else _found(table)
    return _export(known.name, known.provider, table, known.columns, known.bucket, known)


def mapping_of(text: str) -> ColumnMap:
    """`time=created_at,prompt=input_tokens,bucket=day` as a mapping. Raises ExportError."""
    columns: dict[str, Any] = {}
    whole: dict[str, Any] = {"columns": columns}
    for part in text.split(","):
        name, equals, column = (piece.strip() for piece in part.partition("="))
        if not equals or not column:
            raise ExportError(f"{part.strip()!r} is not NAME=COLUMN; names are {', '.join(_NAMES)}, bucket, provider")
        (whole if name in ("bucket", "provider") else columns)[name] = column
    return _mapping(whole)


def mapping_file(data: bytes) -> ColumnMap:
    """A TOML file with `[columns]` and, if wanted, `bucket` and `provider`. Raises ExportError."""
    try:
        return _mapping(tomllib.loads(data.decode("utf-8")))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ExportError(f"the mapping is not TOML: {error}") from None


def _mapping(value: dict[str, Any]) -> ColumnMap:
    try:
        mapping = codec.convert(value, ColumnMap)
    except codec.DecodeError as error:
        raise ExportError(f"the mapping does not fit: {error}; columns are {', '.join(_NAMES)}") from None
    if mapping.bucket not in (None, "call", *BUCKETS):
        raise ExportError(f"bucket is {mapping.bucket!r}; it can be call, {', '.join(BUCKETS)}")
    if not mapping.columns.metrics():
        raise ExportError("the mapping names no column that counts anything: map prompt and completion, or cost")
    return mapping


# --- finding the format -----------------------------------------------------------------------------------------------


def _named(name: str, table: _Table) -> Format:
    known = next((each for each in FORMATS if each.name == name), None)
    if known is None:
        raise ExportError(f"there is no format {name}; there are {', '.join(each.name for each in FORMATS)}")
    if table.rows:
        missing = [column for column in known.needs if column not in table.columns]
        if missing:
            raise ExportError(f"not {name}: there is no column {', '.join(missing)}, only {_shown(table.columns)}")
    return known


def _found(table: _Table) -> Format:
    columns = set(table.columns)
    for known in FORMATS:
        if columns.issuperset(known.needs):
            return known
    if columns and columns <= _TIMES:
        # Buckets in which nothing happened have no other columns.
        return next(each for each in FORMATS if each.columns.time in columns)
    nearest = max(FORMATS, key=lambda known: len(columns.intersection(known.needs)))
    missing = [column for column in nearest.needs if column not in columns]
    closest = f"the nearest, {nearest.name}, lacks {', '.join(missing)}; " if len(missing) < len(nearest.needs) else ""
    raise ExportError(
        f"no known export has the columns {_shown(table.columns)}; {closest}"
        "name yours with --map time=COLUMN,model=COLUMN,prompt=COLUMN,completion=COLUMN,cost=COLUMN (id=COLUMN if "
        "rows are calls)"
    )


def _check(table: _Table, columns: Columns) -> None:
    wanted = {name: getattr(columns, name) for name in _NAMES}
    missing = [f"{column} (for {name})" for name, column in wanted.items() if column and column not in table.columns]
    if missing and table.columns:
        raise ExportError(f"there is no column {', '.join(missing)}, only {_shown(table.columns)}")


def _shown(columns: Iterable[str]) -> str:
    names = [name[:40] for name in columns]
    return ", ".join(names[:30]) + (f" and {len(names) - 30} more" if len(names) > 30 else "") if names else "(none)"


def _export(
    name: str, provider: str | None, table: _Table, columns: Columns, bucket: str | None, known: Format | None = None
) -> Export:
    spans = [(cells.moment(start)[0], cells.moment(end)[0]) for cells, start, end in table.spans]
    lines: list[Line] = []
    for cells in table.rows:
        row = line(cells, columns, bucket, str if known is None else known.model_of)
        if row.end_ns is not None:
            spans.append((row.start_ns, row.end_ns))
        if row.end_ns is None or any(cells.text(column) is not None for column in columns.metrics()):
            lines.append(row)
    steps = [row.cost.as_tuple().exponent for row in lines if row.cost is not None]
    unit = min(CENT, Decimal(1).scaleb(min(int(step) for step in steps))) if steps else None
    return Export(
        format=name, provider=provider, lines=lines, spans=sorted(set(spans)), unit=unit, notes=list(table.notes)
    )


# --- rows -------------------------------------------------------------------------------------------------------------


def _csv(data: bytes) -> _Table:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ExportError(f"the file is neither JSON nor UTF-8 text (byte {error.start})") from None
    first = text.lstrip().partition("\n")[0]
    if not first:
        raise ExportError("the file is empty")
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text.lstrip(), newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader)]
        rows = [values for values in reader if any(value.strip() for value in values)]
    except csv.Error as error:
        raise ExportError(f"line {reader.line_num} is not CSV: {error}") from None
    cells: list[Cells] = []
    for number, values in enumerate(rows, 1):
        if len(values) != len(header):
            raise ExportError(f"row {number} has {len(values)} columns, the header has {len(header)}")
        cells.append(Cells(number, dict(zip(header, values, strict=True))))
    return _Table(header, cells)


def _json(data: bytes) -> _Table:
    try:
        whole = codec.decode_exact(data.removeprefix(b"\xef\xbb\xbf"))
    except codec.DecodeError as error:
        whole = _json_lines(data, error)
    pages = whole if isinstance(whole, list) else [whole]
    found: list[dict[str, Any]] = []
    spans: list[tuple[dict[str, Any], str, str]] = []
    notes: list[str] = []
    for page in pages:
        if not isinstance(page, dict):
            raise ExportError("the JSON is not what an export is: objects are expected, alone, in a list, or in `data`")
        items = page.get("data", [page])
        for item in items if isinstance(items, list) else [items]:
            _take(item, found, spans)
    if isinstance(pages[-1] if pages else None, dict) and pages[-1].get("has_more"):
        notes.append("the file is one page of several (has_more): put the pages into one file, one a line")
    columns = dict.fromkeys(name for row in [*found, *(span for span, _, _ in spans)] for name in row)
    return _Table(
        list(columns),
        [Cells(number, row) for number, row in enumerate(found, 1)],
        [(Cells(number, span), start, end) for number, (span, start, end) in enumerate(spans, 1)],
        notes,
    )


def _json_lines(data: bytes, error: Exception) -> list[Any]:
    lines = [line for line in data.splitlines() if line.strip()]
    if len(lines) < 2:
        raise ExportError(f"the file is not JSON: {error}")
    try:
        return [codec.decode_exact(line) for line in lines]
    except codec.DecodeError:
        raise ExportError(f"the file is neither JSON nor JSON lines: {error}") from None


def _take(item: Any, found: list[dict[str, Any]], spans: list[tuple[dict[str, Any], str, str]]) -> None:
    """A row, or a bucket with its rows."""
    if not isinstance(item, dict):
        raise ExportError("the JSON is not what an export is: the members of `data` are no objects")
    results = item.get("results")
    if not isinstance(results, list):
        found.append(dict(_flat(item)))
        return
    bucket = {name: value for name, value in item.items() if name in _TIMES}
    for start, end in (("start_time", "end_time"), ("starting_at", "ending_at")):
        if start in bucket and end in bucket:
            spans.append((bucket, start, end))
    for result in results:
        if not isinstance(result, dict):
            raise ExportError("the JSON is not what an export is: the results of a bucket are no objects")
        found.append({**dict(_flat(result)), **bucket})


def _flat(value: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, Any]]:
    for name, inner in value.items():
        if isinstance(inner, dict):
            yield from _flat(inner, f"{above}{name}.")
        else:
            yield f"{above}{name}", inner
