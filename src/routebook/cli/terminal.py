"""The console that all commands print tables and reports on. Text of callers, providers and other programs' files is
printed as text: neither as markup nor as control characters, which would steer the terminal of whoever reads it. A
`Sheet` is never cut: it is laid out anew where the terminal is too narrow, and as wide as it is where there is none.

Imported where something is printed, not before: a command that prints nothing does not load rich.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from routebook.cli.fitting import Sheet

UNBOUND = 160
"""columns of a pipe or a file, which have no width of their own; a table may take more"""
_ANY = 100_000

_OWN = {ord("\n"): None, ord("\t"): None}


def _clean(text: str) -> str:
    """Line breaks and tabs stay: rich lays text out by them."""
    if text.isprintable() or text.translate(_OWN).isprintable():
        return text
    return "".join(char if char.isprintable() or ord(char) in _OWN else "?" for char in text)


class Terminal(Console):
    """Cleans whatever is rendered on it, wherever in a table or a line it stands."""

    def __init__(self, width: int | None = None, *, soft_wrap: bool = False) -> None:
        super().__init__(width=width, soft_wrap=soft_wrap, highlight=False, markup=False)
        if width is None and not self.is_terminal:
            self.width = UNBOUND

    def render_str(self, text: str, **how: Any) -> Text:
        """Plain text, which is measured as it is then printed."""
        return super().render_str(_clean(text), **how)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich renders it, whatever it is; of control codes only rich's own stay."""
        chosen = options or self.options
        if isinstance(renderable, Sheet) and not self.is_terminal and chosen.max_width >= UNBOUND:
            chosen = chosen.update(
                max_width=max(UNBOUND, self.measure(renderable, options=chosen.update(max_width=_ANY)).maximum)
            )
            self.width = max(self.width, chosen.max_width)  # which lines are cropped at
        for segment in super().render(renderable, chosen):
            kept = segment.text if segment.control else _clean(segment.text)
            yield segment if kept is segment.text else Segment(kept, segment.style)
