"""Messages sent to Anthropic: roles, blocks, tool calls, reasoning handed back, media."""

from __future__ import annotations

import base64

import pytest

from routebook.core.errors import BadRequest
from tests.dialects.anthropic_calls import Body, request, sent, text, tool_call, turns, user


def test_system_messages_before_the_conversation_become_system_blocks() -> None:
    mark = {"type": "ephemeral", "ttl": "1h"}
    got, lost = turns(
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [text("Be kind.", cache_control=mark)]},
        user(),
    )
    assert got["system"] == [text("Be brief."), text("Be kind.", cache_control=mark)]
    assert [turn["role"] for turn in got["messages"]] == ["user"]
    assert lost == []


def test_a_later_system_message_stays_in_place_where_the_model_takes_it() -> None:
    french, said = {"role": "system", "content": "From now on, French."}, {"role": "assistant", "content": "c"}
    got, lost = turns(user("a"), french, user("b"), said, user("d"), model="claude-opus-4-8")
    assert [turn["role"] for turn in got["messages"]] == ["user", "system", "assistant", "user"]
    assert got["messages"][0]["content"] == [text("a"), text("b")]
    assert lost == []


def test_a_later_system_message_moves_to_the_start_elsewhere_and_that_is_recorded() -> None:
    got, lost = turns(
        user("a"), {"role": "assistant", "content": "b"}, user("c"), {"role": "system", "content": "French."}
    )
    assert got["system"] == [text("French.")]
    assert lost == ["messages[3]"]
    got, lost = turns(
        user("a"), {"role": "assistant", "content": "b"}, {"role": "system", "content": "x"},
        {"role": "assistant", "content": "c"}, user("d"), model="claude-opus-4-8",
    )  # fmt: skip
    assert got["system"] == [text("x")]
    assert lost == ["messages"]


def test_consecutive_messages_of_a_role_are_one_turn() -> None:
    got, lost = turns(
        user("a"), user("b"), {"role": "assistant", "content": "c"}, {"role": "assistant", "content": "d"}, user("e")
    )
    assert [(turn["role"], len(turn["content"])) for turn in got["messages"]] == [
        ("user", 2),
        ("assistant", 2),
        ("user", 1),
    ]
    assert lost == []


def test_tool_calls_and_their_results_become_blocks_with_results_first() -> None:
    got, lost = turns(
        user("a"),
        {
            "role": "assistant",
            "content": "Looking.",
            "tool_calls": [tool_call("t1", "f", '{"x": 1.50}'), tool_call("t2", "g", "")],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "one"},
        user("and?"),
        {"role": "tool", "tool_call_id": "t2", "content": [text("two", cache_control={"type": "ephemeral"})]},
    )
    assert got["messages"][1]["content"] == [
        text("Looking."),
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1.5}},
        {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
    ]
    assert got["messages"][2] == {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "t1", "content": [text("one")]},
            {
                "type": "tool_result",
                "tool_use_id": "t2",
                "content": [text("two")],
                "cache_control": {"type": "ephemeral"},
            },
            text("and?"),
        ],
    }
    assert lost == []


def test_a_tools_arguments_travel_with_every_digit() -> None:
    arguments = '{"n": 12345678901234567890.10}'
    got = request({"messages": [user(), {"role": "assistant", "tool_calls": [tool_call(arguments=arguments)]}]})
    assert arguments.encode() in got.body


@pytest.mark.parametrize("arguments", ["{broken", "[1]", '"text"'])
def test_arguments_that_are_no_object_are_handed_back_as_text_and_recorded(arguments: str) -> None:
    got, lost = turns(user(), {"role": "assistant", "tool_calls": [tool_call(arguments=arguments)]})
    assert got["messages"][1]["content"][0]["input"] == {"arguments": arguments}
    assert lost == ["messages[1].tool_calls[0].function.arguments"]


def test_ids_of_other_providers_are_made_acceptable_and_still_match() -> None:
    got, _ = turns(
        user(),
        {"role": "assistant", "tool_calls": [tool_call("functions.f:0"), tool_call("functions.f:1")]},
        {"role": "tool", "tool_call_id": "functions.f:0", "content": ""},
        {"role": "tool", "tool_call_id": "functions.f:1", "content": "x"},
    )
    calls = [block["id"] for block in got["messages"][1]["content"]]
    results = [block["tool_use_id"] for block in got["messages"][2]["content"]]
    assert calls == results
    assert len(set(calls)) == 2
    assert all(name.replace("_", "").replace("-", "").isalnum() for name in calls)
    assert "content" not in got["messages"][2]["content"][0]


def test_signed_reasoning_goes_back_before_text_and_calls_with_streamed_pieces_joined() -> None:
    form = {"format": "anthropic-claude-v1"}
    details = [
        {"type": "reasoning.text", "text": "Let me ", "index": 0, **form},
        {"type": "reasoning.text", "text": "see.", "index": 0, **form},
        {"type": "reasoning.text", "signature": "c2ln", "index": 0, **form},
        {"type": "reasoning.encrypted", "data": "eA", "index": 1, **form},
        {"type": "reasoning.text", "text": "Then.", "signature": "c2lo", "index": 2, **form},
    ]
    said = {
        "role": "assistant",
        "content": "So.",
        "reasoning": "Let me see.Then.",
        "reasoning_details": details,
        "tool_calls": [tool_call()],
    }
    got, lost = turns(user(), said, {"role": "tool", "tool_call_id": "t1", "content": "1"})
    assert [block["type"] for block in got["messages"][1]["content"]] == [
        "thinking", "redacted_thinking", "thinking", "text", "tool_use",
    ]  # fmt: skip
    assert got["messages"][1]["content"][0] == {"type": "thinking", "thinking": "Let me see.", "signature": "c2ln"}
    assert got["messages"][1]["content"][1] == {"type": "redacted_thinking", "data": "eA"}
    assert lost == []


def test_reasoning_that_anthropic_did_not_sign_is_recorded_as_lost() -> None:
    foreign = [{"type": "reasoning.encrypted", "data": "x", "format": "openai-responses-v1"}]
    unsigned = [{"type": "reasoning.text", "text": "x", "format": "anthropic-claude-v1"}]
    for said, lost in (
        ({"reasoning_details": foreign}, ["messages[1].reasoning_details"]),
        ({"reasoning_details": unsigned}, ["messages[1].reasoning"]),
        ({"reasoning_content": "x"}, ["messages[1].reasoning"]),
    ):
        got, recorded = turns(user(), {"role": "assistant", "content": "a", **said}, user())
        assert got["messages"][1]["content"] == [text("a")]
        assert recorded == lost


def test_a_prefill_loses_its_trailing_white_space() -> None:
    got, lost = turns(user(), {"role": "assistant", "content": "The answer is \n"})
    assert got["messages"][-1] == {"role": "assistant", "content": [text("The answer is")]}
    assert lost == []


def test_blank_texts_are_no_blocks_and_names_are_prepended() -> None:
    got, lost = turns(
        user([text(""), text("  "), text("Hi")], name="bob"), {"role": "assistant", "content": "\n"}, user("You?")
    )
    assert got["messages"] == [{"role": "user", "content": [text("bob: Hi"), text("You?")]}]
    assert lost == []


def test_a_prompt_of_system_messages_alone_becomes_a_user_turn() -> None:
    got, lost = turns({"role": "system", "content": "Say hi."})
    assert "system" not in got
    assert got["messages"] == [{"role": "user", "content": [text("Say hi.")]}]
    assert lost == ["messages"]


@pytest.mark.parametrize(
    ("messages", "place"),
    [
        ([user("")], "messages"),
        ([user(), {"role": "robot", "content": "x"}], "messages[1].role"),
        ([user(), {"role": "tool", "content": "x"}], "messages[1].tool_call_id"),
        ([user(), {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}], "messages[1].tool_calls[0].id"),
        ([user([{"type": "image_url", "image_url": {"url": "ftp://x"}}])], "messages[0].content[0].image_url.url"),
        ([user([{"type": "file", "file": {"filename": "x"}}])], "messages[0].content[0].file"),
        (
            [user([{"type": "file", "file": {"file_data": "data:text/plain;base64,/w=="}}])],
            "messages[0].content[0].file",
        ),
    ],
)
def test_what_cannot_be_sent_is_a_bad_request_that_names_its_place(messages: list[Body], place: str) -> None:
    with pytest.raises(BadRequest) as caught:
        request({"messages": messages})
    assert caught.value.message.startswith(place)


def test_images_and_files_become_blocks() -> None:
    pdf, plain = base64.b64encode(b"%PDF").decode(), base64.b64encode("Grüße".encode()).decode()
    parts: list[Body] = [
        {"type": "image_url", "image_url": {"url": "data:image/jpg;base64,AAAA"}},
        {
            "type": "image_url",
            "image_url": {"url": "https://x.example/i.png", "detail": "auto"},
            "cache_control": {"type": "ephemeral"},
        },
        {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{pdf}", "filename": "a.pdf"}},
        {"type": "file", "file": {"file_data": "https://x.example/a.pdf"}},
        {"type": "file", "file": {"file_data": f"data:text/plain;charset=utf-8;base64,{plain}"}},
        {"type": "file", "file": {"file_data": "data:text/markdown,%23%20hi"}},
        {"type": "file", "file": {"file_data": "data:image/png;base64,AAAA"}},
        {"type": "file", "file": {"file_id": "file_011"}},
    ]
    got, lost = turns(user(parts))
    assert [block.pop("source") for block in got["messages"][0]["content"]] == [
        {"type": "base64", "media_type": "image/jpeg", "data": "AAAA"},
        {"type": "url", "url": "https://x.example/i.png"},
        {"type": "base64", "media_type": "application/pdf", "data": pdf},
        {"type": "url", "url": "https://x.example/a.pdf"},
        {"type": "text", "media_type": "text/plain", "data": "Grüße"},
        {"type": "text", "media_type": "text/plain", "data": "# hi"},
        {"type": "base64", "media_type": "image/png", "data": "AAAA"},
        {"type": "file", "file_id": "file_011"},
    ]
    assert got["messages"][0]["content"][1] == {"type": "image", "cache_control": {"type": "ephemeral"}}
    assert got["messages"][0]["content"][2] == {"type": "document", "title": "a.pdf"}
    assert lost == []
    assert dict(request({"messages": [user(parts)]}).headers)["anthropic-beta"] == "files-api-2025-04-14"


@pytest.mark.parametrize(
    ("part", "place"),
    [
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, "messages[0].content[1]"),
        ({"type": "video_url", "video_url": {"url": "https://x.example/v.mp4"}}, "messages[0].content[1]"),
        ({"type": "hologram"}, "messages[0].content[1]"),
        ({"type": "file", "file": {"file_data": "data:application/zip;base64,AAAA"}}, "messages[0].content[1].file"),
        ({"type": "file", "file": {"file_id": "or_file_1"}}, "messages[0].content[1].file"),
    ],
)
def test_media_that_anthropic_cannot_read_is_recorded(part: Body, place: str) -> None:
    got, lost = turns(user([text("See:"), part]))
    assert got["messages"][0]["content"] == [text("See:")]
    assert lost == [place]


def test_media_in_system_and_assistant_messages_is_recorded() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://x.example/i.png"}}
    _, lost = turns(
        {"role": "system", "content": [text("a"), image]},
        user(),
        {"role": "assistant", "content": [text("b"), image]},
        user(),
    )
    assert lost == ["messages[0].content", "messages[2].content"]


def test_breakpoints_of_other_dialects_are_five_minute_ones_and_a_messages_own_marks_its_last_block() -> None:
    got, lost = turns(
        user(
            [text("a", prompt_cache_breakpoint={"mode": "explicit"}), text("b")],
            cache_control={"type": "ephemeral", "ttl": "1h"},
        )
    )
    assert got["messages"][0]["content"] == [
        text("a", cache_control={"type": "ephemeral"}),
        text("b", cache_control={"type": "ephemeral", "ttl": "1h"}),
    ]
    assert lost == []
    assert sent({"cache_control": {"type": "ephemeral", "ttl": "1h"}})[0]["cache_control"] == {
        "type": "ephemeral",
        "ttl": "1h",
    }
