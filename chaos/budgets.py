"""Five hundred callers at once on a small budget: what they spend and hold together is never above the limit."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from chaos.finding import Finding, Say
from chaos.home import ADMIN_KEY, FAILING, RATES, Home
from chaos.judge import Verdict, judge, proved, total
from chaos.lines import Ask, Line, Told
from chaos.lives import Life
from chaos.provider import ChaosProvider
from chaos.readings import lines_by_worker
from chaos.workload import ask

CALLERS = 500
SEEN_SECONDS = 20.0
RETURN_SECONDS = 15.0
FILLER = 16_000
"""bytes of a prompt that alone costs more than any of the limits, so that no clamp of the answer makes it fit"""


@dataclass
class Key:
    text: str
    limit: Decimal
    calls: list[str] = field(default_factory=list)


async def race(folder: Path, say: Say, *, workers: int, seeds: int, callers: int = CALLERS) -> Finding:
    """For each seed a key of its own, whose limit is enough for a few of its `callers` calls."""
    finding = Finding(
        f"budget_{workers}_workers",
        f"{callers} calls at once x {seeds} seeds, {workers} worker{'s' * (workers > 1)}: spent + held never above "
        "the limit, no hold left",
    )
    told: list[Told] = []
    counts: Counter[str] = Counter()
    with ChaosProvider(RATES, FAILING) as provider:
        home = Home(folder / f"budget{workers}", provider, workers=workers)
        with Life(home, forked=True) as life:
            port = await life.serving()
            by_worker = await lines_by_worker(port, workers, callers // workers)
            lines = [line for each in by_worker.values() for line in each]
            probes = [each[0] for each in by_worker.values()]
            keys = [await new_key(probes[0], random.Random(seed)) for seed in range(seeds)]
            await seen(probes, keys[-1])
            for seed, key in enumerate(keys):
                told += await _rush(finding, counts, provider, lines, key, seed)
                say(f"{seed + 1} of {seeds} seeds, {len(finding.broken)} promises broken")
            for seed, key in enumerate(keys):
                _within_its_limit(finding, counts, provider, key, seed)
                await left_over(finding, counts, probes, key, seed)
            if code := await life.stop():
                finding.broken.append(f"the gateway ended with exit code {code}")
        verdict = judge(home, told, open_allowed=False)
        await proved(home, verdict)
        _compare(finding, provider, keys, verdict)
    finding.take(verdict)
    finding.figures = {"calls": len(told), **dict(counts), **finding.figures}
    return finding


async def _rush(
    finding: Finding, counts: Counter[str], provider: ChaosProvider, lines: list[Line], key: Key, seed: int
) -> list[Told]:
    """All callers at once. Half of what is admitted is under way until everybody knows; the other half ends and makes
    room, while others are still coming."""
    dice = random.Random(seed)
    asks = []
    for place in range(len(lines)):
        stream = dice.random() < 0.3
        name, most = f"b{seed}.{place}", dice.randint(20, 60) if stream else dice.randint(100, 1000)
        # Nearly all use what they hold, so that a budget that is given out twice is spent twice.
        used = most if dice.random() < 0.9 else dice.randint(1, most)
        wait = " hang=0" if place % 2 else ""
        # A token has at least one byte, as with real providers: two of them are one word.
        said = f"completion={used} pieces={-(-used // 2) if stream else 1}{wait}"
        asks.append(ask(name, said, key=key.text, max_tokens=most, stream=stream))
        key.calls.append(name)
    order = list(zip(lines, asks, strict=True))
    dice.shuffle(order)
    waiting = [asyncio.ensure_future(line.ask(each)) for line, each in order]
    async with asyncio.timeout(60):
        while any(not each.done() for each in waiting):
            await asyncio.sleep(0.02)
            under_way = sum(not each.done() for each in waiting)
            if under_way == provider.busy:
                provider.release()
        notes = [each.result() for each in waiting]
    for note in notes:
        if note.acknowledged:
            counts["admitted"] += 1
        elif note.status == 402:
            counts["refused_402"] += 1
            _of_a_refusal(finding, counts, note, key)
        else:
            finding.broken.append(f"{note.ask.call}: {note.status} {bytes(note.body[:200])!r}")
    return notes


def _of_a_refusal(finding: Finding, counts: Counter[str], note: Told, key: Key) -> None:
    """What a refused caller is told of the key: what all workers have charged and hold, which is never above the limit.
    It would show a call that was admitted beyond it, also where its bill came out below its hold."""
    said = _metadata(note)
    if "spent" in said and "held" in said and total((Decimal(said["spent"]), Decimal(said["held"]))) > key.limit:
        counts["told_above_limit"] += 1
        finding.broken.append(f"{note.ask.call}: told {said['spent']} spent and {said['held']} held of {key.limit}")


def _within_its_limit(finding: Finding, counts: Counter[str], provider: ChaosProvider, key: Key, seed: int) -> None:
    bill = total(item.cost for name in key.calls for item in provider.bills[name])
    if bill > key.limit:
        counts["over_limit"] += 1
        finding.broken.append(f"seed {seed}: the provider bills {bill} USD on a limit of {key.limit}")


async def left_over(finding: Finding, counts: Counter[str], probes: list[Line], key: Key, seed: int) -> None:
    """When all is over nothing is held for the key any more. What a worker has charged counts as held at its siblings
    until it is shipped, so they get a moment."""
    began = time.monotonic()
    deadline = began + RETURN_SECONDS
    for line in probes:
        while True:
            counts["probes"] += 1
            name = f"b{seed}.probe{counts['probes']}"
            note = await line.ask(ask(name, "completion=1", key=key.text, model="chaos/dear", filler=FILLER))
            held = Decimal(_metadata(note).get("held", -1))
            if note.status == 402 and held == 0:
                break
            if note.status != 402 or time.monotonic() > deadline:
                counts["holds_left"] += 1
                finding.broken.append(f"seed {seed}: {note.status}, and {held} USD are still held")
                break
            await asyncio.sleep(0.05)
    waited = round(time.monotonic() - began, 2)
    finding.figures["returned_max_s"] = max(waited, float(finding.figures.get("returned_max_s", 0.0)))


def _compare(finding: Finding, provider: ChaosProvider, keys: list[Key], verdict: Verdict) -> None:
    if not any(provider.bills[name] for key in keys for name in key.calls):
        finding.broken.append("no call was admitted, so nothing was tried")
    finding.figures["limits_usd"] = str(total(key.limit for key in keys))
    finding.figures["billed_usd"] = str(
        total(item.cost for key in keys for n in key.calls for item in provider.bills[n])
    )


async def new_key(line: Line, dice: random.Random) -> Key:
    """A key for some five to eighty of the calls."""
    limit = Decimal(dice.randint(2000, 30000)) / 10**6
    body = json.dumps({"name": "budget", "limit": float(limit)}).encode()
    note = await line.ask(Ask("key", body, ADMIN_KEY, path="/api/v1/keys"))
    if note.status != 201:
        raise RuntimeError(f"no key: {note.status} {bytes(note.body)!r}")
    return Key(cast(str, json.loads(note.body)["key"]), limit)


async def seen(lines: list[Line], key: Key) -> None:
    """Wait until every worker knows the key."""
    async with asyncio.timeout(SEEN_SECONDS):
        for line in lines:
            while (await line.ask(Ask("key", b"", key.text, path="/api/v1/key", method="GET"))).status != 200:
                await asyncio.sleep(0.1)


def _metadata(note: Told) -> dict[str, Any]:
    error = note.frames[-1].get("error", {}) if note.frames else {}
    return cast("dict[str, Any]", error.get("metadata") or {})
