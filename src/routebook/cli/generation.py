"""`routebook generation`: records for people (a receipt) and for scripts (JSON).

Reads the daybooks and the store of the data folder, whether the gateway runs or not; with `--url` it asks a gateway
through the typed client, which works against any server of this API.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import cyclopts

from routebook.cli.problems import FULL

if TYPE_CHECKING:
    from routebook.core.generation import Folded
    from routebook.daybook.reading import ReadOnlyDaybook
    from routebook.metering.record import Latency
    from routebook.store.port import Store

R = TypeVar("R")

app = cyclopts.App(name="generation", help="Show generation records.")

Config = Annotated[Path | None, cyclopts.Parameter(help="Configuration file; else ROUTEBOOK_CONFIG.")]
Json = Annotated[bool, cyclopts.Parameter(negative=(), help="JSON instead of a receipt, for scripts.")]


@app.command
def show(
    id: Annotated[str, cyclopts.Parameter(help="The generation id, as in the header X-Generation-Id.")],
    /,
    *,
    json: Json = False,
    url: Annotated[
        str | None, cyclopts.Parameter(help="Ask this gateway (…/api/v1) instead of reading the data folder.")
    ] = None,
    key: Annotated[str | None, cyclopts.Parameter(help="API key for --url; else ROUTEBOOK_API_KEY.")] = None,
    config: Config = None,
) -> None:
    """Show one record.

    Example: `routebook generation show gen-1727282430-aBcDeFgHiJkLmNoPqRsT`
    """
    if key is not None and url is None:
        _stop("--key goes with --url; without a URL the records of the data folder are read", 2)
    data = _from_url(id, url, key) if url is not None else _from_files(id, config)
    if json:
        _print_json(data)
        return
    from routebook.cli.receipt import print_receipt
    from routebook.cli.terminal import Terminal

    print_receipt(data, Terminal())


@app.command(name="list")
def list_generations(
    *,
    since: Annotated[
        str | None, cyclopts.Parameter(help="Only calls of the last 90s, 30m, 1h or 2d, or since a UTC time (ISO).")
    ] = None,
    model: Annotated[str | None, cyclopts.Parameter(help="Only calls that this model answered.")] = None,
    limit: Annotated[int, cyclopts.Parameter(help="At most so many.")] = 20,
    json: Annotated[bool, cyclopts.Parameter(negative=(), help="A JSON array of records, for scripts.")] = False,
    config: Config = None,
) -> None:
    """List the newest calls, those under way included.

    Example: `routebook generation list --since 1h --model openai/gpt-4o-mini`
    """
    from routebook.metering.record import record
    from routebook.observe.clock import SystemClock

    if limit < 1:
        _stop(f"--limit must be 1 or more, not {limit}", 2)
    since_ns = 0 if since is None else moment(since, SystemClock().now_ns())
    if since_ns is None:
        _stop(f"--since must be like 30m, 1h, 2d or 2027-01-31T12:00:00Z, not {since!r}", 2)

    async def work(books: Sequence[ReadOnlyDaybook], store: Store | None, latency: Latency) -> list[dict[str, Any]]:
        from routebook.daybook.library import latest

        calls = await latest(books, store, since_ns=since_ns, model=model, limit=limit)
        return [record(call, latency) for call in calls]

    records = with_records(config, work)
    if json:
        _print_json(records)
    else:
        _print_table(records)


def moment(text: str, now_ns: int) -> int | None:
    """Nanoseconds of unix time that `1h` (ago) or an ISO time means; None if it is neither. Without a zone: UTC."""
    import re
    from datetime import UTC, datetime

    ago = re.fullmatch(r"(\d+)([smhd])", text.strip())
    if ago is not None:
        seconds = int(ago[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[ago[2]]
        return max(0, now_ns - seconds * 10**9)
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(0, int(at.timestamp()) * 10**9 + at.microsecond * 1000)


def with_records(
    config: Path | None, work: Callable[[Sequence[ReadOnlyDaybook], Store | None, Latency], Awaitable[R]]
) -> R:
    """Open the daybooks and the store of the configured data folder, do the work, close them.

    The store is None where there is no database yet. Ends the program with a sentence if something cannot be opened.
    """
    import asyncio

    from routebook.core.errors import Fault
    from routebook.daybook.reading import read_daybooks
    from routebook.daybook.shelf import DaybookDamaged
    from routebook.load.settings import ConfigError, load_settings
    from routebook.store.open import database_path, open_store

    async def run() -> R:
        loaded = load_settings(config, os.environ)
        # Reading must not make a database where none is.
        there = database_path(loaded.settings, loaded.home).exists()
        books = read_daybooks(loaded.home)
        store = open_store(loaded.settings, loaded.home) if there else None
        try:
            return await work(books, store, loaded.settings.accounting.latency)
        finally:
            for book in books:
                book.close()
            if store is not None:
                await store.close()

    try:
        return asyncio.run(run())
    except ConfigError as error:
        _stop(str(error), 1)
    except Fault as fault:
        _stop(fault.message, 1)
    except BrokenPipeError:
        raise
    except (OSError, DaybookDamaged) as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise  # of what the work writes: reading fills nothing
        _stop(f"a daybook in the data folder cannot be read: {error}", 1)


def _from_files(id: str, config: Path | None) -> dict[str, Any]:
    from routebook.metering.record import record

    async def work(books: Sequence[ReadOnlyDaybook], store: Store | None, latency: Latency) -> dict[str, Any] | None:
        from routebook.daybook.library import find

        call: Folded | None = await find(id, books, store)
        return None if call is None else record(call, latency)

    found = with_records(config, work)
    if found is None:
        _stop(f"no generation {id} in this data folder; `routebook generation list` shows those that are", 1)
    return found


def _from_url(id: str, url: str, key: str | None) -> dict[str, Any]:
    from routebook.client import Routebook, RoutebookError

    try:
        with Routebook(api_key=key, base_url=url) as client:
            return client.generations.get(id).data.to_dict()
    except RoutebookError as error:
        _stop(str(error), 1)


def _print_json(value: Any) -> None:
    from routebook.wire.codec import encode

    print(encode(value).decode())


def _print_table(records: list[dict[str, Any]]) -> None:
    from routebook.cli.fitting import Sheet
    from routebook.cli.terminal import Terminal
    from routebook.core.money import plain

    if not records:
        print("no calls; nothing matches, or nothing was asked yet", file=sys.stderr)
        return
    table = Sheet(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("created (UTC)", "id", "model", "state", "in", "out", "cost", "ms"):
        numeric = title in ("in", "out", "cost", "ms")
        table.add_column(
            title,
            justify="right" if numeric else "left",
            no_wrap=title in ("created (UTC)", "id", "cost"),
            overflow="fold",
        )
    for data in records:
        table.add_row(
            data["created_at"][5:19].replace("T", " "),
            data["id"],
            data["model"],
            data["routebook"]["outcome"],
            _count(data["native_tokens_prompt"]),
            _count(data["native_tokens_completion"]),
            "unpriced" if data["routebook"]["unpriced"] else plain(data["total_cost"]),
            "-" if data["latency"] is None else str(round(data["latency"])),
        )
    # A pipe has no width of its own, and a table for it must not be cut.
    width = None if sys.stdout.isatty() else 160
    Terminal(width=width).print(table)


def _count(value: int | None) -> str:
    return "-" if value is None else str(value)


def _stop(message: str, code: int) -> NoReturn:
    print(f"routebook generation: {message}", file=sys.stderr)
    raise SystemExit(code)
