"""The page on exports has the columns of an export, in their order."""

from __future__ import annotations

from routebook.metering.columns import COLUMNS
from tests.docs import pages


def test_every_column_is_told_in_order() -> None:
    assert pages.first_column(pages.section("docs/record.md", "## Exports")) == list(COLUMNS)
