"""An independent mock of the vendors' APIs as the provider of every dialect: each surface hears from each what it said.

aimock is written by others from the vendors' pages, in another language. Where it and we disagree, one of us is wrong;
where the vendor's own page says it is aimock, the case says so by its name.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import httpx2
import pytest

from tests.acceptance.aimock import aimock
from tests.acceptance.gateway import RunningGateway, bearer
from tests.acceptance.tongues import TONGUES, Heard, Result, Turn

PRICES = (Decimal("0.000003"), Decimal("0.000015"))
DIALECTS = {
    "openai": ("openai_chat", "/v1", "gpt-5"),
    "openai-responses": ("openai_responses", "/v1", "gpt-5"),
    "anthropic": ("anthropic", "", "claude-sonnet-4-6"),
    "gemini": ("gemini", "/v1beta", "gemini-2.5-flash"),
    "vertex": ("vertex", "/v1/projects/p/locations/l", "gemini-2.5-flash"),
    "bedrock": ("bedrock", "", "amazon.nova-lite-v1:0"),
    "bedrock-claude": ("bedrock_anthropic", "", "anthropic.claude-sonnet-4-5-v1:0"),
    "azure": ("azure", "", "my-deployment"),
    "cohere": ("cohere", "", "command-a-03-2025"),
    "ollama": ("ollama", "", "qwen3"),
    "openrouter": ("openai_chat", "/api/v1", "openai/gpt-5"),
}
"""slug -> (dialect, path of the base URL, what the provider calls the model)"""
WEATHER, RESULT = "What is the weather?", "23 °C"
THOUGHT = "I have to think — hard."

pytestmark = pytest.mark.timeout(400)
"""The first run installs the mock."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with aimock() as host:
        parts = ["[catalog]\nprice_list = false"]
        for slug, (dialect, path, upstream) in DIALECTS.items():
            vendor = 'vendor = "openrouter"\n' if slug == "openrouter" else ""
            parts.append(
                f'[[providers]]\nslug = "{slug}"\n{vendor}dialect = "{dialect}"\nbase_url = "http://{host}{path}"\n'
                f'api_key = "a-key"\n[[models]]\nslug = "mock/{slug}"\n[[models.endpoints]]\nprovider = "{slug}"\n'
                f'upstream_model = "{upstream}"\n[models.endpoints.pricing]\n'
                f'prompt = "{PRICES[0]}"\ncompletion = "{PRICES[1]}"\n'
            )
        with RunningGateway(tmp_path_factory.mktemp("aimock") / "home", "\n".join(parts)) as running:
            yield running


@pytest.fixture(scope="module")
def caller(gateway: RunningGateway) -> Iterator[httpx2.Client]:
    """One client for all cases: it takes longer to make one than to play a case."""
    key = gateway.new_key(name="mocked")
    with httpx2.Client(base_url=gateway.origin, headers=bearer(key), timeout=30) as client:
        yield client


def post(caller: httpx2.Client, surface: str, slug: str, turns: list[Turn], stream: bool) -> httpx2.Response:
    path, body = TONGUES[surface].asked(f"mock/{slug}", turns, stream)
    return caller.post(path, json=body)


def heard(caller: httpx2.Client, surface: str, slug: str, turns: list[Turn], stream: bool) -> Heard:
    """What the caller was told; it is what the record says, too."""
    response = post(caller, surface, slug, turns, stream)
    assert response.status_code == 200, response.text
    told = TONGUES[surface].heard(response, stream)
    found = caller.get("/api/v1/generation", params={"id": response.headers["x-generation-id"]})
    record = found.json()["data"]
    assert (record["native_tokens_prompt"], record["native_tokens_completion"]) == (told.prompt, told.completion)
    assert record["finish_reason"] == told.finish
    assert record["streamed"] is stream
    assert Decimal(str(record["total_cost"])) == told.cost
    assert told.cost == told.prompt * PRICES[0] + told.completion * PRICES[1]
    return told


# Where aimock does not speak as the vendor's page says, read 2026-11:
# - docs.aws.amazon.com, InvokeModelWithResponseStream: a chunk is `{"bytes": "<base64>"}`; aimock sends events bare.
# - docs.cohere.com, "Chat API v2", reasoning: parts of type `thinking`; aimock says thoughts as text.
# - docs.ollama.com, chat: thoughts are `message.thinking`; aimock calls them `reasoning_content`, and counts nothing.
# - ai.google.dev, FinishReason: calls end in STOP; aimock says FUNCTION_CALL, which callers of Gemini's API then see.
BARE = ("bedrock-claude", True)
SAID_AS_TEXT = ("cohere",)
UNTHINKING = ("cohere", "ollama")
UNCOUNTED = ("ollama",)

WAYS = [(slug, stream) for slug in DIALECTS for stream in (False, True) if (slug, stream) != BARE]
each_way = pytest.mark.parametrize(
    ("slug", "stream"), WAYS, ids=[f"{slug}-{'streamed' if stream else 'whole'}" for slug, stream in WAYS]
)


@each_way
@pytest.mark.parametrize("surface", TONGUES)
def test_a_conversation_with_a_tool(caller: httpx2.Client, surface: str, slug: str, stream: bool) -> None:
    first = heard(caller, surface, slug, [WEATHER], stream)
    assert first.text == "Let me see."
    assert [call[1:] for call in first.calls] == [("weather", {"city": "Zürich", "days": 3})]
    assert first.finish == "tool_calls"
    last = heard(caller, surface, slug, [WEATHER, Result(first, RESULT)], stream)
    assert (last.text, last.calls, last.finish) == ("It is sunny in Zürich — 23 °C.", [], "stop")
    counts = [(each.prompt, each.completion) for each in (first, last)]
    assert counts == ([(0, 0)] * 2 if slug in UNCOUNTED else [(70, 30), (90, 12)])


@each_way
@pytest.mark.parametrize("surface", TONGUES)
def test_thoughts_and_words(caller: httpx2.Client, surface: str, slug: str, stream: bool) -> None:
    told = heard(caller, surface, slug, ["Think first."], stream)
    before = THOUGHT if slug in SAID_AS_TEXT else ""
    assert told.text == before + "Good day, whoever you are: “é”."
    assert told.thought == ("" if slug in UNTHINKING else THOUGHT)


def test_a_stream_without_an_event_that_we_know_is_no_answer(caller: httpx2.Client) -> None:
    slug, stream = BARE
    response = post(caller, "chat", slug, [WEATHER], stream)
    assert response.status_code == 502
    assert response.json()["error"]["metadata"]["error_type"] == "provider_unavailable"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("slug", DIALECTS)
def test_faults(caller: httpx2.Client, slug: str, stream: bool) -> None:
    said = [post(caller, "chat", slug, [what], stream) for what in ("Refuse me.", "Fall over.", "Slow me down.")]
    assert [response.status_code for response in said] == [400, 503, 429]
    assert "That is not valid." in said[0].json()["error"]["message"]
    assert said[2].headers["retry-after"] == "7"
