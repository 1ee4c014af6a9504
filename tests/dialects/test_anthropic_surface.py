"""What a caller's request of Anthropic's API is read as, what only Anthropic is told of it, and what is sent where the
provider is Anthropic."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routebook.core.call import (
    CacheControl,
    Call,
    FilePart,
    FunctionCall,
    ImageUrl,
    Loss,
    Losses,
    Message,
    Part,
    ReasoningWish,
    ToolCall,
)
from routebook.core.errors import BadRequest
from routebook.dialects.anthropic import SURFACE, UPSTREAM
from routebook.dialects.sealing import seal
from tests.dialects.anthropic_calls import endpoint

Body = dict[str, Any]


def call(**members: Any) -> Call:
    body: Body = {"model": "acme/x", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}], **members}
    headers = body.pop("headers", {})
    return SURFACE.read(json.dumps(body).encode(), headers)


def messages(*blocks: Body, role: str = "user") -> list[Message]:
    return call(messages=[{"role": role, "content": list(blocks)}]).chat.messages


def lost(**members: Any) -> list[str]:
    return [loss.parameter for loss in call(**members).untold]


def sent(found: Call, **rest: Any) -> tuple[Body, list[str], dict[str, str]]:
    """(body, losses, headers) of the request to Anthropic."""
    losses = Losses()
    request = UPSTREAM.build(found, endpoint("claude-sonnet-4-5", **rest), "secret", losses)
    return json.loads(request.body), [loss.parameter for loss in losses.items], dict(request.headers)


# --- reading ----------------------------------------------------------------------------------------------------------


def test_a_plain_request_is_read_with_its_members_verbatim() -> None:
    found = call(system="Be brief.", temperature=0.5, stream=True, metadata={"user_id": "u-1"})
    assert (found.surface, found.model, found.stream, found.user) == ("anthropic", "acme/x", True, "u-1")
    assert found.chat.messages == [Message("system", "Be brief."), Message("user", "Hi")]
    assert (found.chat.max_tokens, found.chat.temperature) == (100, 0.5)
    assert bytes(found.raw["system"]) == b'"Be brief."'
    assert found.untold == ()


def test_every_kind_of_user_block_becomes_a_part() -> None:
    png = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    (message,) = messages(
        {"type": "text", "text": "Look", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "image", "source": png},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
        {
            "type": "document",
            "title": "a.pdf",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JV"},
        },
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}},
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "inner"}]}},
        {"type": "search_result", "title": "T", "source": "https://t", "content": [{"type": "text", "text": "found"}]},
    )
    assert message.content == [
        Part("text", text="Look", cache_control=CacheControl(ttl="1h")),
        Part("image_url", image_url=ImageUrl("data:image/png;base64,AAAA")),
        Part("image_url", image_url=ImageUrl("https://example.com/a.png")),
        Part("file", file=FilePart(file_id="file_1")),
        Part("file", file=FilePart("data:application/pdf;base64,JV", filename="a.pdf")),
        Part("file", file=FilePart("data:text/plain;base64,d29yZHM=")),
        Part("text", text="inner"),
        Part("text", text="T\nhttps://t\nfound"),
    ]


def test_results_of_tools_are_messages_between_what_else_was_said() -> None:
    found = messages(
        {"type": "tool_result", "tool_use_id": "t1", "content": "sunny"},
        {
            "type": "tool_result",
            "tool_use_id": "t2",
            "content": [
                {"type": "text", "text": "this"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}},
            ],
        },
        {"type": "text", "text": "And?"},
    )
    picture = Part("image_url", image_url=ImageUrl("data:image/png;base64,AA"))
    assert found == [
        Message("tool", "sunny", tool_call_id="t1"),
        Message("tool", [Part("text", text="this"), picture], tool_call_id="t2"),
        Message("user", "And?"),
    ]


def test_an_assistants_turn_keeps_its_thoughts_and_the_very_arguments_of_its_calls() -> None:
    body = b"""{"model": "m/x", "messages": [{"role": "assistant", "content": [
        {"type": "thinking", "thinking": "Hm.", "signature": "abc"},
        {"type": "redacted_thinking", "data": "xyz"},
        {"type": "text", "text": "So."},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"n": 1.10, "big": 12345678901234567890}}]}]}"""
    (message,) = SURFACE.read(body, {}).chat.messages
    claude = {"format": "anthropic-claude-v1"}
    assert message.reasoning_details == [
        {"type": "reasoning.text", "text": "Hm.", "signature": "abc", **claude, "index": 0},
        {"type": "reasoning.encrypted", "data": "xyz", **claude, "index": 1},
    ]
    assert message.content == "So."
    assert message.tool_calls == [ToolCall(FunctionCall("f", '{"n": 1.10, "big": 12345678901234567890}'), "t1")]


def test_reasoning_of_another_provider_comes_back_as_that_provider_gave_it() -> None:
    detail = {
        "type": "reasoning.encrypted",
        "data": "opaque",
        "format": "openai-responses-v1",
        "id": "rs_1",
        "index": 3,
    }
    summary = {"type": "reasoning.summary", "format": "openai-responses-v1", "id": "rs_1", "index": 2}
    (message,) = messages(
        {"type": "thinking", "thinking": "In short.", "signature": seal(summary)},
        {"type": "redacted_thinking", "data": seal(detail)},
        {"type": "thinking", "thinking": "Unsigned.", "signature": ""},
        role="assistant",
    )
    assert message.reasoning_details == [
        {**summary, "summary": "In short."},
        detail,
        {"type": "reasoning.text", "text": "Unsigned.", "format": "unknown", "index": 2},
    ]


@pytest.mark.parametrize(
    ("members", "wish", "verbosity"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, ReasoningWish(max_tokens=2048), None),
        ({"thinking": {"type": "disabled"}}, ReasoningWish(enabled=False), None),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}, ReasoningWish(enabled=False), "low"),
        (
            {"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "max"}},
            ReasoningWish(effort="max", enabled=True, exclude=True),
            None,
        ),
        ({"output_config": {"effort": "medium"}}, ReasoningWish(effort="medium"), None),
        ({}, None, None),
    ],
)
def test_thinking_and_effort_are_a_wish_for_reasoning(
    members: Body, wish: ReasoningWish | None, verbosity: str | None
) -> None:
    chat = call(**members).chat
    assert (chat.reasoning, chat.verbosity) == (wish, verbosity)


@pytest.mark.parametrize(
    ("given", "choice", "parallel"),
    [
        ({"type": "auto"}, "auto", None),
        ({"type": "any", "disable_parallel_tool_use": True}, "required", False),
        ({"type": "none"}, "none", None),
        ({"type": "tool", "name": "f"}, {"type": "function", "function": {"name": "f"}}, None),
    ],
)
def test_every_form_of_tool_choice_is_read(given: Body, choice: Any, parallel: bool | None) -> None:
    chat = call(tool_choice=given, tools=[{"name": "f", "input_schema": {}}]).chat
    assert (chat.tool_choice, chat.parallel_tool_calls) == (choice, parallel)


def test_a_schema_by_either_name_is_a_response_format() -> None:
    schema = {"type": "json_schema", "schema": {"type": "object"}}
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": {"type": "object"}}}
    assert call(output_config={"format": schema}).chat.response_format == wanted
    assert call(output_format=schema).chat.response_format == wanted


def test_fallbacks_and_models_are_read_by_either_name() -> None:
    assert call(fallbacks=[{"model": "b/y"}, {"model": "c/z"}]).models == ("b/y", "c/z")
    assert call(models=["b/y"]).models == ("b/y",)


def test_tiers_are_said_in_the_apis_words() -> None:
    assert call(service_tier="standard_only").chat.service_tier == "default"
    assert call(service_tier="auto").chat.service_tier == "auto"
    assert call(speed="fast").chat.service_tier == "priority"


def test_what_only_anthropic_knows_is_named_for_everybody_else() -> None:
    assert lost(context_management={"edits": []}, container="c_1", mcp_servers=[{"name": "s"}], inference_geo="us") == [
        "context_management",
        "container",
        "mcp_servers",
        "inference_geo",
    ]
    assert lost(tools=[{"type": "web_search_20250305", "name": "web_search"}]) == ["tools[0]"]
    assert lost(output_config={"task_budget": {"type": "tokens", "total": 20000}}) == ["output_config.task_budget"]
    cited = {"type": "document", "citations": {"enabled": True}, "source": {"type": "text", "data": "x"}}
    assert lost(messages=[{"role": "user", "content": [cited]}]) == ["messages[0].content[0].citations"]
    error = {"type": "tool_result", "tool_use_id": "t", "is_error": True, "content": "no"}
    assert lost(messages=[{"role": "user", "content": [error]}]) == ["messages[0].content[0].is_error"]
    searched = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    assert lost(messages=[{"role": "assistant", "content": [searched]}]) == ["messages[0].content[0]"]


def test_what_the_gateway_does_not_act_on_is_named_as_ignored() -> None:
    found = call(plugins=[{"id": "web"}], route="fallback", tools=[{"type": "openrouter:web_search"}])
    assert [name for name, _ in found.ignored] == ["plugins", "route", "tools[0]"]
    assert found.untold == ()


def test_what_a_tool_says_beside_its_function_is_named_for_everybody_else() -> None:
    function = {"name": "f", "input_schema": {"type": "object"}}
    more = {"defer_loading": True, "input_examples": [{}], "allowed_callers": ["code_execution_20250825"]}
    assert call(tools=[{**function, **more}, {**function, "defer_loading": False}]).untold == (
        Loss("tools[0].defer_loading", "told from the beginning: there is no search for tools", mapped=True),
        Loss("tools[0].input_examples", "a tool has no examples there"),
        Loss("tools[0].allowed_callers", "nobody but the model calls tools there"),
    )
    assert call(tools=[{**function, "allowed_callers": ["direct"], "eager_input_streaming": True}]).untold == ()


def test_betas_of_either_header_are_read_once() -> None:
    headers = {"anthropic-beta": "a-1, b-2", "x-anthropic-beta": "b-2,c-3"}
    assert call(headers=headers).betas == ("b-2", "c-3", "a-1")


def test_the_place_of_what_is_wrong_is_told() -> None:
    with pytest.raises(BadRequest, match=r"messages\[0\].content\[0\].text"):
        call(messages=[{"role": "user", "content": [{"type": "text", "text": 7}]}])


# --- to Anthropic -----------------------------------------------------------------------------------------------------


def test_to_anthropic_the_callers_own_members_travel_as_they_are() -> None:
    members: Body = {
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "temperature": 0.5,
        "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
        "mcp_servers": [{"type": "url", "url": "https://mcp.example", "name": "s"}],
        "tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 3}],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "a_member_of_tomorrow": {"x": 1},
    }
    body, losses, headers = sent(call(**members, headers={"anthropic-beta": "tomorrow-1"}))
    assert {name: body[name] for name in members} == members
    assert losses == []
    assert (body["model"], body["max_tokens"]) == ("claude-sonnet-4-5", 100)
    assert (headers["anthropic-beta"], headers["x-api-key"]) == ("tomorrow-1", "secret")


def test_to_anthropic_what_is_the_gateways_own_is_not_sent_and_people_are_hashed() -> None:
    body, losses, _ = sent(
        call(
            models=["b/y"],
            provider={"only": ["acme"]},
            session_id="s",
            trace={"trace_id": "t"},
            plugins=[],
            user="u-1",
            stream=True,
            tools=[{"type": "openrouter:web_search"}, {"name": "f", "input_schema": {}}],
        )
    )
    assert set(body) == {"model", "max_tokens", "messages", "stream", "tools", "metadata"}
    assert [tool["name"] for tool in body["tools"]] == ["f"]
    assert len(body["metadata"]["user_id"]) == 32
    assert "u-1" not in json.dumps(body)
    assert losses == []


def test_to_anthropic_a_parameter_that_the_endpoint_does_not_take_is_recorded() -> None:
    known = frozenset({"temperature", "max_tokens"})
    body, losses, _ = sent(call(temperature=0.5, top_k=3, stop_sequences=["x"]), supported_parameters=known)
    assert losses == ["top_k", "stop_sequences"]
    assert "temperature" in body
    assert "top_k" not in body


def test_to_anthropic_a_conversation_that_began_elsewhere_loses_what_it_cannot_check() -> None:
    foreign = {"type": "redacted_thinking", "data": seal({"type": "reasoning.encrypted", "data": "o", "format": "x"})}
    blocks = [
        foreign,
        {"type": "thinking", "thinking": "Unsigned.", "signature": ""},
        {"type": "thinking", "thinking": "Signed.", "signature": "abc"},
        {"type": "tool_use", "id": "functions.f:0", "name": "f", "input": {}},
    ]
    result = {"type": "tool_result", "tool_use_id": "functions.f:0", "content": "x"}
    body, losses, _ = sent(
        call(messages=[{"role": "assistant", "content": blocks}, {"role": "user", "content": [result]}])
    )
    kept = body["messages"][0]["content"]
    assert [block["type"] for block in kept] == ["thinking", "tool_use"]
    assert kept[1]["id"] == body["messages"][1]["content"][0]["tool_use_id"]
    assert set(kept[1]["id"]) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")
    assert losses == ["messages.thinking"]


def test_to_anthropic_the_limit_of_the_endpoint_stands_in_for_one_that_was_not_given() -> None:
    found = SURFACE.read(b'{"model": "m/x", "messages": [{"role": "user", "content": "Hi"}]}', {})
    assert sent(found, max_completion_tokens=777)[0]["max_tokens"] == 777
    assert sent(found)[0]["max_tokens"] == 4096


def test_the_tokens_of_a_prompt_are_asked_for_without_what_only_an_answer_needs() -> None:
    found = call(system="S", stream=True, temperature=0.5, tools=[{"name": "f", "input_schema": {}}])
    request = UPSTREAM.count_request(found, endpoint("claude-sonnet-4-5"), "secret", Losses())
    assert request.url == "https://api.example/v1/messages/count_tokens"
    assert set(json.loads(request.body)) == {"model", "messages", "system", "tools"}
    assert UPSTREAM.count_answer(b'{"input_tokens": 12}') == 12
    assert UPSTREAM.count_answer(b"[]") is None


def test_a_loss_names_the_parameter_and_why() -> None:
    assert call(container="c").untold == (Loss("container", "a member that only Anthropic knows"),)
