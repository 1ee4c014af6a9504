"""Prints, at the end of a run, how many recorded exchanges were read and how many had all facts equal."""

from __future__ import annotations

import pytest

from tests.exchanges.harness import TALLY


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line a file of recordings: number read, number with all facts equal, number excepted by name."""
    if not TALLY:
        return
    terminalreporter.section("recorded exchanges")
    for name, figures in sorted(TALLY.items()):
        line = f"{name}: {figures.read} read, {figures.equal} with all facts equal"
        terminalreporter.write_line(line + (f", {figures.excepted} named exceptions" if figures.excepted else ""))
    read = sum(figures.read for figures in TALLY.values())
    equal = sum(figures.equal for figures in TALLY.values())
    terminalreporter.write_line(f"total: {read} read, {equal} with all facts equal")
