"""The aims, and which figure of a result each is held against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Results = dict[str, Any]


@dataclass(frozen=True)
class Aim:
    figure: str
    section: str
    """key of the results that it needs"""
    value: Callable[[Results], float]
    unit: str
    aim: float
    stretch: float | None = None
    at_least: bool = False
    """larger is better"""
    detail: Callable[[Results], str] = lambda results: ""

    def verdict(self, value: float) -> str:
        def holds(bound: float) -> bool:
            return value >= bound if self.at_least else value <= bound

        if self.stretch is not None and holds(self.stretch):
            return "stretch"
        return "aim" if holds(self.aim) else "MISS"


def _ratio(section: str, figure: str, under: str = "nginx") -> Callable[[Results], float]:
    def value(results: Results) -> float:
        return float(results[section]["gateway"][figure]["median"] / results[section][under][figure]["median"])

    return value


def _both(section: str, figure: str, unit: str) -> Callable[[Results], str]:
    def told(results: Results) -> str:
        each = results[section]
        return f"{each['gateway'][figure]['median']:,.1f} against {each['nginx'][figure]['median']:,.1f} {unit}"

    return told


def _lanes(slow: str, fast: str) -> Callable[[Results], float]:
    def value(results: Results) -> float:
        return float(results[slow]["gateway"]["event_us"]["median"] / results[fast]["gateway"]["event_us"]["median"])

    return value


def _lane_detail(slow: str, fast: str) -> Callable[[Results], str]:
    def told(results: Results) -> str:
        translated, same = (results[name]["gateway"]["event_us"]["median"] for name in (slow, fast))
        return f"{translated:.1f} against {same:.1f} µs"

    return told


AIMS = (
    Aim("CPU per 1 KB JSON request", "json", _ratio("json", "cpu_us"), "x nginx", 3.5, 2.8,
        detail=_both("json", "cpu_us", "µs")),
    Aim("requests a second on one core", "json", _ratio("json", "per_second"), "of nginx", 0.27, 0.35, True,
        detail=_both("json", "per_second", "/s")),
    Aim("CPU per event, fast stream", "stream", _ratio("stream", "event_us"), "x nginx", 1.2, 1.0,
        detail=_both("stream", "event_us", "µs")),
    Aim("CPU per event, 1,000 paced streams", "paced", _ratio("paced", "event_us"), "x nginx", 1.5, 1.25,
        detail=_both("paced", "event_us", "µs")),
    Aim("translated, per event, fast stream", "translated", _lanes("translated", "stream"), "x fast lane", 2.0,
        detail=_lane_detail("translated", "stream")),
    Aim("translated, per event, 1,000 paced streams", "translated_paced", _lanes("translated_paced", "paced"),
        "x fast lane", 2.0, detail=_lane_detail("translated_paced", "paced")),
    Aim("TLS upstream, CPU per JSON request", "tls", _ratio("tls", "cpu_us"), "x nginx", 2.2, 1.9,
        detail=_both("tls", "cpu_us", "µs")),
    Aim("added latency p50 at 80 requests a second", "latency", _ratio("latency", "added_p50_us"), "x nginx", 2.0,
        detail=_both("latency", "added_p50_us", "µs")),
    Aim("added latency p99 at 80 requests a second", "latency", _ratio("latency", "added_p99_us"), "x nginx", 3.0,
        detail=_both("latency", "added_p99_us", "µs")),
    Aim("1,000 paced streams, total time over ideal", "paced",
        lambda r: r["paced"]["gateway"]["total_over_ideal"]["median"] * 100, "%", 1.0,
        detail=lambda r: f"slowest stream {r['paced']['gateway']['slowest_over_ideal']['max'] * 100:.2f} %, "
                         f"longest pause {r['paced']['gateway']['longest_gap_ms']:.0f} ms"),
    Aim("1,000 paced streams, stalled", "paced", lambda r: float(r["paced"]["gateway"]["stalled"]), "streams", 0.0),
    Aim("RSS with 1,000 streams", "paced", lambda r: r["paced"]["gateway"]["peak_rss_mib"], "MiB", 100.0, 60.0,
        detail=lambda r: f"PSS {r['paced']['gateway']['peak_pss_mib']:.0f}, nginx RSS "
                         f"{r['paced']['nginx']['peak_rss_mib']:.0f} MiB"),
    Aim("idle memory, PSS of the tree", "memory", lambda r: r["memory"]["gateway"]["pss_mib"], "MiB", 80.0, 50.0,
        detail=lambda r: f"{r['memory']['gateway']['processes']} process(es), RSS "
                         f"{r['memory']['gateway']['rss_mib']:.0f} MiB"),
    Aim("start to first answer", "start", lambda r: r["start"]["median"], "s", 0.5, 0.3,
        detail=lambda r: f"{r['start']['min']:.2f} to {r['start']['max']:.2f} s in {len(r['start']['rounds'])} starts"),
    Aim("others' added p99.9 while 20 MB bodies pass", "large", lambda r: r["large"]["gateway"]["added_p999_ms"], "ms",
        50.0, detail=lambda r: f"nginx {r['large']['nginx']['added_p999_ms']:.1f} ms; "
                               f"{r['large']['gateway']['large_requests']} large requests, "
                               f"{r['large']['gateway']['cpu_ms_per_large']:.0f} ms CPU each"),
)  # fmt: skip
