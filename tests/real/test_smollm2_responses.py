"""The responses API against a real model: SmolLM2 behind llama.cpp, which speaks that API itself and numbers nothing.

The same call takes every way there is: callers of either API, llama.cpp asked in either, streamed and not. At
temperature 0 the text is always the same, and so are the counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from routebook.cli import embedded
from routebook.cli.embedded import EmbeddedModel
from tests.acceptance.gateway import ADMIN_KEY, RunningGateway, bearer
from tests.dialects.responses_cases import numbered

if embedded.missing():
    pytest.skip(
        f"the embedded model is not installed ({', '.join(embedded.missing())}); {embedded.INSTALL}",
        allow_module_level=True,
    )

pytestmark = pytest.mark.timeout(180)

PROMPT = "Name three things a good librarian does."
TOKENS = 24

CONFIGURATION = """
[catalog]
price_list = false
"""
EACH = """
[[providers]]
slug = "{slug}"
dialect = "{dialect}"
base_url = "BASE_URL"
api_key = "API_KEY"
[[models]]
slug = "local/{slug}"
[[models.endpoints]]
provider = "{slug}"
upstream_model = "MODEL"
[models.endpoints.pricing]
prompt = "0.00000001"
completion = "0.00000003"
"""
DIALECTS = ("openai_chat", "openai_responses")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    home: Path = tmp_path_factory.mktemp("real") / "home"
    parts = [EACH.format(slug=dialect.replace("_", "-"), dialect=dialect) for dialect in DIALECTS]
    with EmbeddedModel(home.parent / "llama.log") as model:
        text = "".join([CONFIGURATION, *parts]).replace("BASE_URL", model.ready())
        text = text.replace("API_KEY", model.key.reveal()).replace("MODEL", embedded.MODEL)
        with (
            RunningGateway(home, text) as gateway,
            httpx2.Client(base_url=gateway.base, headers=bearer(ADMIN_KEY), timeout=60) as opened,
        ):
            yield opened


def ask(client: httpx2.Client, surface: str, upstream: str, streamed: bool) -> tuple[str, dict[str, Any], str]:
    """(the text, usage as the caller is told, generation id)."""
    body: dict[str, Any] = {"model": f"local/{upstream.replace('_', '-')}", "temperature": 0, "stream": streamed}
    if surface == "openai_responses":
        answer = client.post("/responses", json={**body, "input": PROMPT, "max_output_tokens": TOKENS})
    else:
        messages = [{"role": "user", "content": PROMPT}]
        answer = client.post("/chat/completions", json={**body, "messages": messages, "max_tokens": TOKENS})
    assert answer.status_code == 200, answer.text
    id = answer.headers["x-generation-id"]
    if surface == "openai_responses":
        whole = numbered(answer.content)[-1]["response"] if streamed else answer.json()
        return whole["output_text"], whole["usage"], id
    if not streamed:
        value = answer.json()
        return value["choices"][0]["message"]["content"], value["usage"], id
    chunks = [json.loads(frame[6:]) for frame in answer.text.split("\n\n") if frame.startswith("data: {")]
    said = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    return said, chunks[-1]["usage"], id


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("surface", DIALECTS)
def test_every_way_to_the_real_model_says_and_counts_the_same(
    client: httpx2.Client, surface: str, upstream: str, streamed: bool
) -> None:
    expected, told, _ = ask(client, "openai_chat", "openai_chat", False)
    text, usage, id = ask(client, surface, upstream, streamed)
    assert text == expected
    names = (
        ("input_tokens", "output_tokens") if surface == "openai_responses" else ("prompt_tokens", "completion_tokens")
    )
    counts = tuple(usage[name] for name in names)
    assert counts == (told["prompt_tokens"], told["completion_tokens"])
    found = client.get("/generation", params={"id": id})
    record = json.loads(found.text, parse_float=Decimal)["data"]
    assert (record["native_tokens_prompt"], record["native_tokens_completion"]) == counts
    assert record["streamed"] is streamed
    prompt, completion = counts
    assert record["total_cost"] == prompt * Decimal("0.00000001") + completion * Decimal("0.00000003")
