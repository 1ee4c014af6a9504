"""`routebook ledger reconcile`: the book beside a provider's usage export, for people and for scripts.

Exits 0 if both say the same (rounding is the same), 1 if they differ, 2 if the file cannot be read or compared.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import cyclopts

if TYPE_CHECKING:
    from decimal import Decimal

    from rich.console import Console

    from routebook.daybook.reading import ReadOnlyDaybook
    from routebook.ledger.export_lines import Export
    from routebook.ledger.exports import ColumnMap
    from routebook.ledger.reconcile import Difference, Report, Side
    from routebook.metering.record import Latency
    from routebook.store.port import Store

EXAMPLES = 5
"""differences of a kind that are printed; --json has all"""


def reconcile(
    file: Annotated[
        Path, cyclopts.Parameter(allow_leading_hyphen=True, help="CSV, JSON or JSON lines; - reads stdin.")
    ],
    /,
    *,
    provider: Annotated[
        str | None, cyclopts.Parameter(help="Slug of the provider in the book; else the one the format is of.")
    ] = None,
    format: Annotated[
        str | None, cyclopts.Parameter(help="Name of the format; else it is found from the columns.")
    ] = None,
    map: Annotated[
        str | None, cyclopts.Parameter(help="Columns of another format: time=created_at,prompt=tokens_in,cost=usd")
    ] = None,
    columns: Annotated[Path | None, cyclopts.Parameter(help="The same as a TOML file.")] = None,
    since: Annotated[
        str | None, cyclopts.Parameter(help="Compare from here: 30d or a UTC time (ISO); else what the file covers.")
    ] = None,
    until: Annotated[str | None, cyclopts.Parameter(help="Compare up to here, not included.")] = None,
    json: Annotated[bool, cyclopts.Parameter(negative=(), help="One JSON object, for scripts.")] = False,
    config: Annotated[Path | None, cyclopts.Parameter(help="Configuration file; else ROUTEBOOK_CONFIG.")] = None,
) -> None:
    """Compare the book with what a provider says it billed, and say of each difference what it is.

    Works while the gateway runs and while it is stopped. Exits 0 if both agree, 1 if they differ, 2 if the file cannot
    be read.

    Example: `routebook ledger reconcile openrouter_activity.csv`
    """
    from routebook.cli.generation import with_records
    from routebook.ledger.export_lines import ExportError

    try:
        export = _read(file, format, map, columns)
        slug = provider or export.provider
        if slug is None:
            raise ExportError("whose export is it? name the provider with --provider SLUG")
        since_ns, until_ns = _period(export, since, until)
    except ExportError as error:
        _stop(f"{file}: {error}")

    async def work(books: Sequence[ReadOnlyDaybook], store: Store | None, latency: Latency) -> Report:
        return await _compare(export, books, store, slug, since_ns, until_ns)

    report = with_records(config, work)
    if json:
        _print_json(report, slug)
    else:
        _print_report(report, slug)
    if not report.agrees:
        raise SystemExit(1)


def _read(file: Path, format: str | None, map: str | None, columns: Path | None) -> Export:
    from routebook.ledger.export_lines import ExportError
    from routebook.ledger.exports import mapping_file, mapping_of, read

    if sum(choice is not None for choice in (format, map, columns)) > 1:
        raise ExportError("--format, --map and --columns exclude each other: each says which column is what")
    mapping: ColumnMap | None = None
    if map is not None:
        mapping = mapping_of(map)
    elif columns is not None:
        mapping = mapping_file(_bytes(columns))
    return read(sys.stdin.buffer.read() if str(file) == "-" else _bytes(file), format, mapping)


def _bytes(path: Path) -> bytes:
    from routebook.ledger.export_lines import ExportError

    try:
        return path.read_bytes()
    except OSError as error:
        raise ExportError(f"cannot be read: {error.strerror or error}") from None


def _period(export: Export, since: str | None, until: str | None) -> tuple[int, int]:
    from routebook.cli.generation import moment
    from routebook.ledger.export_lines import ExportError
    from routebook.ledger.reconcile import period
    from routebook.observe.clock import SystemClock

    covered = period(export)
    if covered is None and (since is None or until is None):
        raise ExportError("has no rows; to compare an empty export name the time with --since and --until")
    bounds = list(covered or (0, 0))
    for place, (name, text) in enumerate((("--since", since), ("--until", until))):
        if text is None:
            continue
        at = moment(text, SystemClock().now_ns())
        if at is None:
            raise ExportError(f"{name} must be like 12h, 30d or 2027-01-31T12:00:00Z, not {text!r}")
        bounds[place] = at
    if bounds[0] >= bounds[1]:
        raise ExportError("nothing lies between --since and --until")
    return bounds[0], bounds[1]


async def _compare(
    export: Export, books: Sequence[ReadOnlyDaybook], store: Store | None, slug: str, since_ns: int, until_ns: int
) -> Report:
    from routebook.ledger.bookside import gather
    from routebook.ledger.reconcile import Kind, explain
    from routebook.ledger.reconcile_sums import reconcile as compare
    from routebook.ledger.verify import verify
    from routebook.load.catalog import known_vendors

    vendor = known_vendors().get(slug)
    names = frozenset({slug.lower()} | ({vendor.name.lower()} if vendor is not None else set()))
    book = await gather(books, store, names, since_ns, until_ns)
    report = compare(export, book, since_ns, until_ns)
    if any(found.kind is Kind.MISSING_IN_BOOK for found in report.differences):
        # Whether a record can have been lost is what the book's own proof says.
        proof = await verify(books, store) if books else None
        proved = None if proof is None else all(check.holds for check in proof.checks if check.name in _COMPLETE)
        explain(report, proved, book.first_ns)
    return report


_COMPLETE = frozenset({"calls", "sequence", "chain", "identity", "shipped"})
"""checks of `ledger verify` that a lost record would break"""


# --- for scripts ------------------------------------------------------------------------------------------------------


def _print_json(report: Report, slug: str) -> None:
    from routebook.wire.codec import encode

    value = {
        "agrees": report.agrees,
        "provider": slug,
        "format": report.format,
        "matched_by": report.by,
        "since": _time(report.since_ns),
        "until": _time(report.until_ns),
        "export": _side(report.export),
        "book": _side(report.book),
        "agreed": report.agreed,
        "differences": [_difference(found) for found in report.differences],
        "notes": report.notes,
    }
    print(encode(value).decode())


def _difference(found: Difference) -> dict[str, Any]:
    return {
        "kind": found.kind.value,
        "time": _time(found.start_ns),
        "until": None if found.end_ns is None else _time(found.end_ns),
        "model": found.model,
        "upstream_id": found.id,
        "generations": list(found.generations),
        "key": found.key,
        "export": None if found.export is None else _side(found.export),
        "book": None if found.book is None else _side(found.book),
        "cost": _plain(found.cost),
        "likely": found.likely,
        "why": found.why,
    }


def _side(side: Side) -> dict[str, Any]:
    return {"requests": side.requests, "tokens": side.tokens.known(), "cost": _plain(side.cost)}


def _time(ns: int) -> str:
    whole, rest = divmod(ns, 10**9)
    at = datetime.fromtimestamp(whole, UTC).replace(microsecond=rest // 1000)
    return at.isoformat().replace("+00:00", "Z")


def _plain(value: Decimal | None) -> str | None:
    from routebook.core.money import plain

    return None if value is None else plain(value)


# --- for people -------------------------------------------------------------------------------------------------------


def _print_report(report: Report, slug: str) -> None:
    from rich.text import Text

    from routebook.cli.terminal import Terminal
    from routebook.ledger.reconcile import Kind

    console = Terminal(soft_wrap=True)
    matched = "call by call" if report.by == "call" else "by sums of each bucket and model"
    console.print(
        Text.assemble(
            (slug, "bold"), f"  {_time(report.since_ns)} to {_time(report.until_ns)}  ", (report.format, "dim")
        )
    )
    console.print()
    _print_totals(console, report)
    console.print()
    unit = "call" if report.by == "call" else "bucket"
    agreed = f"1 {unit} agrees" if report.agreed == 1 else f"{report.agreed:,} {unit}s agree"
    console.print(Text.assemble((agreed, "green"), f" to the last unit, matched {matched}."))
    for note in report.notes:
        console.print(Text(f"Note: {note}.", style="yellow"))
    for kind in Kind:
        found = [each for each in report.differences if each.kind is kind]
        if found:
            _print_kind(console, kind, found)
    console.print()
    if report.agrees:
        console.print(Text("The book and the export agree.", style="bold green"))
    else:
        serious = sum(found.kind is not Kind.ROUNDING for found in report.differences)
        console.print(Text(f"{serious:,} difference{'' if serious == 1 else 's'}.", style="bold red"))


def _print_totals(console: Console, report: Report) -> None:
    from routebook.cli.fitting import Sheet
    from routebook.core.money import plain, subtract
    from routebook.ledger.export_lines import KINDS

    table = Sheet(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("")
    for title in ("export", "book", "difference"):
        table.add_column(title, justify="right", no_wrap=True)
    theirs, ours = report.export, report.book
    counts = [("requests", theirs.requests, ours.requests)]
    counts += [(kind, getattr(theirs.tokens, kind), getattr(ours.tokens, kind)) for kind in KINDS]
    for name, left, right in counts:
        if left is None:
            continue
        off = left - (right or 0)
        table.add_row(
            name.replace("_", " "), f"{left:,}", "-" if right is None else f"{right:,}", f"{off:+,}" if off else "0"
        )
    if theirs.cost is not None:
        off_cost = None if ours.cost is None else subtract(theirs.cost, ours.cost)
        table.add_row(
            "USD",
            plain(theirs.cost),
            "unknown" if ours.cost is None else plain(ours.cost),
            "unknown" if off_cost is None else _signed(off_cost),
        )
    console.print(table)


def _print_kind(console: Console, kind: Any, found: list[Difference]) -> None:
    from rich.text import Text

    from routebook.core.money import ZERO, add
    from routebook.ledger.reconcile import MEANINGS, Kind

    total = ZERO
    for each in found:
        total = add(total, each.cost or ZERO)
    style = "dim" if kind is Kind.ROUNDING else "bold red"
    known = f"  {_signed(total)} USD" if any(each.cost is not None for each in found) else ""
    console.print()
    console.print(
        Text.assemble((kind.value.replace("_", " "), style), f"  {len(found):,}{known}  ", (MEANINGS[kind], "dim"))
    )
    largest = sorted(found, key=lambda each: -abs(each.cost or ZERO))
    for each in largest[:EXAMPLES]:
        _print_example(console, each)
    if len(found) > EXAMPLES:
        console.print(Text(f"  and {len(found) - EXAMPLES:,} more; --json has all", style="dim"))


def _print_example(console: Console, found: Difference) -> None:
    from rich.text import Text

    when = _time(found.start_ns).replace("T", " ")[:19]
    if found.end_ns is not None and when.endswith("00:00:00"):
        when = when[:10]
    who = found.id or ", ".join(found.generations[:3])
    cost = "" if found.cost is None else f"  {_signed(found.cost)}"
    console.print(Text.assemble(f"  {when}  ", (found.model or "all models", "bold"), f"  {who}{cost}"))
    if found.likely is not None:
        console.print(Text(f"    likely {found.likely.replace('_', ' ')}: {found.why}"))
    elif found.why:
        console.print(Text(f"    {found.why}"))
    if found.id and found.generations:
        console.print(Text(f"    {', '.join(found.generations[:3])}", style="dim"))


def _signed(value: Decimal) -> str:
    from routebook.core.money import plain

    return f"+{plain(value)}" if value > 0 else plain(value)


def _stop(sentence: str) -> NoReturn:
    print(f"routebook ledger reconcile: {sentence}", file=sys.stderr)
    raise SystemExit(2)
