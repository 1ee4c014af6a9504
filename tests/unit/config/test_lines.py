"""Line numbers of keys, in every notation that TOML has."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routebook.config.lines import key_lines
from routebook.config.problems import KeyPath

TEXT = """\
# a comment with = and [brackets]
[server]
host = "a # b" # really a comment
port = 8080

[[providers]]
slug = 'acme'
[[providers]]
slug = "other"

[[models]]
slug = "a/b"
description = \"\"\"
not_a_key = 1
[not.a.table]
\"\"\"
[[models.endpoints]]
provider = "acme"
[models.endpoints.pricing]
prompt = "1"
overrides = [
    { min_prompt_tokens = 5, prompt = "2" }, # ]
    { prompt = "4" },
    { utc_start = 1, utc_end = 2 },
]
[[models.endpoints]]
"provider" = "other"
pricing.prompt = "3"
[timeouts]
idle = 6
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("server",), 2),
        (("server", "host"), 3),
        (("server", "port"), 4),
        (("providers", 0, "slug"), 7),
        (("providers", 1), 8),
        (("providers", 1, "slug"), 9),
        (("models", 0, "description"), 13),
        (("models", 0, "endpoints", 0, "provider"), 18),
        (("models", 0, "endpoints", 0, "pricing", "prompt"), 20),
        (("models", 0, "endpoints", 0, "pricing", "overrides", 0, "prompt"), 22),
        (("models", 0, "endpoints", 0, "pricing", "overrides", 2, "utc_end"), 24),
        (("models", 0, "endpoints", 1, "provider"), 27),
        (("models", 0, "endpoints", 1, "pricing", "prompt"), 28),
        (("timeouts", "idle"), 30),
    ],
)
def test_every_key_has_the_line_it_stands_on(path: KeyPath, line: int) -> None:
    assert key_lines(TEXT)[path] == line


def test_text_inside_strings_and_comments_is_no_key() -> None:
    lines = key_lines(TEXT)
    assert not any("not_a_key" in path or "not" in path for path in lines)


def test_windows_line_ends_count_the_same() -> None:
    assert key_lines(TEXT.replace("\n", "\r\n")) == key_lines(TEXT)


def paths(value: Any, path: KeyPath = ()) -> set[KeyPath]:
    """Every path of a parsed document: what the line finder has to know."""
    found: set[KeyPath] = {path} if path else set()
    if isinstance(value, dict):
        for key, item in value.items():
            found |= paths(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found |= paths(item, (*path, index))
    return found


def test_every_value_of_the_document_is_found() -> None:
    missing = {path for path in paths(tomllib.loads(TEXT)) if path not in key_lines(TEXT)}
    assert missing <= {("providers",), ("models",), ("models", 0, "endpoints")}, (
        "lists of tables have no line of their own"
    )


names = st.text("abcXYZ-_09 .\"'\\é", min_size=1, max_size=6)
strings = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)


def basic(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(st.dictionaries(names, strings, max_size=5), st.lists(st.integers(), max_size=4))
def test_any_quoted_key_and_any_string_are_followed_to_the_right_line(
    table: dict[str, str], numbers: list[int]
) -> None:
    rows = [f"{basic(key)} = {basic(value)}" for key, value in table.items()]
    text = "\n".join(["", *rows, "[tail]", f"list = {numbers}", "last = 1"])
    assert tomllib.loads(text)["tail"]["list"] == numbers
    lines = key_lines(text)
    for number, key in enumerate(table, 2):
        assert lines[(key,)] == number
    assert lines[("tail", "last")] == len(table) + 4
