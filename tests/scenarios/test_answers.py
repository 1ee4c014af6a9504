"""Calls that go well, and what the record says of them."""

from __future__ import annotations

import pytest

from routebook.testing.playbook import COMMENT, DONE, ENDED, Elapse, Says, asked, begun, body, chunk, row
from routebook.testing.upstream import Data, Head
from tests.support import (
    DONE_MARK,
    END,
    JSON,
    LIMITED_KEY,
    ROLE_ONLY,
    SENT,
    SSE,
    Stage,
    answer,
    ask,
    chunk_of,
    counted,
    event,
    finish,
    text,
)

pytestmark = pytest.mark.anyio


async def test_a_stream_is_relayed_metered_and_booked_before_its_end_mark(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo"),
        row("intent", outcome="open", model="lab/solo", streamed=True),
        asked("acme", model="solo-2026", stream=True, stream_options={"include_usage": True}),
        Says(SENT, SSE, ROLE_ONLY),
        Says(text("Hel")),
        begun(200, content_type="text/event-stream", x_generation_id=...),
        chunk(role="assistant", content="Hel", model="lab/solo", provider="Acme", finish=None),
        Says(text("lo"), finish("stop")),
        chunk(content="lo"),
        chunk(finish="stop", native_finish="stop"),
        Says(counted(10, 2), DONE_MARK, END),
        row("done", total_cost="0.00006", finish_reason="stop", native_tokens_prompt=10, native_tokens_completion=2),
        chunk(prompt_tokens=10, completion_tokens=2, total_tokens=12, cost="0.00006", is_byok=False),
        DONE,
        ENDED,
    )
    assert stage.playbook.caller.headers["x-generation-id"] == stage.record["id"]


async def test_a_whole_answer_is_booked_before_its_first_byte(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo", stream=False),
        row("intent", streamed=False),
        asked("acme", model="solo-2026"),
        Says(SENT, JSON, answer("Hello", 10, 2), END),
        row("done", total_cost="0.00006", usage_source="provider", delivered={"frames": 1, "bytes": 5}),
        begun(200, content_type="application/json", content_length=..., x_generation_id=...),
        body(object="chat.completion", content="Hello", finish="stop", cost="0.00006"),
        ENDED,
    )
    assert "stream_options" not in stage.transport.requests[0].body.decode()


async def test_the_credential_goes_to_its_provider_and_the_callers_key_nowhere(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo", stream=False),
        row("intent"),
        asked("acme"),
        Says(SENT, JSON, answer("Hi", 1, 1), END),
        row("done"),
        begun(200),
        body(),
        ENDED,
    )
    sent = stage.transport.requests[0]
    assert dict(sent.headers)["authorization"] == "Bearer secret-of-acme"
    assert b"sk-rb-v1" not in sent.body
    assert not any("sk-rb-v1" in value for _, value in sent.headers)


async def test_a_provider_may_answer_a_stream_to_a_caller_who_wants_a_whole(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo", stream=False),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, text("Hel"), text("lo"), finish(), counted(10, 2), DONE_MARK, END),
        row("done", streamed=False, finish_reason="stop"),
        begun(200, content_type="application/json"),
        body(content="Hello", finish="stop", completion_tokens=2),
        ENDED,
    )


async def test_a_provider_may_answer_a_whole_to_a_caller_who_wants_a_stream(stage: Stage) -> None:
    await stage.play(
        ask("lab/solo"),
        row("intent"),
        asked("acme"),
        Says(SENT, JSON, answer("Hello", 10, 2), END),
        begun(200, content_type="text/event-stream"),
        chunk(content="Hello"),
        chunk(finish="stop"),
        row("done", streamed=True),
        chunk(cost="0.00006"),
        DONE,
        ENDED,
    )


async def test_an_end_of_file_after_the_finish_is_a_good_end(stage: Stage) -> None:
    await stage.play(
        ask(),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, text("Hi"), finish("length"), END),
        begun(200),
        chunk(content="Hi"),
        chunk(finish="length"),
        row("done", finish_reason="length", usage_source="estimated"),
        chunk(completion_tokens=1),
        DONE,
        ENDED,
    )


async def test_an_answer_that_finishes_without_content_is_an_answer(stage: Stage) -> None:
    await stage.play(
        ask(),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, ROLE_ONLY, finish("content_filter"), counted(10, 0), DONE_MARK, END),
        begun(200),
        chunk(finish="content_filter"),
        row("done", finish_reason="content_filter", insured=False, total_cost="0.00003"),
        chunk(cost="0.00003"),
        DONE,
        ENDED,
    )


async def test_both_choices_of_an_answer_are_waited_for(stage: Stage) -> None:
    """One choice that has finished does not finish the other, however long that one takes."""
    await stage.play(
        ask(n=2),
        row("intent"),
        asked("acme", n=2),
        Says(SENT, SSE, text("Hi"), chunk_of({"index": 1, "delta": {"content": "Ho"}}), finish("stop")),
        begun(200),
        chunk(content="Hi"),
        chunk(content="Ho"),
        chunk(finish="stop"),
        Elapse(6_000),
        row("progress"),
        Says(chunk_of({"index": 1, "delta": {"content": "ho"}}), finish("length", index=1), counted(10, 3), END),
        chunk(content="ho"),
        chunk(finish="length"),
        row("done", usage_source="provider", native_tokens_completion=3, finish_reason="stop"),
        chunk(completion_tokens=3),
        DONE,
        ENDED,
    )


async def test_an_open_stream_gets_a_progress_row_each_second(stage: Stage) -> None:
    await stage.play(
        ask(),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, text("one")),
        begun(200),
        chunk(content="one"),
        Elapse(400),
        Elapse(700),
        row("progress", outcome="open", delivered={"frames": 1, "bytes": 3}, model="lab/solo"),
        Elapse(2_000),
        Says(text("two"), finish(), counted(10, 2), END),
        chunk(content="two"),
        chunk(finish="stop"),
        row("done"),
        chunk(),
        DONE,
        ENDED,
    )


async def test_a_waiting_caller_gets_a_comment_after_ten_seconds_and_in_every_silence(stage: Stage) -> None:
    await stage.play(
        ask(),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, ROLE_ONLY),
        Elapse(9_000),
        Elapse(1_000),
        begun(200, content_type="text/event-stream"),
        COMMENT,
        Elapse(5_000),
        Says(text("Hi")),
        chunk(content="Hi"),
        Elapse(9_000),
        row("progress"),
        Elapse(1_000),
        COMMENT,
        Says(finish(), counted(10, 1), END),
        chunk(finish="stop"),
        row("done", finish_reason="stop"),
        chunk(),
        DONE,
        ENDED,
    )


async def test_a_caller_who_wants_a_whole_gets_no_comment(stage: Stage) -> None:
    await stage.play(
        ask(stream=False),
        row("intent"),
        asked("acme"),
        Says(SENT),
        Elapse(30_000),
        Says(JSON, answer("Hi", 10, 1), END),
        row("done"),
        begun(200),
        body(),
        ENDED,
    )


async def test_tool_calls_reach_the_caller_and_finish_as_such(stage: Stage) -> None:
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"x":'}}
    rest = {"index": 0, "function": {"arguments": "1}"}}
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    await stage.play(
        ask(tools=[tool]),
        row("intent"),
        asked("acme", tools=[tool]),
        Says(SENT, SSE, chunk_of({"index": 0, "delta": {"role": "assistant", "tool_calls": [call]}})),
        begun(200),
        chunk(tool_calls=[call]),
        Says(chunk_of({"index": 0, "delta": {"tool_calls": [rest]}}), finish("tool_calls"), counted(10, 5), END),
        chunk(tool_calls=[rest]),
        chunk(finish="tool_calls"),
        row("done", finish_reason="tool_calls"),
        chunk(),
        DONE,
        ENDED,
    )


async def test_what_the_provider_calls_itself_is_kept_and_not_shown(stage: Stage) -> None:
    first = event(
        {
            "id": "chatcmpl-77",
            "model": "large-2026-01-01",
            "service_tier": "flex",
            "provider": "Somebody",
            "choices": [{"index": 0, "delta": {"content": "Hi"}}],
        }
    )
    await stage.play(
        ask(service_tier="priority"),
        row("intent"),
        asked("acme", service_tier="priority"),
        Says(SENT, SSE, first, finish(), counted(10, 1), END),
        begun(200),
        chunk(model="lab/solo", provider="Acme", id=..., service_tier="flex"),
        chunk(finish="stop"),
        row(
            "done",
            upstream_id="chatcmpl-77",
            service_tier="flex",
            model="lab/solo",
            provider_name="Acme",
            upstream={"model": "large-2026-01-01", "provider": "Somebody"},
        ),
        chunk(),
        DONE,
        ENDED,
    )
    assert "chatcmpl-77" not in stage.playbook.caller.received.decode()


async def test_what_cannot_be_honoured_is_on_the_record(stage: Stage) -> None:
    await stage.play(
        ask(
            "lab/plain",
            stream=False,
            temperature=0.5,
            top_p=0.5,
            plugins=[{"id": "web-fetch"}],
            provider={"options": {"acme": {"x": 1}}},
        ),
        row("intent"),
        asked("acme", plugins=None, top_p=None),
        Says(SENT, JSON, answer("Hi", 10, 1), END),
        row(
            "done",
            losses=[
                {"parameter": "plugins", "detail": "the gateway does not run web-fetch"},
                {"parameter": "provider.options", "detail": "not passed on to providers"},
                {"parameter": "top_p", "detail": "not among the endpoint's supported parameters"},
            ],
        ),
        begun(200),
        body(),
        ENDED,
    )


async def test_the_end_user_is_on_the_record_and_hashed_for_the_provider(stage: Stage) -> None:
    await stage.play(
        ask(stream=False, user="alice@example.com", session_id="s-1"),
        row("intent", external_user="alice@example.com", session_id="s-1"),
        asked("acme", user=..., session_id=None),
        Says(SENT, JSON, answer("Hi", 10, 1), END),
        row("done", external_user="alice@example.com"),
        begun(200),
        body(),
        ENDED,
    )
    assert b"alice" not in stage.transport.requests[0].body


async def test_apps_are_known_by_their_referer(stage: Stage) -> None:
    headers = {"http-referer": "https://App.example/chat", "x-title": "Chat", "user-agent": "Chat/1.0"}
    for number in (1, 1):  # the second time it is known
        await stage.play(
            ask(stream=False, headers=headers),
            row(
                "intent",
                app_id=number,
                origin="https://app.example/",
                http_referer="https://App.example/chat",
                user_agent="Chat/1.0",
            ),
            asked("acme"),
            Says(SENT, JSON, answer("Hi", 10, 1), END),
            row("done", app_id=number),
            begun(200),
            body(),
            ENDED,
        )
    (app,) = await stage.store.apps()
    assert (app.url, app.title) == ("https://app.example/chat", "Chat")


async def test_an_unpriced_model_is_served_and_says_so(stage: Stage) -> None:
    await stage.play(
        ask("lab/unpriced", stream=False),
        row("intent", hold=None),
        asked("acme"),
        Says(SENT, JSON, answer("Hi", 10, 1), END),
        row(
            "done",
            unpriced=True,
            total_cost="0",
            usage="0",
            upstream_inference_cost=None,
            cache_discount=None,
            lines=None,
            native_tokens_prompt=10,
        ),
        begun(200),
        body(cost=0, cost_details=None, prompt_tokens=10),
        ENDED,
    )


async def test_an_unpriced_model_is_refused_to_a_key_with_a_budget(stage: Stage) -> None:
    await stage.play(
        ask("lab/unpriced", key=LIMITED_KEY),
        begun(402),
        body(error=402, error_type="payment_required"),
        ENDED,
    )
    assert stage.transport.requests == []


async def test_bytes_may_come_in_any_split(stage: Stage) -> None:
    whole = b"".join(step.chunk for step in (text("Grüße"), finish(), counted(10, 2), DONE_MARK))
    await stage.play(
        ask(),
        row("intent"),
        asked("acme"),
        Says(SENT, Head(200, "text/event-stream; charset=utf-8")),
        Says(*(Data(whole[at : at + 1]) for at in range(len(whole))), END),
        begun(200),
        chunk(content="Grüße"),
        chunk(finish="stop"),
        row("done", usage_source="provider"),
        chunk(),
        DONE,
        ENDED,
    )
