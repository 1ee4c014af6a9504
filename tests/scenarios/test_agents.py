"""Requests of coding agents as they send them: nothing in them is refused, what a provider cannot be told is named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routebook.testing.playbook import DONE, ENDED, Left, Says, asked, begun, body, chunk, row
from routebook.testing.upstream import Data
from tests.dialects.responses_cases import numbered, text_stream
from tests.scenarios.agents import (
    ACCOUNT,
    BETAS,
    CLAUDE_GOES_ON,
    CLAUDE_SEARCHES,
    CLAUDE_TOOLS,
    CODEX_ASKS,
    CODEX_CODES,
    CODEX_GOES_ON,
    CODEX_TOOLS,
    PATCH,
    SESSION,
    WEB_SEARCH,
    claude_code,
    codex,
)
from tests.support import DONE_MARK, END, SENT, SSE, Stage, counted, finish, text

pytestmark = pytest.mark.anyio


def events(*kinds: str) -> tuple[Left, ...]:
    return tuple(chunk(type=kind) for kind in kinds)


CLAUDE_SAYS: list[dict[str, Any]] = [
    {
        "type": "message_start",
        "message": {"id": "msg_1", "role": "assistant", "content": [], "usage": {"input_tokens": 9}},
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Ok."}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]
CLAUDE_STREAM = Data("".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in CLAUDE_SAYS).encode())
MESSAGE = (
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
)
OPENED = (
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
)
CLOSED = (
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
)


def sent(stage: Stage) -> dict[str, Any]:
    """What the provider was sent."""
    parsed: dict[str, Any] = json.loads(b"".join(stage.transport.requests[-1].pieces()))
    return parsed


# --- Claude Code ------------------------------------------------------------------------------------------------------


async def test_claude_codes_request_reaches_anthropic_as_it_was_said(stage: Stage) -> None:
    request = claude_code("lab/cached", max_tokens=1000)
    await stage.play(
        request,
        row("intent", external_user=ACCOUNT),
        asked("claude", path="https://claude.example/v1/messages", model="cached-2026", stream=True),
        Says(SENT, SSE, CLAUDE_STREAM, END),
        begun(200),
        *events(*MESSAGE[:4]),
        row("done", finish_reason="stop", native_tokens_prompt=9, native_tokens_completion=2, losses=[]),
        *events(*MESSAGE[4:]),
        ENDED,
    )
    said, got = json.loads(request.body), sent(stage)
    for name in ("system", "tools", "thinking", "context_management", "output_config", "max_tokens", "messages"):
        assert got[name] == said[name], name
    assert got["metadata"]["user_id"] not in ("", ACCOUNT), "who it is stays here"
    headers = dict(stage.transport.requests[-1].headers)
    assert headers["anthropic-beta"] == BETAS
    assert headers["anthropic-version"] == "2023-06-01"
    assert not any(name.startswith(("x-claude", "x-stainless", "x-app")) for name in headers)


async def test_claude_codes_conversation_reaches_a_provider_of_another_kind(stage: Stage) -> None:
    await stage.play(
        claude_code("lab/solo", CLAUDE_GOES_ON),
        row("intent"),
        asked("acme", stream=True, reasoning_effort="high"),
        Says(SENT, SSE, text("Ok.")),
        begun(200),
        *events(*MESSAGE[:3]),
        Says(finish(), counted(100, 2), DONE_MARK, END),
        row("done", finish_reason="stop"),
        *events(*MESSAGE[3:]),
        ENDED,
    )
    got = sent(stage)
    assert [message["role"] for message in got["messages"]] == ["system", "user", "system", "assistant", "tool"]
    assert got["messages"][-1]["content"] == "1\tforty-two\n"
    assert [tool["function"]["name"] for tool in got["tools"]] == [tool["name"] for tool in CLAUDE_TOOLS]
    lost = [loss["parameter"] for loss in stage.record["routebook"]["losses"]]
    assert "context_management" in lost
    assert not {"thinking", "tools", "system", "messages"} & set(lost)


async def test_tools_that_it_found_are_named_to_a_provider_that_does_not_know_references(stage: Stage) -> None:
    await stage.play(
        claude_code("lab/solo", CLAUDE_SEARCHES),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, text("Ok.")),
        begun(200),
        *events(*MESSAGE[:3]),
        Says(finish(), counted(100, 2), DONE_MARK, END),
        row("done"),
        *events(*MESSAGE[3:]),
        ENDED,
    )
    result = sent(stage)["messages"][-1]
    assert (result["role"], json.loads(result["content"])) == ("tool", {"type": "tool_reference", "tool_name": "Write"})


async def test_its_search_of_the_web_asks_for_no_tool_where_there_is_none(stage: Stage) -> None:
    """OpenAI refuses `tool_choice` and `parallel_tool_calls` without tools."""
    await stage.play(
        claude_code("lab/solo", tools=[WEB_SEARCH], tool_choice={"type": "auto", "disable_parallel_tool_use": True}),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, text("Ok.")),
        begun(200),
        *events(*MESSAGE[:3]),
        Says(finish(), counted(100, 2), DONE_MARK, END),
        row("done"),
        *events(*MESSAGE[3:]),
        ENDED,
    )
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & sent(stage).keys()
    assert "tools[0]" in [loss["parameter"] for loss in stage.record["routebook"]["losses"]]


# --- Codex ------------------------------------------------------------------------------------------------------------


async def test_codexs_request_reaches_a_provider_of_its_own_api_as_it_was_said(stage: Stage) -> None:
    request = codex("lab/items", CODEX_GOES_ON)
    await stage.play(
        request,
        row("intent"),
        asked("delta", path="https://delta.example/v1/responses", model="items-2026", store=False, stream=True),
        Says(SENT, SSE, Data(text_stream("Ok.")), END),
        begun(200),
        *events(*OPENED),
        *events(*CLOSED[:-1]),
        row("done", finish_reason="stop", losses=[]),
        *events(CLOSED[-1]),
        DONE,
        ENDED,
    )
    said, got = json.loads(request.body), sent(stage)
    for name in said.keys() - {"model"}:
        assert got[name] == said[name], name
    headers = dict(stage.transport.requests[-1].headers)
    assert not any(name.startswith(("x-codex", "session", "thread", "originator")) for name in headers)


async def test_codexs_conversation_reaches_a_chat_provider(stage: Stage) -> None:
    await stage.play(
        codex("lab/solo", CODEX_GOES_ON),
        row("intent"),
        asked("acme", stream=True, reasoning_effort="medium", prompt_cache_key=SESSION),
        Says(SENT, SSE, text("Ok.")),
        begun(200),
        *events(*OPENED),
        Says(finish(), counted(100, 2), DONE_MARK, END),
        row("done", finish_reason="stop"),
        *events(*CLOSED),
        DONE,
        ENDED,
    )
    got = sent(stage)
    roles = [message["role"] for message in got["messages"]]
    called = ["assistant", "tool"]
    # A picture that a tool gave back is shown in a message of the user's: tools of this API say words only.
    assert roles == ["developer", "developer", "user", "user", *called, *called, "user", *called]
    assert got["messages"][8]["content"][-1]["image_url"]["url"] == "data:image/png;base64,QQ=="
    patch = got["messages"][9]["tool_calls"][0]["function"]
    assert (patch["name"], list(json.loads(patch["arguments"]).values())) == ("apply_patch", [PATCH])
    names = [tool["function"]["name"] for tool in got["tools"]]
    assert names == ["exec_command", "view_image", "apply_patch", "spawn_agent", "wait_agent"]
    lost = {loss["parameter"]: loss["detail"] for loss in stage.record["routebook"]["losses"]}
    assert {"tools[2].format", "tools[4]", "tools[5]", "client_metadata"} <= lost.keys()
    assert not {"tools", "include", "prompt_cache_key", "parallel_tool_calls", "tool_choice", "text"} & lost.keys()


async def test_tools_among_the_items_of_its_input_are_tools_for_a_chat_provider(stage: Stage) -> None:
    call = {"index": 0, "id": "call_1", "function": {"name": "exec", "arguments": json.dumps({"input": "text(1)"})}}
    await stage.play(
        codex("lab/solo", CODEX_CODES),
        row("intent"),
        asked("acme", tool_choice="auto", parallel_tool_calls=False, reasoning_effort="low"),
        Says(SENT, SSE, text("", tool_calls=[call])),
        begun(200),
        *events(*OPENED[:3]),
        Says(finish("tool_calls"), counted(100, 2), DONE_MARK, END),
        row("done", finish_reason="tool_calls"),
        *events("response.custom_tool_call_input.delta", "response.custom_tool_call_input.done"),
        *events(*CLOSED[2:]),
        DONE,
        ENDED,
    )
    assert [tool["function"]["name"] for tool in sent(stage)["tools"]] == ["exec", "wait", "sleep"]
    (item,) = numbered(stage.playbook.caller.received)[-1]["response"]["output"]
    assert (item["type"], item["namespace"], item["name"], item["input"]) == (
        *("custom_tool_call", "functions"),
        *("exec", "text(1)"),
    )


@pytest.mark.parametrize("items", [CODEX_CODES, CODEX_ASKS, CODEX_GOES_ON], ids=["codes", "asks", "goes on"])
async def test_each_of_its_inputs_reaches_a_provider_of_its_own_api_byte_for_byte(stage: Stage, items: Any) -> None:
    request = codex("lab/items", items)
    await stage.play(
        request,
        row("intent"),
        asked("delta"),
        Says(SENT, SSE, Data(text_stream("Ok.")), END),
        begun(200),
        *events(*OPENED, *CLOSED[:-1]),
        row("done", losses=[]),
        *events(CLOSED[-1]),
        DONE,
        ENDED,
    )
    body = b"".join(stage.transport.requests[-1].pieces())
    said = json.loads(request.body)
    assert json.dumps(said["input"], separators=(",", ":")).encode() in body


@pytest.mark.parametrize("place", range(len(CODEX_TOOLS)))
async def test_each_of_codexs_tools_alone_is_taken(stage: Stage, place: int) -> None:
    await stage.play(
        codex("lab/solo", CODEX_ASKS, tools=[CODEX_TOOLS[place]], stream=True),
        row("intent"),
        asked("acme"),
        Says(SENT, SSE, text("Ok.")),
        begun(200),
        *events(*OPENED),
        Says(finish(), counted(100, 2), DONE_MARK, END),
        row("done"),
        *events(*CLOSED),
        DONE,
        ENDED,
    )
    got = sent(stage)
    assert ("tools" in got) == ("tool_choice" in got) == ("parallel_tool_calls" in got)


@pytest.mark.parametrize("members", [{"a_member_of_tomorrow": {"x": 1}}, {"stream_options": {"new": True}}])
async def test_what_is_not_known_yet_refuses_no_call(stage: Stage, members: dict[str, Any]) -> None:
    for request in (codex("lab/solo", **members), claude_code("lab/solo", **members)):
        anthropic = request.surface == "anthropic"
        await stage.play(
            request,
            row("intent"),
            asked("acme"),
            Says(SENT, SSE, text("Ok.")),
            begun(200),
            *events(*(MESSAGE[:3] if anthropic else OPENED)),
            Says(finish(), counted(100, 2), DONE_MARK, END),
            row("done"),
            *events(*(MESSAGE[3:] if anthropic else CLOSED)),
            *(() if anthropic else (DONE,)),
            ENDED,
        )


async def test_one_of_these_calls_that_cannot_be_is_refused_with_its_place(stage: Stage) -> None:
    """The other side of taking everything: what is wrong is still told."""
    await stage.play(codex("lab/solo", tool_choice="some"), begun(400), body(error=400), ENDED)
    assert "tool_choice" in stage.playbook.caller.received.decode()
