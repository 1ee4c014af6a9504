"""A disk that takes no more: the system's own limit on the size of files, set to what the daybook's segment has now."""

from __future__ import annotations

import resource

from routebook.daybook.book import FileDaybook


class FullDisk:
    """While it is entered, the segment grows by `spare` bytes at most, so that a larger write is cut short."""

    def __init__(self, book: FileDaybook, spare: int = 0) -> None:
        self._book = book
        self._spare = spare
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def refuse(self) -> None:
        size = self._book.path.stat().st_size + self._spare
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, self._limits[1]))

    def allow(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)

    def __enter__(self) -> None:
        self.refuse()

    def __exit__(self, *_: object) -> None:
        self.allow()
