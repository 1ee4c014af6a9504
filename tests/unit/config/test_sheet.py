"""Price sheets from the configuration: every digit kept, every condition checked."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routebook.config.problems import ConfigError, KeyPath
from routebook.config.settings import PricingTable
from routebook.config.sheet import price_sheet
from routebook.core.money import Override, Prices, plain


def table(**keys: object) -> PricingTable:
    return msgspec.convert(keys, PricingTable)


@given(st.decimals(min_value=0, max_value=1000, allow_nan=False, allow_infinity=False, places=30))
def test_a_price_keeps_every_digit(price: Decimal) -> None:
    sheet = price_sheet(table(prompt=plain(price)), ())
    assert sheet.base.prompt == price
    assert sheet.base.completion is None, "an absent price stays absent"


def test_zero_is_free_and_not_absent() -> None:
    sheet = price_sheet(table(prompt="0", completion="0.000"), ())
    assert sheet.base == Prices(prompt=Decimal(0), completion=Decimal(0))
    assert sheet.base.completion is not None


def test_overrides_keep_their_conditions_and_order() -> None:
    sheet = price_sheet(
        table(
            prompt="0.1",
            overrides=[
                {"min_prompt_tokens": 200000, "prompt": "0.2"},
                {"utc_start": 2230, "utc_end": 130, "prompt": "0.3"},
            ],
        ),
        (),
    )
    assert sheet.overrides == (
        Override(Prices(prompt=Decimal("0.2")), min_prompt_tokens=200000),
        Override(Prices(prompt=Decimal("0.3")), utc_start=2230, utc_end=130),
    )


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ({"prompt": "cheap"}, ("prompt",)),
        ({"prompt": "-0.1"}, ("prompt",)),
        ({"prompt": "Infinity"}, ("prompt",)),
        ({"prompt": "NaN"}, ("prompt",)),
        ({"discount": "1.5"}, ("discount",)),
        ({"overrides": [{"promt": "1"}]}, ("overrides", 0, "promt")),
        ({"overrides": [{"prompt": "x"}]}, ("overrides", 0, "prompt")),
        ({"overrides": [{"prompt": 3}]}, ("overrides", 0, "prompt")),
        ({"overrides": [{"min_prompt_tokens": "5", "prompt": "1"}]}, ("overrides", 0, "min_prompt_tokens")),
        ({"overrides": [{"min_prompt_tokens": -5, "prompt": "1"}]}, ("overrides", 0, "min_prompt_tokens")),
        ({"overrides": [{"utc_start": 100, "prompt": "1"}]}, ("overrides", 0)),
        ({"overrides": [{"utc_start": 160, "utc_end": 200, "prompt": "1"}]}, ("overrides", 0, "utc_start")),
        ({"overrides": [{"utc_start": 100, "utc_end": 2400, "prompt": "1"}]}, ("overrides", 0, "utc_end")),
    ],
)
def test_an_impossible_sheet_is_refused_at_its_key(keys: dict[str, object], path: KeyPath) -> None:
    with pytest.raises(ConfigError) as caught:
        price_sheet(table(**keys), ("here",))
    assert caught.value.path == ("here", *path)


def test_the_revision_changes_with_every_part_and_with_nothing_else() -> None:
    first = price_sheet(table(prompt="0.10", completion="1"), (), "2026-11-24")
    same = price_sheet(table(prompt="0.1", completion="1.0"), (), "2026-11-24")
    assert first.revision == same.revision
    assert first.revision.startswith("2026-11-24 ")
    others = [
        table(prompt="0.2", completion="1"),
        table(prompt="0.1", completion="1", discount="0.1"),
        table(prompt="0.1", completion="1", overrides=[{"min_prompt_tokens": 1, "prompt": "2"}]),
        table(prompt="0.1", completion="1", overrides=[{"min_prompt_tokens": 2, "prompt": "2"}]),
        table(prompt="0.1", request="1"),
    ]
    assert len({first.revision, *(price_sheet(other, (), "2026-11-24").revision for other in others)}) == 6
