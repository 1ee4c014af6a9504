"""A preset merged into a request. Source: platform, section 9."""

from __future__ import annotations

from typing import Any

import pytest

from routebook.policy.presets import merged, preset_of
from routebook.wire import codec


def members(**body: Any) -> dict[str, codec.Raw]:
    return {name: codec.Raw(codec.encode(value)) for name, value in body.items()}


def plain(body: dict[str, codec.Raw]) -> dict[str, Any]:
    return {name: codec.decode(bytes(value)) for name, value in body.items()}


def function(name: str, text: str = "") -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": text}}


HI = [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize(
    ("body", "slug"),
    [
        ({"preset": "mine"}, "mine"),
        ({"model": "@preset/mine"}, "mine"),
        ({"model": "lab/one:nitro@preset/mine"}, "mine"),
        ({"model": "lab/one@preset/theirs", "preset": "mine"}, "mine"),
        ({"model": "lab/one"}, None),
        ({"model": "@preset/"}, None),
        ({"preset": None}, None),
        ({}, None),
    ],
)
def test_a_preset_is_named_by_its_member_or_in_the_model(body: dict[str, Any], slug: str | None) -> None:
    assert preset_of(members(**body)) == slug


def test_the_request_wins_member_by_member() -> None:
    preset = members(model="lab/two", temperature=0.5, top_p=0.9, provider={"sort": "price", "zdr": True}, stream=True)
    body = members(model="lab/one@preset/mine", temperature=0.1, provider={"sort": "latency"}, messages=HI, preset="x")
    assert plain(merged(body, preset)) == {
        "model": "lab/one",
        "temperature": 0.1,
        "top_p": 0.9,
        "provider": {"sort": "latency"},
        "messages": HI,
    }


def test_without_a_model_of_its_own_the_request_has_the_presets() -> None:
    preset = members(model="lab/two")
    assert plain(merged(members(model="@preset/mine"), preset)) == {"model": "lab/two"}
    assert plain(merged(members(preset="mine"), preset)) == {"model": "lab/two"}
    assert plain(merged(members(model="@preset/mine"), {})) == {}


def test_tools_are_united_by_identity_the_presets_first() -> None:
    preset = members(tools=[function("a"), function("b", "old"), {"type": "openrouter:web_search", "engine": "x"}])
    body = members(
        tools=[
            function("b", "new"),
            {"type": "openrouter:web_search", "engine": "y"},
            {"type": "openrouter:advisor", "name": "one"},
            {"type": "openrouter:advisor", "name": "two"},
        ]
    )
    assert plain(merged(body, preset))["tools"] == [
        function("a"),
        function("b", "new"),
        {"type": "openrouter:web_search", "engine": "y"},
        {"type": "openrouter:advisor", "name": "one"},
        {"type": "openrouter:advisor", "name": "two"},
    ]


def test_instructions_go_before_the_messages_unless_these_have_some() -> None:
    system = {"role": "system", "content": "Be brief."}
    assert plain(merged(members(messages=HI), {}, "Be brief."))["messages"] == [system, *HI]
    own = [{"role": "developer", "content": "Rhyme."}, *HI]
    assert plain(merged(members(messages=own), {}, "Be brief."))["messages"] == own
