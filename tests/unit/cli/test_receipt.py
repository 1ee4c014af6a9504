"""The receipt: readable, true to the record, safe for any terminal."""

from __future__ import annotations

import io
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from rich.console import Console

from routebook.cli.receipt import print_receipt, timing_bar
from routebook.cli.receipt_parts import aligned
from routebook.core.call import Loss
from routebook.core.catalog import Accounting
from routebook.core.generation import Folded, State
from routebook.core.money import Charge, Line
from routebook.core.usage import Usage
from routebook.metering.record import record
from routebook.metering.revision import unanswered, with_unanswered
from tests.unit.daybook.samples import SHEET, attempt, charge, intent, outcome
from tests.unit.metering.test_revision import revised


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


def with_a_lost_try(**changes: Any) -> Folded:
    usage = Usage(prompt=1000, completion=1, raw=b'{"input_tokens":1000}')
    lost = attempt(
        provider_name="Beta",
        error="UpstreamOverloaded",
        usage=usage,
        charge=unanswered(usage, SHEET, Accounting(), images=0, hhmm=0),
    )
    own = charge()
    good = attempt(usage=Usage(prompt=100, completion=20), charge=own)
    end = outcome(charge=with_unanswered(own, [lost.charge or Charge()]), attempts=(lost, good), **changes)
    return Folded(2, intent(5), None, end, State.DONE)


def test_what_a_try_cost_that_did_not_answer_is_told_in_its_row_and_as_a_sum() -> None:
    text = printed(record(with_a_lost_try()))
    rows = [line.split() for line in text.splitlines()]
    assert ["Beta", "200", "58", "ms", "1,000", "1", "0.003015", "0", "UpstreamOverloaded"] in [
        [word if word != "248" else "58" for word in row] for row in rows
    ]
    assert ["Acme", "200", "58", "ms", "100", "20", "0.0006", "0.0006"] in rows
    assert "hidden_retry_spend 0.003015" in text
    assert "with 0.003015 for tries that did not answer" in " ".join(text.split())


def test_a_charge_made_anew_stands_beside_the_one_it_replaces() -> None:
    new = msgspec.structs.replace(
        charge(), total=Decimal("0.0005"), lines=(Line("prompt", Decimal("0.0005")),), price_revision="2031-05-05 ab"
    )
    text = printed(record(Folded(2, intent(5), None, outcome(), State.DONE, (revised(new),))))
    rows = [line.split() for line in text.splitlines()]
    assert any(row[:1] == ["0"] and row[3] == "0.0006" and row[-1] == "2024-07" for row in rows)
    assert any(row[:3] == ["1", "(in", "force)"] and row[5:7] == ["0.0005", "-0.0001"] for row in rows)
    assert any(row[:2] == ["total_cost", "0.0005"] for row in rows)
    assert "prices: configuration, revision 2031-05-05 ab" in text


def test_the_providers_own_usage_object_is_shown_as_it_came() -> None:
    raw = b'{"prompt_tokens":100,"odd":{"x":[1,2.50]}}'
    assert raw.decode() in printed(of(usage=Usage(prompt=100, completion=20, raw=raw)))


def test_decimal_points_stand_in_one_column() -> None:
    assert aligned(["0.5", "12.25", None, 3, "0"]) == [" 0.5", "12.25", "", " 3", " 0"]
