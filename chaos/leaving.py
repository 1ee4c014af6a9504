"""Callers who hang up at any moment: the provider's socket closes at once, and the record says what happened."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

from chaos.finding import Finding, Say, quantiles
from chaos.home import FAILING, RATES, Home
from chaos.judge import Verdict, judge, proved
from chaos.lines import Ask, Told, drive
from chaos.lives import Life
from chaos.provider import ChaosProvider
from chaos.workload import ask
from routebook.core.generation import State
from routebook.daybook.reading import read_daybooks

P99_SECONDS = 0.25
MAX_SECONDS = 1.0
BATCH = 100
LANES = 50


async def hang_up(folder: Path, say: Say, *, streams: int, seed: int = 20_261_126) -> Finding:
    """So many streams, each left at a random moment: before the first piece, between pieces, before the end, after."""
    finding = Finding("client_gone", f"a caller hangs up: upstream closed p99 <= {P99_SECONDS * 1000:g} ms")
    dice = random.Random(seed)
    told: list[Told] = []
    with ChaosProvider(RATES, FAILING) as provider:
        home = Home(folder / "leaving", provider)
        with Life(home, forked=True) as life:
            port = await life.serving()
            for first in range(0, streams, BATCH):
                asks = _streams(first, min(BATCH, streams - first), dice)
                told += await drive(port, asks, LANES)
                say(f"{len(told)} of {streams} streams")
            # The gateway may still be closing the last of them.
            async with asyncio.timeout(10):
                while provider.busy:
                    await asyncio.sleep(0.005)
            if code := await life.stop():
                finding.broken.append(f"the gateway ended with exit code {code}")
        verdict = judge(home, told, open_allowed=False)
        _judge_states(verdict, home, {note.ask.call: note for note in told})
        await proved(home, verdict)
        closed = [
            provider.broken_s[note.ask.call] - note.ended_s
            for note in told
            if note.left and not note.acknowledged and note.ask.call in provider.broken_s
        ]
    finding.take(verdict, "calls", "acknowledged", "cancelled", "done")
    ranks = quantiles(closed, 4)
    finding.figures = {
        "streams": len(told), "closed_upstream": len(closed),
        **{f"{name}_ms": round(value * 1000, 1) for name, value in ranks.items()}, **finding.figures,
    }  # fmt: skip
    if not closed:
        finding.broken.append("no upstream socket was closed, so nothing was measured")
    elif ranks["p99"] > P99_SECONDS or ranks["max"] > MAX_SECONDS:
        finding.broken.append(f"upstream sockets are closed too late: {ranks} s")
    return finding


def _streams(first: int, count: int, dice: random.Random) -> Iterator[Ask]:
    for place in range(first, first + count):
        pieces = dice.randint(2, 8)
        said = f"completion={dice.randint(pieces, 120)} pieces={pieces}"
        pause = dice.random() * 0.05
        match place % 5:
            case 0:  # before the first piece
                yield ask(f"l{place}", f"{said} hang=0", stream=True, leave=0, pause=pause)
            case 1 | 2:  # between two
                at = dice.randint(1, pieces - 1)
                yield ask(f"l{place}", f"{said} hang={at}", stream=True, leave=at, pause=pause)
            case 3:  # after the last, before the end
                yield ask(f"l{place}", f"{said} hang={pieces}", stream=True, leave=dice.randint(1, pieces), pause=pause)
            case _:  # somewhere in a stream that does not wait, or after its end
                leave = dice.randint(0, pieces + 1)
                yield ask(f"l{place}", said, stream=True, leave=leave, pause=pause / 10)


def _judge_states(verdict: Verdict, home: Home, notes: dict[str, Told]) -> None:
    """Cancelled where the caller did not have the end, done where they had; nothing else."""
    for book in read_daybooks(home.folder):
        with book:
            for call in book.scan():
                name = call.intent.external_user or ""
                outcome = call.outcome
                if outcome is None or name not in notes:
                    continue
                if call.state not in (State.DONE, State.CANCELLED):
                    verdict.breaks(f"{name}: its caller hung up, the record says {State.NAMES.get(call.state or 0)}")
                elif name in home.provider.broken_s and call.state != State.CANCELLED:
                    verdict.breaks(f"{name}: the provider was cut off, the record says done")
                elif (call.state == State.CANCELLED) != outcome.cancelled:
                    verdict.breaks(f"{name}: its state and its `cancelled` differ")
