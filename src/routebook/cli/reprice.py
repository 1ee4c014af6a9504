"""`routebook ledger reprice`: charges past calls anew by the prices of their time, and prints what that changes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import cyclopts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from routebook.ledger.reprice import Difference, Repriced


def reprice(
    *,
    since: Annotated[str, cyclopts.Parameter(help="Calls accepted since 90s, 30m, 1h, 2d ago, or a UTC time (ISO).")],
    until: Annotated[str | None, cyclopts.Parameter(help="Only calls accepted before that; else all.")] = None,
    model: Annotated[str | None, cyclopts.Parameter(help="Only calls that this model answered.")] = None,
    dry_run: Annotated[bool, cyclopts.Parameter(negative=(), help="Print the differences, write nothing.")] = False,
    json: Annotated[bool, cyclopts.Parameter(negative=(), help="One JSON object, for scripts.")] = False,
    config: Annotated[Path | None, cyclopts.Parameter(help="Configuration file; else ROUTEBOOK_CONFIG.")] = None,
) -> None:
    """Charge past calls anew, by the prices that the configuration now says held when they were accepted.

    A call whose charge changes gets a revision; nothing that was written is changed. Running it twice is harmless.

    Example: `routebook ledger reprice --since 30d --dry-run`
    """
    from routebook.cli.generation import moment
    from routebook.observe.clock import SystemClock

    now_ns = SystemClock().now_ns()
    bounds: list[int | None] = []
    for name, text in (("--since", since), ("--until", until)):
        at = None if text is None else moment(text, now_ns)
        if text is not None and at is None:
            _stop(f"{name} must be like 30m, 1h, 2d or 2027-01-31T12:00:00Z, not {text!r}", 2)
        bounds.append(at)
    report, carried = _run(config, bounds[0] or 0, bounds[1], model, dry_run, now_ns)
    if json:
        _print_json(report, dry_run, carried)
    else:
        _print_report(report, dry_run, carried)


def _run(
    config: Path | None, since_ns: int, until_ns: int | None, model: str | None, dry_run: bool, now_ns: int
) -> tuple[Repriced, int]:
    """(the report, revisions that came into force). Ends the program with a sentence where something is missing."""
    import asyncio
    from datetime import UTC, datetime

    from routebook.core.catalog import Accounting
    from routebook.core.errors import Fault
    from routebook.daybook.folder import DaybookLocked
    from routebook.daybook.revisions import RevisionBook
    from routebook.daybook.shelf import DaybookDamaged
    from routebook.ledger.reprice import reprice as charge_anew
    from routebook.load.history import PriceHistory
    from routebook.load.settings import ConfigError, load_settings
    from routebook.store.open import database_path, open_store

    async def run() -> tuple[Repriced, int]:
        loaded = load_settings(config, os.environ)
        if not database_path(loaded.settings, loaded.home).exists():
            _stop("there is no store in the data folder yet: nothing was asked, so there is nothing to charge anew", 1)
        table = loaded.settings.accounting
        accounting = Accounting(markup=table.markup, byok_fee=table.byok_fee)
        history = PriceHistory(loaded, os.environ, datetime.fromtimestamp(now_ns // 10**9, UTC))
        store = open_store(loaded.settings, loaded.home)
        book: RevisionBook | None = None
        carried = 0
        try:
            if not dry_run:
                book = await RevisionBook.take(loaded.home, store)
            report = await charge_anew(
                store,
                history.sheets_at,
                accounting,
                now_ns,
                None if book is None else book.write,
                since_ns=since_ns,
                until_ns=until_ns,
                model=model,
            )
            if book is not None:
                carried = await book.ship(store)
        finally:
            if book is not None:
                await book.close()
            await store.close()
        return report, carried

    try:
        return asyncio.run(run())
    except ConfigError as error:
        _stop(str(error), 1)
    except Fault as fault:
        _stop(f"{fault.message} Run it again: what is done is not done twice.", 1)
    except DaybookLocked:
        _stop("another `ledger reprice` is running on this data folder; wait for its end", 1)
    except (DaybookDamaged, OSError) as error:
        _stop(f"the daybook of revisions cannot be used: {error}", 1)


def _print_json(report: Repriced, dry_run: bool, carried: int) -> None:
    from routebook.wire.codec import encode

    whole = report.whole
    told: dict[str, Any] = {
        "dry_run": dry_run,
        "looked_at": report.looked_at,
        "changed": report.changed,
        "unchanged": report.unchanged,
        "left": report.left,
        "in_force": carried,
        "differences": [_told(each) for each in report.differences],
        "total": {name: value for name, value in _told(whole).items() if name not in ("model", "provider")},
        "without_price": [
            {"model": model, "provider": provider, "calls": calls}
            for (model, provider), calls in sorted(report.unknown.items())
        ],
    }
    print(encode(told).decode())


def _told(each: Difference) -> dict[str, Any]:
    from routebook.core.money import plain

    return {
        "model": each.model,
        "provider": each.provider,
        "calls": each.calls,
        "old": plain(each.old),
        "new": plain(each.new),
        "difference": plain(each.difference),
        "upstream_old": plain(each.upstream_old),
        "upstream_new": plain(each.upstream_new),
        "upstream_difference": plain(each.upstream_difference),
    }


def _print_report(report: Repriced, dry_run: bool, carried: int) -> None:
    from rich.text import Text

    from routebook.cli.terminal import Terminal

    width = None if sys.stdout.isatty() else 160
    console = Terminal(width=width)
    looked = f"{report.looked_at:,} calls: {report.changed:,} get another charge, {report.unchanged:,} keep theirs"
    console.print(Text.assemble(("Calls charged anew", "bold"), f"  {looked}, {report.left:,} left as they are."))
    if report.differences:
        console.print()
        console.print(_table(report.differences, report.whole))
        console.print()
    for (model, provider), calls in sorted(report.unknown.items()):
        who = f"{model} at {provider}" if provider else model
        console.print(Text(f"{who}: no price here for the time of {calls:,} calls; they keep what they have."))
    if dry_run:
        console.print(Text("Dry run: nothing was written.", style="bold yellow"))
    elif report.changed:
        told = f"{carried:,} revisions are in force; their differences are posted to the days of the calls."
        console.print(Text(told, style="green"))
    else:
        console.print(Text("Nothing to write.", style="green"))


def _table(differences: Sequence[Difference], whole: Difference) -> RenderableType:
    from routebook.cli.fitting import Sheet
    from routebook.cli.receipt_parts import aligned, plain

    table = Sheet(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for title in ("model", "provider", "calls", "charged", "anew", "difference", "upstream"):
        table.add_column(
            title,
            justify="right" if title == "calls" else "left",
            overflow="fold",
            no_wrap=title not in ("model", "provider"),
        )
    rows = [*differences, whole]
    amounts = [
        aligned([each.old for each in rows]),
        aligned([each.new for each in rows]),
        aligned([each.difference for each in rows], signed=True),
        aligned([each.upstream_difference for each in rows], signed=True),
    ]
    for place, each in enumerate(rows):
        total = each is whole
        if total and len(differences) > 1:
            table.add_section()
        table.add_row(
            plain("in all" if total else each.model),
            plain(each.provider),
            f"{each.calls:,}",
            *(column[place] for column in amounts),
            style="bold" if total else "",
        )
    return table


def _stop(message: str, code: int) -> NoReturn:
    print(f"routebook ledger: {message}", file=sys.stderr)
    raise SystemExit(code)
