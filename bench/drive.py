"""Sends load at a target with the C generator, and takes the CPU that the answers cost until their rows are shipped."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.machine import GATEWAY_CORE, LOAD_CORE, Children, busy_seconds, memory_mib
from bench.servers import Broken, Target
from bench.tools import Bodies, Tools

ID_HEADER = "x-generation-id"
PATIENCE = 90
"""seconds that answers get after the last request: a server that is slower than the load still gives a figure"""


@dataclass
class Run:
    """One run of the generator, and what the target's processes used for it."""

    told: dict[str, Any]
    """what load.c printed"""
    cpu_s: float
    """of the whole tree, until every row was shipped"""
    behind: int
    """rows not shipped when the last answer was there"""
    ship_s: float
    foreign: float
    """share of the gateway's core that somebody else used meanwhile: noise, and a reason for doubt"""
    peak_rss_mib: float = 0.0
    peak_pss_mib: float = 0.0

    @property
    def sent(self) -> int:
        return int(self.told["sent"])

    @property
    def events(self) -> int:
        return int(self.told["events"])

    @property
    def cpu_us(self) -> float:
        """CPU per request, microseconds."""
        return self.cpu_s / max(1, self.sent) * 1e6

    @property
    def event_us(self) -> float:
        """CPU per event that callers got, everything else of the request included, microseconds."""
        return self.cpu_s / max(1, self.events) * 1e6

    @property
    def per_second(self) -> float:
        return float(self.told["per_second"])

    def total_us(self, rank: str) -> float:
        return float(self.told["total_us"][rank])


@dataclass
class Driver:
    children: Children
    tools: Tools
    bodies: Bodies
    events: dict[tuple[str, str], int]
    """(target, model key) -> data lines of a whole stream, as the probe counted them"""

    def command(
        self,
        target: Target,
        body: Path,
        *,
        port: int,
        connections: int,
        seconds: float | None = None,
        requests: int | None = None,
        rate: float | None = None,
        events: int | None = None,
        gap_ms: int | None = None,
        patience: int | None = None,
        end: str | None = None,
        text: str = '"total_tokens"',
    ) -> list[str]:
        command = [str(self.tools.load), "-p", str(port), "-u", target.path, "-b", str(body), "-c", str(connections)]
        for header in target.headers:
            command += ["-H", header]
        wanted = {"-d": seconds, "-n": requests, "-r": rate, "-e": events, "-g": gap_ms, "-w": patience, "-z": end}
        for flag, value in wanted.items():
            if value is not None:
                command += [flag, str(value)]
        if events is None:
            command += ["-k", text]
        if target.path.startswith(("/api/", "/v1beta/")):
            command += ["-i", ID_HEADER]
        return command

    def run(
        self,
        target: Target,
        key: str = "fast",
        *,
        stream: bool = False,
        size: int = 1024,
        connections: int,
        seconds: float | None = None,
        requests: int | None = None,
        rate: float | None = None,
        gap_ms: int | None = None,
        watch_memory: bool = False,
    ) -> Run:
        """Load the target and check that every answer was good. Raises Broken if one was not."""
        return self.load(
            target,
            self.bodies.get(target.model(key), stream=stream, size=size),
            port=target.port_for(key),
            connections=connections,
            seconds=seconds,
            requests=requests,
            rate=rate,
            events=self.events[target.name, key] if stream else None,
            gap_ms=gap_ms,
            watch_memory=watch_memory,
        )

    def load(
        self, target: Target, body: Path, *, port: int | None = None, watch_memory: bool = False, **how: Any
    ) -> Run:
        """The same with any body; `how` as `command` takes it. Raises Broken."""
        command = self.command(target, body, port=port or target.port, patience=PATIENCE, **how)
        before, busy, begun = target.cpu(), busy_seconds(GATEWAY_CORE), time.monotonic()
        watcher = MemoryWatch(target) if watch_memory else None
        told = self.finish(self.begin(command))
        if watcher is not None:
            watcher.stop()
        target.sent += int(told["sent"])
        behind, ship_s = target.settle()
        cpu_s = target.cpu() - before
        here = cpu_s if target.on_gateway_core else 0.0
        foreign = max(0.0, busy_seconds(GATEWAY_CORE) - busy - here) / (time.monotonic() - begun)
        run = Run(told, cpu_s, behind, ship_s, foreign)
        if watcher is not None:
            run.peak_rss_mib, run.peak_pss_mib = watcher.rss, watcher.pss
        check(target.name, told)
        return run

    def begin(self, command: list[str]) -> subprocess.Popen[bytes]:
        return self.children.start(command, core=LOAD_CORE, out=subprocess.PIPE, err=subprocess.PIPE)

    def finish(self, child: subprocess.Popen[bytes]) -> dict[str, Any]:
        """Wait for a generator; gives what it printed."""
        out, err = child.communicate()
        self.children.stop(child)
        if child.returncode:
            raise Broken(f"the load generator ended with {child.returncode}: {err.decode('utf-8', 'replace')[:400]}")
        told: dict[str, Any] = json.loads(out)
        return told


def check(name: str, told: dict[str, Any]) -> None:
    """Every answer must have been good: a figure over failed answers means nothing."""
    if told["good"] != told["sent"]:
        faults = ("wrong_status", "bad_framing", "bad_content", "lost", "refused", "unanswered")
        found = ", ".join(f"{fault} {told[fault]}" for fault in faults if told[fault])
        raise Broken(f"{name}: {told['sent'] - told['good']} of {told['sent']} answers were not good ({found}); "
                     f"the first: {told['complaint'] or 'no answer'}")  # fmt: skip


class MemoryWatch:
    """Looks at a tree's memory four times a second until stopped; keeps the peaks."""

    def __init__(self, target: Target) -> None:
        assert target.process is not None
        self._pid = target.process.pid
        self.rss = self.pss = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.25):
            rss, pss, _ = memory_mib(self._pid)
            self.rss, self.pss = max(self.rss, rss), max(self.pss, pss)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def rest(seconds: float) -> None:
    """Let a server become idle before its memory is read."""
    time.sleep(seconds)
