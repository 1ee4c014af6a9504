"""The one error of a configuration: what is wrong, where, and what would be right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

KeyPath = tuple[str | int, ...]
"""Where a value stands in the parsed file: `("models", 0, "endpoints", 1, "pricing")`."""


class ConfigError(Exception):
    """The configuration cannot be used. `str()` is one line: `FILE:LINE: key.path: what is wrong and what to do`.

    Pure code raises it with the key path alone; whoever read the file adds file and line with `located`.
    """

    def __init__(
        self, message: str, path: KeyPath = (), *, file: str | None = None, line: int | None = None, source: str = ""
    ) -> None:
        self.message = message
        self.path = path
        self.file = file
        self.line = line
        """counted from 1"""
        self.source = source
        """the environment variable or flag the value came from, where it was no file"""
        super().__init__(message)

    def __str__(self) -> str:
        place = []
        if self.source:
            place.append(self.source)
        elif self.file is not None:
            place.append(self.file if self.line is None else f"{self.file}:{self.line}")
        if self.path and not self.source:
            place.append(dotted(self.path))
        return ": ".join([*place, self.message])

    def located(self, file: str, lines: Mapping[KeyPath, int]) -> ConfigError:
        """The same error with file and line; a path that the file does not hold falls back to the table around it."""
        path = self.path
        while path and path not in lines:
            path = path[:-1]
        return ConfigError(self.message, self.path, file=file, line=lines.get(path), source=self.source)


def dotted(path: KeyPath) -> str:
    """`models[0].endpoints[1].pricing`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else part)
    return text


def misspelt(name: str, allowed: Iterable[str]) -> str:
    """`; did you mean X? Allowed: …`, or only the allowed names where none is close."""
    names = sorted(allowed)
    close = get_close_matches(name, names, n=1)
    hint = f" did you mean {close[0]}?" if close else ""
    return f";{hint} allowed: {', '.join(names)}"
