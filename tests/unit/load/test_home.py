"""The data folder and the secret in it."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from routebook.config.problems import ConfigError
from routebook.load.home import database_path, ensure_home, find_home, kept_secret
from routebook.observe.clock import SystemDice


def test_a_relative_home_becomes_absolute_and_a_tilde_is_the_users() -> None:
    assert find_home({"ROUTEBOOK_HOME": "data"}) == Path.cwd() / "data"
    assert find_home({"ROUTEBOOK_HOME": "~/book"}) == Path.home() / "book"


def test_the_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "book"
    ensure_home(home)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    ensure_home(home)


def test_a_folder_that_cannot_be_made_is_an_error_that_says_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="set ROUTEBOOK_HOME"):
        ensure_home(tmp_path / "file" / "book")


def test_the_secret_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    first = kept_secret(tmp_path, SystemDice().roll)
    assert kept_secret(tmp_path, SystemDice().roll) == first
    assert len(first.reveal()) == 96
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


@pytest.mark.parametrize("damaged", [b"", b" \n", b"\xff\xfe"])
def test_a_secret_that_is_none_seals_nothing(tmp_path: Path, damaged: bytes) -> None:
    """A full disk or a copy gone wrong leaves such a file: what an empty secret seals anybody opens."""
    (tmp_path / "secret").write_bytes(damaged)
    with pytest.raises(ConfigError, match="put it back from a copy") as told:
        kept_secret(tmp_path, SystemDice().roll)
    assert str(tmp_path / "secret") in str(told.value)
    assert (tmp_path / "secret").read_bytes() == damaged


def test_first_starts_at_once_agree_on_one_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: kept_secret(tmp_path, SystemDice().roll).reveal(), range(16)))
    assert len(found) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_a_relative_database_lies_in_the_data_folder_and_an_absolute_one_where_it_says(tmp_path: Path) -> None:
    assert database_path("sqlite:///routebook.db", tmp_path) == tmp_path / "routebook.db"
    assert database_path("sqlite:////srv/book.db", tmp_path) == Path("/srv/book.db")
