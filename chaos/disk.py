"""A disk that refuses: full (ENOSPC), broken (EIO), for a while. New calls are 503, running ones end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from chaos.finding import Finding, Say, quantiles, strace_is_missing
from chaos.home import FAILING, RATES, Home
from chaos.judge import judge, proved
from chaos.lines import Line, Told, connect
from chaos.lives import Life, attach, detach
from chaos.provider import ChaosProvider
from chaos.workload import ask

RUNNING = 12
"""streams that are under way when the disk begins to refuse"""
REFUSING_SECONDS = 1.0
RESUME_SECONDS = 5.0
ENDS_SECONDS = 30.0
"""A process whose disk refused a sync lets its calls end, which the disk makes long, and ends."""
_POLL = 0.02
TMPFS_MIB = 96
"""of which the book's reserve is 64"""


class Round:
    """Streams under way, a disk that begins to refuse, calls that come meanwhile, and the moment it goes on."""

    def __init__(self, name: str, life: Life) -> None:
        assert life.port is not None
        self.name, self.port, self.provider = name, life.port, life.home.provider
        self.told: list[Told] = []
        self.statuses: Counter[int] = Counter()
        self.resumed_s = 0.0
        self.broken: list[str] = []
        self._calls = 0
        self._streams: list[asyncio.Future[Told]] = []

    async def begin(self) -> None:
        """Streams of which each has told its first piece."""
        names = [f"{self.name}.s{place}" for place in range(RUNNING)]
        for name in names:
            line = await connect(self.port)
            asked = ask(name, "completion=40 pieces=4 hang=2", stream=True)
            self._streams.append(asyncio.ensure_future(line.ask(asked)))
        async with asyncio.timeout(10):
            while not all(name in self.provider.asked for name in names):
                await asyncio.sleep(_POLL)
        await self.call("a call while all is well", 200)

    async def refuse(self, seconds: float) -> None:
        """The disk refuses: the first call finds it out, all that come after are 503."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            note = await self.call()
            self.statuses[note.status] += 1
            if note.status not in (200, 503):
                self.broken.append(f"{note.ask.call}: {note.status} while the disk refuses: {bytes(note.body[:200])!r}")
            await asyncio.sleep(_POLL)
        if not self.statuses[503]:
            self.broken.append(f"{self.name}: no call was refused, so nothing was tried")

    async def resume(self) -> None:
        """The disk takes again: how long until a call is served."""
        began = time.monotonic()
        while (await self.call()).status != 200:
            if time.monotonic() - began > 3 * RESUME_SECONDS:
                self.broken.append(f"{self.name}: it does not resume by itself within {3 * RESUME_SECONDS:g} s")
                return
            await asyncio.sleep(_POLL)
        self.resumed_s = time.monotonic() - began
        if self.resumed_s > RESUME_SECONDS:
            self.broken.append(f"{self.name}: resumed after {self.resumed_s:.2f} s")

    async def ended(self) -> None:
        """Every stream that was under way had its end, and was told what it cost."""
        notes = await self.streams()
        self.told += notes
        for note in notes:
            if not note.acknowledged or note.failed:
                self.broken.append(f"{note.ask.call}: a stream under way was not finished: {bytes(note.body[-300:])!r}")

    async def streams(self) -> list[Told]:
        """What the callers of the streams know, once each has ended or broken."""
        async with asyncio.timeout(30):
            return await asyncio.gather(*self._streams)

    async def call(self, what: str = "", wanted: int | None = None) -> Told:
        self._calls += 1
        line: Line | None = None
        try:
            line = await connect(self.port)
            note = await line.ask(ask(f"{self.name}.c{self._calls}", "completion=5 pieces=1"))
        finally:
            if line is not None:
                line.close()
        self.told.append(note)
        if wanted is not None and note.status != wanted:
            self.broken.append(f"{what}: {note.status} {bytes(note.body[:200])!r}")
        return note


async def refusing(folder: Path, say: Say, *, rounds: int) -> Finding:
    """ENOSPC and EIO by turns, injected into every write to the daybook for a second, in one life."""
    finding = Finding(
        "disk_refuses", "ENOSPC and EIO: new work 503, running work finished, resumes by itself in 5 s, nothing lost"
    )
    if (missing := strace_is_missing()) is not None:
        finding.skipped = missing
        return finding
    told: list[Told] = []
    resumed: list[float] = []
    statuses: Counter[int] = Counter()
    with ChaosProvider(RATES, FAILING) as provider:
        home = Home(folder / "refusing", provider)
        with Life(home) as life:
            await life.serving()
            paths = [word for path in home.daybook_paths() for word in ("-P", str(path.resolve()))]
            for number in range(rounds):
                error = ("ENOSPC", "EIO")[number % 2]
                turn = Round(f"{error}{number}", life)
                await turn.begin()
                trace = await asyncio.to_thread(
                    attach, life.pid, ["-e", "trace=write", "-e", f"inject=write:error={error}", *paths]
                )
                try:
                    await turn.refuse(REFUSING_SECONDS / 2)
                    provider.release()  # their outcomes find a disk that refuses
                    await turn.refuse(REFUSING_SECONDS / 2)
                finally:
                    await asyncio.to_thread(detach, trace)
                await turn.resume()
                await turn.ended()
                told += turn.told
                statuses += turn.statuses
                resumed.append(turn.resumed_s)
                finding.broken += turn.broken
                say(f"{number + 1} of {rounds} rounds, {len(finding.broken)} promises broken")
            if code := await life.stop():
                finding.broken.append(f"the gateway ended with exit code {code}")
        await _judged(finding, home, told)
    finding.figures = {
        "rounds": rounds, "refused_503": statuses[503], "streams_finished": rounds * RUNNING,
        "resumed_max_s": quantiles(resumed)["max"], **finding.figures,
    }  # fmt: skip
    return finding


async def full(folder: Path, say: Say, *, rounds: int) -> Finding:
    """A file system that is really full, and has space again."""
    finding = Finding(
        "disk_full", "a full file system: running calls end in the reserve, new ones are 503, it goes on with space"
    )
    if os.geteuid() != 0:
        finding.skipped = "only root can mount a small file system"
        return finding
    # Not in the suite's own folder: whoever tidies up there would meet a file system that is in use.
    place = Path(tempfile.mkdtemp(prefix="chaos-small-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={TMPFS_MIB}m,mode=0700", "tmpfs", str(place)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        place.rmdir()
        finding.skipped = f"no small file system can be mounted here: {mounted.stderr.strip()}"
        return finding
    try:
        await _fill_and_free(finding, place, rounds, say)
    finally:
        subprocess.run(["umount", str(place)], check=True)
        place.rmdir()
    return finding


async def _fill_and_free(finding: Finding, place: Path, rounds: int, say: Say) -> None:
    told: list[Told] = []
    resumed: list[float] = []
    with ChaosProvider(RATES, FAILING) as provider:
        home = Home(place / "full", provider)
        with Life(home, forked=True) as life:
            await life.serving()
            for number in range(rounds):
                turn = Round(f"full{number}", life)
                await turn.begin()
                await _has_its_reserve(home)
                async with _ballast(place / "ballast"):
                    await turn.refuse(REFUSING_SECONDS)
                    provider.release()
                    await turn.ended()  # while it is full
                await turn.resume()
                told += turn.told
                resumed.append(turn.resumed_s)
                finding.broken += turn.broken
                say(f"{number + 1} of {rounds} rounds, {len(finding.broken)} promises broken")
            if code := await life.stop():
                finding.broken.append(f"the gateway ended with exit code {code}")
        await _judged(finding, home, told)
    finding.figures = {"rounds": rounds, "resumed_max_s": quantiles(resumed)["max"], **finding.figures}


async def failed_sync(folder: Path, say: Say, *, rounds: int) -> Finding:
    """EIO from fdatasync: rows that were acknowledged may not be on the disk, so nothing more is acknowledged."""
    finding = Finding("sync_fails", "EIO from fsync: no call is acknowledged any more, a new start loses nothing")
    if (missing := strace_is_missing()) is not None:
        finding.skipped = missing
        return finding
    told: list[Told] = []
    ends: Counter[str] = Counter()
    with ChaosProvider(RATES, FAILING) as provider:
        home = Home(folder / "sync", provider)
        for number in range(rounds):
            with Life(home, forked=True) as life:
                await life.serving()
                turn = Round(f"sync{number}", life)
                await turn.begin()
                paths = [word for path in home.daybook_paths() for word in ("-P", str(path.resolve()))]
                inject = ["-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO"]
                trace = await asyncio.to_thread(attach, life.pid, [*inject, *paths])
                try:
                    ends[await _until_it_stops(turn, life)] += 1
                finally:
                    await asyncio.to_thread(detach, trace)
                life.kill()
                await life.ended()
                told += [*turn.told, *await turn.streams()]
                finding.broken += turn.broken
            await asyncio.to_thread(provider.settle)
            say(f"{number + 1} of {rounds} rounds, {len(finding.broken)} promises broken")
        with Life(home, forked=True) as life:
            await life.serving()
            await life.stop()
        await _judged(finding, home, told)
    finding.figures = {"rounds": rounds, **dict(ends), **finding.figures}
    return finding


async def _until_it_stops(turn: Round, life: Life) -> str:
    """Calls until the first is refused: from there on none is acknowledged. What the process does then."""
    deadline = time.monotonic() + RESUME_SECONDS
    while (await turn.call()).status == 200:
        if time.monotonic() > deadline:
            turn.broken.append(f"{turn.name}: calls are acknowledged on, {RESUME_SECONDS:g} s after a failed sync")
            return "went_on"
        await asyncio.sleep(_POLL)
    life.home.provider.release()
    for _ in range(20):
        if life.code is not None:
            return "ended_by_itself"
        with contextlib.suppress(OSError):
            note = await turn.call()
            if note.status == 200:
                turn.broken.append(f"{note.ask.call}: acknowledged after a failed sync")
        await asyncio.sleep(_POLL)
    try:
        code = await life.ended(ENDS_SECONDS)
    except TimeoutError:
        turn.broken.append(f"{turn.name}: the process has not ended {ENDS_SECONDS:g} s after a failed sync")
        return "refused_until_killed"
    if code != 1:
        turn.broken.append(f"{turn.name}: the process ended with exit code {code} after a failed sync")
    return "ended_by_itself"


async def _judged(finding: Finding, home: Home, told: list[Told]) -> None:
    await asyncio.to_thread(home.provider.settle)
    verdict = judge(home, told, open_allowed=False)
    await proved(home, verdict)
    finding.take(verdict, "calls", "acknowledged", "refused")


async def _has_its_reserve(home: Home) -> None:
    """Space that is taken while the reserve is being made would be given back when that fails."""
    async with asyncio.timeout(10):
        while not any(path.stat().st_size for path in home.folder.glob("daybooks/*/reserve")):
            await asyncio.sleep(_POLL)


@asynccontextmanager
async def _ballast(path: Path) -> AsyncIterator[None]:
    """All the space that is left, taken while inside."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    os.write(fd, bytes(size))
            except OSError:
                continue
        yield
    finally:
        os.close(fd)
        path.unlink()
