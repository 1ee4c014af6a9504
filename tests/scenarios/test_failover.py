"""Before the first content another endpoint may answer, and the caller sees nothing of it; after it, never."""

from __future__ import annotations

import pytest

from routebook.core.errors import UpstreamLost
from routebook.testing.playbook import (
    COMMENT,
    DONE,
    ENDED,
    Elapse,
    Says,
    asked,
    begun,
    body,
    chunk,
    closed,
    row,
)
from routebook.testing.upstream import Data, Head, Lost, Wait
from tests.support import (
    DONE_MARK,
    END,
    JSON,
    ROLE_ONLY,
    SENT,
    SSE,
    Stage,
    answer,
    ask,
    counted,
    failed,
    finish,
    refused,
    text,
)

pytestmark = pytest.mark.anyio

GOOD = (SENT, SSE, text("Hi"), finish(), counted(10, 2), DONE_MARK, END)
SEEN = (
    begun(200),
    chunk(content="Hi", provider="Beta"),
    chunk(finish="stop"),
    row("done", provider_name="Beta", native_tokens_prompt=10, total_cost="0.00006"),
    chunk(cost="0.00006"),
    DONE,
    ENDED,
)
UNREACHED = Lost(UpstreamLost("The connection to acme.example was refused; try again.", sent=False))


@pytest.mark.parametrize(
    "failure",
    [
        (UNREACHED,),
        (SENT, Lost(UpstreamLost("The connection was reset; try again."))),
        refused(400, "bad parameter"),
        refused(401, "bad key sk-secret"),
        refused(404, "no such model"),
        refused(429, "slow down"),
        refused(500, "oops"),
        refused(529, "overloaded"),
        (SENT, SSE, END),
        (SENT, SSE, ROLE_ONLY, END),
        (SENT, JSON, Data(b"<html>hello</html>"), END),
        (SENT, JSON, Data(b'{"object":"list"}'), END),
        (SENT, SSE, ROLE_ONLY, Lost(UpstreamLost("The connection was reset; try again."))),
    ],
    ids=[
        "not reached",
        "reset before the head",
        "400",
        "401",
        "404",
        "429",
        "500",
        "529",
        "empty stream",
        "stream that ends after its role",
        "a page",
        "no choices",
        "reset after the role",
    ],
)
async def test_a_provider_that_fails_before_its_first_content_is_passed_over_unseen(
    stage: Stage, failure: tuple[object, ...]
) -> None:
    broken = (closed("acme"),) if b"html" in repr(failure).encode() else ()
    await stage.play(
        ask("lab/large"),
        row("intent"),
        asked("acme"),
        Says(*failure),  # type: ignore[arg-type]
        *broken,
        asked("beta"),
        Says(*GOOD),
        *SEEN,
    )
    first, second = stage.record["routebook"]["attempts"]
    assert (first["provider_name"], second["provider_name"], second["error"]) == ("Acme", "Beta", None)
    assert first["error"] is not None
    assert stage.record["upstream_id"] == "chatcmpl-1"


async def test_an_error_inside_a_200_before_any_content_is_passed_over_unseen(stage: Stage) -> None:
    await stage.play(
        ask("lab/large"),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, ROLE_ONLY, failed("overloaded", type="overloaded_error")),
        closed("acme"),
        asked("beta"),
        Says(*GOOD),
        *SEEN,
    )
    assert [item["status"] for item in stage.record["provider_responses"]] == [200, 200]


async def test_the_role_is_held_back_until_content_shows_who_answers(stage: Stage) -> None:
    await stage.play(
        ask("lab/large"),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, ROLE_ONLY),
        Says(ROLE_ONLY),
        Says(text("Hi")),
        begun(200),
        chunk(role="assistant", content="Hi", provider="Acme"),
        Says(finish(), counted(10, 1), END),
        chunk(finish="stop"),
        row("done"),
        chunk(),
        DONE,
        ENDED,
    )


async def test_after_content_no_other_provider_is_asked_and_the_error_is_told_in_the_stream(stage: Stage) -> None:
    await stage.play(
        ask("lab/large"),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, text("Hel"), text("lo"), failed("the engine fell over")),
        begun(200),
        chunk(content="Hel"),
        chunk(content="lo"),
        closed("acme"),
        chunk(error=503, error_type="provider_overloaded", finish="error", content="", message="the engine fell over"),
        row(
            "error",
            finish_reason="error",
            provider_name="Acme",
            total_cost="0",
            insured=True,
            usage_source="estimated",
            native_tokens_completion=2,
            error={"status": 503, "type": "provider_overloaded", "message": "the engine fell over"},
        ),
        chunk(completion_tokens=2, cost=0),
        DONE,
        ENDED,
    )


async def test_a_whole_answer_that_broke_off_keeps_its_text_and_says_error(stage: Stage) -> None:
    await stage.play(
        ask("lab/large", stream=False),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, text("Hel"), Lost(UpstreamLost("The connection was reset; try again."))),
        row("error", finish_reason="error", total_cost="0", native_tokens_completion=1),
        begun(200),
        body(content="Hel", finish="error", error=502, error_type="provider_unavailable"),
        ENDED,
    )


async def test_when_all_are_limited_the_caller_gets_429_and_the_shortest_wait(stage: Stage) -> None:
    await stage.play(
        ask("lab/large"),
        row("intent"),
        asked("acme"),
        Says(*refused(429, headers={"retry-after": "30"})),
        asked("beta"),
        Says(*refused(429, headers={"retry-after": "7"})),
        asked("gamma"),
        Says(*refused(429, headers={"retry-after": "12"})),
        row("error", finish_reason="error", total_cost="0", provider_name=None, usage_source="none", lines=[]),
        begun(429, retry_after="7", x_generation_id=...),
        body(error=429, error_type="rate_limit_exceeded"),
        ENDED,
    )
    assert [item["status"] for item in stage.record["provider_responses"]] == [429, 429, 429]


async def test_when_all_are_overloaded_or_late_the_caller_gets_503(stage: Stage) -> None:
    await stage.play(
        ask("lab/large", stream=False),
        row("intent"),
        asked("acme"),
        Says(*refused(500)),
        asked("beta"),
        Says(*refused(504)),
        asked("gamma"),
        Says(*refused(529, headers={"retry-after": "3"})),
        row("error"),
        begun(503, retry_after="3"),
        body(error=503, error_type="provider_overloaded"),
        ENDED,
    )


async def test_a_refused_credential_of_ours_moves_on_and_alone_is_a_502_without_the_providers_words(
    stage: Stage,
) -> None:
    await stage.play(
        ask("lab/solo"),
        row("intent"),
        asked("acme"),
        Says(*refused(401, "Incorrect API key provided: secret-of-acme")),
        row("error", finish_reason="error"),
        begun(502),
        body(error=502, error_type="provider_unavailable"),
        ENDED,
    )
    told = stage.playbook.caller.received.decode()
    assert "secret-of-acme" not in told
    assert "Incorrect" not in told
    assert "secret-of-acme" not in str(stage.record)


@pytest.mark.parametrize(
    ("status", "heard", "says"),
    [
        (401, 502, "acme refused our credential, account or model name: status 401; correct it"),
        (404, 404, "or no such path under"),
    ],
)
async def test_the_log_tells_the_operator_what_to_correct(
    stage: Stage, caplog: pytest.LogCaptureFixture, status: int, heard: int, says: str
) -> None:
    await stage.play(
        ask("lab/solo"),
        row("intent"),
        asked("acme"),
        Says(*refused(status, "No such key, no such model")),
        row("error"),
        begun(heard),
        body(error=heard),
        ENDED,
    )
    assert says in caplog.text
    assert ("credential" in caplog.text) == (status == 401)


async def test_a_request_the_provider_finds_invalid_is_told_with_its_own_status(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo"),
        row("intent"),
        asked("acme"),
        Says(*refused(422, "temperature is too high", code="invalid_value")),
        row("error", finish_reason="error", total_cost="0"),
        begun(422),
        body(error=422, error_type="unprocessable", message="temperature is too high"),
        ENDED,
    )


async def test_at_most_three_endpoints_are_tried_and_each_is_on_the_record(stage: Stage) -> None:
    await stage.play(
        ask("lab/large", models=["lab/solo"]),
        row("intent"),
        asked("acme"),
        Says(Wait(5), *refused(500)),
        asked("beta"),
        Says(Wait(7), *refused(500)),
        asked("gamma"),
        Says(Wait(9), *refused(500)),
        row("error"),
        begun(503),
        body(error=503),
        ENDED,
    )
    assert [item["provider"] for item in stage.record["routebook"]["attempts"]] == ["acme", "beta", "gamma"]


async def test_the_next_model_of_the_list_answers_and_is_billed_and_named(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo", models=["lab/billed"]),
        row("intent", model="lab/solo"),
        asked("acme", model="solo-2026", models=None),
        Says(*refused(503)),
        asked("beta", model="billed-2026"),
        Says(*GOOD),
        begun(200),
        chunk(content="Hi", model="lab/billed", provider="Beta"),
        chunk(finish="stop"),
        row("done", model="lab/billed", requested_model="lab/solo", router=None, total_cost="0.00006"),
        chunk(),
        DONE,
        ENDED,
    )


async def test_a_model_of_the_list_that_is_not_here_is_skipped_and_said(stage: Stage) -> None:
    await stage.play(
        ask("lab/nowhere", models=["lab/billed"], stream=False),
        row("intent", model="lab/billed"),
        asked("beta"),
        Says(SENT, JSON, answer("Hi", 10, 2), END),
        row("done", losses=[{"parameter": "models", "detail": "no model lab/nowhere here; skipped"}]),
        begun(200),
        body(model="lab/billed"),
        ENDED,
    )


async def test_with_headers_out_failover_goes_on_and_a_final_failure_is_an_event(stage: Stage) -> None:
    await stage.play(
        ask("lab/large"),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE),
        Elapse(10_000),
        begun(200),
        COMMENT,
        Says(END),
        asked("beta"),
        Says(*refused(500, "down")),
        asked("gamma"),
        Says(*refused(500, "down")),
        chunk(error=..., finish="error", provider=None),
        row("error", finish_reason="error", provider_name=None),
        chunk(prompt_tokens=0, completion_tokens=0),
        DONE,
        ENDED,
    )


async def test_with_headers_out_the_second_provider_may_still_answer(stage: Stage) -> None:
    await stage.play(
        ask("lab/large"),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, ROLE_ONLY),
        Elapse(11_000),
        begun(200),
        COMMENT,
        Says(END),
        asked("beta"),
        Says(*GOOD),
        chunk(role="assistant", content="Hi", provider="Beta"),
        chunk(finish="stop"),
        row("done", provider_name="Beta"),
        chunk(),
        DONE,
        ENDED,
    )


async def test_a_provider_without_a_first_token_in_time_is_given_up_for_the_next(stage: Stage) -> None:
    await stage.play(
        ask("lab/large"),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, ROLE_ONLY),
        Elapse(61_000),
        closed("acme"),
        begun(200),
        COMMENT,
        asked("beta"),
        Says(*GOOD),
        *SEEN[1:],
    )
    assert stage.record["routebook"]["attempts"][0]["error"] == "UpstreamTimeout"


async def test_a_lone_provider_without_a_first_token_in_time_is_a_504(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo", stream=False),
        row("intent"),
        asked("acme"),
        Says(SENT),
        Elapse(601_000),
        closed("acme"),
        row("error", finish_reason="error", total_cost="0"),
        begun(504),
        body(error=504, error_type="timeout"),
        ENDED,
    )


async def test_a_whole_answer_may_take_longer_than_a_first_token(stage: Stage) -> None:
    """Its first byte comes when all of it is made: what is patience with a stream would cut it off and ask another."""
    await stage.play(
        ask("lab/solo", stream=False),
        row("intent"),
        asked("acme"),
        Says(SENT),
        Elapse(90_000),
        Elapse(90_000),
        Says(JSON, answer("A long story", 10, 2), END),
        row("done", latency=180_000),
        begun(200),
        body(content="A long story"),
        ENDED,
    )


async def test_a_connection_that_takes_its_time_is_not_the_first_tokens_fault(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo", stream=False),
        row("intent"),
        asked("acme"),
        Says(Wait(59_000), SENT, Wait(59_000), JSON, answer("Hi", 10, 2), END),
        row("done", generation_time=59_000, latency=118_000),
        begun(200),
        body(),
        ENDED,
    )


async def test_an_endpoint_that_cannot_say_a_required_parameter_is_passed_over(stage: Stage) -> None:
    await stage.play(
        ask("lab/plain", stream=False, top_p=0.5, provider={"require_parameters": True}),
        begun(404),
        body(error=404, error_type="not_found"),
        ENDED,
    )
    assert stage.transport.requests == []


async def test_what_the_gateway_itself_ignores_is_refused_where_parameters_are_required(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo", plugins=[{"id": "web-fetch"}], provider={"require_parameters": True}),
        begun(404),
        body(error=404),
        ENDED,
    )


async def test_what_only_a_dialect_cannot_say_is_found_before_anything_is_sent(stage: Stage) -> None:
    await stage.play(
        ask("lab/cached", stream=False, seed=7, provider={"require_parameters": True}),
        row("intent"),
        row("error", finish_reason="error", total_cost="0", provider_responses=None),
        begun(404),
        body(error=404, error_type="not_found"),
        ENDED,
    )
    assert stage.transport.requests == []


async def test_the_head_of_the_answer_is_the_status_on_the_record(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo", stream=False),
        row("intent"),
        asked("acme"),
        Says(SENT, Head(302, headers={"location": "https://evil.example/"}), END),
        row("error"),
        begun(502),
        body(error=502),
        ENDED,
    )
    assert [item["status"] for item in stage.record["provider_responses"]] == [302]
