"""The command tree: help with an example everywhere, exit codes, short errors, nothing heavy before it is needed."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cyclopts
import pytest
from rich.console import Console

from routebook.cli.main import app, main, short_errors
from routebook.config.problems import ConfigError
from routebook.core.errors import Unavailable
from tests.cli.child import environment, routebook

CONTRACT = [
    "serve",
    "demo",
    "keys create",
    "keys list",
    "keys disable",
    "keys delete",
    "generation show",
    "generation list",
    "ledger verify",
    "models",
    "config check",
    "db upgrade",
    "doctor",
]
"""The commands that users rely on."""


def commands(tree: cyclopts.App = app, above: str = "") -> Iterator[str]:
    for name in tree:
        if not name.startswith("-"):
            full = f"{above} {name}".strip()
            yield full
            yield from commands(tree[name], full)


def test_every_promised_command_is_there() -> None:
    assert set(CONTRACT) <= set(commands())


@pytest.mark.parametrize("command", ["", *commands()])
def test_help_has_an_example_and_ends_well(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([*command.split(), "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert end.value.code == 0
    assert "Example: `" in told
    example = told.partition("Example: `")[2].partition("`")[0]
    assert f"routebook {command}".strip() in example


@pytest.mark.parametrize(
    "line",
    ["bogus", "serve --prot 80", "serve --port eighty", "keys create", "generation show", "config check", "db down",
     "demo extra", "serve --port 70000", "route explain --model lab/one --sort beauty"],
)  # fmt: skip
def test_wrong_usage_ends_with_2_and_says_what_to_do(
    line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ROUTEBOOK_HOME", str(tmp_path))
    with pytest.raises(SystemExit) as end:
        main(line.split())
    out, err = capsys.readouterr()
    assert end.value.code == 2
    assert out == ""
    assert err.startswith("routebook")
    assert 1 <= err.count("\n") <= 2


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("keys create", "--name is missing"),
        ("generation show", "ID is missing"),
        ("ledger forfeit", "DAYBOOK is missing"),
        ("keys disable", "WHICH is missing"),
        ("ledger export --output", "--output needs a value"),
        ("serve --port", "--port needs a value"),
    ],
)
def test_what_is_missing_is_called_so(line: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(line.split())
    command = line.partition(" --")[0]
    assert capsys.readouterr().err == f"routebook {command}: {told}\nTry: routebook {command} --help\n"


def helped(command: str) -> str:
    """Its help on a terminal of 500 columns."""
    file = io.StringIO()
    app([*command.split(), "--help"], console=Console(file=file, width=500), exit_on_error=False)
    return file.getvalue()


def test_the_names_of_tables_in_the_help_are_no_markup() -> None:
    assert "[routing], [[models]] and [[providers]]" in helped("route replay")


@pytest.mark.parametrize("command", [*commands()])
def test_help_is_broken_where_the_terminal_ends_and_says_nothing_idle(command: str) -> None:
    told = helped(command)
    assert "[default: False]" not in told
    paragraphs = told.partition("╭")[0].strip().split("\n\n")
    assert [paragraph for paragraph in paragraphs if "\n" in paragraph.strip()] == []


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("routebook 0.")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Unavailable("The store is away; try again."), "routebook: The store is away; try again.\n"),
        (ConfigError("must be a number", file="a.toml", line=3), "routebook: a.toml:3: must be a number\n"),
        (PermissionError(13, "Permission denied", "/a/b"), "routebook: Permission denied: /a/b\n"),
    ],
)
def test_a_known_error_is_one_line(error: Exception, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, short_errors():
        raise error
    assert end.value.code == 1
    assert capsys.readouterr().err == told


def test_an_unexpected_error_names_the_way_to_its_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit) as end, short_errors():
        raise ZeroDivisionError("by zero")
    assert end.value.code == 1
    assert capsys.readouterr().err == (
        "routebook: unexpected ZeroDivisionError: by zero\nSet ROUTEBOOK_DEBUG=1 for the traceback.\n"
    )
    monkeypatch.setenv("ROUTEBOOK_DEBUG", "1")
    with pytest.raises(ZeroDivisionError), short_errors():
        raise ZeroDivisionError("by zero")


def test_ctrl_c_ends_a_command_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, short_errors():
        raise KeyboardInterrupt
    assert end.value.code == 130
    assert capsys.readouterr() == ("", "")


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    """Measured 2026-11-24 on two idle cores: 0.2 s for `--help`, of which the command library is half."""
    heavy = "asyncio uvloop uvicorn starlette httpx2 httptools genai_prices sqlite3 msgspec prometheus_client".split()
    code = "import sys; from routebook.cli import main; print([n for n in sys.argv[1:] if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code, *heavy], env=environment(tmp_path), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_reader_that_has_read_enough_causes_no_traceback(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "routebook", "--help"],
        env=environment(tmp_path),
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_configuration_that_does_not_hold_stops_every_command_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "routebook.toml"
    file.write_text("[server]\nprot = 80\n")
    for command in (["serve"], ["models"], ["db", "upgrade"], ["ledger", "verify"], ["keys", "list"]):
        done = routebook(tmp_path, *command, "--config", str(file))
        assert done.returncode == 1, command
        assert f"{file}:2" in done.stderr, command
        assert "Traceback" not in done.stderr
        assert done.stderr.count("\n") <= 2


def test_the_schema_is_upgraded_once(tmp_path: Path) -> None:
    first, second = (routebook(tmp_path, "db", "upgrade") for _ in range(2))
    assert first.returncode == second.returncode == 0
    assert first.stdout.startswith(f"{tmp_path}/routebook.db made with schema ")
    assert "already; nothing to do" in second.stdout


def test_ctrl_c_before_everything_is_loaded_ends_it_without_a_traceback() -> None:
    """The signal comes where the loading of the commands begins."""
    code = (
        "import os, signal, sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'cyclopts':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "from routebook.__main__ import run\n"
        "run()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
