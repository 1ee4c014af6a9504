"""What a configuration file may not say, and how it is told."""

from __future__ import annotations

import tomllib

import pytest

from routebook.config.problems import ConfigError, KeyPath
from routebook.config.reading import parse_settings
from routebook.config.settings import Settings


def refused(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse_settings(tomllib.loads(text))
    return caught.value


def test_an_empty_file_gives_the_defaults() -> None:
    assert parse_settings({}) == Settings()


def test_the_example_of_the_reference_is_accepted() -> None:
    settings = parse_settings(
        tomllib.loads(
            """
            [server]
            edge = "native"
            [store]
            durability = "power"
            [accounting]
            markup = "0.25"
            [[providers]]
            slug = "acme"
            dialect = "openai_chat"
            base_url = "http://127.0.0.1:9001/v1"
            [[models]]
            slug = "acme/large"
            [[models.endpoints]]
            provider = "acme"
            upstream_model = "large-2026-01"
            pricing = { prompt = "0.00000015", overrides = [{ min_prompt_tokens = 1000, prompt = "0.0000003" }] }
            """
        )
    )
    assert str(settings.accounting.markup) == "0.25"
    assert settings.server.edge == "native"
    assert settings.models[0].endpoints[0].pricing is not None


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("[server]\nprot = 1", ("server", "prot"), ["unknown key", "did you mean port?", "workers"]),
        ("[sever]\nport = 1", ("sever",), ["did you mean server?"]),
        ('[server]\nport = "80"', ("server", "port"), ["must be a whole number, not text"]),
        ("[server]\nport = 70000", ("server", "port"), ["65535"]),
        ("[server]\nworkers = 0", ("server", "workers"), ["1 to 64"]),
        ("[store]\nkeep_days = 0", ("store", "keep_days"), ["1 to 36500", "keep all calls"]),
        ("[store]\nkeep_days = 1.5", ("store", "keep_days"), ["must be a whole number"]),
        ("[store]\nkeep_bytes = 1000", ("store", "keep_bytes"), ["67108864"]),
        ("[store]\ndaybook_hours = -1", ("store", "daybook_hours"), ["hours, 0 or more"]),
        ("[store]\ndaybook_bytes = -1", ("store", "daybook_bytes"), ["bytes, 0 or more"]),
        ('[server]\nworkers = 2\nedge = "asgi"', ("server", "workers"), ['edge = "native"']),
        ('[server]\nunix_socket = "a"\nedge = "asgi"', ("server", "unix_socket"), ['edge = "native"']),
        (f'[server]\nunix_socket = "{"a" * 200}"', ("server", "unix_socket"), ["107 bytes"]),
        ('[server]\nunix_socket_mode = "1777"', ("server", "unix_socket_mode"), ['"0660"']),
        ('[server]\ntls_key = "key.pem"', ("server", "tls_key"), ["tls_cert"]),
        ('[server]\nedge = "asgy"', ("server", "edge"), ["did you mean asgi?", "native"]),
        ("[server]\ndrain = -1", ("server", "drain"), ["0 or more"]),
        ("[timeouts]\nconnect = 0", ("timeouts", "connect"), ["above 0"]),
        ("[timeouts]\nidle = nan", ("timeouts", "idle"), ["above 0"]),
        ("[timeouts]\nanswer = -1", ("timeouts", "answer"), ["above 0"]),
        ("[timeouts]\nanswer = inf", ("timeouts", "answer"), ["above 0"]),
        ("[limits]\nbody_bytes = 0", ("limits", "body_bytes"), ["1 or more"]),
        ('[store]\nurl = "postgresql://u:secret@h/db"', ("store", "url"), ["SQLite only"]),
        ('[store]\nurl = "routebook.db"', ("store", "url"), ["sqlite:///FILE"]),
        ("[accounting]\nmarkup = 0.25", ("accounting", "markup"), ["write the number in quotes"]),
        ('[accounting]\nmarkup = "a lot"', ("accounting", "markup"), ["not a decimal"]),
        ('[accounting]\nmarkup = "-1"', ("accounting", "markup"), ["0 or more"]),
        ('[accounting]\nmarkup = "NaN"', ("accounting", "markup"), ["0 or more"]),
        ('[[providers]]\nname = "x"', ("providers", 0), ["`slug` is missing"]),
        ('[[providers]]\nslug = "a/b"', ("providers", 0, "slug"), ["no blank, slash or colon"]),
        ('[[providers]]\nslug = "a"\nbase_url = "ftp://x"', ("providers", 0, "base_url"), ["must be a URL"]),
        ('[[providers]]\nslug = "a"\nbase_url = "http://u:p@x"', ("providers", 0, "base_url"), ["api_key_env"]),
        ('[[providers]]\nslug = "a"\nbase_url = "http://x:99999"', ("providers", 0, "base_url"), ["must be a URL"]),
        ('[[providers]]\nslug = "a"\napi_key = "k"\napi_key_env = "K"', ("providers", 0, "api_key"), ["not both"]),
        ('[[models]]\nslug = "large"\nendpoints = []', ("models", 0, "slug"), ["author/name"]),
        ('[[models]]\nslug = "a/b"\nendpoints = []', ("models", 0), ["at least one"]),
        ('[[models]]\nslug = "a/b"', ("models", 0), ["`endpoints` is missing"]),
        ("[routing]\nattempts = 0", ("routing", "attempts"), ["1 to 10"]),
        ("[routing]\nretry_percent = 101", ("routing", "retry_percent"), ["0 to 100"]),
        ('[routing]\nsort = "beauty"', ("routing", "sort"), ["price, throughput"]),
        (
            '[[models]]\nslug = "a/b"\ncontext_length = 0\nendpoints = [{provider = "p", upstream_model = "u"}]',
            ("models", 0, "context_length"),
            ["1 or more"],
        ),
        (
            '[[models]]\nslug = "a/b"\ncoding_score = "1.5"\nendpoints = [{provider = "p", upstream_model = "u"}]',
            ("models", 0, "coding_score"),
            ['"0" to "1"'],
        ),
    ],
)
def test_a_wrong_value_is_named_with_its_path_and_what_is_allowed(text: str, path: KeyPath, words: list[str]) -> None:
    error = refused(text)
    assert error.path == path
    for word in words:
        assert word in error.message


@pytest.mark.parametrize(
    ("pricing", "tail"),
    [
        ("{ prompt = 0.00000015 }", ("prompt",)),
        ("{ completion = 1 }", ("completion",)),
        ('{ overrides = [{ min_prompt_tokens = 5, prompt = "1" }, { prompt = 2.5 }] }', ("overrides", 1, "prompt")),
        ("{ discount = 0.1 }", ("discount",)),
    ],
)
def test_a_price_without_quotes_is_refused_with_the_reason(pricing: str, tail: KeyPath) -> None:
    error = refused(
        f'[[models]]\nslug = "a/b"\n[[models.endpoints]]\nprovider = "a"\nupstream_model = "m"\npricing = {pricing}'
    )
    assert error.path == ("models", 0, "endpoints", 0, "pricing", *tail)
    assert "write the number in quotes" in error.message


def test_no_error_repeats_a_secret() -> None:
    hidden = "sk-do-not-show"
    for text in (
        f'[[providers]]\nslug = "a"\napi_key = ["{hidden}"]',
        f'[[providers]]\nslug = "a"\napi_key = "{hidden}"\napi_key_env = "X"',
        f'[store]\nurl = "postgresql://u:{hidden}@h/db"',
        f'[[providers]]\nslug = "a"\nbase_url = "http://u:{hidden}@x"',
    ):
        assert hidden not in str(refused(text))
