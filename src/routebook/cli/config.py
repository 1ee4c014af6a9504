"""`routebook config check`: does a configuration file hold, and what would be served with it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import cyclopts

from routebook.cli.models import print_table, stock_now, stop

app = cyclopts.App(name="config", help="Work on configuration files.")

_COMMAND = "routebook config check"


@app.command
def check(
    file: Annotated[Path | None, cyclopts.Parameter(help="The configuration file; else ROUTEBOOK_CONFIG.")] = None, /
) -> None:
    """Check a file and print what would be served with it in this environment. Starts nothing, asks nobody.

    An error names the line and ends with 1. What is allowed and looks like a mistake is a note.

    Example: `routebook config check routebook.toml`
    """
    from routebook.cli.running import shown
    from routebook.compose import tls_of
    from routebook.config.problems import ConfigError

    if file is None and not os.environ.get("ROUTEBOOK_CONFIG"):
        stop(_COMMAND, f"FILE is missing, and ROUTEBOOK_CONFIG names none\nTry: {_COMMAND} --help", 2)
    loaded, stock = stock_now(_COMMAND, file)
    settings, catalog = loaded.settings, stock.catalog
    try:
        tls_of(loaded)
    except ConfigError as error:
        stop(_COMMAND, str(error))
    server = settings.server
    workers = "" if server.workers == 1 else f", {server.workers} workers"
    print(f"{loaded.file}: good")
    print(f"server     {shown(server)}{workers}, durability {settings.store.durability}")
    print(f"data       {loaded.home}, store {settings.store.url}")
    print(f"prices     {stock.prices or 'from this file only'}")
    for provider in catalog.providers.values():
        held = "with credential" if provider.slug in {*stock.keys, *stock.accounts} else "without credential"
        print(f"provider   {provider.slug}: {provider.dialect} at {provider.base_url}, {held}")
    if not catalog.providers:
        print("provider   none: nothing can be served")
    print(f"models     {len(catalog.models)}")
    if catalog.models:
        print()
        print_table(catalog)
