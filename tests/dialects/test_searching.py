"""How a search of the web is written into a finished request, for every dialect that has one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routebook.core.call import CannotExpress, Losses
from routebook.dialects.searching import with_search
from routebook.policy.search import ONLINE, Search
from routebook.wire.http import HttpRequest

PLACE = {"type": "approximate", "city": "Oslo", "country": "NO"}
ALL = Search(
    mode="fast",
    max_results=7,
    max_uses=2,
    search_prompt="Look:",
    include_domains=["a.example"],
    user_location=PLACE,
)


def searching(body: Any, dialect: str | None, search: Search = ONLINE, **how: Any) -> tuple[Any, list[str]]:
    """(the body with its search, the parameters recorded as lost)"""
    losses = Losses(**how)
    request = HttpRequest("POST", "https://x.example", (("a", "b"),), json.dumps(body).encode())
    found = with_search(request, dialect, search, losses)
    assert (found.method, found.url, found.headers) == (request.method, request.url, request.headers)
    return json.loads(found.body), [loss.parameter.removeprefix("plugins.web.") for loss in losses.items]


def test_anthropic_gets_its_search_beside_the_callers_tools() -> None:
    tool = {"type": "web_search_20250305", "name": "web_search"}
    assert searching({"model": "m"}, "anthropic") == ({"model": "m", "tools": [tool]}, [])
    mine = {"name": "f", "input_schema": {"maximum": 1.10}}
    got, lost = searching({"tools": [mine]}, "anthropic", ALL)
    said = {"max_uses": 2, "allowed_domains": ["a.example"], "user_location": PLACE}
    assert got["tools"] == [mine, {**tool, **said}]
    assert lost == ["max_results", "mode", "search_prompt"]
    got, _ = searching({}, "anthropic", Search(exclude_domains=["b.example"]))
    assert got["tools"][0]["blocked_domains"] == ["b.example"]


def test_the_responses_api_gets_its_own() -> None:
    assert searching({"input": "Hi"}, "openai_responses")[0]["tools"] == [{"type": "web_search"}]
    got, lost = searching({"input": "Hi"}, "openai_responses", ALL)
    filters = {"allowed_domains": ["a.example"]}
    assert got["tools"] == [{"type": "web_search", "filters": filters, "user_location": PLACE}]
    assert lost == ["max_results", "max_uses", "mode", "search_prompt"]


def test_gemini_gets_its_own_but_not_beside_functions() -> None:
    assert searching({"contents": []}, "gemini") == ({"contents": [], "tools": [{"googleSearch": {}}]}, [])
    body: dict[str, Any] = {"contents": [], "tools": [{"functionDeclarations": []}]}
    assert searching(body, "gemini") == (body, ["model"])
    assert searching({"contents": []}, "gemini", ALL)[1] == [
        "max_results", "max_uses", "mode", "search_prompt", "include_domains", "user_location"
    ]  # fmt: skip


def test_vertex_has_the_search_of_whose_model_it_is() -> None:
    assert searching({"contents": []}, "vertex")[0]["tools"] == [{"googleSearch": {}}]
    assert searching({"anthropic_version": "v"}, "vertex")[0]["tools"][0]["name"] == "web_search"


def test_chat_models_that_search_get_its_options() -> None:
    assert searching({}, "openai_chat") == ({"web_search_options": {}}, [])
    got, lost = searching({}, "openai_chat", ALL)
    place = {"type": "approximate", "approximate": {"city": "Oslo", "country": "NO"}}
    assert got == {"web_search_options": {"user_location": place}}
    assert lost == ["max_results", "max_uses", "mode", "search_prompt", "include_domains"]


@pytest.mark.parametrize(
    ("body", "dialect"),
    [
        ({"tools": [{"type": "web_search_20260209", "name": "web_search"}]}, "anthropic"),
        ({"tools": [{"type": "web_search_preview"}]}, "openai_responses"),
        ({"contents": [], "tools": [{"google_search": {}}]}, "gemini"),
        ({"web_search_options": {"search_context_size": "high"}}, "openai_chat"),
        ({"plugins": [{"id": "web"}]}, None),
    ],
)
def test_who_asked_in_the_providers_own_words_has_said_it(body: Any, dialect: str | None) -> None:
    assert searching(body, dialect) == (body, [])


def test_where_there_is_none_it_is_lost_and_refused_if_it_is_required() -> None:
    assert searching({}, None) == ({}, ["model"])
    assert searching({}, None, Search()) == ({}, ["plugins.web"])
    with pytest.raises(CannotExpress):
        searching({}, None, strict=True)
    with pytest.raises(CannotExpress):
        searching({}, "openai_responses", Search(exclude_domains=["b.example"]), strict=True)
    got, lost = searching({}, "openai_responses", Search(max_results=5, max_uses=2), strict=True)
    assert (len(got["tools"]), lost) == (1, ["max_results", "max_uses"]), "the API says that these may be ignored"
