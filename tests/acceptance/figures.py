"""Figures that tests have measured, printed at the end of the run."""

from __future__ import annotations

lines: list[str] = []


def append(line: str) -> None:
    """One more line for the summary."""
    lines.append(line)
