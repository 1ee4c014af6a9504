"""`routebook route replay`: past calls through another policy or other prices; the difference in cost and latency."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import cyclopts

if TYPE_CHECKING:
    from rich.console import Console

    from routebook.core.catalog import Accounting
    from routebook.core.generation import Folded
    from routebook.daybook.reading import ReadOnlyDaybook
    from routebook.load.settings import Loaded
    from routebook.load.whatif import Scene
    from routebook.metering.record import Latency
    from routebook.policy.replay import Move, Report, World
    from routebook.store.port import Store

NOT_KEPT = (
    "Records hold no prompt and no parameters: `provider`, fallback models, tools and max_tokens are not there when a "
    "plan is drawn again."
)


def replay(
    *,
    since: Annotated[str, cyclopts.Parameter(help="Calls accepted since 90s, 30m, 1h, 2d ago, or a UTC time (ISO).")],
    until: Annotated[str | None, cyclopts.Parameter(help="Only calls accepted before that; else until now.")] = None,
    policy: Annotated[
        Path | None,
        cyclopts.Parameter(
            help="A TOML file whose [routing], [[models]] and [[providers]] replace the configured ones."
        ),
    ] = None,
    prices: Annotated[
        Path | None,
        cyclopts.Parameter(help="A TOML file of [[prices]] that replace those of endpoints that are there."),
    ] = None,
    model: Annotated[str | None, cyclopts.Parameter(help="Only calls that this model answered.")] = None,
    json: Annotated[bool, cyclopts.Parameter(negative=(), help="One JSON object, for scripts.")] = False,
    config: Annotated[Path | None, cyclopts.Parameter(help="Configuration file; else ROUTEBOOK_CONFIG.")] = None,
) -> None:
    """Run past calls through another policy or other prices, and say what that changes. Writes nothing.

    Without --policy and --prices the present configuration is the other policy. The same records and files give the
    same bytes, where both bounds are times.

    Example: `routebook route replay --since 7d --policy cheaper.toml`
    """
    from routebook.cli.which import since_until
    from routebook.observe.clock import SystemClock

    since_ns, until_ns = since_until(since, until, SystemClock().now_ns())
    calls = _calls(config, since_ns, until_ns, model)
    report, present = _replayed(calls, config, policy, prices, until_ns)
    if json:
        _print_json(report, since_ns, until_ns)
    else:
        _print_report(report, since_ns, until_ns, present)


def _calls(config: Path | None, since_ns: int, until_ns: int, model: str | None) -> list[Folded]:
    """In order of their acceptance."""
    from routebook.cli.generation import with_records

    async def work(books: Sequence[ReadOnlyDaybook], store: Store | None, latency: Latency) -> list[Folded]:
        from routebook.daybook.library import every

        return [call async for _, call in every(books, store, since_ns=since_ns, until_ns=until_ns, model=model)]

    found = with_records(config, work)
    found.sort(key=lambda call: (call.intent.accepted_ns, call.intent.id))
    return found


def _replayed(
    calls: list[Folded], config: Path | None, policy: Path | None, prices: Path | None, until_ns: int
) -> tuple[Report, bool]:
    """(the report, whether it is the present configuration that was replayed)."""
    from routebook.load.settings import ConfigError, load_settings
    from routebook.load.whatif import scene, with_policy
    from routebook.policy.replay import replay as run

    try:
        loaded = load_settings(config, os.environ)
        present = _world(scene(loaded, os.environ, until_ns))
        same = policy is None and prices is None
        changed = loaded if policy is None else with_policy(loaded, policy)
        other = present if same else _world(scene(changed, os.environ, until_ns, prices))
    except ConfigError as error:
        _stop(str(error), 1)
    return run(calls, present, other, _accounting(changed)), same


def _world(scene: Scene) -> World:
    from routebook.policy.house import house_of
    from routebook.policy.replay import World

    routing = scene.loaded.settings.routing
    return World(scene.catalog, house_of(routing), scene.sheets_at, scene.passthrough, routing.attempts)


def _accounting(loaded: Loaded) -> Accounting:
    from routebook.core.catalog import Accounting

    table = loaded.settings.accounting
    return Accounting(markup=table.markup, byok_fee=table.byok_fee)


# --- printing ---------------------------------------------------------------------------------------------------------


def _print_json(report: Report, since_ns: int, until_ns: int) -> None:
    from routebook.core.money import plain, subtract
    from routebook.wire.codec import encode

    old, new = report.cost
    told: dict[str, Any] = {
        "since_ns": since_ns,
        "until_ns": until_ns,
        "calls": {
            "looked_at": report.looked_at,
            "rerun": report.rerun,
            "moved": sum(move.calls for move in report.moves.values() if not move.stays),
            "left": dict(sorted(report.left.items())),
            "refused": dict(sorted(report.refused.items())),
            "refused_charged": plain(report.refused_old),
            "as_planned": report.as_planned,
            "with_session": report.with_session,
            "with_media": report.with_media,
        },
        "cost": {"charged": plain(old), "would_be": plain(new), "difference": plain(subtract(new, old))},
        "latency": _latency(report),
        "moves": [_move(report.moves[place]) for place in sorted(report.moves)],
        "measured": [
            {
                "endpoint_id": endpoint_id,
                "answers": pace.answers,
                "first_ms": _ms(pace.first_ns),
                "token_us": (pace.token_ns + 500) // 1000,
            }
            for endpoint_id, pace in sorted(report.paces.items())
        ],
    }
    print(encode(told).decode())


def _latency(report: Report) -> dict[str, Any]:
    from routebook.policy.replay import percentile

    old_ns, new_ns, unknown = report.latencies
    return {
        "calls": len(old_ns),
        "unknown": unknown,
        "p50_ms": _ms(percentile(old_ns, 50)) if old_ns else None,
        "p90_ms": _ms(percentile(old_ns, 90)) if old_ns else None,
        "would_be_p50_ms": _ms(percentile(new_ns, 50)) if new_ns else None,
        "would_be_p90_ms": _ms(percentile(new_ns, 90)) if new_ns else None,
        "estimate_off_by_p50_permille": percentile(report.off, 50) if report.off else None,
        "estimate_checked_on": len(report.off),
    }


def _move(move: Move) -> dict[str, Any]:
    from routebook.core.money import plain, subtract
    from routebook.policy.replay import percentile

    known = bool(move.old_ns)
    return {
        "model": move.model,
        "provider": move.provider,
        "to_model": move.to_model,
        "to_provider": move.to_provider,
        "calls": move.calls,
        "charged": plain(move.old),
        "would_be": plain(move.new),
        "difference": plain(subtract(move.new, move.old)),
        "latency_unknown": move.unknown,
        "p50_ms": _ms(percentile(move.old_ns, 50)) if known else None,
        "would_be_p50_ms": _ms(percentile(move.new_ns, 50)) if known else None,
    }


def _ms(ns: int) -> int:
    return (ns + 500_000) // 1_000_000


def _print_report(report: Report, since_ns: int, until_ns: int, present: bool) -> None:
    from rich.text import Text

    from routebook.cli.terminal import Terminal

    width = None if sys.stdout.isatty() else 160
    console = Terminal(width=width)
    what = "the present configuration" if present else "another policy"
    console.print(
        Text.assemble(
            ("Replay", "bold"),
            f"  {_day(since_ns)} to {_day(until_ns)} with {what}: ",
            f"{report.looked_at:,} calls, {report.rerun:,} run again.",
        )
    )
    if report.moves:
        console.print()
        _print_moves(console, report)
        console.print()
        _print_sums(console, report)
    console.print()
    for why, calls in sorted(report.left.items()):
        console.print(Text(f"left as they are: {calls:,} ({why})"))
    for why, calls in sorted(report.refused.items()):
        console.print(Text(f"would be refused: {calls:,} ({why})", style="yellow"))
    if report.rerun:
        asked = "The present configuration asks the same endpoint first for"
        otherwise = report.rerun - report.as_planned
        if otherwise:
            why = f"{otherwise:,} were planned with what records do not hold, or with another configuration."
            console.print(Text(f"{asked} {report.as_planned:,} of these calls; {why}"))
        else:
            console.print(Text(f"{asked} all of these calls."))
    console.print(Text(NOT_KEPT, style="dim"))


def _print_moves(console: Console, report: Report) -> None:
    from routebook.cli.fitting import Sheet
    from routebook.cli.receipt_parts import aligned, plain

    table = Sheet(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("model", "from", "to", "calls", "charged", "would be", "difference", "p50 ms", "would be"):
        numeric = name in ("calls", "p50 ms") or len(table.columns) == 8
        table.add_column(
            name,
            justify="right" if numeric else "left",
            overflow="fold",
            no_wrap=name not in ("model", "from", "to"),
        )
    rows = [_move(report.moves[place]) for place in sorted(report.moves)]
    money = [
        aligned([row["charged"] for row in rows]),
        aligned([row["would_be"] for row in rows]),
        aligned([row["difference"] for row in rows], signed=True),
    ]
    for at, row in enumerate(rows):
        stays = (row["model"], row["provider"]) == (row["to_model"], row["to_provider"])
        to = row["to_provider"] if row["to_model"] == row["model"] else f"{row['to_model']} at {row['to_provider']}"
        table.add_row(
            plain(row["model"]),
            plain(row["provider"]),
            plain("stays" if stays else to),
            f"{row['calls']:,}",
            *(column[at] for column in money),
            _shown(row["p50_ms"]),
            _shown(row["would_be_p50_ms"]),
            style="dim" if stays else "",
        )
    console.print(table)


def _print_sums(console: Console, report: Report) -> None:
    from rich.text import Text

    from routebook.core.money import plain, subtract

    old, new = report.cost
    difference = subtract(new, old)
    sign = "+" if difference > 0 else ""
    percent = f" ({float(difference / old):+.1%})" if old else ""
    console.print(
        Text.assemble(
            ("cost     ", "dim"),
            f"${plain(old)} charged, ${plain(new)} would be, ",
            (f"{sign}{plain(difference)}{percent}", "bold"),
        )
    )
    latency = _latency(report)
    was = [_shown(latency[name]) for name in ("p50_ms", "p90_ms")]
    would = [_shown(latency[name]) for name in ("would_be_p50_ms", "would_be_p90_ms")]
    unknown = f"; not known for {latency['unknown']:,}" if latency["unknown"] else ""
    console.print(
        Text.assemble(
            ("latency  ", "dim"),
            f"p50 {was[0]} -> {would[0]} ms, p90 {was[1]} -> {would[1]} ms over {latency['calls']:,} calls{unknown}",
        )
    )
    if (off := latency["estimate_off_by_p50_permille"]) is not None:
        console.print(
            Text(
                "         calls that move take what was measured where they go: median time to the first content, then "
                f"of a token.\n         Of {latency['estimate_checked_on']:,} calls that stay, half are estimated so "
                f"within {off / 10:.1f} %.",
                style="dim",
            )
        )


def _shown(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _day(ns: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(ns // 10**9, UTC).strftime("%Y-%m-%d %H:%M:%S") if ns else "the beginning"


def _stop(message: str, code: int) -> NoReturn:
    print(f"routebook route: {message}", file=sys.stderr)
    raise SystemExit(code)
