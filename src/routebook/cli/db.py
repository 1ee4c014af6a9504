"""`routebook db`: the store's schema."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import cyclopts

app = cyclopts.App(name="db", help="Look after the store's database.")


@app.command
def upgrade(
    *,
    config: Annotated[Path | None, cyclopts.Parameter(help="Configuration file; else ROUTEBOOK_CONFIG.")] = None,
) -> None:
    """Bring the store's schema up to date. Starting the gateway does the same; this does it beforehand.

    Example: `routebook db upgrade`
    """
    from routebook.load.settings import load_settings
    from routebook.store.open import database_path, upgrade_store

    loaded = load_settings(config, os.environ)
    before, after = upgrade_store(loaded.settings, loaded.home)
    file = database_path(loaded.settings, loaded.home)
    if before == after:
        print(f"{file} has schema {after} already; nothing to do")
    elif before == 0:
        print(f"{file} made with schema {after}")
    else:
        print(f"{file} upgraded from schema {before} to {after}")
