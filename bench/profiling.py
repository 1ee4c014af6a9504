"""Where the CPU goes: shares by library (perf), by Python line (py-spy), by room (cProfile), whichever is here.

Both loads are profiled: closed-loop JSON and fast streams. cProfile charges every call it sees, so it overstates small
functions; its shares are good for comparing rooms, the other two for absolute statements.
"""

from __future__ import annotations

import pstats
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.drive import Driver
from bench.machine import LOAD_CORE, Children
from bench.probe import probe
from bench.servers import Gateway, Target, Variant, start_gateway, start_upstream
from bench.tools import OUT, Bodies, find_tools

SECONDS = 4.0


def profile(edge: str | None, console: Console, children: Children, folder: Path) -> None:
    tools = find_tools()
    upstream = start_upstream(children, tools, folder / "upstream")
    drive = Driver(children, tools, Bodies(folder / "bodies"), {})
    shown = OUT / "profile"
    shown.mkdir(parents=True, exist_ok=True)
    gateway = start_gateway(children, folder / "sampled", upstream, Variant("sampled", edge=edge))
    drive.events |= probe(gateway, drive.bodies, ["fast"])
    for kind in ("json", "stream"):
        _load(drive, gateway, kind, 0.5)
        for sampler in (_perf, _pyspy):
            sampler(drive, gateway, kind, shown, console)
    assert gateway.process is not None
    children.stop(gateway.process)
    for kind in ("json", "stream"):
        out = shown / f"{kind}.cprofile"
        variant = Variant(f"traced-{kind}", edge=edge, profile=out)
        gateway = start_gateway(children, folder / variant.name, upstream, variant)
        drive.events |= probe(gateway, drive.bodies, ["fast"])
        _load(drive, gateway, kind, SECONDS)
        assert gateway.process is not None
        children.stop(gateway.process)
        _rooms(out, kind, console)


def _load(drive: Driver, gateway: Target, kind: str, seconds: float) -> None:
    run = drive.run(gateway, stream=kind == "stream", connections=64 if kind == "json" else 32, seconds=seconds)
    gateway.sent += run.sent


def _perf(drive: Driver, gateway: Gateway, kind: str, shown: Path, console: Console) -> None:
    perf = shutil.which("perf")
    if perf is None or gateway.process is None:
        console.print("[dim]perf is not here; shares by library are left out[/]")
        return
    data = shown / f"{kind}.perf"
    pid = str(gateway.process.pid)
    record = [
        perf,
        *"record -q -F 999 -e cpu-clock -g -o".split(),
        str(data),
        "-p",
        pid,
        "--",
        "sleep",
        str(SECONDS - 1),
    ]
    sampler = drive.children.start(record, core=LOAD_CORE, out=subprocess.DEVNULL, err=subprocess.PIPE)
    _load(drive, gateway, kind, SECONDS)
    _, err = sampler.communicate()
    drive.children.stop(sampler)
    for what, sort, most in (("library", "dso", 12), ("function in C", "symbol", 25)):
        told = subprocess.run(
            [perf, *"report --no-children --stdio -g none --sort".split(), sort, "-i", str(data)],
            capture_output=True,
            text=True,
            check=False,
        )
        lines = [line.strip() for line in told.stdout.splitlines() if line.strip() and not line.startswith("#")]
        if not lines:
            console.print(f"[yellow]perf recorded nothing: {err.decode('utf-8', 'replace').strip()[:200]}[/]")
            return
        console.print(f"\n[bold]{kind}: CPU by {what}, perf[/]")
        for line in lines[:most]:
            console.print("  " + " ".join(part for part in line.split() if part != "-"), markup=False)


def _pyspy(drive: Driver, gateway: Gateway, kind: str, shown: Path, console: Console) -> None:
    beside = Path(sys.executable).with_name("py-spy")
    pyspy = str(beside) if beside.exists() else shutil.which("py-spy")
    if pyspy is None or gateway.process is None:
        console.print("[dim]py-spy is not here (pip install py-spy); shares by Python line are left out[/]")
        return
    out = shown / f"{kind}.folded"
    record = [pyspy, *f"record -r 500 -d {SECONDS - 1:.0f} -t -f raw -o".split(), str(out)]
    record += ["-p", str(gateway.process.pid)]
    sampler = drive.children.start(record, core=LOAD_CORE, out=subprocess.DEVNULL, err=subprocess.DEVNULL)
    _load(drive, gateway, kind, SECONDS)
    sampler.wait()
    drive.children.stop(sampler)
    leaves: dict[str, float] = defaultdict(float)
    files: dict[str, float] = defaultdict(float)
    for line in out.read_text("utf-8").splitlines() if out.exists() else ():
        stack, _, count = line.rpartition(" ")
        if "MainThread" not in stack:  # threads that wait are sampled too
            continue
        frames = stack.split(";")
        leaves[frames[-1]] += int(count)
        ours = (found for frame in reversed(frames) if (found := _file_of_ours(frame)))
        files[next(ours, "event loop and kernel, no frame of ours")] += int(count)
    _print_shares(f"{kind}: samples of the main thread by the innermost file of ours, py-spy", files, 30, console)
    _print_shares(f"{kind}: samples of the main thread by line, py-spy", leaves, 30, console)


def _print_shares(title: str, found: Mapping[str, float], most: int, console: Console) -> None:
    total = sum(found.values()) or 1
    table = Table(title=f"\n{title}", title_justify="left", box=None, show_header=False)
    table.add_column(justify="right")
    table.add_column()
    for name, amount in sorted(found.items(), key=lambda item: -item[1])[:most]:
        table.add_row(f"{amount / total * 100:.1f} %", name)
    console.print(table)


def _file_of_ours(frame: str) -> str:
    """`settle (routebook/corridor/settle.py:40)` -> `corridor/settle.py`; empty for a frame of no room."""
    file = frame.rpartition("(")[2].partition(":")[0]
    return file.removeprefix("routebook/") if file.startswith("routebook/") and "/cli/" not in file else ""


def _rooms(data: Path, kind: str, console: Console) -> None:
    """Own time by room, and the functions that have most of it."""
    stats = pstats.Stats(str(data))
    rooms: dict[str, float] = defaultdict(float)
    functions: list[tuple[float, int, str]] = []
    entries: dict[tuple[str, int, str], tuple[int, int, float, float, object]] = stats.stats  # type: ignore[attr-defined]
    for (file, line, name), (_, calls, own, _, _) in entries.items():
        room = _room(file, name)
        if name == "run" and file.endswith("runners.py"):  # uvloop is not seen; its time is its caller's
            room = "the event loop and the kernel under it"
        rooms[room] += own
        functions.append((own, calls, f"{name} ({Path(file).name}:{line})" if line else name))
    total = sum(rooms.values())
    _print_shares(f"{kind}: own time by room, cProfile", rooms, 25, console)
    table = Table(title=f"{kind}: functions with most own time, cProfile", title_justify="left", box=None)
    for title in ("share", "calls", "function"):
        table.add_column(title, justify="left" if title == "function" else "right")
    for own, calls, name in sorted(functions, reverse=True)[:30]:
        table.add_row(f"{own / total * 100:.1f} %", f"{calls:,}", name)
    console.print(table)


def _room(file: str, name: str) -> str:
    parts = Path(file).parts
    if "routebook" in parts:
        inside = parts[len(parts) - 1 - parts[::-1].index("routebook") + 1 :]
        return f"routebook/{inside[0]}" if inside else "routebook"
    if "site-packages" in parts:
        return parts[parts.index("site-packages") + 1]
    if file == "~":
        return "built-in " + name.strip("<>").removeprefix("built-in method ").removeprefix("method ")[:50]
    return f"standard library/{Path(file).stem}"
