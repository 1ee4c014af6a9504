"""`routebook keys`: make, list, disable and delete API keys in the store of the data folder.

Works whether the gateway runs or not: a running one reads the keys again within a second. The only thing that `create`
writes to stdout is the new key; everything else goes to stderr.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, TypeVar

import cyclopts

if TYPE_CHECKING:
    from routebook.core.people import Key
    from routebook.ledger.book import Usages
    from routebook.store.port import Store

R = TypeVar("R")

app = cyclopts.App(name="keys", help="Make, list, disable and delete API keys.")

Config = Annotated[Path | None, cyclopts.Parameter(help="Configuration file; else ROUTEBOOK_CONFIG.")]
Which = Annotated[
    str, cyclopts.Parameter(help="The key's hash, its first 8 characters or more, its name or its label.")
]


@app.command
def create(
    *,
    name: Annotated[str, cyclopts.Parameter(help="What the key is for.")],
    limit: Annotated[
        str | None, cyclopts.Parameter(help="The most it may spend, USD; without it there is no limit.")
    ] = None,
    limit_reset: Annotated[
        Literal["daily", "weekly", "monthly"] | None,
        cyclopts.Parameter(help="When the limit starts again (UTC); without it never."),
    ] = None,
    expires: Annotated[
        str | None, cyclopts.Parameter(help="When the key ends: a UTC time, 2027-12-31T23:59:59Z.")
    ] = None,
    management: Annotated[
        bool, cyclopts.Parameter(negative=(), help="The key manages keys and accounts, and cannot call models.")
    ] = False,
    account: Annotated[str, cyclopts.Parameter(help="The account that the key belongs to.")] = "default",
    config: Config = None,
) -> None:
    """Make a key and print it. It is shown this once; only its hash is kept.

    Example: `routebook keys create --name laptop --limit 5 --limit-reset daily`
    """
    from decimal import Decimal, InvalidOperation

    from routebook.cli.generation import moment
    from routebook.control.keys import NewKey, make_key
    from routebook.core.errors import BadRequest
    from routebook.ledger.people import new_key_text
    from routebook.observe.clock import SystemClock, SystemDice

    if not name.strip():
        _stop("--name must not be empty", 2)
    if limit is None and limit_reset is not None:
        _stop(f"--limit-reset {limit_reset} needs the limit that it resets: --limit 5", 2)
    try:
        amount = None if limit is None else Decimal(limit)
        wanted = NewKey(name=name, limit=amount, limit_reset=limit_reset, expires_at=expires)
        text = new_key_text(SystemDice().roll(256))
        now_ns = SystemClock().now_ns()
        key = make_key(wanted, text, account, now_ns, management)
    except InvalidOperation:
        _stop(f"--limit must be an amount of USD such as 25.50, not {limit!r}", 2)
    except BadRequest as fault:
        _stop(_of_option(fault.message, limit, expires), 2)

    async def work(store: Store) -> int:
        await store.put_key(key)
        return sum(each.name == name for each in await store.keys())

    namesakes = _with_store(config, work)
    print(text)
    kind = "management key" if management else "key"
    print(f"{kind} {name!r} made, hash {key.hash}; it is not shown again.", file=sys.stderr)
    if expires is not None and (moment(expires, now_ns) or 0) <= now_ns:
        print(f"Note: {expires} is past, so the key lets nobody in.", file=sys.stderr)
    if namesakes > 1:
        print(f"{namesakes} keys are called {name!r} now; commands tell them apart by label or hash.", file=sys.stderr)


def _of_option(message: str, limit: str | None, expires: str | None) -> str:
    """What the API says of a member of its body, of the option."""
    if message.startswith("limit "):
        return f"--limit must be an amount of USD, zero or more, such as 25.50, not {limit!r}"
    if message.startswith("expires_at "):
        return f"--expires must be a time in UTC such as 2027-12-31T23:59:59Z, not {expires!r}"
    return message


@app.command(name="list")
def list_keys(
    *,
    json: Annotated[bool, cyclopts.Parameter(negative=(), help="One JSON array, for scripts.")] = False,
    config: Config = None,
) -> None:
    """Show all keys with their limits and what they have spent.

    Example: `routebook keys list --json`
    """
    from routebook.ledger.book import Book
    from routebook.observe.clock import SystemClock

    async def work(store: Store) -> list[tuple[Key, Usages]]:
        book = Book()
        book.load(await store.spend())
        now_ns = SystemClock().now_ns()
        return [(key, book.usage(key.hash, now_ns)) for key in await store.keys()]

    rows = _with_store(config, work)
    if json:
        _print_json(rows)
    else:
        _print_table(rows)


@app.command
def disable(which: Which, /, *, config: Config = None) -> None:
    """Refuse a key from now on; `enable` takes it back.

    Example: `routebook keys disable laptop`
    """
    _switch(which, config, disabled=True)


@app.command
def enable(which: Which, /, *, config: Config = None) -> None:
    """Let a disabled key in again.

    Example: `routebook keys enable laptop`
    """
    _switch(which, config, disabled=False)


@app.command
def delete(which: Which, /, *, config: Config = None) -> None:
    """Delete a key for good. What it has spent stays in the book.

    Example: `routebook keys delete laptop`
    """

    async def work(store: Store) -> Key:
        key = _pick(which, await store.keys())
        await store.delete_key(key.hash)
        return key

    print(f"key {_with_store(config, work).name!r} deleted", file=sys.stderr)


def _switch(which: str, config: Path | None, *, disabled: bool) -> None:
    from routebook.control.keys import KeyChange, change_key
    from routebook.observe.clock import SystemClock

    async def work(store: Store) -> Key:
        while True:
            known = _pick(which, await store.keys())
            key = change_key(known, KeyChange(disabled=disabled), SystemClock().now_ns())
            if await store.change_key(known, key):  # else the gateway was quicker; what it changed is kept
                break
        return key

    print(f"key {_with_store(config, work).name!r} {'disabled' if disabled else 'enabled'}", file=sys.stderr)


def _pick(which: str, keys: list[Key]) -> Key:
    """The one key that is meant; ends the program if none or several are."""
    from routebook.ledger.people import hash_of

    tests: list[Callable[[Key], bool]] = [
        lambda key: key.hash in (which, hash_of(which)),
        lambda key: which in (key.name, key.label),
        lambda key: len(which) >= 8 and key.hash.startswith(which),
    ]
    for test in tests:
        found = [key for key in keys if test(key)]
        if len(found) == 1:
            return found[0]
        if found:
            hashes = ", ".join(key.hash[:12] for key in found)
            _stop(f"{len(found)} keys are called {which!r}; name one by its hash: {hashes}", 1)
    return _stop("no such key; `routebook keys list` shows them", 1)


def _print_json(rows: list[tuple[Key, Usages]]) -> None:
    from routebook.control.keys import key_body
    from routebook.wire.codec import encode

    bodies: list[dict[str, Any]] = [
        {**key_body(key, usages), "account": key.account, "management": key.management} for key, usages in rows
    ]
    print(encode(bodies).decode())


def _print_table(rows: list[tuple[Key, Usages]]) -> None:
    from routebook.cli.fitting import Sheet
    from routebook.cli.terminal import Terminal
    from routebook.core.errors import Unauthenticated
    from routebook.core.money import plain
    from routebook.observe.clock import SystemClock
    from routebook.policy.admission import admit

    if not rows:
        print("no keys yet; `routebook keys create --name NAME` makes one", file=sys.stderr)
        return
    table = Sheet(box=None, header_style="bold", pad_edge=False)
    several = len({key.account for key, _ in rows}) > 1
    titles = ["name", "label", *(["account"] if several else []), "state", "limit", "spent", "created"]
    for title in titles:
        table.add_column(
            title,
            justify="right" if title in ("limit", "spent") else "left",
            no_wrap=title not in ("name", "account"),
            overflow="fold",
            min_width=8 if title == "name" else None,
        )
    for key, usages in rows:
        try:
            admit(key, SystemClock().now_ns(), "read")
            state = "active"
        except Unauthenticated:
            state = "disabled" if key.disabled else "expired"
        limit = "none" if key.limit is None else f"${plain(key.limit)} {key.limit_reset or ''}".strip()
        spent = f"${plain(usages.total)}"
        if key.management:
            state += ", manages"
        account = [key.account] if several else []
        table.add_row(key.name, key.label, *account, state, limit, spent, key.created_at[:10])
    Terminal().print(table)


def _with_store(config: Path | None, work: Callable[[Store], Awaitable[R]]) -> R:
    """Open the configured store, do the work, close it. Ends the program with a sentence if that cannot be done."""
    import asyncio

    from routebook.config.problems import ConfigError
    from routebook.core.errors import Fault
    from routebook.load.settings import load_settings
    from routebook.store.open import open_store

    async def run() -> R:
        loaded = load_settings(config, os.environ)
        store = open_store(loaded.settings, loaded.home)
        try:
            return await work(store)
        finally:
            await store.close()

    try:
        return asyncio.run(run())
    except ConfigError as error:
        _stop(str(error), 1)
    except Fault as fault:
        _stop(fault.message, 1)


def _stop(message: str, code: int) -> NoReturn:
    print(f"routebook keys: {message}", file=sys.stderr)
    raise SystemExit(code)
