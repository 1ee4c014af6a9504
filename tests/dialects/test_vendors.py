"""The rows of vendors.toml: typed, complete, true to the price library, and refused where they are wrong."""

from __future__ import annotations

import re
from importlib.resources import files
from urllib.parse import urlsplit

import pytest
from genai_prices.data_snapshot import get_snapshot

from routebook.dialects import registry
from routebook.dialects.vendors import Vendor, credential, parse, placed

ROWS = parse((files("routebook.dialects") / "vendors.toml").read_text(encoding="utf-8"))
ASKED_FOR = set(
    "openai anthropic google-ai-studio groq together fireworks deepinfra mistral deepseek xai cerebras openrouter "
    "ollama vllm llamacpp lmstudio".split()
)
REASONING = {"effort", "openrouter", "thinking", "thinking_effort", "enable_thinking", "template", "none"}


def test_the_vendors_that_people_ask_for_are_there() -> None:
    assert set(ROWS) >= ASKED_FOR


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_row_is_complete(row: Vendor) -> None:
    assert row.dialect in registry.upstreams(ROWS)
    assert row.docs.startswith("https://")
    assert row.dialect not in row.also
    assert row.also.keys() <= registry.upstreams(ROWS).keys() & registry.surfaces().keys()
    assert all(page.startswith("https://") for page in row.also.values())
    assert row.checked is None or re.fullmatch(r"20\d\d-\d\d-\d\d", row.checked)
    assert row.base_url or row.url_env, "a vendor is found under a URL or a variable that names one"
    assert row.key_env or row.url_env
    if row.base_url:
        assert urlsplit(row.base_url).scheme == "https"
        assert not row.base_url.endswith("/")
    assert row.quirks.reasoning in REASONING
    assert row.quirks.max_tokens in (None, "max_tokens", "max_completion_tokens")
    assert row.quirks.cache in ("keep", "breakpoints", "strip")
    assert row.quirks.history in ("keep", "strip", "reasoning", "reasoning_content")


def test_the_price_library_knows_the_providers_that_rows_name() -> None:
    known = {provider.id: provider for provider in get_snapshot().providers}
    for row in ROWS.values():
        if row.pricing_provider is not None:
            assert row.pricing_provider in known, row.slug
            pattern = known[row.pricing_provider].api_pattern
            base = placed(row, {"GOOGLE_CLOUD_PROJECT": "p"}).base_url or ""
            assert re.search(pattern, base), f"{row.slug}: {base} is not {pattern}"


def test_abortable_follows_the_published_list() -> None:
    stops = "openai anthropic fireworks deepinfra together hyperbolic xai novita deepseek azure cohere".split()
    bills_on = (
        "groq google-ai-studio huggingface perplexity mistral sambanova nebius amazon-bedrock google-vertex".split()
    )
    assert [ROWS[slug].abortable for slug in stops] == [True] * len(stops)
    assert [ROWS[slug].abortable for slug in bills_on] == [False] * len(bills_on)


def test_places_of_a_row_are_filled_from_the_first_variable_that_is_set() -> None:
    bedrock, vertex, azure = (ROWS[slug] for slug in ("amazon-bedrock", "google-vertex", "azure"))
    assert placed(bedrock, {}).base_url == "https://bedrock-runtime.us-east-1.amazonaws.com"
    both = {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "us-west-2"}
    assert placed(bedrock, both).base_url == "https://bedrock-runtime.eu-west-1.amazonaws.com"
    assert placed(vertex, {}).base_url is None, "nobody can guess a project"
    base = placed(vertex, {"GOOGLE_VERTEX_PROJECT": "p"}).base_url
    assert base == "https://aiplatform.googleapis.com/v1/projects/p/locations/global"
    assert placed(azure, {}).quirks.path.endswith("?api-version=2024-10-21")
    assert placed(azure, {"OPENAI_API_VERSION": "2025-01-01"}).quirks.path.endswith("?api-version=2025-01-01")
    assert placed(azure, {}).quirks.path.startswith("/openai/deployments/{model}/")
    assert placed(ROWS["openai"], both) is ROWS["openai"]


def test_a_credential_is_one_variable_or_a_pair_of_them() -> None:
    row = ROWS["amazon-bedrock"]
    pair = {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": " SK\n"}
    assert credential(row, {}) is None
    assert credential(row, {"AWS_ACCESS_KEY_ID": "AK"}) is None
    assert credential(row, pair) == "AK:SK"
    assert credential(row, {**pair, "AWS_SESSION_TOKEN": "T"}) == "AK:SK:T"
    assert credential(row, {**pair, "AWS_BEARER_TOKEN_BEDROCK": "B"}) == "B"
    assert credential(ROWS["openai"], {"OPENAI_API_KEY": " sk "}) == "sk"


def test_a_wrong_row_is_refused_by_its_name() -> None:
    with pytest.raises(ValueError, match=r"vendor acme: .*colour"):
        parse('[acme]\nname = "A"\ndocs = "d"\nchecked = "c"\ncolour = "red"\n')
    with pytest.raises(ValueError, match=r"vendor acme: .*name"):
        parse('[acme]\ndocs = "d"\nchecked = "c"\n')


def test_the_registry_names_every_dialect_by_its_own_name() -> None:
    known = {name: upstream.name for name, upstream in registry.upstreams(ROWS).items()}
    assert known == {name: name for name in known}
    assert {"openai_chat", "anthropic", "gemini", "bedrock", "vertex", "azure", "cohere"} <= set(known)
    names = {name: surface.name for name, surface in registry.surfaces().items()}
    assert names == {name: name for name in names}
    assert {"openai_chat", "anthropic"} <= set(names)
