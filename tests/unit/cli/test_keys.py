"""`routebook keys` on a real data folder."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from routebook.cli.keys import app
from routebook.config.settings import Settings
from routebook.core.people import Key
from routebook.ledger.people import People, default_workspace, hash_of, label_of
from routebook.store.open import open_store
from routebook.store.port import Posting
from routebook.wire.codec import decode_exact


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("ROUTEBOOK_CONFIG", "ROUTEBOOK_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ROUTEBOOK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


class Keys:
    """Runs the command and gives what it printed; the exit code too, where it ended the program."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *tokens: str) -> str:
        command, bound, _ = app.parse_args(list(tokens), exit_on_error=False, print_error=False)
        command(*bound.args, **bound.kwargs)
        self.out, self.err = self._capsys.readouterr()
        return self.out

    def fails(self, code: int, *tokens: str) -> str:
        with pytest.raises(SystemExit) as end:
            self(*tokens)
        out, err = self._capsys.readouterr()
        assert end.value.code == code
        assert out == ""
        assert err.startswith("routebook keys: ")
        assert err.count("\n") == 1
        return err


@pytest.fixture
def keys(home: Path, capsys: pytest.CaptureFixture[str]) -> Keys:
    return Keys(capsys)


def stored(home: Path) -> list[Key]:
    async def read() -> list[Key]:
        store = open_store(Settings(), home)
        try:
            return await store.keys()
        finally:
            await store.close()

    return asyncio.run(read())


def test_create_prints_the_key_alone_and_keeps_only_its_hash(keys: Keys, home: Path) -> None:
    text = keys("create", "--name", "laptop").removesuffix("\n")
    assert text.startswith("sk-rb-v1-")
    assert len(text) == 73
    (key,) = stored(home)
    assert (key.hash, key.name, key.account, key.management) == (hash_of(text), "laptop", "default", False)
    assert key.workspace_id == default_workspace("default")
    assert key.hash in keys.err
    assert not any(text.encode() in file.read_bytes() for file in home.iterdir())


def test_create_takes_limit_reset_end_kind_and_account(keys: Keys, home: Path) -> None:
    keys(
        *("create", "--name", "n", "--limit", "0.1", "--limit-reset", "weekly", "--management", "--account", "acme"),
        *("--expires", "2027-12-31T23:59:59Z"),
    )
    (key,) = stored(home)
    assert (key.limit, key.limit_reset, key.expires_at) == (Decimal("0.1"), "weekly", "2027-12-31T23:59:59Z")
    assert (key.management, key.account) == (True, "acme")


@pytest.mark.parametrize(
    ("flag", "value", "says"),
    [
        ("--limit", "much", "25.50"),
        ("--limit", "-1", "--limit must be an amount of USD, zero or more, such as 25.50, not '-1'"),
        ("--limit", "NaN", "--limit must be"),
        ("--limit-reset", "daily", "--limit-reset daily needs the limit that it resets"),
        ("--expires", "tomorrow", "--expires must be a time in UTC such as 2027-12-31T23:59:59Z, not 'tomorrow'"),
        ("--expires", "2027-12-31T23:59:59+02:00", "UTC"),
        ("--name", " ", "--name"),
    ],
)
def test_a_wrong_value_is_wrong_usage_in_one_line(keys: Keys, home: Path, flag: str, value: str, says: str) -> None:
    rest = () if flag == "--name" else ("--name", "n")
    assert says in keys.fails(2, "create", *rest, f"{flag}={value}")
    assert not (home / "routebook.db").exists()


@pytest.mark.parametrize("which", ["name", "label", "hash", "short hash", "text"])
def test_a_key_is_disabled_enabled_and_deleted_by_any_of_its_names(keys: Keys, home: Path, which: str) -> None:
    text = keys("create", "--name", "laptop").strip()
    keys("create", "--name", "other")
    key = next(key for key in stored(home) if key.name == "laptop")
    called = {"name": key.name, "label": key.label, "hash": key.hash, "short hash": key.hash[:8], "text": text}[which]

    def disabled() -> dict[str, bool]:
        return {key.name: key.disabled for key in stored(home)}

    keys("disable", called)
    assert disabled() == {"laptop": True, "other": False}
    keys("enable", called)
    assert disabled() == {"laptop": False, "other": False}
    keys("delete", called)
    assert disabled() == {"other": False}
    assert text not in keys.err


def test_an_ambiguous_or_unknown_name_changes_nothing(keys: Keys, home: Path) -> None:
    keys("create", "--name", "twin")
    keys("create", "--name", "twin")
    assert "2 keys are called 'twin' now; commands tell them apart by label or hash." in keys.err
    message = keys.fails(1, "delete", "twin")
    assert all(key.hash[:12] in message for key in stored(home))
    assert "keys list" in keys.fails(1, "disable", "nobody")
    assert [key.disabled for key in stored(home)] == [False, False]


def test_list_shows_limits_spend_and_state_for_people(keys: Keys, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    keys("list")
    assert "keys create" in keys.err
    text = keys("create", "--name", "[b]laptop", "--limit", "5.50", "--limit-reset", "daily").strip()
    keys("create", "--name", "old", "--expires", "2020-01-01T00:00:00Z", "--management")
    assert "2020-01-01T00:00:00Z is past, so the key lets nobody in" in keys.err
    keys("create", "--name", "off", "--expires", "2999-01-01T00:00:00Z")
    assert "is past" not in keys.err
    keys("disable", "off")
    _spend(home, hash_of(text), "0.000000125")
    rows = {line.split()[0]: line for line in keys("list").splitlines()}
    for part in ("$5.5 daily", "$0.000000125", "active", label_of(text)):
        assert part in rows["[b]laptop"]
    assert "expired" in rows["old"]
    assert "manages" in rows["old"]
    assert "disabled" in rows["off"]
    assert text not in keys.out


def test_list_shows_every_digit_for_scripts(keys: Keys, home: Path) -> None:
    text = keys("create", "--name", "laptop", "--limit", "5", "--account", "acme").strip()
    _spend(home, hash_of(text), "0.100000000000000000000001")
    (row,) = decode_exact(keys("list", "--json"))
    assert (row["name"], row["hash"], row["account"], row["management"]) == ("laptop", hash_of(text), "acme", False)
    assert row["usage"] == Decimal("0.100000000000000000000001")
    assert row["limit_remaining"] == Decimal("4.899999999999999999999999")


def test_a_store_of_another_program_is_told_in_one_line(keys: Keys, home: Path) -> None:
    home.mkdir()
    (home / "routebook.db").write_bytes(b"this is no database, it is a letter to somebody else. " * 30)
    assert "routebook.db" in keys.fails(1, "list")


def test_a_wrong_configuration_is_told_in_one_line(keys: Keys, tmp_path: Path) -> None:
    (tmp_path / "routebook.toml").write_text("[store]\nurl = 5\n")
    assert "routebook.toml:2" in keys.fails(1, "list", "--config", str(tmp_path / "routebook.toml"))


def test_a_running_process_sees_what_the_command_line_does(home: Path) -> None:
    store, people = open_store(Settings(), home), People()
    command = [sys.executable, "-c", "from routebook.cli.keys import app; app()"]

    async def find(text: str) -> Key | None:
        await people.refresh(store)
        return people.find(text)

    async def run() -> None:
        made = await asyncio.to_thread(
            subprocess.run, [*command, "create", "--name", "n"], capture_output=True, text=True, check=True, timeout=60
        )
        text = made.stdout.removesuffix("\n")
        assert await find(text) is not None
        await asyncio.to_thread(subprocess.run, [*command, "disable", "n"], check=True, timeout=60, capture_output=True)
        key = await find(text)
        assert key is not None
        assert key.disabled
        await store.close()

    asyncio.run(run())


def _spend(home: Path, key_hash: str, usage: str) -> None:
    async def ship() -> None:
        store = open_store(Settings(), home)
        await store.ship("aaa", 1, [], [Posting(key_hash, "default", "2026-03-01", Decimal(usage))])
        await store.close()

    asyncio.run(ship())
