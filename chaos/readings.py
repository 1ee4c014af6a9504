"""A record is there as soon as the caller has the last byte, whichever worker is asked for it."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from decimal import Decimal
from pathlib import Path

from chaos.finding import Finding, Say, quantiles
from chaos.home import ADMIN_KEY, FAILING, RATES, Home
from chaos.lines import Ask, Line, connect
from chaos.lives import Life
from chaos.provider import ChaosProvider
from chaos.workload import ask
from routebook.core.ids import locate

PAIRS = 12
_AT_ONCE = 50
_numbers = itertools.count()
TRIES = 8
"""connections tried for each that is wanted"""


async def lines_by_worker(port: int, workers: int, each: int) -> dict[str, list[Line]]:
    """Connections by the daybook of the worker at their other end, `each` a worker. Raises TimeoutError."""
    found: dict[str, list[Line]] = {}
    tries = TRIES * workers * each
    for _ in range(0, tries, _AT_ONCE):
        met = await asyncio.gather(*(_who(port) for _ in range(_AT_ONCE)))
        for name, line in filter(None, met):
            lines = found.setdefault(name, [])
            if len(lines) < each:
                lines.append(line)
            else:
                line.close()
        if len(found) == workers and all(len(lines) == each for lines in found.values()):
            return found
    raise TimeoutError(f"{tries} connections reached {len(found)} of {workers} workers often enough")


async def _who(port: int) -> tuple[str, Line] | None:
    """(the daybook of the worker, a connection to it); None where the worker has just died."""
    try:
        line = await connect(port)
    except ConnectionError:
        return None
    note = await line.ask(ask(f"who{next(_numbers)}", "completion=1 pieces=1"))
    if line.closed:
        return None
    place = locate(note.id or "")
    if note.status != 200 or place is None:
        raise RuntimeError(f"a first call was answered {note.status}: {bytes(note.body[:200])!r}")
    return place[0], line


async def read_after_last_byte(folder: Path, say: Say, *, reads: int) -> Finding:
    """So many calls at one worker of two, each read at the other one as soon as its answer has ended."""
    finding = Finding("read_elsewhere", "GET /generation right after the last byte, from another worker: no miss")
    counts: Counter[str] = Counter()
    waits: list[float] = []
    with ChaosProvider(RATES, FAILING) as provider:
        home = Home(folder / "reading", provider, workers=2)
        with Life(home, forked=True) as life:
            port = await life.serving()
            one, other = (await lines_by_worker(port, 2, PAIRS)).values()
            numbers = iter(range(reads))

            async def pair(at: Line, elsewhere: Line) -> None:
                for number in numbers:
                    note = await at.ask(ask(f"r{number}", "completion=6 pieces=2", stream=number % 2 == 0))
                    if not note.acknowledged or note.id is None:
                        finding.broken.append(f"r{number}: answered {note.status} {bytes(note.body[:200])!r}")
                        return
                    path = f"/api/v1/generation?id={note.id}"
                    read = await elsewhere.ask(Ask(f"r{number}", b"", ADMIN_KEY, path=path, method="GET"))
                    counts["reads"] += 1
                    waits.append(read.ended_s - read.begun_s)
                    if read.status != 200:
                        counts["misses"] += 1
                        finding.broken.append(f"{note.id}: {read.status} {bytes(read.body[:200])!r}")
                    elif _total(bytes(read.body)) != note.cost:
                        counts["wrong"] += 1
                        finding.broken.append(f"{note.id}: not the cost of {note.cost} that its caller was told")
                    if counts["reads"] % 500 == 0:
                        say(f"{counts['reads']} of {reads} reads, {counts['misses']} misses")

            half = PAIRS // 2
            pairs = [*zip(one[:half], other[:half], strict=True), *zip(other[half:], one[half:], strict=True)]
            await asyncio.gather(*(pair(at, elsewhere) for at, elsewhere in pairs))
            if code := await life.stop():
                finding.broken.append(f"the gateway ended with exit code {code}")
    ranks = {f"{name}_ms": round(value * 1000, 1) for name, value in quantiles(waits, 5).items()}
    finding.figures = {"reads": counts["reads"], "misses": counts["misses"], "wrong": counts["wrong"], **ranks}
    return finding


def _total(body: bytes) -> Decimal:
    return Decimal(json.loads(body, parse_float=Decimal)["data"]["total_cost"])
