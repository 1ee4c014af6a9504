"""The daybook's helper thread: brings written rows to the disk and keeps the write-ahead log from growing.

It never touches the book's own connection. With durability `process` it calls `fdatasync` on the log 50 ms after a
write; a power cut loses at most that. With `power` the commits themselves are synchronous and only the log's size is
looked after. A failed sync means that rows already acknowledged may be lost: that is reported once, through `lost`.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

EVERY = 0.05
"""seconds between a write and its way to the disk, at most"""

CHECKPOINT_AFTER = 4000
"""commits after which the log is copied into the database, off the loop; about 50 MB"""

_PASSES = 5


class Keeper:
    """One thread per open segment. `touch()` after each commit; `stop()` syncs a last time."""

    def __init__(self, path: Path, *, sync: bool) -> None:
        self._path = path
        self._log = path.with_name(path.name + "-wal")
        self._sync = sync
        self._commits = 0
        self._checkpointed = 0
        self._dirty = False
        self._wake = threading.Event()
        self._stop = threading.Event()
        self.lost: str | None = None
        """why acknowledged rows may not be on the disk; None as long as all is well"""
        self.nearly_copied = False
        """the log is copied but for its last moments: one by the writer is short now, and the log starts over"""
        self.syncs = 0
        self.checkpoints = 0
        self._thread = threading.Thread(target=self._run, name="daybook-keeper", daemon=True)
        self._thread.start()

    def touch(self) -> None:
        """There was a commit."""
        self._commits += 1
        if not self._dirty:
            self._dirty = True
            self._wake.set()

    def stop(self) -> None:
        """Sync what is left and end the thread."""
        self._stop.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait()
            self._stop.wait(EVERY)
            self._wake.clear()
            # Cleared before the sync: a commit that lands during it asks for another one.
            self._dirty = False
            self._round()
        self._round()

    def _round(self) -> None:
        if self._sync:
            try:
                self._to_disk()
            except OSError as error:
                self.lost = f"the disk refused a sync of the daybook ({error.strerror or error})"
                return
        if self._commits - self._checkpointed >= CHECKPOINT_AFTER:
            self._checkpointed = self._commits
            try:
                self._checkpoint()
            except sqlite3.Error:
                return  # The log stays as it is and grows until the next try; no row is at risk.

    def _to_disk(self) -> None:
        try:
            fd = os.open(self._log, os.O_RDWR)
        except FileNotFoundError:
            return  # No commit has made the log yet.
        try:
            os.fdatasync(fd)
        finally:
            os.close(fd)
        self.syncs += 1

    def _checkpoint(self) -> None:
        # PASSIVE never makes the writer wait. The log starts over only when all of it is copied, and a busy writer
        # always adds to it meanwhile: so a few passes here do the bulk, and the writer copies the rest itself.
        conn = sqlite3.connect(self._path, isolation_level=None, timeout=0)
        try:
            for _ in range(_PASSES):
                _, logged, copied = conn.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                if logged == copied:
                    break
        finally:
            conn.close()
        self.checkpoints += 1
        self.nearly_copied = True
