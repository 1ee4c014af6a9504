"""Puts foreign SDKs into places of their own, once: they must not share the project's environment.

Each is installed under the environment that runs the tests, pinned by hash, and again when its pins change. Tests skip,
with the reason, where that is not possible.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
LATE = {"tokens_prompt", "tokens_completion"}
"""Fields of a record that may change after the answer, when the reference tokenizer has counted."""
PATIENCE = 300
"""seconds for an installation"""


def python_sdk(name: str = "openrouter") -> Path:
    """A Python interpreter that has that SDK and what it needs."""
    pins = PROJECT / "requirements" / f"sdk-{name}.txt"

    def install(place: Path) -> None:
        _run(sys.executable, "-m", "venv", str(place))
        pip = (str(place / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
        _run(*pip, "--no-input", "--require-hashes", "--requirement", str(pins))

    return _place(f"sdk-{name}", pins, install) / "bin" / "python"


def node_sdk(name: str = "node") -> Path:
    """A folder from which node resolves what the folder of that name pins."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not on this machine, so clients in JavaScript cannot be tried")
    pins = HERE / name / "package-lock.json"

    def install(place: Path) -> None:
        place.mkdir(parents=True)
        for file in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name / file, place / file)
        _run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent", cwd=place)

    return _place(f"sdk-{name}", pins, install)


def run_node(driver: str, *arguments: str) -> str:
    """What that driver of `node/` printed; it ends badly if one of its calls does not work."""
    folder = node_sdk()
    # A module's imports are looked up from where its file is.
    script = shutil.copy(HERE / "node" / driver, folder / driver)
    done = subprocess.run(
        ["node", script, *arguments], capture_output=True, text=True, timeout=60, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def _place(name: str, pins: Path, install: Callable[[Path], None]) -> Path:
    place = Path(sys.prefix) / name
    wanted = hashlib.sha256(pins.read_bytes()).hexdigest()
    done = place / "installed"
    try:
        with _alone(place.with_name(f"{name}.lock")):
            if not done.exists() or done.read_text() != wanted:
                shutil.rmtree(place, ignore_errors=True)
                install(place)
                done.write_text(wanted)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"{name} cannot be installed from {pins.name}: {error}")
    return place


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Of several test processes one installs and the others wait."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


class Failed(subprocess.SubprocessError):
    """A command that ended badly, with the end of what it said."""


def _run(*command: str, cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode != 0:
        raise Failed(f"{command[0]} ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-400:]}")
