"""Callers of the responses API, and providers of it: every mixture of the two with the chat API, good and bad ends."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from routebook.core.catalog import Catalog
from routebook.testing.playbook import (
    COMMENT,
    DONE,
    ENDED,
    Elapse,
    Leaves,
    Left,
    Request,
    Says,
    asked,
    begun,
    body,
    chunk,
    closed,
    row,
)
from routebook.testing.upstream import Data
from routebook.wire import codec
from tests.dialects.responses_cases import events_of, message, numbered, response, stream, text_stream
from tests.scenarios.pictures import CAT, PNG, Pictures, blind
from tests.support import (
    DONE_MARK,
    END,
    JSON,
    OPEN_KEY,
    PROVIDERS,
    SENT,
    SSE,
    Stage,
    answer,
    ask,
    counted,
    finish,
    model,
    offer,
    raise_stage,
    refused,
    text,
)

pytestmark = pytest.mark.anyio


def respond(slug: str = "lab/solo", **members: Any) -> Request:
    """A request of the responses API, streamed unless `stream=False`."""
    body: dict[str, Any] = {"model": slug, "input": "Hello", "stream": True, **members}
    return Request(codec.encode(body), {"authorization": f"Bearer {OPEN_KEY}"}, "openai_responses")


def event(kind: str) -> Left:
    return chunk(type=f"response.{kind}")


TEXT_EVENTS = (
    event("created"),
    event("in_progress"),
    event("output_item.added"),
    event("content_part.added"),
    event("output_text.delta"),
)
CLOSED = (event("output_text.done"), event("content_part.done"), event("output_item.done"))
SEARCH = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x"}}


def frames(data: bytes) -> list[Data]:
    """One read an event."""
    return [Data(frame + b"\n\n") for frame in data.split(b"\n\n") if frame]


# --- a chat provider --------------------------------------------------------------------------------------------------


async def test_a_chat_provider_answers_a_caller_of_the_responses_api_as_a_stream(stage: Stage) -> None:
    await stage.play(
        respond("lab/solo", instructions="Be brief.", max_output_tokens=50),
        row("intent"),
        asked(
            "acme",
            messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
            max_completion_tokens=50,
            stream=True,
        ),
        Says(SENT, SSE, text("Hi")),
        begun(200),
        *TEXT_EVENTS,
        Says(finish(), counted(100, 2), DONE_MARK, END),
        row("done", api_type="completions", finish_reason="stop", native_tokens_prompt=100, losses=[]),
        *CLOSED,
        event("completed"),
        DONE,
        ENDED,
    )
    end = numbered(stage.playbook.caller.received)[-1]["response"]
    assert (end["usage"]["input_tokens"], end["usage"]["output_tokens"]) == (100, 2)
    assert str(end["usage"]["cost"]) == str(float(stage.record["total_cost"]))
    assert end["id"].removeprefix("resp_") in stage.playbook.caller.headers["x-generation-id"]


async def test_a_chat_provider_answers_it_as_a_whole(stage: Stage) -> None:
    await stage.play(
        respond("lab/solo", stream=False),
        row("intent"),
        asked("acme", stream=None),
        Says(SENT, JSON, answer("Hi", 100, 2), END),
        row("done"),
        begun(200, content_type="application/json"),
        body(status="completed", output_text="Hi", object="response"),
        ENDED,
    )


async def test_what_only_the_responses_api_can_say_is_lost_on_a_chat_provider_and_on_the_record(stage: Stage) -> None:
    request = respond(
        "lab/solo", stream=False, truncation="auto", tools=[{"type": "web_search"}], reasoning={"mode": "pro"}
    )
    lost = [
        {"parameter": "tools[0]", "detail": "web_search is a tool of the responses API alone"},
        {"parameter": "reasoning.mode", "detail": "only the responses API has it"},
        {"parameter": "truncation", "detail": "only the responses API has it"},
    ]
    await stage.play(
        request,
        row("intent"),
        asked("acme"),
        Says(SENT, JSON, answer("Hi", 100, 2), END),
        row("done", losses=lost),
        begun(200),
        body(),
        ENDED,
    )


async def test_who_requires_all_parameters_is_refused_before_anything_is_sent(stage: Stage) -> None:
    await stage.play(
        respond("lab/solo", stream=False, truncation="auto", provider={"require_parameters": True}),
        row("intent"),
        row("error"),
        begun(404),
        body(error=404),
        ENDED,
    )
    assert stage.transport.requests == []


async def test_a_refusal_before_the_answer_has_its_status_and_the_envelope_of_this_api(stage: Stage) -> None:
    await stage.play(
        respond("lab/solo"),
        row("intent"),
        asked("acme"),
        Says(*refused(422, "too odd")),
        row("error"),
        begun(422),
        body(error=422, message="too odd"),
        ENDED,
    )
    told = json.loads(stage.playbook.caller.received)
    assert (told["error_type"], told["metadata"]) == ("unprocessable", None)


async def test_a_failure_in_the_middle_is_a_failed_response_with_what_it_cost(stage: Stage) -> None:
    await stage.play(
        respond("lab/solo"),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, text("Ha")),
        begun(200),
        *TEXT_EVENTS,
        Says(END),
        row("error", finish_reason="error"),
        *CLOSED,
        event("failed"),
        DONE,
        ENDED,
    )
    end = numbered(stage.playbook.caller.received)[-1]["response"]
    assert (end["error_type"], end["error"]["code"], end["output_text"]) == (
        "provider_unavailable",
        "server_error",
        "Ha",
    )


async def test_a_waiting_caller_gets_comments_and_then_the_whole_stream(stage: Stage) -> None:
    await stage.play(
        respond("lab/solo"),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE),
        Elapse(10_000),
        begun(200),
        COMMENT,
        Says(text("Hi")),
        *TEXT_EVENTS,
        Says(finish(), counted(100, 2), DONE_MARK, END),
        row("done"),
        *CLOSED,
        event("completed"),
        DONE,
        ENDED,
    )
    numbered(stage.playbook.caller.received)


# --- a provider of the responses API ----------------------------------------------------------------------------------


async def test_a_provider_of_the_responses_api_answers_a_chat_caller(stage: Stage) -> None:
    await stage.play(
        ask("lab/items", reasoning={"effort": "low"}),
        row("intent"),
        asked(
            "delta",
            path="https://delta.example/v1/responses",
            input=[{"type": "message", "role": "user", "content": "Hello"}],
            store=False,
            include=["reasoning.encrypted_content"],
            reasoning={"effort": "low", "summary": "auto"},
        ),
        Says(SENT, SSE, Data(text_stream("Hel", "lo")), END),
        begun(200),
        chunk(content="Hel"),
        chunk(content="lo"),
        chunk(finish="stop", native_finish="completed"),
        row("done", provider_name="Delta", native_tokens_prompt=11, native_tokens_reasoning=2, upstream_id="resp_1"),
        chunk(prompt_tokens=11, completion_tokens=7),
        DONE,
        ENDED,
    )


async def test_events_of_the_provider_pass_to_a_caller_of_the_same_api(stage: Stage) -> None:
    sent = stream(
        {"type": "response.created", "response": response(status="in_progress")},
        {"type": "response.output_item.added", "output_index": 0, "item": {**SEARCH, "status": "in_progress"}},
        {"type": "response.web_search_call.searching", "output_index": 0, "item_id": "ws_1"},
        {"type": "response.output_item.done", "output_index": 0, "item": SEARCH},
        {"type": "response.completed", "response": response([SEARCH, message("x")])},
    )
    await stage.play(
        respond("lab/items", tools=[{"type": "web_search"}], user="ann"),
        row("intent", external_user="ann"),
        asked("delta", tools=[{"type": "web_search"}], store=False, input="Hello"),
        Says(SENT, SSE, *frames(sent)[:1]),
        Says(*frames(sent)[1:4]),
        begun(200),
        event("created"),
        event("output_item.added"),
        event("web_search_call.searching"),
        event("output_item.done"),
        Says(*frames(sent)[4:], END),
        row("done", num_search_results=1, losses=[]),
        event("completed"),
        DONE,
        ENDED,
    )
    received = stage.playbook.caller.received
    assert sent.split(b"\n\n")[2].partition(b"data: ")[2] in received
    assert events_of(received)[-1]["response"]["user"] == "ann"


async def test_a_search_that_began_is_content_so_that_no_other_provider_is_asked(stage: Stage) -> None:
    began = stream(
        {"type": "response.created", "response": response(status="in_progress")},
        {"type": "response.output_item.added", "output_index": 0, "item": {**SEARCH, "status": "in_progress"}},
    )
    await stage.play(
        respond("lab/items", tools=[{"type": "web_search"}]),
        row("intent"),
        asked("delta"),
        Says(SENT, SSE, Data(began)),
        begun(200),
        event("created"),
        event("output_item.added"),
        Says(END),
        row("error"),
        event("failed"),
        DONE,
        ENDED,
    )


async def test_an_error_after_the_beginning_but_before_content_goes_to_the_next_provider(stage: Stage) -> None:
    error = {"type": "error", "error": {"type": "server_error", "code": "server_error", "message": "It broke."}}
    begun_only = stream({"type": "response.created", "response": response(status="in_progress")}, error)
    await stage.play(
        respond("lab/items"),
        row("intent"),
        asked("delta"),
        Says(SENT, SSE, Data(begun_only)),
        closed("delta"),
        asked("acme", messages=[{"role": "user", "content": "Hello"}]),
        Says(SENT, SSE, text("Hi"), finish(), counted(100, 2), DONE_MARK, END),
        begun(200),
        *TEXT_EVENTS,
        row("done", provider_name="Acme"),
        *CLOSED,
        event("completed"),
        DONE,
        ENDED,
    )
    assert "It broke" not in stage.playbook.caller.received.decode()


async def test_a_whole_answer_passes_with_the_gateways_own_members_written_over(stage: Stage) -> None:
    await stage.play(
        respond("lab/items", stream=False),
        row("intent"),
        asked("delta", stream=None),
        Says(SENT, JSON, Data(codec.encode(response([message("Hi")], mood="fine"))), END),
        row("done", native_tokens_cached=3),
        begun(200),
        body(mood="fine", output_text="Hi", status="completed"),
        ENDED,
    )
    got = json.loads(stage.playbook.caller.received)
    assert (got["model"], got["user"]) == ("lab/items", None)


async def test_who_leaves_has_the_providers_socket_closed(stage: Stage) -> None:
    await stage.play(
        respond("lab/items"),
        row("intent"),
        asked("delta"),
        Says(SENT, SSE, *frames(text_stream("Hel", "lo"))[:5]),
        begun(200),
        *TEXT_EVENTS,
        Leaves(),
        closed("delta"),
        row("cancelled", cancelled=True, finish_reason=None),
    )


# --- a provider of both -----------------------------------------------------------------------------------------------


@pytest.fixture
async def both_stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """A provider of the chat API that serves the responses API at the same place."""
    offered = offer("lab/both", "acme")
    provider = msgspec.structs.replace(offered.provider, also=("openai_responses",))
    models = model("lab/both", msgspec.structs.replace(offered, provider=provider))
    stage = await raise_stage(tmp_path, models=Catalog({models.slug: models}, PROVIDERS))
    try:
        yield stage
        stage.check()
    finally:
        await stage.close()


async def test_who_serves_both_apis_is_asked_in_the_callers_own(both_stage: Stage) -> None:
    await both_stage.play(
        respond("lab/both", stream=False, truncation="auto"),
        row("intent"),
        asked("acme", path="https://acme.example/v1/responses", truncation="auto"),
        Says(SENT, JSON, Data(codec.encode(response([message("Hi")]))), END),
        row("done", losses=[]),
        begun(200),
        body(output_text="Hi"),
        ENDED,
        ask("lab/both", stream=False),
        row("intent"),
        asked("acme", path="https://acme.example/v1/chat/completions"),
        Says(SENT, JSON, answer("Hi", 100, 2), END),
        row("done"),
        begun(200),
        body(content="Hi"),
        ENDED,
    )


# --- media ------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def blind_stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """A provider of the responses API that fetches no URLs."""
    models = model("lab/blind", blind("lab/blind", "delta"))
    stage = await raise_stage(tmp_path, models=Catalog({models.slug: models}, PROVIDERS))
    try:
        yield stage
        stage.check()
    finally:
        await stage.close()


async def test_urls_among_the_items_are_fetched_for_a_provider_that_does_not(blind_stage: Stage) -> None:
    blind_stage.app.fetch = pictures = Pictures()
    inline = "data:image/png;base64," + b64encode(PNG).decode()
    parts = [{"type": "input_image", "image_url": CAT}, {"type": "input_file", "file_url": CAT}]
    items = [
        {"role": "user", "content": parts},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": parts[:1]},
    ]
    picture = {"type": "input_image", "image_url": inline}
    await blind_stage.play(
        respond("lab/blind", input=items, stream=False),
        row("intent", num_media_prompt=3),
        asked(
            "delta",
            input=[
                {"role": "user", "content": [picture, {"type": "input_file", "file_data": inline, "filename": "file"}]},
                items[1],
                {"type": "function_call_output", "call_id": "c", "output": [picture]},
            ],
        ),
        Says(SENT, JSON, Data(codec.encode(response([message("A cat.")]))), END),
        row("done"),
        begun(200),
        body(),
        ENDED,
    )
    assert pictures.fetched == [CAT]
