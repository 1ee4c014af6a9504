"""Strategies for whatever a provider may report and charge."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from routebook.core.catalog import Accounting
from routebook.core.money import PRICE_KEYS, Override, Prices, PriceSheet
from routebook.core.usage import Usage

RATES = st.decimals(0, 2, allow_nan=False, allow_infinity=False, places=12)
FRACTIONS = st.decimals(0, 1, allow_nan=False, allow_infinity=False, places=4)


def prices(**fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[Prices]:
    return st.builds(Prices, **{key: fixed.get(key, st.none() | RATES) for key in PRICE_KEYS})


def overrides() -> st.SearchStrategy[Override]:
    return st.builds(
        Override,
        prices=prices(),
        min_prompt_tokens=st.none() | st.integers(0, 2000),
        utc_start=st.none() | st.sampled_from((0, 600, 2200)),
        utc_end=st.none() | st.sampled_from((100, 1200, 2359)),
    )


def sheets(**fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[PriceSheet]:
    """Sheets that have a price."""
    return st.builds(
        PriceSheet,
        base=prices(**{"prompt": RATES, **fixed}),
        discount=FRACTIONS,
        overrides=st.lists(overrides(), max_size=3).map(tuple),
    )


ACCOUNTINGS = st.builds(Accounting, markup=FRACTIONS, byok_fee=FRACTIONS)


def usages(most: int = 5000, **fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[Usage]:
    """Usages within bounds; parts may contradict the whole."""
    count = st.none() | st.integers(0, most)
    names = [name for name in Usage.__struct_fields__ if name not in ("raw", "web_searches", "web_fetches")]
    return st.builds(Usage, **{name: fixed.get(name, count) for name in names}, web_searches=st.none() | st.just(3))


def total(lines: tuple[Any, ...] | None) -> Decimal:
    assert lines is not None
    return sum((line.amount for line in lines), Decimal(0))
