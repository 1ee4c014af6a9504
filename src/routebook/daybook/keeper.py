"""The daybook's helper thread: all that takes time with its files, away from the loop.

It brings written rows to the disk within 50 ms (with durability `power` the commits do that themselves), prepares the
next segment when the one being written is large or old enough, removes segments that are shipped and past retention,
and keeps the reserve. It never writes a row. A failed sync means that rows already acknowledged may be lost: that is
reported through `trouble`, for good, since a kernel tells of it once and then believes the pages clean.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from routebook.daybook import folder
from routebook.daybook.segments import FRESH_NAME, Segment, Sizes, prepare
from routebook.observe.clock import NS, SystemClock
from routebook.observe.log import log

EVERY = 0.05
"""seconds between a write and its way to the disk, at most"""

RESERVE_EVERY = 1.0
"""seconds between two tries to have the reserve back"""

RESERVE_NAME = "reserve"
_REMOVED_AT_ONCE = 2
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Keeper:
    """One thread for an open daybook. `touch()` after a commit, if it is not `dirty`; `stop()` syncs a last time."""

    def __init__(self, path: Path, segment: Segment, sizes: Sizes, damaged: set[int], *, sync: bool) -> None:
        self._path = path
        self._segments = deque([segment])
        """the one that is written, last; before it those that are closed and not on the disk yet. The owner only
        appends and the thread only takes the first away, so that none is synced when it is closed already"""
        self._sizes = sizes
        self._damaged = damaged
        self._sync = sync
        self._keep_from = 0
        self._retire_due = False
        self._clock = SystemClock()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self.dirty = False
        self.trouble: str | None = None
        """why no call may be taken; the owner can do nothing about it"""
        self.lost = False
        """the trouble is that acknowledged rows may not be on the disk: it does not pass"""
        self.fresh: int | None = None
        """descriptor of the prepared file, when it is time for the next segment"""
        self._reserved = False
        self.syncs = 0
        # Already here: lives too short for the thread's first round would write on in one file for ever.
        self._try(self._prepare)
        self._thread = threading.Thread(target=self._run, name="daybook-keeper", daemon=True)
        self._thread.start()

    # --- for the owner, on the loop: none of these waits for the disk -----------------------------------------

    def touch(self) -> None:
        """There is something to do."""
        if not self.dirty:
            self.dirty = True
            self._wake.set()

    def rolled(self, segment: Segment) -> None:
        """The prepared file became that segment; the one before it is not written any more."""
        self.fresh = None
        self._segments.append(segment)
        self.touch()

    def keep_from(self, number: int) -> None:
        """Segments before that one are shipped and hold nothing of an open call."""
        self._keep_from = number
        self._retire_due = True
        self.touch()

    def fail(self, error: OSError) -> None:
        """A sync failed."""
        self.lost = True
        self.trouble = f"the disk refused a sync of the daybook ({error.strerror or error})"

    def release_reserve(self, error: OSError) -> bool:
        """Give the reserve up where the disk is full; True if there is space to write now. New calls wait from then
        on until the keeper has the reserve back."""
        if error.errno not in _FULL or not self._reserved:
            return False
        self.trouble = "the disk is full; running calls write to the reserve"
        try:
            os.unlink(self._path / RESERVE_NAME)
        except OSError:
            return False
        finally:
            # Not before the file is gone: the thread would find it there and take it for the reserve.
            self._reserved = False
        self._wake.set()
        return True

    def stop(self) -> None:
        """Sync what is left and end the thread. Waits for the disk."""
        self._stop.set()
        self._wake.set()
        self._thread.join()

    # --- the thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(RESERVE_EVERY if self.trouble is not None and not self.lost else None)
            self._stop.wait(EVERY)
            self._wake.clear()
            # Cleared before the sync: a commit that lands during it asks for another one.
            self.dirty = False
            self._round()
        self._round()
        self._tidy()

    def _round(self) -> None:
        try:
            self._to_disk()
        except OSError as error:
            self.fail(error)
            return
        # None of the rest is about rows: if it fails it is tried again, and the book goes on as it is.
        for chore in (self._prepare, self._retire, self._reserve):
            self._try(chore)

    def _try(self, chore: Callable[[], None]) -> None:
        try:
            chore()
        except OSError as error:
            log.debug("a chore of daybook %s waits: %s", self._path.name, error)

    def _to_disk(self) -> None:
        if self.lost:
            return
        renamed = False
        while len(self._segments) > 1:
            os.fdatasync(self._segments[0].fd)
            self._segments.popleft().close()
            renamed = True
        if renamed:
            folder.sync_entries(self._path)
        if self._sync:
            # The first, not the last: if the book went on just now, what is in the closed one has to be safe before.
            os.fdatasync(self._segments[0].fd)
            self.syncs += 1

    def _prepare(self) -> None:
        if self.fresh is not None or self._stop.is_set():
            return
        segment = self._segments[-1]
        age = (self._clock.now_ns() - segment.made_ns) / NS
        if segment.size >= self._sizes.segment_bytes or age >= self._sizes.segment_seconds:
            self.fresh = prepare(self._path)

    def _retire(self) -> None:
        if not self._retire_due:
            return
        self._retire_due = False
        before = self._keep_from
        files = [(number, self._path / folder.file_name(number)) for number in folder.segments(self._path)]
        stats = {number: path.stat() for number, path in files if number < before}
        total = sum(stat.st_size for stat in stats.values())
        now = self._clock.now_ns()
        for removed, (number, path) in enumerate(files):
            if number not in stats:
                break
            old = now - stats[number].st_mtime_ns > self._sizes.keep_seconds * NS
            if not old and total <= self._sizes.keep_bytes:
                break
            if removed == _REMOVED_AT_ONCE:
                self._retire_due = True
                self.touch()
                return
            if number in self._damaged:
                # Evidence: out of the series, but not away.
                path.rename(path.with_name(path.name + ".damaged"))
            else:
                path.unlink()
            total -= stats[number].st_size

    def _reserve(self) -> None:
        size = self._sizes.reserve_bytes
        if self._reserved or not size or self._stop.is_set():
            return
        path = self._path / RESERVE_NAME
        try:
            if not path.exists() or path.stat().st_size != size or path.stat().st_blocks * 512 < size:
                self._allocate(path, size)
        except OSError as error:
            if error.errno not in _FULL and self.trouble is not None and not self.lost:
                self.trouble = None  # This file system keeps no reserve; the next write shows whether it has space.
            raise
        self._reserved = True
        if not self.lost:
            self.trouble = None

    def _allocate(self, path: Path, size: int) -> None:
        free = os.statvfs(self._path)
        if free.f_bavail * free.f_frsize < size:
            # Not even tried: a try that fails half way takes the space from the calls that need it.
            raise OSError(errno.ENOSPC, "no space for the reserve")
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError:
            os.ftruncate(fd, 0)
            raise
        finally:
            os.close(fd)

    def _tidy(self) -> None:
        """What a book that is shut needs no more."""
        if self.fresh is not None:
            os.close(self.fresh)
            self.fresh = None
        (self._path / FRESH_NAME).unlink(missing_ok=True)
        (self._path / RESERVE_NAME).unlink(missing_ok=True)
