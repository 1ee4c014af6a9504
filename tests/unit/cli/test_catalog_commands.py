"""`routebook models` and `routebook config check`, as processes: what they print and how they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

GOOD = """
[[providers]]
slug = "acme"
dialect = "openai_chat"
base_url = "http://127.0.0.1:9001/v1"
api_key = "sk-literal-secret"

[[models]]
slug = "acme/large"
context_length = 131072
[[models.endpoints]]
provider = "acme"
upstream_model = "large-2026-01"
[models.endpoints.pricing]
prompt = "0.00000015"
completion = "0"
"""


def run(module: str, *args: str, home: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    code = f"from routebook.cli.{module} import app; app()"
    known = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-c", code, *args],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**known, "ROUTEBOOK_HOME": str(home), **environ},
    )


def written(folder: Path, text: str = GOOD) -> str:
    path = folder / "routebook.toml"
    path.write_text(text, "utf-8")
    return str(path)


def test_models_are_a_table_with_prices_per_million(tmp_path: Path) -> None:
    done = run("models", "--config", written(tmp_path), home=tmp_path / "home")
    assert done.returncode == 0
    assert done.stdout.splitlines()[1].split() == ["acme/large", "acme", "0.15", "free", "131,072"]


def test_models_as_json_are_the_apis_models(tmp_path: Path) -> None:
    done = run("models", "--json", home=tmp_path / "home", ROUTEBOOK_CONFIG=written(tmp_path))
    (model,) = json.loads(done.stdout)
    assert model["id"] == "acme/large"
    assert model["pricing"] == {"prompt": "0.00000015", "completion": "0"}


def test_without_any_provider_the_command_says_how_to_get_one(tmp_path: Path) -> None:
    done = run("models", home=tmp_path / "home")
    assert done.returncode == 0
    assert done.stdout == ""
    assert "OPENAI_API_KEY" in done.stderr


def test_a_good_file_is_shown_with_what_it_serves_and_without_its_secret(tmp_path: Path) -> None:
    path = written(tmp_path)
    done = run("config", "check", path, home=tmp_path / "home")
    assert done.returncode == 0
    assert done.stdout.startswith(f"{path}: good\n")
    assert "acme: openai_chat at http://127.0.0.1:9001/v1, with credential" in done.stdout
    assert "acme/large" in done.stdout
    assert "sk-literal-secret" not in done.stdout + done.stderr
    assert not (tmp_path / "home").exists(), "checking makes nothing"


def test_a_bad_file_ends_with_one_and_one_line_that_names_the_line(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD.replace('"0.00000015"', "0.00000015"))
    done = run("config", "check", path, home=tmp_path / "home")
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"routebook config check: {path}:15: models[0].endpoints[0].pricing.prompt: ")
    assert "write the number in quotes" in line


def test_without_a_file_the_one_of_the_environment_is_checked(tmp_path: Path) -> None:
    path = written(tmp_path)
    done = run("config", "check", home=tmp_path / "home", ROUTEBOOK_CONFIG=path)
    assert done.returncode == 0
    assert done.stdout.startswith(f"{path}: good\n")
    neither = run("config", "check", home=tmp_path / "home")
    assert (neither.returncode, neither.stdout) == (2, "")
    assert "FILE is missing, and ROUTEBOOK_CONFIG names none" in neither.stderr


def test_the_address_is_shown_as_it_would_be_served(tmp_path: Path) -> None:
    path = written(tmp_path, f'[server]\nunix_socket = "/run/x.sock"\nworkers = 2\n{GOOD}')
    done = run("config", "check", path, home=tmp_path / "home")
    assert "server     the UNIX socket /run/x.sock, 2 workers, durability process\n" in done.stdout


def test_files_that_are_no_certificate_do_not_hold(tmp_path: Path) -> None:
    path = written(tmp_path, f'[server]\ntls_cert = "{tmp_path}/absent.pem"\n{GOOD}')
    done = run("config", "check", path, home=tmp_path / "home")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{path}:2: server.tls_cert: no certificate and key for TLS in there: No such file" in done.stderr
