"""Requests to Anthropic: which parameters of a chat call are sent, how, and what is recorded as lost."""

from __future__ import annotations

import msgspec
import pytest

from routebook.core.call import CannotExpress, Losses
from routebook.core.errors import BadRequest
from routebook.dialects.anthropic import UPSTREAM
from routebook.dialects.anthropic_models import nearest, traits
from tests.dialects.anthropic_calls import SONNET, Body, call, endpoint, request, sent, text, tool_call, user

# --- the envelope -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "base", ["https://api.example", "https://api.example/", "https://api.example/v1", "https://api.example/v1/"]
)
def test_the_url_is_v1_messages_whatever_the_base_ends_in(base: str) -> None:
    got = request({}, target=endpoint(base=base))
    assert (got.method, got.url) == ("POST", "https://api.example/v1/messages")


def test_the_secret_stands_in_its_header_alone() -> None:
    got = request({})
    headers = dict(got.headers)
    assert headers["x-api-key"] == "sk-ant-secret"
    assert headers["anthropic-version"] == "2023-06-01"
    assert "anthropic-beta" not in headers
    assert b"sk-ant-secret" not in got.body
    assert "sk-ant-secret" not in got.url + repr(got)
    assert "x-api-key" not in dict(UPSTREAM.build(call({}), endpoint(), None, Losses()).headers)


def test_the_plainest_call_has_model_messages_and_a_default_limit_and_loses_nothing() -> None:
    assert sent({}) == (
        {"model": SONNET, "max_tokens": 4096, "messages": [{"role": "user", "content": [text("Hi")]}]},
        [],
    )
    assert sent({"stream": True})[0]["stream"] is True


def test_max_tokens_is_the_callers_else_the_endpoints() -> None:
    assert sent({"max_tokens": 77}, max_completion_tokens=8192)[0]["max_tokens"] == 77
    assert sent({}, max_completion_tokens=8192)[0]["max_tokens"] == 8192


def test_the_same_call_gives_the_same_bytes() -> None:
    body = {"user": "u", "tools": [{"type": "function", "function": {"name": "f"}}], "stop": ["a", "b"]}
    assert request(body).body == request(body).body


def test_the_end_user_is_hashed() -> None:
    got, lost = sent({"user": "alice@example.org"})
    assert lost == []
    assert len(got["metadata"]["user_id"]) == 32
    assert b"alice" not in request({"user": "alice@example.org"}).body


# --- tools ------------------------------------------------------------------------------------------------------------

SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}}}
TOOLS = [{"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}}]


def test_tools_become_input_schemas_with_their_cache_marks() -> None:
    bare = {"type": "function", "function": {"name": "g", "strict": True}, "cache_control": {"type": "ephemeral"}}
    got, lost = sent({"tools": [*TOOLS, bare]})
    empty = {"type": "object", "properties": {}}
    assert got["tools"] == [
        {"name": "f", "description": "d", "input_schema": SCHEMA},
        {"name": "g", "input_schema": empty, "strict": True, "cache_control": {"type": "ephemeral"}},
    ]
    assert "tool_choice" not in got
    assert lost == []
    assert sent({"tools": TOOLS, "stream": True})[0]["tools"][0]["eager_input_streaming"] is True


def test_strict_is_lost_on_models_without_it_and_server_tools_are_not_run_here() -> None:
    strict = {"type": "function", "function": {"name": "g", "strict": True}}
    got, lost = sent({"tools": [strict, {"type": "openrouter:web_search"}]}, "claude-3-5-haiku-latest")
    assert [tool["name"] for tool in got["tools"]] == ["g"]
    assert lost == ["tools[0].function.strict", "tools[1]"]


@pytest.mark.parametrize(
    ("given", "out", "lost"),
    [
        ({"tool_choice": "auto"}, {"type": "auto"}, []),
        ({"tool_choice": "none"}, {"type": "none"}, []),
        ({"tool_choice": "required"}, {"type": "any"}, []),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, {"type": "tool", "name": "f"}, []),
        ({"tool_choice": {"type": "allowed_tools"}}, None, ["tool_choice"]),
        ({"parallel_tool_calls": True}, None, []),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}, []),
        (
            {"parallel_tool_calls": False, "tool_choice": "required"},
            {"type": "any", "disable_parallel_tool_use": True},
            [],
        ),
        ({"parallel_tool_calls": False, "tool_choice": "none"}, {"type": "none"}, []),
    ],
)
def test_tool_choice_is_mapped(given: Body, out: Body | None, lost: list[str]) -> None:
    got, recorded = sent({"tools": TOOLS, **given})
    assert got.get("tool_choice") == out
    assert recorded == lost


def test_a_choice_without_tools_is_not_sent() -> None:
    assert sent({"tool_choice": "auto"})[1] == []
    got, lost = sent({"tool_choice": "required"})
    assert "tool_choice" not in got
    assert lost == ["tool_choice"]


def test_models_that_refuse_forced_tools_get_auto() -> None:
    got, lost = sent({"tools": TOOLS, "tool_choice": "required"}, "claude-opus-5-5")
    assert got["tool_choice"] == {"type": "auto"}
    assert lost == ["tool_choice"]


# --- reasoning --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "max_tokens", "budget"),
    [
        ({"effort": "max"}, 10_000, 9500),
        ({"effort": "xhigh"}, 10_000, 9500),
        ({"effort": "high"}, 10_000, 8000),
        ({"effort": "medium"}, 10_000, 5000),
        ({"enabled": True}, 10_000, 5000),
        ({"effort": "low"}, 10_000, 2000),
        ({"effort": "minimal"}, 10_000, 1024),
        ({"effort": "high"}, 400_000, 128_000),
        ({"max_tokens": 3000}, 10_000, 3000),
        ({"max_tokens": 10}, 10_000, 1024),
        ({"effort": "low"}, 1100, 1024),
    ],
)
def test_efforts_are_budgets_before_claude_4_6(wish: Body, max_tokens: int, budget: int) -> None:
    got, lost = sent({"reasoning": wish, "max_tokens": max_tokens})
    assert got["thinking"] == {"type": "enabled", "budget_tokens": budget}
    assert got["max_tokens"] == max_tokens
    assert "output_config" not in got
    assert lost == (["reasoning.effort"] if "effort" in wish else [])


def test_max_tokens_always_exceeds_the_budget() -> None:
    got, lost = sent({"reasoning": {"max_tokens": 6000}})
    assert (got["max_tokens"], got["thinking"]["budget_tokens"], lost) == (10_096, 6000, [])
    got, lost = sent({"reasoning": {"max_tokens": 6000}}, max_completion_tokens=5000)
    assert (got["max_tokens"], got["thinking"]["budget_tokens"], lost) == (5000, 4999, ["reasoning.max_tokens"])
    got, lost = sent({"reasoning": {"effort": "high"}, "max_tokens": 1024})
    assert "thinking" not in got
    assert lost == ["reasoning"]
    with pytest.raises(BadRequest, match=r"reasoning\.max_tokens must be less than max_tokens"):
        request({"reasoning": {"max_tokens": 6000}, "max_tokens": 6000})


def test_from_claude_4_6_on_thinking_is_adaptive_with_an_effort() -> None:
    got, lost = sent({"reasoning": {"effort": "xhigh"}}, "claude-sonnet-4-6")
    assert (got["thinking"], got["output_config"]) == ({"type": "adaptive"}, {"effort": "high"})
    assert lost == ["reasoning.effort"]
    got, lost = sent({"reasoning": {"effort": "minimal", "exclude": True}}, "claude-opus-4-8")
    assert (got["thinking"], got["output_config"]) == ({"type": "adaptive", "display": "omitted"}, {"effort": "low"})
    got, lost = sent({"reasoning": {"enabled": True}}, "claude-opus-4-8")
    assert got["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert "output_config" not in got
    assert lost == []


def test_a_budget_is_kept_where_the_model_takes_it_and_recorded_where_not() -> None:
    got, lost = sent({"reasoning": {"max_tokens": 2000}}, "claude-opus-4-6")
    assert (got["thinking"], lost) == ({"type": "enabled", "budget_tokens": 2000}, [])
    got, lost = sent({"reasoning": {"max_tokens": 2000}}, "claude-opus-4-7")
    assert (got["thinking"]["type"], lost) == ("adaptive", ["reasoning.max_tokens"])


def test_reasoning_is_turned_off_in_the_models_own_way() -> None:
    for wish in ({"effort": "none"}, {"enabled": False}):
        assert sent({"reasoning": wish})[0]["thinking"] == {"type": "disabled"}
        assert sent({"reasoning": wish}, "claude-sonnet-5-5")[0]["thinking"] == {"type": "between_tools"}
        assert "thinking" not in sent({"reasoning": wish}, "claude-3-5-haiku-latest")[0]
        with pytest.raises(BadRequest, match="always reasons"):
            request({"reasoning": wish}, target=endpoint("claude-fable-5"))
    assert "thinking" not in sent({"reasoning": {"exclude": True}})[0]


def test_a_model_that_cannot_reason_records_the_wish() -> None:
    got, lost = sent({"reasoning": {"effort": "high"}}, "claude-3-5-haiku-latest")
    assert "thinking" not in got
    assert lost == ["reasoning"]


def test_what_cannot_stand_beside_a_budget_wins_over_it() -> None:
    wish = {"reasoning": {"effort": "high"}}
    called = [
        user(),
        {"role": "assistant", "tool_calls": [tool_call()]},
        {"role": "tool", "tool_call_id": "t1", "content": "1"},
    ]
    for more in (
        {"tools": TOOLS, "tool_choice": "required"},
        {"messages": [user(), {"role": "assistant", "content": "The"}]},
        {"messages": called, "tools": TOOLS},
    ):
        got, lost = sent({**wish, **more})
        assert "thinking" not in got
        assert lost == ["reasoning"]
    got, lost = sent({**wish, "tools": TOOLS, "tool_choice": "required"}, "claude-opus-4-6")
    assert (got["thinking"]["type"], got["tool_choice"]["type"], lost) == ("adaptive", "any", [])


def test_verbosity_wins_over_effort_and_is_lost_without_levels() -> None:
    got, lost = sent({"reasoning": {"effort": "low"}, "verbosity": "max"}, "claude-opus-4-6")
    assert (got["output_config"], lost) == ({"effort": "max"}, [])
    assert sent({"verbosity": "xhigh"}, "claude-opus-4-5")[0]["output_config"] == {"effort": "high"}
    got, lost = sent({"verbosity": "low"})
    assert "output_config" not in got
    assert lost == ["verbosity"]


# --- the other parameters ---------------------------------------------------------------------------------------------


def test_sampling_is_passed_on_and_temperature_stops_at_one() -> None:
    got, lost = sent({"temperature": 0.5, "top_k": 5, "stop": ["a", " \n", ""]})
    assert (got["temperature"], got["top_k"], got["stop_sequences"]) == (0.5, 5, ["a"])
    assert lost == ["stop"]
    got, lost = sent({"temperature": 1.7})
    assert (got["temperature"], lost) == (1, ["temperature"])
    assert "stop_sequences" not in sent({"stop": [" "]})[0]


def test_temperature_and_top_p_come_together_only_on_old_models() -> None:
    both = {"temperature": 0.5, "top_p": 0.9}
    got, lost = sent(both)
    assert (got["temperature"], "top_p" in got, lost) == (0.5, False, ["top_p"])
    got, lost = sent(both, "claude-3-7-sonnet-20250219")
    assert (got["temperature"], got["top_p"], lost) == (0.5, 0.9, [])


def test_sampling_beside_thinking_is_recorded_and_not_sent() -> None:
    given = {"reasoning": {"effort": "high"}, "temperature": 0.5, "top_p": 0.5, "top_k": 3}
    got, lost = sent(given)
    assert not {"temperature", "top_p", "top_k"} & got.keys()
    assert lost == ["reasoning.effort", "temperature", "top_p", "top_k"]
    got, lost = sent({"reasoning": {"enabled": True}, "top_p": 0.97})
    assert (got["top_p"], lost) == (0.97, [])


def test_models_without_sampling_get_none() -> None:
    got, lost = sent({"temperature": 0.2, "top_p": 0.9, "top_k": 3}, "claude-opus-4-7")
    assert not {"temperature", "top_p", "top_k"} & got.keys()
    assert lost == ["temperature", "top_p", "top_k"]
    assert sent({"temperature": 1}, "claude-opus-4-7")[1] == []


def test_a_schema_becomes_the_output_format_with_closed_objects() -> None:
    inner = {"type": "object", "properties": {"b": {"type": "array", "items": {"type": "object", "properties": {}}}}}
    schema = {"type": "object", "properties": {"properties": inner}, "required": ["properties"]}
    form = {"type": "json_schema", "json_schema": {"name": "n", "description": "What it is.", "schema": schema}}
    got, lost = sent({"response_format": form})
    made = got["output_config"]["format"]
    assert made["type"] == "json_schema"
    assert made["schema"]["description"] == "What it is."
    assert made["schema"]["additionalProperties"] is False
    assert made["schema"]["properties"]["properties"]["additionalProperties"] is False
    assert made["schema"]["properties"]["properties"]["properties"]["b"]["items"]["additionalProperties"] is False
    assert "additionalProperties" not in made["schema"]["properties"]
    assert lost == []


def test_formats_that_the_model_cannot_hold_are_recorded() -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
    assert sent({"response_format": {"type": "json_object"}}) == (sent({})[0], ["response_format"])
    assert sent({"response_format": schema}, "claude-sonnet-4-0")[1] == ["response_format"]
    assert sent({"response_format": schema}, "kimi-k3")[1] == ["response_format"]
    known = frozenset(["structured_outputs"])
    assert "format" in sent({"response_format": schema}, "kimi-k3", supported_parameters=known)[0]["output_config"]
    assert sent({"response_format": {"type": "text"}})[1] == []
    with pytest.raises(BadRequest, match=r"json_schema\.schema is missing"):
        request({"response_format": {"type": "json_schema"}})


@pytest.mark.parametrize(
    ("wanted", "out", "lost"),
    [
        ("auto", "auto", []),
        ("default", "standard_only", []),
        ("priority", "auto", []),
        ("fast", "auto", []),
        ("flex", None, ["service_tier"]),
        ("scale", None, ["service_tier"]),
    ],
)
def test_service_tiers_are_mapped(wanted: str, out: str | None, lost: list[str]) -> None:
    got, recorded = sent({"service_tier": wanted})
    assert (got.get("service_tier"), recorded) == (out, lost)


def test_everything_anthropic_has_no_word_for_is_recorded() -> None:
    given: Body = {
        "seed": 0, "n": 2, "min_p": 0.1, "top_a": 0.1, "frequency_penalty": 1, "presence_penalty": -1,
        "repetition_penalty": 1.1, "logit_bias": {"5": 1}, "logprobs": True, "top_logprobs": 2,
        "modalities": ["text", "image"], "audio": {"voice": "x"}, "image_config": {"a": 1},
        "prediction": {"type": "content"}, "prompt_cache_key": "k", "metadata": {"a": "b"}, "safe_prompt": True,
    }  # fmt: skip
    got, lost = sent(given)
    assert got == sent({})[0]
    assert sorted(lost) == sorted(given)
    neutral: Body = {
        "n": 1, "min_p": 0, "frequency_penalty": 0, "presence_penalty": 0, "repetition_penalty": 1, "logprobs": False,
        "modalities": ["text"], "provider": {"sort": "price"}, "models": ["a/b"], "usage": {"include": True},
        "odd": None,
    }  # fmt: skip
    assert sent(neutral) == (sent({})[0], [])


def test_what_the_gateway_noted_already_is_not_noted_twice() -> None:
    noted = msgspec.structs.replace(call({"safe_prompt": True}), ignored=(("safe_prompt", "why"),))
    losses = Losses()
    UPSTREAM.build(noted, endpoint(), None, losses)
    assert losses.items == []


def test_parameters_that_the_endpoint_does_not_take_are_recorded_and_not_sent() -> None:
    given: Body = {
        "temperature": 0.1, "top_p": 0.9, "top_k": 1, "stop": ["a"], "tools": TOOLS, "tool_choice": "auto",
        "verbosity": "low",
        "reasoning": {"effort": "high"}, "max_tokens": 5000,
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
    }  # fmt: skip
    got, lost = sent(given, "claude-opus-4-5", supported_parameters=frozenset())
    assert got == {**sent({})[0], "model": "claude-opus-4-5", "max_tokens": 5000}
    assert sorted(lost) == [
        "reasoning",
        "response_format",
        "stop",
        "temperature",
        "tools",
        "top_k",
        "top_p",
        "verbosity",
    ]
    takes = frozenset(["temperature", "tools", "reasoning", "structured_outputs", "verbosity", "stop"])
    got, lost = sent({**given, "temperature": 1}, "claude-opus-4-5", supported_parameters=takes)
    assert {"tools", "tool_choice", "thinking", "stop_sequences", "output_config"} <= got.keys()
    assert sorted(lost) == ["reasoning.effort", "top_k", "top_p"]


def test_under_required_parameters_the_first_loss_refuses_the_endpoint() -> None:
    with pytest.raises(CannotExpress) as caught:
        request({"seed": 7}, Losses(strict=True))
    assert caught.value.parameter == "seed"


# --- models -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "thinks", "adaptive", "schema"),
    [
        ("claude-3-opus-latest", False, False, False),
        ("claude-3-7-sonnet-20250219", True, False, False),
        ("claude-sonnet-4-20250514", True, False, False),
        ("claude-opus-4-1-20250805", True, False, True),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", True, False, True),
        ("claude-sonnet-4.6", True, True, True),
        ("claude-4.6-sonnet-20260217", True, True, True),
        ("claude-mythos-preview", True, True, True),
        ("claude-opus-6", True, True, True),
        ("glm-5", True, False, None),
    ],
)
def test_a_models_traits_come_from_its_name(model: str, thinks: bool, adaptive: bool, schema: bool | None) -> None:
    got = traits(model)
    assert (got.thinks, got.adaptive, got.schema) == (thinks, adaptive, schema)


def test_an_effort_is_mapped_to_the_nearest_level_and_the_lower_of_two() -> None:
    assert nearest("xhigh", ("low", "medium", "high", "max")) == "high"
    assert nearest("minimal", ("low", "high")) == "low"
    assert nearest("max", ()) is None
