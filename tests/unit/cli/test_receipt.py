"""The receipt: readable, true to the record, safe for any terminal."""

from __future__ import annotations

import io
from decimal import Decimal
from typing import Any

import pytest
from rich.console import Console

from routebook.cli.receipt import print_receipt, timing_bar
from routebook.core.call import Loss
from routebook.core.generation import Folded, State
from routebook.core.money import Charge, Line
from routebook.metering.record import record
from tests.unit.daybook.samples import attempt, intent, outcome


def printed(data: dict[str, Any], width: int = 100, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)
    print_receipt(data, Console(file=file, width=width))
    file.flush()
    return raw.getvalue().decode(encoding)


def of(**changes: Any) -> dict[str, Any]:
    return record(Folded(2, intent(5), None, outcome(**changes), State.DONE))


@pytest.mark.parametrize(("width", "encoding"), [(100, "utf-8"), (80, "ascii"), (200, "utf-8")])
def test_no_line_is_wider_than_the_terminal_or_96_columns(width: int, encoding: str) -> None:
    losses = (Loss("logit_bias", "no such parameter " * 10),)
    data = of(losses=losses, attempts=(attempt(error="UpstreamLimited", status=429), attempt()))
    lines = printed(data, width, encoding).splitlines()
    assert max(len(line) for line in lines) <= min(width, 96)


def test_the_cost_lines_stand_above_the_total_they_sum_to() -> None:
    text = printed(of())
    lines = [line.split() for line in text[text.index("Cost") :].splitlines()]
    assert ["prompt", "100", "x", "0.000003", "0.0003"] in lines
    assert ["completion", "20", "x", "0.000015", "0.0003"] in lines
    assert any(line[:2] == ["total_cost", "0.0006"] for line in lines)


def test_attempts_losses_and_the_error_are_told() -> None:
    data = of(
        attempts=(attempt(error="UpstreamLost", status=None), attempt()),
        losses=(Loss("logit_bias", "acme has no such parameter"),),
        error={"status": 503, "type": "provider_overloaded", "message": "try again"},
    )
    text = printed(data)
    assert "no answer" in text
    assert "UpstreamLost" in text
    assert "acme has no such parameter" in text
    assert "503 provider_overloaded: try again" in text


def test_an_unpriced_call_does_not_look_free() -> None:
    assert "no price is known for this model" in printed(of(charge=Charge(unpriced=True)))


def test_text_from_outside_is_neither_markup_nor_control() -> None:
    data = record(Folded(2, intent(5, user_agent="[bold]x[/bold] \x1b[31mred\x07 \x9b1m"), None, outcome(), State.DONE))
    text = printed(data)
    assert "[bold]x[/bold] ?[31mred? ?1m" in text
    assert "\x1b" not in text


def test_a_record_of_another_server_has_a_receipt_too() -> None:
    data = {"id": "gen-3bh", "model": "a/b", "total_cost": Decimal("0.0015"), "latency": 1250, "router": None}
    text = printed(data)
    assert "gen-3bh" in text
    assert "0.0015" in text
    assert "1250 ms" in text


def bar(marks: dict[str, Any], width: int = 50) -> str:
    made = timing_bar(marks, width, unicode=False)
    if made is None:
        return ""
    out = io.StringIO()
    Console(file=out, width=100).print(made)
    return out.getvalue().splitlines()[0].rstrip()


def test_the_bar_is_in_proportion_and_as_long_as_asked() -> None:
    assert bar({"dispatch": 10, "first_token": 30, "last_byte": 90, "ended": 100}) == (
        "." * 5 + "-" * 10 + "=" * 30 + "+" * 5
    )


def test_a_part_that_took_any_time_is_seen() -> None:
    line = bar({"dispatch": 0.01, "first_token": 5000, "last_byte": 5001, "ended": 5001})
    assert len(line) == 50
    assert (line[0], line[-1], "+" in line) == (".", "=", False)


def test_a_call_that_never_got_anywhere_has_no_bar() -> None:
    assert bar({}) == ""
    assert bar({"ended": 3}) == ""


@pytest.mark.parametrize("width", [80, 96])
def test_every_field_name_and_amount_is_there_in_full_on_a_narrow_terminal(width: int) -> None:
    amount = Decimal("0.00000000038")
    line = Line("completion", amount, 38, Decimal("0.00000000001"), "no price of its own: billed as the completion is")
    charge = Charge(total=amount, upstream=amount, lines=(line,), price_source="a list of prices", price_revision="7")
    data = of(provider_name="A provider with a rather long name of its own", charge=charge)
    text = printed(data, width)
    assert [name for name in data if name not in text and name != "routebook"] == []
    assert text.count("0.00000000038") == 4
    assert "x 0.00000000001" in text
