"""Anthropic's answers, case by case: each is read whole, byte by byte and with trailing junk."""

from __future__ import annotations

import json

import pytest

from routebook.core.events import Counted, Delta, Finish, Start, ToolDelta
from routebook.wire.http import HttpHead
from tests.dialects.anthropic_answers import (
    END,
    JSON,
    SAID,
    STREAM,
    Frame,
    closes,
    deltas,
    gives,
    last_usage,
    message,
    only,
    opens,
    read,
    start,
    stops,
    stream,
)

# --- streams ----------------------------------------------------------------------------------------------------------


def test_a_plain_stream_gives_start_text_finish_and_usage_in_order() -> None:
    events = read(
        stream(start(service_tier="standard"), {"type": "ping"}, *SAID, stops("end_turn", {"output_tokens": 7}), END)
    )
    assert [type(event) for event in events] == [Start, Counted, Delta, Finish, Counted]
    assert events[0] == Start(upstream_id="msg_1", model="claude-test-1", service_tier="default")
    assert not any(event.content for event in events[:2] if isinstance(event, Delta))
    assert events[2] == Delta(text="Hi")
    assert events[3] == Finish("stop", native="end_turn")
    usage = last_usage(events)
    assert (usage.prompt, usage.completion) == (10, 7)
    assert usage.raw is not None
    assert json.loads(usage.raw) == {"input_tokens": 10, "output_tokens": 7, "service_tier": "standard"}


def test_thinking_becomes_reasoning_and_signed_details_in_order() -> None:
    events = read(
        stream(
            start(),
            opens(0, type="thinking", thinking="", signature=""),
            gives(0, type="thinking_delta", thinking="Let me "),
            gives(0, type="thinking_delta", thinking="see."),
            gives(0, type="signature_delta", signature="c2ln"),
            closes(0),
            opens(1, type="redacted_thinking", data="b3BhcXVl"),
            closes(1),
            opens(2, type="text", text=""),
            gives(2, type="text_delta", text="So."),
            closes(2),
            stops("end_turn", {"output_tokens": 30, "output_tokens_details": {"thinking_tokens": 25}}),
            END,
        )
    )
    form = {"format": "anthropic-claude-v1"}
    assert deltas(events) == [
        Delta(
            reasoning="Let me ", reasoning_details=[{"type": "reasoning.text", "text": "Let me ", **form, "index": 0}]
        ),
        Delta(reasoning="see.", reasoning_details=[{"type": "reasoning.text", "text": "see.", **form, "index": 0}]),
        Delta(reasoning_details=[{"type": "reasoning.text", "signature": "c2ln", **form, "index": 0}]),
        Delta(reasoning_details=[{"type": "reasoning.encrypted", "data": "b3BhcXVl", **form, "index": 1}]),
        Delta(text="So."),
    ]
    assert (last_usage(events).completion, last_usage(events).reasoning) == (30, 25)


def test_tool_calls_are_numbered_among_themselves_and_an_empty_input_is_an_object() -> None:
    events = read(
        stream(
            start(),
            *SAID,
            opens(1, type="tool_use", id="toolu_a", name="look", input={}, caller={"type": "direct"}),
            gives(1, type="input_json_delta", partial_json=""),
            gives(1, type="input_json_delta", partial_json='{"q":'),
            gives(1, type="input_json_delta", partial_json=' "x"}'),
            closes(1),
            opens(2, type="tool_use", id="toolu_b", name="now", input={}),
            closes(2),
            opens(3, type="tool_use", id="toolu_c", name="whole", input={"a": 1}),
            closes(3),
            stops("tool_use", {"output_tokens": 9}),
            END,
        )
    )
    calls = [call for delta in deltas(events) for call in delta.tool_calls or ()]
    assert calls == [
        ToolDelta(index=0, id="toolu_a", name="look", extra={"caller": {"type": "direct"}}),
        ToolDelta(index=0, arguments='{"q":'),
        ToolDelta(index=0, arguments=' "x"}'),
        ToolDelta(index=1, id="toolu_b", name="now"),
        ToolDelta(index=1, arguments="{}"),
        ToolDelta(index=2, id="toolu_c", name="whole"),
        ToolDelta(index=2, arguments='{"a":1}'),
    ]
    assert only(events, Finish) == Finish("tool_calls", native="tool_use")


def test_blocks_without_their_stop_are_closed_by_the_finish() -> None:
    events = read(stream(start(), opens(0, type="tool_use", id="t", name="now", input={}), stops("tool_use"), END))
    assert [call.arguments for delta in deltas(events) for call in delta.tool_calls or ()] == ["", "{}"]


def test_a_providers_own_tools_are_no_content_but_travel_whole() -> None:
    found = {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": [{"type": "web_search_result"}]}
    events = read(
        stream(
            start(),
            opens(0, type="server_tool_use", id="srv_1", name="web_search", input={}),
            gives(0, type="input_json_delta", partial_json='{"query"'),
            gives(0, type="input_json_delta", partial_json=':"tea"}'),
            closes(0),
            opens(1, **found),
            closes(1),
            stops(
                "end_turn", {"output_tokens": 5, "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1}}
            ),
            END,
        )
    )
    used = {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "tea"}}
    assert deltas(events) == [Delta(extra={"content_blocks": [used]}), Delta(extra={"content_blocks": [found]})]
    assert not any(delta.content for delta in deltas(events))
    assert only(events, Finish).reason == "stop"
    assert (last_usage(events).web_searches, last_usage(events).web_fetches) == (2, 1)


def test_citations_become_annotations_that_span_their_block() -> None:
    cited = {
        "type": "web_search_result_location",
        "url": "https://example.org/t",
        "title": "Tea",
        "cited_text": "hot",
        "encrypted_index": "e",
    }
    page = {"type": "page_location", "cited_text": "p", "document_index": 0}
    events = read(
        stream(
            start(),
            *SAID,
            opens(1, type="text", text="", citations=[]),
            gives(1, type="citations_delta", citation=cited),
            gives(1, type="text_delta", text=" tea"),
            gives(1, type="citations_delta", citation=page),
            closes(1),
            stops("end_turn"),
            END,
        )
    )
    note = {"url": "https://example.org/t", "title": "Tea", "content": "hot", "start_index": 2, "end_index": 6}
    assert deltas(events)[-1] == Delta(
        annotations=[{"type": "url_citation", "url_citation": note}], extra={"citations": [cited, page]}
    )


def test_unknown_events_blocks_and_deltas_are_harmless() -> None:
    events = read(
        stream(
            start(),
            {"type": "novelty", "index": 0},
            opens(0, type="compaction", content=None),
            gives(0, type="compaction_delta", content="sum"),
            gives(0, type="compaction_delta", content="mary"),
            closes(0),
            opens(1, type="hologram", text="beam"),
            gives(1, type="text_delta", text="still text"),
            closes(1),
            gives(7, type="text_delta", text=" and more"),
            stops("compaction"),
            END,
        )
    )
    assert "".join(delta.text or "" for delta in deltas(events)) == "still text and more"
    extras = [delta.extra for delta in deltas(events) if delta.extra]
    assert extras[0] == {"content_blocks": [{"type": "compaction", "content": "summary"}]}
    assert only(events, Finish) == Finish("stop", native="compaction")


def test_a_model_that_takes_over_is_the_one_that_answers() -> None:
    block = opens(0, type="fallback", **{"from": {"model": "claude-test-1"}, "to": {"model": "claude-test-2"}})
    events = read(stream(start(), block, closes(0), stops("end_turn"), END))
    assert [event.model for event in events if isinstance(event, Start)] == ["claude-test-1", "claude-test-2"]


@pytest.mark.parametrize(
    ("native", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("tomorrow", "stop"),
    ],
)
def test_stop_reasons_are_normalised_and_kept_verbatim(native: str, reason: str) -> None:
    finish = only(read(stream(start(), *SAID, stops(native), END)), Finish)
    assert (finish.reason, finish.native) == (reason, native)


def test_an_end_with_tool_calls_present_means_tool_calls() -> None:
    frames = [start(), opens(0, type="tool_use", id="t", name="f", input={}), closes(0), stops("end_turn"), END]
    assert only(read(stream(*frames)), Finish) == Finish("tool_calls", native="end_turn")


def test_a_stop_sequence_and_a_refusals_explanation_are_kept() -> None:
    assert only(read(stream(start(), stops("stop_sequence", stop_sequence="##"), END)), Finish).stop_sequence == "##"
    why = {"type": "refusal", "category": "bio", "explanation": "Not that."}
    assert only(read(stream(start(), stops("refusal", stop_details=why), END)), Finish).message == "Not that."
    assert only(read(message(stop="refusal", stop_details={**why, "explanation": None}), JSON), Finish).message == "bio"


# --- usage ------------------------------------------------------------------------------------------------------------


def test_prompt_includes_cache_reads_and_writes_by_lifetime() -> None:
    kinds = {"ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 200}
    usage = {"cache_read_input_tokens": 1000, "cache_creation_input_tokens": 500, "cache_creation": kinds}
    got = last_usage(read(stream(start(**usage), stops("end_turn", {"output_tokens": 2}), END)))
    assert (got.prompt, got.cached, got.cache_write, got.cache_write_1h) == (1510, 1000, 300, 200)


def test_writes_without_a_breakdown_are_five_minute_writes() -> None:
    got = last_usage(read(stream(start(cache_creation_input_tokens=500), stops("end_turn"), END)))
    assert (got.prompt, got.cached, got.cache_write, got.cache_write_1h) == (510, None, 500, None)


def test_a_later_total_of_writes_wins_over_an_older_breakdown() -> None:
    kinds = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 200}
    first = start(cache_creation_input_tokens=200, cache_creation=kinds)
    got = last_usage(
        read(stream(first, stops("end_turn", {"output_tokens": 2, "cache_creation_input_tokens": 260}), END))
    )
    assert (got.prompt, got.cache_write, got.cache_write_1h) == (270, 60, 200)


def test_a_breakdown_that_exceeds_its_total_is_cut_to_it() -> None:
    kinds = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 900}
    frames = stream(start(cache_creation_input_tokens=500, cache_creation=kinds), stops("end_turn"), END)
    got = last_usage(read(frames))
    assert (got.prompt, got.cache_write, got.cache_write_1h) == (510, 0, 500)


def test_reports_are_cumulative_and_replace_never_add() -> None:
    frames = [
        start(),
        stops(None, {"output_tokens": 5}),
        stops("end_turn", {"input_tokens": 12, "output_tokens": 9}),
        END,
    ]
    events = read(stream(*frames))
    counted = [event.usage for event in events if isinstance(event, Counted)]
    assert [(usage.prompt, usage.completion) for usage in counted] == [(10, 1), (10, 5), (12, 9)]


def test_zeros_that_follow_a_count_are_filler() -> None:
    late = {"input_tokens": 0, "output_tokens": 9, "cache_read_input_tokens": None}
    got = last_usage(read(stream(start(cache_read_input_tokens=4), stops("end_turn", late), END)))
    assert (got.prompt, got.completion, got.cached) == (14, 9, 4)


def test_counts_that_make_no_sense_are_unknown_not_zero() -> None:
    usage = {"input_tokens": -3, "output_tokens": "many", "cache_read_input_tokens": True}
    got = last_usage(read(message({"type": "text", "text": "x"}, usage=usage), JSON))
    assert (got.prompt, got.completion, got.cached, got.reasoning, got.web_searches) == (None, None, None, None, None)
    assert got.raw is not None
    assert json.loads(got.raw) == usage


def test_the_tier_is_the_one_that_served() -> None:
    tiers = [("standard", "default"), ("priority", "priority"), ("batch", "batch")]
    for said, meant in tiers:
        assert only(read(stream(start(service_tier=said), stops("end_turn"), END)), Start).service_tier == meant
    assert only(
        read(stream(start(speed="fast", service_tier="standard"), stops("end_turn"), END)), Start
    ).service_tier == ("priority")


# --- whole messages ---------------------------------------------------------------------------------------------------


def test_a_whole_message_is_one_delta_between_start_and_finish() -> None:
    blocks: list[Frame] = [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "eA"},
        {"type": "text", "text": "One"},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}},
        {
            "type": "text",
            "text": " two",
            "citations": [{"type": "web_search_result_location", "url": "https://a.example"}],
        },
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"n": 1.50, "big": 123456789012345678901}},
        {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
    ]
    events = read(message(*blocks, stop="tool_use", container={"id": "c"}), JSON)
    assert [type(event) for event in events] == [Start, Delta, Finish, Counted]
    delta = only(events, Delta)
    assert (delta.role, delta.text, delta.reasoning) == ("assistant", "One two", "Hm.")
    form = {"format": "anthropic-claude-v1"}
    assert delta.reasoning_details == [
        {"type": "reasoning.text", "text": "Hm.", "signature": "c2ln", **form, "index": 0},
        {"type": "reasoning.encrypted", "data": "eA", **form, "index": 1},
    ]
    assert [(call.index, call.id, call.name, call.arguments) for call in delta.tool_calls] == [
        (0, "t1", "f", '{"n":1.5,"big":123456789012345678901}'),
        (1, "t2", "g", "{}"),
    ]
    assert delta.annotations[0]["url_citation"]["start_index"] == 3
    assert delta.extra["content_blocks"] == [blocks[3]]
    assert delta.extra["container"] == {"id": "c"}


def test_an_empty_message_is_still_an_answer() -> None:
    events = read(message(), JSON)
    assert [type(event) for event in events] == [Start, Delta, Finish, Counted]
    assert not only(events, Delta).content


def test_the_bytes_pick_the_reader_where_the_content_type_is_wrong() -> None:
    whole = message({"type": "text", "text": "x"})
    assert only(read(b"\n  " + whole, STREAM), Delta).text == "x"
    assert only(read(b"\xef\xbb\xbf" + whole, HttpHead(200, {})), Delta).text == "x"
    body = b": waiting\n\n" + stream(start(), *SAID, stops("end_turn"), END)
    assert only(read(body, JSON), Finish).reason == "stop"
    assert only(read(b"\xef\xbb\xbf" + body, JSON), Finish).reason == "stop"
