"""`routebook models`: what this gateway would serve, by whom and at which price. Asks no provider."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import cyclopts

if TYPE_CHECKING:
    from decimal import Decimal

    from routebook.core.catalog import Catalog, Model
    from routebook.load.catalog import Stock
    from routebook.load.settings import Loaded

app = cyclopts.App(name="models")

Config = Annotated[Path | None, cyclopts.Parameter(help="Configuration file; else ROUTEBOOK_CONFIG.")]


@app.default
def models(
    *,
    json: Annotated[bool, cyclopts.Parameter(negative=(), help="One JSON array, as the API lists them.")] = False,
    config: Config = None,
) -> None:
    """Show the models that would be served: from the configuration, and from known providers whose key is set.

    Example: `OPENAI_API_KEY=… routebook models`
    """
    _, stock = stock_now("routebook models", config)
    if json:
        from routebook.control.catalog import model_data
        from routebook.wire.codec import encode

        print(encode([model_data(model) for model in stock.catalog.models.values()]).decode())
        return
    if not stock.catalog.models:
        print(
            "no model here: set a provider's key variable (OPENAI_API_KEY, ANTHROPIC_API_KEY, …) or describe providers "
            "and models in a file and pass --config FILE",
            file=sys.stderr,
        )
        return
    print_table(stock.catalog)


def stock_now(command: str, config: Path | None) -> tuple[Loaded, Stock]:
    """What would be served at this moment. Notes go to stderr; an error ends the program with 1."""
    from datetime import UTC, datetime

    from routebook.config.problems import ConfigError
    from routebook.load.catalog import load_stock
    from routebook.load.settings import load_settings
    from routebook.observe.clock import NS, SystemClock

    try:
        loaded = load_settings(config, os.environ)
        stock = load_stock(loaded, os.environ, datetime.fromtimestamp(SystemClock().now_ns() // NS, UTC))
    except ConfigError as error:
        stop(command, str(error))
    for note in (*loaded.notes, *stock.notes):
        print(f"{command}: note: {note}", file=sys.stderr)
    return loaded, stock


def print_table(catalog: Catalog) -> None:
    """Models as a table for people; prices in USD per million tokens, of the first endpoint."""
    from routebook.cli.fitting import Sheet
    from routebook.cli.terminal import Terminal

    table = Sheet(box=None, header_style="bold", pad_edge=False)
    table.add_column("model", overflow="fold")
    table.add_column("providers", overflow="fold")
    for name in ("prompt $/M", "completion $/M", "context"):
        table.add_column(name, justify="right", no_wrap=True)
    for model in catalog.models.values():
        context = "" if model.context_length is None else f"{model.context_length:,}"
        providers = ", ".join(endpoint.tag for endpoint in model.endpoints)
        table.add_row(model.slug, providers, _per_million(model, "prompt"), _per_million(model, "completion"), context)
    console = Terminal()
    if not console.is_terminal:
        console.width = 160  # a pipe has no width: do not fold what a script reads
    console.print(table)


def _per_million(model: Model, key: str) -> str:
    from routebook.core.money import plain

    sheet = model.endpoints[0].pricing
    price: Decimal | None = None if sheet is None else getattr(sheet.base, key)
    if price is None:
        return "unpriced"
    return "free" if price == 0 else plain(price.scaleb(6))


def stop(command: str, message: str, code: int = 1) -> NoReturn:
    """End the program with a sentence on stderr."""
    print(f"{command}: {message}", file=sys.stderr)
    raise SystemExit(code)
