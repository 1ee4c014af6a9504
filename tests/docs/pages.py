"""The project's pages, taken apart: headings, links, tables and code blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md"), ROOT / "deploy" / "README.md"]
)

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced code block without its fence and its indentation."""

    page: Path
    language: str
    text: str


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def read(place: str) -> str:
    """A page by its path from the project's root."""
    return (ROOT / place).read_text("utf-8")


def prose(page: Path) -> str:
    """The page without its code blocks."""
    return _FENCE.sub("", page.read_text("utf-8"))


def blocks(language: str, pages: list[Path] = PAGES) -> Iterator[Block]:
    for page in pages:
        for indent, kind, text in _FENCE.findall(page.read_text("utf-8")):
            if kind == language:
                lines = [line.removeprefix(indent) for line in text.splitlines()]
                yield Block(page, kind, "\n".join(lines) + "\n")


def links(page: Path) -> list[str]:
    return _LINK.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """What `#…` may point to, as code hosts make it of headings."""
    heads = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def section(place: str, heading: str) -> str:
    """The text under a heading, up to the next one of the same or a higher level. AssertionError without it."""
    lines = read(place).splitlines()
    assert heading in lines, f"{place} has no heading {heading!r}"
    start = lines.index(heading)
    level = len(heading) - len(heading.lstrip("#"))
    rest = lines[start + 1 :]
    fenced = False
    for at, line in enumerate(rest):
        fenced ^= line.startswith("```")
        if not fenced and re.match(rf"#{{1,{level}}} ", line):
            return "\n".join(rest[:at])
    return "\n".join(rest)


def rows(text: str) -> list[list[str]]:
    """The cells of every table row but head and rule, in order."""
    found = []
    lines = [line for line in text.splitlines() if line.startswith("|")]
    for at, line in enumerate(lines):
        following = lines[at + 1] if at + 1 < len(lines) else ""
        if not set(line) <= set("|-: ") and not (following and set(following) <= set("|-: ")):
            found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def codes(text: str) -> list[str]:
    """Everything in backticks, in order."""
    return _CODE.findall(text)


def first_column(text: str) -> list[str]:
    """The names in backticks in the first cell of every table row."""
    return [code for row in rows(text) for code in codes(row[0])]
