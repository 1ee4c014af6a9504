"""What the scripted provider calls and with which arguments: it follows the request, as a model would."""

from __future__ import annotations

from typing import Any

import pytest

from routebook.testing.answers import Rates, answer, whole_body
from routebook.testing.values import Said, sample
from routebook.wire import codec

ASKED = {"role": "user", "content": "Go on."}
NEEDED = {"tool_choice": "required"}


def tool(name: str, **properties: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": properties}}}


TOOLS = [tool("weather"), tool("final_result")]


def called(*names: str) -> list[dict[str, Any]]:
    """Turns in which these were called, with their results."""
    turns: list[dict[str, Any]] = []
    for place, name in enumerate(names):
        call = {"id": f"c{place}", "type": "function", "function": {"name": name, "arguments": "{}"}}
        turns.append({"role": "assistant", "content": None, "tool_calls": [call]})
        turns.append({"role": "tool", "tool_call_id": f"c{place}", "content": "sunny"})
    return turns


def message(said: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    body = codec.encode({"model": "m", "messages": said, **more})
    whole: dict[str, Any] = codec.decode(whole_body(answer(body, {"m": Rates("1", "1")}, 1), 0))
    found: dict[str, Any] = whole["choices"][0]["message"]
    return found


@pytest.mark.parametrize(
    ("turns", "more", "name"),
    [
        ([ASKED], {}, "weather"),
        ([ASKED], {"tool_choice": "none"}, None),
        ([ASKED], {"tool_choice": {"type": "function", "function": {"name": "final_result"}}}, "final_result"),
        ([ASKED, *called("weather")], {}, None),
        ([ASKED, *called("weather")], NEEDED, "final_result"),
        ([ASKED, *called("weather", "final_result")], NEEDED, "final_result"),
        ([ASKED, *called("weather", "final_result"), ASKED], NEEDED, "weather"),
        ([ASKED, *called("weather", "final_result"), ASKED, *called("weather")], NEEDED, "final_result"),
    ],
)
def test_the_tool_is_the_named_one_or_the_first_that_this_turn_lacks(
    turns: list[dict[str, Any]], more: dict[str, Any], name: str | None
) -> None:
    got = message(turns, tools=TOOLS, **more)
    assert [call["function"]["name"] for call in got.get("tool_calls", [])] == ([] if name is None else [name])
    assert (got["content"] is None) is (name is not None)


def test_arguments_are_what_was_said_in_its_order() -> None:
    number, text = {"type": "integer"}, {"type": "string"}
    said = [{"role": "user", "content": "What is f(3) of -12 for 'a name'? It's v1.5. [[completion=40]]"}]
    got = message(said, tools=[tool("f", a=number, b=number, c=number, of=text, more=text)])
    arguments = codec.decode(got["tool_calls"][0]["function"]["arguments"].encode())
    assert arguments == {"a": 3, "b": -12, "c": 7, "of": "a name", "more": "a more"}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"$ref": "#/$defs/City", "$defs": {"City": {"type": "string"}}}, "a value"),
        ({"type": "array", "items": {"anyOf": [{"type": "boolean"}, {"type": "null"}]}}, [True]),
        ({"type": ["number", "null"]}, 7),
        ({"enum": ["b", "a"]}, "b"),
        ({"const": 4}, 4),
        ({}, None),
    ],
)
def test_a_value_is_one_that_the_schema_allows(schema: dict[str, Any], value: Any) -> None:
    assert sample(schema, Said()) == value
