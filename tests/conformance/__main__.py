"""Writes docs/conformance.md."""

from __future__ import annotations

from pathlib import Path

from tests.conformance.table import page

if __name__ == "__main__":
    Path("docs/conformance.md").write_text(page(), "utf-8")
