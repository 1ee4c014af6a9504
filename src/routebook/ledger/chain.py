"""The hash chain of a daybook in words: its segments, where it breaks, what a break means, and heads to remember.

Every commit's digest stands on the one before it, so whoever remembers one head (daybook, row, digest) can later prove
that everything up to that row is still as it was: a whole book that was written anew has other digests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

MEANINGS = {
    "damaged": "these bytes are not what was written: the disk, or somebody, changed them. Put the file back from a "
    "copy; rows around them still count",
    "missing": "rows that had been written are gone: taken out, or lost with a damage or a power cut",
    "twice": "a file is a copy of another time, or two processes wrote the book: their calls may be counted twice",
    "unchained": "the rows before it are not those it was written after: a commit was exchanged or taken out",
    "torn": "the segment before it is not the one it was begun after: that file was exchanged, cut or taken away",
    "miscounted": "a commit holds other rows than it says: whoever wrote it was not this program",
    "rewritten": "the book was written anew, up to that row or before it: it is not the book whose head was noted",
    "shortened": "rows that were there when the head was noted are gone, or this is another book",
    "untold": "nothing here can prove that head any more; note newer ones",
}
"""what each kind of break means"""

HEAD_DIGITS = 16
"""of a digest that people are shown and may give back; 64 bits, so that nobody finds another book with them"""


class Break(msgspec.Struct, frozen=True):
    """A place where a daybook is not as it was written."""

    kind: str
    """one of MEANINGS"""
    what: str
    """a sentence that names the daybook, the file, and bytes or rows"""


class Link(msgspec.Struct, frozen=True):
    """One segment of the chain."""

    file: str
    began_ns: int
    first: int
    last: int
    """rows; `last` below `first`: none yet"""
    frames: int
    """commits"""
    size: int
    """bytes"""
    head: str
    """hex digest of its last commit"""


class Head(msgspec.Struct, frozen=True):
    """Where a chain stood when somebody noted it."""

    daybook: str
    seq: int
    digest: str
    """hex, 16 digits or more of it"""


class Chain(msgspec.Struct, frozen=True):
    """The chain of one daybook as it is now."""

    daybook: str
    links: list[Link]
    breaks: list[Break]
    set_aside: list[str]
    """files that were taken out of the series"""

    @property
    def head(self) -> Head:
        last = self.links[-1]
        return Head(self.daybook, last.last, last.head)


class Source(Protocol):
    """What is asked of a daybook; `daybook.reading.ReadOnlyDaybook` has it."""

    @property
    def name(self) -> str: ...

    def links(self) -> list[Link]: ...

    def breaks(self) -> list[Break]: ...

    def set_aside(self) -> list[str]: ...

    def digest_at(self, seq: int) -> str | None: ...


def head_of(text: str) -> Head | None:
    """`2Ys:14:3f9a…`, as it is printed; None if it is none."""
    parts = text.strip().split(":")
    if len(parts) != 3 or not parts[1].isascii() or not parts[1].isdigit():
        return None
    digest = parts[2].lower().rstrip("…")
    if not HEAD_DIGITS <= len(digest) <= 64 or digest.strip("0123456789abcdef"):
        return None
    return Head(parts[0], int(parts[1]), digest)


def told(head: Head, digits: int = HEAD_DIGITS) -> str:
    """The head as text that `head_of` reads."""
    return f"{head.daybook}:{head.seq}:{head.digest[:digits]}"


def chain_of(book: Source) -> Chain:
    """The whole chain, which is read for it."""
    return Chain(book.name, book.links(), book.breaks(), book.set_aside())


def against(heads: Sequence[Head], books: Sequence[Source]) -> tuple[int, list[Break]]:
    """(heads that still stand, breaks of those that do not). A head of a row that left with segments past retention
    stands where the segment that is left says that it ended there; else nobody can tell any more, which is said."""
    by_name = {book.name: book for book in books}
    standing, breaks = 0, []
    for head in heads:
        book = by_name.get(head.daybook)
        if book is None:
            breaks.append(Break("shortened", f"head {told(head)}: there is no daybook {head.daybook} here"))
            continue
        digest = book.digest_at(head.seq)
        links = book.links()
        if digest is not None and digest.startswith(head.digest):
            standing += 1
        elif digest is None and head.seq < links[0].first - 1:
            what = f"head {told(head)}: its row left with segments past retention; rows begin at {links[0].first}"
            breaks.append(Break("untold", what))
        elif digest is None and head.seq > links[-1].last:
            what = f"head {told(head)}: the daybook ends at row {links[-1].last}"
            breaks.append(Break("shortened", what))
        else:
            found = "no commit ends there" if digest is None else f"the digest there is {digest[:HEAD_DIGITS]}"
            breaks.append(Break("rewritten", f"head {told(head)}: {found}"))
    return standing, breaks
