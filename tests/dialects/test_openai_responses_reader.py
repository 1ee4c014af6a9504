"""Answers of the responses API as bytes, read into events; their ends are in a file of their own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routebook.core.errors import (
    UpstreamFault,
)
from routebook.core.events import Delta, Event, Failed, Plain, Start
from tests.dialects.responses_cases import (
    JSON,
    heard,
    message,
    natives,
    response,
    stream,
    text_stream,
    three_ways,
)
from tests.exchanges.harness import facts


def whole(output: list[dict[str, Any]], **more: Any) -> list[Event]:
    return three_ways(json.dumps(response(output, **more)).encode(), JSON)


def fault_of(events: list[Event]) -> UpstreamFault:
    last = events[-1]
    assert isinstance(last, Failed)
    assert isinstance(last.fault, UpstreamFault)
    return last.fault


def kinds(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def details(events: list[Event]) -> list[dict[str, Any]]:
    return [detail for event in events if isinstance(event, Delta) for detail in event.reasoning_details or ()]


def item_events(place: int, item: dict[str, Any], *between: dict[str, Any]) -> list[dict[str, Any]]:
    begun = {**item, "status": "in_progress"}
    return [
        {"type": "response.output_item.added", "output_index": place, "item": begun},
        *between,
        {"type": "response.output_item.done", "output_index": place, "item": item},
    ]


def done(output: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"type": "response.completed", "response": response(output, **more)}


CREATED = {"type": "response.created", "response": response(status="in_progress")}


def test_a_stream_of_text_gives_start_text_finish_and_usage_in_that_order() -> None:
    events = three_ways(text_stream("He", "llo"))
    found = facts(events)
    assert (found.text, found.finish, found.native) == ("Hello", "stop", "completed")
    assert (found.upstream_id, found.model, found.service_tier) == ("resp_1", "m-1", "default")
    assert found.usage is not None
    assert (found.usage.prompt, found.usage.completion) == (11, 7)
    assert (found.usage.cached, found.usage.reasoning) == (3, 2)
    assert isinstance(events[0], Start)
    assert kinds(events)[-2:] == ["Finish", "Counted"]


def test_pieces_of_text_that_come_together_are_one_run_in_the_providers_escapes() -> None:
    events = heard(text_stream("a\n", "ü", '"'))
    runs = [event for event in events if isinstance(event, Plain)]
    assert [run.texts for run in runs] == [[b"a\\n", b"\\u00fc", b'\\"']]
    assert (runs[0].chars, runs[0].size) == (4, 5)


@pytest.mark.parametrize("named", [True, False], ids=["with event lines", "without"])
def test_events_are_known_by_their_data_whatever_frames_them(named: bool) -> None:
    assert facts(three_ways(text_stream("Hi", named=named, done=True))).text == "Hi"


def test_a_whole_answer_says_what_its_stream_says() -> None:
    streamed, at_once = facts(three_ways(text_stream("Hello"))), facts(whole([message("Hello")]))
    assert streamed == at_once


def test_the_tier_that_was_asked_for_is_not_the_one_that_served() -> None:
    created = {"type": "response.created", "response": response(status="in_progress", service_tier="priority")}
    found = facts(three_ways(stream(created, done([], service_tier="auto"))))
    assert found.service_tier is None


# --- reasoning --------------------------------------------------------------------------------------------------------

REASONING = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "One."}, {"type": "summary_text", "text": "Two."}],
    "encrypted_content": "sealed==",
}


def test_summaries_are_the_reasoning_and_each_part_is_a_block_of_its_own() -> None:
    at = {"item_id": "rs_1", "output_index": 0}
    pieces = [
        {"type": "response.reasoning_summary_text.delta", **at, "summary_index": 0, "delta": "One."},
        {"type": "response.reasoning_summary_text.delta", **at, "summary_index": 1, "delta": "Tw"},
        {"type": "response.reasoning_summary_text.delta", **at, "summary_index": 1, "delta": "o."},
    ]
    events = three_ways(stream(CREATED, *item_events(0, REASONING, *pieces), done([REASONING])))
    assert facts(events).reasoning == "One.\n\nTwo."
    assert [(d["type"], d["index"], d["id"], d["format"]) for d in details(events)] == [
        ("reasoning.summary", 0, "rs_1", "openai-responses-v1"),
        ("reasoning.summary", 1, "rs_1", "openai-responses-v1"),
        ("reasoning.summary", 1, "rs_1", "openai-responses-v1"),
        ("reasoning.encrypted", 2, "rs_1", "openai-responses-v1"),
    ]
    assert facts(whole([REASONING])).reasoning == "One.\n\nTwo."


def test_the_seal_is_taken_from_the_item_that_is_done_and_not_from_the_one_announced() -> None:
    added = {**REASONING, "encrypted_content": "early", "summary": []}
    events = three_ways(
        stream(
            CREATED,
            {"type": "response.output_item.added", "output_index": 0, "item": added},
            {"type": "response.output_item.done", "output_index": 0, "item": REASONING},
            done([REASONING]),
        )
    )
    assert [d["data"] for d in details(events) if d["type"] == "reasoning.encrypted"] == ["sealed=="]


def test_plain_thoughts_are_reasoning_text() -> None:
    item = {"type": "reasoning", "id": "r", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}
    events = whole([item, message("x")])
    assert [(d["type"], d["text"]) for d in details(events)] == [("reasoning.text", "hm")]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, "openai-responses-v1"),
        ({"content_filters": []}, "azure-openai-responses-v1"),
        ({"model": "grok-4.5"}, "xai-responses-v1"),
    ],
)
def test_the_format_of_reasoning_says_whose_it_is(more: dict[str, Any], expected: str) -> None:
    assert {detail["format"] for detail in details(whole([REASONING], **more))} == {expected}


def test_a_routers_own_format_and_signature_are_kept() -> None:
    item = {**REASONING, "format": "anthropic-claude-v1", "signature": "sig"}
    found = details(whole([item]))
    assert {detail["format"] for detail in found if "signature" in detail or "data" in detail} == {
        "anthropic-claude-v1"
    }
    assert [detail["signature"] for detail in found if "signature" in detail] == ["sig"]


# --- tools ------------------------------------------------------------------------------------------------------------


def call_item(name: str = "f", arguments: str = '{"a":1}', **more: Any) -> dict[str, Any]:
    return {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": name, "arguments": arguments, **more}


def test_tool_calls_come_in_pieces_with_id_and_name_first() -> None:
    at = {"item_id": "fc_1", "output_index": 0}
    pieces = [
        {"type": "response.function_call_arguments.delta", **at, "delta": '{"a"'},
        {"type": "response.function_call_arguments.delta", **at, "delta": ":1}"},
        {"type": "response.function_call_arguments.done", **at, "arguments": '{"a":1}'},
    ]
    second = {"type": "response.output_item.added", "output_index": 1, "item": call_item("g", "", call_id="call_2")}
    end = {"type": "response.output_item.done", "output_index": 1, "item": call_item("g", "{}", call_id="call_2")}
    added, finished = item_events(0, call_item())
    added = {**added, "item": call_item(arguments="")}
    events = three_ways(stream(CREATED, added, *pieces, finished, second, end, done([])))
    found = facts(events)
    assert found.tool_calls == [("f", {"a": 1}), ("g", {})]
    assert found.finish == "tool_calls"
    firsts = [piece for e in events if isinstance(e, Delta) for piece in e.tool_calls or () if piece.id]
    assert [(piece.index, piece.id) for piece in firsts] == [(0, "call_1"), (1, "call_2")]


def test_arguments_that_come_only_at_the_end_are_not_lost_and_not_said_twice() -> None:
    added, finished = item_events(0, call_item())
    added = {**added, "item": call_item(arguments="")}
    only_done = {"type": "response.function_call_arguments.done", "item_id": "fc_1", "output_index": 0}
    whole_at_end = three_ways(stream(CREATED, added, finished, done([call_item()])))
    assert facts(whole_at_end).tool_calls == [("f", {"a": 1})]
    both = three_ways(stream(CREATED, added, {**only_done, "arguments": '{"a":1}'}, finished, done([call_item()])))
    assert facts(both).tool_calls == [("f", {"a": 1})]


def test_custom_tools_are_called_with_a_text() -> None:
    item = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_1", "name": "patch", "input": "*** go"}
    at = {"item_id": "ctc_1", "output_index": 0}
    piece = {"type": "response.custom_tool_call_input.delta", **at, "delta": "*** go"}
    added = {"type": "response.output_item.added", "output_index": 0, "item": {**item, "input": ""}}
    finished = {"type": "response.output_item.done", "output_index": 0, "item": item}
    events = three_ways(stream(CREATED, added, piece, finished, done([item])))
    pieces = [piece for e in events if isinstance(e, Delta) for piece in e.tool_calls or ()]
    assert {piece.type for piece in pieces} == {"custom"}
    assert "".join(piece.arguments for piece in pieces) == "*** go"
    assert facts(events).finish == facts(whole([item])).finish == "tool_calls"


def test_what_only_this_dialect_has_is_content_for_its_own_callers() -> None:
    search = {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "x"},
    }
    opened = {**search, "action": {"type": "open_page", "url": "https://x.test"}}
    body = stream(CREATED, *item_events(0, search), *item_events(1, opened), done([search, opened]))
    events = three_ways(body)
    seen = [native for native in natives(heard(body)) if native.content]
    assert [native.kind for native in seen] == ["response.output_item.added", "response.output_item.done"] * 2
    usage = facts(events).usage
    assert usage is not None
    assert usage.web_searches == 1  # opening a page is none


def test_pictures_are_images() -> None:
    item = {
        "type": "image_generation_call",
        "id": "ig",
        "status": "completed",
        "result": "QQ==",
        "output_format": "webp",
    }
    images = [image for e in whole([item]) if isinstance(e, Delta) for image in e.images or ()]
    assert images == [{"type": "image_url", "image_url": {"url": "data:image/webp;base64,QQ=="}}]


# --- words ------------------------------------------------------------------------------------------------------------


def test_refusals_annotations_and_probabilities_are_in_the_hubs_form() -> None:
    cited = {"type": "url_citation", "url": "https://x.test", "title": "X", "start_index": 0, "end_index": 1}
    part = {"type": "output_text", "text": "a", "annotations": [cited], "logprobs": [{"token": "a", "logprob": -0.5}]}
    item = message()
    item["content"] = [part, {"type": "refusal", "refusal": "No."}]
    events = whole([item])
    notes = [note for e in events if isinstance(e, Delta) for note in e.annotations or ()]
    assert notes == [
        {
            "type": "url_citation",
            "url_citation": {"url": "https://x.test", "title": "X", "start_index": 0, "end_index": 1},
        }
    ]
    assert facts(events).refusal == "No."
    (said,) = [event for event in events if isinstance(event, Delta) and event.text]
    assert len(said.logprobs["content"]) == 1


def test_an_annotation_that_was_told_while_it_streamed_is_not_told_again() -> None:
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    cited = {"type": "file_citation", "file_id": "f", "filename": "a.txt", "index": 0}
    item = message("a")
    item["content"][0]["annotations"] = [cited]
    pieces = [
        {"type": "response.output_text.delta", **at, "delta": "a"},
        {"type": "response.output_text.annotation.added", **at, "annotation_index": 0, "annotation": cited},
    ]
    assert facts(three_ways(stream(CREATED, *item_events(0, item, *pieces), done([item])))).annotations == 1


def test_pieces_of_an_item_that_nobody_announced_are_heard() -> None:
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    events = three_ways(stream({"type": "response.output_text.delta", **at, "delta": "Hi"}, done([message("Hi")])))
    assert facts(events).text == "Hi"
