"""Nothing that a caller says is dropped in silence, in any dialect; and docs/conformance.md says what is."""

from __future__ import annotations

from pathlib import Path

import pytest

from routebook.core.call import CannotExpress, Losses
from tests.conformance.answers import ANSWERS, FACES
from tests.conformance.cases import CASES, CHANGED, Case
from tests.conformance.lanes import LANES, UPSTREAMS, Lane, asked
from tests.conformance.table import LOST, MAPPED, REFUSED, SENT, answer_cell, is_in, page, request_cell

PAGE = Path(__file__).resolve().parents[2] / "docs" / "conformance.md"
AGREED = {"reasoning.effort", "reasoning.max_tokens", "reasoning_details"}
"""what is mapped as the API itself says it is, so that requiring parameters refuses nobody for it"""


def test_every_dialect_has_a_lane() -> None:
    assert {lane.dialect for lane in LANES} == set(UPSTREAMS)


@pytest.mark.parametrize("lane", LANES, ids=lambda lane: lane.name)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_asked_is_sent_or_named(case: Case, lane: Lane) -> None:
    cell = request_cell(case, lane)
    if cell.mark in (SENT, MAPPED) and cell.missing:
        # The nearest thing may be another number; of what is sent as it is, every mark has to be there.
        assert cell.mark == MAPPED, f"{cell.missing} went nowhere, and nobody was told: {cell.sent}"
    if cell.mark == SENT and (member := CHANGED.get(case.name)):
        without = {name: value for name, value in case.body.items() if name != member}
        assert request_cell(Case("", without, ()), lane).sent != cell.sent, f"{member} changes nothing"
    if cell.mark == REFUSED:
        assert len(cell.notes[0][1]) > 10


@pytest.mark.parametrize("lane", LANES, ids=lambda lane: lane.name)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_who_requires_parameters_gets_all_of_them_or_no_such_endpoint(case: Case, lane: Lane) -> None:
    cell = request_cell(case, lane)
    parameters = {parameter for parameter, _ in cell.notes}
    refused = None
    try:
        lane.upstream.build(asked(case.body), lane.endpoint, "secret", Losses(strict=True))
    except CannotExpress as cannot:
        refused = cannot.parameter
    assert refused in parameters if refused else cell.mark == SENT or parameters <= AGREED


def test_marks_are_found_as_they_are_escaped_and_in_base64_and_nowhere_else() -> None:
    assert is_in("Zebra — é", 'a "Zebra \\u2014 \\xe9" b')
    for sealed in ("cmVkYWN0ZWRaRUJSQQ==", "QXJlZGFjdGVkWkVCUkE=", "QUFyZWRhY3RlZFpFQlJBQg=="):
        assert is_in("redactedZEBRA", sealed)
    assert not is_in("redactedZEBRA", "cmVkYWN0ZWRYRUJSQQ==")
    assert not is_in("Zebra", "Zebr a")


def test_the_page_is_what_the_dialects_do() -> None:
    told, now = PAGE.read_text("utf-8").splitlines(), page().splitlines()
    assert told == now, "write it anew with `python -m tests.conformance`, and read what changed"


def test_the_tables_figures(capsys: pytest.CaptureFixture[str]) -> None:
    cells = [request_cell(case, lane) for case in CASES for lane in LANES]
    answers = [answer_cell(answer, face) for answer in ANSWERS for face in FACES]
    counts = {mark: sum(cell.mark == mark for cell in cells) for mark in (SENT, MAPPED, LOST, REFUSED)}
    with capsys.disabled():
        print(
            f"\nconformance: {len(CASES)} requests x {len(LANES)} lanes: {counts[SENT]} sent, {counts[MAPPED]} mapped, "
            f"{counts[LOST]} lost by name, {counts[REFUSED]} refused, 0 in silence; {len(ANSWERS)} answers x "
            f"{len(FACES)} APIs: {sum(cell.mark == SENT for cell in answers)} said"
        )
    assert counts[SENT] > counts[LOST]
