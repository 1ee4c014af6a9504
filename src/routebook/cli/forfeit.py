"""`routebook ledger forfeit`: gives back what was lent to a daybook that is lost for good."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cyclopts

if TYPE_CHECKING:
    from routebook.core.people import Key
    from routebook.load.settings import Loaded
    from routebook.store.lending import Lease


def forfeit(
    daybook: Annotated[str, cyclopts.Parameter(help="Its name, as `routebook ledger verify` shows it.")],
    /,
    *,
    config: Annotated[Path | None, cyclopts.Parameter(help="Configuration file; else ROUTEBOOK_CONFIG.")] = None,
) -> None:
    """Let keys have back what was lent to a daybook that will never come back: its host is lost.

    Money lent to a worker counts as spent until its daybook is recovered, because its calls may have cost it. Starting
    the gateway recovers the daybooks of its data folder by itself, so this refuses to touch those. Should the daybook
    turn up after all, its calls are posted when they are shipped, and may pass a limit.

    Example: `routebook ledger forfeit 4fK`
    """
    import asyncio

    from routebook.core.ids import from_base62
    from routebook.core.money import plain
    from routebook.daybook import folder
    from routebook.load.settings import load_settings

    if len(daybook) != 3 or from_base62(daybook) is None:
        _stop(f"a daybook's name has three letters or digits, as in `routebook ledger verify`, not {daybook!r}", 2)
    loaded = load_settings(config, os.environ)
    if daybook in folder.names(loaded.home):
        _stop(
            f"daybook {daybook} is in {folder.root(loaded.home)}: it is not lost, and the gateway that starts here "
            "recovers it. Move the folder away if you know better",
            1,
        )
    leases, keys = asyncio.run(_given_back(loaded, daybook))
    for lease in leases:
        print(f"{plain(lease.amount)} USD back to {_named(lease, keys)}, {lease.window.first} to {lease.window.last}")
    print(f"daybook {daybook}: {len(leases)} leases given back" if leases else f"nothing is lent to daybook {daybook}")


async def _given_back(loaded: Loaded, daybook: str) -> tuple[list[Lease], list[Key]]:
    from routebook.store.open import open_store

    store = open_store(loaded.settings, loaded.home)
    try:
        return await store.forfeit(daybook), await store.keys()
    finally:
        await store.close()


def _named(lease: Lease, keys: list[Key]) -> str:
    from routebook.store.lending import key_of

    hash = key_of(lease.window.budget)
    return next((f"key {key.name!r}" for key in keys if key.hash == hash), f"the deleted key {hash[:12]}")


def _stop(message: str, code: int) -> None:
    print(f"routebook ledger forfeit: {message}", file=sys.stderr)
    raise SystemExit(code)
