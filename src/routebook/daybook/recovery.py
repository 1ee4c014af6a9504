"""What a new owner finds in a daybook's folder, and how the book goes on from there.

Only what is needed is read: from the segment where the oldest call that may be open began, or that holds the first row
the store has not. A tail behind the last whole frame is a write that a crash cut short; nobody was told that it is
durable, so it is cut off. Everything else that is not right is told, kept, and left to `routebook ledger verify`.
"""

from __future__ import annotations

import os
from pathlib import Path

from routebook.daybook import folder
from routebook.daybook.frames import HEADER_SIZE, NO_DIGEST, Header
from routebook.daybook.segments import Segment, begin, prepare, reopen
from routebook.daybook.shelf import DaybookDamaged, Shelf
from routebook.daybook.survey import Survey
from routebook.observe.log import log

_TOLD = 5
"""findings that the log gets; `ledger verify` has all"""


def survey_of(shelf: Shelf, shipped: int) -> Survey | None:
    """What the last owner left; None for a new daybook. `shipped`: the last row that the store has.

    Raises DaybookDamaged where a segment has no header, or where there is a daybook of an older form.
    """
    numbers = shelf.numbers()
    if numbers and _never_written(shelf, numbers[-1]):
        file = shelf.path / folder.file_name(numbers.pop())
        os.rename(file, file.with_name(file.name + ".torn"))
    if not numbers:
        if (old := folder.older_form(shelf.path)) is not None:
            raise DaybookDamaged(folder.told_of_older_form(old))
        return None
    since = shelf.header(numbers[-1]).since
    start = numbers[0]
    for number in reversed(numbers):
        if number <= since and shelf.header(number).seq <= shipped:
            start = number
            break
    survey = Survey(shelf, start)
    survey.follow()
    for finding in survey.findings[:_TOLD]:
        log.error("%s; `routebook ledger verify` tells all of it", finding)
    return survey


def resume(shelf: Shelf, survey: Survey | None, shipped: int, now_ns: int) -> tuple[Segment, int, int]:
    """(the segment to append to, seq of the last row, the next call number)."""
    if survey is None:
        return new_segment(shelf.path, Header(shelf.path.name, 1, 0, 1, 1, now_ns, NO_DIGEST)), 0, 1
    seq, top = survey.seq, survey.top
    if shipped > seq:
        # The power went before these rows were on the disk, but the store has them. None of their numbers comes again.
        log.error("daybook %s lost its rows %d to %d; the store has them", shelf.path.name, seq + 1, shipped)
        seq, top = shipped, top + shipped - seq
    elif survey.number not in survey.damaged:
        if survey.tail:
            log.info("daybook %s: a write of %d bytes was cut short; it is taken back", shelf.path.name, survey.tail)
        path = shelf.path / folder.file_name(survey.number)
        return reopen(path, shelf.header(survey.number), survey.at), seq, top
    number = survey.number + 1
    since = min(survey.open_since(), number)
    header = Header(shelf.path.name, number, seq, top, since, now_ns, survey.digest)
    return new_segment(shelf.path, header), seq, top


def new_segment(path: Path, header: Header) -> Segment:
    """Make it, durably. Waits for the disk."""
    fd = prepare(path)
    try:
        segment = begin(path, fd, header)
        os.fsync(fd)
    except BaseException:
        os.close(fd)
        raise
    folder.sync_entries(path)
    folder.sync_entries(path.parent)
    return segment


def _never_written(shelf: Shelf, number: int) -> bool:
    """The power went between the naming of that segment and its way to the disk: no header, and no frame."""
    try:
        shelf.header(number)
    except DaybookDamaged:
        size = shelf.size(number)
        if size <= HEADER_SIZE and shelf.begin_near(number, 0) == size:
            shelf.forget(number)
            return True
    return False
