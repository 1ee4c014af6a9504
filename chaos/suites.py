"""All suites with the sizes of a long run and of a short one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from chaos import budgets, commits, disk, drains, kills, leaving, mutations, readings, successors
from chaos.finding import Finding, Say

Run = Callable[..., Awaitable[Finding]]


@dataclass(frozen=True)
class Suite:
    """`long` and `short`: arguments of `run`. `share`: of the time that is left when the run has a limit; None: the
    suite takes what it takes."""

    name: str
    run: Run
    long: dict[str, Any]
    short: dict[str, Any]
    share: float | None = None

    async def look(self, folder: Path, say: Say, *, short: bool, seconds: float | None = None) -> Finding:
        """`seconds`: how long it may take, where it can be cut short."""
        sizes = dict(self.short if short else self.long)
        if seconds is not None and self.share is not None:
            sizes["seconds"] = seconds * self.share
        folder.mkdir(parents=True, exist_ok=True)
        return await self.run(folder, say, **sizes)


SUITES: tuple[Suite, ...] = (
    Suite("commit_latency", commits.latency, {"seconds": 60.0}, {"seconds": 1.0}),
    Suite("client_gone", leaving.hang_up, {"streams": 1000}, {"streams": 100}),
    Suite("read_elsewhere", readings.read_after_last_byte, {"reads": 10_000}, {"reads": 200}),
    Suite("budget_1_worker", partial(budgets.race, workers=1), {"seeds": 100}, {"seeds": 2}),
    Suite("budget_4_workers", partial(budgets.race, workers=4), {"seeds": 100}, {"seeds": 2}),
    Suite("worker_killed", successors.worker_killed, {"seeds": 20}, {"seeds": 1}),
    Suite("sigterm", drains.sigterm, {"rounds": 100}, {"rounds": 3, "lanes": 40}),
    Suite("disk_refuses", disk.refusing, {"rounds": 20}, {"rounds": 1}),
    Suite("disk_full", disk.full, {"rounds": 10}, {"rounds": 1}),
    Suite("sync_fails", disk.failed_sync, {"rounds": 10}, {"rounds": 1}),
    Suite("mutations", mutations.each_guard, {}, {"also_plain": False}),
    Suite("write_fails_once", kills.every_error, {}, {"places": ("daybook",), "sample": 2}, share=0.2),
    Suite("kill_at_syscalls", kills.every_syscall, {}, {"places": ("daybook",), "sample": 4}, share=0.5),
    Suite("kill_at_random", kills.random_kills, {"kills": 2000}, {"kills": 6, "lanes": 24}, share=1.0),
)
