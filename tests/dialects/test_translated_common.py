"""The short ways of whole Anthropic and Gemini answers say exactly what their full ways say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routebook.core.events import Event, Plain
from routebook.dialects import anthropic, gemini
from routebook.dialects.base import Upstream
from tests.dialects.chat_cases import JSON, comparable
from tests.dialects.lanes import WORDS, fed, metered, written
from tests.dialects.plainest import plainest
from tests.dialects.test_openai_chat_common import merged, optional


def both_ways(upstream: Upstream, body: bytes) -> list[Event]:
    short = fed(upstream, [body], JSON)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anthropic, "common_message", lambda body: None)
        patch.setattr(gemini, "common_answer", lambda body, tier: None)
        full = fed(upstream, [body], JSON)
    assert not any(isinstance(event, Plain) for event in full)
    assert comparable(plainest(short)) == comparable(plainest(full))
    assert metered(short) == metered(full)
    for streamed in (True, False):
        assert written(short, streamed) == written(full, streamed)
    return short


COUNT = st.one_of(st.none(), st.integers(-1, 10**12), st.floats(0, 9), st.just("7"))
REPORT = st.dictionaries(
    st.sampled_from(
        "input_tokens output_tokens cache_read_input_tokens cache_creation_input_tokens service_tier speed odd".split()
    ),
    COUNT,
)
MESSAGE = merged(
    st.just({"type": "message", "role": "assistant", "id": "msg_1", "model": "claude-test-1"}),
    st.one_of(st.text(max_size=9), st.sampled_from(WORDS)).map(
        lambda text: {"content": [{"type": "text", "text": text}]}
    ),
    optional("content", [{"type": "text", "text": "a", "citations": []}], [], "plain", [{"type": "tool_use"}], [7]),
    optional("content", [{"type": "text", "text": "a", "citations": None}], [{"type": "text", "text": "a"}] * 2),
    st.sampled_from(["end_turn", "max_tokens", "tool_use", "odd", "", None]).map(lambda word: {"stop_reason": word}),
    optional("stop_sequence", None, "", "###"),
    optional("stop_details", None, {"explanation": "no"}),
    optional("container", None, {"id": "c"}),
    optional("context_management", None, {"x": 1}),
    optional("error", None, {"type": "overloaded_error", "message": "no"}),
    optional("type", "error", None, "other"),
    optional("id", None, 7, ""),
    optional("odd", None, 1),
    REPORT.map(lambda report: {"usage": report}),
    optional("usage", None, [], {"input_tokens": 1, "output_tokens": 2}),
)


@settings(max_examples=400, deadline=None)
@given(MESSAGE, st.booleans())
def test_any_message_reads_the_same_both_ways(message: dict[str, Any], ascii: bool) -> None:
    both_ways(anthropic.UPSTREAM, json.dumps(message, ensure_ascii=ascii).encode())


@pytest.mark.parametrize("text", [word for word in WORDS if word])
def test_a_message_of_text_takes_the_short_way(text: str) -> None:
    usage = {"input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": 3, "service_tier": "standard"}
    message = {"id": "m", "type": "message", "role": "assistant", "content": [{"type": "text", "text": text}]}
    body = json.dumps({**message, "model": "c", "stop_reason": "end_turn", "stop_sequence": None, "usage": usage})
    assert [type(event).__name__ for event in both_ways(anthropic.UPSTREAM, body.encode())] == [
        "Start", "Plain", "Finish", "Counted"
    ]  # fmt: skip


PARTS = st.one_of(
    st.one_of(st.text(max_size=9), st.sampled_from(WORDS)).map(lambda text: [{"text": text}]),
    st.sampled_from(
        [
            [],
            [{"text": "a"}, {"text": "b"}],
            [{"text": "a", "thought": True}],
            [{"text": "a", "thoughtSignature": "QQ=="}],
            [{"functionCall": {"name": "f", "args": {}}}],
            [{"text": 7}],
            [{}],
        ]
    ),
)
CANDIDATE = merged(
    PARTS.map(lambda parts: {"content": {"parts": parts, "role": "model"}}),
    st.sampled_from(["STOP", "MAX_TOKENS", "SAFETY", "OTHER", "ODD", "", None]).map(lambda w: {"finishReason": w}),
    optional("index", 0, 1, None, -1, "0"),
    optional("avgLogprobs", -0.5),
    optional("finishMessage", "why", None),
    optional("safetyRatings", [], [{"category": "x"}]),
)
USED = st.dictionaries(
    st.sampled_from(
        "promptTokenCount candidatesTokenCount totalTokenCount thoughtsTokenCount cachedContentTokenCount "
        "toolUsePromptTokenCount responseTokenCount trafficType serviceTier odd".split()
    ),
    COUNT,
)
ANSWER = merged(
    st.lists(CANDIDATE, min_size=1, max_size=1).map(lambda found: {"candidates": found}),
    optional("candidates", [], None, [{"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}] * 2),
    USED.map(lambda report: {"usageMetadata": report}),
    optional("usageMetadata", None, {"promptTokenCount": 3, "candidatesTokenCount": 4, "trafficType": "ON_DEMAND"}),
    optional("modelVersion", "gemini-3", "", None, 7),
    optional("responseId", "r", ""),
    optional("promptFeedback", {}, {"blockReason": "SAFETY"}),
    optional("error", None, {"code": 500, "message": "no"}),
    optional("odd", 1),
)


@settings(max_examples=400, deadline=None)
@given(ANSWER, st.booleans(), st.booleans())
def test_any_generated_answer_reads_the_same_both_ways(answer: dict[str, Any], ascii: bool, wrapped: bool) -> None:
    value = {"response": answer} if wrapped else answer
    both_ways(gemini.UPSTREAM, json.dumps(value, ensure_ascii=ascii).encode())


@pytest.mark.parametrize("text", [word for word in WORDS if word])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_generated_answer_of_text_takes_the_short_way(text: str, indent: int | None) -> None:
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": "STOP", "index": 0}
    usage = {"promptTokenCount": 3, "candidatesTokenCount": 4, "totalTokenCount": 7}
    answer = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-3", "responseId": "r"}
    events = both_ways(gemini.UPSTREAM, json.dumps(answer, indent=indent).encode() + b"\n" * (indent or 0))
    assert [type(event).__name__ for event in events] == ["Start", "Plain", "Finish", "Counted"]


@pytest.mark.parametrize("cut", [1, 40, 90])
def test_a_generated_answer_in_two_reads_or_with_junk_behind_it_says_the_same(cut: int) -> None:
    candidate = {"content": {"parts": [{"text": "Hi"}], "role": "model"}, "finishReason": "STOP"}
    body = json.dumps({"candidates": [candidate], "usageMetadata": {"promptTokenCount": 3}, "responseId": "r"}).encode()
    whole = comparable(plainest(fed(gemini.UPSTREAM, [body], JSON)))
    assert comparable(plainest(fed(gemini.UPSTREAM, [body[:cut], body[cut:]], JSON))) == whole
    assert comparable(plainest(fed(gemini.UPSTREAM, [body + b" } junk }"], JSON))) == whole
