"""kill -9, at every system call that writes and at random moments under load: nothing acknowledged is lost.

A chain of lives shares one home: each life finds what the killed one left, as on a real machine. After every kill the
book is judged as it lies there; at the end of a chain the gateway is started once more, stopped in order, and
`routebook ledger verify` proves the whole.
"""

from __future__ import annotations

import asyncio
import random
import re
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from chaos.finding import Finding, Say, strace_is_missing
from chaos.home import FAILING, RATES, Home
from chaos.judge import Verdict, judge, proved, proved_alone
from chaos.lines import Told, drive
from chaos.lives import Life
from chaos.provider import ChaosProvider
from chaos.workload import mixed

CALLS = 60
"""in one life of the kills by system call"""
LANES = 24
LINKS = 10
"""kills in one chain"""
SYSCALLS = ("write", "pwrite64", "fdatasync", "fsync", "ftruncate", "fallocate", "rename", "unlink")
FAILING_CALLS = ("write", "pwrite64", "ftruncate", "fallocate")
"""those that may fail without a doubt about what is on the disk already"""
WHERE = {"daybook": SYSCALLS, "store": SYSCALLS, "all": ("write",)}
FILES = ("daybook", "store")
PACE = 0.12
ANSWERED = (200, 400, 429, 503)
"""what the calls of the workload may be answered when nothing or one write goes wrong"""
_TRACED = re.compile(r"^(\d+) +(\w+)\(", re.MULTILINE)
_COUNTED = ("calls", "acknowledged", "admitted", "done", "interrupted")


@dataclass(frozen=True)
class Point:
    """One kill: the n-th such call that a thread makes there, counted from the life's beginning. `where`: the daybook's
    files, the store's, or `all`, which is sockets besides."""

    where: str
    syscall: str
    n: int

    def tracer(self, home: Home, fate: str = "signal=KILL") -> list[str]:
        """strace arguments. `fate`: what happens there, in strace's words (`error=EIO`: it fails once)."""
        inject = f"inject={self.syscall}:{fate}:when={self.n}"
        return ["-e", f"trace={self.syscall}", "-e", inject, *_paths(home, self.where)]


class Chain:
    """One home and the lives in it."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.told: list[Told] = []
        """of all lives that are over"""
        self._told: list[Told] = []
        self.lives = 0
        self.early = 0
        """lives that were killed before they served"""
        self.survived = 0
        """lives in which the point never came"""

    async def begin(self) -> None:
        """A first life, so that the files that are traced exist."""
        with Life(self.home, forked=True) as life:
            await life.serving()
            await life.stop()

    async def killed_at(self, point: Point, seed: int) -> Verdict:
        """A life that is killed there, under its 60 calls; then the book as it lies."""
        self.lives += 1
        with Life(self.home, forked=True, tracer=point.tracer(self.home)) as life:
            if await life.serves() and life.port is not None:
                await drive(life.port, mixed(self._name, seed, CALLS), LANES, self._told)
                if life.code is None:
                    # The last batches go to the store within half a second, and some points are there.
                    await asyncio.sleep(0.6)
                if life.code is None:
                    # Others are on the way out.
                    self.survived += await life.stop() != -signal.SIGKILL
            else:
                self.early += 1
            await life.ended()
        return await self._as_it_lies()

    async def failed_at(self, point: Point, error: str, seed: int) -> Verdict:
        """A life in which that call fails once. It goes on, answers as it should, and ships everything at its end."""
        self.lives += 1
        verdict = Verdict()
        with Life(self.home, forked=True, tracer=point.tracer(self.home, f"error={error}")) as life:
            if await life.serves() and life.port is not None:
                await drive(life.port, mixed(self._name, seed, CALLS), LANES, self._told)
                if code := await life.stop():
                    verdict.breaks(f"{point} {error}: the life ended with exit code {code}")
                for note in self._told:
                    if note.status not in ANSWERED and not note.left:
                        verdict.breaks(f"{point} {error}: {note.ask.call} was answered {note.status}")
            else:
                self.early += 1
            await life.ended()
        verdict.add(await self._as_it_lies())
        return verdict

    async def killed_after(self, seconds: float, seed: int, lanes: int) -> Verdict:
        """A life that is killed so long after it began to serve, under steady load."""
        self.lives += 1
        with Life(self.home, forked=True) as life:
            port = await life.serving()
            load = asyncio.ensure_future(drive(port, mixed(self._name, seed, 1_000_000), lanes, self._told))
            await asyncio.sleep(seconds)
            life.kill()
            await life.ended()
            await load
        return await self._as_it_lies()

    @property
    def _name(self) -> str:
        """What the names of the calls of this life begin with."""
        return f"{self.home.folder.name}.{self.lives}"

    async def _as_it_lies(self) -> Verdict:
        await asyncio.to_thread(self.home.provider.settle)
        verdict = judge(self.home, self._told, open_allowed=True, prefix=f"{self._name}.")
        self.told += self._told
        self._told = []
        await proved_alone(self.home, verdict)
        return Verdict(broken=verdict.broken)

    async def end(self) -> Verdict:
        """The last life, stopped in order; the verdict on all of it."""
        verdict = Verdict()
        with Life(self.home, forked=True) as life:
            if not await life.serves():
                verdict.breaks(f"the gateway does not start after the kills; see {self.home.log}")
                return verdict
            await proved_alone(self.home, verdict)
            if code := await life.stop():
                verdict.breaks(f"the last life ended with exit code {code}")
        await asyncio.to_thread(self.home.provider.settle)
        verdict.add(judge(self.home, self.told, open_allowed=False))
        await proved(self.home, verdict)
        return verdict


async def points(folder: Path, wanted: Sequence[str]) -> list[Point]:
    """All points of the workload in those places: how often each thread makes each call there."""
    found = []
    with ChaosProvider(RATES, FAILING, PACE) as provider:
        for where in wanted:
            syscalls = WHERE[where]
            home = Home(folder / f"dry-{where}", provider)
            await Chain(home).begin()
            log = folder / f"{where}.trace"
            tracer = ["-e", f"trace={','.join(syscalls)}", "-o", str(log), *_paths(home, where)]
            with Life(home, forked=True, tracer=tracer) as life:
                port = await life.serving()
                await drive(port, mixed("dry", 0, CALLS), LANES)
                await asyncio.sleep(0.6)
                await life.stop()
            most: Counter[str] = Counter()
            for (_, syscall), count in Counter(_TRACED.findall(log.read_text())).items():
                most[syscall] = max(most[syscall], count)
            found += [Point(where, syscall, n) for syscall in syscalls for n in range(1, most[syscall] + 1)]
    return found


async def every_syscall(
    folder: Path, say: Say, *, places: Sequence[str] = tuple(WHERE), sample: int | None = None, seconds: float = 1e9
) -> Finding:
    """All points of those places, or `sample` of them spread evenly; as many as fit in `seconds`."""
    finding = Finding("kill_at_syscalls", "kill -9 at every write and fsync: nothing acknowledged is lost or doubled")
    if (missing := strace_is_missing()) is not None:
        finding.skipped = missing
        return finding
    every = await points(folder, places)
    chosen = every if sample is None else [every[place * len(every) // sample] for place in range(sample)]
    # In any order, so that a run that is cut short has seen some of all.
    random.Random(len(every)).shuffle(chosen)
    loop = asyncio.get_running_loop()
    deadline, done, early, survived = loop.time() + seconds, 0, 0, 0
    waiting = iter(chosen)
    with ChaosProvider(RATES, FAILING, PACE) as provider:
        for number in range(-(-len(chosen) // LINKS)):
            chain = Chain(Home(folder / f"chain{number}", provider))
            await chain.begin()
            for point in _some(waiting, LINKS):
                if loop.time() > deadline:
                    break
                verdict = await chain.killed_at(point, done)
                finding.broken += [f"{point}: {what}" for what in verdict.broken]
                done += 1
                say(f"{done} of {len(chosen)} points, {len(finding.broken)} promises broken")
            finding.take(await chain.end(), *_COUNTED)
            early, survived = early + chain.early, survived + chain.survived
            if loop.time() > deadline:
                break
    finding.figures = {
        "points": len(every), "killed": done - survived, "while_starting": early, "not_reached": survived,
        **finding.figures,
    }  # fmt: skip
    return finding


async def every_error(
    folder: Path, say: Say, *, places: Sequence[str] = FILES, sample: int | None = None, seconds: float = 1e9
) -> Finding:
    """ENOSPC and EIO by turns, once, at the n-th write or truncation of the daybook's and of the store's files."""
    finding = Finding("write_fails_once", "one write fails, for every write: the gateway goes on, nothing is lost")
    if (missing := strace_is_missing()) is not None:
        finding.skipped = missing
        return finding
    every = [point for point in await points(folder, places) if point.syscall in FAILING_CALLS]
    chosen = every if sample is None else [every[place * len(every) // sample] for place in range(sample)]
    random.Random(len(every)).shuffle(chosen)
    loop = asyncio.get_running_loop()
    deadline, done, early = loop.time() + seconds, 0, 0
    waiting = iter(chosen)
    with ChaosProvider(RATES, FAILING, PACE) as provider:
        for number in range(-(-len(chosen) // LINKS)):
            if loop.time() > deadline:
                break
            chain = Chain(Home(folder / f"errors{number}", provider))
            await chain.begin()
            for point in _some(waiting, LINKS):
                verdict = await chain.failed_at(point, ("ENOSPC", "EIO")[done % 2], done)
                finding.broken += verdict.broken
                done += 1
                say(f"{done} of {len(chosen)} points, {len(finding.broken)} promises broken")
            finding.take(await chain.end(), *_COUNTED)
            early += chain.early
    finding.figures = {"points": len(every), "failed": done, "while_starting": early, **finding.figures}
    return finding


async def random_kills(
    folder: Path, say: Say, *, kills: int, lanes: int = 40, seconds: float = 1e9, seed: int = 20_261_124
) -> Finding:
    """kill -9 at random moments, the next life at once."""
    finding = Finding("kill_at_random", "kill -9 at random moments under load: nothing acknowledged is lost or doubled")
    dice = random.Random(seed)
    loop = asyncio.get_running_loop()
    deadline, done, number = loop.time() + seconds, 0, 0
    with ChaosProvider(RATES, FAILING, PACE) as provider:
        while done < kills and loop.time() < deadline:
            chain = Chain(Home(folder / f"random{number}", provider))
            number += 1
            for _ in range(min(LINKS, kills - done)):
                verdict = await chain.killed_after(dice.random() * 0.5, dice.randrange(1 << 30), lanes)
                finding.broken += [f"kill {done}: {what}" for what in verdict.broken]
                done += 1
                say(f"{done} of {kills} kills, {len(finding.broken)} promises broken")
                if loop.time() > deadline:
                    break
            finding.take(await chain.end(), *_COUNTED)
    finding.figures = {"kills": done, **finding.figures}
    return finding


def _paths(home: Home, where: str) -> list[str]:
    if where == "all":
        return []
    paths = home.daybook_paths() if where == "daybook" else home.store_paths()
    return [word for path in paths for word in ("-P", str(path.resolve()))]


def _some(points: Iterator[Point], count: int) -> Iterator[Point]:
    for _, point in zip(range(count), points, strict=False):
        yield point
