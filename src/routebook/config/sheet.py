"""Pricing tables of the configuration as price sheets, digit for digit, each with the day it comes into force.

Source of the names and of the override rules: generation record, section 4.1. An absent key stays absent (the metering
room says what it falls back to), "0" means free.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from hashlib import sha256

from routebook.config.problems import ConfigError, KeyPath, misspelt
from routebook.config.settings import PricingTable
from routebook.core.catalog import Dated
from routebook.core.money import PRICE_KEYS, Override, Prices, PriceSheet, plain

CONDITIONS = ("min_prompt_tokens", "utc_start", "utc_end")


def schedule(table: PricingTable | Sequence[PricingTable], path: KeyPath, dated: str = "") -> tuple[Dated, ...]:
    """The sheets of an endpoint in order of their days. Raises ConfigError for two that claim the same day.

    A table without `effective` holds from the beginning; its revision carries `dated`, the day the file was changed.
    """
    if isinstance(table, PricingTable):
        return (Dated(_since_ns(table.effective), price_sheet(table, path, dated)),)
    found: dict[int, Dated] = {}
    for index, entry in enumerate(table):
        since_ns = _since_ns(entry.effective)
        if since_ns in found:
            told = "two price tables without `effective`" if entry.effective is None else "two price tables of one day"
            raise ConfigError(f"{told}; give each its own `effective`", (*path, index))
        found[since_ns] = Dated(since_ns, price_sheet(entry, (*path, index), dated))
    return tuple(found[since_ns] for since_ns in sorted(found))


def _since_ns(effective: date | None) -> int:
    if effective is None:
        return 0
    return int(datetime(effective.year, effective.month, effective.day, tzinfo=UTC).timestamp()) * 10**9


def price_sheet(table: PricingTable, path: KeyPath, dated: str = "") -> PriceSheet:
    """The sheet; its day, else `dated` (the day the file was last changed), goes into its revision.

    Raises ConfigError.
    """
    dated = dated if table.effective is None else table.effective.isoformat()
    base = {name: _price(text, (*path, name)) for name in PRICE_KEYS if (text := getattr(table, name)) is not None}
    discount = Decimal(0)
    if table.discount is not None:
        discount = _number(table.discount, (*path, "discount"))
        if not 0 <= discount <= 1:
            raise ConfigError('a discount is a fraction from "0" to "1"', (*path, "discount"))
    overrides = tuple(
        _override(entry, (*path, "overrides", index)) for index, entry in enumerate(table.overrides or ())
    )
    prices = Prices(**base)
    return PriceSheet(prices, discount, overrides, "configuration", revision_of(prices, discount, overrides, dated))


def revision_of(base: Prices, discount: Decimal, overrides: tuple[Override, ...], dated: str) -> str:
    """`2026-11-24 1a2b3c4d5e6f`: the day, and a digest that changes when any price or condition does."""
    parts = [f"discount={plain(discount)}", _text(base)]
    parts += [f"{o.min_prompt_tokens},{o.utc_start},{o.utc_end}:{_text(o.prices)}" for o in overrides]
    return f"{dated} {sha256('|'.join(parts).encode()).hexdigest()[:12]}".strip()


def _text(prices: Prices) -> str:
    given = [(name, getattr(prices, name)) for name in PRICE_KEYS]
    return ",".join(f"{name}={plain(price)}" for name, price in given if price is not None)


def _override(entry: dict[str, str | int], path: KeyPath) -> Override:
    prices: dict[str, Decimal] = {}
    conditions: dict[str, int] = {}
    for key, value in entry.items():
        here = (*path, key)
        if key in CONDITIONS:
            if not isinstance(value, int):
                raise ConfigError("must be a whole number", here)
            conditions[key] = value
        elif key in PRICE_KEYS:
            if not isinstance(value, str):
                raise ConfigError('must be a decimal in quotes, e.g. "0.0000025"', here)
            prices[key] = _price(value, here)
        else:
            raise ConfigError(f"unknown key{misspelt(key, (*CONDITIONS, *PRICE_KEYS))}", here)
    if conditions.get("min_prompt_tokens", 0) < 0:
        raise ConfigError("tokens, 0 or more", (*path, "min_prompt_tokens"))
    if ("utc_start" in conditions) != ("utc_end" in conditions):
        raise ConfigError("utc_start and utc_end belong together", path)
    for name in ("utc_start", "utc_end"):
        if name in conditions and not (0 <= conditions[name] < 2400 and conditions[name] % 100 < 60):
            raise ConfigError("a time of day as HHMM, 0 to 2359", (*path, name))
    return Override(Prices(**prices), **conditions)


def _price(text: str, path: KeyPath) -> Decimal:
    value = _number(text, path)
    if value < 0:
        raise ConfigError("a price is 0 or more", path)
    return value


def _number(text: str, path: KeyPath) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise ConfigError(f'"{text}" is not a decimal number; write e.g. "0.0000025"', path)
    return value
