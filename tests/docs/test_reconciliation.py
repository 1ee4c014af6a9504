"""The page on reconciliation has every format, column and kind there is, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from routebook.ledger.export_formats import FORMATS, Columns
from routebook.ledger.export_lines import ExportError
from routebook.ledger.exports import mapping_file, mapping_of, read
from routebook.ledger.reconcile import MEANINGS, Kind
from tests.docs import pages

PAGE = "docs/reconciliation.md"
SOURCE = pages.ROOT / "src" / "routebook" / "ledger"


def told(heading: str) -> list[str]:
    return pages.first_column(pages.section(PAGE, heading))


def test_every_format_and_every_column_has_an_entry() -> None:
    assert told("## Formats") == [each.name for each in FORMATS]
    assert told("## Other exports") == list(Columns.__struct_fields__)


def test_every_kind_of_difference_has_an_entry_and_a_meaning() -> None:
    likely = {
        word
        for name in ("reconcile.py", "reconcile_sums.py")
        for word in re.findall(r'likely(?:, why)? ?= ?"(\w+)"', Path(SOURCE / name).read_text("utf-8"))
    }
    assert len(likely) == 5
    assert set(told("## Kinds of difference")) == {kind.value for kind in Kind} | likely
    assert MEANINGS.keys() == set(Kind)


def test_the_mappings_that_are_shown_are_taken() -> None:
    (block,) = pages.blocks("text", [pages.ROOT / PAGE])
    assert mapping_file(block.text.encode()).provider == "acme"
    shown = re.search(r"--map (\S+)", pages.read(PAGE))
    assert shown is not None
    mapping = mapping_of(shown[1])
    assert read(b"when,ref,model,in,out,usd\n2026-04-01,a,b,1,2,3\n", mapping=mapping).provider == "acme"
    with pytest.raises(ExportError):
        read(b"when,ref\n2026-04-01,a\n", mapping=mapping)
