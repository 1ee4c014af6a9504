"""The data folder: where it is, and the secret in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from routebook.config.problems import ConfigError
from routebook.config.secret import Secret


def find_home(environ: Mapping[str, str], flag: Path | None = None) -> Path:
    """The data folder, absolute: flag, then ROUTEBOOK_HOME, then the platform's data folder. Creates nothing."""
    given = flag or (Path(environ["ROUTEBOOK_HOME"]) if environ.get("ROUTEBOOK_HOME") else None)
    if given is None:
        import platformdirs

        given = platformdirs.user_data_path("routebook", appauthor=False)
    return Path(os.path.abspath(given.expanduser()))


def ensure_home(home: Path) -> None:
    """Make the folder, readable by its owner alone. Raises ConfigError where that is not possible."""
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(
            f"the data folder {home} cannot be made ({error.strerror}); set ROUTEBOOK_HOME to a folder that can",
            source="ROUTEBOOK_HOME",
        ) from None


def kept_secret(home: Path, roll: Callable[[int], int]) -> Secret:
    """The secret that encrypts credentials at rest: the file `secret` in the data folder, made (mode 0600) if absent.

    `roll(bits)` gives a random number, as `Dice.roll` does. Raises OSError, and ConfigError for a file without one.
    """
    ensure_home(home)
    path = home / "secret"
    if not path.exists():
        # Written aside and linked into place: of two first starts at once both end up with the same, whole secret.
        fresh = home / f"secret.{roll(64):016x}"
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(f"{roll(384):096x}\n")
            file.flush()
            os.fsync(file.fileno())  # what it has sealed must not outlive it
        try:
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    text = path.read_text("ascii", "replace").strip()
    if not text or not text.isascii():
        raise ConfigError(
            f"the file {path} holds no secret: put it back from a copy; or remove it, and a new one is made, which "
            "opens nothing that the old one sealed"
        )
    return Secret(text)


def database_path(url: str, home: Path) -> Path:
    """The file behind `sqlite:///FILE`, relative ones in the data folder. The URL has been checked before."""
    return home / url.removeprefix("sqlite:///")
