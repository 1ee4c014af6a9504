"""What a caller's request of Gemini's API is read as, what only Gemini is told of it, and what is sent where the
provider is Gemini."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routebook.core.call import Call, Losses, Message, Part, ReasoningWish
from routebook.core.catalog import Endpoint, Provider
from routebook.core.errors import BadRequest
from routebook.dialects.gemini import SURFACE, UPSTREAM
from routebook.dialects.gemini_messages import UNSIGNED
from routebook.dialects.gemini_schema import json_schema
from routebook.dialects.sealing import seal

Body = dict[str, Any]
SAY: Body = {"role": "user", "parts": [{"text": "Hi"}]}
WEATHER: Body = {"name": "weather", "parametersJsonSchema": {"type": "object"}}


def call(method: str = "generateContent", query: str = "", **members: Any) -> Call:
    body: Body = {"contents": [SAY], **members}
    surface = SURFACE.at(f"acme/x:{method}", query)
    assert surface is not None
    return surface.read(json.dumps(body).encode(), {})


def messages(*turns: Body) -> list[Message]:
    return call(contents=list(turns)).chat.messages


def user(*parts: Body) -> Body:
    return {"role": "user", "parts": list(parts)}


def model(*parts: Body) -> Body:
    return {"role": "model", "parts": list(parts)}


def lost(**members: Any) -> list[str]:
    return [loss.parameter for loss in call(**members).untold]


def sent(found: Call, name: str = "gemini-2.5-flash", **rest: Any) -> tuple[Body, list[str], str]:
    """(body, losses, URL) of the request to Gemini."""
    provider = Provider(slug="g", name="G", dialect="gemini", base_url="https://g.example/v1beta")
    endpoint = Endpoint(id="e", model="acme/x", provider=provider, upstream_model=name, tag="g", pricing=None, **rest)
    losses = Losses()
    request = UPSTREAM.build(found, endpoint, "secret", losses)
    return json.loads(request.body), [loss.parameter for loss in losses.items], request.url


# --- reading ----------------------------------------------------------------------------------------------------------


def test_model_and_method_stand_in_the_path() -> None:
    assert (call().model, call().stream) == ("acme/x", False)
    assert call("streamGenerateContent").stream is True
    free = SURFACE.at("acme/x:free:generateContent", "")
    assert free is not None
    assert free.read(json.dumps({"contents": [SAY]}).encode(), {}).model == "acme/x:free"
    assert SURFACE.at("acme/x:embedContent", "") is None
    assert SURFACE.at("acme/x", "") is None
    assert SURFACE.at(":generateContent", "") is None


def test_either_spelling_of_a_member_is_read_and_schemas_stay_as_they_are() -> None:
    schema = {"type": "object", "properties": {"snake_case": {"type": "string"}}}
    snake = call(
        system_instruction={"parts": [{"text": "S"}]},
        generation_config={"max_output_tokens": 5, "top_p": 0.5, "response_mime_type": "application/json",
                           "response_json_schema": schema},
        tools=[{"function_declarations": [{"name": "f", "parameters_json_schema": schema}]}],
    )  # fmt: skip
    camel = call(
        systemInstruction={"parts": [{"text": "S"}]},
        generationConfig={"maxOutputTokens": 5, "topP": 0.5, "responseMimeType": "application/json",
                          "responseJsonSchema": schema},
        tools=[{"functionDeclarations": [{"name": "f", "parametersJsonSchema": schema}]}],
    )  # fmt: skip
    assert snake.chat == camel.chat
    assert snake.chat.tools is not None
    function = snake.chat.tools[0].function
    assert function is not None
    assert function.parameters == schema
    assert snake.untold == camel.untold == ()


def test_media_become_the_parts_of_their_kind() -> None:
    (message,) = messages(
        user(
            {"text": "See:"},
            {"inlineData": {"mimeType": "image/png", "data": "AA"}},
            {"inlineData": {"mimeType": "audio/wav", "data": "BB"}},
            {"inlineData": {"mimeType": "application/pdf", "data": "CC"}},
            {"fileData": {"mimeType": "video/mp4", "fileUri": "https://youtu.be/x"}},
            {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/f"}},
        )
    )
    parts = message.content
    assert isinstance(parts, list)
    assert [part.type for part in parts] == ["text", "image_url", "input_audio", "file", "video_url", "file"]
    assert parts[1].image_url is not None
    assert parts[1].image_url.url == "data:image/png;base64,AA"
    assert parts[2].input_audio is not None
    assert (parts[2].input_audio.data, parts[2].input_audio.format) == ("BB", "wav")


def test_calls_without_ids_find_their_answers_in_order() -> None:
    found = messages(
        SAY,
        model({"functionCall": {"name": "f", "args": {"n": 1}}}, {"functionCall": {"name": "f", "args": {"n": 2}}}),
        user(
            {"functionResponse": {"name": "f", "response": {"result": "one"}}},
            {"functionResponse": {"name": "f", "response": {"a": 1}, "parts": [
                {"inlineData": {"mimeType": "image/png", "data": "AA"}}]}},
            {"text": "And?"},
        ),
    )  # fmt: skip
    calls = found[1].tool_calls
    assert calls is not None
    assert [each.id for each in calls] == ["call_1_0", "call_1_1"]
    assert [(each.role, each.tool_call_id) for each in found[2:]] == [
        ("tool", "call_1_0"),
        ("tool", "call_1_1"),
        ("user", None),
    ]
    assert found[2].content == "one"
    second = found[3].content
    assert isinstance(second, list)
    assert second[0] == Part("text", text='{"a":1}')
    assert second[1].type == "image_url"


def test_thoughts_and_signatures_are_kept_for_who_made_them() -> None:
    foreign = {"type": "reasoning.text", "signature": "claudes", "format": "anthropic-claude-v1", "index": 0}
    found = messages(
        SAY,
        model(
            {"text": "Hm.", "thought": True},
            {"text": "", "thought": True, "thoughtSignature": seal(foreign)},
            {"text": "So."},
            {"functionCall": {"id": "c1", "name": "f", "args": {}}, "thoughtSignature": "Z2VtaW5p"},
        ),
    )
    google = {"format": "google-gemini-v1", "index": 1, "id": "c1"}
    assert found[1].reasoning_details == [
        {**foreign, "text": "Hm."},
        {"type": "reasoning.encrypted", "data": "Z2VtaW5p", **google},
    ]
    assert found[1].content == "So."
    calls = found[1].tool_calls
    assert calls is not None
    assert calls[0].extra_content == {"google": {"thought_signature": "Z2VtaW5p"}}


@pytest.mark.parametrize(
    ("config", "wish"),
    [
        (None, None),
        ({"thinkingBudget": 0}, ReasoningWish(enabled=False, exclude=True)),
        ({"thinkingBudget": -1, "includeThoughts": True}, ReasoningWish(enabled=True)),
        ({"thinkingBudget": 512}, ReasoningWish(max_tokens=512, exclude=True)),
        ({"thinkingLevel": "HIGH", "includeThoughts": True}, ReasoningWish(effort="high")),
    ],
)
def test_a_thinking_config_is_a_wish_for_reasoning(config: Body | None, wish: ReasoningWish | None) -> None:
    assert call(generationConfig={"thinkingConfig": config} if config else {}).chat.reasoning == wish


@pytest.mark.parametrize(
    ("config", "choice"),
    [
        ({"mode": "AUTO"}, "auto"),
        ({"mode": "ANY"}, "required"),
        ({"mode": "NONE"}, "none"),
        ({"mode": "ANY", "allowedFunctionNames": ["f"]}, {"type": "function", "function": {"name": "f"}}),
        (
            {"mode": "ANY", "allowedFunctionNames": ["f", "g"]},
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": name}} for name in ("f", "g")],
                },
            },
        ),
    ],
)
def test_every_mode_of_calling_is_read(config: Body, choice: Any) -> None:
    asked = call(toolConfig={"functionCallingConfig": config}, tools=[{"functionDeclarations": [WEATHER]}])
    assert asked.chat.tool_choice == choice


def test_nothing_is_chosen_where_no_function_is() -> None:
    """OpenAI refuses a choice without tools; Gemini's own callers' words stay as they are."""
    asked = call(toolConfig={"functionCallingConfig": {"mode": "AUTO"}}, tools=[{"googleSearch": {}}])
    assert (asked.chat.tools, asked.chat.tool_choice) == (None, None)
    assert sent(asked)[0]["toolConfig"] == {"functionCallingConfig": {"mode": "AUTO"}}


def test_an_openapi_schema_becomes_json_schema() -> None:
    given = {
        "type": "OBJECT",
        "properties": {"tags": {"type": "ARRAY", "items": {"type": "STRING"}, "maxItems": "3"},
                       "note": {"type": "STRING", "nullable": True}},
        "propertyOrdering": ["tags", "note"],
        "required": ["tags"],
    }  # fmt: skip
    assert json_schema(given) == {
        "type": "object",
        "properties": {
            "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
            "note": {"type": ["string", "null"]},
        },
        "required": ["tags"],
    }


def test_what_only_gemini_knows_is_named_for_everybody_else() -> None:
    assert lost(safetySettings=[{"category": "X"}], cachedContent="c", labels={"a": "b"}) == [
        "safetySettings",
        "cachedContent",
        "labels",
    ]
    assert lost(tools=[{"googleSearch": {}}, {"codeExecution": {}}]) == [
        "tools[0].googleSearch",
        "tools[1].codeExecution",
    ]
    assert lost(generationConfig={"mediaResolution": "MEDIA_RESOLUTION_LOW"}) == ["generationConfig.mediaResolution"]
    assert lost(toolConfig={"retrievalConfig": {"latLng": {}}}) == ["toolConfig.retrievalConfig"]
    assert lost(contents=[SAY, model({"executableCode": {"code": "1"}})]) == ["contents[1].parts[0]"]


def test_members_of_this_api_may_stand_beside_geminis() -> None:
    found = call(provider={"only": ["acme"]}, models=["b/y"], session_id="s", user="u", plugins=[{"id": "web"}])
    assert found.provider is not None
    assert (found.provider.only, found.models, found.session_id, found.user) == (["acme"], ("b/y",), "s", "u")
    assert [name for name, _ in found.ignored] == ["plugins"]
    assert found.untold == ()


def test_the_place_of_what_is_wrong_is_told() -> None:
    with pytest.raises(BadRequest, match=r"contents\[0\].parts\[0\].text"):
        call(contents=[user({"text": 7})])


# --- to Gemini --------------------------------------------------------------------------------------------------------


def test_to_gemini_the_callers_own_members_travel_as_they_are() -> None:
    members: Body = {
        "systemInstruction": {"parts": [{"text": "S"}]},
        "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
        "tools": [{"googleSearch": {}}, {"functionDeclarations": [WEATHER]}],
        "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}, "retrievalConfig": {"languageCode": "nb"}},
        "generationConfig": {"temperature": 0.5, "maxOutputTokens": 9, "mediaResolution": "MEDIA_RESOLUTION_LOW"},
        "a_member_of_tomorrow": [1],
    }
    body, losses, url = sent(call(**members))
    assert body == {"contents": [SAY], **members}
    assert losses == []
    assert url == "https://g.example/v1beta/models/gemini-2.5-flash:generateContent"


def test_to_gemini_what_is_the_gateways_own_is_not_sent() -> None:
    found = call("streamGenerateContent", provider={"only": ["g"]}, models=["b/y"], session_id="s", user="u", trace={})
    body, losses, url = sent(found)
    assert body == {"contents": [SAY]}
    assert losses == []
    assert url.endswith(":streamGenerateContent?alt=sse")


def test_to_gemini_a_parameter_that_the_endpoint_does_not_take_is_recorded() -> None:
    found = call(generationConfig={"temperature": 0.5, "topK": 3}, tools=[{"functionDeclarations": [WEATHER]}])
    body, losses, _ = sent(found, supported_parameters=frozenset({"temperature"}))
    assert losses == ["top_k", "tools"]
    assert body["generationConfig"] == {"temperature": 0.5}


def test_to_gemini_a_conversation_that_began_elsewhere_loses_what_it_cannot_check() -> None:
    foreign = seal({"type": "reasoning.encrypted", "data": "o", "format": "openai-responses-v1"})
    turn = model(
        {"text": "", "thought": True, "thoughtSignature": foreign},
        {"text": "So.", "thoughtSignature": foreign},
        {"functionCall": {"name": "f", "args": {"n": 1.5}}},
        {"functionCall": {"name": "g", "args": {}}},
    )
    found = call(contents=[SAY, turn])
    body, losses, _ = sent(found, "gemini-3-flash")
    parts = body["contents"][1]["parts"]
    assert parts == [
        {"text": "So."},
        {"functionCall": {"name": "f", "args": {"n": 1.5}}, "thoughtSignature": UNSIGNED},
        {"functionCall": {"name": "g", "args": {}}},
    ]
    assert losses == ["contents.thoughtSignature"]
    own = call(contents=[SAY, model({"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "b3du"})])
    assert sent(own, "gemini-3-flash")[0]["contents"] == json.loads(bytes(own.raw["contents"]))


def test_the_tokens_of_a_prompt_are_asked_for_with_the_whole_request() -> None:
    provider = Provider(slug="g", name="G", dialect="gemini", base_url="https://g.example/v1beta")
    endpoint = Endpoint(id="e", model="m", provider=provider, upstream_model="gemini-2.5-flash", tag="g", pricing=None)
    request = UPSTREAM.count_request(call(), endpoint, "secret", Losses())
    assert request.url == "https://g.example/v1beta/models/gemini-2.5-flash:countTokens"
    asked = {"generateContentRequest": {"model": "models/gemini-2.5-flash", "contents": [SAY]}}
    assert json.loads(request.body) == asked
    assert UPSTREAM.count_answer(b'{"totalTokens": 12}') == 12
