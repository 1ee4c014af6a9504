"""Requests to Bedrock: what the caller sent arrives, is mapped, or is recorded as a loss; and it is signed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routebook.core.call import CannotExpress, Losses
from routebook.core.errors import BadRequest
from routebook.dialects import registry
from routebook.wire.sigv4 import AwsCredential, Signer
from tests.dialects.calling import Caller, image, text, tool, tool_call, user

BASE = "https://bedrock-runtime.eu-west-1.amazonaws.com"
NOVA = "eu.amazon.nova-lite-v1:0"
CLAUDE = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
CONVERSE = Caller(registry.upstreams({})["bedrock"], NOVA, BASE, "ABSK-secret")
INVOKE = Caller(registry.upstreams({})["bedrock_anthropic"], CLAUDE, BASE, "ABSK-secret")
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}

body, lost, sent = CONVERSE.body, CONVERSE.lost, CONVERSE.sent


def claude(given: dict[str, Any]) -> Any:
    return body(given, model=CLAUDE)


# --- where it goes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "stream", "path"),
    [
        (CONVERSE, False, "/model/eu.amazon.nova-lite-v1%3A0/converse"),
        (CONVERSE, True, "/model/eu.amazon.nova-lite-v1%3A0/converse-stream"),
        (INVOKE, False, "/model/eu.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke"),
        (INVOKE, True, "/model/eu.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke-with-response-stream"),
    ],
)
def test_the_path_names_model_and_action(caller: Caller, stream: bool, path: str) -> None:
    request = caller.request({"stream": stream})
    assert request.url == BASE + path
    assert dict(request.headers)["accept"] == ("application/vnd.amazon.eventstream" if stream else "application/json")


def test_a_profiles_arn_is_one_segment_of_the_path() -> None:
    arn = "arn:aws:bedrock:eu-west-1:1:inference-profile/eu.x"
    path = "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A1%3Ainference-profile%2Feu.x/converse"
    assert CONVERSE.request(model=arn).url == BASE + path


def test_an_api_key_goes_as_bearer_and_nowhere_else() -> None:
    request = CONVERSE.request()
    assert dict(request.headers)["authorization"] == "Bearer ABSK-secret"
    assert request.seal is None
    assert "secret" not in request.url + request.body.decode() + repr(request)
    assert "authorization" not in dict(CONVERSE.request(secret=None).headers)


@pytest.mark.parametrize(
    ("base", "region", "signed_for"),
    [
        (BASE, None, "eu-west-1"),
        (BASE, "us-west-2", "eu-west-1"),
        ("http://127.0.0.1:9001", "us-west-2", "us-west-2"),
        ("http://127.0.0.1:9001", "eu", "us-east-1"),
        ("http://127.0.0.1:9001", None, "us-east-1"),
    ],
)
def test_a_pair_of_keys_signs_for_the_hosts_region(base: str, region: str | None, signed_for: str) -> None:
    request = CONVERSE.request(base=base, secret="AKID:SECRET:TOKEN", region=region)
    assert request.seal == Signer(AwsCredential("AKID", "SECRET", "TOKEN"), signed_for, "bedrock")
    assert "authorization" not in dict(request.headers)
    sealed = dict(request.sealed(1_790_000_000).headers)
    assert f"/20260921/{signed_for}/bedrock/aws4_request" in sealed["authorization"]
    assert "SECRET" not in repr(request) + str(sealed)


# --- messages ---------------------------------------------------------------------------------------------------------


def test_roles_become_system_and_turns_that_alternate() -> None:
    got = body(
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "developer", "content": [text("Be kind.")]},
                {"role": "user", "content": "Hi", "name": "Ann"},
                {"role": "user", "content": "There"},
                {"role": "assistant", "content": "Yes?"},
            ]
        }
    )
    assert got == {
        "system": [{"text": "Be brief."}, {"text": "Be kind."}],
        "messages": [
            {"role": "user", "content": [{"text": "Ann: Hi"}, {"text": "There"}]},
            {"role": "assistant", "content": [{"text": "Yes?"}]},
        ],
    }


def test_a_late_system_message_is_moved_and_a_lone_one_is_a_user_turn() -> None:
    got, missing = sent({"messages": [{"role": "user", "content": "Hi"}, {"role": "system", "content": "Brief."}]})
    assert got["system"] == [{"text": "Brief."}]
    assert missing == ["messages[1]"]
    got, missing = sent({"messages": [{"role": "system", "content": "Say hi."}]})
    assert got == {"messages": [{"role": "user", "content": [{"text": "Say hi."}]}]}
    assert missing == ["messages"]


def test_media_are_bytes_with_a_format() -> None:
    got = body(
        {
            "messages": user(
                text("Look"),
                image("data:image/jpg;base64,AAAA"),
                {"type": "video_url", "video_url": {"url": "data:video/quicktime;base64,BBBB"}},
                {"type": "input_audio", "input_audio": {"data": "CCCC", "format": "wav"}},
                {"type": "file", "file": {"file_data": "data:application/pdf;base64,DDDD", "filename": "a_b (1).pdf"}},
                {"type": "file", "file": {"file_data": "data:text/plain,hi", "filename": "a_b (1).txt"}},
                {"type": "file", "file": {"file_id": "s3://bucket/x.csv"}},
                image("s3://bucket/pic.JPG"),
            )
        }
    )
    assert got["messages"][0]["content"] == [
        {"text": "Look"},
        {"image": {"format": "jpeg", "source": {"bytes": "AAAA"}}},
        {"video": {"format": "mov", "source": {"bytes": "BBBB"}}},
        {"audio": {"format": "wav", "source": {"bytes": "CCCC"}}},
        {"document": {"format": "pdf", "name": "a b (1)", "source": {"bytes": "DDDD"}}},
        {"document": {"format": "txt", "name": "a b (1) 2", "source": {"bytes": "aGk="}}},
        {"document": {"format": "csv", "name": "x", "source": {"s3Location": {"uri": "s3://bucket/x.csv"}}}},
        {"image": {"format": "jpeg", "source": {"s3Location": {"uri": "s3://bucket/pic.JPG"}}}},
    ]


def test_what_bedrock_does_not_fetch_or_read_is_told() -> None:
    parts = user(
        text("Look"),
        image("https://a.example/x.png"),
        image("data:image/png;base64,AAAA", detail="high"),
        {"type": "file", "file": {"file_data": "https://a.example/x.pdf"}},
        {"type": "file", "file": {"file_data": "data:application/zip;base64,AAAA"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "riddle"},
    )
    assert lost({"messages": parts}) == [
        "messages[0].content[1].image_url.url",
        "messages[0].content[2].image_url.detail",
        "messages[0].content[3].file",
        "messages[0].content[4].file",
        "messages[0].content[5].file.file_id",
        "messages[0].content[6]",
    ]


def test_calls_and_results_keep_their_ids_and_results_keep_pictures() -> None:
    got = body(
        {
            "messages": [
                {"role": "user", "content": "Go"},
                {"role": "assistant", "tool_calls": [tool_call("a:1", "f", '{"x":1.50}'), tool_call("b")]},
                {"role": "tool", "tool_call_id": "a:1", "content": [text("ok"), image("data:image/png;base64,AA")]},
                {"role": "tool", "tool_call_id": "b", "content": "fine"},
            ],
            "tools": [tool()],
        }
    )
    first, second = got["messages"][1]["content"]
    assert first["toolUse"]["input"] == {"x": 1.5}
    results = got["messages"][2]["content"]
    assert results[0]["toolResult"]["toolUseId"] == first["toolUse"]["toolUseId"] != "a:1"
    assert results[0]["toolResult"]["content"][1] == {"image": {"format": "png", "source": {"bytes": "AA"}}}
    assert results[1]["toolResult"] == {"toolUseId": "b", "content": [{"text": "fine"}]}
    assert second["toolUse"] == {"toolUseId": "b", "name": "f", "input": {}}


def test_arguments_that_are_no_object_are_sent_as_text_in_one() -> None:
    got, missing = sent(
        {
            "messages": [
                {"role": "user", "content": "Go"},
                {"role": "assistant", "tool_calls": [tool_call(arguments="[1")]},
            ]
        }
    )
    assert got["messages"][1]["content"][0]["toolUse"]["input"] == {"arguments": "[1"}
    assert missing == ["messages[1].tool_calls[0].function.arguments"]


def test_signed_reasoning_is_handed_back_and_other_reasoning_is_not() -> None:
    mine = [
        {"type": "reasoning.text", "text": "Let ", "index": 0},
        {"type": "reasoning.text", "text": "me", "index": 0},
        {"type": "reasoning.text", "signature": "sig", "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.encrypted", "data": "opaque", "format": "anthropic-claude-v1", "index": 1},
    ]
    history = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A", "reasoning_details": mine}]
    got = claude({"messages": history})
    assert got["messages"][1]["content"] == [
        {"reasoningContent": {"reasoningText": {"text": "Let me", "signature": "sig"}}},
        {"reasoningContent": {"redactedContent": "b3BhcXVl"}},
        {"text": "A"},
    ]
    other = {"role": "assistant", "content": "A", "reasoning": "hm"}
    assert lost({"messages": [{"role": "user", "content": "Q"}, other]}) == ["messages[1].reasoning"]


def test_cache_marks_are_cache_points_where_the_model_has_them() -> None:
    mark = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    given = {
        "messages": [{"role": "system", "content": [text("Long", **mark)]}, *user(text("Hi", **mark), text("there"))],
        "tools": [{**tool(), **mark}],
        "cache_control": {"type": "ephemeral"},
    }
    got = body(given)
    point = {"cachePoint": {"type": "default", "ttl": "1h"}}
    assert got["system"] == [{"text": "Long"}, point]
    assert got["messages"][0]["content"] == [
        {"text": "Hi"},
        point,
        {"text": "there"},
        {"cachePoint": {"type": "default"}},
    ]
    assert got["toolConfig"]["tools"][1] == point
    assert set(lost(given, model="meta.llama3-1-8b-instruct-v1:0")) == {
        "messages[0].content[0].cache_control",
        "messages[1].content[0].cache_control",
        "cache_control",
        "tools[0].cache_control",
    }


# --- parameters -------------------------------------------------------------------------------------------------------


def test_parameters_have_converses_names() -> None:
    given = {"max_tokens": 100, "temperature": 0.5, "top_p": 0.9, "top_k": 20, "stop": ["END"], "service_tier": "flex"}
    got = body(given)
    assert got["inferenceConfig"] == {"maxTokens": 100, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"]}
    assert got["additionalModelRequestFields"] == {"inferenceConfig": {"topK": 20}}
    assert got["serviceTier"] == {"type": "flex"}


@pytest.mark.parametrize(
    ("model", "reasoning", "fields"),
    [
        (
            "amazon.nova-2-lite-v1:0",
            {"effort": "high"},
            {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}},
        ),
        ("amazon.nova-2-lite-v1:0", {"effort": "none"}, {"reasoningConfig": {"type": "disabled"}}),
        ("openai.gpt-oss-20b-1:0", {"effort": "minimal"}, {"reasoning_effort": "low"}),
        ("qwen.qwen3-32b-v1:0", {"effort": "medium"}, {"reasoning_config": "medium"}),
        (CLAUDE, {"max_tokens": 2000}, {"thinking": {"type": "enabled", "budget_tokens": 2000}}),
        (
            "anthropic.claude-opus-4-7-v1:0",
            {"effort": "max"},
            {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "max"}},
        ),
    ],
)
def test_reasoning_is_said_in_the_models_own_words(model: str, reasoning: Any, fields: Any) -> None:
    assert body({"reasoning": reasoning}, model=model)["additionalModelRequestFields"] == fields


def test_claudes_rules_between_parameters_hold_on_converse_too() -> None:
    got, missing = sent({"reasoning": {"max_tokens": 2000}, "temperature": 0.2, "top_k": 5, "seed": 1}, model=CLAUDE)
    assert got["inferenceConfig"]["maxTokens"] > 2000
    assert "temperature" not in got["inferenceConfig"]
    assert missing == ["temperature", "top_k", "seed"]
    plain = claude({"temperature": 0.2, "top_k": 5, "stop": "END"})
    assert plain["inferenceConfig"] == {"maxTokens": 4096, "temperature": 0.2, "stopSequences": ["END"]}
    assert plain["additionalModelRequestFields"] == {"top_k": 5}


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("auto", {"auto": {}}),
        ("required", {"any": {}}),
        ({"type": "function", "function": {"name": "f"}}, {"tool": {"name": "f"}}),
    ],
)
def test_tools_and_their_choice(choice: Any, said: Any) -> None:
    got = body({"tools": [tool(description="d", strict=True)], "tool_choice": choice})["toolConfig"]
    spec = {
        "name": "f",
        "description": "d",
        "inputSchema": {"json": {"type": "object", "properties": {}}},
        "strict": True,
    }
    assert got == {"tools": [{"toolSpec": spec}], "toolChoice": said}


def test_no_tools_may_be_called_by_not_naming_them() -> None:
    assert "toolConfig" not in body({"tools": [tool()], "tool_choice": "none"})
    history = [
        {"role": "user", "content": "Go"},
        {"role": "assistant", "tool_calls": [tool_call()]},
        {"role": "tool", "tool_call_id": "t1", "content": "ok"},
    ]
    got, missing = sent({"messages": history, "tools": [tool()], "tool_choice": "none"})
    assert got["toolConfig"]["tools"]
    assert missing == ["tool_choice"]
    assert lost({"tools": [{"type": "openrouter:datetime"}], "tool_choice": "required"}) == ["tools[0]", "tool_choice"]
    assert lost({"tools": [tool()], "parallel_tool_calls": False}) == ["parallel_tool_calls"]


def test_the_schema_of_the_answer_is_sent_as_text() -> None:
    wish = {"type": "json_schema", "json_schema": {"name": "n", "description": "d", "schema": SCHEMA}}
    form = body({"response_format": wish})["outputConfig"]["textFormat"]
    assert form["type"] == "json_schema"
    told = form["structure"]["jsonSchema"]
    assert (told["name"], told["description"], json.loads(told["schema"])) == ("n", "d", SCHEMA)
    assert lost({"response_format": {"type": "json_object"}}) == ["response_format"]
    with pytest.raises(BadRequest, match="schema is missing"):
        body({"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}})


def test_converses_own_members_pass_and_strangers_are_told() -> None:
    got, missing = sent(
        {
            "guardrail_config": {"guardrailIdentifier": "g"},
            "performanceConfig": {"latency": "optimized"},
            "additionalModelRequestFields": {"x": 1.5},
            "riddle": 1,
            "user": "ann",
            "metadata": {"a": "b"},
        }
    )
    assert got["guardrailConfig"] == {"guardrailIdentifier": "g"}
    assert got["performanceConfig"] == {"latency": "optimized"}
    assert got["additionalModelRequestFields"] == {"x": 1.5}
    assert got["requestMetadata"]["a"] == "b"
    assert "ann" not in got["requestMetadata"]["user"]
    assert missing == ["riddle"]


def test_what_converse_cannot_say_is_told_once_each() -> None:
    given = {
        "seed": 1,
        "n": 2,
        "logit_bias": {"1": 1},
        "logprobs": True,
        "frequency_penalty": 1,
        "presence_penalty": 0,
        "min_p": 0.1,
        "prediction": {"type": "content"},
        "verbosity": "low",
        "n_of_nothing": None,
    }
    assert sorted(lost(given)) == sorted(
        ["seed", "n", "logit_bias", "logprobs", "frequency_penalty", "min_p", "prediction", "verbosity"]
    )
    with pytest.raises(CannotExpress):
        CONVERSE.request({"seed": 1}, Losses(strict=True))


def test_an_endpoint_that_lists_its_parameters_gets_no_others() -> None:
    got, missing = sent({"temperature": 1, "top_p": 0.5}, supported_parameters=frozenset({"top_p"}))
    assert got["inferenceConfig"] == {"topP": 0.5}
    assert missing == ["temperature"]


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "user", "content": "  "}],
        [{"role": "oracle", "content": "x"}],
        [{"role": "tool", "content": "x"}],
        [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}],
        user({"type": "file", "file": {"filename": "x"}}),
        user(image("data:image/png")),
    ],
)
def test_messages_that_cannot_be_sent_are_the_callers_to_correct(messages: Any) -> None:
    with pytest.raises(BadRequest):
        CONVERSE.request({"messages": messages})


# --- Claude's own body ------------------------------------------------------------------------------------------------


def test_claudes_own_body_has_its_version_inside_and_no_model() -> None:
    got = INVOKE.body({"stream": True, "temperature": 0.5})
    assert got == {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        "temperature": 0.5,
    }


def test_betas_go_into_the_body_and_the_tier_into_a_header() -> None:
    request = INVOKE.request(
        {"messages": user({"type": "file", "file": {"file_id": "file_1"}}), "service_tier": "fast"}
    )
    assert json.loads(request.body)["anthropic_beta"] == ["files-api-2025-04-14"]
    assert "service_tier" not in json.loads(request.body)
    assert dict(request.headers)["x-amzn-bedrock-service-tier"] == "priority"
    assert not any(name.startswith(("anthropic", "x-api-key")) for name, _ in request.headers)


def test_automatic_caching_is_not_there_on_invoke() -> None:
    assert INVOKE.lost({"cache_control": {"type": "ephemeral"}}) == ["cache_control"]


def test_a_pair_of_keys_signs_invoke_too() -> None:
    assert INVOKE.request(secret="AKID:SECRET").seal == Signer(AwsCredential("AKID", "SECRET"), "eu-west-1", "bedrock")
