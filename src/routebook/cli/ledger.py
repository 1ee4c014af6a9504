"""`routebook ledger verify`: proves the book and prints the figures."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cyclopts

from routebook.cli.export import export
from routebook.cli.forfeit import forfeit
from routebook.cli.reconcile import reconcile
from routebook.cli.reprice import reprice
from routebook.cli.tail import tail

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from routebook.cli.terminal import Terminal
    from routebook.daybook.reading import ReadOnlyDaybook
    from routebook.ledger.chain import Chain, Head
    from routebook.ledger.verify import Report
    from routebook.metering.record import Latency
    from routebook.store.port import Store

app = cyclopts.App(name="ledger", help="Prove the book, watch it, take it elsewhere.")
app.command(tail)
app.command(export)
app.command(reconcile)
app.command(reprice)
app.command(forfeit)

_INDENT = 18


@app.command
def verify(
    *,
    chain: Annotated[
        bool, cyclopts.Parameter(negative=(), help="Show every segment of the hash chain, and where it stands.")
    ] = False,
    head: Annotated[
        list[str] | None,
        cyclopts.Parameter(
            negative=(), help="A head that an earlier --chain printed; proves that the book still goes on from it."
        ),
    ] = None,
    json: Annotated[bool, cyclopts.Parameter(negative=(), help="One JSON object, for scripts.")] = False,
    config: Annotated[Path | None, cyclopts.Parameter(help="Configuration file; else ROUTEBOOK_CONFIG.")] = None,
) -> None:
    """Prove that the book holds: no call lost, no row missing, every cost line and posting exact.

    Works while the gateway runs and while it is stopped. Exits 1 if the book does not hold, and names the records.

    Example: `routebook ledger verify --chain`
    """
    from routebook.cli.generation import with_records
    from routebook.cli.progress import Progress

    heads = [_head(text) for text in head or ()]
    progress = Progress()

    async def work(books: Sequence[ReadOnlyDaybook], store: Store | None, latency: Latency) -> Report:
        from routebook.daybook.revisions import read_revisions
        from routebook.ledger.verify import verify as prove
        from routebook.load.settings import load_settings

        revisions = read_revisions(load_settings(config, os.environ).home)
        try:
            return await prove(books, store, revisions, progress, heads)
        finally:
            for book in revisions:
                book.close()

    with progress:
        report = with_records(config, work)
    if json:
        _print_json(report)
    else:
        _print_report(report, chain)
    if not report.holds:
        print("routebook ledger: the book does not hold; the records are named above", file=sys.stderr)
        raise SystemExit(1)


def _head(text: str) -> Head:
    from routebook.ledger.chain import head_of

    found = head_of(text)
    if found is None:
        print(f"routebook ledger: --head must be as --chain prints it, NAME:ROW:DIGEST, not {text!r}", file=sys.stderr)
        raise SystemExit(2)
    return found


def _print_json(report: Report) -> None:
    from routebook.ledger.chain import MEANINGS
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
    chains = [
        {
            "daybook": each.daybook,
            "head": {"seq": each.head.seq, "digest": each.head.digest},
            "segments": each.links,
            "breaks": [{"kind": a.kind, "what": a.what, "means": MEANINGS[a.kind]} for a in each.breaks],
            "set_aside": each.set_aside,
        }
        for each in report.chains
    ]
    told = {"holds": report.holds, "daybooks": report.daybooks, "checks": checks, "chains": chains}
    print(encode(told).decode())


def _print_beside(console: Terminal, name: Text, told: Text) -> None:
    """The name, and what is told of it from column `_INDENT` on, wrapped there where it is a terminal."""
    from rich.text import Text

    name.pad_right(_INDENT - name.cell_len)
    if not console.is_terminal or console.width < 2 * _INDENT:
        console.print(name.append_text(told))
        return
    for line in told.wrap(console, console.width - _INDENT):
        line.rstrip()
        console.print(Text.assemble(name, line))
        name = Text(" " * _INDENT)


def _print_report(report: Report, chain: bool) -> None:
    from rich.text import Text

    from routebook.cli.terminal import Terminal

    console = Terminal(soft_wrap=True)
    if not report.daybooks:
        console.print("There is no daybook yet: nothing was asked, so there is nothing to prove.")
    for check in report.checks:
        word, style = ("holds", "green") if check.holds else ("BROKEN", "bold red")
        figures = ", ".join(f"{name} {_figure(value)}" for name, value in check.figures.items())
        name = Text.assemble((f"{word:<7}", style), (f"{check.name:<11}", "bold"))
        _print_beside(console, name, Text(check.proves))
        if figures:
            _print_beside(console, Text(), Text(figures, style="dim"))
        for failure in check.failures:
            _print_beside(console, Text(), Text(failure, style="red"))
        if check.more:
            _print_beside(console, Text(), Text(f"and {check.more:,} more", style="red"))
    for each in report.chains:
        if chain or each.breaks:
            _print_chain(console, each, chain)
    books = ", ".join(report.daybooks) or "none"
    verdict = "The book holds." if report.holds else "The book does not hold."
    console.print(Text.assemble((verdict, "bold green" if report.holds else "bold red"), f" Daybooks: {books}."))


def _print_chain(console: Console, chain: Chain, whole: bool) -> None:
    from datetime import UTC, datetime

    from rich.text import Text

    from routebook.ledger.chain import HEAD_DIGITS, MEANINGS, told

    console.print(Text.assemble(("chain  ", "bold"), f"daybook {chain.daybook}"))
    for link in chain.links if whole else ():
        began = f"{datetime.fromtimestamp(link.began_ns // 10**9, UTC):%Y-%m-%d %H:%M:%S}"
        rows = f"rows {link.first:,} to {link.last:,}" if link.last >= link.first else "no row yet"
        console.print(
            f"{'':7}{link.file}  began {began}  {rows}  {link.frames:,} commits  {link.size:,} bytes  "
            f"{link.head[:HEAD_DIGITS]}"
        )
    for each in chain.breaks:
        console.print(Text(f"{'':7}{each.what}", style="red"))
    for kind in dict.fromkeys(each.kind for each in chain.breaks):
        console.print(f"{'':7}What that means ({kind}): {MEANINGS[kind]}.")
    for name in chain.set_aside:
        console.print(f"{'':7}{name} was set aside and is no part of the chain")
    if whole:
        console.print(Text.assemble(f"{'':7}head ", (told(chain.head), "bold")))


def _figure(value: int | str) -> str:
    return f"{value:,}" if isinstance(value, int) else value
