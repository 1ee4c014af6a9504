"""What became of every endpoint while a plan was made, and why. Collected only where somebody asks."""

from __future__ import annotations

from routebook.core.catalog import Endpoint


class Trail:
    """Notes on endpoints, by id, in the order in which the plan looked at them."""

    __slots__ = ("dropped", "notes", "seen")

    def __init__(self) -> None:
        self.seen: dict[str, Endpoint] = {}
        self.dropped: dict[str, tuple[str, str]] = {}
        """endpoint id -> (filter, what it asked)"""
        self.notes: dict[str, list[str]] = {}

    def look(self, endpoint: Endpoint) -> None:
        """The plan considers this endpoint."""
        self.seen.setdefault(endpoint.id, endpoint)

    def drop(self, endpoint: Endpoint, by: str, detail: str) -> None:
        """A filter took it out."""
        self.look(endpoint)
        self.dropped.setdefault(endpoint.id, (by, detail))

    def note(self, endpoint: Endpoint, why: str) -> None:
        """Something moved it, or held it where it is."""
        self.look(endpoint)
        self.notes.setdefault(endpoint.id, []).append(why)
