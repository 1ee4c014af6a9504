"""`python -m bench`: what a request costs here, against nginx in the same run.

The gateway and nginx run on core 0, the load and the mock upstream on core 1. Rounds are interleaved, figures are
medians, CPU is that of the whole process tree until every row is in the store, and afterwards the book must know every
call and hold. Exit 0 if it does, 1 if anything went wrong, 2 if a tool is missing; a missed aim is no error.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from bench import measure
from bench.crossing import measured, print_lanes
from bench.drive import Driver
from bench.machine import Children, Missing, facts, ticks
from bench.measure import FULL, QUICK
from bench.plot import write_plots
from bench.probe import probe, probe_record
from bench.profiling import profile
from bench.report import judged, print_report, sound
from bench.servers import (
    Broken,
    Gateway,
    Target,
    Variant,
    edge_of,
    start_gateway,
    start_nginx,
    start_upstream,
)
from bench.tools import HERE, MODELS, OUT, Bodies, find_tools

SECTIONS = ("memory", "start", "json", "stream", "paced", "translated", "translated_paced", "tls", "latency")
"""what a quick run measures; `translated` and `translated_paced` go by one name"""
FULL_SECTIONS = (*SECTIONS, "lanes", "large", "growth", "variants")


class Bench:
    """One run: the servers it started and the results so far."""

    def __init__(self, options: argparse.Namespace, console: Console, children: Children, folder: Path) -> None:
        self.options, self.console, self.children, self.folder = options, console, children, folder
        self.effort = FULL if options.full else QUICK
        self.sections = _sections(options)
        self.tools = find_tools()
        self.results: dict[str, Any] = {"facts": facts(OUT, options.python), "failed": {}}
        self.results["facts"]["nginx"] = self.tools.nginx_version
        self.upstream = start_upstream(children, self.tools, folder / "upstream")
        self.nginx = start_nginx(children, self.tools, folder / "nginx", self.upstream)
        self.direct = Target(
            "direct", self.upstream.port, "/v1/chat/completions", [], self.upstream.processes[0], on_gateway_core=False
        )
        self.gateways = [self._gateway(Variant("gateway", edge=options.edge, python=options.python))]
        self.gateway = self.gateways[0]
        self.results["facts"]["edge"] = edge_of(self.gateway.greeting)
        self.drive = Driver(children, self.tools, Bodies(folder / "bodies"), {})

    def _gateway(self, variant: Variant) -> Gateway:
        return start_gateway(self.children, self.folder / variant.name, self.upstream, variant)

    def run(self) -> None:
        """Everything that was asked for, in an order in which nothing disturbs what comes after it."""
        before = ticks()
        pair: list[Target] = [self.nginx, self.gateway]
        if "memory" in self.sections:
            self.say("memory without work")
            self.results["memory"] = {target.name: measure.idle_memory(target) for target in pair}
        if "start" in self.sections:
            self.say("start to first answer")
            self.results["start"] = measure.starts(self.children, self.gateway, self.effort.starts)
        self.say("single answers, looked at closely")
        for target in (self.direct, self.nginx):
            self.drive.events |= probe(target, self.drive.bodies, ["fast", "paced100"])
        self.probe(self.gateway)
        self.say("generator and mock alone")
        self.results["own_speed"] = measure.own_speed(self.drive, self.direct)
        self.measure(pair)
        if "variants" in self.sections:
            self.variants()
        after = ticks()
        spent = [late - early for early, late in zip(before, after, strict=True)]
        self.results["facts"]["stolen by the host"] = f"{spent[7] / max(1, sum(spent)) * 100:.1f} %"
        self.prove()

    def probe(self, gateway: Gateway) -> None:
        keys = [key for key in MODELS if key not in ("paced10", "claude-paced100")]
        self.drive.events |= probe(gateway, self.drive.bodies, keys)
        self.drive.events[gateway.name, "claude-paced100"] = self.drive.events[gateway.name, "claude"]
        if gateway.variant.book:
            probe_record(gateway, self.drive.bodies.get(gateway.model("fast")))

    def measure(self, pair: Sequence[Target]) -> None:
        drive, effort = self.drive, self.effort
        alone: Sequence[Target] = [self.gateway]
        paced_rounds = 3 if self.options.full else 1
        steps: dict[str, tuple[str, Callable[[], Any]]] = {
            "json": ("1 KB JSON requests", lambda: measure.json_closed_loop(drive, pair, effort)),
            "stream": ("fast streams", lambda: measure.fast_streams(drive, pair, effort)),
            "paced": ("1,000 paced streams", lambda: measure.many_streams(drive, pair, rounds=paced_rounds)),
            "translated": ("fast streams, translated", lambda: measure.fast_streams(drive, alone, effort, "claude")),
            "translated_paced": (
                "1,000 paced streams, translated",
                lambda: measure.many_streams(drive, alone, "claude-paced100", paced_rounds),
            ),
            "lanes": ("translated lanes", lambda: measured(drive, self.gateway, effort)),
            "tls": ("JSON with TLS to the upstream", lambda: measure.json_closed_loop(drive, pair, effort, "tls")),
            "latency": ("added latency", lambda: measure.added_latency(drive, pair, self.direct, effort)),
            "large": ("20 MB bodies", lambda: measure.large_bodies(drive, pair, self.direct)),
            "growth": ("growth", lambda: measure.growth(drive, pair, effort)),
        }
        for section, (words, step) in steps.items():
            if section in self.sections:
                self.say(words)
                try:
                    self.results[section] = step()
                except Broken as broken:
                    self.console.print(f"[bold red]{section}: {broken}[/]")
                    self.results["failed"][section] = str(broken)

    def variants(self) -> None:
        """The same two figures for every other way to run it, all in one set of rounds."""
        edge = self.results["facts"]["edge"]
        other = "asgi" if edge == "native" else "native"
        wanted = [
            Variant("power", edge=self.options.edge, durability="power", python=self.options.python),
            Variant("reference tokens", edge=self.options.edge, reference_tokens=True, python=self.options.python),
            Variant("book off", edge=self.options.edge, book=False, python=self.options.python),
            Variant(f"edge {other}", edge=other, python=self.options.python),
        ]
        if self.options.python is not None:
            wanted.append(Variant("the interpreter of .venv", edge=self.options.edge))
        targets: list[Target] = [self.nginx, self.gateway]
        for variant in wanted:
            try:
                gateway = self._gateway(variant)
            except Broken as broken:
                self.console.print(f"[yellow]{variant.name} is left out: {str(broken).splitlines()[-1][:200]}[/]")
                continue
            if variant.edge == other and edge_of(gateway.greeting) != other:
                self.console.print(f"[yellow]{variant.name} is left out: this version serves with {edge}[/]")
                assert gateway.process is not None
                self.children.stop(gateway.process)
                continue
            self.gateways.append(gateway)
            self.probe(gateway)
            targets.append(gateway)
        self.say("variants")
        self.results["variants"] = {
            "json": measure.json_closed_loop(self.drive, targets, self.effort),
            "stream": measure.fast_streams(self.drive, targets, self.effort),
        }

    def prove(self) -> None:
        """Every call that was sent is in the book, and the book holds. Stops the gateways."""
        self.say("proving the books")
        books: dict[str, Any] = {}
        for gateway in self.gateways:
            if not gateway.variant.book:
                continue
            gateway.settle()
            report = gateway.verify()
            books[gateway.name] = {
                "calls_sent": gateway.sent,
                "calls_in_book": gateway.calls_in_book(),
                "rows": gateway.rows_in_book(),
                "holds": report["holds"],
                "failures": [failure for check in report["checks"] for failure in check["failures"]][:5],
            }
            assert gateway.process is not None
            books[gateway.name]["exit_code"] = self.children.stop(gateway.process)
        self.results["books"] = books

    @property
    def proven(self) -> bool:
        return not self.results["failed"] and all(sound(book) for book in self.results["books"].values())

    def say(self, words: str) -> None:
        self.console.print(f"[dim]… {words}[/]")


def _sections(options: argparse.Namespace) -> tuple[str, ...]:
    if not options.only:
        return FULL_SECTIONS if options.full else SECTIONS
    asked = {name.strip() for name in options.only.split(",")}
    if unknown := asked - set(FULL_SECTIONS):
        print(f"bench: no section {', '.join(sorted(unknown))}; there are {', '.join(FULL_SECTIONS)}", file=sys.stderr)
        raise SystemExit(2)
    return tuple(name for name in FULL_SECTIONS if name in asked)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--quick", action="store_true", help="about a minute and a half; the default")
    kind.add_argument("--full", action="store_true", help="more and longer rounds, all sections; about ten minutes")
    parser.add_argument("--only", metavar="NAMES", help=f"some sections, with commas: {', '.join(FULL_SECTIONS)}")
    parser.add_argument("--edge", choices=("native", "asgi"), help="the edge to measure; else the product's default")
    parser.add_argument("--python", metavar="PATH", help="the interpreter to run the gateway on, of the same version")
    parser.add_argument("--profile", action="store_true", help="instead of measuring: where the CPU goes")
    parser.add_argument("--plot", action="store_true", help="write docs/performance/ from this run")
    parser.add_argument("--keep", action="store_true", help="keep logs and data folders of the run")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=150)
    children = Children()
    folder = OUT / f"run-{os.getpid()}"

    def ended(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, ended)
    failed = True
    try:
        if len(os.sched_getaffinity(0)) < 2:
            raise Missing("the benchmark needs two cores: one for the gateway, one for the load")
        if options.profile:
            profile(options.edge, console, children, folder)
            failed = False
            return 0
        bench = Bench(options, console, children, folder)
        bench.run()
        bench.results["aims"] = judged(bench.results)
        _write(bench.results, options)
        print_report(bench.results, console)
        if "lanes" in bench.results:
            print_lanes(bench.results["lanes"], console)
        failed = not bench.proven
        return 1 if failed else 0
    except Missing as missing:
        print(f"bench: {missing}", file=sys.stderr)
        failed = False
        return 2
    except Broken as broken:
        print(f"bench: {broken}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: stopped", file=sys.stderr)
        failed = False
        return 130
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever is impatient must not leave processes behind
        children.stop_all()
        if failed:
            print(f"bench: logs are in {os.path.relpath(folder)}", file=sys.stderr)
        elif not options.keep:
            shutil.rmtree(folder, ignore_errors=True)


def _write(results: dict[str, Any], options: argparse.Namespace) -> None:
    OUT.mkdir(exist_ok=True)
    name = "full" if options.full else "quick"
    if options.only:
        name = "-".join(_sections(options))
    (OUT / f"{name}.json").write_text(json.dumps(results, indent=1), "utf-8")
    if options.plot:
        write_plots(results, HERE.parent / "docs" / "performance")


if __name__ == "__main__":
    raise SystemExit(main())
