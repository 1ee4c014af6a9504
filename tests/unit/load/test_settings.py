"""Flags over environment over file over defaults; and errors that name their place."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from routebook.config.problems import ConfigError
from routebook.load.settings import Flags, Loaded, load_settings

KEY = "k" * 32


def written(folder: Path, text: str) -> Path:
    path = folder / "routebook.toml"
    path.write_text(text, "utf-8")
    return path


def refused(path: Path | None, environ: dict[str, str] | None = None, flags: Flags = Flags()) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_settings(path, environ or {}, flags)
    return caught.value


def test_without_anything_the_defaults_hold() -> None:
    loaded = load_settings(None, {})
    assert (loaded.settings.server.host, loaded.settings.server.port) == ("127.0.0.1", 8080)
    assert loaded.home.is_absolute()
    assert loaded.home.name == "routebook"
    assert loaded.home != Path.cwd() / "routebook", "never in the current folder"
    assert loaded.admin_key_hash is None
    assert loaded.secret is None


def test_a_file_that_an_editor_began_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "routebook.toml"
    path.write_bytes(b"\xef\xbb\xbf[server]\r\nport = 81\r\n")
    assert load_settings(path, {}).settings.server.port == 81


def test_flags_win_over_environment_over_file(tmp_path: Path) -> None:
    path = written(tmp_path, '[server]\nhost = "0.0.0.0"\nport = 1\n[store]\nurl = "sqlite:///file.db"')
    environ = {"ROUTEBOOK_PORT": "2", "ROUTEBOOK_DATABASE_URL": "sqlite:///env.db"}
    file = load_settings(path, {}).settings
    env = load_settings(path, environ).settings
    flag = load_settings(path, environ, Flags(port=3, database_url="sqlite:///flag.db")).settings
    assert [s.server.port for s in (file, env, flag)] == [1, 2, 3]
    assert [s.store.url for s in (file, env, flag)] == [f"sqlite:///{name}.db" for name in ("file", "env", "flag")]
    assert {s.server.host for s in (file, env, flag)} == {"0.0.0.0"}


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    path = written(tmp_path, "[server]\nport = 9")
    loaded = load_settings(None, {"ROUTEBOOK_CONFIG": str(path)})
    assert loaded.settings.server.port == 9
    assert loaded.file == path


def test_an_empty_variable_counts_as_unset() -> None:
    loaded = load_settings(None, {"ROUTEBOOK_PORT": "", "ROUTEBOOK_ADMIN_KEY": "", "ROUTEBOOK_CONFIG": ""})
    assert loaded.settings.server.port == 8080
    assert loaded.admin_key_hash is None


def test_the_data_folder_comes_from_flag_then_environment(tmp_path: Path) -> None:
    environ = {"ROUTEBOOK_HOME": str(tmp_path / "env")}
    assert load_settings(None, environ).home == tmp_path / "env"
    assert load_settings(None, environ, Flags(home=tmp_path / "flag")).home == tmp_path / "flag"
    assert not (tmp_path / "env").exists(), "loading makes nothing"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[server]\n\n# here\nprot = 1\n", 4, "server.prot: unknown key"),
        ("[server]\nport = 'x'\n", 2, "server.port: must be a whole number"),
        ("\n[[providers]]\nname = 'x'\n", 2, "providers[0]: `slug` is missing"),
        ('\n\n[[models]]\nslug = "a/b"\n', 3, "models[0]: `endpoints` is missing"),
        ("[server]\nport = \n", 2, "not valid TOML"),
        ("[server\n", 1, "not valid TOML"),
        ('[server]\nhost = "open\n', 2, "not valid TOML"),
        ("[accounting]\n\nmarkup = 0.1", 3, "write the number in quotes"),
        ('[store]\nurl = "postgresql://h/db"', 2, "SQLite only"),
    ],
)
def test_an_error_names_file_line_and_key(tmp_path: Path, text: str, line: int, words: str) -> None:
    path = written(tmp_path, text)
    error = refused(path)
    assert error.line == line
    assert str(error).startswith(f"{path}:{line}: ")
    assert words in str(error)
    assert "\n" not in str(error)


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    assert "cannot be read" in str(refused(tmp_path / "absent.toml"))
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    assert "not UTF-8" in str(refused(tmp_path / "bytes.toml"))


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"ROUTEBOOK_PORT": "eighty"}, "ROUTEBOOK_PORT: a port is"),
        ({"ROUTEBOOK_PORT": "70000"}, "ROUTEBOOK_PORT: a port is"),
        ({"ROUTEBOOK_DATABASE_URL": "postgresql://u:hunter2@h/db"}, "ROUTEBOOK_DATABASE_URL: this version stores in"),
        ({"ROUTEBOOK_ADMIN_KEY": "hunter2" * 4}, "ROUTEBOOK_ADMIN_KEY: must have 32 characters or more (it has 28)"),
    ],
)  # fmt: skip
def test_a_wrong_variable_is_named_without_its_value(environ: dict[str, str], words: str) -> None:
    error = str(refused(None, environ))
    assert words in error
    assert "hunter2" not in error


def test_a_wrong_flag_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "[server]\nport = 1")
    assert str(refused(path, {}, Flags(workers=400))).startswith("--workers: 1 to 64 workers")


def test_of_the_admin_key_only_the_hash_is_kept() -> None:
    loaded = load_settings(None, {"ROUTEBOOK_ADMIN_KEY": KEY})
    assert loaded.admin_key_hash == sha256(KEY.encode()).hexdigest()
    assert KEY not in repr(loaded)


def everything(tmp_path: Path) -> Loaded:
    path = written(
        tmp_path,
        '[[providers]]\nslug = "acme"\ndialect = "openai_chat"\nbase_url = "http://a/v1"\napi_key = "sk-literal"',
    )
    return load_settings(path, {"ROUTEBOOK_SECRET": "s3cret-at-rest", "ROUTEBOOK_ADMIN_KEY": KEY})


def test_secrets_are_kept_apart_from_the_settings(tmp_path: Path) -> None:
    loaded = everything(tmp_path)
    assert loaded.settings.providers[0].api_key is None
    assert loaded.provider_keys["acme"].reveal() == "sk-literal"
    assert loaded.secret is not None
    assert loaded.secret.reveal() == "s3cret-at-rest"
    for hidden in ("sk-literal", "s3cret-at-rest", KEY):
        assert hidden not in repr(loaded)


def test_the_file_has_a_day(tmp_path: Path) -> None:
    assert len(everything(tmp_path).dated) == len("2026-11-24")


def test_what_has_no_effect_is_noted() -> None:
    loaded = load_settings(None, {"ROUTEBOOK_VALKEY_URL": "x", "ROUTEBOOK_PROT": "1", "ROUTEBOOK_API_KEY": "client's"})
    assert any("does not use Valkey" in note for note in loaded.notes)
    assert any("did you mean ROUTEBOOK_PORT?" in note for note in loaded.notes)
    assert len(loaded.notes) == 2
