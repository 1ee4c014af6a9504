"""Findings as a table on the terminal, as JSON, and as the table in docs/reliability.md."""

from __future__ import annotations

import json
import os
import platform
import re
import sqlite3
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from chaos.finding import Figure, Finding

PAGE = Path("docs/reliability.md")
FIGURES = Path("docs/reliability/figures.json")
_MARKED = re.compile(r"(?<=<!-- figures begin -->\n).*(?=<!-- figures end -->)", re.DOTALL)
_NAMED = 5


def facts(day: str) -> dict[str, str]:
    """Where and when the run was made."""
    return {
        "date": day,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "cores": str(os.cpu_count()),
        "sqlite": sqlite3.sqlite_version,
    }


def print_table(console: Console, findings: list[Finding]) -> None:
    table = Table(title="What the book promises", title_justify="left", expand=True)
    table.add_column("suite", no_wrap=True)
    table.add_column("promise")
    table.add_column("figures")
    table.add_column("")
    for finding in findings:
        words = {"holds": "green", "skipped": "yellow", "BROKEN": "bold red"}
        word = _word(finding)
        shown = finding.skipped or _line(finding.figures)
        table.add_row(finding.name, finding.promise, shown, Text(word, style=words[word]))
    console.print(table)
    for finding in findings:
        for what in finding.broken[:_NAMED]:
            console.print(Text(f"{finding.name}: {what}", style="red"))
        if len(finding.broken) > _NAMED:
            console.print(f"{finding.name}: and {len(finding.broken) - _NAMED} more")


def write_figures(root: Path, findings: list[Finding], facts: dict[str, str], command: str) -> None:
    """The JSON, and the table between the marks of the page."""
    told: dict[str, Any] = {"facts": facts, "command": command, "suites": {}}
    for finding in findings:
        told["suites"][finding.name] = {
            "promise": finding.promise,
            "verdict": _word(finding).lower(),
            "seconds": round(finding.seconds, 1),
            "figures": finding.figures,
            **({"skipped": finding.skipped} if finding.skipped else {}),
            **({"broken": finding.broken[:_NAMED]} if finding.broken else {}),
        }
    file = root / FIGURES
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", "utf-8")
    page = root / PAGE
    text = page.read_text("utf-8")
    if not _MARKED.search(text):
        raise ValueError(f"{PAGE} has lost the marks between which the figures stand")
    page.write_text(_MARKED.sub(lambda _: _page_table(findings, facts, command), text), "utf-8")


def _page_table(findings: list[Finding], facts: dict[str, str], command: str) -> str:
    head = (
        f"Figures of `{command}` on {facts['date']}: {facts['cores']} cores, {facts['system']}, "
        f"Python {facts['python']}."
    )
    lines = [
        head,
        "",
        "| suite | promise | figures | |",
        "|---|---|---|---|",
    ]
    for finding in findings:
        word = _word(finding)
        shown = finding.skipped or _line(finding.figures)
        lines.append(
            f"| `{finding.name}` | {finding.promise} | {shown} | {word if word == 'holds' else f'**{word.lower()}**'} |"
        )
    return "\n".join(lines) + "\n"


def _word(finding: Finding) -> str:
    return "BROKEN" if finding.broken else "skipped" if finding.skipped else "holds"


def _line(figures: dict[str, Figure]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_figure(value)}" for name, value in figures.items())


def _figure(value: Figure) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
