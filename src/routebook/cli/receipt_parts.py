"""What a receipt is laid out with: grids, labels, and text that is safe for any terminal."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

    from routebook.cli.fitting import Sheet


def new_grid(columns: int, numbers: tuple[int, ...] = (), firm: int = 0) -> Sheet:
    """The first `firm` columns keep their width where it gets narrow; the others wrap."""
    from routebook.cli.fitting import Sheet

    grid = Sheet(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for column in range(columns):
        grid.add_column(justify="right" if column in numbers else "left", overflow="fold", no_wrap=column < firm)
    return grid


def label(name: str, bold: bool = False) -> RenderableType:
    from rich.text import Text

    return Text(name, style="bold" if bold else "dim", no_wrap=True)


def plain(text: str) -> RenderableType:
    from rich.text import Text

    return Text(clean(text))


def clean(text: str) -> str:
    """Without control characters: a provider's text must not steer the terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)


def shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "-" if value is None else str(value)


def aligned(amounts: Iterable[Any], signed: bool = False) -> list[str]:
    """Amounts of money with their decimal points in one column of a left-justified grid; None stays empty.

    `signed`: more than nothing has a plus.
    """
    texts = ["" if amount is None else money(amount) for amount in amounts]
    if signed:
        texts = [text if text[:1] in ("", "-") or text == "0" else f"+{text}" for text in texts]
    width = max((len(text.partition(".")[0]) for text in texts), default=0)
    return [" " * (width - len(text.partition(".")[0])) + text if text else "" for text in texts]


def dim(text: str) -> RenderableType:
    """A remark."""
    from rich.text import Text

    return Text(clean(text), style="dim")


def ms(value: Any) -> str:
    return "-" if value is None else f"{money(value)} ms"


def money(value: Any) -> str:
    """Decimal text without exponent and idle zeros, of a Decimal, an int, a float or a decimal string."""
    text = format(Decimal(str(value)), "f")
    return text.rstrip("0").rstrip(".") or "0" if "." in text else text
