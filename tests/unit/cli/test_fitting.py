"""A table on a terminal that is too narrow for it: nothing is cut, and half an amount of money never stands there."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console, RenderableType
from rich.padding import Padding

from routebook.cli.fitting import Sheet
from routebook.cli.terminal import UNBOUND, Terminal

CLI = Path(__file__).parents[3] / "src" / "routebook" / "cli"
CALL = ("11-30 20:21:34", "gen-1796070094-zyurHbol0z3q8i000005", "acme/large", "done", "0.0000051975")
TITLES = ("created", "id", "model", "state", "cost")
LONG = "h" * 200


def sheet(*rows: tuple[str, ...], titles: tuple[str, ...] = TITLES, firm: tuple[str, ...] = ("id", "cost")) -> Sheet:
    made = Sheet(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in titles:
        made.add_column(title, no_wrap=title in firm, justify="right" if title == "cost" else "left", overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def printed(what: RenderableType, width: int) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width).print(what)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_where_there_is_room_it_is_a_table() -> None:
    assert printed(sheet(CALL), 100) == [
        "created         id                                   model       state          cost",
        "11-30 20:21:34  gen-1796070094-zyurHbol0z3q8i000005  acme/large  done   0.0000051975",
    ]


def test_where_there_is_none_each_row_is_a_paragraph_with_the_titles() -> None:
    assert (
        printed(sheet(CALL, CALL), 60)
        == [
            "11-30 20:21:34  id gen-1796070094-zyurHbol0z3q8i000005",
            "  model acme/large  state done  cost 0.0000051975",
        ]
        * 2
    )


@pytest.mark.parametrize("width", range(4, 100))
def test_every_cell_is_there_at_every_width(width: int) -> None:
    shown = "".join("".join(printed(sheet(CALL, ("", LONG, "b c", "-", "-0.5")), width)).split())
    for cell in (*CALL, LONG, "bc", "-0.5"):
        assert cell.replace(" ", "") in shown


@pytest.mark.parametrize("width", range(4, 100))
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    assert max(map(len, printed(sheet(CALL, ("", LONG, "b c", "-", "-0.5")), width))) <= width


def test_columns_of_words_give_way_before_the_others() -> None:
    made = sheet(("beta", "drawn by price among 2", "0.3"), titles=("endpoint", "why", "cost"))
    assert printed(made, 28) == [
        "endpoint  why           cost",
        "beta      drawn by       0.3",
        "          price among",
        "          2",
    ]


def test_a_column_without_any_text_takes_nothing_from_the_others() -> None:
    made = sheet(("SmolLM2 (embedded)", "200", ""), titles=("provider", "status", ""))
    assert printed(Padding(made, (0, 0, 0, 2), expand=False), 60) == [
        "  provider            status",
        "  SmolLM2 (embedded)  200",
    ]


def test_a_pipe_has_no_width_and_a_table_in_it_is_as_wide_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().print(sheet((*CALL[:2], LONG, *CALL[3:])))
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 2
    assert LONG in out
    assert len(LONG) > UNBOUND


def test_no_command_makes_tables_that_are_cut() -> None:
    makers = {path.name for path in CLI.glob("*.py") if re.search(r"\bimport .*\bTable\b", path.read_text("utf-8"))}
    assert makers == {"fitting.py"}
