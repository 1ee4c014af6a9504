"""What callers of the responses API are answered: events in their order, the whole, the schema, and the way back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from routebook.core.errors import (
    BadRequest,
    Fault,
    Internal,
    UpstreamLimited,
    UpstreamLost,
    UpstreamRefused,
    UpstreamTimeout,
)
from routebook.core.events import Counted, Delta, Event, Finish, Plain, Start, ToolDelta, Whole
from routebook.core.money import Charge
from routebook.core.usage import Usage
from routebook.dialects.base import Receipt
from routebook.dialects.openai_responses import SURFACE
from tests import openapi
from tests.dialects.responses_cases import (
    called,
    numbered,
)
from tests.dialects.test_openai_chat_writer import RECEIPT, STAMP, USAGE

ANSWER: list[Event] = [
    Start("up-1", "large-2026", "default"),
    Delta(role="assistant", text=""),
    Delta(reasoning="hm "),
    Delta(reasoning="ok"),
    Delta(text="Hé"),
    Delta(text="llo"),
    Delta(annotations=[{"type": "url_citation", "url_citation": {"url": "https://x.test", "title": "X"}}]),
    Delta(tool_calls=[ToolDelta(0, "call_a", "f", "")]),
    Delta(tool_calls=[ToolDelta(0, arguments='{"x":1}')]),
    Delta(images=[{"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}}]),
    Finish("tool_calls", "tool_use"),
    Counted(USAGE),
]


def written(events: Sequence[Event], fault: Fault | None = None, receipt: Receipt = RECEIPT, **members: Any) -> bytes:
    writer = SURFACE.writer(called(**members))
    writer.start(STAMP)
    out = b"".join([writer.feed(event) for event in events])
    if fault is not None:
        out += writer.fault(fault) or b""
    return out + writer.end(receipt)


def whole(events: Sequence[Event], fault: Fault | None = None, **members: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(written(events, fault, **members))
    return body


def streamed(events: Sequence[Event], fault: Fault | None = None, **members: Any) -> list[dict[str, Any]]:
    return numbered(written(events, fault, stream=True, **members))


def last(events: Sequence[Event], fault: Fault | None = None, **members: Any) -> dict[str, Any]:
    """The response in the last event of a stream, which is what the whole answer is."""
    end = streamed(events, fault, **members)[-1]
    response: dict[str, Any] = end["response"]
    assert end["type"] == f"response.{response['status']}"
    assert response == whole(events, fault, **members)
    return response


def test_the_events_come_in_the_order_of_the_api() -> None:
    kinds = [event["type"].removeprefix("response.") for event in streamed(ANSWER)]
    assert kinds == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.annotation.added",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "output_item.added",
        "output_item.done",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]


def test_the_last_event_holds_what_the_whole_answer_is() -> None:
    got = last(ANSWER)
    assert (got["id"], got["object"], got["model"]) == ("resp_abcdefghijklmnopqrst", "response", "acme/large")
    assert (got["status"], got["output_text"], got["service_tier"], got["store"]) == (
        "completed",
        "Héllo",
        "default",
        False,
    )
    assert [item["type"] for item in got["output"]] == [
        "reasoning",
        "message",
        "function_call",
        "image_generation_call",
    ]
    assert got["output"][2]["call_id"] == "call_a"
    assert len({item["id"] for item in got["output"]}) == 4


def test_usage_and_cost_stand_under_the_names_of_this_api_with_every_digit() -> None:
    text = written(ANSWER).decode()
    assert '"cost":0.0000375,"is_byok":false' in text
    assert last(ANSWER)["usage"] == {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2},
        "output_tokens": 12,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 21,
        "cost": 0.0000375,
        "is_byok": False,
        "cost_details": {
            "upstream_inference_cost": 0.00003,
            "upstream_inference_input_cost": 0.0000075,
            "upstream_inference_output_cost": 0.0000225,
        },
    }
    unknown = json.loads(written(ANSWER, receipt=Receipt(Usage(), Charge(unpriced=True))))["usage"]
    assert "cost_details" not in unknown
    assert (unknown["cost"], unknown["total_tokens"]) == (0, 0)


def test_every_event_and_the_whole_are_as_published() -> None:
    openapi.needed()
    for value in streamed(ANSWER):
        if (value.get("part") or {}).get("type") == "reasoning_text":
            continue  # the published schema has this part in items, and not in the events that bring it
        problems = [error.message for error in openapi.component("StreamEvents").iter_errors(value)]
        assert not problems, value["type"]
    openapi.check("POST", "/responses", 200, whole(ANSWER))


def test_the_response_repeats_the_request() -> None:
    tools = [{"type": "function", "name": "f", "parameters": {}}]
    got = last(ANSWER, tools=tools, temperature=0.25, instructions="Be brief.", metadata={"a": "b"}, user="ann")
    assert (got["tools"], got["temperature"], got["instructions"]) == (tools, 0.25, "Be brief.")
    assert (got["metadata"], got["user"], got["previous_response_id"]) == ({"a": "b"}, "ann", None)


# --- reasoning --------------------------------------------------------------------------------------------------------


def reasoning_items(*details: dict[str, Any]) -> list[dict[str, Any]]:
    events: list[Event] = [
        Start(),
        *(Delta(reasoning_details=[one]) for one in details),
        Delta(text="x"),
        Finish("stop"),
    ]
    return [item for item in last(events)["output"] if item["type"] == "reasoning"]


def test_summaries_thoughts_and_seals_of_one_item_stay_together() -> None:
    common = {"id": "rs_9", "format": "openai-responses-v1"}
    (item,) = reasoning_items(
        {"type": "reasoning.summary", "summary": "One", "index": 0, **common},
        {"type": "reasoning.summary", "summary": ".", "index": 0, **common},
        {"type": "reasoning.summary", "summary": "Two.", "index": 1, **common},
        {"type": "reasoning.encrypted", "data": "E", "index": 2, **common},
    )
    assert item == {
        "id": "rs_9",
        "type": "reasoning",
        "format": "openai-responses-v1",
        "summary": [{"type": "summary_text", "text": "One."}, {"type": "summary_text", "text": "Two."}],
        "encrypted_content": "E",
    }


def test_signed_and_redacted_blocks_of_others_are_items_that_can_be_given_back() -> None:
    form = "anthropic-claude-v1"
    details = [
        {"type": "reasoning.text", "text": "a", "format": form, "index": 0},
        {"type": "reasoning.text", "signature": "s", "format": form, "index": 0},
        {"type": "reasoning.encrypted", "data": "R", "format": form, "index": 1},
    ]
    first, second = reasoning_items(*details)
    assert (first["content"][0]["text"], first["signature"], first["format"]) == ("a", "s", form)
    assert (second["encrypted_content"], second["format"]) == ("R", form)
    back = called(input=[first, second, {"role": "assistant", "content": "x"}]).chat.messages[0].reasoning_details or []
    assert [{k: v for k, v in one.items() if k != "id"} for one in back] == [
        {"type": "reasoning.text", "text": "a", "signature": "s", "format": form, "index": 0},
        {"type": "reasoning.encrypted", "data": "R", "format": form, "index": 1},
    ]


def test_reasoning_that_the_caller_excludes_is_left_out() -> None:
    assert [item["type"] for item in last(ANSWER, reasoning={"exclude": True})["output"]] == [
        "message",
        "function_call",
        "image_generation_call",
    ]


# --- calls ------------------------------------------------------------------------------------------------------------

PATCH = {"type": "custom", "name": "patch"}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (['{"inp', 'ut":"a\\n', 'b"}'], "a\nb"),
        (["not ", "JSON"], "not JSON"),
        (['{"other":1}'], '{"other":1}'),
        ([], ""),
    ],
)
def test_a_call_of_a_custom_tool_is_a_text_again(arguments: list[str], text: str) -> None:
    pieces: list[Event] = [Delta(tool_calls=[ToolDelta(0, arguments=piece)]) for piece in arguments]
    answer: list[Event] = [Delta(tool_calls=[ToolDelta(0, "call_1", "patch")]), *pieces, Finish("tool_calls")]
    (item,) = last(answer, tools=[PATCH])["output"]
    assert (item["type"], item["name"], item["input"], item["call_id"]) == ("custom_tool_call", "patch", text, "call_1")
    said = [e["delta"] for e in streamed(answer, tools=[PATCH]) if e["type"] == "response.custom_tool_call_input.delta"]
    assert "".join(said) == text


def test_a_function_of_a_namespace_is_called_with_its_namespace() -> None:
    space = {"type": "namespace", "name": "crm", "description": "", "tools": [{"type": "function", "name": "g"}]}
    (item,) = last([Delta(tool_calls=[ToolDelta(0, "c", "g", "{}")]), Finish("tool_calls")], tools=[space])["output"]
    assert (item["type"], item["name"], item["namespace"]) == ("function_call", "g", "crm")


def test_calls_whose_pieces_come_in_turns_are_kept_apart() -> None:
    pieces = [(0, "a", "f", '{"x'), (1, "b", "g", '{"y'), (0, None, None, '":1}'), (1, None, None, '":2}')]
    answer: list[Event] = [Delta(tool_calls=[ToolDelta(*piece)]) for piece in pieces]
    items = last([*answer, Finish("tool_calls")])["output"]
    assert [(item["name"], item["arguments"]) for item in items] == [("f", '{"x":1}'), ("g", '{"y":2}')]


def test_words_after_a_call_are_an_item_of_their_own() -> None:
    answer: list[Event] = [
        Delta(text="A"),
        Delta(tool_calls=[ToolDelta(0, "c", "f", "{}")]),
        Delta(text="B"),
        Finish("stop"),
    ]
    assert [item["type"] for item in last(answer)["output"]] == ["message", "function_call", "message"]
    assert last(answer)["output_text"] == "AB"


# --- words ------------------------------------------------------------------------------------------------------------


def test_runs_of_text_keep_the_providers_escapes() -> None:
    answer: list[Event] = [
        Plain(0, [b"a\\n", b"\\u00fc"], 4, 3),
        Delta(text='"'),
        Plain(0, [b"z"], 1, 1),
        Finish("stop"),
    ]
    assert last(answer)["output_text"] == 'a\nü"z'
    deltas = [e["delta"] for e in streamed(answer) if e["type"] == "response.output_text.delta"]
    assert deltas == ["a\n", "ü", '"', "z"]
    assert b"\\u00fc" in written(answer)


def test_a_refusal_is_a_part_and_a_probability_a_member() -> None:
    token = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
    answer: list[Event] = [
        Delta(text="a", logprobs={"content": [token]}),
        Delta(refusal="No."),
        Finish("content_filter"),
    ]
    got = last(answer)
    assert got["status"] == "completed"
    assert got["output"][0]["content"] == [
        {"type": "output_text", "text": "a", "annotations": [], "logprobs": [token]},
        {"type": "refusal", "refusal": "No."},
    ]


def test_an_answer_in_one_event_is_said_like_one_in_pieces() -> None:
    one = Whole(text="Hi", role="assistant", start=Start("u"), finish=Finish("stop", "stop"), usage=USAGE)
    assert last([one]) == last(one.parts())


def test_other_choices_are_not_heard() -> None:
    assert (
        last([Delta(text="a"), Delta(index=1, text="b"), Finish("stop"), Finish("stop", index=1)])["output_text"] == "a"
    )


# --- ends -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "status", "details"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("length", "incomplete", {"reason": "max_output_tokens"}),
        ("content_filter", "incomplete", {"reason": "content_filter"}),
        ("error", "failed", None),
    ],
)
def test_how_the_answer_ended_is_its_status(reason: str, status: str, details: Any) -> None:
    got = last([Delta(text="a"), Finish(reason)])
    assert (got["status"], got["incomplete_details"]) == (status, details)
    assert got["output"][0]["status"] == ("incomplete" if status == "incomplete" else "completed")
    assert (got["error"] is not None) == (status == "failed")


@pytest.mark.parametrize(
    ("fault", "code", "kind"),
    [
        (UpstreamLimited("Slow down."), "rate_limit_exceeded", "rate_limit_exceeded"),
        (UpstreamTimeout("Too slow."), "server_error", "timeout"),
        (UpstreamLost("Gone."), "server_error", "provider_unavailable"),
        (BadRequest("Bad."), "invalid_prompt", "invalid_request"),
        (UpstreamRefused("No.", error_type="content_policy_violation"), "image_content_policy_violation", None),
        (Internal("the key is sk-1"), "server_error", "server"),
    ],
)
def test_a_failure_after_the_beginning_is_the_last_event_with_what_it_cost(fault: Fault, code: str, kind: Any) -> None:
    got = last([Delta(text="Hal")], fault)
    assert (got["status"], got["error"]["code"]) == ("failed", code)
    assert got["error_type"] == (kind or fault.error_type)
    assert "sk-1" not in json.dumps(got)
    assert got["output_text"] == "Hal"
    assert got["usage"]["cost"] == 0.0000375


def test_a_failure_before_any_content_still_has_its_beginning() -> None:
    events = streamed([], UpstreamLost("Gone."))
    assert [event["type"] for event in events] == ["response.created", "response.in_progress", "response.failed"]


@pytest.mark.parametrize("kind", ["context_length_exceeded", "max_tokens_exceeded", "string_too_long"])
def test_an_error_of_length_ends_the_answer_by_its_length(kind: str) -> None:
    got = last([Delta(text="Hal")], UpstreamRefused("Too long.", error_type=kind))
    assert (got["status"], got["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert got["error"] is None


def test_a_waiting_caller_of_a_stream_gets_a_comment() -> None:
    assert SURFACE.writer(called(stream=True)).keepalive().startswith(b":")
    assert SURFACE.writer(called()).keepalive() == b""


def test_money_is_written_from_the_charge_exactly() -> None:
    charge = Charge(total=Decimal("0.0000123450000000001"), upstream=None)
    assert b'"cost":0.0000123450000000001' in written(ANSWER, receipt=Receipt(USAGE, charge))
