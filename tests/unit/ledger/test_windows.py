"""Budget windows against a calendar."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routebook.ledger.windows import day_number, day_of_text, day_text, iso, next_reset, span


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


@pytest.mark.parametrize(
    ("moment", "reset", "start", "end"),
    [
        ("2026-03-04T12:00:00", "daily", "2026-03-04", "2026-03-05T00:00:00Z"),
        ("2026-03-04T00:00:00", "daily", "2026-03-04", "2026-03-05T00:00:00Z"),
        ("2026-02-28T23:59:59", "daily", "2026-02-28", "2026-03-01T00:00:00Z"),
        ("2026-03-04T12:00:00", "weekly", "2026-03-02", "2026-03-09T00:00:00Z"),  # a Wednesday
        ("2026-03-02T00:00:00", "weekly", "2026-03-02", "2026-03-09T00:00:00Z"),  # a Monday begins its week
        ("2026-03-01T23:59:59", "weekly", "2026-02-23", "2026-03-02T00:00:00Z"),  # a Sunday ends its week
        ("2027-01-01T12:00:00", "weekly", "2026-12-28", "2027-01-04T00:00:00Z"),  # a week over New Year
        ("2026-03-04T12:00:00", "monthly", "2026-03-01", "2026-04-01T00:00:00Z"),
        ("2026-12-31T23:59:59", "monthly", "2026-12-01", "2027-01-01T00:00:00Z"),
        ("2028-02-29T12:00:00", "monthly", "2028-02-01", "2028-03-01T00:00:00Z"),
    ],
)
def test_a_window_begins_and_ends_at_midnight_utc(moment: str, reset: str, start: str, end: str) -> None:
    assert day_text(span(reset, day_number(ns(moment)))[0]) == start
    assert next_reset(reset, ns(moment)) == end


def test_a_limit_without_reset_has_no_window() -> None:
    assert [day_text(day) for day in span(None, day_number(ns("2026-03-04T12:00:00")))] == ["0001-01-01", "9999-12-31"]
    assert next_reset(None, ns("2026-03-04T12:00:00")) is None


def test_an_unknown_reset_is_an_error() -> None:
    with pytest.raises(ValueError, match="hourly"):
        span("hourly", day_number(0))


@given(st.integers(min_value=0, max_value=4_102_444_800_000_000_000))
def test_days_are_utc_days_and_survive_their_text(moment: int) -> None:
    text = day_text(day_number(moment))
    assert text == datetime.fromtimestamp(moment // 1_000_000_000, UTC).date().isoformat()
    assert day_of_text(text) == day_number(moment)


def test_times_are_shown_to_the_microsecond_and_never_rounded_up() -> None:
    assert iso(ns("2026-03-04T12:00:00") + 999_999_999) == "2026-03-04T12:00:00.999999+00:00"
    assert iso(ns("2026-03-04T12:00:00")) == "2026-03-04T12:00:00.000000+00:00"
