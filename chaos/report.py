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
from chaos.suites import SUITES

PAGE = Path("docs/reliability.md")
FIGURES = Path("docs/reliability/figures.json")
_MARKED = re.compile(r"(?<=<!-- figures begin -->\n).*(?=<!-- figures end -->)", re.DOTALL)
_NAMED = 5


def facts(day: str) -> dict[str, str]:
    """Where and when the run was made."""
    return {
        "date": day,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
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
    """The JSON, and the table between the marks of the page. Suites that did not run keep what they had."""
    file, page = root / FIGURES, root / PAGE
    text = page.read_text("utf-8")
    if not _MARKED.search(text):
        raise ValueError(f"{PAGE} has lost the marks between which the figures stand")
    known: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    known |= {finding.name: _told(finding, facts, command) for finding in findings}
    kept = {suite.name: known[suite.name] for suite in SUITES if suite.name in known}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", "utf-8")
    page.write_text(_MARKED.sub(lambda _: _page_table(kept), text), "utf-8")


def _told(finding: Finding, facts: dict[str, str], command: str) -> dict[str, Any]:
    return {
        "promise": finding.promise,
        "verdict": _word(finding).lower(),
        "seconds": round(finding.seconds, 1),
        "figures": finding.figures,
        **({"skipped": finding.skipped} if finding.skipped else {}),
        **({"broken": finding.broken[:_NAMED]} if finding.broken else {}),
        "run": {"command": command, **facts},
    }


def _page_table(suites: dict[str, dict[str, Any]]) -> str:
    lines = ["| suite | promise | figures | |", "|---|---|---|---|"]
    for name, told in suites.items():
        word = told["verdict"] if told["verdict"] == "holds" else f"**{told['verdict']}**"
        lines.append(f"| `{name}` | {told['promise']} | {told.get('skipped') or _line(told['figures'])} | {word} |")
    runs = {tuple(told["run"].items()) for told in suites.values()}
    for run in sorted(runs):
        of = dict(run)
        lines += ["", f"`{of['command']}`, {of['date']}: {of['cores']} cores, {of['system']}, Python {of['python']}."]
    return "\n".join(lines) + "\n"


def _word(finding: Finding) -> str:
    return "BROKEN" if finding.broken else "skipped" if finding.skipped else "holds"


def _line(figures: dict[str, Figure]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_figure(value)}" for name, value in figures.items())


def _figure(value: Figure) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
