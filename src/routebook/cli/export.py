"""`routebook ledger export`: every record, as JSON lines or as a table, in one pass and little memory."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

import cyclopts

from routebook.cli.problems import FULL
from routebook.cli.which import chosen, since_until, stop

if TYPE_CHECKING:
    from decimal import Decimal

    from routebook.core.generation import Folded
    from routebook.daybook.reading import ReadOnlyDaybook
    from routebook.metering.record import Latency
    from routebook.store.port import Store

Format = Literal["jsonl", "csv"]


def export(
    *,
    since: Annotated[
        str | None, cyclopts.Parameter(help="Calls accepted since 90s, 30m, 1h, 2d ago, or a UTC time (ISO).")
    ] = None,
    until: Annotated[str | None, cyclopts.Parameter(help="Only calls accepted before that; else until now.")] = None,
    model: Annotated[str | None, cyclopts.Parameter(help="Only calls that this model answered.")] = None,
    key: Annotated[str | None, cyclopts.Parameter(help="Only calls of this key: a name, a label or a hash.")] = None,
    format: Annotated[
        Format | None, cyclopts.Parameter(help="jsonl or csv; else what the file is called, else jsonl.")
    ] = None,
    output: Annotated[
        Path | None, cyclopts.Parameter(help="This file, which is there when it is whole; else stdout.")
    ] = None,
    config: Annotated[Path | None, cyclopts.Parameter(help="Configuration file; else ROUTEBOOK_CONFIG.")] = None,
) -> None:
    """Write every record: attempts, cost lines and all, money digit for digit.

    Reads the data folder, whether the gateway runs or not. Calls under way are there with the state `open`.

    Example: `routebook ledger export --since 30d --format csv --output book.csv`
    """
    from routebook.cli.generation import with_records
    from routebook.cli.progress import Progress
    from routebook.observe.clock import SystemClock

    since_ns, until_ns = since_until(since, until, SystemClock().now_ns())
    kind = format or ("csv" if output is not None and output.suffix.lower() == ".csv" else "jsonl")
    progress = Progress()

    async def work(books: Sequence[ReadOnlyDaybook], store: Store | None, latency: Latency) -> _Sums:
        from routebook.daybook.library import every

        which = await chosen(store, model, key)
        sums = _Sums()
        with _opened(output) as file:
            write = _writer(kind, file, latency)
            async for _, call in every(books, store, since_ns=since_ns, until_ns=until_ns, model=model):
                if which(call):
                    sums.add(call, write(call))
                    progress("records", sums.records, None)
        return sums

    with progress:
        sums = with_records(config, work)
    print(f"{sums.told()}{'' if output is None else f' to {output}'}", file=sys.stderr)


class _Sums:
    """What was written, to be compared with what somebody reads."""

    def __init__(self) -> None:
        from routebook.core.money import ZERO

        self.records = 0
        self.open = 0
        self.charged = ZERO

    def add(self, call: Folded, charged: Decimal) -> None:
        from routebook.core.money import add

        self.records += 1
        self.open += call.outcome is None
        self.charged = add(self.charged, charged)

    def told(self) -> str:
        from routebook.core.money import plain

        still = f", {self.open:,} of them open" if self.open else ""
        return f"{self.records:,} {'record' if self.records == 1 else 'records'}{still}, charged ${plain(self.charged)}"


def _writer(kind: Format, file: IO[str], latency: Latency) -> Callable[[Folded], Decimal]:
    """What writes a call and gives what it was charged."""
    import csv

    from routebook.metering.columns import COLUMNS, row_of
    from routebook.metering.record import record
    from routebook.wire.codec import encode

    if kind == "csv":
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)

    def write(call: Folded) -> Decimal:
        data: dict[str, Any] = record(call, latency)
        account, key_hash = call.intent.account, call.intent.key_hash
        if kind == "csv":
            table.writerow(row_of(data, account, key_hash))
        else:
            file.write(encode(data | {"account": account, "key_hash": key_hash}).decode() + "\n")
        charged: Decimal = data["total_cost"]
        return charged

    return write


@contextmanager
def _opened(output: Path | None) -> Iterator[IO[str]]:
    """The file to write to: for its owner alone, and under its name only when all of it is on the disk."""
    if output is None:
        yield sys.stdout
        return
    if output.is_dir():
        stop(f"{output} is a folder; name a file in it, such as {output / 'book.csv'}", 1)
    part = output.with_name(output.name + ".part")
    try:
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError as error:
        stop(f"{output} cannot be written: {error.strerror}", 1)
    try:
        with open(fd, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(fd)
        os.replace(part, output)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in FULL:
            stop(f"{output} cannot be written: {error.strerror}; nothing is left of it", 1)
        raise
