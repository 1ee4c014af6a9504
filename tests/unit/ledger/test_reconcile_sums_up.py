"""Whatever was planted: the differences sum to that of the totals, and nothing is found but what was planted."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from routebook.core.money import ZERO
from routebook.ledger.export_lines import DAY_NS, Export
from routebook.ledger.exports import mapping_of, read
from routebook.ledger.reconcile import Kind, Report
from routebook.ledger.reconcile_sums import reconcile
from tests.unit.ledger.exports_samples import (
    DAY_START_NS,
    book,
    cost,
    csv,
    entry,
    openrouter_csv,
    openrouter_row,
)

FATES = ("same", "same", "same", "not in book", "not in export", "tokens", "price", "both")
MODELS = ("gpt-4o", "gpt-4o-mini", "o9")

calls = st.lists(
    st.tuples(
        st.sampled_from(FATES),
        st.sampled_from(MODELS),
        st.integers(1, 5000),
        st.integers(1, 500),
        st.integers(0, 3599),
    ),
    max_size=40,
)


def billed(fate: str, prompt: int, completion: int) -> dict[str, Any]:
    """What the provider's row says."""
    more = 7 if fate in ("tokens", "both") else 0
    dearer = Decimal("0.0123") if fate in ("price", "both") else ZERO
    return {"prompt": prompt, "completion": completion + more, "cost": cost(prompt, completion + more) + dearer}


def check(report: Report) -> None:
    total = sum((found.cost for found in report.differences if found.cost is not None), ZERO)
    assert all(found.cost is not None for found in report.differences)
    assert total == (report.export.cost or ZERO) - (report.book.cost or ZERO)


def compare(export: Export, entries: list[Any]) -> Report:
    report = reconcile(export, book(*entries), DAY_START_NS, DAY_START_NS + DAY_NS)
    check(report)
    return report


@settings(max_examples=150, deadline=None)
@given(calls)
def test_call_by_call_every_planted_difference_is_found_once_and_they_sum(planted: list[Any]) -> None:
    rows, entries = [], []
    for number, (fate, model, prompt, completion, at) in enumerate(planted):
        if fate != "not in export":
            rows.append(openrouter_row(number, at, model=f"x/{model}", **billed(fate, prompt, completion)))
        if fate != "not in book":
            entries.append(entry(number, at, model, prompt, completion))
    report = compare(read(openrouter_csv(*rows)), entries) if rows else None
    if report is None:
        return
    found = sorted((difference.kind.value, difference.id) for difference in report.differences)
    wanted = []
    for number, (fate, *_) in enumerate(planted):
        kinds = {
            "not in book": [Kind.MISSING_IN_BOOK],
            "not in export": [Kind.MISSING_IN_EXPORT],
            "tokens": [Kind.TOKENS],
            "price": [Kind.PRICE],
            "both": [Kind.TOKENS, Kind.PRICE],
        }.get(fate, [])
        wanted += [(kind.value, f"up-{number}") for kind in kinds]
    assert found == sorted(wanted)
    assert report.agreed == sum(fate == "same" for fate, *_ in planted)


@settings(max_examples=150, deadline=None)
@given(calls)
def test_the_differences_of_sums_sum_too(planted: list[Any]) -> None:
    sums: dict[str, list[Any]] = {}
    entries = []
    for number, (fate, model, prompt, completion, at) in enumerate(planted):
        if fate != "not in export":
            row = billed(fate, prompt, completion)
            place = sums.setdefault(model, [0, 0, 0, ZERO])
            sums[model] = [place[0] + 1, place[1] + prompt, place[2] + row["completion"], place[3] + row["cost"]]
        if fate != "not in book":
            entries.append(entry(number, at, model, prompt, completion))
    rows = [f"2026-04-01,{model},{','.join(map(str, counts))}" for model, counts in sums.items()]
    mapping = mapping_of("time=at,model=model,requests=calls,prompt=in,completion=out,cost=usd")
    export = read(csv("at,model,calls,in,out,usd", *rows), mapping=mapping)
    report = compare(export, entries)
    touched = {model for fate, model, *_ in planted if fate != "same"}
    assert {model for found in report.differences for model in (found.model or "").split(", ")} <= touched
    for model in touched:
        fates = {fate for fate, name, *_ in planted if name == model} - {"same"}
        if fates in ({"price"}, {"tokens"}):
            kinds = {found.kind.value for found in report.differences if found.model == model}
            assert kinds == fates
