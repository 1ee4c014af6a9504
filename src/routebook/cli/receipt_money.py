"""The receipt's parts about money: every line that sums to the charge, charges made anew, and what each try cost."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from routebook.cli.receipt_parts import aligned, clean, dim, label, money, ms, new_grid, plain, shown

if TYPE_CHECKING:
    from rich.console import RenderableType

MONEY = ("total_cost", "usage", "upstream_inference_cost", "cache_discount")


def cost(record: Mapping[str, Any], own: Mapping[str, Any]) -> RenderableType:
    """Count x rate = amount, line by line, above the total they sum to; and by which prices."""
    from rich.console import Group
    from rich.text import Text

    lines = list(own.get("lines") or ())
    sums = [name for name in MONEY if record.get(name) is not None]
    amounts = aligned([*(line["amount"] for line in lines), *(record[name] for name in sums)])
    rates = aligned([line.get("rate") for line in lines])
    table = new_grid(5, numbers=(1,), firm=4)
    for line, rate, amount in zip(lines, rates, amounts, strict=False):
        count = "" if line.get("count") is None else f"{line['count']:,}"
        table.add_row(plain(line["item"]), count, f"x {rate}" if rate else "", amount, dim(line.get("note") or ""))
    if lines:
        table.add_row("", "", "", Text("-" * max(len(amount) for amount in amounts), style="dim"), "")
    for name, amount in zip(sums, amounts[len(lines) :], strict=True):
        bold = name == "total_cost"
        note = _note(own) if bold else _upstream_note(record, own) if name == "upstream_inference_cost" else ""
        table.add_row(label(name, bold=bold), "", "", Text(amount, style="bold" if bold else ""), dim(note))
    if not own.get("price_source"):
        return table
    prices = f"prices: {own['price_source']}, revision {own.get('price_revision') or 'unknown'}"
    return Group(table, dim(prices))


def revisions(own: Mapping[str, Any]) -> RenderableType | None:
    """Every charge the call ever had, with the prices it was made by; None if there was only one."""
    known = list(own.get("revisions") or ())
    if not known:
        return None
    table = new_grid(5, firm=4)
    table.add_row(dim("revision"), dim("at (UTC)"), dim("total_cost"), dim("change"), dim("prices"))
    changes: list[Decimal | None] = [None]
    for before, after in pairwise(known):
        changes.append(Decimal(after["total_cost"]) - Decimal(before["total_cost"]))
    totals = aligned([each["total_cost"] for each in known])
    for each, total, change in zip(known, totals, changes, strict=True):
        sign = "" if change is None else f"{'+' if change >= 0 else ''}{money(change)}"
        prices = f"{each.get('price_source') or 'none known'} {each.get('price_revision') or ''}".strip()
        newest = each is known[-1]
        table.add_row(
            f"{each['revision']}{' (in force)' if newest else ''}",
            plain(str(each["at"])[:19].replace("T", " ")),
            total,
            sign,
            dim(prices),
        )
    return table


def attempts(record: Mapping[str, Any], own: Mapping[str, Any]) -> RenderableType | None:
    """One row a try: who, how it ended, how long, how many tokens, what it cost upstream and the account."""
    from rich.console import Group
    from rich.text import Text

    from routebook.cli.fitting import Sheet

    tries = record.get("provider_responses") or []
    if not tries:
        return None
    told: list[Mapping[str, Any]] = list(own.get("attempts") or [])
    told += [{}] * (len(tries) - len(told))
    models = {row.get("model_permaslug") for row in tries} - {record.get("model"), None}
    table = Sheet(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for title in ("provider_name", "status", "latency", "in", "out", "upstream", "charged", ""):
        table.add_column(
            title,
            justify="right" if title in ("status", "latency", "in", "out") else "left",
            overflow="fold",
            min_width=len(title),
            no_wrap=title not in ("provider_name", "status", ""),
        )
    upstream = aligned([more.get("upstream_inference_cost") for more in told])
    charged = aligned([more.get("total_cost") for more in told])
    for place, (row, more) in enumerate(zip(tries, told, strict=False)):
        counts = more.get("counts") or {}
        status = row.get("status")
        what = [text for text in (more.get("error"), row.get("model_permaslug") if models else None) if text]
        table.add_row(
            plain(shown(row.get("provider_name"))),
            plain("no answer" if status is None else str(status)),
            plain(ms(row.get("latency"))),
            _tokens(counts.get("prompt")),
            _tokens(counts.get("completion")),
            upstream[place],
            charged[place],
            Text(clean(", ".join(what)), style="red" if more.get("error") else ""),
        )
    hidden = own.get("hidden_retry_spend")
    if hidden in (None, "0"):
        return table
    return Group(table, dim(f"hidden_retry_spend {money(hidden)}: what tries cost upstream that did not answer"))


def _tokens(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def _note(own: Mapping[str, Any]) -> str:
    told = []
    if own.get("unpriced"):
        told.append("no price is known for this model, so nothing was charged")
    if own.get("lines"):
        told.append("the sum of the lines")
    if own.get("over_hold"):
        told.append(f"above the {money(own['hold'])} held for it")
    return "; ".join(told)


def _upstream_note(record: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    hidden = own.get("hidden_retry_spend")
    return "" if hidden in (None, "0") or own.get("revision") else f"with {money(hidden)} for tries that did not answer"
