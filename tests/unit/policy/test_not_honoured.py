"""What the gateway does not act on is named, and what routing does act on is not. Source: inference API, section 11."""

from __future__ import annotations

from typing import Any

import pytest

from routebook.dialects import registry
from routebook.policy.refusals import not_honoured
from routebook.wire import codec


def named(surface: str = "openai_chat", **members: Any) -> list[str]:
    body: dict[str, Any] = {"model": "lab/one", "messages": [{"role": "user", "content": "Hi"}], **members}
    if surface == "anthropic":
        body["max_tokens"] = 9
    return [name for name, _ in not_honoured(registry.surfaces()[surface].read(codec.encode(body), {}))]


@pytest.mark.parametrize("surface", ["openai_chat", "anthropic"])
@pytest.mark.parametrize(
    "plugins",
    [
        [{"id": "context-compression"}],
        [{"id": "auto-router", "allowed_models": ["lab/*"]}, {"id": "pareto-router"}],
        [{"id": "web", "enabled": False}, {"id": "web-fetch", "enabled": False}],
        [{"id": "web"}, {"id": "web", "engine": "native"}],
    ],
)
def test_plugins_that_are_routing_are_honoured(surface: str, plugins: Any) -> None:
    assert named(surface, plugins=plugins) == []


def test_the_older_words_of_routing_are_honoured() -> None:
    assert named(transforms=["middle-out"], route="fallback") == []
    assert named(route="sort") == []


@pytest.mark.parametrize(
    "members",
    [
        {"plugins": [{"id": "web", "engine": "exa"}]},
        {"plugins": [{"id": ["web"]}]},
        {"plugins": [{"id": "context-compression"}, {"id": "file-parser", "enabled": True}]},
        {"plugins": {"id": "context-compression"}},
        {"plugins": ["context-compression"]},
        {"transforms": ["middle-out", "upside-down"]},
        {"transforms": "middle-out"},
        {"route": "scenic"},
    ],
)
def test_what_nobody_here_runs_is_named(members: dict[str, Any]) -> None:
    assert named(**members) == list(members)


def test_the_reason_names_the_plugins_that_are_not_run() -> None:
    body = {"model": "a/b", "messages": [{"role": "user", "content": "Hi"}], "trace": {"trace_id": "1"}}
    body["plugins"] = [{"id": "web-fetch"}, {"id": "context-compression"}]
    call = registry.surfaces()["openai_chat"].read(codec.encode(body), {})
    assert dict(not_honoured(call)) == {
        "plugins": "the gateway does not run web-fetch",
        "trace": "the gateway broadcasts no traces",
    }
