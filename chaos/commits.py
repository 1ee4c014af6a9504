"""How long a commit keeps the loop, under load, while segments are begun, closed, shipped and dropped."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

from chaos.finding import Finding, Say, quantiles
from chaos.home import FAILING, RATES, Home
from chaos.lines import Ask, Told, drive
from chaos.lives import Life
from chaos.provider import ChaosProvider
from chaos.workload import mixed

LIMIT_MS = 5.0
SEGMENT_BYTES = 1 << 20
LANES = 64
PACE = 0.05


ENOUGH = 10_000
"""Commits whose p99.9 means something: of fewer, and in a test beside other tests, one hiccup of the disk decides."""


async def latency(folder: Path, say: Say, *, seconds: float) -> Finding:
    """Load for so long. `own` is a commit's wall clock without the time that the thread stood in line for a core:
    that is what the commit does to the loop, blocked or at work, on a machine that has other things to do as well."""
    finding = Finding("commit_latency", f"a commit keeps the loop p99.9 <= {LIMIT_MS:g} ms, segments rolling")
    file = folder / "commits.json"
    with ChaosProvider(RATES, FAILING, PACE) as provider:
        home = Home(folder / "commits", provider)
        with Life(home, through=("chaos.inside", str(file), str(SEGMENT_BYTES))) as life:
            port = await life.serving()
            told: list[Told] = []
            await drive(port, _for(seconds, say), LANES, told)
            if code := await life.stop():
                finding.broken.append(f"the gateway ended with exit code {code}")
        segments = sorted(home.folder.glob("daybooks/*/*.daybook"))
    times = {name: [value / 1000 for value in values] for name, values in json.loads(file.read_text()).items()}
    times["own"] = [max(0.0, wall - queued) for wall, queued in zip(times["wall"], times["queued"], strict=True)]
    ranks = {name: quantiles(values) for name, values in times.items()}
    finding.figures = {"calls": len(told), "commits": len(times["wall"]), "segments": int(segments[-1].stem)}
    for name in ("own", "wall", "cpu"):
        finding.figures |= {f"{name}_{rank}_ms": value for rank, value in ranks[name].items()}
    if len(times["wall"]) >= ENOUGH and ranks["own"]["p99.9"] > LIMIT_MS:
        finding.broken.append(f"p99.9 of a commit: {ranks['own']['p99.9']} ms, {ranks['wall']['p99.9']} ms by the wall")
    if not told or not all(note.acknowledged or note.left or note.status in (400, 429, 503) for note in told):
        finding.broken.append("calls were not answered")
    return finding


def _for(seconds: float, say: Say) -> Iterator[Ask]:
    end, shown = time.monotonic() + seconds, 0
    for number, each in enumerate(mixed("c", 7, 10_000_000)):
        if time.monotonic() > end:
            return
        if number - shown >= 1000:
            shown = number
            say(f"{number} calls, {max(0.0, end - time.monotonic()):.0f} s left")
        yield each
