"""The credentials of providers, by provider slug. The only place they are kept once the gateway runs."""

from __future__ import annotations

from collections.abc import Mapping

from routebook.config.secret import Secret

__all__ = ["Credentials", "Secret"]


class Credentials:
    """Looks up what authenticates a call to a provider. Shows slugs, never a secret."""

    __slots__ = ("_by_provider",)

    def __init__(self, by_provider: Mapping[str, Secret]) -> None:
        self._by_provider = dict(by_provider)

    def get(self, provider_slug: str) -> Secret | None:
        """None where the provider needs none, or none was given."""
        return self._by_provider.get(provider_slug)

    def __repr__(self) -> str:
        return f"Credentials({', '.join(self._by_provider)})"
