"""What `doctor` finds, and what it says about it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import pytest

from routebook.cli.doctor import Finding, doctor, examine
from routebook.daybook.book import FileDaybook
from tests.cli.child import routebook


def found(home: Path, config: Path | None = None, env: Mapping[str, str] | None = None) -> dict[str, Finding]:
    return {finding.what: finding for finding in examine(config, {"ROUTEBOOK_HOME": str(home), **(env or {})})}


def test_a_fresh_machine_is_good_and_nothing_is_made(tmp_path: Path) -> None:
    findings = found(tmp_path / "new")
    assert not [finding for finding in findings.values() if finding.state == "bad"]
    assert "made at the first start" in findings["data folder"].told
    assert "made at the first start" in findings["store"].told
    assert not (tmp_path / "new").exists()


def test_a_variable_is_named_and_its_value_is_not(tmp_path: Path) -> None:
    findings = found(tmp_path, env={"OPENAI_API_KEY": "sk-very-secret", "OLLAMA_HOST": "127.0.0.1:11434"})
    assert "OPENAI_API_KEY" in findings["providers"].told
    assert "openai" in findings["providers"].told
    assert not [finding for finding in findings.values() if "very-secret" in finding.told + finding.todo]


def test_no_provider_is_a_note_with_the_way_out(tmp_path: Path) -> None:
    finding = found(tmp_path)["providers"]
    assert finding.state == "note"
    assert "ANTHROPIC_API_KEY" in finding.todo


def test_a_wrong_line_of_the_configuration_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('[[models]]\nslug = "a/b"\nendpoints = []\n[store]\nurl = 3\n')
    finding = found(tmp_path, file)["configuration"]
    assert finding.state == "bad"
    assert f"{file}:5" in finding.told


def test_a_folder_open_to_others_gets_its_chmod(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    finding = found(tmp_path)["data folder"]
    assert (finding.state, finding.todo) == ("note", f"chmod 700 {tmp_path}")
    tmp_path.chmod(0o700)
    assert found(tmp_path)["data folder"].state == "good"


def test_a_file_in_the_folder_s_place_is_bad(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("not a folder")
    assert found(tmp_path / "home")["data folder"].state == "bad"


def test_the_store_s_schema_is_compared_and_not_changed(tmp_path: Path) -> None:
    assert routebook(tmp_path, "db", "upgrade").returncode == 0
    assert found(tmp_path)["store"].state == "good"
    for schema, state, todo in ((99, "bad", "Upgrade Routebook."), (0, "note", "routebook db upgrade")):
        with sqlite3.connect(tmp_path / "routebook.db") as db:
            db.execute(f"PRAGMA user_version = {schema}")
        db.close()
        finding = found(tmp_path)["store"]
        assert (finding.state, finding.todo) == (state, todo)
        assert str(schema) in finding.told


def test_a_store_that_is_no_database_is_bad(tmp_path: Path) -> None:
    (tmp_path / "routebook.db").write_bytes(b"this is a letter, not a database" * 100)
    assert found(tmp_path)["store"].state == "bad"


def test_whoever_holds_the_daybook_is_named(tmp_path: Path) -> None:
    async def look() -> Finding:
        book = FileDaybook(tmp_path)
        try:
            return found(tmp_path)["gateway"]
        finally:
            await book.aclose()

    finding = asyncio.run(look())
    assert finding.state == "good"
    assert "holds the daybook" in finding.told
    assert "does not run" in found(tmp_path, env={"ROUTEBOOK_PORT": "0"})["gateway"].told


def test_a_bad_finding_makes_the_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROUTEBOOK_HOME", str(tmp_path))
    monkeypatch.setenv("ROUTEBOOK_PORT", "0")
    assert doctor() == 0
    (tmp_path / "routebook.db").write_bytes(b"this is a letter, not a database" * 100)
    assert doctor() == 1
    out, err = capsys.readouterr()
    assert "FAIL  store" in out
    assert "1 of " in err
