"""The files in deploy/ pass the linters of their kinds, and say the same as the code they start."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from routebook.compose import SETTLE_SECONDS
from routebook.config.settings import Settings
from routebook.edge.server import CLOSING_SECONDS
from routebook.ledger.ship import PATIENCE

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
EXPOSURE_MAX = 20
"""tenths of a point; systemd calls anything up to 20 fine and an unhardened service 96"""
STOP_SECONDS = Settings().server.drain + SETTLE_SECONDS + CLOSING_SECONDS + PATIENCE
"""what a stop may take at worst"""

DOCKERFILE = (DEPLOY / "Dockerfile").read_text("utf-8")
COMPOSE = (DEPLOY / "compose.yaml").read_text("utf-8")
UNIT = (DEPLOY / "routebook.service").read_text("utf-8")


def run(*command: str, text: str | None = None) -> str:
    """What the command said; the test fails if it did not end well."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{command[0]}:\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def tool(name: str) -> str:
    """A program of the environment or of the machine; the test is skipped without it."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed here, so this file was not linted")
    return found


# --- Dockerfile


def instructions() -> Iterator[tuple[str, str]]:
    joined = re.sub(r"\\\n", " ", DOCKERFILE)
    for line in joined.splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, rest = line.partition(" ")
            yield name, rest.strip()


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    run(tool("hadolint"), "-", text=DOCKERFILE)


def test_the_image_installs_with_hashes_and_runs_as_nobody_special() -> None:
    steps = list(instructions())
    installs = [rest for name, rest in steps if name == "RUN" and "pip install" in rest and "-r " in rest]
    assert installs
    assert all("--require-hashes" in rest for rest in installs)
    last_user = [rest for name, rest in steps if name == "USER"][-1]
    assert last_user.isdigit()
    assert int(last_user) > 0
    assert sum(name == "FROM" for name, _ in steps) == 2


def test_the_image_checks_readiness_and_keeps_the_data_folder_on_a_volume() -> None:
    steps = list(instructions())
    health = next(rest for name, rest in steps if name == "HEALTHCHECK")
    assert "/readyz" in health
    volume = next(rest for name, rest in steps if name == "VOLUME")
    assert any(name == "ENV" and f"ROUTEBOOK_HOME={volume}" in rest for name, rest in steps)


def test_what_the_dockerfile_copies_exists_and_is_not_ignored() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    for name, rest in instructions():
        if name == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source}" in ignored, source


# --- compose


def service() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE)["services"]["routebook"]
    return found


def test_yamllint_finds_nothing_in_the_compose_file() -> None:
    pytest.importorskip("yamllint", reason="yamllint is not installed here, so compose.yaml was not linted")
    rules = "{extends: default, rules: {line-length: {max: 120}}}"
    run(sys.executable, "-m", "yamllint", "--strict", "-d", rules, "-", text=COMPOSE)


def test_the_compose_file_is_what_the_specification_allows() -> None:
    parser = pytest.importorskip(
        "compose_spec", reason="compose-spec is not installed here, so compose.yaml was not checked against it"
    )
    parser.PyCompose.from_yaml(COMPOSE).validate()
    with pytest.raises(ValueError, match="restrat"):
        parser.PyCompose.from_yaml(COMPOSE.replace("restart:", "restrat:")).validate()


def test_the_compose_service_keeps_its_data_and_is_not_open_to_the_world() -> None:
    volumes = yaml.safe_load(COMPOSE)["volumes"]
    name, _, place = service()["volumes"][0].partition(":")
    assert name in volumes
    assert f"ROUTEBOOK_HOME={place}" in DOCKERFILE
    assert all(port.startswith("127.0.0.1:") for port in service()["ports"])
    assert service()["read_only"] is True
    assert service()["cap_drop"] == ["ALL"]
    build = service()["build"]
    assert ((DEPLOY / build["context"]).resolve() / build["dockerfile"]).is_file()


# --- systemd


def setting(name: str) -> str:
    found = re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)
    assert len(found) == 1, name
    return str(found[0])


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that exists in place of the one that an operator installs."""
    program = setting("ExecStart").split()[0]
    copy = tmp_path / "routebook.service"
    copy.write_text(UNIT.replace(program, sys.executable), "utf-8")
    return copy


def test_systemd_takes_the_unit(unit: Path) -> None:
    said = run(tool("systemd-analyze"), "verify", "--man=no", str(unit))
    assert unit.name not in said  # an unknown setting is only a warning


def test_systemd_finds_the_unit_well_hardened(unit: Path) -> None:
    run(tool("systemd-analyze"), "security", "--offline=yes", f"--threshold={EXPOSURE_MAX}", str(unit))


def test_the_unit_starts_a_command_that_exists() -> None:
    from routebook.cli.main import app

    _, command = setting("ExecStart").split()
    assert command in app
    assert setting("Type") == "exec"


@pytest.mark.parametrize(
    ("file", "seconds"),
    [("routebook.service", setting("TimeoutStopSec")), ("compose.yaml", service()["stop_grace_period"][:-1])],
)
def test_a_stop_has_time_to_drain_settle_and_ship(file: str, seconds: str) -> None:
    assert int(seconds) > STOP_SECONDS, file
