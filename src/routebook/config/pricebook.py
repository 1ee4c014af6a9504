"""A price book: other prices for endpoints that are there, to see what they would change. Pure.

[[prices]]
model = "acme/large"
provider = "acme"              # a slug or a tag; without it all endpoints of the model
[prices.pricing]               # as under [[models.endpoints]]; several with `effective` are dated prices
prompt = "0.0000001"
completion = "0.0000004"
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from routebook.config.problems import ConfigError, misspelt
from routebook.config.reading import parse_table
from routebook.config.settings import PricingTable
from routebook.config.sheet import schedule
from routebook.core.catalog import Catalog, Dated, Endpoint, Model


class PriceRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    model: str
    pricing: PricingTable | list[PricingTable]
    provider: str | None = None


class PriceBookFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    prices: list[PriceRow]


class Other(msgspec.Struct, frozen=True):
    """One row, ready: whose prices, and which."""

    model: str
    provider: str | None
    sheets: tuple[Dated, ...]

    def means(self, endpoint: Endpoint) -> bool:
        return self.model == endpoint.model and self.provider in (None, endpoint.tag, endpoint.provider.slug)


def parse_price_book(table: Mapping[str, Any]) -> tuple[Other, ...]:
    """The rows of a parsed file, in order; of two that mean one endpoint the later counts. Raises ConfigError."""
    book = parse_table(table, PriceBookFile)
    return tuple(
        Other(row.model, row.provider, schedule(row.pricing, ("prices", index, "pricing")))
        for index, row in enumerate(book.prices)
    )


def check_price_book(book: tuple[Other, ...], catalog: Catalog) -> None:
    """Raises ConfigError for a row that means nothing of the catalogue."""
    for index, row in enumerate(book):
        model = catalog.models.get(row.model)
        if model is None:
            near = [slug for slug in catalog.models if slug.rpartition("/")[2] == row.model.rpartition("/")[2]]
            hint = misspelt(row.model, near) if near else ""
            raise ConfigError(f'no model "{row.model}" here{hint}', ("prices", index, "model"))
        if not any(row.means(endpoint) for endpoint in model.endpoints):
            tags = [endpoint.tag for endpoint in model.endpoints]
            raise ConfigError(
                f'"{row.provider}" does not serve it{misspelt(row.provider or "", tags)}', ("prices", index)
            )


def with_prices(model: Model, book: tuple[Other, ...], moment_ns: int) -> Model:
    """The model with the book's prices in force at that moment where it has some, else the very same model."""
    found = tuple(_priced(endpoint, book, moment_ns) for endpoint in model.endpoints)
    if all(new is old for new, old in zip(found, model.endpoints, strict=True)):
        return model
    return msgspec.structs.replace(model, endpoints=found)


def _priced(endpoint: Endpoint, book: tuple[Other, ...], moment_ns: int) -> Endpoint:
    sheets = next((row.sheets for row in reversed(book) if row.means(endpoint)), None)
    if sheets is None:
        return endpoint
    return msgspec.structs.replace(endpoint, pricing=None, schedule=sheets).at(moment_ns)
