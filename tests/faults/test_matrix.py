"""The fault matrix over TCP: every kind of fault, streamed and whole, one to three endpoints, as `table.py` says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.faults.matrix import ATTEMPTS, CASES, Case, Seen, gateway, run
from tests.faults.table import KINDS, Breaks, Fails, Kind, Works

Matrix = dict[str, Seen]


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    """All cases, run once."""
    with gateway(tmp_path_factory.mktemp("faults") / "home") as (running, server):
        return asyncio.run(run(running, server, running.new_key()))


EVERY = pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])


def of(kind: Kind, matrix: Matrix) -> list[tuple[Case, Seen]]:
    return [(case, matrix[case.slug]) for case in CASES if case.kind is kind]


def test_there_are_at_least_34_kinds_each_streamed_and_whole_with_one_two_and_three_endpoints() -> None:
    faults = [kind for kind in KINDS if not (isinstance(kind.streamed[1], Works) and isinstance(kind.whole[1], Works))]
    assert len(faults) >= 34
    assert len({case.slug for case in CASES}) == len(CASES) == 10 * len(KINDS)


@EVERY
def test_the_caller_is_told_what_the_table_says(kind: Kind, matrix: Matrix) -> None:
    for case, seen in of(kind, matrix):
        match case.outcome:
            case Fails() as fails if case.faulty == case.endpoints:
                failed(case, seen, fails)
            case Breaks() as breaks:
                broken(case, seen, breaks)
            case Works() as works:
                good(case, seen, works)
            case _:
                good(case, seen, Works())


@EVERY
def test_as_many_are_asked_as_the_table_says(kind: Kind, matrix: Matrix) -> None:
    for case, seen in of(kind, matrix):
        asked = expected(case)
        # Where no request can be sent the server has nothing to count.
        there = [0 if place < case.faulty and kind.at != "tcp" else n for place, n in enumerate(asked)]
        assert seen.asked == there, case.slug
        assert sum(asked) <= ATTEMPTS


@EVERY
def test_the_book_has_every_attempt_with_its_status(kind: Kind, matrix: Matrix) -> None:
    for case, seen in of(kind, matrix):
        outcome, asked = case.outcome, expected(case)
        status = outcome.seen if isinstance(outcome, Fails) else 200
        wanted = [status if place < case.faulty else 200 for place, n in enumerate(asked) for _ in range(n)]
        assert [row["status"] for row in seen.record["provider_responses"]] == wanted, case.slug
        ended_well = isinstance(outcome, Works) or (isinstance(outcome, Fails) and case.faulty < case.endpoints)
        assert seen.record["routebook"]["outcome"] == ("done" if ended_well else "error"), case.slug
        if not ended_well:
            assert (seen.record["total_cost"], seen.record["finish_reason"]) == (0, "error"), case.slug


def expected(case: Case) -> list[int]:
    """How often each endpoint is asked."""
    outcome = case.outcome
    if not isinstance(outcome, Fails):
        return [1] + [0] * (case.endpoints - 1)
    asked = [1] * case.endpoints
    if case.faulty == case.endpoints and outcome.repeats:
        asked[-1] += ATTEMPTS - case.endpoints
    return asked


def failed(case: Case, seen: Seen, fails: Fails) -> None:
    """A true status, and the API's envelope."""
    tries = sum(expected(case))
    status = fails.every if fails.every and tries > 1 else fails.status
    if status != fails.status:
        assert seen.body["error"]["metadata"]["error_type"] == "provider_overloaded", case.slug
    else:
        assert seen.body["error"]["metadata"]["error_type"] == fails.type, (case.slug, seen.body)
    assert (seen.status, seen.body["error"]["code"]) == (status, status), (case.slug, seen.body)
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers.get("retry-after") == fails.retry_after, case.slug
    assert len(seen.body["error"]["metadata"].get("previous_errors", [])) == (tries if tries > 1 else 0), case.slug
    assert "a-key" not in seen.data.decode()


def broken(case: Case, seen: Seen, breaks: Breaks) -> None:
    """200, what came of the answer, an error as the last word, and the end mark."""
    assert (seen.status, case.streamed) == (200, True), case.slug
    last = next(each for each in seen.events if "error" in each)
    assert (last["error"]["code"], last["error"]["metadata"]["error_type"]) == (breaks.status, breaks.type), case.slug
    assert last["choices"][0]["finish_reason"] == "error"
    assert said(seen.events) == "Good ", case.slug
    assert seen.data.endswith(b"data: [DONE]\n\n"), case.slug


def good(case: Case, seen: Seen, works: Works) -> None:
    assert seen.status == 200, (case.slug, seen.data)
    if not case.streamed:
        choice = seen.body["choices"][0]
        assert (choice["message"]["content"], choice["finish_reason"]) == (works.text, works.finish), case.slug
        return
    assert said(seen.events) == works.text, case.slug
    reasons = [c["finish_reason"] for each in seen.events for c in each["choices"] if c["finish_reason"]]
    assert reasons == [works.finish], case.slug
    assert not any("error" in each for each in seen.events), case.slug
    assert seen.data.endswith(b"data: [DONE]\n\n"), case.slug


def said(events: list[dict[str, Any]]) -> str:
    return "".join(c["delta"].get("content") or "" for each in events for c in each["choices"])
