"""Ends of answers of the responses API, counts, and bytes that are none: what the reader makes of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routebook.core.errors import (
    UpstreamCredential,
    UpstreamFault,
    UpstreamGarbage,
    UpstreamLimited,
    UpstreamLost,
    UpstreamOverloaded,
    UpstreamRefused,
)
from routebook.core.events import Counted, Failed, Finish, Plain
from routebook.core.usage import Usage
from routebook.dialects.openai_responses import UPSTREAM
from routebook.wire.http import HttpHead
from tests.dialects.responses_cases import (
    JSON,
    USAGE,
    heard,
    message,
    natives,
    response,
    stream,
    text_stream,
    three_ways,
)
from tests.dialects.test_openai_responses_reader import CREATED, done, fault_of, item_events, kinds, whole
from tests.exchanges.harness import facts

# --- ends -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("details", "reason", "native"),
    [
        ({"reason": "max_output_tokens"}, "length", "max_output_tokens"),
        ({"reason": "content_filter"}, "content_filter", "content_filter"),
        ({"reason": "something new"}, "stop", "something new"),
        (None, "stop", "incomplete"),
    ],
)
def test_an_incomplete_answer_says_why(details: Any, reason: str, native: str) -> None:
    end = {
        "type": "response.incomplete",
        "response": response([message("x")], "incomplete", incomplete_details=details),
    }
    for events in (
        three_ways(text_stream("x", end=end)),
        whole([message("x")], status="incomplete", incomplete_details=details),
    ):
        found = facts(events)
        assert (found.finish, found.native) == (reason, native)
        assert found.usage is not None


def test_a_stream_without_its_end_is_lost_even_if_it_says_done() -> None:
    body = text_stream("Hello")
    cut = body[: body.rindex(b"event: response.completed")]
    for ending in (b"", b"data: [DONE]\n\n"):
        assert isinstance(fault_of(three_ways(cut + ending)), UpstreamLost)


def test_what_follows_the_end_is_not_heard() -> None:
    body = text_stream("Hello")
    assert facts(three_ways(body + b"data: {junk\n\nevent: error\ndata: {}\n\n")) == facts(three_ways(body))


QUOTA = {"message": "You exceeded your current quota.", "type": "insufficient_quota", "code": "insufficient_quota"}


@pytest.mark.parametrize(
    "ending",
    [
        [{"type": "error", "error": QUOTA}],
        [{"type": "error", "code": "insufficient_quota", "message": QUOTA["message"], "param": None}],
        [{"type": "response.failed", "response": response(status="failed", error=QUOTA)}],
        [
            {"type": "error", "error": QUOTA},
            {"type": "response.failed", "response": response(status="failed", error=QUOTA)},
        ],
    ],
    ids=["nested", "flat", "failed", "both"],
)
def test_an_error_after_the_beginning_is_told_however_it_comes(ending: list[dict[str, Any]]) -> None:
    events = three_ways(stream(CREATED, *ending))
    fault = fault_of(events)
    assert isinstance(fault, UpstreamLimited)
    assert "quota" in fault.message
    assert kinds(events).count("Failed") == 1


def test_a_failure_tells_what_it_cost() -> None:
    failed = response(status="failed", error={"code": "server_error", "message": "It broke."}, usage=USAGE)
    for events in (
        three_ways(stream(CREATED, {"type": "response.failed", "response": failed})),
        three_ways(json.dumps(failed).encode(), JSON),
    ):
        assert isinstance(fault_of(events), UpstreamOverloaded)
        (report,) = [event for event in events if isinstance(event, Counted)]
        assert report.usage.completion == 7


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_an_answer_that_was_put_off_is_no_answer(status: str) -> None:
    assert "put it off" in fault_of(whole([], status=status)).message


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, UpstreamRefused), (401, UpstreamCredential), (429, UpstreamLimited), (500, UpstreamOverloaded)],
)
def test_other_statuses_are_classified_as_everywhere(status: int, kind: type[UpstreamFault]) -> None:
    body = json.dumps({"error": {"message": "no", "type": "x", "code": None}}).encode()
    assert type(UPSTREAM.fault(HttpHead(status, {"content-type": JSON}), body)) is kind


# --- counts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("usage", "beside", "expected"),
    [
        ({"input_tokens": 1, "output_tokens": 2}, {}, Usage(prompt=1, completion=2)),
        ({"prompt_tokens": 1, "completion_tokens": 2}, {}, Usage(prompt=1, completion=2)),
        ({"input_tokens": -1, "output_tokens": True}, {}, None),
        (
            {"input_tokens": 5, "output_tokens": 0},
            {"web_search": {"num_requests": 3}},
            Usage(prompt=5, completion=0, web_searches=3),
        ),
        (
            {"input_tokens": 5, "output_tokens": 1, "server_side_tool_usage_details": {"web_search_calls": 2}},
            {},
            Usage(prompt=5, completion=1, web_searches=2),
        ),
        (
            {
                "input_tokens": 9,
                "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 4},
                "output_tokens": 1,
            },
            {},
            Usage(prompt=9, completion=1, cached=2, cache_write=4),
        ),
    ],
)
def test_counts_of_every_kind_mean_the_same(usage: Any, beside: Any, expected: Usage | None) -> None:
    reports = [e.usage for e in whole([message("x")], usage=usage, tool_usage=beside) if isinstance(e, Counted)]
    shown = [{n: getattr(report, n) for n in Usage.__struct_fields__ if n != "raw"} for report in reports]
    wanted = [] if expected is None else [{n: getattr(expected, n) for n in Usage.__struct_fields__ if n != "raw"}]
    assert shown == wanted


# --- bad bytes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", UpstreamLost),
        (b"  \n", UpstreamLost),
        (b"<html>", UpstreamGarbage),
        (b"{}", UpstreamGarbage),
        (b'{"choices": []}', UpstreamGarbage),
        (b"[1]", UpstreamGarbage),
        (b'{"output": ', UpstreamGarbage),
        (b"data: {not json\n\n", UpstreamGarbage),
        (b"data: 7\n\n", UpstreamGarbage),
        (b'data: {"type":"response.output_text.delta","delta":7}\n\n', UpstreamLost),
        (b'data: {"type":"response.output_item.added","item":null}\n\n', UpstreamLost),
    ],
)
def test_bytes_that_are_not_the_dialect_fail_once(body: bytes, kind: type[UpstreamFault]) -> None:
    events = three_ways(body)
    assert type(fault_of(events)) is kind
    assert kinds(events).count("Failed") == 1


WORDS = st.sampled_from(
    [
        b'data: {"type":"',
        b"response.output_text.delta",
        b"response.completed",
        b"response.output_item.added",
        b'","item":{"type":"message","content":[{"type":"output_text","text":1}]}',
        b'","output_index":-1,"item":{"type":"function_call","arguments":{}}',
        b'","response":{"output":[null,{"type":"reasoning","summary":"x"}],"usage":{"input_tokens":1e400}}',
        b'","response":[]',
        b"}\n\n",
        b'{"output":[{}],"usage":7}',
        b"\xff",
        b"event: error\n",
        b"\r\n",
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(WORDS, max_size=12), st.lists(st.integers(0, 400), max_size=4))
def test_no_bytes_make_a_reader_raise(words: list[bytes], cuts: list[int]) -> None:
    events = heard(b"".join(words), cuts=cuts)
    failed = [event for event in events if isinstance(event, Failed)]
    assert len(failed) <= 1
    assert not failed or isinstance(failed[0].fault, UpstreamFault)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_no_noise_in_a_good_stream_makes_a_reader_raise(noise: bytes) -> None:
    body = text_stream("Hello", "you")
    at = len(noise) * 7 % len(body)
    events = heard(body[:at] + noise + body[at:])
    assert sum(isinstance(event, Failed) for event in events) <= 1
    assert any(isinstance(event, (Failed, Finish)) for event in events)


def unnumbered(body: bytes) -> bytes:
    """The same stream from a server that numbers nothing."""
    out: list[bytes] = []
    for frame in body.split(b"\n\n")[:-1]:
        head, _, data = frame.partition(b"data: ")
        value = json.loads(data)
        for name in ("output_index", "content_index", "summary_index", "sequence_number"):
            value.pop(name, None)
        out.append(head + b"data: " + json.dumps(value).encode() + b"\n\n")
    return b"".join(out)


def test_a_server_that_numbers_nothing_is_understood_and_its_events_are_completed() -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}
    said = message("Hello")
    at = {"item_id": "msg_1", "output_index": 1, "content_index": 0}
    part = {"type": "output_text", "text": ""}
    body = stream(
        CREATED,
        *item_events(
            0,
            thought,
            {"type": "response.reasoning_text.delta", "item_id": "rs_1", "output_index": 0, "delta": "hm"},
        ),
        *item_events(
            1,
            said,
            {"type": "response.content_part.added", **at, "part": part},
            {"type": "response.output_text.delta", **at, "delta": "Hel"},
            {"type": "response.output_text.delta", **at, "delta": "lo"},
        ),
        done([thought, said]),
    )
    bare = unnumbered(body)
    assert facts(three_ways(bare)) == facts(three_ways(body))
    assert facts(three_ways(bare)).reasoning == "hm"
    assert any(isinstance(event, Plain) for event in heard(bare))
    places = [json.loads(native.data).get("output_index") for native in natives(heard(bare))]
    assert places == [None, 0, 0, 0, 1, 1, 1, None]
    parts = [json.loads(n.data) for n in natives(heard(bare)) if n.kind == "response.content_part.added"]
    assert [part["content_index"] for part in parts] == [0]


def test_half_a_pair_of_surrogates_costs_its_character_and_not_the_answer() -> None:
    body = text_stream("a", "b", "c").replace(b'"delta": "b"', rb'"delta": "\ud83d"')
    assert facts(three_ways(body)).text.startswith("a\ufffd")
