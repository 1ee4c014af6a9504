"""Google accounts as files have them, and what an operator is told of one that is of no use."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from routebook.config.problems import ConfigError
from routebook.load.catalog import Stock, load_stock
from routebook.load.google import METADATA, account, with_project
from routebook.load.settings import load_settings
from tests.google_accounts import KEY_PEM, key_file

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def written(folder: Path, **members: Any) -> str:
    return key_file(folder / "key.json", "https://token.test/token", **members)


def test_a_service_accounts_file_is_read_and_shows_no_key(tmp_path: Path) -> None:
    found = account(written(tmp_path), {})
    assert (found.kind, found.url, found.name) == ("service_account", "https://token.test/token", "sa@p.test")
    assert (found.key_id, found.project) == ("kid-1", "project-of-the-file")
    assert "PRIVATE" not in repr(found)


def test_a_users_own_credentials_are_read(tmp_path: Path) -> None:
    path = tmp_path / "adc.json"
    said = {"type": "authorized_user", "client_id": "c", "client_secret": "hush", "refresh_token": "hush-too"}
    path.write_text(json.dumps(said))
    found = account(str(path), {})
    assert (found.kind, found.url) == ("authorized_user", "https://oauth2.googleapis.com/token")
    assert "hush" not in repr(found)


def test_the_metadata_server_is_where_google_has_it_or_where_the_environment_says() -> None:
    path = "/computeMetadata/v1/instance/service-accounts/default/token"
    assert account(METADATA, {}).url == f"http://metadata.google.internal{path}"
    assert account(METADATA, {"GCE_METADATA_HOST": "127.0.0.1:9"}).url == f"http://127.0.0.1:9{path}"


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"private_key": None}, "has no `private_key`: download the key file anew"),
        ({"private_key": "hush-hush"}, "is no RSA key in PEM form"),
        ({"private_key": KEY_PEM[:80]}, "is no RSA key in PEM form"),
        ({"client_email": ""}, "has no `client_email`"),
        ({"type": "external_account"}, "'external_account' credentials are not supported; use the key file"),
        ({"type": None}, "it has no `type`"),
    ],
)
def test_a_file_of_no_use_is_told_with_what_to_do_and_nothing_it_holds(
    tmp_path: Path, members: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        account(written(tmp_path, **members), {})
    assert told in str(caught.value)
    assert "hush" not in str(caught.value)
    assert KEY_PEM[40:60] not in str(caught.value)


def test_no_file_and_no_json_are_told_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        account(str(tmp_path / "none.json"), {})
    (tmp_path / "x").write_bytes(b"\xff[1]")
    with pytest.raises(ConfigError, match="is not JSON"):
        account(str(tmp_path / "x"), {})


def test_the_files_project_counts_where_the_environment_names_none(tmp_path: Path) -> None:
    name = "GOOGLE_APPLICATION_CREDENTIALS"
    environ = {name: written(tmp_path)}
    assert with_project(environ)["GOOGLE_CLOUD_PROJECT"] == "project-of-the-file"
    assert with_project({**environ, "GOOGLE_VERTEX_PROJECT": "p"}) == {**environ, "GOOGLE_VERTEX_PROJECT": "p"}
    assert with_project({name: "/none"}) == {name: "/none"}


# --- in the catalogue -------------------------------------------------------------------------------------------------


def stock(environ: dict[str, str], folder: Path, text: str = "") -> Stock:
    path = folder / "routebook.toml"
    path.write_text("[catalog]\nprice_list = false\n" + text, "utf-8")
    return load_stock(load_settings(path, environ), environ, NOW)


def test_vertex_is_simply_there_where_a_key_file_is_named(tmp_path: Path) -> None:
    found = stock({"GOOGLE_APPLICATION_CREDENTIALS": written(tmp_path)}, tmp_path)
    place = "https://aiplatform.googleapis.com/v1/projects/project-of-the-file/locations/global"
    assert found.catalog.providers["google-vertex"].base_url == place
    assert (list(found.accounts), dict(found.keys), found.notes) == (["google-vertex"], {}, ())


def test_a_token_that_is_given_wins_over_a_file(tmp_path: Path) -> None:
    environ = {"GOOGLE_APPLICATION_CREDENTIALS": written(tmp_path), "GOOGLE_VERTEX_ACCESS_TOKEN": "ya29.x"}
    found = stock(environ, tmp_path)
    assert (dict(found.accounts), found.keys["google-vertex"].reveal()) == ({}, "ya29.x")


def test_a_file_of_the_environment_that_is_none_is_a_note_and_nothing_else_is_harmed(tmp_path: Path) -> None:
    environ = {
        "GOOGLE_APPLICATION_CREDENTIALS": "/none.json", "GOOGLE_CLOUD_PROJECT": "p", "OPENAI_API_KEY": "sk-x",
    }  # fmt: skip
    found = stock(environ, tmp_path)
    assert "openai" in found.keys
    assert any("GOOGLE_APPLICATION_CREDENTIALS: /none.json cannot be read" in note for note in found.notes)


def vertex(more: str) -> str:
    return (
        '[[providers]]\nslug = "mine"\ndialect = "vertex"\n'
        f'base_url = "https://v.test/v1/projects/p/locations/l"\n{more}\n'
    )


def test_a_configured_provider_names_its_own_account(tmp_path: Path) -> None:
    found = stock({}, tmp_path, vertex(f'google_credentials = "{written(tmp_path)}"'))
    assert found.accounts["mine"].name == "sa@p.test"
    assert stock({}, tmp_path, vertex('google_credentials = "metadata"')).accounts["mine"].kind == "metadata"


def test_a_configured_file_that_is_none_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"routebook.toml:7: .*/none.json cannot be read"):
        stock({}, tmp_path, vertex('google_credentials = "/none.json"'))
    with pytest.raises(ConfigError, match="google_credentials or an api_key, not both"):
        stock({}, tmp_path, vertex('google_credentials = "metadata"\napi_key = "x"'))
