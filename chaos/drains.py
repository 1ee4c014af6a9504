"""SIGTERM under load: what was accepted is answered to its end and shipped, again and again on one home."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from chaos.finding import Finding, Say, quantiles
from chaos.home import FAILING, RATES, Home
from chaos.judge import judge, proved
from chaos.lines import Told, drive
from chaos.lives import Life
from chaos.provider import ChaosProvider
from chaos.workload import mixed
from routebook.daybook.reading import read_daybooks

DRAIN = 10.0
PACE = 0.3
"""what hangs goes on this often, so that streams are under way at every moment and none is longer than the drain"""
LINKS = 10
"""restarts between two proofs"""


async def sigterm(folder: Path, say: Say, *, rounds: int, lanes: int = 100, seed: int = 20_261_125) -> Finding:
    """So many restarts in order, each with `lanes` callers at it."""
    finding = Finding(
        "sigterm", f"SIGTERM under load: no row lost, no stream shorter than the drain time ({DRAIN:g} s) is cut"
    )
    dice = random.Random(seed)
    seconds: list[float] = []
    loop = asyncio.get_running_loop()
    running = 0
    with ChaosProvider(RATES, FAILING, PACE) as provider:
        home, told = Home(folder / "drain", provider, drain=DRAIN), list[Told]()
        for number in range(rounds):
            with Life(home, forked=True) as life:
                port = await life.serving()
                asks = mixed(f"d{number}", dice.randrange(1 << 30), 1_000_000)
                load = asyncio.ensure_future(drive(port, asks, lanes, told))
                await asyncio.sleep(0.2 + dice.random() * 0.5)
                running += provider.busy
                began = loop.time()
                if code := await life.stop():
                    finding.broken.append(f"round {number}: exit code {code}, rows are left unshipped")
                seconds.append(loop.time() - began)
                await load
            say(f"{number + 1} of {rounds} restarts, {len(finding.broken)} promises broken")
            if number % LINKS == LINKS - 1 or number == rounds - 1:
                await _proved(finding, home, told)
                home, told = Home(folder / f"drain{number}", provider, drain=DRAIN), []
    finding.figures = {
        "rounds": rounds, "streams_at_sigterm": running, "stopped_after_max_s": quantiles(seconds, 2)["max"],
        **finding.figures,
    }  # fmt: skip
    return finding


async def _proved(finding: Finding, home: Home, told: list[Told]) -> None:
    await asyncio.to_thread(home.provider.settle)
    verdict = judge(home, told, open_allowed=False)
    notes = {note.ask.call: note for note in told}
    for book in read_daybooks(home.folder):
        with book:
            for call in book.scan():
                note = notes.get(call.intent.external_user or "")
                if note is not None and not (note.acknowledged or note.left or note.ended):
                    verdict.counts["cut"] += 1
                    verdict.breaks(f"{note.ask.call}: accepted, and cut off by the shutdown")
    await proved(home, verdict)
    finding.take(verdict, "calls", "acknowledged", "cut", "interrupted")
    if verdict.counts["interrupted"]:
        finding.broken.append(f"{verdict.counts['interrupted']} calls were interrupted by an orderly stop")
