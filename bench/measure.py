"""The measurements. Each interleaves its targets round by round, so that a noisy neighbour disturbs all alike."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.drive import Driver, Run, check, rest
from bench.machine import Children, memory_mib
from bench.servers import Broken, Gateway, Target, launch

PACED_STREAMS = 1000
IDEAL_S = 10.0
"""A stream of the mock paced 100 ms has 100 pauses."""
STALL_MS = 500
"""A stream stands still if five events in a row do not come."""

Result = dict[str, Any]


@dataclass(frozen=True)
class Effort:
    rounds: int
    seconds: float
    latency_rounds: int
    latency_seconds: float
    starts: int


QUICK = Effort(rounds=3, seconds=1.0, latency_rounds=3, latency_seconds=2.0, starts=3)
FULL = Effort(rounds=5, seconds=2.5, latency_rounds=5, latency_seconds=6.0, starts=5)


def middle(values: Sequence[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float]) -> Result:
    return {"median": middle(values), "min": min(values), "max": max(values), "rounds": list(values)}


def _interleave(targets: Sequence[Target], rounds: int, one: Callable[[Target], Run]) -> dict[str, list[Run]]:
    runs: dict[str, list[Run]] = {target.name: [] for target in targets}
    for _ in range(rounds):
        for target in targets:
            runs[target.name].append(one(target))
    return runs


def _book(runs: Sequence[Run]) -> Result:
    return {
        "rows_behind": [run.behind for run in runs],
        "ship_s": [round(run.ship_s, 2) for run in runs],
        "foreign": [round(run.foreign, 3) for run in runs],
    }


def json_closed_loop(
    drive: Driver, targets: Sequence[Target], effort: Effort, key: str = "fast", size: int = 1024
) -> Result:
    """64 connections as fast as answers come: CPU per request and requests a second on one core."""
    for target in targets:
        drive.run(target, key, size=size, connections=16, requests=1500)
    runs = _interleave(
        targets, effort.rounds, lambda target: drive.run(target, key, size=size, connections=64, seconds=effort.seconds)
    )
    return {
        name: {
            "cpu_us": spread([run.cpu_us for run in each]),
            "per_second": spread([run.per_second for run in each]),
            "p50_us": middle([run.total_us("p50") for run in each]),
            "p99_us": middle([run.total_us("p99") for run in each]),
            "requests": sum(run.sent for run in each),
            **_book(each),
        }
        for name, each in runs.items()
    }


def fast_streams(drive: Driver, targets: Sequence[Target], effort: Effort, key: str = "fast") -> Result:
    """32 streams at a time, each as fast as the socket takes it."""
    for target in targets:
        drive.run(target, key, stream=True, connections=16, requests=100)
    runs = _interleave(
        targets,
        effort.rounds,
        lambda target: drive.run(target, key, stream=True, connections=32, seconds=effort.seconds),
    )
    return {
        name: {
            "event_us": spread([run.event_us for run in each]),
            "streams_per_second": spread([run.per_second for run in each]),
            "events_per_stream": drive.events[name, key],
            "streams": sum(run.sent for run in each),
            **_book(each),
        }
        for name, each in runs.items()
    }


def many_streams(drive: Driver, targets: Sequence[Target], key: str = "paced100", rounds: int = 1) -> Result:
    """1,000 streams at a time, an event every 100 ms each, started over one second."""
    runs = _interleave(
        targets,
        rounds,
        lambda target: drive.run(
            target, key, stream=True, connections=PACED_STREAMS, requests=PACED_STREAMS, rate=PACED_STREAMS,
            gap_ms=STALL_MS, watch_memory=True,
        ),
    )  # fmt: skip
    return {
        name: {
            "event_us": spread([run.event_us for run in each]),
            "total_over_ideal": spread([run.total_us("p50") / 1e6 / IDEAL_S - 1 for run in each]),
            "slowest_over_ideal": spread([run.total_us("max") / 1e6 / IDEAL_S - 1 for run in each]),
            "stalled": sum(int(run.told["late_streams"]) for run in each),
            "longest_gap_ms": max(float(run.told["longest_gap_ms"]) for run in each),
            "first_event_p99_us": middle([float(run.told["first_us"]["p99"]) for run in each]),
            "peak_rss_mib": max(run.peak_rss_mib for run in each),
            "peak_pss_mib": max(run.peak_pss_mib for run in each),
            "events_per_stream": drive.events[name, key],
            **_book(each),
        }
        for name, each in runs.items()
    }


def added_latency(drive: Driver, targets: Sequence[Target], direct: Target, effort: Effort, rate: float = 80) -> Result:
    """80 requests a second; what a hop adds is the difference to the same load sent straight to the mock."""
    everyone = [direct, *targets]
    runs = _interleave(
        everyone,
        effort.latency_rounds,
        lambda target: drive.run(target, connections=32, rate=rate, seconds=effort.latency_seconds),
    )
    base = runs[direct.name]
    result: Result = {
        direct.name: {f"{rank}_us": middle([run.total_us(rank) for run in base]) for rank in ("p50", "p99")}
    }
    for target in targets:
        added = {
            f"added_{rank}_us": spread(
                [run.total_us(rank) - bare.total_us(rank) for run, bare in zip(runs[target.name], base, strict=True)]
            )
            for rank in ("p50", "p99")
        }
        result[target.name] = {**added, "cpu_us": middle([run.cpu_us for run in runs[target.name]])}
    return result


def idle_memory(target: Target) -> Result:
    """Memory of the tree after a second without work, and the CPU it uses doing nothing; before any load."""
    rest(1.0)
    assert target.process is not None
    rss, pss, processes = memory_mib(target.process.pid)
    before = target.cpu()
    rest(2.0)
    idle_us = (target.cpu() - before) / 2 * 1e6
    return {"rss_mib": rss, "pss_mib": pss, "processes": processes, "idle_cpu_us_per_second": idle_us}


def starts(children: Children, gateway: Gateway, times: int) -> Result:
    """Stop and start it again, each time up to the first answered completion. It runs when this returns."""
    seconds = [gateway.started_s]
    for _ in range(times - 1):
        assert gateway.process is not None
        code = children.stop(gateway.process)
        if code:
            raise Broken(f"the gateway ended with {code} after SIGTERM; see {gateway.config.parent / 'log'}")
        launch(children, gateway)
        seconds.append(gateway.started_s)
    return spread(seconds)


def large_bodies(drive: Driver, targets: Sequence[Target], direct: Target, seconds: float = 10.0) -> Result:
    """What others notice of 20 MB requests with an image: 200 small ones a second while two large ones a second pass.

    The mock gets the large ones too when it is called directly, so the difference is what the hop adds.
    """
    result: Result = {}
    for target in [direct, *targets]:
        image = drive.bodies.image(target.model("fast"), 20_000_000)
        small = drive.bodies.get(target.model("fast"))
        alone = drive.run(target, connections=32, rate=200, seconds=seconds / 2)
        before = target.cpu()
        large_child = drive.begin(
            drive.command(target, image, port=target.port, connections=16, seconds=seconds, rate=2)
        )
        rest(0.3)
        small_child = drive.begin(
            drive.command(target, small, port=target.port, connections=200, seconds=seconds - 0.6, rate=200)
        )
        told, large = drive.finish(small_child), drive.finish(large_child)
        target.sent += int(told["sent"]) + int(large["sent"])
        target.settle()
        spent = target.cpu() - before
        check(target.name, told)
        check(target.name, large)
        result[target.name] = {
            "alone_p999_us": alone.total_us("p999"),
            **{f"{rank}_us": told["total_us"][rank] for rank in ("p50", "p99", "p999", "max")},
            "large_requests": large["sent"],
            "large_p50_ms": large["total_us"]["p50"] / 1000,
            "cpu_ms_per_large": max(0.0, spent - int(told["sent"]) * alone.cpu_s / alone.sent) / large["sent"] * 1000,
        }
    for target in targets:
        mine, bare = result[target.name], result[direct.name]
        for rank in ("p50", "p99", "p999"):
            mine[f"added_{rank}_ms"] = (mine[f"{rank}_us"] - bare[f"{rank}_us"]) / 1000
    return result


def growth(drive: Driver, targets: Sequence[Target], effort: Effort) -> Result:
    """CPU per event from 1 to 1,000 streams that have an event every 100 ms; CPU per request from 1 KB to 1 MB bodies.

    With few streams the work that a server does once a second whatever comes is spread over few events.
    """
    streams: Result = {target.name: {} for target in targets}
    for count in (1, 10, 100, 1000):
        for target in targets:
            run = drive.run(target, "paced100", stream=True, connections=count, requests=count, rate=max(count, 10))
            streams[target.name][str(count)] = run.event_us
    bodies: Result = {target.name: {} for target in targets}
    for size in (1024, 10_240, 102_400, 1_048_576):
        for target in targets:
            drive.run(target, size=size, connections=16, seconds=0.3)
        send = functools.partial(drive.run, size=size, connections=16, seconds=effort.seconds)
        runs = _interleave(targets, 3, send)
        for name, each in runs.items():
            bodies[name][str(size)] = middle([run.cpu_us for run in each])
    return {"event_us_by_streams": streams, "cpu_us_by_body_bytes": bodies}


def own_speed(drive: Driver, direct: Target) -> Result:
    """What generator and mock cost themselves: they share a core, so both are part of every answer's time."""
    out: Result = {}
    for name, run in (
        ("json", drive.run(direct, connections=64, seconds=1.0)),
        ("stream", drive.run(direct, stream=True, connections=32, seconds=1.0)),
    ):
        per = run.events if name == "stream" else run.sent
        out[name] = {
            "unit": "event" if name == "stream" else "request",
            "per_second": per / float(run.told["seconds"]),
            "generator_us": float(run.told["cpu_s"]) / per * 1e6,
            "mock_us": run.cpu_s / per * 1e6,
        }
    return out
