"""Which endpoints search the web for a call that asks for it. Source: inference API, sections 5 and 11; routing, 7."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from routebook.core.catalog import Endpoint, Model
from routebook.core.errors import BadRequest, NotFound
from routebook.policy.search import OPTIONS, Search, spoken
from tests.unit.policy.stock import call, endpoint, model, one, plan, provider, tags


def served(slug: str, dialect: str, also: tuple[str, ...] = (), **more: Any) -> Endpoint:
    return endpoint(replace(provider(slug), dialect=dialect, also=also), **more)


CLAUDE, CHAT = served("claude", "anthropic"), served("acme", "openai_chat")
BOTH = served("both", "openai_chat", ("openai_responses",))


def web(**said: Any) -> dict[str, Any]:
    return {"plugins": [{"id": "web", **said}]}


@pytest.mark.parametrize(
    ("asked_of", "surface", "dialect"),
    [
        (CLAUDE, "openai_chat", "anthropic"),
        (served("google", "gemini"), "openai_chat", "gemini"),
        (served("cloud", "vertex"), "openai_chat", "vertex"),
        (served("aws", "bedrock"), "openai_chat", None),
        (CHAT, "openai_chat", None),
        (replace(CHAT, supported_parameters=frozenset({OPTIONS})), "openai_chat", "openai_chat"),
        (BOTH, "openai_chat", "openai_responses"),
        (BOTH, "openai_responses", "openai_responses"),
        (replace(CLAUDE, supported_parameters=frozenset({"temperature"})), "anthropic", None),
        (replace(CLAUDE, supported_parameters=frozenset({"tools"})), "anthropic", "anthropic"),
    ],
)
def test_an_endpoint_searches_in_the_words_it_has_for_it(asked_of: Endpoint, surface: str, dialect: str | None) -> None:
    assert spoken(asked_of, surface) == dialect


def test_who_can_search_is_asked_and_where_nobody_can_all_are() -> None:
    here = one(CHAT, CLAUDE, BOTH)
    assert tags(plan(call(), here)) == ["acme", "claude", "both"]
    assert tags(plan(call("lab/one:online"), here)) == ["claude", "both"]
    found = plan(call(**web(max_uses=3)), here)
    assert tags(found) == ["claude", "both"]
    assert found.searches == {each.id: Search(max_uses=3) for each in found.endpoints}
    assert tags(plan(call("lab/one:online"), one(CHAT))) == ["acme"]
    with pytest.raises(NotFound, match="require_parameters"):
        plan(call("lab/one:online", wish={"require_parameters": True}), one(CHAT))


@pytest.mark.parametrize(
    "said", [web(enabled=False), web(engine="exa"), {"plugins": [{"id": "web-fetch"}]}, {"plugins": "web"}]
)
def test_a_plugin_that_is_off_or_wants_another_engine_changes_nothing(said: dict[str, Any]) -> None:
    found = plan(call(**said), one(CHAT, CLAUDE))
    assert (tags(found), found.searches) == (["acme", "claude"], None)


@pytest.mark.parametrize(
    "said", [web(max_uses="many"), web(colour="red"), web(include_domains=["a"], exclude_domains=["b"])]
)
def test_a_plugin_that_contradicts_itself_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match="plugins"):
        plan(call(**said), one(CLAUDE))


def test_the_plugin_says_more_than_the_variant() -> None:
    (search,) = (plan(call("lab/one:online", **web(max_uses=1)), one(CLAUDE)).searches or {}).values()
    assert search.max_uses == 1


def test_a_router_that_knows_the_variant_searches_by_the_name() -> None:
    def offered(slug: str) -> Model | None:
        served = replace(endpoint("openrouter", slug), upstream_model=slug)
        return model(slug, served) if slug == "far/away:online" else None

    found = plan(call("far/away:online"), one(CHAT), passthrough=offered)
    assert ([each.upstream_model for each in found.endpoints], found.searches) == (["far/away:online"], None)
