"""The pages hold together: links lead somewhere, code is code, files that are named exist, nothing is out of place."""

from __future__ import annotations

import ast
import importlib
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from routebook.config.reading import parse_settings
from tests.docs import pages
from tests.docs.pages import PAGES, ROOT

OUT_OF_PLACE = {
    "a path of one machine": re.compile(re.escape(f"{ROOT.parent}/") + r"|/root\b|/home/\w|/Users/\w"),
    "who made it": re.compile(r"\bissue #|\bhelpers?\b|\bsub-?agents?\b|\.\./shared", re.IGNORECASE),
    "the address of a registry": re.compile(r"\bpypi\.org|\bregistry\.npmjs|\bcrates\.io|\bdocker\.io", re.IGNORECASE),
    "what is not done": re.compile(r"\bTODO\b|\bFIXME\b|\bRECEIPT\b|lorem ipsum"),
}
FILES = [*PAGES, *sorted((ROOT / "deploy").iterdir()), ROOT / "docs" / "flow.svg"]


@pytest.mark.parametrize("page", PAGES, ids=pages.name)
def test_every_link_leads_to_a_file_and_a_heading_that_exist(page: Path) -> None:
    for link in pages.links(page):
        if "://" in link:
            assert link.startswith("https://"), link
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), f"{pages.name(page)}: {link}"
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in pages.anchors(target), f"{pages.name(page)}: {link}"


def test_every_page_is_reached_from_the_readme() -> None:
    reached, left = set(), [ROOT / "README.md"]
    while left:
        page = left.pop()
        if page in reached:
            continue
        reached.add(page)
        if page.is_dir():
            left += sorted(page.glob("*.md"))
        elif page.suffix == ".md":
            left += [
                (page.parent / link.partition("#")[0]).resolve() for link in pages.links(page) if "://" not in link
            ]
    assert set(PAGES) <= reached


@pytest.mark.parametrize("file", FILES, ids=pages.name)
@pytest.mark.parametrize("what", OUT_OF_PLACE)
def test_nothing_is_out_of_place(file: Path, what: str) -> None:
    found = OUT_OF_PLACE[what].search(file.read_text("utf-8"))
    assert found is None, f"{pages.name(file)}: {found}"


def test_python_examples_compile_and_import_what_exists() -> None:
    examples = list(pages.blocks("python"))
    assert examples
    for example in examples:
        tree = ast.parse(example.text, pages.name(example.page))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("routebook"):
                module = importlib.import_module(node.module or "")
                missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
                assert not missing, f"{pages.name(example.page)}: {missing}"


def test_toml_examples_are_configurations_that_are_taken() -> None:
    examples = list(pages.blocks("toml"))
    assert examples
    for example in examples:
        parse_settings(tomllib.loads(example.text))


def test_json_examples_are_json() -> None:
    examples = list(pages.blocks("json"))
    assert examples
    for example in examples:
        json.loads(example.text)


def named_files() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for code in pages.codes(pages.prose(page)):
            if re.fullmatch(r"[\w/.-]+\.(py|toml|sql|svg|ini)", code):
                yield page, code


EXAMPLES = {"routebook.toml"}
"""files that belong to a reader"""


def test_every_source_file_that_is_named_exists() -> None:
    missing = [
        f"{pages.name(page)}: {file}"
        for page, file in named_files()
        if file not in EXAMPLES
        and not any(
            (ROOT / base / file).exists() for base in ("", "src/routebook", "src/routebook/dialects", "tests/dialects")
        )
    ]
    assert not missing


def test_the_picture_is_svg_that_says_what_it_shows() -> None:
    picture = ElementTree.fromstring(pages.read("docs/flow.svg"))
    space = "{http://www.w3.org/2000/svg}"
    assert picture.tag == f"{space}svg"
    assert (picture.findtext(f"{space}desc") or "").strip()
    words = "".join(picture.itertext())
    for step in ("admit", "plan", "hold", "dispatch", "relay", "settle", "daybook", "shipper", "store"):
        assert step in words


def test_decisions_are_numbered_without_a_gap_and_say_why() -> None:
    found = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [page.name[:4] for page in found] == [f"{number:04d}" for number in range(1, len(found) + 1)]
    for page in found:
        text = page.read_text("utf-8")
        assert text.startswith(f"# {page.name[:4]} "), page.name
        for part in ("**Context.**", "**Decision.**", "**Consequence.**"):
            assert part in text, f"{page.name}: {part}"
        assert "**Why" in text, page.name
