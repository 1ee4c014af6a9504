"""The headers of an answer: their names are looked at once for each set of names, their values when somebody asks.

A provider sends the same twenty names in the same order with every answer, and one or two of them are read. So the
work per answer does not grow with what nobody wants to know. Source of the rules: RFC 9110 sections 5.1, 5.5 and 6.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar, overload

Other = TypeVar("Other")

_LAYOUTS_KEPT = 256
_NAMES_MAX = 2048
"""Longer sets of names (bytes) are not remembered: what a hostile server makes us keep is a few megabytes at most."""

_layouts: dict[tuple[bytes, ...], Layout] = {}
"""By the names as they were sent, in order."""


class Layout:
    """What follows from the names alone."""

    __slots__ = ("at", "coded", "framed", "lasting")

    def __init__(self, names: tuple[bytes, ...]) -> None:
        self.at = {name.decode("latin-1").lower(): name for name in names}
        """The name as it was sent by name in lower case; the last of a repeated one wins."""
        self.coded = "transfer-encoding" in self.at or "content-encoding" in self.at
        """Whether the body may be something else than its own bytes in a row."""
        self.framed = "transfer-encoding" in self.at or "content-length" in self.at
        """Whether the body says where it ends; else the end of the connection does."""
        self.lasting = "keep-alive" in self.at


class Fields(Mapping[str, str]):
    """Headers as text, by name in lower case. Immutable."""

    __slots__ = ("_sent", "layout")

    def __init__(self, layout: Layout, sent: dict[bytes, bytes]) -> None:
        self.layout = layout
        self._sent = sent

    def __getitem__(self, name: str) -> str:
        # llhttp leaves the white space at the end of a value to us
        return self._sent[self.layout.at[name]].decode("latin-1").strip(" \t")

    @overload
    def get(self, name: str, /) -> str | None: ...
    @overload
    def get(self, name: str, /, default: str | Other) -> str | Other: ...
    def get(self, name: str, /, default: str | Other | None = None) -> str | Other | None:
        """As of any mapping, but without an exception inside for what is absent."""
        sent = self.layout.at.get(name)
        return default if sent is None else self._sent[sent].decode("latin-1").strip(" \t")

    def __iter__(self) -> Iterator[str]:
        return iter(self.layout.at)

    def __len__(self) -> int:
        return len(self.layout.at)

    def __repr__(self) -> str:
        return repr(dict(self))


def fields_of(headers: dict[bytes, bytes]) -> Fields:
    """The headers as they came, in order; the same name in the same case once. `headers` is copied."""
    names = tuple(headers)
    return Fields(_layouts.get(names) or _learn(names), headers.copy())


def _learn(names: tuple[bytes, ...]) -> Layout:
    layout = Layout(names)
    if sum(map(len, names)) + len(names) <= _NAMES_MAX:
        if len(_layouts) >= _LAYOUTS_KEPT:
            _layouts.clear()
        _layouts[names] = layout
    return layout


NO_FIELDS = fields_of({})
