"""Where a conversation was served last, so that the next turn finds the provider's prompt cache warm. Bounded memory.

A conversation is known by the caller's account, the model asked for, and: the session id (body, else header), else
`prompt_cache_key`, else the first system or developer message with the first other message. With a session id any
answer sticks; without, only once the provider reported cache use. Only endpoints whose cached prompt tokens are cheaper
than fresh ones. Ten minutes without use forget it; `provider.order` takes no notice of it.
Source: routing, section 10. Of the two life times there the longer one is taken.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec

from routebook.core.call import Call, Message
from routebook.core.catalog import Endpoint
from routebook.wire import codec

NS = 1_000_000_000
LIFE_NS = 600 * NS
ENTRIES_MAX = 65_536
"""Conversations remembered; of more, those not used for longest are forgotten (about 20 MB when full)."""


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where a conversation is at home."""

    endpoint_id: str
    model: str
    """slug of the model that answered: what a router stays with"""
    until_ns: int


class Sticky:
    """The places of conversations, by key. Told the time, it has no clock."""

    __slots__ = ("_max", "_places")

    def __init__(self, entries_max: int = ENTRIES_MAX) -> None:
        self._places: dict[bytes, Place] = {}
        self._max = entries_max

    def __len__(self) -> int:
        return len(self._places)

    def find(self, key: bytes, now_ns: int) -> Place | None:
        """Where that conversation is at home; None if nowhere, or not for ten minutes."""
        place = self._places.get(key)
        return place if place is not None and now_ns < place.until_ns else None

    def keep(self, key: bytes, endpoint: Endpoint, now_ns: int) -> None:
        """Remember the place, or for another ten minutes. Call it after an answer that `sticks`."""
        if self._places.pop(key, None) is None and len(self._places) >= self._max:
            del self._places[next(iter(self._places))]  # those not used for longest stand in front
        self._places[key] = Place(endpoint.id, endpoint.model, now_ns + LIFE_NS)


def conversation(call: Call, account: str, model: str) -> bytes:
    """The key, 16 bytes. `model`: the slug that was asked for, of a router the router's."""
    session, cache_key = call.session_id, call.chat.prompt_cache_key
    if session:
        parts = [b"session", session.encode("utf-8", "surrogatepass")]
    elif cache_key:
        parts = [b"cache", cache_key.encode("utf-8", "surrogatepass")]
    else:
        parts = [b"opening", *_opening(call.chat.messages)]
    # No byte of UTF-8 is 255, so that no two lists of parts are the same when joined.
    joined = b"\xff".join((account.encode(), model.encode("utf-8", "surrogatepass"), *parts))
    return blake2b(joined, digest_size=16).digest()


def _opening(messages: list[Message]) -> list[bytes]:
    system = first = b""
    for message in messages:
        if message.role not in ("system", "developer"):
            first = _content(message)
            break
        system = system or _content(message)
    else:
        return [system, first]
    if not system:
        system = next((_content(m) for m in messages if m.role in ("system", "developer")), b"")
    return [system, first]


def _content(message: Message) -> bytes:
    content = message.content
    return content.encode("utf-8", "surrogatepass") if isinstance(content, str) else codec.encode(content)


def cacheable(endpoint: Endpoint) -> bool:
    """True if a cached prompt token is cheaper than a fresh one here."""
    prices = None if endpoint.pricing is None else endpoint.pricing.base
    if prices is None or prices.input_cache_read is None or prices.prompt is None:
        return False
    return prices.input_cache_read < prices.prompt


def sticks(call: Call, endpoint: Endpoint, cached_tokens: int | None, *, routed: bool = False) -> bool:
    """True if a successful answer binds the conversation to this endpoint. `cached_tokens`: prompt tokens the provider
    read from or wrote to its cache, None if it did not say; `routed`: a router chose the model, and a session stays
    with it whatever its prices."""
    if call.provider is not None and call.provider.order:
        return False
    if routed and call.session_id:
        return True
    return cacheable(endpoint) and (bool(call.session_id) or bool(cached_tokens))
