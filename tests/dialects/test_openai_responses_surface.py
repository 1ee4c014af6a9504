"""What a caller's request to the responses API is read as, what only that API can say, and what is refused in words."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routebook.core.call import FunctionTool, ImageUrl, Message, Part, ReasoningWish, Tool, ToolCall
from routebook.core.errors import BadRequest, Internal, UpstreamLimited
from routebook.dialects.openai_responses import SURFACE
from routebook.wire.bulk import LargeBody
from tests.dialects.responses_cases import called


def refusal(body: bytes | dict[str, Any], **headers: str) -> str:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(BadRequest) as caught:
        SURFACE.read(data, headers)
    assert caught.value.status == 400
    told = json.loads(SURFACE.error_body(caught.value, None))
    assert (told["error"]["code"], told["error_type"]) == (400, "invalid_request")
    assert told["error"]["message"] == caught.value.message
    return caught.value.message


def untold(**members: Any) -> list[str]:
    return [loss.parameter for loss in called(**members).untold]


def read(*items: dict[str, Any]) -> list[Message]:
    call = called(input=list(items))
    assert call.untold == ()
    return call.chat.messages


def test_a_text_is_one_message_after_the_instructions() -> None:
    call = called(instructions="Be brief.", temperature=0.5, max_output_tokens=9, stream=True, user="u")
    assert call.chat.messages == [Message("system", "Be brief."), Message("user", "Hi")]
    assert (call.surface, call.model, call.stream, call.user) == ("openai_responses", "acme/large", True, "u")
    assert (call.chat.temperature, call.chat.max_tokens) == (0.5, 9)
    assert (call.untold, call.ignored) == ((), ())


def test_the_safety_identifier_names_the_user_before_user_does() -> None:
    assert called(user="u", safety_identifier="s").user == "s"


def test_messages_come_with_and_without_a_type_and_with_parts_of_every_kind() -> None:
    parts = [
        {"type": "input_text", "text": "Look"},
        {"type": "input_image", "image_url": "https://x.test/a.png", "detail": "low"},
        {"type": "input_file", "file_url": "https://x.test/a.pdf", "filename": "a.pdf"},
        {"type": "input_file", "file_id": "file-1"},
        {"type": "input_image", "file_id": "file-2"},
        {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}},
        {"type": "input_video", "video_url": "https://x.test/a.mp4"},
    ]
    call = called(input=[{"role": "developer", "content": "D"}, {"type": "message", "role": "user", "content": parts}])
    first, second = call.chat.messages
    assert first == Message("developer", "D")
    assert isinstance(second.content, list)
    assert second.content[:2] == [
        Part("text", text="Look"),
        Part("image_url", image_url=ImageUrl("https://x.test/a.png", "low")),
    ]
    files = [part.file for part in second.content if part.file is not None]
    assert [(file.file_data, file.file_id) for file in files] == [
        ("https://x.test/a.pdf", None),
        (None, "file-1"),
        (None, "file-2"),
    ]
    assert (call.media_prompt, call.audio_prompt) == (5, 1)


def test_what_one_turn_said_thought_and_called_is_one_message() -> None:
    got = read(
        {"role": "user", "content": "Hi"},
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "S"}],
            "encrypted_content": "E",
        },
        {"type": "message", "role": "assistant", "id": "msg_1", "content": [{"type": "output_text", "text": "Wait."}]},
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "g", "arguments": '{"a":1}'},
        {"type": "function_call_output", "call_id": "c1", "output": "one"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "two"}]},
    )
    assert [message.role for message in got] == ["user", "assistant", "tool", "tool"]
    turn = got[1]
    assert turn.content == "Wait."
    assert [(call.id, call.function.name) for call in turn.tool_calls or ()] == [("c1", "f"), ("c2", "g")]
    assert turn.reasoning_details == [
        {"type": "reasoning.summary", "summary": "S", "format": "openai-responses-v1", "id": "rs_1", "index": 0},
        {"type": "reasoning.encrypted", "data": "E", "format": "openai-responses-v1", "id": "rs_1", "index": 1},
    ]
    assert [(message.tool_call_id, message.content) for message in got[2:]] == [
        ("c1", "one"),
        ("c2", [Part("text", text="two")]),
    ]


def test_reasoning_of_another_family_keeps_its_format_and_signature() -> None:
    item = {
        "type": "reasoning",
        "id": "rs",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "hm"}],
        "format": "anthropic-claude-v1",
        "signature": "sig",
    }
    (turn, _) = read(item, {"role": "assistant", "content": "Yes"}, {"role": "user", "content": "And?"})
    assert turn.reasoning_details == [
        {
            "type": "reasoning.text",
            "text": "hm",
            "signature": "sig",
            "format": "anthropic-claude-v1",
            "id": "rs",
            "index": 0,
        }
    ]


def test_words_after_calls_are_another_turn_and_thoughts_after_words_too() -> None:
    got = read(
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"role": "assistant", "content": "A"},
        {"role": "assistant", "content": "B"},
        {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "E"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
    )
    assert [(m.content, m.refusal, bool(m.tool_calls), bool(m.reasoning_details)) for m in got] == [
        (None, None, True, False),
        ("AB", None, False, False),
        (None, "No.", False, True),
    ]


def test_items_that_only_this_api_has_are_named_and_do_not_stop_the_others() -> None:
    call = called(
        input=[
            {"role": "user", "content": "Hi"},
            {"type": "web_search_call", "id": "ws_1", "status": "completed"},
            {"type": "item_reference", "id": "x"},
            {"type": "openrouter:datetime", "id": "y"},
            {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "hologram"}]},
        ]
    )
    assert len(call.chat.messages) == 2
    assert [loss.parameter for loss in call.untold] == ["input[1]", "input[2]", "input[3]", "input[4].content[1]"]


# --- tools ------------------------------------------------------------------------------------------------------------


def test_functions_are_the_hubs_functions() -> None:
    tool = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
    call = called(tools=[tool], tool_choice={"type": "function", "name": "f"}, parallel_tool_calls=False)
    assert call.chat.tools == [Tool(function=FunctionTool("f", "d", {"type": "object"}, True))]
    assert call.chat.tool_choice == {"type": "function", "function": {"name": "f"}}
    assert call.chat.parallel_tool_calls is False


def test_a_custom_tool_is_a_function_of_one_text_and_its_history_is_too() -> None:
    tool = {
        "type": "custom",
        "name": "patch",
        "description": "Edits.",
        "format": {"type": "grammar", "syntax": "lark", "definition": "start: X"},
    }
    call = called(
        tools=[tool],
        input=[
            {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": 'a"b'},
            {"type": "custom_tool_call_output", "call_id": "c", "output": "done"},
        ],
    )
    (made,) = call.chat.tools or []
    assert made.function is not None
    assert made.function.parameters is not None
    assert list(made.function.parameters["properties"]) == ["input"]
    assert "start: X" in (made.function.description or "")
    (said, result) = call.chat.messages
    (once,) = said.tool_calls or []
    assert isinstance(once, ToolCall)
    assert json.loads(once.function.arguments) == {"input": 'a"b'}
    assert (result.role, result.tool_call_id) == ("tool", "c")
    assert [loss.parameter for loss in call.untold] == ["tools[0].format"]


def test_functions_of_a_namespace_and_of_the_input_stand_among_the_others() -> None:
    space = {"type": "namespace", "name": "crm", "description": "", "tools": [{"type": "function", "name": "g"}]}
    more = {"type": "additional_tools", "role": "developer", "tools": [{"type": "function", "name": "h"}]}
    call = called(tools=[{"type": "function", "name": "f"}, space], input=[more, {"role": "user", "content": "Hi"}])
    assert [tool.function.name for tool in call.chat.tools or () if tool.function] == ["f", "g", "h"]


def test_allowed_tools_are_the_only_ones_that_are_told() -> None:
    tools = [{"type": "function", "name": name} for name in ("f", "g")]
    choice = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "g"}]}
    call = called(tools=tools, tool_choice=choice)
    assert [tool.function.name for tool in call.chat.tools or () if tool.function] == ["g"]
    assert call.chat.tool_choice == "required"


def test_tools_that_a_provider_runs_are_told_to_providers_of_this_api_alone() -> None:
    call = called(tools=[{"type": "web_search"}, {"type": "openrouter:datetime"}], tool_choice={"type": "web_search"})
    assert (call.chat.tools, call.chat.tool_choice) == (None, None)
    assert [loss.parameter for loss in call.untold] == ["tools[0]", "tools[1]", "tool_choice"]
    assert [name for name, _ in call.ignored] == ["tools[1]"]


# --- other members ----------------------------------------------------------------------------------------------------


def test_the_form_of_the_answer_is_the_hubs() -> None:
    form = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}
    call = called(text={"format": form, "verbosity": "low"})
    assert call.chat.response_format == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
    }
    assert call.chat.verbosity == "low"
    assert called(text={"format": {"type": "json_object"}}).chat.response_format == {"type": "json_object"}


def test_a_wish_for_reasoning_is_read() -> None:
    assert called(reasoning={"effort": "xhigh", "summary": "auto"}).chat.reasoning == ReasoningWish(
        "xhigh", summary="auto"
    )
    assert called(reasoning={"max_tokens": 2000}).chat.reasoning == ReasoningWish(max_tokens=2000)
    assert untold(reasoning={"effort": "low", "context": "all_turns", "mode": "pro"}) == [
        "reasoning.context",
        "reasoning.mode",
    ]


def test_what_the_hub_has_no_word_for_is_named() -> None:
    assert untold(
        truncation="auto", include=["code_interpreter_call.outputs"], prompt={"id": "p"}, max_tool_calls=3, whatever=1
    ) == ["truncation", "include", "prompt", "max_tool_calls", "whatever"]
    assert untold(truncation="disabled", include=["reasoning.encrypted_content"], stream_options={}) == []


def test_what_the_gateway_does_not_act_on_is_noted() -> None:
    assert [name for name, _ in called(background=True, plugins=[{"id": "web"}], trace={"a": "b"}).ignored] == [
        "background",
        "plugins",
        "trace",
    ]


def test_probabilities_are_asked_for_by_number_or_by_include() -> None:
    assert (called(top_logprobs=2).chat.logprobs, called(top_logprobs=2).chat.top_logprobs) == (True, 2)
    assert called(include=["message.output_text.logprobs"]).chat.logprobs is True
    assert called(top_logprobs=0).chat.logprobs is None


def test_large_bodies_keep_their_media_out_of_what_is_decoded() -> None:
    data = b64encode(bytes(range(256)) * 3000).decode()
    image = {"type": "input_image", "image_url": f"data:image/png;base64,{data}"}
    body = json.dumps({"model": "m", "input": [{"role": "user", "content": [image]}]}).encode()
    call = SURFACE.read(LargeBody([body]), {})
    assert len(call.bulk) == 1
    assert call.body_bytes == len(body)
    assert len(bytes(call.raw["input"])) < 1000


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b"{", "not JSON"),
        (b"[]", "object"),
        (b"\xff{}", "UTF-8"),
        (b'{"model": "m"} trailing', "not JSON"),
        (b'{"model":' + b"[" * 70 + b"]" * 70 + b"}", "nested more than 64"),
        (b"{}", "input: missing"),
        (b'{"input": "Hi"}', "model: missing"),
        (b'{"model": "m"}', "input: missing"),
        (b'{"model": "m", "input": []}', "input: missing"),
        (b'{"model": "m", "input": 7}', "input"),
    ],
)
def test_bytes_that_are_no_request_are_refused_in_words(body: bytes, words: str) -> None:
    assert words in refusal(body)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"store": True}, "store: answers are not stored"),
        ({"previous_response_id": "resp_1"}, "previous_response_id: answers are not stored"),
        ({"conversation": {"id": "c"}}, "conversation"),
        ({"temperature": 3}, "temperature"),
        ({"top_p": -1}, "top_p"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"stream": "yes"}, "stream"),
        ({"truncation": "middle"}, "truncation"),
        ({"reasoning": {"effort": "enormous"}}, "reasoning.effort"),
        ({"reasoning": {"effort": "low", "max_tokens": 5}}, "exclude each other"),
        ({"reasoning": {"summary": "long"}}, "reasoning.summary"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
        ({"tools": [{"name": "f"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{"type": "function", "name": "f", "parameters": 7}]}, "tools[0].parameters"),
        ({"tools": "f"}, "tools"),
        ({"tool_choice": "perhaps"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.name"),
        ({"tool_choice": 7}, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools", "mode": "never", "tools": []}}, "allowed_tools"),
        ({"metadata": {"a": 7}}, "metadata"),
        ({"metadata": {"a[": "b"}}, "metadata"),
        ({"user": "u" * 257}, "user"),
        ({"session_id": "s" * 257}, "session_id"),
        ({"provider": {"favourite": "x"}}, "favourite"),
        ({"provider": {"data_collection": "maybe"}}, "data_collection"),
        ({"prompt": {}}, "prompt.id"),
        ({"input": ["Hi"]}, "input[0]: expected an item"),
        ({"input": [{"role": "wizard", "content": "x"}]}, "input[0].role"),
        ({"input": [{"type": 7}]}, "input[0].type"),
        ({"input": [{"role": "user"}]}, "input[0].content: missing"),
        ({"input": [{"role": "user", "content": 7}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"text": "x"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "image_url or file_id"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "file_data, file_url and file_id"),
        ({"input": [{"role": "user", "content": [{"type": "input_audio", "data": "Q"}]}]}, "format"),
        ({"input": [{"type": "function_call", "call_id": "c"}]}, "input[0].name"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call", "name": "f", "call_id": "c", "arguments": {}}]}, "input[0].arguments"),
        ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input[0].output: missing"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id"),
        ({"input": [{"type": "reasoning", "summary": "x"}]}, "input[0].summary"),
        ({"input": [{"type": "additional_tools"}]}, "input[0].tools"),
    ],
)
def test_members_that_mean_nothing_are_refused_with_their_place(members: dict[str, Any], words: str) -> None:
    message = refusal({"model": "acme/large", "input": "Hi", **members})
    assert words in message


NAMES = st.sampled_from(
    (
        "type role content text input_text name call_id arguments output summary tools image_url id function_call "
        "reasoning message function_call_output additional_tools custom namespace format schema"
    ).split()
)
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["input", "tools", "tool_choice", "text", "reasoning", "metadata"]), JSONS))
def test_no_body_makes_the_surface_raise_anything_but_a_refusal(members: dict[str, Any]) -> None:
    try:
        call = SURFACE.read(json.dumps({"model": "m", "input": "Hi", **members}).encode(), {})
    except BadRequest:
        return
    SURFACE.writer(call)


# --- errors -----------------------------------------------------------------------------------------------------------


def test_the_envelope_names_the_kind_and_the_providers_code_and_masks_our_own_mistakes() -> None:
    limited = UpstreamLimited("Slow down.", provider_code="rate", metadata={"previous_errors": []})
    assert json.loads(SURFACE.error_body(limited, "gen-1")) == {
        "error": {
            "code": 429,
            "message": "Slow down.",
            "metadata": {"previous_errors": [], "error_type": "rate_limit_exceeded", "provider_code": "rate"},
        },
        "error_type": "rate_limit_exceeded",
        "metadata": None,
    }
    masked = json.loads(SURFACE.error_body(Internal("the key is sk-1", metadata={"a": 1}), None))
    assert "sk-1" not in json.dumps(masked)
    assert masked["error"]["metadata"] == {"error_type": "server"}
