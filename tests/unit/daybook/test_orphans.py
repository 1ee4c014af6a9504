"""What an interrupted call is said to have cost."""

from __future__ import annotations

from decimal import Decimal

from routebook.core.catalog import Accounting
from routebook.core.generation import Folded, Progress
from routebook.core.usage import Usage
from routebook.daybook.orphans import interrupted
from tests.unit.daybook.samples import ACCEPTED_NS, SHEET, intent


def progress(usage: Usage | None, frames: int = 3) -> Progress:
    return Progress(
        at_ns=ACCEPTED_NS + 7,
        model="m/x",
        provider_name="P",
        endpoint_id="e",
        frames=frames,
        usage=usage,
        pricing=SHEET,
    )


def test_the_estimate_starts_from_the_last_progress() -> None:
    end = interrupted(Folded(2, intent(1), progress(Usage(prompt=100, completion=20))), Accounting(Decimal("0.25")))
    assert end.charge.total == Decimal("0.00075")
    assert end.charge.upstream == Decimal("0.0006")
    assert (end.model, end.provider_name, end.delivered_frames) == ("m/x", "P", 3)


def test_the_charge_never_passes_the_hold_and_the_lines_say_so() -> None:
    call = intent(1, hold=Decimal("0.0001"), held_key=True)
    charge = interrupted(Folded(2, call, progress(Usage(prompt=100, completion=20))), Accounting()).charge
    assert charge.total == Decimal("0.0001")
    assert charge.lines is not None
    assert sum(line.amount for line in charge.lines) == charge.total
    assert charge.lines[-1].item == "hold"
    assert charge.upstream == Decimal("0.0006")


def test_a_call_without_a_hold_is_not_cut_to_nothing() -> None:
    call = intent(1, hold=None)
    charge = interrupted(Folded(2, call, progress(Usage(prompt=100, completion=20))), Accounting()).charge
    assert charge.total == Decimal("0.0006")


def test_a_stream_that_had_said_nothing_yet_is_not_charged() -> None:
    charge = interrupted(Folded(2, intent(1), progress(Usage(prompt=100), frames=0)), Accounting()).charge
    assert charge.total == 0
    assert charge.insured


def test_an_unpriced_call_stays_unpriced() -> None:
    charge = interrupted(Folded(1, intent(1, pricing=None)), Accounting()).charge
    assert charge.unpriced
    assert charge.lines is None
    assert charge.total == 0
