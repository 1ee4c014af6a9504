"""Prices as they were: the configuration's own days, and those of the price list."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from routebook.core.money import PriceSheet
from routebook.load.catalog import load_stock
from routebook.load.history import PriceHistory
from routebook.load.settings import load_settings

NOW = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
FILE = """
[[providers]]
slug = "acme"
dialect = "openai_chat"
base_url = "http://127.0.0.1:9001/v1"
[[models]]
slug = "acme/large"
[[models.endpoints]]
provider = "acme"
upstream_model = "large"
[[models.endpoints.pricing]]
effective = 2026-02-01
prompt = "0.1"
[[models.endpoints.pricing]]
effective = 2026-03-01
prompt = "0.2"
"""
ACME = ("acme:acme/large:large", "acme/large")


def history(environ: dict[str, str], folder: Path | None = None) -> PriceHistory:
    path = None
    if folder is not None:
        path = folder / "routebook.toml"
        path.write_text(FILE, "utf-8")
    return PriceHistory(load_settings(path, environ), environ, NOW)


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


def prompt_price(sheet: PriceSheet | None) -> Decimal | None:
    return None if sheet is None else sheet.base.prompt


@pytest.mark.parametrize(
    ("day", "price"),
    [("2026-01-31", None), ("2026-02-01", "0.1"), ("2026-02-28", "0.1"), ("2026-03-01", "0.2"), ("2030-01-01", "0.2")],
)
def test_the_file_says_what_held_when(tmp_path: Path, day: str, price: str | None) -> None:
    found = history({}, tmp_path).sheets_at(ns(day))(*ACME)
    assert prompt_price(found) == (None if price is None else Decimal(price))


def test_an_endpoint_that_is_not_there_has_no_price(tmp_path: Path) -> None:
    sheets = history({}, tmp_path).sheets_at(ns("2026-03-01"))
    assert sheets("acme:acme/large:small", "acme/large") is None
    assert sheets("gone:acme/large:large", "gone/large") is None


def test_the_price_list_says_what_held_on_each_of_its_days() -> None:
    environ = {"OPENAI_API_KEY": "x", "DEEPSEEK_API_KEY": "x"}
    loaded = load_settings(None, environ)
    known = history(environ)
    stock = load_stock(loaded, environ, NOW)
    assert stock.price_days, "the list has dated prices of these providers"
    changed = 0
    for day in stock.price_days:
        before_ns, after_ns = ns(day) - 1, ns(day)
        then = load_stock(loaded, environ, datetime.fromisoformat(day).replace(tzinfo=UTC))
        for model in then.catalog.models.values():
            for endpoint in model.endpoints:
                old = known.sheets_at(before_ns)(endpoint.id, model.slug)
                new = known.sheets_at(after_ns)(endpoint.id, model.slug)
                assert prompt_price(new) == prompt_price(endpoint.pricing)
                changed += (old and old.base) != (new and new.base)
    assert changed, "on such a day a price changes"
