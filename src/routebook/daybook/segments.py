"""The writer's side of a segment: make it, append whole frames to it, undo what was written in part."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

from routebook.daybook import folder
from routebook.daybook.frames import HEADER_SIZE, Header, pack_header

FRESH_NAME = "next"
"""the file that becomes the next segment"""


class Sizes(msgspec.Struct, frozen=True):
    """How large files get and how long they stay. Bytes and seconds."""

    segment_bytes: int = 64 * 2**20
    segment_seconds: float = 3600.0
    keep_bytes: int = 256 * 2**20
    keep_seconds: float = 24 * 3600.0
    """closed segments whose rows are all shipped go when they are older, or more, than this"""
    reserve_bytes: int = 64 * 2**20
    """given to running calls when the disk is full"""


class Segment:
    """The file that is appended to. `size`: up to where it holds whole frames that were acknowledged."""

    __slots__ = ("_torn", "fd", "made_ns", "number", "path", "size")

    def __init__(self, path: Path, number: int, fd: int, size: int, made_ns: int) -> None:
        self.path = path
        self.number = number
        self.fd = fd
        self.size = size
        self.made_ns = made_ns
        self._torn = False

    def append(self, frame: bytes) -> None:
        """Write all of it, or nothing that stays: a part goes at once, or before the next frame. Raises OSError."""
        if self._torn:
            self._cut()
        try:
            written = os.write(self.fd, frame)
            # A disk that takes a part says why only when asked for the rest.
            while written < len(frame):
                written += os.write(self.fd, frame[written:])
        except OSError:
            self._torn = True
            with contextlib.suppress(OSError):
                self._cut()
            raise
        self.size += len(frame)

    def close(self) -> None:
        os.close(self.fd)

    def _cut(self) -> None:
        os.ftruncate(self.fd, self.size)
        self._torn = False


def reopen(path: Path, header: Header, size: int) -> Segment:
    """The last segment of a book that goes on; whatever stands behind `size` is cut off."""
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    try:
        if os.fstat(fd).st_size > size:
            os.ftruncate(fd, size)
            os.fsync(fd)
    except BaseException:
        os.close(fd)
        raise
    return Segment(path, header.number, fd, size, header.made_ns)


def prepare(path: Path) -> int:
    """An empty private file in a daybook's folder that `begin` makes a segment of; its descriptor."""
    return os.open(path / FRESH_NAME, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)


def begin(path: Path, fd: int, header: Header) -> Segment:
    """Write the header and give the prepared file its name; from here on readers see it. Raises OSError."""
    os.ftruncate(fd, 0)
    data = pack_header(header)
    if os.write(fd, data) != len(data):
        raise OSError("the header of a segment was written in part")
    target = path / folder.file_name(header.number)
    os.rename(path / FRESH_NAME, target)
    return Segment(target, header.number, fd, HEADER_SIZE, header.made_ns)
