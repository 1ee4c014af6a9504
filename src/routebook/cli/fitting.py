"""The table that all commands print. On a console that is too narrow for it nothing of it is cut: a key's name, an
amount of money and an id are what somebody looked for, and half of one is a wrong one.

Columns that may wrap give way first, down to their words. Where that is not enough each row becomes a paragraph: its
first cell, then the others behind their titles.

Imported where something is printed, not before.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text

GAP = 2
"""columns between two columns"""
_RULE = "--"
"""what a sum is ruled off with, which a paragraph has no use for"""
_LONGEST_WORD = 40
_LONGEST_WORD_OF_A_GRID = 24
"""longer words may be broken; a grid is label and value, where a broken value harms less than a lost column"""


class Sheet(Table):
    """A table of texts without a box. Its cells are strings or `Text`."""

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Rich's own forgets that a column without any text takes one."""
        natural = sum(_natural(column, console, self.show_header) for column in self.columns)
        wide = min(natural + GAP * (len(self.columns) - 1), options.max_width)
        return Measurement(wide, wide)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[RenderableType | Segment]:
        natural = [_natural(column, console, self.show_header) for column in self.columns]
        room = options.max_width - GAP * (len(natural) - 1)
        if sum(natural) > room:
            longest = _LONGEST_WORD if self.show_header else _LONGEST_WORD_OF_A_GRID
            least = [
                min(wide, _least(column, console, self.show_header, longest))
                for column, wide in zip(self.columns, natural, strict=True)
            ]
            if sum(least) > room:
                yield _paragraphs(self, console)
                return
            for column, wide in zip(self.columns, _shared(natural, least, room), strict=True):
                column.width = wide
        yield from super().__rich_console__(console, options)


def _shared(natural: list[int], least: list[int], room: int) -> list[int]:
    """Widths of `room` columns in all: the widest that can give way gives way first."""
    widths = list(natural)
    while sum(widths) > room:
        place = max((n for n in range(len(widths)) if widths[n] > least[n]), key=lambda n: widths[n])
        widths[place] -= 1
    return widths


def _texts(column: Column, console: Console, named: bool) -> list[Text]:
    cells = [*([column.header] if named else []), *column.cells]
    return [_text(cell, console) for cell in cells]


def _text(cell: RenderableType, console: Console) -> Text:
    return cell if isinstance(cell, Text) else console.render_str(str(cell))


def _natural(column: Column, console: Console, named: bool) -> int:
    return max((1, *(text.cell_len for text in _texts(column, console, named))))


def _least(column: Column, console: Console, named: bool, longest: int) -> int:
    """What the column needs at least: its longest word, unless that is longer than `longest`."""
    texts = _texts(column, console, named)
    firm = max((text.cell_len for text in texts if text.no_wrap or column.no_wrap), default=0)
    word = max((cell_len(word) for text in texts for word in text.plain.split()), default=0)
    return max(firm, min(word, longest), column.min_width or 0)


def _paragraphs(table: Sheet, console: Console) -> RenderableType:
    named = table.show_header
    paragraphs = []
    for row in zip(*(list(column.cells) for column in table.columns), strict=True):
        pieces = []
        for place, (column, cell) in enumerate(zip(table.columns, row, strict=True)):
            text = _text(cell, console)
            title = _text(column.header, console).plain if named and place else ""
            if text.plain.strip() and not text.plain.startswith(_RULE):
                pieces.append((title, text))
        if pieces:
            paragraphs.append(_Paragraph(pieces))
    return Group(*paragraphs)


class _Paragraph:
    """Pieces one after the other, whole where they fit in a line; all lines but the first are indented."""

    def __init__(self, pieces: list[tuple[str, Text]]) -> None:
        self._pieces = pieces

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> list[Text]:
        width = max(options.max_width, GAP + 1)
        lines: list[Text] = []
        line = Text(no_wrap=True)
        for title, cell in self._pieces:
            piece = Text.assemble((f"{title} " if title else "", "dim"), _stripped(cell))
            piece.no_wrap = False
            if line.plain and line.cell_len + GAP + piece.cell_len > width:
                lines.append(line)
                line = Text(" " * GAP, no_wrap=True)
            elif line.plain:
                line.append(" " * GAP)
            if line.cell_len + piece.cell_len <= width:
                line.append_text(piece)
                continue
            indent = line.plain
            parts = piece.wrap(console, width - len(indent), overflow="fold")
            lines += [Text.assemble(indent, part, no_wrap=True) for part in parts[:-1]]
            line = Text.assemble(indent, parts[-1], no_wrap=True)
        return [*lines, line]


def _stripped(cell: Text) -> Text:
    """Without what aligns it in a column."""
    text = cell.copy()
    text.rstrip()
    start = len(text.plain) - len(text.plain.lstrip())
    return text[start:] if start else text
