"""A secret as a value that does not show itself."""

from __future__ import annotations

from typing import Final


class Secret:
    """A credential. repr, str and format show dots; `reveal` is the only way to its text."""

    __slots__ = ("_text",)

    _text: Final[str]

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself: for the header it belongs into, and for nothing that is kept or printed."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    def __str__(self) -> str:
        return "…"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not copied into a pickle")
