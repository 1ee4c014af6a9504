"""The gemini dialect writes requests: what the caller sent arrives, is mapped, or is recorded as a loss."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from routebook.core.call import Call, CannotExpress, Chat, Losses, ReasoningWish
from routebook.core.catalog import Endpoint, Provider
from routebook.core.errors import BadRequest
from routebook.dialects.gemini import UPSTREAM
from routebook.wire.http import HttpRequest

PROVIDER = Provider(
    slug="google-ai-studio", name="Google AI Studio", dialect="gemini", base_url="https://gemini.example/v1beta"
)
KEY = "AIza-test-key"


def endpoint(model: str = "gemini-2.5-flash", supported: set[str] | None = None) -> Endpoint:
    return Endpoint(
        id="e",
        model="google/m",
        provider=PROVIDER,
        upstream_model=model,
        tag="google-ai-studio",
        supported_parameters=None if supported is None else frozenset(supported),
    )


def call(*, stream: bool = False, raw: Mapping[str, Any] | None = None, **chat: Any) -> Call:
    chat.setdefault("messages", [{"role": "user", "content": "Hi"}])
    if isinstance(chat.get("reasoning"), dict):
        chat["reasoning"] = ReasoningWish(**chat["reasoning"])
    members = {name: msgspec.Raw(json.dumps(value).encode()) for name, value in (raw or {}).items()}
    return Call(surface="openai_chat", model="google/m", stream=stream, chat=msgspec.convert(chat, Chat), raw=members)


def sent(*, model: str = "gemini-2.5-flash", stream: bool = False, **chat: Any) -> tuple[HttpRequest, Any, Losses]:
    supported = chat.pop("supported", None)
    losses = Losses()
    request = UPSTREAM.build(call(stream=stream, **chat), endpoint(model, supported), KEY, losses)
    return request, json.loads(request.body), losses


def body(**chat: Any) -> Any:
    """The request's body, of a call that loses nothing; an effort may be said in other words."""
    _, value, losses = sent(**chat)
    assert [loss for loss in losses.items if not loss.mapped] == []
    return value


def lost(**chat: Any) -> list[str]:
    return [loss.parameter for loss in sent(**chat)[2].items]


def user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


# --- the request itself -----------------------------------------------------------------------------------------------


def test_the_method_follows_the_caller_and_the_key_is_only_in_its_header() -> None:
    plain, _, _ = sent()
    streamed, _, _ = sent(stream=True)
    assert plain.url == "https://gemini.example/v1beta/models/gemini-2.5-flash:generateContent"
    assert streamed.url == "https://gemini.example/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    assert dict(plain.headers)["x-goog-api-key"] == KEY
    assert KEY not in plain.url + plain.body.decode() + repr(plain)


def test_a_full_resource_name_is_kept() -> None:
    request, _, _ = sent(model="tunedModels/my-model 1")
    assert request.url == "https://gemini.example/v1beta/tunedModels/my-model%201:generateContent"


def test_the_same_call_gives_the_same_bytes() -> None:
    chat: dict[str, Any] = {"temperature": 0.3, "tools": [FUNCTION], "stop": ["x"], "reasoning": {"effort": "low"}}
    assert sent(**dict(chat))[0].body == sent(**dict(chat))[0].body


def test_parameters_have_their_gemini_names() -> None:
    config = body(
        temperature=0.2,
        top_p=0.9,
        top_k=40,
        max_tokens=100,
        stop=["a", "b"],
        seed=7,
        presence_penalty=0.5,
        frequency_penalty=-0.5,
        logprobs=True,
        top_logprobs=3,
        n=2,
    )["generationConfig"]
    assert config == {
        "temperature": 0.2,
        "topP": 0.9,
        "topK": 40,
        "maxOutputTokens": 100,
        "presencePenalty": 0.5,
        "frequencyPenalty": -0.5,
        "seed": 7,
        "stopSequences": ["a", "b"],
        "candidateCount": 2,
        "responseLogprobs": True,
        "logprobs": 3,
    }


def test_nothing_is_substituted_for_what_the_caller_left_out() -> None:
    assert body() == {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_p", 0.1),
        ("top_a", 0.1),
        ("repetition_penalty", 1.1),
        ("logit_bias", {"5": 1.0}),
        ("prediction", {"type": "content", "content": "x"}),
        ("verbosity", "low"),
        ("user", "someone"),
        ("metadata", {"a": "b"}),
        ("prompt_cache_key", "k"),
        ("cache_control", {"type": "ephemeral"}),
        ("service_tier", "scale"),
        ("seed", 2**40),
        ("top_logprobs", 2),
        ("response_format", {"type": "grammar", "grammar": "g"}),
        ("parallel_tool_calls", False),
        ("tool_choice", "required"),
    ],
)
def test_what_gemini_cannot_do_is_recorded_and_refused_if_required(name: str, value: Any) -> None:
    assert lost(**{name: value}) == [name]
    with pytest.raises(CannotExpress):
        UPSTREAM.build(call(**{name: value}), endpoint(), KEY, Losses(strict=True))


def test_values_that_change_nothing_are_neither_sent_nor_lost() -> None:
    assert body(presence_penalty=0, repetition_penalty=1, min_p=0, logit_bias={}, parallel_tool_calls=True) == body()


def test_a_sixth_stop_sequence_is_a_loss() -> None:
    request = sent(stop=list("abcdef"))
    assert request[1]["generationConfig"]["stopSequences"] == list("abcde")
    assert [loss.parameter for loss in request[2].items] == ["stop"]


def test_a_parameter_that_the_endpoint_does_not_list_is_recorded_and_not_sent() -> None:
    _, value, losses = sent(supported={"max_completion_tokens"}, temperature=1.0, max_tokens=5, tools=[FUNCTION])
    assert value["generationConfig"] == {"maxOutputTokens": 5}
    assert "tools" not in value
    assert [loss.parameter for loss in losses.items] == ["temperature", "tools"]


def test_geminis_own_members_pass_and_strange_ones_are_recorded() -> None:
    raw = {
        "model": "m",
        "messages": [],
        "safety_settings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
        "raw_mode": True,
        "absent": None,
    }
    _, value, losses = sent(raw=raw)
    assert value["safetySettings"] == raw["safety_settings"]
    assert [loss.parameter for loss in losses.items] == ["raw_mode"]


@pytest.mark.parametrize(
    ("tier", "expected"), [("default", "standard"), ("flex", "flex"), ("priority", "priority"), ("fast", "priority")]
)
def test_service_tiers_have_geminis_names(tier: str, expected: str) -> None:
    assert body(service_tier=tier)["serviceTier"] == expected


def test_response_formats_become_mime_type_and_json_schema() -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "additionalProperties": False}
    named = {"name": "n", "schema": schema, "strict": True}
    config = body(response_format={"type": "json_schema", "json_schema": named})["generationConfig"]
    assert config == {"responseMimeType": "application/json", "responseJsonSchema": schema}
    assert body(response_format={"type": "json_object"})["generationConfig"] == {"responseMimeType": "application/json"}
    assert body(response_format={"type": "text"}) == body()


def test_modalities_voice_and_picture_options_are_mapped() -> None:
    picture = body(modalities=["image", "text"], image_config={"aspect_ratio": "16:9", "image_size": "2K"})
    assert picture["generationConfig"] == {
        "responseModalities": ["IMAGE", "TEXT"],
        "imageConfig": {"aspectRatio": "16:9", "imageSize": "2K"},
    }
    _, speech, losses = sent(modalities=["text", "audio"], audio={"voice": "Kore", "format": "mp3"})
    assert speech["generationConfig"] == {
        "responseModalities": ["AUDIO"],
        "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}},
    }
    assert [loss.parameter for loss in losses.items] == ["modalities", "audio.format"]


# --- reasoning --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "wish", "expected"),
    [
        ("gemini-2.5-flash", {"effort": "high"}, {"thinkingBudget": 19660, "includeThoughts": True}),
        ("gemini-2.5-flash", {"effort": "none"}, {"thinkingBudget": 0}),
        ("gemini-2.5-flash", {"enabled": False}, {"thinkingBudget": 0}),
        ("gemini-2.5-flash", {"max_tokens": 99_999}, {"thinkingBudget": 24_576, "includeThoughts": True}),
        ("gemini-2.5-flash-lite", {"max_tokens": 5}, {"thinkingBudget": 512, "includeThoughts": True}),
        ("gemini-2.5-pro", {"effort": "xhigh", "exclude": True}, {"thinkingBudget": 31129, "includeThoughts": False}),
        ("gemini-2.5-pro", {}, {"includeThoughts": True}),
        ("gemini-3-flash-preview", {"effort": "minimal"}, {"thinkingLevel": "minimal", "includeThoughts": True}),
        ("gemini-3-flash-preview", {"enabled": True}, {"thinkingLevel": "medium", "includeThoughts": True}),
        ("gemini-3-pro-preview", {"effort": "medium"}, {"thinkingLevel": "high", "includeThoughts": True}),
        ("gemini-3.1-pro-preview", {"effort": "medium"}, {"thinkingLevel": "medium", "includeThoughts": True}),
        ("gemini-3.1-pro-preview", {"effort": "minimal"}, {"thinkingLevel": "low", "includeThoughts": True}),
        ("gemini-3.1-pro-preview", {"effort": "max"}, {"thinkingLevel": "high", "includeThoughts": True}),
        ("gemini-3-flash-preview", {"max_tokens": 2000}, {"thinkingBudget": 2000, "includeThoughts": True}),
        ("gemini-flash-latest", {"effort": "low"}, {"thinkingLevel": "low", "includeThoughts": True}),
    ],
)
def test_reasoning_becomes_a_level_or_a_budget(model: str, wish: dict[str, Any], expected: dict[str, Any]) -> None:
    assert body(model=model, reasoning=wish)["generationConfig"]["thinkingConfig"] == expected


def test_an_effort_is_a_share_of_the_callers_own_limit() -> None:
    config = body(reasoning={"effort": "low"}, max_tokens=1000)["generationConfig"]
    assert config["thinkingConfig"]["thinkingBudget"] == 200


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gemini-2.5-pro", {"thinkingBudget": 128}),
        ("gemini-3-pro-preview", {"thinkingLevel": "low"}),
        ("gemini-3-flash-preview", {"thinkingLevel": "minimal"}),
    ],
)
def test_a_model_that_always_thinks_thinks_least_and_says_so(model: str, expected: dict[str, Any]) -> None:
    _, value, losses = sent(model=model, reasoning={"effort": "none"})
    assert value["generationConfig"]["thinkingConfig"] == expected
    assert [loss.parameter for loss in losses.items] == ["reasoning.effort"]


@pytest.mark.parametrize("model", ["gemini-2.0-flash", "gemini-1.5-pro", "gemma-3-27b-it"])
def test_a_model_that_does_not_think_is_not_told_to(model: str) -> None:
    assert body(model=model) == body()
    assert lost(model=model, reasoning={"effort": "high"}) == ["reasoning"]


# --- tools ------------------------------------------------------------------------------------------------------------

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "additionalProperties": False}
FUNCTION = {"type": "function", "function": {"name": "weather", "description": "Tells it", "parameters": SCHEMA}}
STRICT = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA, "strict": True}}


def test_functions_are_declared_with_their_json_schema() -> None:
    assert body(tools=[FUNCTION])["tools"] == [
        {"functionDeclarations": [{"name": "weather", "description": "Tells it", "parametersJsonSchema": SCHEMA}]}
    ]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        ({"type": "function", "function": {"name": "weather"}}, {"mode": "ANY", "allowedFunctionNames": ["weather"]}),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [FUNCTION]}},
            {"mode": "VALIDATED", "allowedFunctionNames": ["weather"]},
        ),
    ],
)
def test_tool_choice_becomes_a_mode(choice: Any, expected: dict[str, Any]) -> None:
    assert body(tools=[FUNCTION], tool_choice=choice)["toolConfig"] == {"functionCallingConfig": expected}


def test_strict_functions_are_validated() -> None:
    assert body(tools=[STRICT])["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED"}}
    assert body(tools=[STRICT], tool_choice="required")["toolConfig"] == {"functionCallingConfig": {"mode": "ANY"}}
    assert "toolConfig" not in body(tools=[FUNCTION])


def test_geminis_own_tools_pass_and_other_server_tools_are_recorded() -> None:
    tools = [FUNCTION, {"google_search": {}}, {"type": "openrouter:web_search"}]
    _, value, losses = sent(tools=tools, raw={"tools": tools})
    assert value["tools"][1:] == [{"google_search": {}}]
    assert [loss.parameter for loss in losses.items] == ["tools[2]"]


# --- messages ---------------------------------------------------------------------------------------------------------


def test_system_messages_are_gathered_and_turns_alternate() -> None:
    value = body(
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "One"},
            {"role": "user", "content": [{"type": "text", "text": "Two"}]},
            {"role": "developer", "content": "Be kind."},
            {"role": "assistant", "content": "Three"},
            {"role": "user", "name": "Ana", "content": "Four"},
        ]
    )
    assert value["systemInstruction"] == {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]}
    assert value["contents"] == [
        {"role": "user", "parts": [{"text": "One"}, {"text": "Two"}]},
        {"role": "model", "parts": [{"text": "Three"}]},
        {"role": "user", "parts": [{"text": "Ana: Four"}]},
    ]


def test_a_prompt_of_system_messages_alone_is_a_user_turn() -> None:
    value = body(messages=[{"role": "system", "content": "Say hello."}])
    assert value == {"contents": [{"role": "user", "parts": [{"text": "Say hello."}]}]}


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}},
            {"inlineData": {"mimeType": "image/png", "data": "iVBO"}},
        ),
        (
            {"type": "image_url", "image_url": {"url": "https://x.example/a.webp?b=c.gif"}},
            {"fileData": {"mimeType": "image/webp", "fileUri": "https://x.example/a.webp?b=c.gif"}},
        ),
        (
            {"type": "image_url", "image_url": {"url": "https://x.example/picture"}},
            {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://x.example/picture"}},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}},
            {"inlineData": {"mimeType": "audio/wav", "data": "UklG"}},
        ),
        (
            {"type": "video_url", "video_url": {"url": "https://www.youtube.com/watch?v=1"}},
            {"fileData": {"mimeType": "video/mp4", "fileUri": "https://www.youtube.com/watch?v=1"}},
        ),
        (
            {"type": "input_video", "input_video": {"url": "data:video/webm;base64,GkXf"}},
            {"inlineData": {"mimeType": "video/webm", "data": "GkXf"}},
        ),
        (
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}},
            {"inlineData": {"mimeType": "application/pdf", "data": "JVBE"}},
        ),
        (
            {"type": "file", "file": {"filename": "a.csv", "file_data": "https://x.example/download"}},
            {"fileData": {"mimeType": "text/csv", "fileUri": "https://x.example/download"}},
        ),
        (
            {"type": "file", "file": {"file_data": "data:text/plain,a%20b"}},
            {"inlineData": {"mimeType": "text/plain", "data": "YSBi"}},
        ),
    ],
)
def test_media_go_inline_or_by_address(part: dict[str, Any], expected: dict[str, Any]) -> None:
    assert body(messages=user(part))["contents"][0]["parts"] == [expected]


def test_content_that_gemini_cannot_take_is_recorded() -> None:
    parts = user(
        {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
        {"type": "file", "file": {"file_id": "or_file_1"}},
        {"type": "hologram"},
    )
    assert lost(messages=parts) == ["cache_control", "file.file_id", "content type hologram"]


HISTORY: list[dict[str, Any]] = [
    {"role": "user", "content": "Weather?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Brno"}'}},
            {"id": "c2", "type": "function", "function": {"name": "clock", "arguments": ""}},
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": '{"temp": 21.50}'},
    {"role": "tool", "tool_call_id": "c2", "content": "noon"},
]


def test_calls_and_results_become_parts_with_names_and_ids() -> None:
    contents = body(messages=HISTORY)["contents"]
    assert contents[1]["parts"] == [
        {"functionCall": {"name": "weather", "args": {"city": "Brno"}, "id": "c1"}},
        {"functionCall": {"name": "clock", "args": {}, "id": "c2"}},
    ]
    assert contents[2]["parts"] == [
        {"functionResponse": {"name": "weather", "response": {"temp": 21.5}, "id": "c1"}},
        {"functionResponse": {"name": "clock", "response": {"output": "noon"}, "id": "c2"}},
    ]
    assert contents[2]["role"] == "user"


def test_numbers_in_arguments_and_results_keep_every_digit() -> None:
    messages = json.loads(json.dumps(HISTORY))
    messages[2]["content"] = '{"exact": 0.10000000000000000000000001}'
    assert b'"exact":0.10000000000000000000000001' in sent(messages=messages)[0].body


def test_a_call_of_another_model_is_marked_as_unsigned_from_gemini_3_on() -> None:
    parts = body(model="gemini-3-flash-preview", messages=HISTORY)["contents"][1]["parts"]
    assert parts[0]["thoughtSignature"] == "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
    assert "thoughtSignature" not in parts[1]
    assert "thoughtSignature" not in body(messages=HISTORY)["contents"][1]["parts"][0]


def test_signatures_return_to_the_parts_they_sign() -> None:
    def sealed(data: str, **members: Any) -> dict[str, Any]:
        return {"type": "reasoning.encrypted", "data": data, "format": "google-gemini-v1", **members}

    messages = json.loads(json.dumps(HISTORY))
    messages[1] |= {
        "content": "I look.",
        "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}],
        "reasoning": "Hm.",
        "reasoning_details": [
            {"type": "reasoning.text", "text": "Hm.", "format": "google-gemini-v1", "index": 0},
            sealed("VA==", index=1),
            sealed("SQ==", id="image_0"),
            sealed("Qw==", id="c1"),
        ],
    }
    messages[1]["tool_calls"][1]["extra_content"] = {"google": {"thought_signature": "RA=="}}
    parts = body(model="gemini-3-flash-preview", messages=messages)["contents"][1]["parts"]
    assert parts[0] == {"text": "Hm.", "thought": True}
    assert parts[1] == {"text": "I look.", "thoughtSignature": "VA=="}
    assert parts[2]["thoughtSignature"] == "SQ=="
    assert [part["thoughtSignature"] for part in parts[3:]] == ["Qw==", "RA=="]


def test_sealed_reasoning_of_another_vendor_is_recorded_but_never_refuses() -> None:
    details = [{"type": "reasoning.encrypted", "data": "x", "format": "anthropic-claude-v1"}]
    messages = [{"role": "assistant", "content": "a", "reasoning_details": details}, {"role": "user", "content": "b"}]
    _, value, losses = sent(messages=messages)
    assert value["contents"][0]["parts"] == [{"text": "a"}]
    assert [loss.parameter for loss in losses.items] == ["reasoning_details"]
    UPSTREAM.build(call(messages=messages), endpoint(), KEY, Losses(strict=True))


def test_what_a_reader_gave_can_be_sent_back() -> None:
    from routebook.core.events import Delta
    from routebook.core.ids import Mint
    from routebook.wire.http import HttpHead

    parts = [
        {"text": "Hm.", "thought": True},
        {"text": "I look.", "thoughtSignature": "VA=="},
        {"functionCall": {"name": "weather", "args": {"city": "Brno"}, "id": "fc1"}, "thoughtSignature": "Qw=="},
    ]
    answer = {"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}]}
    reader = UPSTREAM.reader(HttpHead(200, {"content-type": "application/json"}), Mint(0, "s"))
    delta = next(event for event in reader.feed(json.dumps(answer).encode()) if isinstance(event, Delta))
    assert delta.tool_calls is not None
    message = {
        "role": "assistant",
        "content": delta.text,
        "reasoning_details": delta.reasoning_details,
        "tool_calls": [
            {"id": one.id, "function": {"name": one.name, "arguments": one.arguments}} for one in delta.tool_calls
        ],
    }
    result = {"role": "tool", "tool_call_id": "fc1", "content": "sun"}
    contents = body(model="gemini-3-flash-preview", messages=[*HISTORY[:1], message, result])["contents"]
    assert contents[1]["parts"] == parts


def test_pictures_in_a_tool_result_go_inside_it_or_next_to_it_by_generation() -> None:
    messages = json.loads(json.dumps(HISTORY))
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}
    messages[3]["content"] = [{"type": "text", "text": "see"}, picture]
    inline = {"inlineData": {"mimeType": "image/png", "data": "iVBO"}}
    old = body(messages=messages)["contents"][2]["parts"]
    new = body(model="gemini-3-flash-preview", messages=messages)["contents"][2]["parts"]
    assert old[2] == inline
    assert new[1]["functionResponse"]["parts"] == [inline]
    assert len(new) == 2


def test_a_result_that_answers_no_call_is_the_callers_mistake() -> None:
    with pytest.raises(BadRequest, match=r"messages\[0\]: tool_call_id 'c9'"):
        sent(messages=[{"role": "tool", "tool_call_id": "c9", "content": "x"}])


def test_arguments_that_are_no_object_are_kept_as_text() -> None:
    messages = json.loads(json.dumps(HISTORY))
    messages[1]["tool_calls"][0]["function"]["arguments"] = "[1"
    assert body(messages=messages)["contents"][1]["parts"][0]["functionCall"]["args"] == {"arguments": "[1"}
