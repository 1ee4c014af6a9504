"""Callers of Anthropic's and Gemini's APIs whose provider has the same models at another place: Bedrock and Vertex."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routebook.core.call import Call, Losses
from routebook.core.catalog import Endpoint, Provider
from routebook.dialects import registry
from routebook.dialects.base import speaks

UPSTREAMS = registry.upstreams({})
SURFACES = registry.surfaces()
BASES = {
    "bedrock": "https://bedrock-runtime.eu-west-1.amazonaws.com",
    "bedrock_anthropic": "https://bedrock-runtime.eu-west-1.amazonaws.com",
    "vertex": "https://europe-west1-aiplatform.googleapis.com/v1/projects/p/locations/europe-west1",
}
MCP = [{"type": "mcp_tool_use", "id": "m", "name": "f", "server_name": "s", "input": {}}]


def endpoint(dialect: str, model: str) -> Endpoint:
    provider = Provider(slug=dialect, name=dialect, dialect=dialect, base_url=BASES[dialect])
    return Endpoint(id="e", model="m", provider=provider, upstream_model=model, tag=dialect, pricing=None)


def messages_call() -> Call:
    body = {
        "model": "m",
        "max_tokens": 9,
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": [{"type": "text", "text": "So."}, *MCP]},
            {"role": "user", "content": "And?"},
        ],
    }
    return SURFACES["anthropic"].read(json.dumps(body).encode(), {})


def sent(dialect: str, model: str, call: Call) -> dict[str, Any]:
    request = UPSTREAMS[dialect].build(call, endpoint(dialect, model), None, Losses())
    body: dict[str, Any] = json.loads(request.body)
    return body


@pytest.mark.parametrize(
    ("dialect", "model"), [("bedrock_anthropic", "anthropic.claude-sonnet-4-5"), ("vertex", "claude-sonnet-4-5")]
)
def test_claudes_own_body_takes_the_callers_own_blocks_so_nothing_is_lost(dialect: str, model: str) -> None:
    call = messages_call()
    assert sent(dialect, model, call)["messages"][1]["content"][1:] == MCP
    assert speaks(UPSTREAMS[dialect], call.surface, endpoint(dialect, model))


def test_converse_gets_what_the_hub_can_say_and_the_rest_is_a_loss() -> None:
    call = messages_call()
    there = sent("bedrock", "anthropic.claude-sonnet-4-5", call)["messages"][1]["content"]
    assert there == [{"text": "So."}]
    assert [loss.parameter for loss in call.untold] == ["messages[1].content[1]"]
    assert not speaks(UPSTREAMS["bedrock"], call.surface, endpoint("bedrock", "anthropic.claude-sonnet-4-5"))


def test_vertex_speaks_to_gemini_and_claude_each_in_its_own_way() -> None:
    vertex = UPSTREAMS["vertex"]
    assert speaks(vertex, "gemini", endpoint("vertex", "gemini-2.5-flash"))
    assert not speaks(vertex, "anthropic", endpoint("vertex", "gemini-2.5-flash"))
    assert not speaks(vertex, "gemini", endpoint("vertex", "claude-sonnet-4-5"))


def test_a_dialect_speaks_to_its_own_callers_alone() -> None:
    here = endpoint("bedrock", "m")
    for name, upstream in UPSTREAMS.items():
        if name in ("anthropic", "gemini", "openai_chat", "openai_responses"):
            assert [other for other in SURFACES if speaks(upstream, other, here)] == [name]
