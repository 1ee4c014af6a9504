"""The credentials of providers, by provider slug. The only place they are kept once the gateway runs.

Most are given and stay; those that expire are put here by whoever makes them, before anybody needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from routebook.config.secret import Secret
from routebook.core.errors import UpstreamCredential

__all__ = ["Credentials", "Secret"]


class Credentials:
    """Looks up what authenticates a call to a provider. Shows slugs, never a secret."""

    __slots__ = ("_by_provider", "_makers", "missing")

    def __init__(self, by_provider: Mapping[str, Secret]) -> None:
        self._by_provider = dict(by_provider)
        self._makers: dict[str, Callable[[], None]] = {}
        self.missing: dict[str, UpstreamCredential] = {}
        """providers that need a credential and have none now: what a call to them is told"""

    def get(self, provider_slug: str) -> Secret | None:
        """None where the provider needs none, none was given, or it is among the missing."""
        return self._by_provider.get(provider_slug)

    def put(self, provider_slug: str, secret: Secret) -> None:
        """Calls from now on have this one."""
        self._by_provider[provider_slug] = secret
        self.missing.pop(provider_slug, None)

    def lack(self, provider_slug: str, fault: UpstreamCredential) -> None:
        """Calls from now on have none, and fail with this."""
        self._by_provider.pop(provider_slug, None)
        self.missing[provider_slug] = fault

    def watch(self, provider_slug: str, refused: Callable[[], None]) -> None:
        """`refused` is called whenever the provider did not take its credential."""
        self._makers[provider_slug] = refused

    def refused(self, provider_slug: str) -> None:
        """The provider did not take it: whoever makes it may make another."""
        if (tell := self._makers.get(provider_slug)) is not None:
            tell()

    def __repr__(self) -> str:
        return f"Credentials({', '.join(self._by_provider)})"
