"""Budget windows: UTC days, weeks from Monday and calendar months as day numbers. Pure.

Days are counted as `datetime.date` ordinals, so that windows compare as integers; times are nanoseconds of unix time.
Source: platform, section 1 (limits reset at midnight UTC, weeks Monday to Sunday, months by the calendar).
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import lru_cache

DAY_NS = 86_400 * 1_000_000_000
_EPOCH_DAY = date(1970, 1, 1).toordinal()

RESETS = ("daily", "weekly", "monthly")
"""the windows a limit can have; None = the key's whole life"""

_PLACES = {reset: place for place, reset in enumerate(RESETS)}


def day_number(now_ns: int) -> int:
    """The UTC day of a time."""
    return _EPOCH_DAY + now_ns // DAY_NS


@lru_cache(maxsize=64)
def day_text(day: int) -> str:
    """`YYYY-MM-DD` of a day number."""
    return date.fromordinal(day).isoformat()


def day_of_text(text: str) -> int:
    """The day number of `YYYY-MM-DD`; ValueError for anything else."""
    return date.fromisoformat(text).toordinal()


@lru_cache(maxsize=64)
def starts(day: int) -> tuple[int, int, int]:
    """First day of the day, of the ISO week and of the calendar month that hold this day."""
    moment = date.fromordinal(day)
    return day, day - moment.weekday(), day - moment.day + 1


def span(reset: str | None, day: int) -> tuple[int, int]:
    """First and last day of the window that holds this day; of a limit without reset, of all days there are.

    ValueError for an unknown reset.
    """
    if reset is None:
        return 1, date.max.toordinal()
    place = index(reset)
    first = starts(day)[place]
    return first, (day, first + 6, _month_end(first))[place]


@lru_cache(maxsize=16)
def _month_end(first: int) -> int:
    moment = date.fromordinal(first)
    return date(moment.year + moment.month // 12, moment.month % 12 + 1, 1).toordinal() - 1


def index(reset: str) -> int:
    """Place of the window in `starts`. ValueError for an unknown reset."""
    place = _PLACES.get(reset)
    if place is None:
        raise ValueError(f"a limit resets {', '.join(RESETS)} or never, not {reset!r}")
    return place


def next_reset(reset: str | None, now_ns: int) -> str | None:
    """When the window ends and the next one begins, `YYYY-MM-DDT00:00:00Z`; None for a limit without reset."""
    if reset is None:
        return None
    end = span(reset, day_number(now_ns))[1] + 1
    return f"{day_text(end)}T00:00:00Z"


def iso(now_ns: int) -> str:
    """`2027-12-31T23:59:59.123456+00:00`: a time as keys and records show it, to the microsecond."""
    seconds, rest = divmod(now_ns, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1_000)
    return moment.isoformat(timespec="microseconds")
