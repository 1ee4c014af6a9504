"""What is sent to a vendor: verbatim where nothing has to change, mapped or recorded where something has."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest

from routebook.core.call import (
    CacheControl,
    Call,
    CannotExpress,
    Chat,
    FunctionCall,
    ImageUrl,
    Losses,
    Message,
    Part,
    ReasoningWish,
    Tool,
    ToolCall,
)
from routebook.core.call import FunctionTool as Function
from routebook.dialects.openai_chat import ChatUpstream
from routebook.dialects.openai_chat.history import ELSEWHERE
from routebook.dialects.vendors import Quirks, Vendor, parse
from tests.dialects.chat_cases import endpoint, hello, sent


def vendor(**quirks: Any) -> Vendor:
    return Vendor(slug="v", name="V", docs="", quirks=Quirks(**quirks))


def test_the_request_goes_to_the_base_url_with_the_secret_in_its_header_alone() -> None:
    body, losses, request = sent(hello())
    assert (request.method, request.url) == ("POST", "https://acme.test/v1/chat/completions")
    assert dict(request.headers)["authorization"] == "Bearer sk-secret-0123456789"
    assert dict(request.headers)["accept"] == "application/json"
    assert b"sk-secret" not in request.body
    assert "sk-secret" not in repr(request)
    assert body == {"model": "large-2026", "messages": [{"role": "user", "content": "Hi"}]}
    assert losses == {}


def test_members_travel_as_the_bytes_that_came_in() -> None:
    from routebook.dialects.openai_chat import SURFACE

    rest = b'"messages":[ {"content":"\\u00e9 \\/","role":"user","zzz":1.000} ],"temperature":0.70,"safe_prompt":true}'
    raw = b'{"model":"m",' + rest
    request = ChatUpstream().build(SURFACE.read(raw, {}), endpoint(), None, Losses())
    assert request.body == b'{"model":"large-2026",' + rest
    assert not [name for name, _ in request.headers if name == "authorization"]


def test_the_same_call_gives_the_same_bytes() -> None:
    one = hello(user="u", stream=True, tools=[{"type": "function", "function": {"name": "f"}}])
    assert sent(one)[2] == sent(one)[2]


def test_the_gateways_own_members_are_not_sent() -> None:
    body, losses, _ = sent(
        hello(
            models=["b/2"],
            route="fallback",
            provider={"only": ["acme"]},
            plugins=[{"id": "web"}],
            preset="p",
            transforms=[],
            session_id="s",
            trace={"trace_id": "t"},
            debug={},
            usage={"include": True},
            stop_server_tools_when=[],
            prompt="unused",
            seed=None,
        )
    )
    assert set(body) == {"model", "messages"}
    assert losses == {}


def test_a_router_gets_what_means_something_to_it_and_no_names_of_our_providers() -> None:
    body, losses, _ = sent(
        hello(
            provider={"only": ["acme"], "order": ["acme"], "allow_fallbacks": False, "zdr": True, "sort": "price"},
            plugins=[{"id": "web"}],
            session_id="s",
            models=["b/2"],
            reasoning={"effort": "high", "mode": "pro"},
            tools=[{"type": "openrouter:web_search"}],
            cache_control={"type": "ephemeral"},
        ),
        vendor(router=True, reasoning="openrouter"),
    )
    assert body["provider"] == {"zdr": True, "sort": "price"}
    assert body["plugins"] == [{"id": "web"}]
    assert body["session_id"] == "s"
    assert body["reasoning"] == {"effort": "high", "mode": "pro"}
    assert body["tools"] == [{"type": "openrouter:web_search"}]
    assert body["cache_control"] == {"type": "ephemeral"}
    assert "models" not in body
    assert losses == {}


def test_the_callers_user_is_hashed_or_left_out_with_a_word() -> None:
    body, _, _ = sent(hello(user="alice@example.com"))
    assert len(body["user"]) == 32
    assert "alice" not in body["user"]
    assert sent(hello(user="alice@example.com"))[0]["user"] == body["user"]
    assert sent(hello(user="bob"))[0]["user"] != body["user"]
    body, losses, _ = sent(hello(user="alice"), vendor(user=False))
    assert "user" not in body
    assert "user" in losses


def test_a_stream_asks_for_usage_and_keeps_the_callers_other_options() -> None:
    body, _, request = sent(hello(stream=True, stream_options={"include_usage": False, "include_obfuscation": False}))
    assert body["stream"] is True
    assert body["stream_options"] == {"include_obfuscation": False, "include_usage": True}
    assert dict(request.headers)["accept"] == "text/event-stream"
    assert "stream_options" not in sent(hello(stream=True), vendor(stream_usage=False))[0]
    assert "stream_options" not in sent(hello(stream_options={"include_usage": True}))[0]


@pytest.mark.parametrize(
    ("given", "field", "expected"),
    [
        ({"max_tokens": 5}, None, {"max_tokens": 5}),
        ({"max_completion_tokens": 5}, None, {"max_completion_tokens": 5}),
        ({"max_tokens": 5}, "max_completion_tokens", {"max_completion_tokens": 5}),
        ({"max_tokens": 5, "max_completion_tokens": 7}, "max_tokens", {"max_tokens": 7}),
    ],
)
def test_the_limit_goes_in_the_field_that_the_vendor_knows(
    given: dict[str, int], field: str | None, expected: dict[str, int]
) -> None:
    body = sent(hello(**given), vendor(max_tokens=field))[0]
    assert {name: body[name] for name in body if name.startswith("max_")} == expected


def test_a_parameter_that_the_endpoint_does_not_list_is_recorded_and_not_sent() -> None:
    request = hello(
        temperature=1,
        top_k=5,
        max_completion_tokens=9,
        tools=[{"type": "function", "function": {"name": "f"}}],
        tool_choice="auto",
        response_format={"type": "json_object"},
        reasoning={"effort": "low"},
        user="u",
        safe_prompt=True,
    )
    body, losses, _ = sent(request, supported={"temperature", "max_tokens", "structured_outputs", "include_reasoning"})
    assert set(losses) == {"top_k", "tools", "tool_choice"}
    assert set(body) == {
        "model",
        "messages",
        "temperature",
        "max_completion_tokens",
        "response_format",
        "reasoning_effort",
        "user",
        "safe_prompt",
    }


def test_under_require_parameters_the_first_loss_refuses_the_endpoint() -> None:
    with pytest.raises(CannotExpress) as caught:
        sent(hello(top_k=5), supported={"temperature"}, strict=True)
    assert caught.value.parameter == "top_k"


def test_a_strict_vendor_gets_only_what_it_knows_under_its_own_names() -> None:
    body, losses, _ = sent(
        hello(seed=7, temperature=1, logit_bias={"1": 2}, safe_prompt=True),
        vendor(accepts=("random_seed", "temperature", "safe_prompt"), rename={"seed": "random_seed"}),
    )
    assert body["random_seed"] == 7
    assert body["safe_prompt"] is True
    assert set(losses) == {"logit_bias"}
    assert set(sent(hello(top_k=1), vendor(drop=("top_k",)))[1]) == {"top_k"}


HISTORY = [
    {"role": "developer", "content": [{"type": "text", "text": "d", "cache_control": {"type": "ephemeral"}}]},
    {
        "role": "assistant",
        "content": "a",
        "reasoning": "because",
        "reasoning_details": [{"type": "reasoning.text", "text": "because", "signature": "s"}],
    },
    {"role": "user", "content": "Hi", "zzz": 1},
]


def test_messages_are_rewritten_only_as_far_as_the_vendor_needs() -> None:
    body, losses, _ = sent(hello(messages=HISTORY), vendor(history="reasoning_content", cache="strip", developer=False))
    assert body["messages"] == [
        {"role": "system", "content": [{"type": "text", "text": "d"}]},
        {"role": "assistant", "content": "a", "reasoning_content": "because"},
        HISTORY[2],
    ]
    assert set(losses) == {"messages.cache_control", "messages.reasoning_details"}
    body, losses, _ = sent(hello(messages=HISTORY), vendor(history="strip"))
    assert body["messages"][1] == {"role": "assistant", "content": "a"}
    assert set(losses) == {"messages.reasoning"}
    assert sent(hello(messages=HISTORY))[0]["messages"] == HISTORY


def test_server_tools_are_recorded_and_leave_the_other_tools_alone() -> None:
    function = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "x": 1.50}}}
    body, losses, _ = sent(hello(tools=[{"type": "openrouter:web_search"}, function], tool_choice="auto"))
    assert body["tools"] == [function]
    assert body["tool_choice"] == "auto"
    assert "openrouter:web_search" in losses["tools"]
    body, losses, _ = sent(
        hello(tools=[{"type": "openrouter:web_search"}], tool_choice="auto", parallel_tool_calls=True)
    )
    assert set(body) == {"model", "messages"}
    assert set(losses) == {"tools"}


EFFORT = {"reasoning.effort"}


@pytest.mark.parametrize(
    ("wish", "quirks", "expected", "lost"),
    [
        ({"effort": "high"}, {}, {"reasoning_effort": "high"}, set()),
        ({"effort": "xhigh"}, {"efforts": ("low", "medium", "high")}, {"reasoning_effort": "high"}, EFFORT),
        ({"effort": "minimal"}, {"efforts": ("none", "low", "high")}, {"reasoning_effort": "low"}, EFFORT),
        ({"enabled": True}, {}, {"reasoning_effort": "medium"}, set()),
        ({"max_tokens": 1000}, {}, {"reasoning_effort": "low"}, {"reasoning.max_tokens"}),
        ({"effort": "none"}, {}, {"reasoning_effort": "none"}, set()),
        ({"enabled": False}, {"efforts": ("low",)}, {}, {"reasoning"}),
        ({"exclude": True}, {}, {}, set()),
        ({"effort": "high"}, {"reasoning": "thinking"}, {"thinking": {"type": "enabled"}}, {"reasoning.effort"}),
        ({"enabled": False}, {"reasoning": "thinking"}, {"thinking": {"type": "disabled"}}, set()),
        (
            {"effort": "medium"},
            {"reasoning": "thinking_effort", "efforts": ("low", "high", "max")},
            {"thinking": {"type": "enabled"}, "reasoning_effort": "low"},
            EFFORT,
        ),
        (
            {"max_tokens": 900},
            {"reasoning": "enable_thinking"},
            {"enable_thinking": True, "thinking_budget": 900},
            set(),
        ),
        ({"enabled": False}, {"reasoning": "template"}, {"chat_template_kwargs": {"enable_thinking": False}}, set()),
        ({"effort": "low"}, {"reasoning": "none"}, {}, {"reasoning"}),
        ({"summary": "auto"}, {}, {}, {"reasoning.summary"}),
    ],
)
def test_the_wish_for_reasoning_is_said_in_the_vendors_words(
    wish: dict[str, Any], quirks: dict[str, Any], expected: dict[str, Any], lost: set[str]
) -> None:
    body, losses, _ = sent(hello(reasoning=wish), vendor(**quirks))
    assert {name: body[name] for name in body if name not in ("model", "messages")} == expected
    assert set(losses) == lost


def test_a_budget_is_weighed_against_the_limit() -> None:
    assert sent(hello(reasoning={"max_tokens": 800}, max_tokens=1000))[0]["reasoning_effort"] == "high"
    assert sent(hello(reasoning={"max_tokens": 100}, max_tokens=1000))[0]["reasoning_effort"] == "minimal"


def test_a_call_of_another_dialect_is_written_from_its_canonical_form() -> None:
    chat = Chat(
        messages=[
            Message("user", [Part("text", "Hi", cache_control=CacheControl())]),
            Message("assistant", tool_calls=[ToolCall(FunctionCall("f", "{}"), "a")]),
        ],
        tools=[Tool(function=Function("f", parameters={"type": "object"}))],
        temperature=0.5,
        max_tokens=9,
        stop=["x"],
        reasoning=ReasoningWish(effort="low"),
    )
    body, losses, _ = sent(Call(surface="anthropic", model="m", chat=chat, raw={}, stream=True, user="u"))
    assert losses == {}
    assert body.pop("user") != "u"
    assert body == {
        "model": "large-2026",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]},
            {
                "role": "assistant",
                "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
        ],
        "tools": [{"function": {"name": "f", "parameters": {"type": "object"}}, "type": "function"}],
        "temperature": 0.5,
        "stop": ["x"],
        "max_completion_tokens": 9,
        "stream": True,
        "stream_options": {"include_usage": True},
        "reasoning_effort": "low",
    }


def test_pictures_that_a_tool_gave_back_follow_in_a_message_of_the_user() -> None:
    picture = Part("image_url", image_url=ImageUrl("data:image/png;base64,AA"))
    chat = Chat(
        messages=[
            Message("assistant", tool_calls=[ToolCall(FunctionCall("f", "{}"), "a"), ToolCall(FunctionCall("f"), "b")]),
            Message("tool", [Part("text", "This:"), picture], tool_call_id="a"),
            Message("tool", [picture], tool_call_id="b"),
            Message("user", "And?"),
        ]
    )
    body, losses, _ = sent(Call(surface="anthropic", model="m", chat=chat, raw={}))
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    assert list(losses) == ["messages[1].content", "messages[2].content"]
    assert body["messages"][1:] == [
        {"role": "tool", "content": [{"type": "text", "text": "This:"}], "tool_call_id": "a"},
        {"role": "tool", "content": ELSEWHERE, "tool_call_id": "b"},
        {"role": "user", "content": [image, image]},
        {"role": "user", "content": "And?"},
    ]


def test_every_vendor_row_builds_a_request_that_is_json() -> None:
    from importlib.resources import files

    rows = parse((files("routebook.dialects") / "vendors.toml").read_text(encoding="utf-8"))
    request = hello(
        messages=HISTORY,
        stream=True,
        user="u",
        seed=1,
        max_tokens=4,
        top_k=3,
        reasoning={"effort": "medium"},
        tools=[{"type": "function", "function": {"name": "f"}, "cache_control": {"type": "ephemeral"}}],
    )
    for row in rows.values():
        if row.dialect != "openai_chat":
            continue
        losses = Losses()
        out = ChatUpstream(rows).build(request, endpoint(row), "sk", losses)
        body = json.loads(out.body)
        assert body["model"] == "large-2026"
        assert body["stream"] is True
        assert ("stream_options" in body) == row.quirks.stream_usage
        assert len({loss.parameter for loss in losses.items}) == len(losses.items), row.slug


def test_members_of_a_vendors_own_reach_it_under_its_own_names() -> None:
    rows = parse((files("routebook.dialects") / "vendors.toml").read_text(encoding="utf-8"))
    own: dict[str, dict[str, Any]] = {
        "mistral": {"safe_prompt": True, "guardrails": [], "document_page_limit": 4, "prompt_cache_key": "k"},
        "deepseek": {"prefix": True},
        "xai": {"search_parameters": {"mode": "auto"}, "deferred": False},
        "perplexity": {"search_domain_filter": ["a.example"], "return_images": True},
        "z-ai": {"do_sample": False, "tool_stream": True},
        "moonshotai": {"safety_identifier": "s", "prompt_cache_key": "k"},
    }
    for slug, members in own.items():
        body, losses, _ = sent(hello(**members), rows[slug])
        assert {name: body[name] for name in members} == members, slug
        assert losses == {}
    for slug in ("deepseek", "z-ai"):
        body, _, _ = sent(hello(user="ann"), rows[slug])
        assert len(body["user_id"]) == 32
        assert "user" not in body
    assert sent(hello(seed=1), rows["mistral"])[0]["random_seed"] == 1
    assert sent(hello(max_tokens=5), rows["moonshotai"])[0]["max_completion_tokens"] == 5
