"""`python -m chaos`: every promise of the book, tried against real gateway processes.

Exit 0 if all that could be tried holds, 1 if a promise is broken, 2 for wrong usage. Every process that it starts is
ended by its id; folders are temporary.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import uvloop
from rich.console import Console

from chaos.finding import Finding
from chaos.lives import ROOT
from chaos.report import FIGURES, PAGE, facts, print_table, write_figures
from chaos.suites import SUITES, Suite

_SAID_EVERY = 5.0
"""seconds between two lines of progress where no terminal is"""


def main() -> int:
    options = _options()
    console = Console()
    chosen = [suite for suite in SUITES if not options.only or suite.name in options.only]
    with (
        tempfile.TemporaryDirectory(prefix="chaos-") as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        findings = runner.run(_run(chosen, Path(folder), options, console))
    print_table(console, findings)
    if options.write:
        write_figures(ROOT, findings, facts(datetime.now(UTC).date().isoformat()), _command())
        console.print(f"Written: {PAGE}, {FIGURES}")
    return int(any(finding.broken for finding in findings))


async def _run(chosen: list[Suite], folder: Path, options: argparse.Namespace, console: Console) -> list[Finding]:
    end = None if options.minutes is None else time.monotonic() + 60 * options.minutes
    findings = []
    for suite in chosen:
        began, last = time.monotonic(), 0.0
        left = None if end is None else max(0.0, end - began)
        with console.status(suite.name) as status:

            def say(what: str, name: str = suite.name) -> None:
                nonlocal last
                status.update(f"{name}: {what}")
                if not console.is_terminal and time.monotonic() - last > _SAID_EVERY:
                    last = time.monotonic()
                    console.print(f"{name}: {what}")

            try:
                finding = await suite.look(folder / suite.name, say, short=options.short, seconds=left)
            except Exception as error:
                finding = Finding(suite.name, "the suite runs to its end")
                finding.broken.append(f"{type(error).__name__}: {error}")
        finding.name, finding.seconds = suite.name, time.monotonic() - began
        findings.append(finding)
        word = "broken" if finding.broken else "skipped" if finding.skipped else "holds"
        console.print(f"{suite.name}: {word}, {finding.seconds:.1f} s")
    return findings


def _options() -> argparse.Namespace:
    names = [suite.name for suite in SUITES]
    parser = argparse.ArgumentParser(prog="python -m chaos", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="the sizes that `make test` uses")
    parser.add_argument("--only", nargs="+", choices=names, metavar="SUITE", help=f"some of: {', '.join(names)}")
    parser.add_argument("--minutes", type=float, help="the kills, which come last, stop when so much time is over")
    parser.add_argument("--write", action="store_true", help=f"write the figures to {PAGE} and {FIGURES}")
    return parser.parse_args()


def _command() -> str:
    given = " ".join(sys.argv[1:])
    return f"python -m chaos {given}".strip()


if __name__ == "__main__":
    sys.exit(main())
