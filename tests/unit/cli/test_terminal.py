"""What commands print of strangers' text: it is read as text, and steers no terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

from routebook.cli.terminal import Terminal

CLI = Path(__file__).parents[3] / "src" / "routebook" / "cli"
HOSTILE = "model\x1b]0;title\x07\x1b[2J\x9b1m\x00[red]x[/red]"


def table(cell: str) -> Table:
    made = Table(box=None)
    made.add_column("model")
    made.add_row(cell)
    return made


@pytest.mark.parametrize("what", [HOSTILE, Text(HOSTILE), table(HOSTILE)], ids=["line", "text", "cell"])
def test_control_characters_and_markup_are_printed_as_text(what: object, capsys: pytest.CaptureFixture[str]) -> None:
    Terminal(width=120).print(what)
    out = capsys.readouterr().out
    assert "model?]0;title" in out
    assert "[red]x[/red]" in out
    assert all(char.isprintable() or char == "\n" for char in out)


def test_line_breaks_tabs_and_letters_of_any_script_stay(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal(width=120).print("élan, 模型\n│ next")
    assert capsys.readouterr().out == "élan, 模型\n│ next\n"


def test_no_command_prints_past_it() -> None:
    """The demo has a console of its own: it prints its own markup, and cleans the answer itself."""
    past = [path.name for path in CLI.glob("*.py") if re.search(r"(?<!class Terminal\()\bConsole\(", path.read_text())]
    assert past == ["demo.py"]
