"""The receipt: one generation record laid out for a person, every field under the name the API gives it.

Takes the record as `metering.record` or the typed client makes it; a record of another server lacks `routebook`, and
the receipt then shows what there is. Text of providers and callers is printed as text, never as markup or as control
characters. Works without colours and without Unicode.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from routebook.cli.receipt_money import MONEY, attempts, cost, revisions
from routebook.cli.receipt_parts import clean, dim, label, ms, new_grid, plain, shown

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

WIDTH = 96

_CALL = (
    "id", "request_id", "upstream_id", "created_at", "model", "router", "provider_name", "api_type", "streamed",
    "cancelled", "finish_reason", "native_finish_reason", "service_tier", "is_byok", "data_region", "app_id", "origin",
    "http_referer", "user_agent", "external_user", "session_id", "workspace_id", "preset_id",
    "response_cache_source_id", "web_search_engine",
)  # fmt: skip
_TOKENS = (
    "native_tokens_prompt", "native_tokens_completion", "native_tokens_cached", "native_tokens_reasoning",
    "tokens_prompt", "tokens_completion", "native_tokens_completion_images", "num_media_prompt",
    "num_input_audio_prompt", "num_media_completion", "num_search_results", "num_fetches",
)  # fmt: skip
_TIMES = ("latency", "generation_time", "moderation_latency")

_SPANS = (
    ("gateway", "accept to dispatch", None, "dispatch", "cyan"),
    ("waiting", "dispatch to first token", "dispatch", "first_token", "yellow"),
    ("answer", "first token to last byte", "first_token", "last_byte", "green"),
    ("settle", "last byte to receipt", "last_byte", "ended", "magenta"),
)
_BLOCKS = {"gateway": "░", "waiting": "▒", "answer": "█", "settle": "▓"}
_ASCII = {"gateway": ".", "waiting": "-", "answer": "=", "settle": "+"}

_SOURCES = {
    "provider": "counted by the provider",
    "estimated": "estimated: the provider gave no final count",
    "drained": "counted by the provider, read to the end after the caller had left",
    "none": "no provider counted anything",
}


def print_receipt(record: Mapping[str, Any], console: Console) -> None:
    """Print it, 96 columns wide at most."""
    from rich.console import Group

    own: Mapping[str, Any] = record.get("routebook") or {}
    unicode = "utf" in (console.encoding or "").lower()
    width = min(console.width, WIDTH)
    parts: list[RenderableType] = [
        _head(record, own, width, unicode),
        *_section("Call", _call(record, own), width),
        *_section("Time", _time(record, own, width, unicode), width),
        *_section("Tokens", _tokens(record, own), width),
        *_section("Cost, USD", cost(record, own), width),
        *_section("Charges made anew, USD", revisions(own), width),
        *_section("Attempts (provider_responses)", attempts(record, own), width),
        *_section("The provider's own usage object", _usage_object(own), width),
        *_section("Not passed on to the provider", _losses(own), width),
        *_section("Error", _error(own), width),
        *_section("Not set in this record", _unset(record), width),
    ]
    console.print(Group(*parts), width=width, markup=False, highlight=False)


def _head(record: Mapping[str, Any], own: Mapping[str, Any], width: int, unicode: bool) -> RenderableType:
    from rich.text import Text

    state = str(own.get("outcome") or ("cancelled" if record.get("cancelled") else record.get("finish_reason") or ""))
    colour = {"done": "green", "open": "cyan", "stop": "green"}.get(state, "red")
    title = "Generation record"
    gap = " " * max(1, width - len(title) - len(state))
    rule = ("─" if unicode else "-") * width
    return Text.assemble((title, "bold"), gap, (clean(state), f"bold {colour}"), "\n", (rule, "dim"))


def _section(title: str, body: RenderableType | None, width: int) -> list[RenderableType]:
    from rich.padding import Padding
    from rich.text import Text

    return [] if body is None else [Text(title, style="bold"), Padding(body, (0, 0, 0, 2), expand=False), Text("")]


def _call(record: Mapping[str, Any], own: Mapping[str, Any]) -> RenderableType:
    grid = new_grid(2, firm=1)
    for name in _CALL:
        if record.get(name) not in (None, ""):
            grid.add_row(label(name), plain(shown(record[name])))
    place = own.get("daybook")
    if place:
        grid.add_row(label("routebook.daybook"), plain(f"{place['name']}, call {place['n']}, last row {place['seq']}"))
    return grid


def _time(record: Mapping[str, Any], own: Mapping[str, Any], width: int, unicode: bool) -> RenderableType:
    from rich.console import Group

    grid = new_grid(6)
    cells: list[RenderableType] = []
    for name in _TIMES:
        cells += [label(name), plain(ms(record.get(name)))]
    grid.add_row(*cells)
    bar = timing_bar(own.get("marks") or {}, width - 4, unicode)
    return grid if bar is None else Group(bar, grid)


def timing_bar(marks: Mapping[str, Any], width: int, unicode: bool = True) -> RenderableType | None:
    """The call from accept to receipt in proportion, and what each part took; None where nothing was timed.

    `marks`: milliseconds after accept, as `routebook.marks` of the record. A part that took any time has one column.
    """
    from rich.console import Group
    from rich.text import Text

    spans = []
    for name, meaning, start, end, style in _SPANS:
        begun = 0 if start is None else marks.get(start)
        until = marks.get(end)
        if begun is not None and until is not None and until >= begun:
            spans.append((name, meaning, Decimal(str(until)) - Decimal(str(begun)), style))
    total = sum((took for _, _, took, _ in spans), Decimal(0))
    if not total:
        return None
    signs = _BLOCKS if unicode else _ASCII
    bar, legend = Text(no_wrap=True), new_grid(4)
    for (name, meaning, took, style), columns in zip(spans, _columns([span[2] for span in spans], width), strict=True):
        bar.append(signs[name] * columns, style=style)
        legend.add_row(Text(signs[name], style=style), name, plain(ms(took)), Text(meaning, style="dim"))
    return Group(bar, legend)


def _columns(times: list[Decimal], width: int) -> list[int]:
    """Columns for each time, in proportion; one at least for a time above zero, and `width` in all."""
    total = sum(times)
    columns = [max(1, int(took * width / total)) if took else 0 for took in times]
    longest = max(range(len(times)), key=lambda place: times[place])
    columns[longest] = max(1, columns[longest] + width - sum(columns))
    return columns


def _tokens(record: Mapping[str, Any], own: Mapping[str, Any]) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    grid = new_grid(4, numbers=(1, 3))
    known = [name for name in _TOKENS if record.get(name) is not None]
    for place in range(0, len(known), 2):
        cells: list[RenderableType] = []
        for name in known[place : place + 2]:
            cells += [label(name), plain(shown(record[name]))]
        grid.add_row(*cells)
    notes = []
    if own.get("usage_source") in _SOURCES:
        notes.append(_SOURCES[own["usage_source"]])
    if own.get("reference_tokens") not in (None, "native"):
        notes.append(f"tokens_prompt and tokens_completion counted with {own['reference_tokens']}")
    return Group(grid, *(Text(clean(note), style="dim") for note in notes))


def _usage_object(own: Mapping[str, Any]) -> RenderableType | None:
    if own.get("provider_usage") is None:
        return None
    from routebook.wire.codec import encode

    told: Any = own["provider_usage"]
    return dim(told if isinstance(told, str) else encode(told).decode())


def _losses(own: Mapping[str, Any]) -> RenderableType | None:
    if not own.get("losses"):
        return None
    grid = new_grid(2)
    for loss in own["losses"]:
        grid.add_row(plain(loss["parameter"]), plain(loss["detail"]))
    return grid


def _error(own: Mapping[str, Any]) -> RenderableType | None:
    error = own.get("error")
    if not error:
        return None
    return plain(f"{error.get('status', '')} {error.get('type', '')}: {error.get('message', '')}".strip())


def _unset(record: Mapping[str, Any]) -> RenderableType | None:
    from rich.text import Text

    hidden = (*_TIMES, *MONEY[:2], "routebook")
    names = [name for name, value in record.items() if value in (None, "") and name not in hidden]
    return Text(", ".join(names), style="dim") if names else None
