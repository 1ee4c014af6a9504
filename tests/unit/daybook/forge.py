"""Rewrites a daybook's segment behind its owner's back, with checksums and chain made good: a book that lies well."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from routebook.core.generation import Row
from routebook.daybook.frames import HEADER_SIZE, OFFSET_BITS, Damage, pack_row, rows, seal, unpack_header
from routebook.daybook.shelf import Shelf


def rows_of(path: Path) -> list[Row]:
    """All rows of one segment."""
    shelf = Shelf(path.parent)
    found: list[Row] = []
    for frame in shelf.frames(int(path.stem), HEADER_SIZE):
        assert not isinstance(frame, Damage)
        found += rows(frame)
    shelf.close()
    return found


def forge(path: Path, change: Callable[[list[Row]], Iterable[Row]]) -> None:
    """Write the segment again with other rows, each in a frame of its own, in order of seq."""
    data = path.read_bytes()[:HEADER_SIZE]
    header = unpack_header(data)
    assert header is not None
    digest, top = header.digest, header.top
    places: dict[int, int] = {}
    for row in sorted(change(rows_of(path)), key=lambda row: row.seq):
        top = max(top, row.n + 1)
        parts = [b"", pack_row(row.n, places.get(row.n, 0), len(row.blob), row.state, len(row.id))]
        frame, digest = seal(digest, row.seq, top, 1, [*parts, row.id.encode(), row.blob])
        places[row.n] = header.number << OFFSET_BITS | len(data)
        data += frame
    path.write_bytes(data)
