"""`routebook ledger tail`: the newest calls, a line each, and those that end from now on."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import cyclopts

from routebook.cli.which import Which, chosen, stop

if TYPE_CHECKING:
    from routebook.core.generation import Folded
    from routebook.daybook.reading import ReadOnlyDaybook
    from routebook.metering.record import Latency
    from routebook.store.port import Store

EVERY = 0.2
"""seconds between two looks at the daybooks"""
LOOKED_AT = 50_000
"""calls of the store that are gone through, at most, for the first lines"""
WIDE = 132
"""columns from which on a line ends with the id"""

_STYLES = {"done": "green", "open": "cyan", "cancelled": "yellow", "interrupted": "magenta"}


def tail(
    *,
    number: Annotated[int, cyclopts.Parameter(name=["-n", "--number"], help="The newest so many calls.")] = 10,
    follow: Annotated[
        bool, cyclopts.Parameter(name=["-f", "--follow"], negative=(), help="Then every call as it ends, until Ctrl-C.")
    ] = False,
    model: Annotated[str | None, cyclopts.Parameter(help="Only calls that this model answered.")] = None,
    key: Annotated[str | None, cyclopts.Parameter(help="Only calls of this key: a name, a label or a hash.")] = None,
    state: Annotated[
        str | None,
        cyclopts.Parameter(help="Only calls in this state: open, done, error, cancelled, interrupted, blocked."),
    ] = None,
    json: Annotated[bool, cyclopts.Parameter(negative=(), help="A record a line, for scripts.")] = False,
    config: Annotated[Path | None, cyclopts.Parameter(help="Configuration file; else ROUTEBOOK_CONFIG.")] = None,
) -> None:
    """Show the newest calls, oldest first: time, state, model, provider, tokens in and out, cost, milliseconds.

    Reads the data folder, whether the gateway runs or not.

    Example: `routebook ledger tail --follow --state error`
    """
    from routebook.cli.generation import with_records
    from routebook.daybook.watch import Watch
    from routebook.load.settings import load_settings

    if number < 0:
        stop(f"-n must be 0 or more, not {number}", 2)

    async def work(books: Sequence[ReadOnlyDaybook], store: Store | None, latency: Latency) -> None:
        import asyncio

        which = await chosen(store, model, key, state)
        printer = _Printer(json, latency)
        # Watched before the first lines are gathered: a call that ends in between is shown twice, never missed.
        with Watch(load_settings(config, os.environ).home) as watch:
            for call in await _newest(books, store, which, number):
                printer.show(call)
            for book in books:
                book.close()  # a segment that its owner removes meanwhile is not to be kept on the disk by us
            while follow:
                for call in watch.ended():
                    if which(call):
                        printer.show(call)
                await asyncio.sleep(EVERY)

    with_records(config, work)


async def _newest(books: Sequence[ReadOnlyDaybook], store: Store | None, which: Which, number: int) -> list[Folded]:
    """The newest of the calls that are meant, oldest first."""
    from heapq import heappush, heappushpop

    from routebook.daybook.library import every
    from routebook.observe.clock import SystemClock

    found: list[tuple[int, str, Folded]] = []
    older = looked_at = 0
    if not number:
        return []
    async for shipped, call in every(books, store, until_ns=SystemClock().now_ns() + 1):
        looked_at += 1
        if which(call):
            entry = (call.intent.accepted_ns, call.intent.id, call)
            if len(found) < number:
                heappush(found, entry)
            elif heappushpop(found, entry) is entry and shipped:
                older += 1
        # The store's come last and newest first: when one is older than all that were found, so is the rest.
        if older or looked_at >= LOOKED_AT:
            break
    return [call for _, _, call in sorted(found, key=lambda each: each[:2])]


class _Printer:
    def __init__(self, json: bool, latency: Latency) -> None:
        from routebook.cli.terminal import Terminal

        self._json = json
        self._latency = latency
        self._console = Terminal(soft_wrap=True)

    def show(self, call: Folded) -> None:
        from routebook.metering.record import record

        data = record(call, self._latency)
        if self._json:
            from routebook.wire.codec import encode

            print(encode(data).decode())
        else:
            self._line(data)
        sys.stdout.flush()

    def _line(self, data: dict[str, Any]) -> None:
        from rich.text import Text

        from routebook.core.money import plain

        own = data["routebook"]
        state, unpriced = own["outcome"], own["unpriced"]
        tokens = f"{_count(data['native_tokens_prompt']):>7} {_count(data['native_tokens_completion']):>6}"
        cost = "-" if state == "open" else "unpriced" if unpriced else plain(data["total_cost"])
        ms = "-" if data["latency"] is None else f"{round(data['latency'])}"
        wide = not self._console.is_terminal or self._console.width >= WIDE
        self._console.print(
            Text.assemble(
                (data["created_at"][5:19].replace("T", " ") + "  ", "dim"),
                (f"{state:<11} ", _STYLES.get(state, "red")),
                f"{printable(data['model']):<32} {printable(data['provider_name'] or '-'):<14} ",
                f"{tokens} {cost:>12} {ms:>7}",
                (f"  {data['id']}" if wide else "", "dim"),
            )
        )


def printable(text: str) -> str:
    """Without what a terminal would obey: callers choose what they call a model."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _count(value: int | None) -> str:
    return "-" if value is None else str(value)
