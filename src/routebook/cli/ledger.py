"""`routebook ledger verify`: proves the book and prints the figures."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cyclopts

from routebook.cli.reconcile import reconcile
from routebook.cli.reprice import reprice

if TYPE_CHECKING:
    from routebook.daybook.reading import ReadOnlyDaybook
    from routebook.ledger.verify import Report
    from routebook.metering.record import Latency
    from routebook.store.port import Store

app = cyclopts.App(name="ledger", help="Prove the book.")
app.command(reconcile)
app.command(reprice)


@app.command
def verify(
    *,
    json: Annotated[bool, cyclopts.Parameter(negative=(), help="One JSON object, for scripts.")] = False,
    config: Annotated[Path | None, cyclopts.Parameter(help="Configuration file; else ROUTEBOOK_CONFIG.")] = None,
) -> None:
    """Prove that the book holds: no call lost, no row missing, every cost line and posting exact.

    Works while the gateway runs and while it is stopped. Exits 1 if the book does not hold, and names the records.

    Example: `routebook ledger verify`
    """
    from routebook.cli.generation import with_records

    async def work(books: Sequence[ReadOnlyDaybook], store: Store | None, latency: Latency) -> Report:
        from routebook.daybook.revisions import read_revisions
        from routebook.ledger.verify import verify as prove
        from routebook.load.settings import load_settings

        revisions = read_revisions(load_settings(config, os.environ).home)
        try:
            return await prove(books, store, revisions)
        finally:
            for book in revisions:
                book.close()

    report = with_records(config, work)
    if json:
        _print_json(report)
    else:
        _print_report(report)
    if not report.holds:
        print("routebook ledger: the book does not hold; the records are named above", file=sys.stderr)
        raise SystemExit(1)


def _print_json(report: Report) -> None:
    from routebook.wire.codec import encode

    checks = [
        {
            "name": check.name,
            "proves": check.proves,
            "holds": check.holds,
            "figures": check.figures,
            "failures": check.failures,
            "more_failures": check.more,
        }
        for check in report.checks
    ]
    print(encode({"holds": report.holds, "daybooks": report.daybooks, "checks": checks}).decode())


def _print_report(report: Report) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, markup=False, soft_wrap=True)
    if not report.daybooks:
        console.print("There is no daybook yet: nothing was asked, so there is nothing to prove.")
    for check in report.checks:
        word, style = ("holds", "green") if check.holds else ("BROKEN", "bold red")
        figures = ", ".join(f"{name} {value}" for name, value in check.figures.items())
        console.print(Text.assemble((f"{word:<7}", style), (f"{check.name:<10}", "bold"), check.proves))
        console.print(Text(f"{'':17}{figures}", style="dim"))
        for failure in check.failures:
            console.print(Text(f"{'':17}{failure}", style="red"))
        if check.more:
            console.print(Text(f"{'':17}and {check.more} more", style="red"))
    books = ", ".join(report.daybooks) or "none"
    verdict = "The book holds." if report.holds else "The book does not hold."
    console.print(Text.assemble((verdict, "bold green" if report.holds else "bold red"), f" Daybooks: {books}."))
