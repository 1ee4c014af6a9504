"""`routebook serve`: the gateway, one start-up line, a drain at SIGTERM.

Exit 0, or 1 if something was wrong or rows are left that did not reach the store.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cyclopts

if TYPE_CHECKING:
    from routebook.compose import Gateway
    from routebook.load.settings import Loaded


def serve(
    *,
    config: Annotated[Path | None, cyclopts.Parameter(help="Configuration file; else ROUTEBOOK_CONFIG.")] = None,
    host: Annotated[str | None, cyclopts.Parameter(help="Address to listen on; else 127.0.0.1.")] = None,
    port: Annotated[int | None, cyclopts.Parameter(help="Port to listen on; else 8080; 0 takes a free one.")] = None,
    workers: Annotated[int | None, cyclopts.Parameter(help="Worker processes; this version has one.")] = None,
) -> int:
    """Run the gateway until SIGTERM or Ctrl-C, which let running calls end first.

    Example: `routebook serve --config routebook.toml --port 8080`
    """
    from routebook.cli.running import run
    from routebook.load.settings import Flags, load_settings
    from routebook.observe import log

    log.configure()
    loaded = load_settings(config, os.environ, Flags(host=host, port=port, workers=workers))
    return run(_serve(loaded))


async def _serve(loaded: Loaded) -> int:
    from routebook.cli.running import Stopping, book_is_free, check_address, farewell, served
    from routebook.compose import Gateway

    server = loaded.settings.server
    with Stopping() as stopping:
        check_address(server.host, server.port)
        if not await book_is_free(loaded.home, stopping):
            return 0
        gateway = Gateway(loaded, os.environ)
        async with served(gateway, [server.port]) as running:
            await _say_hello(gateway, running.url)
            await stopping.unless(running.wait())
            if stopping:
                print(f"Stopping: running calls get {server.drain:g} s to end.", file=sys.stderr)
            else:
                print("routebook: the HTTP server ended by itself; its log is above", file=sys.stderr)
    return farewell(running) if stopping else 1


async def _say_hello(gateway: Gateway, url: str) -> None:
    """The start-up line, and what an operator has to know besides."""
    from routebook import __version__
    from routebook.observe.log import log
    from routebook.store.open import database_path

    loaded, catalog = gateway.loaded, gateway.stock.catalog
    settings = loaded.settings
    print(
        f"Routebook {__version__} serves {url}/api/v1 · {_many(len(catalog.models), 'model')} of "
        f"{_many(len(catalog.providers), 'provider')} · store {database_path(settings, loaded.home)} · "
        f"durability {settings.store.durability} · edge asgi"
    )
    if not catalog.providers:
        print(
            "No provider is configured: set OPENAI_API_KEY, ANTHROPIC_API_KEY or another provider's variable, name one "
            "in a file (--config), or try `routebook demo`."
        )
    if loaded.admin_key_hash is None and not await gateway.app.store.keys():
        print("No key exists: `routebook keys create --name NAME` makes one, at once usable.")
    sys.stdout.flush()
    for note in (*loaded.notes, *gateway.stock.notes):
        log.warning("%s", note)


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
