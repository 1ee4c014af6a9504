"""The catalogue built from configuration, vendors and offers."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from routebook.config.catalog import Offer, build_catalog, build_providers, next_change_ns, passthrough
from routebook.config.problems import ConfigError, KeyPath
from routebook.config.reading import parse_settings
from routebook.core.catalog import Catalog, Provider
from routebook.core.money import Prices, PriceSheet
from routebook.dialects.vendors import Vendor

VENDORS = {
    "openai": Vendor(
        "openai",
        "OpenAI",
        "https://docs.test",
        "https://api.openai.test/v1",
        key_env=("OPENAI_API_KEY",),
        abortable=True,
        also={"openai_responses": "https://docs.test"},
    ),
    "groq": Vendor("groq", "Groq", "https://docs.test", "https://api.groq.test/v1", key_env=("GROQ_API_KEY",)),
    "ollama": Vendor("ollama", "Ollama", "https://docs.test", url_env=("OLLAMA_HOST",), fetches_urls=False),
    "openrouter": Vendor("openrouter", "OpenRouter", "https://docs.test", "https://or.test/api/v1"),
}
DIALECTS = ("openai_chat", "anthropic")
SHEET = PriceSheet(Prices(prompt=Decimal("0.1"), completion=Decimal("0.2")))

ACME = """
[[providers]]
slug = "acme"
dialect = "openai_chat"
base_url = "http://127.0.0.1:9001/v1/"
"""
LARGE = """
[[models]]
slug = "acme/large"
context_length = 131072
[[models.endpoints]]
provider = "acme"
upstream_model = "large-2026-01"
"""


def built(text: str = "", present: Mapping[str, str | None] | None = None, known: list[Offer] | None = None) -> Catalog:
    settings = parse_settings(tomllib.loads(text))
    return build_catalog(settings, build_providers(settings, VENDORS, present or {}, DIALECTS), known or [])


def refused(text: str, present: Mapping[str, str | None] | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        built(text, present)
    return caught.value


def test_a_provider_of_ones_own_shows_its_slug_as_name() -> None:
    provider = built(ACME).providers["acme"]
    assert provider == Provider("acme", "acme", "openai_chat", "http://127.0.0.1:9001/v1")


def test_a_known_vendor_fills_what_the_file_leaves_out() -> None:
    provider = built('[[providers]]\nslug = "openai"\nzdr = true').providers["openai"]
    assert (provider.name, provider.dialect, provider.vendor) == ("OpenAI", "openai_chat", "openai")
    assert provider.base_url == "https://api.openai.test/v1"
    assert provider.abortable
    assert provider.zdr


def test_the_file_overrides_a_known_vendor() -> None:
    provider = built(
        '[[providers]]\nslug = "openai"\nname = "Proxy"\nbase_url = "http://proxy/v1"\n'
        'abortable = false\napi_key_env = "K"'
    ).providers["openai"]
    assert (provider.name, provider.base_url, provider.abortable, provider.key_env) == (
        "Proxy",
        "http://proxy/v1",
        False,
        "K",
    )
    assert provider.vendor == "openai", "its quirks stay"


def test_who_fetches_urls_is_said_by_the_row_and_in_the_end_by_the_file() -> None:
    first = built(present={"openai": None, "ollama": "http://localhost:11434/v1"}).providers
    assert (first["openai"].fetches_urls, first["ollama"].fetches_urls) == (True, False)
    turned = '[[providers]]\nslug = "openai"\nfetches_urls = false\n[[providers]]\nslug = "ollama"\nfetches_urls = true'
    second = built(turned, {"ollama": "http://localhost:11434/v1"}).providers
    assert (second["openai"].fetches_urls, second["ollama"].fetches_urls) == (False, True)
    assert built(ACME).providers["acme"].fetches_urls
    account = built('[[providers]]\nslug = "box"\nvendor = "ollama"\nbase_url = "http://box/v1"').providers["box"]
    assert not account.fetches_urls


def test_other_dialects_of_a_vendor_hold_for_its_own_place_alone() -> None:
    def also(text: str = "", url: str | None = None) -> tuple[str, ...]:
        return built(text, {"openai": url}).providers["openai"].also

    assert also() == also('[[providers]]\nslug = "openai"\nzdr = true') == ("openai_responses",)
    assert also(url="http://proxy/v1") == ()
    assert also('[[providers]]\nslug = "openai"\nbase_url = "http://proxy/v1"') == ()
    assert also('[[providers]]\nslug = "openai"\ndialect = "openai_chat"') == ()


def test_a_vendor_whose_dialect_nobody_speaks_is_refused_as_well() -> None:
    settings = parse_settings(tomllib.loads('[[providers]]\nslug = "openai"'))
    with pytest.raises(ConfigError, match='does not speak "openai_chat"') as caught:
        build_providers(settings, VENDORS, {}, ("gemini",))
    assert caught.value.path == ("providers", 0, "dialect")


def test_a_second_account_of_a_vendor_takes_its_row() -> None:
    provider = built('[[providers]]\nslug = "groq-eu"\nvendor = "groq"').providers["groq-eu"]
    assert (provider.name, provider.vendor, provider.base_url) == ("groq-eu", "groq", "https://api.groq.test/v1")


def test_a_vendor_of_the_environment_is_there_without_any_file() -> None:
    catalog = built(present={"openai": None, "ollama": "http://localhost:11434/v1"})
    assert list(catalog.providers) == ["openai", "ollama"]
    assert catalog.providers["ollama"].base_url == "http://localhost:11434/v1"


ENDPOINT: KeyPath = ("models", 0, "endpoints", 0)
TWICE = '[[models.endpoints]]\nprovider = "acme"\nupstream_model = "large-2026-01"'
SMELL = LARGE.replace("context", 'input_modalities = ["smell"]\ncontext')
STRANGE_DIALECT = '[[providers]]\nslug = "x"\ndialect = "openai_chats"\nbase_url = "http://x"'


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ('[[providers]]\nslug = "opnai"', ("providers", 0), ["needs `dialect` and `base_url`", "did you mean openai?"]),
        ('[[providers]]\nslug = "x"\ndialect = "openai_chat"', ("providers", 0), ["needs `base_url`"]),
        ('[[providers]]\nslug = "ollama"', ("providers", 0), ["needs `base_url`"]),
        (STRANGE_DIALECT, ("providers", 0, "dialect"), ["did you mean openai_chat?"]),
        ('[[providers]]\nslug = "x"\nvendor = "grok"', ("providers", 0, "vendor"), ["did you mean groq?"]),
        (ACME + ACME, ("providers", 1, "slug"), ["second provider"]),
        (LARGE, (*ENDPOINT, "provider"), ['no provider "acme"', "key variable"]),
        (ACME + LARGE.replace('"acme"', '"acne"'), (*ENDPOINT, "provider"), ["did you mean acme?"]),
        (ACME + LARGE + LARGE, ("models", 1, "slug"), ["second model"]),
        (ACME + LARGE + 'quantization = "fp9"', (*ENDPOINT, "quantization"), ["did you mean fp"]),
        (ACME + LARGE + "max_completion_tokens = 0", (*ENDPOINT, "max_completion_tokens"), ["1 or more"]),
        (ACME + LARGE + TWICE, ("models", 0, "endpoints", 1), ["twice"]),
        (ACME + LARGE + 'pricing = { prompt = "x" }', (*ENDPOINT, "pricing", "prompt"), ["not a decimal"]),
        (ACME + SMELL, ("models", 0, "input_modalities"), ["smell"]),
    ],
)
def test_what_cannot_be_served_is_refused_at_its_place(text: str, path: KeyPath, words: list[str]) -> None:
    error = refused(text)
    assert error.path == path
    for word in words:
        assert word in error.message


def test_no_pricing_table_is_unpriced_and_zero_is_free() -> None:
    unpriced = built(ACME + LARGE).models["acme/large"].endpoints[0]
    free = built(ACME + LARGE + 'pricing = { prompt = "0" }').models["acme/large"].endpoints[0]
    assert unpriced.pricing is None
    assert free.pricing is not None
    assert free.pricing.base == Prices(prompt=Decimal(0))


def test_absent_parameters_are_unknown_and_an_empty_list_is_none() -> None:
    unknown = built(ACME + LARGE).models["acme/large"].endpoints[0]
    none = built(ACME + LARGE + "supported_parameters = []").models["acme/large"].endpoints[0]
    assert unknown.supported_parameters is None
    assert none.supported_parameters == frozenset()


def test_endpoint_ids_are_stable_text() -> None:
    endpoint = built(ACME + LARGE).models["acme/large"].endpoints[0]
    assert endpoint.id == "acme:acme/large:large-2026-01"
    assert endpoint.context_length == 131072
    tagged = built(ACME + LARGE + 'tag = "acme/fp8"').models["acme/large"].endpoints[0]
    assert tagged.id == "acme:acme/large:large-2026-01:acme/fp8"


def test_a_configured_model_replaces_the_known_one_with_all_its_endpoints() -> None:
    text = (
        '[[models]]\nslug = "openai/gpt-4o"\n[[models.endpoints]]\nprovider = "openai"\nupstream_model = "gpt-4o-mine"'
    )
    known = [
        Offer("openai", "openai/gpt-4o", "gpt-4o", pricing=SHEET),
        Offer("openai", "openai/o3", "o3", pricing=SHEET),
    ]
    catalog = built(text, {"openai": None}, known)
    assert [e.upstream_model for e in catalog.models["openai/gpt-4o"].endpoints] == ["gpt-4o-mine"]
    assert catalog.models["openai/gpt-4o"].endpoints[0].pricing is None
    assert "openai/o3" in catalog.models


def test_two_providers_of_one_slug_are_two_endpoints_the_authors_own_first() -> None:
    known = [
        Offer("groq", "openai/oss", "openai/oss", pricing=SHEET),
        Offer("openai", "openai/oss", "oss", context_length=5),
    ]
    model = built("", {"groq": None, "openai": None}, known).models["openai/oss"]
    assert [endpoint.provider.slug for endpoint in model.endpoints] == ["openai", "groq"]
    assert model.context_length == 5


def test_offers_of_absent_providers_are_left_out() -> None:
    assert not built("", {}, [Offer("groq", "a/b", "b")]).models


def test_a_bare_id_is_an_alias_where_it_means_one_model() -> None:
    known = [
        Offer("openai", "openai/gpt-4o", "gpt-4o"),
        Offer("openai", "openai/same", "same"),
        Offer("groq", "other/same", "same"),
        Offer("groq", "meta-llama/llama-3", "accounts/x/Llama-3"),
    ]
    catalog = built("", {"openai": None, "groq": None}, known)
    found = catalog.find("gpt-4o")
    assert found is not None
    assert found.slug == "openai/gpt-4o"
    assert "gpt-4o" in found.aliases
    assert catalog.find("same") is None, "two models are called that"
    other = catalog.find("accounts/x/Llama-3")
    assert other is not None
    assert other.slug == "meta-llama/llama-3"


def test_an_open_catalogue_takes_any_model_unpriced() -> None:
    catalog = built("", {"ollama": "http://l/v1", "openrouter": None, "openai": None})
    model = passthrough(catalog, "ollama/llama3.2:1b")
    assert model is not None
    assert (model.slug, model.endpoints[0].upstream_model) == ("ollama/llama3.2:1b", "llama3.2:1b")
    assert model.endpoints[0].provider.slug == "ollama"
    assert model.endpoints[0].pricing is None
    nested = passthrough(catalog, "openrouter/meta-llama/llama-9")
    own = passthrough(catalog, "openrouter/auto")
    assert nested is not None
    assert own is not None
    assert nested.endpoints[0].upstream_model == "meta-llama/llama-9"
    assert own.endpoints[0].upstream_model == "openrouter/auto"


@pytest.mark.parametrize("slug", ["openai/gpt-99", "gpt-99", "ollama/", "ollama", "nobody/x", ""])
def test_what_nobody_here_may_serve_stays_unknown(slug: str) -> None:
    assert passthrough(built("", {"ollama": "http://l/v1", "openai": None}), slug) is None


def test_a_dated_name_goes_to_the_authors_own_provider_at_its_price() -> None:
    catalog = built("", {"openai": None, "groq": None})

    def known(provider: Provider, upstream: str) -> Offer | None:
        return Offer(provider.slug, "x", upstream, pricing=SHEET) if upstream == "gpt-4o-2024-11-20" else None

    for asked in ("openai/gpt-4o-2024-11-20", "gpt-4o-2024-11-20"):
        model = passthrough(catalog, asked, known)
        assert model is not None
        assert model.slug == "openai/gpt-4o-2024-11-20"
        assert [e.provider.slug for e in model.endpoints] == ["openai"]
        assert model.endpoints[0].pricing == SHEET
    assert passthrough(catalog, "openai/gpt-99", known) is None


# --- prices with a date

DATED = f"""{ACME}{LARGE}
[[models.endpoints.pricing]]
effective = 2027-03-01
prompt = "0.3"
[[models.endpoints.pricing]]
prompt = "0.1"
[[models.endpoints.pricing]]
effective = 2027-01-01
prompt = "0.2"
"""


def at_ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


@pytest.mark.parametrize(
    ("moment_ns", "price"),
    [
        (0, "0.1"),
        (at_ns("2027-01-01") - 1, "0.1"),
        (at_ns("2027-01-01"), "0.2"),
        (at_ns("2027-03-01") - 1, "0.2"),
        (at_ns("2027-03-01"), "0.3"),
        (at_ns("2090-01-01"), "0.3"),
    ],
)
def test_of_dated_prices_those_of_the_moment_hold(moment_ns: int, price: str) -> None:
    endpoint = built(DATED).models["acme/large"].endpoints[0].at(moment_ns)
    assert endpoint.pricing is not None
    assert endpoint.pricing.base.prompt == Decimal(price)


def test_a_catalogue_shows_the_prices_of_the_day_it_is_made_for_and_knows_the_next_change() -> None:
    settings = parse_settings(tomllib.loads(DATED))
    providers = build_providers(settings, VENDORS, {}, DIALECTS)
    now_ns = at_ns("2027-01-15")
    catalog = build_catalog(settings, providers, now_ns=now_ns)
    sheet = catalog.models["acme/large"].endpoints[0].pricing
    assert sheet is not None
    assert sheet.base.prompt == Decimal("0.2")
    assert sheet.revision.startswith("2027-01-01 ")
    assert next_change_ns(catalog, now_ns) == at_ns("2027-03-01")
    assert next_change_ns(catalog, at_ns("2027-03-01")) is None


def test_a_single_table_with_a_day_holds_from_that_day_only() -> None:
    endpoint = (
        built(f"{ACME}{LARGE}[models.endpoints.pricing]\neffective = 2027-01-01\nprompt = '1'")
        .models["acme/large"]
        .endpoints[0]
    )
    assert endpoint.at(at_ns("2026-12-31")).pricing is None
    assert endpoint.at(at_ns("2027-01-01")).pricing is not None


def test_prices_without_a_day_hold_whenever_they_are_asked() -> None:
    endpoint = built(f"{ACME}{LARGE}[models.endpoints.pricing]\nprompt = '1'").models["acme/large"].endpoints[0]
    assert endpoint.at(0) is endpoint
    assert endpoint.pricing is not None


@pytest.mark.parametrize("day", ["", "effective = 2027-01-01\n"])
def test_two_price_tables_of_one_day_are_refused(day: str) -> None:
    table = f"[[models.endpoints.pricing]]\n{day}prompt = '1'\n"
    error = refused(f"{ACME}{LARGE}{table}{table}")
    assert error.path == ("models", 0, "endpoints", 0, "pricing", 1)
    assert "`effective`" in error.message


def test_a_day_that_is_none_is_refused_at_its_key() -> None:
    error = refused(f"{ACME}{LARGE}[[models.endpoints.pricing]]\neffective = 'soon'\nprompt = '1'")
    assert error.path == ("models", 0, "endpoints", 0, "pricing", 0, "effective")


ROUTED = """
[[providers]]
slug = "acme"
dialect = "openai_chat"
base_url = "http://127.0.0.1:9001/v1/"
publishes = true

[[models]]
slug = "acme/large"
input_modalities = ["text", "image"]
distillable = true
hidden = true
coding_score = "0.7"
[[models.endpoints]]
provider = "acme"
upstream_model = "large"
[[models.endpoints]]
provider = "acme"
upstream_model = "large"
tag = "acme/flex"
region = "eu"
[[models.endpoints]]
provider = "acme"
upstream_model = "large"
tag = "acme/quick"
service_tier = "priority"
enabled = false
"""


def test_what_routing_asks_of_endpoints_and_models_comes_from_the_file() -> None:
    catalog = built(ROUTED)
    model = catalog.models["acme/large"]
    assert (model.distillable, model.hidden, model.coding_score) == (True, True, Decimal("0.7"))
    assert catalog.providers["acme"].publishes
    assert [(e.service_tier, e.region, e.enabled) for e in model.endpoints] == [
        (None, None, True),
        ("flex", "eu", True),
        ("priority", None, False),
    ]
    assert {e.input_modalities for e in model.endpoints} == {frozenset({"text", "image"})}
    assert {e.output_modalities for e in model.endpoints} == {None}, "what the file does not say is unknown"
