"""The short way of whole chat answers and of common usage objects says exactly what the full way says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routebook.core.events import Event, Plain, Whole
from routebook.dialects.openai_chat import UPSTREAM, reader, usage
from tests.dialects.chat_cases import JSON, comparable, unary
from tests.dialects.lanes import WORDS, fed, metered, written
from tests.dialects.plainest import plainest


def full_way(body: bytes, kind: str = JSON) -> list[Event]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "common_answer", lambda body: None)
        patch.setattr(usage, "common_usage", lambda raw: None)
        return fed(UPSTREAM, [body], kind)


def both_ways(body: bytes) -> list[Event]:
    short, full = fed(UPSTREAM, [body], JSON), full_way(body)
    assert not any(isinstance(event, (Plain, Whole)) for event in full)
    assert comparable(plainest(short)) == comparable(plainest(full))
    assert metered(short) == metered(full)
    for streamed in (True, False):
        for members in ({}, {"reasoning": {"exclude": True}}):
            assert written(short, streamed, **members) == written(full, streamed, **members)
    return short


COUNT = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


@pytest.mark.parametrize("text", [word for word in WORDS if word])
@pytest.mark.parametrize("indent", [None, 1])
def test_an_answer_of_text_takes_the_short_way(text: str, indent: int | None) -> None:
    details = {"cached_tokens": 3, "audio_tokens": 0}
    more: dict[str, Any] = {
        "usage": {**COUNT, "prompt_tokens_details": details},
        "system_fingerprint": "fp",
        "service_tier": "default",
    }
    body = unary({"content": text, "refusal": None, "annotations": []}, **more)
    events = both_ways(json.dumps(json.loads(body), indent=indent, ensure_ascii=indent is None).encode())
    assert [type(event) for event in events] == [Whole]


@pytest.mark.parametrize(
    "change",
    [
        {"error": {"message": "no"}},
        {"error": None},
        {"object": "error"},
        {"citations": ["x"]},
        {"citations": None},
        {"usage": None},
        {"usage": {}},
        {"usage": {"prompt_tokens": 1}},
        {"usage": {**COUNT, "total_tokens": 20}},
        {"usage": {**COUNT, "cached_tokens": 5}},
        {"usage": {**COUNT, "prompt_tokens": -1}},
        {"usage": {**COUNT, "prompt_tokens": True}},
        {"usage": {**COUNT, "prompt_tokens": 9.0}},
        {"usage": {**COUNT, "queue_time": 0.25, "prompt_tokens_details": None}},
        {"usage": {**COUNT, "prompt_tokens_details": {"cache_creation_tokens": 2}}},
        {"usage": {**COUNT, "server_tool_use": {"web_search_requests": 1}}},
        {"usage": [1]},
        {"choices": []},
        {"choices": None},
        {"id": None},
        {"id": ""},
        {"id": 7},
        {"model": 7},
        {"provider": "Other"},
        {"x_groq": {"id": "r"}},
        {"service_tier": ""},
    ],
)
def test_an_answer_with_something_more_says_the_same_both_ways(change: dict[str, Any]) -> None:
    both_ways(json.dumps({**json.loads(unary({"content": "Hi"}, usage=COUNT)), **change}).encode())


@pytest.mark.parametrize(
    "body",
    [
        unary({"content": "Hi"}, usage=COUNT) + b" trailing",
        b"\xef\xbb\xbf" + unary({"content": "Hi"}, usage=COUNT),
        b" \n" + unary({"content": "Hi"}, usage=COUNT),
        unary({"content": "@"}, usage=COUNT).replace(b"@", b"\xff"),
        unary({"content": "@"}, usage=COUNT).replace(b"@", b"\\ud800"),
        unary({"content": "@"}, usage=COUNT).replace(b"@", b'","content":"last one counts'),
        unary({"content": "@"}, usage=COUNT).replace(b'"@"', b'["@"]'),
        unary({"content": "@"}, usage=COUNT)[:-20],
        unary({"content": "@"}, usage=COUNT).replace(b'"@"', b'"\x01"'),
        unary({"content": "Hi"}, usage=COUNT).replace(b'"prompt_tokens": 9', b'"prompt_tokens": 1' + b"0" * 40),
        unary({"content": "Hi"}, usage=COUNT).replace(b'"prompt_tokens": 9', b'"prompt_tokens": 1000000001'),
        unary({"content": "Hi"}, usage=COUNT).replace(b'"prompt_tokens": 9', b'"x": "\xff", "prompt_tokens": 9'),
    ],
)
def test_bytes_that_are_not_quite_an_answer_read_the_same_both_ways(body: bytes) -> None:
    both_ways(body)


def optional(name: str, *values: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(st.just({}), st.sampled_from(values).map(lambda value: {name: value}))


def merged(*parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(*parts).map(lambda found: {name: value for part in found for name, value in part.items()})


COUNTS = st.one_of(st.none(), st.integers(-2, 2**70), st.floats(0, 9), st.booleans())
NUMBERS = (
    "prompt_tokens completion_tokens total_tokens cached_tokens prompt_cache_hit_tokens num_cached_tokens input_tokens "
    "output_tokens reasoning_tokens cache_creation_input_tokens num_search_queries queue_time"
).split()
PARTS = (
    "cached_tokens cache_write_tokens cache_creation_tokens audio_tokens image_tokens video_tokens reasoning_tokens "
    "accepted_prediction_tokens rejected_prediction_tokens"
).split()
DETAILS = st.one_of(st.none(), st.dictionaries(st.sampled_from(PARTS), COUNTS, max_size=4))
GROUPS = "prompt_tokens_details completion_tokens_details input_tokens_details server_tool_use".split()
USAGE = st.one_of(
    st.none(),
    merged(
        st.fixed_dictionaries({"prompt_tokens": st.integers(0, 999), "completion_tokens": st.integers(0, 999)}),
        st.dictionaries(st.sampled_from(GROUPS), DETAILS, max_size=3),
        st.one_of(st.just({}), st.dictionaries(st.sampled_from(NUMBERS), COUNTS, max_size=3)),
    ),
)
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
MESSAGE = merged(
    optional("role", "assistant", "", None),
    optional("refusal", None, "no", ""),
    optional("annotations", None, [], [{"type": "url_citation"}], [3]),
    optional("tool_calls", None, [], [CALL]),
    optional("reasoning", None, "hm", ""),
    optional("reasoning_content", None, "hm"),
    optional("images", [], None),
    optional("function_call", None, {"name": "f", "arguments": "{}"}),
    optional("audio", None, {"data": "QQ=="}),
    optional("odd", None, 1),
    st.one_of(st.text(max_size=12), st.sampled_from(WORDS), st.none()).map(lambda text: {"content": text}),
)
CHOICE = merged(
    MESSAGE.map(lambda message: {"message": message}),
    optional("index", 0, 1, -1, 5000, "0", None),
    st.sampled_from(["stop", "STOP", "length", "odd", "", None, "tool_calls", "eos"]).map(
        lambda reason: {"finish_reason": reason}
    ),
    optional("native_finish_reason", None, "", "end_turn"),
    optional("logprobs", None, {"content": []}),
    optional("stop_reason", None, "###"),
    optional("error", None, {"message": "no"}),
    optional("usage", None, COUNT),
    optional("seed", None, 7),
)
ANSWER = merged(
    st.lists(CHOICE, min_size=1, max_size=2).map(lambda choices: {"choices": choices}),
    USAGE.map(lambda usage: {"usage": usage}),
    optional("id", "a", None, ""),
    optional("model", "m", None),
    optional("object", "chat.completion", "error", None),
    optional("service_tier", "default", None, ""),
    optional("system_fingerprint", "fp", None),
    optional("provider", "P", None),
    optional("created", 1, None, 1.5),
    optional("citations", None, ["x"]),
    optional("x_groq", None, {"id": "r", "usage": COUNT}),
)


@settings(max_examples=600, deadline=None)
@given(ANSWER, st.booleans())
def test_any_whole_answer_reads_the_same_both_ways(answer: dict[str, Any], ascii: bool) -> None:
    both_ways(json.dumps(answer, ensure_ascii=ascii).encode())
