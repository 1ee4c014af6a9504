"""What is allowed and looks like a mistake gets a note with its line, and is served all the same."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from routebook.load.catalog import Stock, load_stock
from routebook.load.settings import load_settings

ACME = """\
[[providers]]
slug = "acme"
dialect = "openai_chat"
base_url = "http://127.0.0.1:9001/v1"
[[models]]
slug = "acme/large"
[[models.endpoints]]
provider = "acme"
upstream_model = "large"
tag = "acme/fp8"
[models.endpoints.pricing]
prompt = "{price}"
completion = "0.0006"
{more}
"""


def stock(folder: Path, price: str = "0.0000001", more: str = "") -> Stock:
    path = folder / "routebook.toml"
    path.write_text(ACME.format(price=price, more=more), "utf-8")
    return load_stock(load_settings(path, {}), {}, datetime(2026, 11, 30, tzinfo=UTC))


def notes(folder: Path, price: str = "0.0000001", more: str = "") -> list[str]:
    return [note.removeprefix(f"{folder}/") for note in stock(folder, price, more).notes]


def test_a_price_of_a_million_tokens_where_that_of_one_belongs(tmp_path: Path) -> None:
    (note,) = notes(tmp_path, "0.15")
    assert note.startswith("routebook.toml:12: models[0].endpoints[0].pricing.prompt: ")
    assert note.endswith(
        '"0.15" is USD for one token, 150000 for a million; if it is meant for a million, write "0.00000015"'
    )
    assert "acme/large" in stock(tmp_path, "0.15").catalog.models


def test_prices_with_days_are_looked_at_as_well(tmp_path: Path) -> None:
    path = tmp_path / "routebook.toml"
    text = ACME.format(price="1", more="").replace("[models.endpoints.pricing]", "[[models.endpoints.pricing]]")
    path.write_text(text, "utf-8")
    (note,) = load_stock(load_settings(path, {}), {}, datetime(2026, 11, 30, tzinfo=UTC)).notes
    assert "routebook.toml:12: models[0].endpoints[0].pricing[0].prompt" in note


@pytest.mark.parametrize(
    ("dialect", "url", "told"),
    [
        (
            "openai_chat",
            "http://127.0.0.1:9001",
            '"http://127.0.0.1:9001" has no path; mostly it is http://127.0.0.1:9001/v1',
        ),
        ("openai_chat", "http://127.0.0.1:9001/", "mostly it is http://127.0.0.1:9001/v1"),
        ("openai_chat", "http://127.0.0.1:9001/v1", None),
        ("openai_chat", "http://127.0.0.1:9001/api", None),
        ("anthropic", "http://127.0.0.1:9001", None),
    ],
)
def test_a_url_that_lacks_the_version(tmp_path: Path, dialect: str, url: str, told: str | None) -> None:
    path = tmp_path / "routebook.toml"
    path.write_text(f'[[providers]]\nslug = "acme"\ndialect = "{dialect}"\nbase_url = "{url}"\n', "utf-8")
    found = load_stock(load_settings(path, {}), {}, datetime(2026, 11, 30, tzinfo=UTC)).notes
    assert len(found) == (told is not None)
    for note in found:
        assert note.startswith(f"{path}:4: providers[0].base_url: ")
        assert told is not None
        assert told in note


@pytest.mark.parametrize("price", ["0.0000001", "0.0006", "0", "0.009"])
def test_a_price_that_somebody_takes_is_no_mistake(tmp_path: Path, price: str) -> None:
    assert notes(tmp_path, price) == []


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (
            '[routing]\nonly = ["acne"]',
            'routebook.toml:15: routing.only[0]: no provider "acne" here; did you mean',
        ),
        ('[routing]\nonly = ["acme", "zeta"]', 'routebook.toml:15: routing.only[1]: no provider "zeta" here'),
        ('[routing]\nignore = ["acne"]', 'routebook.toml:15: routing.ignore[0]: no provider "acne" here; did you mean'),
        (
            '[routing]\nauto = ["acme/larg"]',
            'routebook.toml:15: routing.auto[0]: no model "acme/larg" here; did',
        ),
    ],
)
def test_a_name_that_is_nobodys(tmp_path: Path, more: str, told: str) -> None:
    (note,) = notes(tmp_path, more=more)
    assert note.startswith(told)


@pytest.mark.parametrize(
    "more",
    ['[routing]\nonly = ["Acme"]', '[routing]\nonly = ["acme/fp8"]', '[routing]\nignore = ["openai"]',
     '[routing]\nauto = ["acme/large"]'],
)  # fmt: skip
def test_a_name_that_is_somebodys_or_may_come_is_no_mistake(tmp_path: Path, more: str) -> None:
    assert notes(tmp_path, more=more) == []
