"""`routebook config check`: does a configuration file hold, and what would be served with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cyclopts

from routebook.cli.models import print_table, stock_now

app = cyclopts.App(name="config", help="Work on configuration files.")


@app.command
def check(file: Annotated[Path, cyclopts.Parameter(help="The configuration file.")], /) -> None:
    """Check a file and print what would be served with it in this environment. Starts nothing, asks nobody.

    An error names the line and ends with 1.

    Example: `routebook config check routebook.toml`
    """
    loaded, stock = stock_now("routebook config check", file)
    settings, catalog = loaded.settings, stock.catalog
    print(f"{file}: good")
    print(f"server     http://{settings.server.host}:{settings.server.port}, durability {settings.store.durability}")
    print(f"data       {loaded.home}, store {settings.store.url}")
    print(f"prices     {stock.prices or 'from this file only'}")
    for provider in catalog.providers.values():
        held = "with credential" if provider.slug in stock.keys else "without credential"
        print(f"provider   {provider.slug}: {provider.dialect} at {provider.base_url}, {held}")
    if not catalog.providers:
        print("provider   none: nothing can be served")
    print(f"models     {len(catalog.models)}")
    if catalog.models:
        print()
        print_table(catalog)
