"""`routebook doctor`: what could stand in the way here, and what to do about it. Changes nothing, asks nobody."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import cyclopts

if TYPE_CHECKING:
    from routebook.load.settings import Loaded

PYTHON_MIN = (3, 11)
FREE_BYTES_MIN = 64 * 2**20
"""Below this the daybook is about to be refused by the disk."""
FREE_BYTES_GOOD = 1 * 2**30
FILES_GOOD = 4096
"""One call holds two sockets."""
RELEASED_NS = 1_793_491_200 * 10**9
"""2026-11-01: no clock of a machine that runs this can be before it."""
_MARKS = {"good": "ok  ", "note": "note", "bad": "FAIL"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `todo` is what to do, where something is to be done."""

    what: str
    state: Literal["good", "note", "bad"]
    told: str
    todo: str = ""


def doctor(
    *,
    config: Annotated[Path | None, cyclopts.Parameter(help="Configuration file; else ROUTEBOOK_CONFIG.")] = None,
) -> int:
    """Look at this machine, the data folder and the configuration, and say what to do.

    Changes nothing, asks nobody. Exits 1 if something must be done.

    Example: `routebook doctor --config routebook.toml`
    """
    findings = list(examine(config, os.environ))
    for finding in findings:
        print(f"{_MARKS[finding.state]}  {finding.what:<14} {finding.told}")
        if finding.todo:
            print(f"{'':20} {finding.todo}")
    bad = sum(finding.state == "bad" for finding in findings)
    if bad:
        print(
            f"routebook doctor: {bad} of {len(findings)} checks failed; what to do stands below each", file=sys.stderr
        )
    return 1 if bad else 0


def examine(config: Path | None, environ: Mapping[str, str]) -> Iterator[Finding]:
    """All findings, in the order to repair them in."""
    yield _python()
    loaded, finding = _configuration(config, environ)
    yield finding
    if loaded is not None:
        yield _folder(loaded.home)
        yield _space(loaded.home)
        yield _clock(loaded.home)
        yield _store(loaded)
        yield _daybook(loaded)
        yield from _tls(loaded)
        yield from _catalogue(loaded, environ)
        for note in loaded.notes:
            yield Finding("note", "note", note)
    yield _files()
    yield from _extras()


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if tuple(sys.version_info) < PYTHON_MIN:
        return Finding("python", "bad", version, "Install Python 3.11 or newer.")
    return Finding("python", "good", version)


def _configuration(config: Path | None, environ: Mapping[str, str]) -> tuple[Loaded | None, Finding]:
    from routebook.load.settings import ConfigError, load_settings

    try:
        loaded = load_settings(config, environ)
    except ConfigError as error:
        return None, Finding("configuration", "bad", str(error), "Correct it; the checks that need it were left out.")
    told = str(loaded.file) if loaded.file is not None else "no file; defaults and environment"
    return loaded, Finding("configuration", "good", told)


def _folder(home: Path) -> Finding:
    if not home.exists():
        parent = next(folder for folder in home.parents if folder.exists())
        if os.access(parent, os.W_OK | os.X_OK):
            return Finding("data folder", "good", f"{home} (made at the first start)")
        return Finding("data folder", "bad", f"{home} cannot be made in {parent}", "Set ROUTEBOOK_HOME to another one.")
    if not home.is_dir() or not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        return Finding(
            "data folder", "bad", f"{home} is not a folder this user can write", "Set ROUTEBOOK_HOME to another one."
        )
    mode = home.stat().st_mode & 0o777
    if mode & 0o077:
        return Finding("data folder", "note", f"{home}, open to others (mode {mode:03o})", f"chmod 700 {home}")
    return Finding("data folder", "good", f"{home}, mode {mode:03o}")


def _space(home: Path) -> Finding:
    import shutil

    there = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    told = f"{free / 2**30:.1f} GiB free"
    if free < FREE_BYTES_MIN:
        return Finding("disk", "bad", told, "Free some: without room for the book no request is taken.")
    if free < FREE_BYTES_GOOD:
        return Finding(
            "disk", "note", told, "Free some before it runs out: without room for the book nothing is taken."
        )
    return Finding("disk", "good", told)


def _clock(home: Path) -> Finding:
    from datetime import UTC, datetime

    from routebook.observe.clock import NS, SystemClock

    now_ns = SystemClock().now_ns()
    told = datetime.fromtimestamp(now_ns // NS, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    todo = "Set the clock (NTP): records, limits and expiries follow it."
    if now_ns < RELEASED_NS:
        return Finding("clock", "bad", f"{told}, before this version was made", todo)
    newest = max((file.stat().st_mtime_ns for file in home.glob("**/*.daybook")), default=0)
    if newest > now_ns + 60 * NS:
        return Finding("clock", "bad", f"{told}, before the last write to the data folder", todo)
    return Finding("clock", "good", told)


def _store(loaded: Loaded) -> Finding:
    from routebook.core.errors import Fault
    from routebook.store.open import database_path, schemas

    file = database_path(loaded.settings, loaded.home)
    try:
        here, newest = schemas(loaded.settings, loaded.home)
    except Fault as fault:
        return Finding("store", "bad", f"{file}: {fault.message}", "Put the file right, or name another in store.url.")
    if here is None:
        return Finding("store", "good", f"{file} (made at the first start)")
    if here > newest:
        return Finding("store", "bad", f"{file} has schema {here}, newer than {newest}", "Upgrade Routebook.")
    if here < newest:
        return Finding("store", "note", f"{file} has schema {here} of {newest}", "routebook db upgrade")
    return Finding("store", "good", f"{file}, schema {here}")


def _daybook(loaded: Loaded) -> Finding:
    from routebook.cli.problems import CannotListen
    from routebook.cli.running import check_address, shown
    from routebook.daybook.folder import holder

    server = loaded.settings.server
    if (who := holder(loaded.home)) is not None:
        return Finding("gateway", "good", f"runs: {who} holds the daybook")
    try:
        check_address(server)
    except CannotListen as error:
        return Finding(
            "gateway", "bad", f"does not run, and {shown(server)} cannot be had", f"{str(error).capitalize()}."
        )
    if server.unix_socket is not None:
        return Finding("gateway", "good", f"does not run; {shown(server)} is made at the start")
    return Finding("gateway", "good", f"does not run; {shown(server)} is free")


def _tls(loaded: Loaded) -> Iterator[Finding]:
    """Nothing where no TLS is configured."""
    from routebook.compose import tls_of
    from routebook.config.problems import ConfigError

    try:
        if tls_of(loaded) is not None:
            yield Finding("tls", "good", f"certificate {loaded.settings.server.tls_cert}")
    except ConfigError as error:
        yield Finding("tls", "bad", str(error), "Name a PEM file with the certificate and its chain, and its key.")


def _catalogue(loaded: Loaded, environ: Mapping[str, str]) -> Iterator[Finding]:
    from datetime import UTC, datetime

    from routebook.config.problems import ConfigError
    from routebook.load.catalog import known_vendors, load_stock
    from routebook.observe.clock import NS, SystemClock

    try:
        stock = load_stock(loaded, environ, datetime.fromtimestamp(SystemClock().now_ns() // NS, UTC))
    except ConfigError as error:
        yield Finding("models", "bad", str(error), "Correct it.")
        return
    rows = known_vendors().values()
    variables = [name for row in rows for name in (*row.key_env, *row.url_env, row.account_env or "")]
    names = {name for name in variables if environ.get(name)}
    for note in stock.notes:
        yield Finding("provider", "note", note)
    if not stock.catalog.providers:
        yield Finding(
            "providers",
            "note",
            "none",
            "Set OPENAI_API_KEY, ANTHROPIC_API_KEY or another provider's variable, or name one in a file.",
        )
        return
    from_where = f" (set: {', '.join(sorted(names))})" if names else ""
    yield Finding("providers", "good", f"{', '.join(stock.catalog.providers)}{from_where}")
    yield Finding("models", "good", f"{len(stock.catalog.models)}, prices from {stock.prices or 'the configuration'}")


def _files() -> Finding:
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < FILES_GOOD:
        return Finding(
            "open files", "note", f"at most {soft}", f"ulimit -n {FILES_GOOD}, or LimitNOFILE={FILES_GOOD} in systemd."
        )
    return Finding("open files", "good", "no limit" if soft == resource.RLIM_INFINITY else f"at most {soft}")


def _extras() -> Iterator[Finding]:
    from routebook.cli import embedded
    from routebook.daybook import reference

    extras: list[tuple[str, Callable[[], bool], str]] = [
        ("extra tokens", reference.available, "pip install --require-hashes -r requirements/runtime.txt"),
        ("extra demo", lambda: not embedded.missing(), f"For `routebook demo`: {embedded.INSTALL}"),
    ]
    for what, there, todo in extras:
        yield Finding(what, "good", "installed") if there() else Finding(what, "note", "not installed", todo)
