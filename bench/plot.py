"""Writes the figures of a run for the docs: `figures.json` and plots as plain SVG, readable on light and dark pages."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from bench.report import judged

_INK = "#6b7280"
_COLOURS = {"nginx": "#9ca3af", "gateway": "#2563eb"}
_MORE = ("#0d9488", "#d97706", "#9333ea", "#dc2626", "#65a30d")
_FONT = "font-family='system-ui, sans-serif'"


def write_plots(results: dict[str, Any], folder: Path) -> list[Path]:
    """Gives what was written. Plots whose sections were not measured are left as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "figures.json"]
    written[0].write_text(json.dumps({**results, "aims": judged(results)}, indent=1) + "\n", "utf-8")
    if "json" in results and "stream" in results:
        bars = [("1 KB JSON request", "json", "cpu_us"), ("event, fast stream", "stream", "event_us")]
        bars += [("event, 1,000 paced streams", "paced", "event_us")] * ("paced" in results)
        bars += [("JSON request, TLS upstream", "tls", "cpu_us")] * ("tls" in results)
        groups = [
            (title, {name: results[s][name][f]["median"] for name in ("nginx", "gateway")}) for title, s, f in bars
        ]
        written.append(folder / "cpu.svg")
        written[-1].write_text(bar_chart("CPU, microseconds", groups), "utf-8")
    if "growth" in results:
        for name, key, title, axis in (
            ("streams", "event_us_by_streams", "CPU per event, µs", "streams with an event every 100 ms"),
            ("bodies", "cpu_us_by_body_bytes", "CPU per request, µs", "bytes of the request body"),
        ):
            written.append(folder / f"growth-{name}.svg")
            written[-1].write_text(line_chart(title, axis, results["growth"][key]), "utf-8")
    return written


def _text(x: float, y: float, words: str, size: int = 13, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' {_FONT} font-size='{size}' font-weight='{weight}' text-anchor='{anchor}' "
        f"fill='{_INK}'>{escape(words)}</text>"
    )


def _svg(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    body = "\n".join(parts)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' role='img' "
        f"aria-label='{escape(title)}'>\n{body}\n</svg>\n"
    )


def bar_chart(title: str, groups: Sequence[tuple[str, dict[str, float]]]) -> str:
    """Horizontal bars; every group has its own scale, since only the ratio inside a group means something."""
    width, left, bar, row = 720, 210, 300, 20
    parts = [_text(0, 18, title, 15, weight="bold")]
    y = 44.0
    for name, values in groups:
        widest = max(values.values())
        parts.append(_text(0, y + row - 4, name))
        base = values.get("nginx")
        for target, value in values.items():
            length = value / widest * bar
            colour = _COLOURS.get(target, _MORE[0])
            parts.append(
                f"<rect x='{left}' y='{y:.1f}' width='{length:.1f}' height='{row - 5}' rx='2' fill='{colour}'/>"
            )
            ratio = f", {value / base:.2f} x nginx" if base and target != "nginx" else ""
            parts.append(_text(left + length + 8, y + row - 8, f"{target} {value:.1f}{ratio}", 12))
            y += row
        y += 14
    return _svg(width, math.ceil(y), title, parts)


def line_chart(title: str, axis: str, lines: dict[str, dict[str, float]]) -> str:
    """Both axes logarithmic; every point is marked with its value."""
    width, height, left, right, top, bottom = 640, 340, 20, 110, 40, 46
    points = [(float(x), y) for values in lines.values() for x, y in values.items()]
    low_x, high_x = math.log10(min(x for x, _ in points)), math.log10(max(x for x, _ in points))
    low_y, high_y = math.log10(min(y for _, y in points)), math.log10(max(y for _, y in points))
    span_x, span_y = max(high_x - low_x, 1e-9), max(high_y - low_y, 1e-9)

    def at(x: float, y: float) -> tuple[float, float]:
        across = left + 30 + (math.log10(x) - low_x) / span_x * (width - left - right - 30)
        return across, height - bottom - 10 - (math.log10(y) - low_y) / span_y * (height - top - bottom - 30)

    parts = [_text(0, 18, title, 15, weight="bold"), _text(width / 2 - 40, height - 6, axis, 12, "middle")]
    parts.append(
        f"<line x1='{left}' y1='{height - bottom}' x2='{width - right + 20}' y2='{height - bottom}' stroke='{_INK}'/>"
    )
    for step in next(iter(lines.values())):
        parts.append(_text(at(float(step), points[0][1])[0], height - bottom + 17, f"{int(step):,}", 12, "middle"))
    for index, (name, values) in enumerate(lines.items()):
        colour = _COLOURS.get(name, _MORE[index % len(_MORE)])
        placed = [(*at(float(x), y), y) for x, y in values.items()]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in placed)
        parts.append(f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'/>")
        for x, y, value in placed:
            parts.append(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3.5' fill='{colour}'/>")
            parts.append(_text(x, y - 9, f"{value:,.0f}" if value >= 10 else f"{value:.1f}", 11, "middle"))
        parts.append(_text(placed[-1][0] + 12, placed[-1][1] + 4, name, 12))
    return _svg(width, height, title, parts)
