"""Prompts that do not fit, shortened from the middle. Source: routing, section 11."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routebook.core.call import Call, FunctionCall, Message, ToolCall
from routebook.core.catalog import Endpoint
from routebook.policy.compress import CUT, MESSAGES_MAX, Compressed, asked, fitted, quarter
from routebook.wire import codec
from tests.unit.policy.stock import call, endpoint, provider

ON: dict[str, Any] = {"plugins": [{"id": "context-compression"}]}
SMALL = endpoint("acme", context_length=1000)


def turn(role: str, tokens: int, mark: str = "x") -> Message:
    return Message(role, mark * (4 * tokens))


def conversation(*turns: Message, **more: Any) -> Call:
    return call(messages=list(turns), body_bytes=100_000, **more)


def said(after: Call) -> list[str]:
    return [str(message.content)[:1] for message in after.chat.messages]


def both(after: Call) -> list[Message]:
    """The messages, after checking that the verbatim ones say the same."""
    rows = codec.decode_as(bytes(after.raw["messages"]), list[Message])
    assert rows == after.chat.messages
    return rows


LONG = [turn("system", 50, "s"), *[turn("user" if n % 2 else "assistant", 200, "abcdefghij"[n]) for n in range(10)]]


def test_the_middle_goes_and_system_first_and_last_stay() -> None:
    after, done = fitted(conversation(*LONG, **ON), SMALL)
    both(after)
    assert said(after) == ["s", "a", "b", "i", "j"]
    assert done == Compressed("middle-out", "tokens", 2138, 890, 6, 0)
    assert done.compressed <= 1000


def test_a_call_that_fits_is_left_as_it_is() -> None:
    before = conversation(turn("user", 100), **ON)
    after, done = fitted(before, SMALL)
    assert after is before
    assert done is None


def test_the_answer_and_the_tools_need_room_too() -> None:
    after, done = fitted(conversation(*LONG, **ON, max_tokens=500), SMALL)
    assert done is not None
    assert done.compressed <= 500
    assert said(after) == ["s", "a", "j"]


def test_where_the_fixed_turns_are_too_long_their_texts_are_cut_in_the_middle() -> None:
    after, done = fitted(conversation(turn("system", 100, "s"), turn("user", 3000, "u"), **ON), SMALL)
    messages = both(after)
    assert done is not None
    assert (done.dropped, done.cut) == (0, 1)
    assert done.compressed <= 1000
    text = messages[1].content
    assert isinstance(text, str)
    assert CUT in text
    assert text.startswith("uuu")
    assert text.endswith("uuu")
    assert messages[0] == turn("system", 100, "s")


def test_tool_calls_and_their_results_stay_or_go_together() -> None:
    asks = Message("assistant", None, tool_calls=[ToolCall(FunctionCall("f", "x" * 800), id="1")])
    answer = Message("tool", "y" * 1600, tool_call_id="1")
    turns = [turn("user", 100, "a"), asks, answer, turn("assistant", 300, "b"), asks, answer, turn("user", 50, "c")]
    after, done = fitted(conversation(*turns, **ON), SMALL)
    assert done is not None
    roles = [message.role for message in both(after)]
    assert roles.count("tool") == sum(bool(message.tool_calls) for message in after.chat.messages)
    assert roles[0] == roles[-1] == "user"


def test_of_more_messages_than_a_provider_takes_the_first_and_last_halves_stay() -> None:
    claude = endpoint(provider("claude"), context_length=1_000_000)
    claude = msgspec.structs.replace(claude, provider=msgspec.structs.replace(claude.provider, dialect="anthropic"))
    many = [Message("user" if n % 2 else "assistant", str(n)) for n in range(1500)]
    after, done = fitted(conversation(*many, **ON), claude)
    kept = [str(message.content) for message in both(after)]
    assert kept == [str(n) for n in (*range(500), *range(1000, 1500))]
    assert done == Compressed("middle-out", "messages", 1500, MESSAGES_MAX["anthropic"], 500, 0)


@pytest.mark.parametrize(
    ("body", "house", "context", "on"),
    [
        ({}, None, 8192, True),
        ({}, None, 8193, False),
        ({}, True, 100_000, True),
        ({}, False, 4096, False),
        (ON, False, 100_000, True),
        ({"plugins": [{"id": "context-compression", "enabled": False}]}, True, 4096, False),
        ({"transforms": ["middle-out"]}, None, 100_000, True),
        ({"transforms": []}, None, 4096, False),
        ({"plugins": [{"id": "web"}]}, None, 4096, True),
        (ON, None, None, False),
    ],
)
def test_it_is_on_for_small_contexts_and_where_request_or_account_say_so(
    body: dict[str, Any], house: bool | None, context: int | None, on: bool
) -> None:
    before = conversation(turn("user", 1, "a"), *[turn("user", 70_000, "x")] * 3, turn("user", 1, "b"), **body)
    after, done = fitted(before, endpoint("acme", context_length=context), house)
    assert (done is not None) is on
    assert (after is not before) is on


def test_it_is_skipped_where_only_pictures_are_made_and_for_large_bodies_in_pieces() -> None:
    pictures = conversation(*LONG, **ON, modalities=["image"])
    assert fitted(pictures, SMALL) == (pictures, None)
    pieces = conversation(*LONG, **ON, bulk=((memoryview(b"x"),),))
    assert fitted(pieces, SMALL)[0] is pieces


def test_what_the_request_says_is_read_from_the_plugin_else_the_transforms() -> None:
    assert asked(call()) is None
    assert asked(call(**ON, transforms=[])) is True
    assert asked(call(transforms=["other"])) is False
    assert asked(call(plugins=None, transforms=None)) is None


def test_members_of_a_message_that_nobody_here_knows_stay() -> None:
    before = conversation(*LONG, **ON)
    rows = codec.decode(bytes(before.raw["messages"]))
    rows[1]["weight"] = 0.25
    raw = {**before.raw, "messages": codec.Raw(codec.encode(rows))}
    after, _ = fitted(msgspec.structs.replace(before, raw=raw), SMALL)
    assert codec.decode(bytes(after.raw["messages"]))[1]["weight"] == 0.25


def test_the_body_is_smaller_afterwards_and_the_bound_of_the_prompt_with_it() -> None:
    before = conversation(*LONG, **ON)
    after, _ = fitted(before, SMALL)
    less = len(bytes(before.raw["messages"])) - len(bytes(after.raw["messages"]))
    assert after.body_bytes == before.body_bytes - less


TURNS = st.lists(
    st.tuples(st.sampled_from(["user", "assistant", "system"]), st.integers(0, 400)), min_size=1, max_size=25
)


@settings(max_examples=80, deadline=None)
@given(TURNS, st.integers(300, 3000))
def test_what_comes_out_is_in_order_ends_as_before_and_is_no_longer(turns: list[tuple[str, int]], context: int) -> None:
    messages = [Message(role, f"{n} " + "x" * size * 4) for n, (role, size) in enumerate(turns)]
    here: Endpoint = endpoint("acme", context_length=context)
    after, done = fitted(conversation(*messages, **ON), here)
    numbers = [int(str(message.content).split(" ")[0]) for message in both(after)]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == len(messages) - 1 or messages[-1].role == "system"
    size = sum(8 + quarter(str(message.content)) for message in after.chat.messages)
    assert done is None or done.compressed == size
    assert done is not None or size <= context
    systems = [n for n, message in enumerate(messages) if message.role == "system"]
    assert set(systems) <= set(numbers)
    assert fitted(conversation(*messages, **ON), here)[0] == after
