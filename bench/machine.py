"""What the benchmark asks of the machine: processes on a core of their own, ended by id; CPU, memory and facts."""

from __future__ import annotations

import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

GATEWAY_CORE = 0
LOAD_CORE = 1
_TICKS = os.sysconf("SC_CLK_TCK")
_GRACE = 30.0
"""seconds between SIGTERM and SIGKILL; a gateway ships its rows meanwhile"""


class Missing(Exception):
    """Something that the benchmark needs is not here; the message says how to get it."""


class Children:
    """Every process that the benchmark starts. `stop` ends one, `stop_all` all that are left, each by its id."""

    def __init__(self) -> None:
        self._running: list[subprocess.Popen[bytes]] = []

    def start(
        self,
        command: Sequence[str],
        *,
        core: int,
        env: Mapping[str, str] | None = None,
        out: IO[bytes] | int | None = None,
        err: IO[bytes] | int | None = None,
        cwd: Path | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start it on that core, in a session of its own: Ctrl-C reaches only us, and we end it in order."""

        def pin() -> None:
            os.sched_setaffinity(0, {core})

        child = subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env, cwd=cwd, start_new_session=True,
            preexec_fn=pin,
        )  # fmt: skip
        self._running.append(child)
        return child

    def stop(self, child: subprocess.Popen[bytes]) -> int:
        """SIGTERM, then SIGKILL for it and its descendants. Gives the exit code."""
        if child.poll() is None:
            family = tree(child.pid)
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(_GRACE)
            except subprocess.TimeoutExpired:
                for pid in family:
                    _kill(pid)
                child.wait()
        if child in self._running:
            self._running.remove(child)
        return child.returncode

    def stop_all(self) -> None:
        for child in reversed(list(self._running)):
            self.stop(child)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; empty for a process that is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text[text.rindex(")") + 2 :].split()


def tree(root: int) -> list[int]:
    """The process and all its living descendants."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := _stat(int(name))):
            children.setdefault(int(fields[1]), []).append(int(name))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def cpu_seconds(root: int) -> float:
    """CPU that the tree has used, user and system, all threads, descendants that have ended included.

    The process's CPU clock gives the sum of utime and stime in nanoseconds where /proc/PID/stat has ticks of 10 ms.
    """
    total = 0.0
    for pid in tree(root):
        try:
            total += time.clock_gettime((~pid << 3) | 2)
        except OSError:
            continue
        fields = _stat(pid)
        if fields:
            total += (int(fields[13]) + int(fields[14])) / _TICKS
    return total


def memory_mib(root: int) -> tuple[float, float, int]:
    """(sum of RSS, sum of PSS, number of processes) of the tree."""
    rss = pss = count = 0
    for pid in tree(root):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        count += 1
        for line in lines:
            if line.startswith("Rss:"):
                rss += int(line.split()[1])
            elif line.startswith("Pss:"):
                pss += int(line.split()[1])
    return rss / 1024, pss / 1024, count


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ticks() -> list[int]:
    """The first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal."""
    with open("/proc/stat") as file:
        return [int(field) for field in file.readline().split()[1:9]]


def busy_seconds(core: int) -> float:
    """CPU that anybody has used on that core so far, interrupts included."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            user, nice, system, _, _, irq, softirq = (int(field) for field in fields[:7])
            return (user + nice + system + irq + softirq) / _TICKS
    raise Missing(f"there is no core {core} in /proc/stat")


def interpreter(python: str) -> str:
    """Its version; in brackets the interpreter itself where it is not the one that measures."""
    try:
        done = subprocess.run([python, "-V"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Missing(f"the interpreter {python} does not run: {error}") from None
    version = done.stdout.strip().removeprefix("Python ")
    return version if python == sys.executable else f"{version} ({python})"


def facts(folder: Path, python: str | None = None) -> dict[str, str]:
    """What a reader has to know about the machine; nothing that names it."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    mount = subprocess.run(
        ["stat", "-f", "-c", "%T", str(folder)], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "cpu": f"{os.cpu_count()} x {model}",
        "memory": f"{gib:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": interpreter(python or sys.executable),
        "daybook on": mount,
        "load at start": " ".join(f"{x:.2f}" for x in os.getloadavg()),
    }
