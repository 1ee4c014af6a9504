"""When tools were called as they should be. Source: inference API, section 5; routing, 5.3."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from routebook.core.call import Call, Chat, FunctionTool, Loss, Tool
from routebook.metering.meter import Called
from routebook.policy.tools import tools_ok
from tests.unit.policy.stock import call

OFFERED = [Tool(function=FunctionTool("look")), Tool(function=FunctionTool("find"))]
ASKED: Call = replace(call(), chat=Chat(messages=[], tools=OFFERED))


def called(name: str | None, *pieces: str, type: str = "function") -> Called:
    return Called(type, name, list(pieces))


@pytest.mark.parametrize(
    ("calls", "ok"),
    [
        ([], None),
        ([called("look", '{"x"', ": 1}")], True),
        ([called("look"), called("find", "  ")], True),
        ([called("look", "{}"), called("find", "[]")], False),
        ([called("look", '{"x": ')], False),
        ([called("look", "[" * 5000)], False),
        ([called("guess", "{}")], False),
        ([called(None, "{}")], False),
        ([called("shell", "rm", type="custom")], None),
    ],
)
def test_every_call_names_a_tool_that_was_offered_with_an_object(calls: list[Called], ok: bool | None) -> None:
    assert tools_ok(ASKED, calls) is ok


@pytest.mark.parametrize(
    "more", [{"untold": (Loss("tools[1]", "a tool of its own"),)}, {"chat": Chat(messages=[], tools=[Tool("web")])}]
)
def test_a_name_says_nothing_where_tools_are_not_all_known(more: dict[str, Any]) -> None:
    assert tools_ok(replace(ASKED, **more), [called("guess", "{}")]) is True
    assert tools_ok(replace(ASKED, **more), [called("guess", "{")]) is False
