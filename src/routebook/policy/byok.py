"""Callers' own provider keys in a plan: copies of the planned endpoints, one for each key that matches.

Copies are made of what the filters left, so data policies hold for them too. Keys that are prioritised go before all
shared capacity, against `provider.order` as well; keys that are fallbacks go after it. Source: routing, 5.6; of its two
contradicting paragraphs the order of the sections is followed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import msgspec

from routebook.core.catalog import Endpoint


class OwnKey(msgspec.Struct, frozen=True):
    """A caller's key for one provider, as far as routing asks. None = no such condition; all conditions must hold."""

    id: str
    provider: str
    """slug"""
    is_fallback: bool = False
    sort_order: int = 0
    always: bool = False
    """a prioritised key that stands instead of the provider's shared capacity"""
    disabled: bool = False
    allowed_models: frozenset[str] | None = None
    allowed_api_key_hashes: frozenset[str] | None = None
    allowed_user_ids: frozenset[str] | None = None

    def serves(self, endpoint: Endpoint, key_hash: str, user: str | None) -> bool:
        """True if this key may be used for that endpoint by that caller."""
        return (
            not self.disabled
            and self.provider == endpoint.provider.slug
            and (self.allowed_models is None or endpoint.model in self.allowed_models)
            and (self.allowed_api_key_hashes is None or key_hash in self.allowed_api_key_hashes)
            and (self.allowed_user_ids is None or user in self.allowed_user_ids)
        )


class Offer(msgspec.Struct, frozen=True):
    """One endpoint with the key it is called with."""

    endpoint: Endpoint
    own_key: str | None = None
    """id of the caller's key; None = the gateway's own credential"""


def offers(
    endpoints: Sequence[Endpoint],
    keys: Sequence[OwnKey],
    key_hash: str,
    user: str | None = None,
    *,
    across: bool = False,
) -> list[Offer]:
    """The plan with own keys in it. Model after model, or with `across` (sort partition none) over all of them."""
    if not keys:
        return [Offer(endpoint) for endpoint in endpoints]
    if across:
        return _arranged(endpoints, keys, key_hash, user)
    groups = (list(group) for _, group in groupby(endpoints, key=lambda endpoint: endpoint.model))
    return [offer for group in groups for offer in _arranged(group, keys, key_hash, user)]


def _arranged(endpoints: Sequence[Endpoint], keys: Sequence[OwnKey], key_hash: str, user: str | None) -> list[Offer]:
    ordered = sorted(keys, key=lambda key: (key.sort_order, key.id))
    first: list[Offer] = []
    shared: list[Offer] = []
    last: list[Offer] = []
    for endpoint in endpoints:
        matching = [key for key in ordered if key.serves(endpoint, key_hash, user)]
        first += [Offer(endpoint, key.id) for key in matching if not key.is_fallback]
        last += [Offer(endpoint, key.id) for key in matching if key.is_fallback]
        if not any(key.always and not key.is_fallback for key in matching):
            shared.append(Offer(endpoint))
    return [*first, *shared, *last]
