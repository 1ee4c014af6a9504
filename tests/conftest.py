"""Figures that tests find are printed at the end of the run, also where workers on several cores found them. And Ctrl-C
means to the programs that tests start what it means in a terminal, however the tests were started."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tests.acceptance import figures
from tests.exchanges.harness import TALLY, Tally

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell starts what it puts in the background deaf to Ctrl-C, and every child inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker hands its figures to the run that started it."""
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["exchanges"] = {name: [each.read, each.equal, each.excepted] for name, each in TALLY.items()}
        output["acceptance"] = list(figures.lines)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """And the run takes them."""
    output: dict[str, Any] = getattr(node, "workeroutput", None) or {}
    for name, (read, equal, excepted) in output.get("exchanges", {}).items():
        entry = TALLY.setdefault(name, Tally())
        entry.read += read
        entry.equal += equal
        entry.excepted += excepted
    figures.lines += output.get("acceptance", [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Recorded exchanges, a line a file: number read, with all facts equal, excepted by name; then other figures."""
    if TALLY:
        terminalreporter.section("recorded exchanges")
        for name, each in sorted(TALLY.items()):
            line = f"{name}: {each.read} read, {each.equal} with all facts equal"
            terminalreporter.write_line(line + (f", {each.excepted} named exceptions" if each.excepted else ""))
        read = sum(each.read for each in TALLY.values())
        equal = sum(each.equal for each in TALLY.values())
        terminalreporter.write_line(f"total: {read} read, {equal} with all facts equal")
    if figures.lines:
        terminalreporter.section("acceptance")
        for line in figures.lines:
            terminalreporter.write_line(line)
