"""A worker of several is killed in the middle of a race for a budget: its successor takes book and money over."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from decimal import Decimal
from pathlib import Path

from chaos.budgets import Key, left_over, new_key, seen
from chaos.finding import Finding, Say
from chaos.home import FAILING, RATES, Home
from chaos.judge import judge, proved, total
from chaos.lines import Told
from chaos.lives import Life
from chaos.provider import ChaosProvider
from chaos.readings import lines_by_worker
from chaos.workload import ask
from routebook.daybook.reading import read_daybooks

WORKERS = 4
CALLERS = 100
PACE = 0.05
WHOLE_SECONDS = 60.0
"""a worker that dies young is started again after a pause, twice as long each time"""


async def worker_killed(folder: Path, say: Say, *, seeds: int, callers: int = CALLERS) -> Finding:
    """For each seed a key, `callers` calls at once, and kill -9 of one worker while they run."""
    finding = Finding(
        "worker_killed", f"kill -9 of one of {WORKERS} workers: no charge above the limit, no hold left, nothing lost"
    )
    told: list[Told] = []
    counts: Counter[str] = Counter()
    keys: list[Key] = []
    with ChaosProvider(RATES, FAILING, PACE) as provider:
        home = Home(folder / "successors", provider, workers=WORKERS)
        with Life(home, forked=True) as life:
            port = await life.serving()
            for seed in range(seeds):
                dice = random.Random(seed)
                await _all_there(port)
                told += await _race(port, life.pid, dice, seed, callers, keys)
                say(f"{seed + 1} of {seeds} workers killed, {len(finding.broken)} promises broken")
            await _all_there(port)
            lines = await lines_by_worker(port, WORKERS, 1)
            for seed, key in enumerate(keys):
                await left_over(finding, counts, [each[0] for each in lines.values()], key, seed)
            if code := await life.stop():
                finding.broken.append(f"the gateway ended with exit code {code}")
        await asyncio.to_thread(provider.settle)
        verdict = judge(home, told, open_allowed=False)
        await proved(home, verdict)
    charges = _charges(home)
    for seed, key in enumerate(keys):
        charged = total(charges.get(name, Decimal(0)) for name in key.calls)
        if charged > key.limit:
            finding.broken.append(f"seed {seed}: {charged} USD are charged on a limit of {key.limit}")
    finding.take(verdict, "acknowledged", "interrupted")
    finding.figures = {"killed": len(keys), "calls": len(told), **dict(counts), **finding.figures}
    return finding


async def _race(
    port: int, supervisor: int, dice: random.Random, seed: int, callers: int, keys: list[Key]
) -> list[Told]:
    by_worker = await lines_by_worker(port, WORKERS, callers // WORKERS)
    lines = [line for each in by_worker.values() for line in each]
    probes = [each[0] for each in by_worker.values()]
    key = await new_key(probes[0], dice)
    keys.append(key)
    await seen(probes, key)
    waiting = []
    for place, line in enumerate(lines):
        name, most = f"w{seed}.{place}", dice.randint(20, 100)
        key.calls.append(name)
        # A token has at least one byte, as with real providers: two of them are one word.
        said = f"completion={most} pieces={-(-most // 2)} hang={dice.randint(1, 10)}"
        each = ask(name, said, model="chaos/dear", key=key.text, max_tokens=most, stream=True)
        waiting.append(asyncio.ensure_future(line.ask(each)))
    await asyncio.sleep(dice.random() * 2 * PACE)
    os.kill(dice.choice(_workers(supervisor)), signal.SIGKILL)
    async with asyncio.timeout(WHOLE_SECONDS):
        notes = await asyncio.gather(*waiting)
    for line in lines:
        line.close()
    return notes


async def _all_there(port: int) -> None:
    """Wait until every worker serves."""
    async with asyncio.timeout(WHOLE_SECONDS):
        while True:
            try:
                found = await lines_by_worker(port, WORKERS, 1)
            except TimeoutError:
                await asyncio.sleep(0.1)
                continue
            for lines in found.values():
                lines[0].close()
            return


def _workers(supervisor: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()]


def _charges(home: Home) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for book in read_daybooks(home.folder):
        with book:
            for call in book.scan():
                if call.outcome is not None and call.intent.external_user is not None:
                    found[call.intent.external_user] = call.outcome.charge.total
    return found
