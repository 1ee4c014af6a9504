"""Where daybooks live: `<home>/daybooks/<name>/`, the names of their files, and the lock their owner holds for life."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
from pathlib import Path

from routebook.core.ids import base62, from_base62
from routebook.observe.clock import Dice

FIRST_SEGMENT = 1
_LOCK_NAME = "lock"
_SUFFIX = ".daybook"
_POLL = 0.05


class DaybookLocked(Exception):
    """Another process owns the daybook; the message says which."""


class Lock:
    """An exclusive lock on a file; the system drops it when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def acquire(self, wait: float) -> None:
        """Take it, trying for `wait` seconds. Raises DaybookLocked with a sentence that names the holder."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        tries = 1 + int(wait / _POLL)
        pause = threading.Event()
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                tries -= 1
                if tries <= 0:
                    holder = os.pread(fd, 200, 0).decode("utf-8", "replace").strip() or "an unknown process"
                    os.close(fd)
                    raise DaybookLocked(
                        f"the daybook {self._path.parent} is held by {holder}; "
                        "stop that gateway first, or give this one its own ROUTEBOOK_HOME"
                    ) from None
                pause.wait(_POLL)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        self._fd = fd

    def release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def root(home: Path) -> Path:
    """The folder of all daybooks of a data folder."""
    return home / "daybooks"


def names(home: Path) -> list[str]:
    """Names of the daybooks that exist, sorted."""
    if not root(home).is_dir():
        return []
    found = (entry.name for entry in root(home).iterdir() if entry.is_dir())
    return sorted(name for name in found if len(name) == 3 and from_base62(name) is not None)


def file_name(number: int) -> str:
    """Of one segment: `0000000001.daybook`."""
    return f"{number:010d}{_SUFFIX}"


def segment(home: Path, name: str, number: int = FIRST_SEGMENT) -> Path:
    """The file of one segment."""
    return root(home) / name / file_name(number)


def segments(path: Path) -> list[int]:
    """Numbers of the segments in a daybook's folder, in order; none where there is no such folder."""
    try:
        found = os.listdir(path)
    except FileNotFoundError:
        return []
    return sorted(
        int(each[: -len(_SUFFIX)])
        for each in found
        if each.endswith(_SUFFIX) and each[: -len(_SUFFIX)].isascii() and each[: -len(_SUFFIX)].isdigit()
    )


def older_form(path: Path) -> Path | None:
    """A file of the form that daybooks had before they were series of segments; None if there is none."""
    return next(iter(sorted(path.glob("*.sqlite"))), None)


def claim(home: Path, wait: float, dice: Dice, slots: int = 1) -> tuple[str, Lock]:
    """The name of the daybook this process owns from now on, and its lock. Raises DaybookLocked.

    The first `slots` daybooks are for the processes of one gateway: a free one is taken, so that who comes for a
    process that died takes over its book; else a new one is made while there are fewer.
    """
    root(home).mkdir(mode=0o700, parents=True, exist_ok=True)
    choosing = Lock(root(home) / _LOCK_NAME)
    pause = threading.Event()
    tries = 1 + int(wait / _POLL)
    while True:
        choosing.acquire(wait)
        try:
            return _free_or_new(home, dice, slots)
        except DaybookLocked:
            tries -= 1
            if tries <= 0:
                raise
        finally:
            choosing.release()
        pause.wait(_POLL)


def _free_or_new(home: Path, dice: Dice, slots: int) -> tuple[str, Lock]:
    existing = names(home)
    refusal: DaybookLocked | None = None
    for name in existing[:slots]:
        lock = Lock(root(home) / name / _LOCK_NAME)
        try:
            lock.acquire(0)
        except DaybookLocked as error:
            refusal = refusal or error
        else:
            return name, lock
    if refusal is not None and len(existing) >= slots:
        raise refusal
    name = base62(dice.roll(64) % 62**3, 3)
    while name in existing:
        name = base62(dice.roll(64) % 62**3, 3)
    folder = root(home) / name
    folder.mkdir(mode=0o700, exist_ok=True)
    lock = Lock(folder / _LOCK_NAME)
    lock.acquire(0)
    return name, lock


def adopt(home: Path, name: str) -> Lock:
    """The lock of one daybook that nobody of this gateway writes any more. Raises DaybookLocked at once if held."""
    lock = Lock(root(home) / name / _LOCK_NAME)
    lock.acquire(0)
    return lock


def holder(home: Path) -> str | None:
    """Who owns the daybook that `claim` would take (`process 4711 on host`), None if nobody does. Takes nothing."""
    for name in names(home)[:1]:
        try:
            fd = os.open(root(home) / name / _LOCK_NAME, os.O_RDONLY)
        except OSError:
            return None
        try:
            # A shared lock, for a moment: whoever starts just now tries again, as `acquire` does.
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return os.pread(fd, 200, 0).decode("utf-8", "replace").strip() or "an unknown process"
        finally:
            os.close(fd)
    return None


def sync_entries(path: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def told_of_older_form(file: Path) -> str:
    """What to do about such a file."""
    return (
        f"{file} is a daybook of a form that no released version wrote; move the folder {file.parent} away, "
        "its records are in the store as far as they were shipped"
    )
