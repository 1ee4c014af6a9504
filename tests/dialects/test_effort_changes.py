"""Changes of the effort within a conversation, as callers of three APIs say them: kept in place for a provider of the
caller's own API that knows them, the effort of the request for all others, and on the record. None goes in silence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routebook.core.call import Call, CannotExpress, Losses, Message, ReasoningWish
from routebook.core.errors import BadRequest
from routebook.dialects import registry
from routebook.dialects.anthropic import SURFACE as MESSAGES
from routebook.dialects.base import Surface
from routebook.dialects.openai_chat import SURFACE as CHAT
from routebook.dialects.openai_responses import SURFACE as RESPONSES
from tests.dialects.calling import endpoint

UPSTREAMS = registry.upstreams({})
Body = dict[str, Any]

HI, ANSWER, GO = (
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "Go on"},
)
SAID = [Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Go on")]


def chat_change(effort: Any, **more: Any) -> Body:
    return {"role": "system", "content": "", "configuration_update": {"reasoning": {"effort": effort}}, **more}


def item(effort: Any) -> Body:
    return {"type": "configuration_update", "reasoning": {"effort": effort}}


def turn(effort: Any) -> Body:
    return {"role": "system", "content": [], "output_config": {"effort": effort}}


def read(surface: Surface, **members: Any) -> Call:
    return surface.read(json.dumps({"model": "acme/x", **members}).encode(), {})


def asked(api: str, *changes: str, **members: Any) -> Call:
    """A conversation with changes to these efforts before its last message, in one of the APIs."""
    if api == "chat":
        said = [HI, ANSWER, *map(chat_change, changes), GO]
        return read(CHAT, messages=said, reasoning={"effort": "low"}, **members)
    if api == "responses":
        return read(RESPONSES, input=[HI, ANSWER, *map(item, changes), GO], reasoning={"effort": "low"}, **members)
    said = [HI, ANSWER, *map(turn, changes), GO]
    return read(MESSAGES, messages=said, max_tokens=4000, output_config={"effort": "low"}, **members)


def sent(
    call: Call, dialect: str, model: str = "x-1", vendor: str | None = None
) -> tuple[Body, list[tuple[str, bool]]]:
    """(the request's body, what the dialect recorded)"""
    losses = Losses()
    to = endpoint(model, "https://acme.test/v1", vendor)
    request = UPSTREAMS[dialect].build(call, to, "secret", losses)
    return json.loads(request.body), [(loss.parameter, loss.mapped) for loss in losses.items]


APIS = ("chat", "responses", "messages")
PLACES = {"chat": "messages[2].configuration_update", "responses": "input[2]", "messages": "messages[2].output_config"}


@pytest.mark.parametrize("api", APIS)
def test_the_answer_is_made_with_the_effort_changed_to(api: str) -> None:
    call = asked(api, "high")
    assert call.chat.reasoning is not None
    assert call.chat.reasoning.effort == "high"
    assert call.chat.messages == SAID
    assert [(loss.parameter, loss.mapped) for loss in call.untold] == [(PLACES[api], True)]


@pytest.mark.parametrize("api", APIS)
def test_of_several_changes_the_last_holds(api: str) -> None:
    call = asked(api, "high", "medium")
    assert call.chat.reasoning is not None
    assert call.chat.reasoning.effort == "medium"
    assert call.chat.messages == SAID
    assert len(call.untold) == 1


CHAT_SIDE = ("openai_chat", "x-1", ("reasoning_effort",))
RESPONSES_SIDE = ("openai_responses", "x-1", ("reasoning", "effort"))
MESSAGES_SIDE = ("anthropic", "claude-opus-4-7", ("output_config", "effort"))


@pytest.mark.parametrize(
    ("api", "dialect", "model", "where"),
    [
        ("chat", *CHAT_SIDE),
        ("chat", *RESPONSES_SIDE),
        ("chat", *MESSAGES_SIDE),
        ("responses", *CHAT_SIDE),
        ("responses", *MESSAGES_SIDE),
        ("messages", *CHAT_SIDE),
        ("messages", *RESPONSES_SIDE),
    ],
)
def test_providers_of_another_api_are_told_it_as_the_requests_own(
    api: str, dialect: str, model: str, where: tuple[str, ...]
) -> None:
    found, _ = sent(asked(api, "high"), dialect, model)
    value: Any = found
    for step in where:
        value = value[step]
    assert value == "high"
    text = json.dumps(found)
    assert "configuration_update" not in text
    assert '"content": []' not in text
    assert '"content": ""' not in text


def test_a_provider_of_the_responses_api_gets_the_item_in_its_place_and_the_effort_of_before() -> None:
    found, losses = sent(asked("responses", "high"), "openai_responses")
    assert found["input"][2] == item("high")
    assert found["reasoning"] == {"effort": "low"}
    assert losses == []


def test_a_change_alone_makes_no_effort_for_the_whole_request_of_the_responses_api() -> None:
    call = read(RESPONSES, input=[HI, ANSWER, item("high"), GO])
    found, _ = sent(call, "openai_responses")
    assert "reasoning" not in found
    assert call.chat.reasoning == ReasoningWish(effort="high")


def test_anthropic_gets_the_message_in_its_place_and_the_effort_of_before() -> None:
    found, losses = sent(asked("messages", "high"), "anthropic", "claude-opus-4-8")
    assert found["messages"][2] == turn("high")
    assert found["output_config"] == {"effort": "low"}
    assert losses == []


def test_chat_providers_are_told_once_and_the_record_says_so() -> None:
    found, losses = sent(asked("chat", "high"), "openai_chat")
    assert found["messages"] == [HI, ANSWER, GO]
    assert losses == [(PLACES["chat"], True)]


def test_who_requires_parameters_is_not_given_something_near() -> None:
    to = endpoint("x-1", "https://acme.test/v1")
    with pytest.raises(CannotExpress):
        UPSTREAMS["openai_chat"].build(asked("chat", "high"), to, "secret", Losses(strict=True))


def test_words_beside_a_change_stay_and_unknown_members_of_messages_too() -> None:
    changed = chat_change("high", content="Be careful now.")
    call = read(CHAT, messages=[{**HI, "own": 1.50}, changed])
    assert call.chat.messages == [Message("user", "Hi"), Message("system", "Be careful now.")]
    assert json.loads(bytes(call.raw["messages"])) == [
        {**HI, "own": 1.50},
        {"role": "system", "content": "Be careful now."},
    ]


def test_a_change_needs_no_content_and_takes_the_place_of_a_budget() -> None:
    change = {"role": "developer", "configuration_update": {"reasoning": {"effort": "high"}}}
    call = read(CHAT, messages=[HI, change], reasoning={"max_tokens": 2000, "exclude": True})
    assert call.chat.messages == [Message("user", "Hi")]
    assert call.chat.reasoning == ReasoningWish(effort="high", exclude=True)


@pytest.mark.parametrize(
    ("surface", "members", "words"),
    [
        (CHAT, {"messages": [HI, chat_change("much")]}, "messages[1].configuration_update"),
        (CHAT, {"messages": [HI, chat_change("high", role="user")]}, "messages[1].configuration_update"),
        (CHAT, {"messages": [HI, {"role": "system", "configuration_update": {}}]}, "messages[1].configuration_update"),
        (CHAT, {"messages": [chat_change("high")]}, "messages"),
        (RESPONSES, {"input": [HI, item("much")]}, "input[1]"),
        (RESPONSES, {"input": [HI, {"type": "configuration_update"}]}, "input[1]"),
        (MESSAGES, {"messages": [HI, turn("much")], "max_tokens": 9}, "messages[1].output_config"),
    ],
)
def test_what_is_no_change_is_refused_with_its_place(surface: Surface, members: Body, words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(surface, **members)
    assert words in caught.value.message
