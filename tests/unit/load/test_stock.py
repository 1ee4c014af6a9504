"""What is there, with which credential, from environment and file together."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from routebook.config.problems import ConfigError
from routebook.dialects import registry
from routebook.load.catalog import Stock, known_vendors, load_stock
from routebook.load.settings import load_settings

NOW = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
ACME = """
[[providers]]
slug = "acme"
dialect = "openai_chat"
base_url = "http://127.0.0.1:9001/v1"
api_key_env = "ACME_API_KEY"
"""


def stock(environ: dict[str, str], folder: Path | None = None, text: str = "") -> Stock:
    path = None
    if folder is not None:
        path = folder / "routebook.toml"
        path.write_text(text, "utf-8")
    return load_stock(load_settings(path, environ), environ, NOW)


def test_an_empty_environment_gives_an_empty_catalogue() -> None:
    found = stock({})
    assert not found.catalog.providers
    assert not found.catalog.models
    assert found.prices is None


@pytest.mark.parametrize(
    ("variable", "provider", "model"),
    [
        ("OPENAI_API_KEY", "openai", "openai/gpt-4o"),
        ("ANTHROPIC_API_KEY", "anthropic", "anthropic/claude-opus-4.5"),
        ("GEMINI_API_KEY", "google-ai-studio", "google/gemini-2.5-pro"),
        ("GROQ_API_KEY", "groq", "openai/gpt-oss-120b"),
        ("MISTRAL_API_KEY", "mistral", "mistralai/mistral-large-latest"),
        ("DEEPSEEK_API_KEY", "deepseek", "deepseek/deepseek-chat"),
        ("OPENROUTER_API_KEY", "openrouter", "anthropic/claude-opus-4.5"),
    ],
)
def test_a_known_provider_whose_variable_is_set_is_simply_there(variable: str, provider: str, model: str) -> None:
    found = stock({variable: " sk-x \n"})
    assert list(found.catalog.providers) == [provider]
    assert found.keys[provider].reveal() == "sk-x", "blanks around a pasted key do no harm"
    listed = found.catalog.models[model].endpoints[0]
    assert listed.provider.slug == provider
    assert listed.pricing is not None
    assert listed.pricing.base.prompt
    assert found.prices is not None


def test_two_providers_of_one_model_are_two_endpoints_of_it() -> None:
    found = stock({"OPENROUTER_API_KEY": "x", "ANTHROPIC_API_KEY": "x"})
    served = [e.provider.slug for e in found.catalog.models["anthropic/claude-opus-4.5"].endpoints]
    assert served == ["anthropic", "openrouter"]


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("http://box:11434", "http://box:11434/v1"),
        ("box:11434", "http://box:11434/v1"),
        ("http://box:11434/v1/", "http://box:11434/v1"),
        ("https://box/ollama/v1", "https://box/ollama/v1"),
    ],
)
def test_a_local_server_is_there_when_its_url_is_set(value: str, url: str) -> None:
    found = stock({"OLLAMA_BASE_URL": value})
    assert found.catalog.providers["ollama"].base_url == url
    assert not found.notes, "a local server needs no credential"
    model = found.passthrough("ollama/llama3.2")
    assert model is not None
    assert model.endpoints[0].upstream_model == "llama3.2"


def test_every_dialect_of_the_registry_may_be_named_in_a_file_and_no_other(tmp_path: Path) -> None:
    for name in registry.upstreams({}):
        text = ACME.replace("openai_chat", name)
        assert stock({}, tmp_path, text).catalog.providers["acme"].dialect == name
    with pytest.raises(ConfigError, match='does not speak "morse"'):
        stock({}, tmp_path, ACME.replace("openai_chat", "morse"))


def test_a_url_variable_alone_does_not_bring_a_provider_that_needs_a_key() -> None:
    assert not stock({"OPENAI_BASE_URL": "http://proxy/v1"}).catalog.providers
    found = stock({"OPENAI_BASE_URL": "http://proxy/v1", "OPENAI_API_KEY": "x"})
    assert found.catalog.providers["openai"].base_url == "http://proxy/v1"


def test_a_url_variable_that_is_no_url_is_named() -> None:
    with pytest.raises(ConfigError, match="VLLM_BASE_URL: must be a URL"):
        stock({"VLLM_BASE_URL": "http://"})


def test_a_configured_provider_takes_its_key_from_its_variable(tmp_path: Path) -> None:
    found = stock({"ACME_API_KEY": "sk-acme"}, tmp_path, ACME)
    assert found.keys["acme"].reveal() == "sk-acme"
    assert not found.notes
    without = stock({}, tmp_path, ACME)
    assert "acme" not in without.keys
    assert without.notes == ("provider acme has no credential: ACME_API_KEY is not set",)


def test_a_known_provider_in_the_file_lists_its_models_only_with_a_credential(tmp_path: Path) -> None:
    text = '[[providers]]\nslug = "openai"\nzdr = true'
    without, having = stock({}, tmp_path, text), stock({"OPENAI_API_KEY": "x"}, tmp_path, text)
    assert not without.catalog.models
    assert without.notes
    assert having.catalog.models["openai/gpt-4o"].endpoints[0].provider.zdr


def test_the_price_list_can_be_switched_off(tmp_path: Path) -> None:
    found = stock({"OPENAI_API_KEY": "x"}, tmp_path, "[catalog]\nprice_list = false")
    assert list(found.catalog.providers) == ["openai"]
    assert not found.catalog.models
    assert found.prices is None


def test_an_error_of_the_catalogue_names_the_line(tmp_path: Path) -> None:
    text = ACME + '[[models]]\nslug = "acme/large"\n[[models.endpoints]]\nprovider = "acne"\nupstream_model = "l"\n'
    with pytest.raises(ConfigError) as caught:
        stock({}, tmp_path, text)
    assert caught.value.line == 10
    assert text.splitlines()[9] == 'provider = "acne"'


def test_an_unknown_dated_name_gets_its_price_and_an_invented_one_stays_unknown() -> None:
    found = stock({"ANTHROPIC_API_KEY": "x"})
    dated = found.passthrough("anthropic/claude-opus-4-5-20251101")
    assert dated is not None
    assert dated.endpoints[0].pricing is not None
    assert found.passthrough("anthropic/claude-zzz") is None


def test_every_vendor_row_has_what_a_provider_needs() -> None:
    for row in known_vendors().values():
        assert row.base_url or row.url_env, row.slug
        assert row.base_url is None or not row.base_url.endswith("/"), row.slug


CLOUDS = (
    (
        {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "SK", "AWS_REGION": "eu-west-1"},
        ("amazon-bedrock", "bedrock", "https://bedrock-runtime.eu-west-1.amazonaws.com", "AK:SK"),
        ("anthropic/claude-opus-4.5", "amazon/nova-lite-v1"),
    ),
    (
        {"AWS_BEARER_TOKEN_BEDROCK": "B", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "http://127.0.0.1:9001"},
        ("amazon-bedrock", "bedrock", "http://127.0.0.1:9001", "B"),
        ("anthropic/claude-opus-4.5",),
    ),
    (
        {"GOOGLE_CLOUD_PROJECT": "p", "GOOGLE_VERTEX_ACCESS_TOKEN": "T"},
        ("google-vertex", "vertex", "https://aiplatform.googleapis.com/v1/projects/p/locations/global", "T"),
        ("google/gemini-2.5-pro", "anthropic/claude-opus-4.5"),
    ),
    (
        {"AZURE_OPENAI_ENDPOINT": "https://acme.openai.azure.com/", "AZURE_OPENAI_API_KEY": "K"},
        ("azure", "azure", "https://acme.openai.azure.com", "K"),
        (),
    ),
    ({"COHERE_API_KEY": "C"}, ("cohere", "cohere", "https://api.cohere.com", "C"), ("cohere/command-a",)),
)


@pytest.mark.parametrize(("environ", "provider", "models"), CLOUDS, ids=[provider[0] for _, provider, _ in CLOUDS])
def test_a_cloud_whose_variables_are_set_is_simply_there(
    environ: dict[str, str], provider: tuple[str, ...], models: tuple[str, ...]
) -> None:
    found = stock(environ)
    (there,) = found.catalog.providers.values()
    assert (there.slug, there.dialect, there.base_url, found.keys[there.slug].reveal()) == provider
    for model in models:
        assert found.catalog.models[model].endpoints[0].pricing is not None
    assert not found.notes


@pytest.mark.parametrize(
    "environ",
    [{"AWS_ACCESS_KEY_ID": "AK"}, {"GOOGLE_VERTEX_ACCESS_TOKEN": "T"}, {"AZURE_OPENAI_API_KEY": "K"}],
    ids=lambda environ: next(iter(environ)),
)
def test_a_cloud_of_which_too_little_is_known_is_not_there(environ: dict[str, str]) -> None:
    assert not stock(environ).catalog.providers


def test_a_deployment_at_azure_is_passed_on_by_its_name() -> None:
    found = stock({"AZURE_OPENAI_ENDPOINT": "https://acme.openai.azure.com", "AZURE_OPENAI_API_KEY": "K"})
    model = found.passthrough("azure/my-deployment")
    assert model is not None
    assert model.endpoints[0].upstream_model == "my-deployment"


def test_no_secret_is_shown() -> None:
    assert "sk-hidden" not in repr(stock({"OPENAI_API_KEY": "sk-hidden"}).keys)


def test_the_price_library_is_not_imported_where_no_listed_provider_is_there(tmp_path: Path) -> None:
    path = tmp_path / "routebook.toml"
    path.write_text(ACME, "utf-8")
    code = (
        "import sys; from datetime import datetime, UTC; from pathlib import Path\n"
        "from routebook.load.catalog import load_stock; from routebook.load.settings import load_settings\n"
        "env = {'OLLAMA_HOST': 'localhost:11434'}\n"
        f"load_stock(load_settings(Path({str(path)!r}), env), env, datetime(2026, 11, 24, tzinfo=UTC))\n"
        "print('genai_prices' in sys.modules, 'pydantic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False False"


def test_a_dated_price_of_the_file_names_the_day_of_the_next_loading(tmp_path: Path) -> None:
    table = """
[[models]]
slug = "acme/large"
[[models.endpoints]]
provider = "acme"
upstream_model = "large"
[[models.endpoints.pricing]]
prompt = "0.1"
[[models.endpoints.pricing]]
effective = 2026-12-01
prompt = "0.2"
"""
    found = stock({"ACME_API_KEY": "x"}, tmp_path, ACME + table)
    assert found.reload_on == "2026-12-01"
    sheet = found.catalog.models["acme/large"].endpoints[0].pricing
    assert sheet is not None
    assert str(sheet.base.prompt) == "0.1"
