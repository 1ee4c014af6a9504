"""Settings from flags, environment and file, in that order, over the defaults; and the secrets, kept apart from them.

Variables: ROUTEBOOK_CONFIG (file), ROUTEBOOK_DATABASE_URL, ROUTEBOOK_HOST, ROUTEBOOK_PORT, ROUTEBOOK_HOME,
ROUTEBOOK_ADMIN_KEY, ROUTEBOOK_SECRET; an empty one counts as unset. ROUTEBOOK_VALKEY_URL is known, but this version has
no use for it and says so in `Loaded.notes`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from routebook.config.lines import key_lines
from routebook.config.problems import ConfigError, KeyPath
from routebook.config.reading import check_settings, parse_settings
from routebook.config.secret import Secret
from routebook.config.settings import Settings
from routebook.load.home import find_home

__all__ = ["ADMIN_KEY_MIN", "VARIABLES", "ConfigError", "Flags", "Loaded", "load_settings"]

VARIABLES = (
    "ROUTEBOOK_CONFIG",
    "ROUTEBOOK_DATABASE_URL",
    "ROUTEBOOK_VALKEY_URL",
    "ROUTEBOOK_HOST",
    "ROUTEBOOK_PORT",
    "ROUTEBOOK_HOME",
    "ROUTEBOOK_ADMIN_KEY",
    "ROUTEBOOK_SECRET",
)
_CLIENT_VARIABLES = ("ROUTEBOOK_API_KEY", "ROUTEBOOK_BASE_URL")

ADMIN_KEY_MIN = 32


class Flags(msgspec.Struct, frozen=True):
    """What the command line said; None = nothing."""

    host: str | None = None
    port: int | None = None
    workers: int | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    unix_socket: str | None = None
    database_url: str | None = None
    home: Path | None = None


class Loaded(msgspec.Struct, frozen=True):
    """Everything that was configured. `repr` shows no secret."""

    settings: Settings
    """without any credential: `api_key` of every provider is None here"""
    home: Path
    """the data folder, absolute; not made yet"""
    provider_keys: Mapping[str, Secret]
    """by slug: the `api_key` of configured providers. Those from the environment come with the catalogue"""
    admin_key_hash: str | None = None
    """sha-256 hex of ROUTEBOOK_ADMIN_KEY"""
    secret: Secret | None = None
    """ROUTEBOOK_SECRET; None = the one in the data folder counts"""
    file: Path | None = None
    dated: str = ""
    """day the file was last changed, ISO, UTC"""
    lines: Mapping[KeyPath, int] = {}
    """line of every key of the file"""
    notes: tuple[str, ...] = ()
    """things to tell the operator that are no errors"""

    def located(self, error: ConfigError) -> ConfigError:
        """The error with the file and line it is about."""
        return error if self.file is None or error.source else error.located(str(self.file), self.lines)


def load_settings(config_file: Path | None, environ: Mapping[str, str], flags: Flags = Flags()) -> Loaded:
    """Everything configured. Raises ConfigError naming file and line, variable or flag."""
    env = {name: environ[name] for name in VARIABLES if environ.get(name)}
    path = config_file or (Path(env["ROUTEBOOK_CONFIG"]).expanduser() if "ROUTEBOOK_CONFIG" in env else None)
    settings, lines, dated = _from_file(path) if path is not None else (Settings(), {}, "")
    settings = _over(settings, _environment(env))
    settings = _over(settings, _flags(flags))
    keys = {p.slug: Secret(p.api_key) for p in settings.providers if p.api_key}
    bare = [msgspec.structs.replace(provider, api_key=None) for provider in settings.providers]
    return Loaded(
        settings=msgspec.structs.replace(settings, providers=bare),
        home=find_home(environ, flags.home),
        provider_keys=keys,
        admin_key_hash=_admin_key_hash(env.get("ROUTEBOOK_ADMIN_KEY")),
        secret=Secret(env["ROUTEBOOK_SECRET"]) if "ROUTEBOOK_SECRET" in env else None,
        file=path,
        dated=dated,
        lines=lines,
        notes=_notes(environ),
    )


def _from_file(path: Path) -> tuple[Settings, dict[KeyPath, int], str]:
    name = str(path)
    try:
        text = path.read_text("utf-8-sig")  # some editors begin a file with a mark
        dated = datetime.fromtimestamp(path.stat().st_mtime, UTC).date().isoformat()
    except OSError as error:
        raise ConfigError(f"the file cannot be read: {error.strerror}", file=name) from None
    except UnicodeDecodeError:
        raise ConfigError("the file is not UTF-8 text", file=name) from None
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _not_toml(str(error), name, text) from None
    lines = key_lines(text)
    try:
        return parse_settings(table), lines, dated
    except ConfigError as error:
        raise error.located(name, lines) from None


def _not_toml(message: str, file: str, text: str) -> ConfigError:
    """tomllib says "what (at line L, column C)", or "(at end of document)"."""
    what, _, place = message.rpartition(" (at ")
    found = re.search(r"line (\d+), column (\d+)", place)
    line = int(found.group(1)) if found else text.rstrip("\n").count("\n") + 1
    where = f" at column {found.group(2)}" if found else ""
    return ConfigError(f"not valid TOML{where}: {what or message}", file=file, line=line)


class _Change(msgspec.Struct, frozen=True):
    table: str
    key: str
    value: Any
    source: str


def _environment(env: Mapping[str, str]) -> list[_Change]:
    changes = []
    if "ROUTEBOOK_DATABASE_URL" in env:
        changes.append(_Change("store", "url", env["ROUTEBOOK_DATABASE_URL"], "ROUTEBOOK_DATABASE_URL"))
    if "ROUTEBOOK_HOST" in env:
        changes.append(_Change("server", "host", env["ROUTEBOOK_HOST"], "ROUTEBOOK_HOST"))
    if "ROUTEBOOK_PORT" in env:
        text = env["ROUTEBOOK_PORT"]
        if not (text.isascii() and text.isdigit()):
            raise ConfigError("a port is a number from 0 to 65535", source="ROUTEBOOK_PORT")
        changes.append(_Change("server", "port", int(text), "ROUTEBOOK_PORT"))
    return changes


def _flags(flags: Flags) -> list[_Change]:
    given = [
        _Change("server", "host", flags.host, "--host"),
        _Change("server", "port", flags.port, "--port"),
        _Change("server", "workers", flags.workers, "--workers"),
        _Change("server", "tls_cert", flags.tls_cert, "--tls-cert"),
        _Change("server", "tls_key", flags.tls_key, "--tls-key"),
        _Change("server", "unix_socket", flags.unix_socket, "--unix-socket"),
        _Change("store", "url", flags.database_url, "--database-url"),
    ]
    return [change for change in given if change.value is not None]


def _over(settings: Settings, changes: list[_Change]) -> Settings:
    """The settings with each change made; an impossible one is an error that names its source."""
    for change in changes:
        table = msgspec.structs.replace(getattr(settings, change.table), **{change.key: change.value})
        settings = msgspec.structs.replace(settings, **{change.table: table})
        try:
            check_settings(settings)
        except ConfigError as error:
            raise ConfigError(error.message, error.path, source=change.source) from None
    return settings


def _admin_key_hash(key: str | None) -> str | None:
    if key is None:
        return None
    if len(key) < ADMIN_KEY_MIN:
        raise ConfigError(
            f"must have {ADMIN_KEY_MIN} characters or more (it has {len(key)}); `openssl rand -hex 32` makes one",
            source="ROUTEBOOK_ADMIN_KEY",
        )
    return sha256(key.encode()).hexdigest()


def _notes(environ: Mapping[str, str]) -> tuple[str, ...]:
    notes = []
    if environ.get("ROUTEBOOK_VALKEY_URL"):
        notes.append("ROUTEBOOK_VALKEY_URL is set, but this version does not use Valkey")
    strange = {name for name in environ if name.startswith("ROUTEBOOK_")} - {*VARIABLES, *_CLIENT_VARIABLES}
    for name in sorted(strange):
        if close := get_close_matches(name, VARIABLES, n=1, cutoff=0.85):
            notes.append(f"{name} is set but means nothing; did you mean {close[0]}?")
    return tuple(notes)
