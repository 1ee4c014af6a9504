"""Prints the results: the table of aims first, then what was only to be reported."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.aims import AIMS, Results

_STYLE = {"stretch": "bold green", "aim": "green", "MISS": "bold red"}


def judged(results: Results) -> list[dict[str, Any]]:
    """Every aim whose sections were measured, with its value and verdict."""
    rows = []
    for aim in AIMS:
        try:
            value, detail = aim.value(results), aim.detail(results)
        except KeyError:
            continue
        rows.append(
            {"figure": aim.figure, "value": value, "unit": aim.unit, "aim": aim.aim, "stretch": aim.stretch,
             "verdict": aim.verdict(value), "detail": detail}
        )  # fmt: skip
    return rows


def sound(book: dict[str, Any]) -> bool:
    """Every call that was sent is in the book, the book holds, and its gateway ended well."""
    return bool(book["holds"] and book["calls_sent"] == book["calls_in_book"] and not book["exit_code"])


def print_report(results: Results, console: Console) -> None:
    facts = results["facts"]
    console.print(Text("  ".join(f"{name} {value}" for name, value in facts.items()), style="dim"))
    _print_aims(results, console)
    _print_variants(results, console)
    _print_growth(results, console)
    _print_tools(results, console)
    _print_books(results, console)


def _print_aims(results: Results, console: Console) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title, side in (("figure", "left"), ("measured", "right"), ("", "left"), ("aim", "right"), ("stretch", "right"),
                        ("verdict", "left"), ("", "left")):  # fmt: skip
        table.add_column(title, justify=side)  # type: ignore[arg-type]
    for row in judged(results):
        stretch = "" if row["stretch"] is None else f"{row['stretch']:g}"
        table.add_row(
            row["figure"], f"{row['value']:.2f}", row["unit"], f"{row['aim']:g}", stretch,
            Text(row["verdict"], style=_STYLE[row["verdict"]]), Text(row["detail"], style="dim"),
        )  # fmt: skip
    console.print(table)


def _print_variants(results: Results, console: Console) -> None:
    if "variants" not in results:
        return
    table = Table(title="Run otherwise", title_justify="left", box=None, header_style="bold", pad_edge=False)
    for title in ("", "CPU µs/request", "x nginx", "requests/s", "µs/event, fast", "x nginx", "rows behind"):
        table.add_column(title, justify="left" if not title else "right")
    unary, stream = results["variants"]["json"], results["variants"]["stream"]
    for name in unary:
        cpu, event = unary[name]["cpu_us"]["median"], stream[name]["event_us"]["median"]
        table.add_row(
            name, f"{cpu:.1f}", f"{cpu / unary['nginx']['cpu_us']['median']:.2f}",
            f"{unary[name]['per_second']['median']:,.0f}", f"{event:.2f}",
            f"{event / stream['nginx']['event_us']['median']:.2f}", str(max(unary[name]["rows_behind"])),
        )  # fmt: skip
    console.print()
    console.print(table)


def _print_growth(results: Results, console: Console) -> None:
    if "growth" not in results:
        return
    for title, key, unit in (
        ("CPU µs per event by number of streams, an event every 100 ms each", "event_us_by_streams", "streams"),
        ("CPU µs per request by size of its body", "cpu_us_by_body_bytes", "bytes"),
    ):
        figures = results["growth"][key]
        table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
        table.add_column(unit)
        steps = list(next(iter(figures.values())))
        for step in steps:
            table.add_column(f"{int(step):,}", justify="right")
        for name, values in figures.items():
            table.add_row(name, *(f"{values[step]:,.1f}" for step in steps))
        console.print()
        console.print(table)


def _print_tools(results: Results, console: Console) -> None:
    parts = []
    for each in results["own_speed"].values():
        parts.append(
            f"{each['per_second']:,.0f} {each['unit']}s/s direct ({each['generator_us']:.1f} µs generator + "
            f"{each['mock_us']:.1f} µs mock)"
        )
    console.print()
    console.print(Text("Generator and mock on one core: " + "; ".join(parts), style="dim"))


NOISY = 0.03


def _print_noise(results: Results, console: Console) -> None:
    """Others on the gateway's core make nginx look cheap: while it waits for the core, more events fit in one read."""
    shares = {
        f"{section} {name}": max(each["foreign"])
        for section, targets in results.items()
        if isinstance(targets, dict)
        for name, each in targets.items()
        if isinstance(each, dict) and "foreign" in each
    }
    worst = {name: share for name, share in shares.items() if share > NOISY}
    if worst:
        told = ", ".join(f"{name} {share * 100:.0f} %" for name, share in worst.items())
        console.print(Text(f"NOISE: others used the gateway's core meanwhile, up to: {told}", style="yellow"))


def _print_books(results: Results, console: Console) -> None:
    for name, book in results["books"].items():
        if book["calls_sent"] != book["calls_in_book"]:
            words = f"MISSING: {book['calls_sent']:,} calls sent, {book['calls_in_book']:,} in the book"
        else:
            words = f"{book['calls_in_book']:,} calls sent and in the book, {book['rows']:,} rows, all shipped"
        told = "ledger verify holds" if book["holds"] else f"ledger verify DOES NOT HOLD: {book['failures']}"
        if book["exit_code"]:
            told += f"; SIGTERM ended it with {book['exit_code']}"
        console.print(Text(f"{name}: {words}; {told}", style="green" if sound(book) else "bold red"))
    _print_noise(results, console)
    behind = results.get("json", {}).get("gateway", {})
    if behind:
        console.print(
            Text(
                f"Rows not yet shipped when the JSON rounds ended: {behind['rows_behind']}, shipped "
                f"{behind['ship_s']} s later; their CPU is counted.",
                style="dim",
            )
        )
