"""The configuration with another policy laid over it, or other prices: what a replay compares with."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from routebook.config.lines import key_lines
from routebook.config.pricebook import Other, check_price_book, parse_price_book, with_prices
from routebook.config.problems import ConfigError, misspelt
from routebook.config.reading import check_settings, parse_settings
from routebook.config.secret import Secret
from routebook.core.catalog import Catalog, Model
from routebook.core.money import PriceSheet
from routebook.load.catalog import Stock, load_stock
from routebook.load.history import PriceHistory
from routebook.load.settings import Loaded
from routebook.metering.revision import Sheets

POLICY_TABLES = ("routing", "models", "providers", "catalog")

T = TypeVar("T")
R = TypeVar("R")


class Scene(msgspec.Struct, frozen=True):
    """One configuration as it was at a moment, with the prices of other moments."""

    loaded: Loaded
    catalog: Catalog
    passthrough: Callable[[str], Model | None]
    sheets_at: Callable[[int], Sheets]


def scene(loaded: Loaded, environ: Mapping[str, str], moment_ns: int, prices: Path | None = None) -> Scene:
    """The catalogue as it holds at `moment_ns`, with the price book in it. Raises ConfigError with file and line."""
    now = datetime.fromtimestamp(moment_ns // 10**9, UTC)
    stock = load_stock(loaded, environ, now)
    history = PriceHistory(loaded, environ, now)
    if prices is None:
        return Scene(loaded, stock.catalog, stock.passthrough, history.sheets_at)

    def parsed(table: Mapping[str, Any]) -> tuple[Other, ...]:
        book = parse_price_book(table)
        check_price_book(book, stock.catalog)
        return book

    return _priced(loaded, stock, history, read_toml(prices, parsed), moment_ns)


def _priced(loaded: Loaded, stock: Stock, history: PriceHistory, book: tuple[Other, ...], moment_ns: int) -> Scene:
    models = {slug: with_prices(model, book, moment_ns) for slug, model in stock.catalog.models.items()}
    changed = {
        (endpoint.id, endpoint.model): endpoint
        for slug, model in models.items()
        if model is not stock.catalog.models[slug]
        for endpoint in model.endpoints
        if any(row.means(endpoint) for row in book)
    }

    def sheets_at(at_ns: int) -> Sheets:
        others = history.sheets_at(at_ns)

        def sheet(endpoint_id: str, model: str) -> PriceSheet | None:
            endpoint = changed.get((endpoint_id, model))
            return others(endpoint_id, model) if endpoint is None else endpoint.at(at_ns).pricing

        return sheet

    return Scene(loaded, replace(stock.catalog, models=models), stock.passthrough, sheets_at)


def with_policy(loaded: Loaded, policy: Path) -> Loaded:
    """The configuration with the tables of a policy file laid over it.

    Keys of [routing] and [catalog] replace the same keys; a model or provider replaces the one of its slug, or is
    added. Raises ConfigError with file and line.
    """

    def parsed(table: Mapping[str, Any]) -> Loaded:
        for name in table:
            if name not in POLICY_TABLES:
                raise ConfigError(f"a policy has no such table{misspelt(name, POLICY_TABLES)}", (name,))
        given, settings = parse_settings(table), loaded.settings
        keys = {each.slug: Secret(each.api_key) for each in given.providers if each.api_key}
        bare = [replace(each, api_key=None) for each in given.providers]
        merged = replace(
            settings,
            routing=_over(settings.routing, given.routing, table.get("routing", {})),
            catalog=_over(settings.catalog, given.catalog, table.get("catalog", {})),
            models=_by_slug(settings.models, given.models),
            providers=_by_slug(settings.providers, bare),
        )
        check_settings(merged)
        # Places in the merged tables are not places in either file: an error names the file alone.
        return replace(loaded, settings=merged, provider_keys={**loaded.provider_keys, **keys}, file=policy, lines={})

    return read_toml(policy, parsed)


def read_toml(path: Path, parse: Callable[[Mapping[str, Any]], R]) -> R:
    """What `parse` makes of a TOML file. Raises ConfigError with file and line."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise ConfigError(f"the file cannot be read: {error.strerror}", file=str(path)) from None
    except UnicodeDecodeError:
        raise ConfigError("the file is not UTF-8 text", file=str(path)) from None
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not valid TOML: {error}", file=str(path)) from None
    try:
        return parse(table)
    except ConfigError as error:
        raise error.located(str(path), key_lines(text)) from None


def _over(settings: T, given: T, named: Mapping[str, Any]) -> T:
    """Those keys that the file names."""
    return replace(settings, **{name: getattr(given, name) for name in named})  # type: ignore[type-var]


def _by_slug(settings: list[T], given: list[T]) -> list[T]:
    """The configured ones in their order, replaced where a slug is given again; then new ones."""
    new = {each.slug: each for each in given}  # type: ignore[attr-defined]
    kept = [new.pop(each.slug, each) for each in settings]  # type: ignore[attr-defined]
    return [*kept, *new.values()]
