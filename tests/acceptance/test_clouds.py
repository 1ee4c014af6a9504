"""One call to every cloud over sockets: equal text, call, finish, counts and money, and signed where that is wanted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from tests.acceptance.clouds import ACCESS, BEARER, CALL, COMPLETION, PROMPT, SECRET, SESSION, TEXT, Clouds
from tests.acceptance.gateway import ADMIN_KEY, RunningGateway, bearer

SIGNED = f"{ACCESS}:{SECRET}:{SESSION}"
CASES = {
    "bedrock": ("bedrock", "", "amazon.nova-lite-v1:0", SIGNED),
    "bedrock-claude": ("bedrock", "", "anthropic.claude-sonnet-4-5-v1:0", SIGNED),
    "bedrock-key": ("bedrock", "", "amazon.nova-lite-v1:0", BEARER),
    "bedrock-native": ("bedrock_anthropic", "", "anthropic.claude-sonnet-4-5-v1:0", SIGNED),
    "vertex-gemini": ("vertex", "/v1/projects/p/locations/l", "gemini-2.5-flash", BEARER),
    "vertex-claude": ("vertex", "/v1/projects/p/locations/l", "claude-sonnet-4-5", BEARER),
    "azure": ("azure", "", "my deployment", BEARER),
    "cohere": ("cohere", "", "command-a", BEARER),
    "ollama": ("ollama", "", "qwen3", BEARER),
}
"""slug -> (dialect, path of the base URL, upstream model, credential)"""
PRICES = (Decimal("0.000003"), Decimal("0.000015"))


@pytest.fixture(scope="module")
def clouds() -> Iterator[Clouds]:
    with Clouds() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(clouds: Clouds, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    parts = ["[catalog]\nprice_list = false"]
    for slug, (dialect, path, upstream, secret) in CASES.items():
        parts.append(
            f'[[providers]]\nslug = "{slug}"\ndialect = "{dialect}"\n'
            f'base_url = "http://{clouds.host}{path}"\napi_key = "{secret}"\n'
            f'[[models]]\nslug = "cloud/{slug}"\n[[models.endpoints]]\nprovider = "{slug}"\n'
            f'upstream_model = "{upstream}"\n[models.endpoints.pricing]\n'
            f'prompt = "{PRICES[0]}"\ncompletion = "{PRICES[1]}"\n'
        )
    with RunningGateway(tmp_path_factory.mktemp("clouds") / "home", "\n".join(parts)) as running:
        yield running


def ask(gateway: RunningGateway, slug: str, stream: bool, content: Any = "Weather?") -> httpx2.Response:
    body = {
        "model": f"cloud/{slug}",
        "messages": [{"role": "user", "content": content}],
        "tools": [{"type": "function", "function": {"name": CALL[1], "parameters": {"type": "object"}}}],
        "max_tokens": 100,
        "stream": stream,
    }
    return httpx2.post(f"{gateway.base}/chat/completions", json=body, headers=bearer(ADMIN_KEY), timeout=30)


def said(response: httpx2.Response, stream: bool) -> dict[str, Any]:
    """Text, calls, finish and usage of an answer."""
    if not stream:
        value = response.json()
        choice, usage = value["choices"][0], value["usage"]
        calls = [(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in choice["message"]["tool_calls"]]
        return told(choice["message"]["content"], calls, choice["finish_reason"], usage)
    text, finish, usage = "", None, {}
    pieces: dict[int, list[str]] = {}
    for line in response.text.splitlines():
        if not line.startswith("data: {"):
            continue
        chunk = json.loads(line[6:])
        usage = chunk.get("usage") or usage
        for choice in chunk["choices"]:
            text += choice["delta"].get("content") or ""
            finish = choice["finish_reason"] or finish
            for call in choice["delta"].get("tool_calls") or ():
                known = pieces.setdefault(call["index"], ["", "", ""])
                known[0] += call.get("id") or ""
                known[1] += call["function"].get("name") or ""
                known[2] += call["function"].get("arguments") or ""
    return told(text, [tuple(piece) for piece in pieces.values()], finish, usage)


def told(text: str, calls: list[Any], finish: str | None, usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "text": text,
        "calls": [(call_id, name, json.loads(arguments)) for call_id, name, arguments in calls],
        "finish": finish,
        "counts": (usage["prompt_tokens"], usage["completion_tokens"]),
        "cost": Decimal(str(usage["cost"])),
    }


COST = PROMPT * PRICES[0] + COMPLETION * PRICES[1]
WANT = {
    "text": "".join(TEXT),
    "calls": [CALL],
    "finish": "tool_calls",
    "counts": (PROMPT, COMPLETION),
    "cost": COST,
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("slug", CASES)
def test_every_dialect_gives_the_caller_the_same(
    gateway: RunningGateway, clouds: Clouds, slug: str, stream: bool
) -> None:
    before = clouds.signed
    response = ask(gateway, slug, stream)
    assert response.status_code == 200, response.text
    assert said(response, stream) == WANT
    assert clouds.signed - before == (CASES[slug][3] == SIGNED), "signed where it has to be, and rightly"
    generation = response.headers["x-generation-id"]
    found = httpx2.get(f"{gateway.base}/generation", params={"id": generation}, headers=bearer(ADMIN_KEY))
    record = found.json()["data"]
    assert Decimal(str(record["total_cost"])) == COST
    assert (record["native_tokens_prompt"], record["native_tokens_completion"]) == (PROMPT, COMPLETION)
    assert record["provider_name"].lower() == slug
    assert record["finish_reason"] == "tool_calls"


def test_a_large_picture_is_signed_and_sent_as_it_came(gateway: RunningGateway, clouds: Clouds) -> None:
    data = "QUJD" * 200_000
    parts = [
        {"type": "text", "text": "Look"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
    ]
    before = clouds.signed
    assert ask(gateway, "bedrock", False, parts).status_code == 200
    assert clouds.signed == before + 1
    (picture,) = [b["image"] for b in clouds.asked[-1][1]["messages"][0]["content"] if "image" in b]
    assert picture == {"format": "png", "source": {"bytes": data}}


def test_a_refused_credential_is_not_the_callers_trouble(clouds: Clouds, tmp_path: Any) -> None:
    config = (
        "[catalog]\nprice_list = false\n"
        f'[[providers]]\nslug = "aws"\ndialect = "bedrock"\nbase_url = "http://{clouds.host}"\n'
        f'api_key = "{ACCESS}:wrong:{SESSION}"\n'
        '[[models]]\nslug = "cloud/aws"\n[[models.endpoints]]\nprovider = "aws"\nupstream_model = "m"\n'
    )
    with RunningGateway(tmp_path / "home", config) as gateway:
        response = ask(gateway, "aws", False)
    assert response.status_code == 502
    assert "wrong" not in response.text
    assert "Who are you" not in response.text
