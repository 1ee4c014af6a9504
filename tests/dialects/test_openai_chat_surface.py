"""What a caller's chat request is read as, and what is refused with which words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routebook.core.call import Message, ReasoningWish
from routebook.core.errors import BadRequest
from routebook.dialects.openai_chat import SURFACE
from tests.dialects.chat_cases import call, hello


def refusal(body: bytes | dict[str, Any], **headers: str) -> str:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(BadRequest) as caught:
        SURFACE.read(data, headers)
    assert caught.value.status == 400
    return caught.value.message


def refused(**members: Any) -> str:
    return refusal({"model": "acme/large", "messages": [{"role": "user", "content": "Hi"}], **members})


def test_a_plain_request_is_read_with_its_members_decoded_and_verbatim() -> None:
    body = b'{"model":"acme/large","messages":[{"role":"user","content":"Hi"}],"temperature":0.70,'
    body += b'"stream":true,"user":"u1"}'
    got = SURFACE.read(body, {})
    assert (got.surface, got.model, got.stream, got.user) == ("openai_chat", "acme/large", True, "u1")
    assert got.chat.messages == [Message("user", "Hi")]
    assert got.chat.temperature == 0.7
    assert bytes(got.raw["temperature"]) == b"0.70"
    assert got.body_bytes == len(body)
    assert got.ignored == ()


def test_a_prompt_is_one_user_message() -> None:
    got = call({"model": "m/x", "prompt": "Say hi"})
    assert got.chat.messages == [Message("user", "Say hi")]
    assert json.loads(bytes(got.raw["messages"])) == [{"role": "user", "content": "Say hi"}]


def test_models_are_the_fallbacks_after_model_and_stand_in_for_it() -> None:
    assert (hello(models=["b/2", "acme/large", "c/3"]).model, hello(models=["b/2", "acme/large"]).models) == (
        "acme/large",
        ("b/2",),
    )
    alone = call({"messages": [{"role": "user", "content": "Hi"}], "models": ["b/2", "c/3"]})
    assert (alone.model, alone.models) == ("b/2", ("c/3",))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b"{", "not JSON"),
        (b"[]", "object"),
        (b"\xff{}", "UTF-8"),
        (b'{"messages": "x"}', "messages"),
        (b'{"model": "m"} trailing', "not JSON"),
        (b"[" * 100_000, "nested more than 64"),
        (b'{"model":' + b"[" * 70 + b"]" * 70 + b"}", "nested more than 64"),
    ],
)
def test_bytes_that_are_no_request_are_refused_in_words(body: bytes, words: str) -> None:
    assert words in refusal(body)


def test_brackets_inside_text_are_no_nesting() -> None:
    text = '"\\"' + "[{" * 200
    assert call({"model": "m", "messages": [{"role": "user", "content": text}]}).chat.messages[0].content == text


@pytest.mark.parametrize(
    ("members", "place"),
    [
        ({"temperature": 3}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"frequency_penalty": -3}, "frequency_penalty"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"repetition_penalty": 2.5}, "repetition_penalty"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": "10"}, "max_completion_tokens"),
        ({"stop": 7}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"provider": {"oder": ["x"]}}, "oder"),
        ({"provider": {"data_collection": "maybe"}}, "provider.data_collection"),
        ({"provider": {"sort": "beauty"}}, "provider.sort"),
        ({"provider": {"max_price": {"prompt": -1}}}, "provider.max_price"),
        ({"reasoning": {"effort": "much"}}, "reasoning.effort"),
        ({"reasoning": {"effort": "low"}, "reasoning_effort": "high"}, "reasoning_effort"),
        ({"reasoning": {"effort": "low", "max_tokens": 5}}, "reasoning"),
        ({"reasoning": {"exclude": True}, "include_reasoning": True}, "include_reasoning"),
        ({"session_id": "x" * 257}, "session_id"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"metadata": {str(i): "x" for i in range(17)}}, "metadata"),
        ({"metadata": {"a[0]": "x"}}, "metadata"),
        ({"metadata": {"a": "x" * 513}}, "metadata"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tool_choice": "some"}, "tool_choice"),
        ({"tool_choice": 7}, "tool_choice"),
        ({"response_format": {}}, "response_format.type"),
    ],
)
def test_a_member_that_breaks_the_rules_is_refused_by_its_name(members: dict[str, Any], place: str) -> None:
    assert place in refused(**members)


@pytest.mark.parametrize(
    ("messages", "place"),
    [
        (None, "messages: missing"),
        ([], "messages: empty"),
        ([{"role": "robot", "content": "x"}], "messages[0].role"),
        ([{"role": 7, "content": "x"}], "messages[0].role"),
        ([{"role": "user"}], "messages[0].content"),
        ([{"role": "user", "content": "a"}, {"role": "tool", "content": "x"}], "messages[1].tool_call_id"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "messages[0].content[0].image_url"),
        ([{"role": "user", "content": 5}], "content"),
    ],
)
def test_a_message_that_breaks_the_rules_is_refused_by_its_place(messages: Any, place: str) -> None:
    assert place in refused(messages=messages)


def test_a_missing_model_is_refused_with_where_to_look() -> None:
    assert "GET /api/v1/models" in refusal({"messages": [{"role": "user", "content": "Hi"}]})


@pytest.mark.parametrize(
    ("members", "wish"),
    [
        ({}, None),
        ({"reasoning": {"effort": "high"}}, ReasoningWish(effort="high")),
        ({"reasoning_effort": "low"}, ReasoningWish(effort="low")),
        ({"reasoning": {"effort": "low"}, "reasoning_effort": "low"}, ReasoningWish(effort="low")),
        ({"include_reasoning": False}, ReasoningWish(exclude=True)),
        ({"include_reasoning": True}, ReasoningWish()),
        ({"reasoning": {"max_tokens": 2000, "exclude": True}}, ReasoningWish(max_tokens=2000, exclude=True)),
        ({"reasoning": {"enabled": True, "effort": None}}, ReasoningWish(enabled=True)),
    ],
)
def test_the_three_ways_to_wish_for_reasoning_are_one_wish(members: dict[str, Any], wish: ReasoningWish | None) -> None:
    assert hello(**members).chat.reasoning == wish


def test_the_newer_limit_wins_and_stop_is_a_list() -> None:
    chat = hello(max_tokens=5, max_completion_tokens=7, stop="END").chat
    assert (chat.max_tokens, chat.stop) == (7, ["END"])
    assert hello(max_tokens=5, stop=["a", "b", "c", "d", "e"]).chat.stop == ["a", "b", "c", "d", "e"]


def test_the_session_of_the_body_wins_over_the_header() -> None:
    messages = [{"role": "user", "content": "Hi"}]
    assert call({"model": "m", "messages": messages}, **{"x-session-id": "h"}).session_id == "h"
    assert call({"model": "m", "messages": messages, "session_id": "b"}, **{"x-session-id": "h"}).session_id == "b"


def test_media_and_audio_parts_are_counted_over_all_messages() -> None:
    parts = [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}},
        {"type": "video_url", "video_url": {"url": "https://x.test/a.mp4"}},
        {"type": "file", "file": {"file_data": "data:,"}},
        {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}},
    ]
    got = hello(messages=[{"role": "user", "content": parts}, {"role": "user", "content": parts[:2]}])
    assert (got.media_prompt, got.audio_prompt) == (4, 1)


def test_what_the_gateway_does_not_act_on_is_named_and_not_refused() -> None:
    got = hello(
        plugins=[{"id": "web"}],
        transforms=["middle-out"],
        route="fallback",
        preset="p",
        debug={"echo_upstream_body": True},
        trace={"trace_id": "t"},
        max_tool_calls=3,
        stop_server_tools_when=[{"type": "step_count_is", "step_count": 2}],
        x_search_filter={},
        tools=[{"type": "openrouter:web_search"}, {"type": "function", "function": {"name": "f"}}],
        usage={"include": True},
        stream_options={"include_usage": True},
    )
    names = {name for name, _ in got.ignored}
    assert names == {
        "plugins",
        "transforms",
        "route",
        "preset",
        "debug",
        "trace",
        "max_tool_calls",
        "stop_server_tools_when",
        "tools[0]",
    }
    assert all(why for _, why in got.ignored)


def test_the_price_cap_keeps_every_digit() -> None:
    wish = hello(provider={"max_price": {"prompt": 0.1, "completion": "2.50"}}).provider
    assert wish is not None
    assert wish.max_price is not None
    assert (str(wish.max_price.prompt), str(wish.max_price.completion)) == ("0.1", "2.50")


def test_of_a_repeated_member_the_last_one_counts_everywhere() -> None:
    got = SURFACE.read(b'{"model":"a","model":"b","messages":[{"role":"user","content":"Hi"}],"seed":1,"seed":2}', {})
    assert (got.model, got.chat.seed, bytes(got.raw["seed"])) == ("b", 2, b"2")
