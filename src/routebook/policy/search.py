"""A search of the web that a request asks for: the `web` plugin, or `:online` behind the name of a model. Pure.

The gateway searches nothing itself. Where a provider's own API has a search, the model is given it, and decides by
itself whether to use it; where it has none, that is a loss. Which dialects have one is said here, because endpoints
that can search go before those that cannot; how it is written is `dialects.searching`'s.
Source: inference API, sections 5 and 11; routing, section 7.
"""

from __future__ import annotations

from typing import Any

import msgspec

from routebook.core.call import Call
from routebook.core.catalog import Endpoint
from routebook.core.errors import BadRequest
from routebook.wire import codec

NATIVE = frozenset({"anthropic", "gemini", "vertex", "openai_responses"})
"""dialects with a search among their tools"""
RESPONSES = "openai_responses"
OPTIONS = "web_search_options"
"""what chat models that search take; only those that list it, others refuse it"""
ENGINES = ("auto", "native")
"""engines of the plugin that are the provider's own search"""


class Search(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the plugin says, by its own names; `:online` alone says nothing."""

    id: str = "web"
    enabled: bool = True
    engine: str | None = None
    mode: str | None = None
    max_results: int | None = None
    max_uses: int | None = None
    search_prompt: str | None = None
    include_domains: list[str] | None = None
    exclude_domains: list[str] | None = None
    user_location: dict[str, Any] | None = None


ONLINE = Search()


def asked(call: Call) -> Search | None:
    """The search that the plugin asks for; None where it is not there, is off or names an engine that is none of the
    provider's. Raises BadRequest."""
    raw = call.raw.get("plugins")
    if raw is None or b'"web"' not in bytes(raw):
        return None
    plugins = codec.decode_exact(bytes(raw))
    listed = plugins if isinstance(plugins, list) else []
    said = next((each for each in listed if isinstance(each, dict) and each.get("id") == "web"), None)
    if said is None or not is_native(said):
        return None
    try:
        found: Search = codec.convert(said, Search)
    except codec.DecodeError as error:
        raise BadRequest(f"plugins: {error}. Correct it and send the request again.") from None
    if found.include_domains and found.exclude_domains:
        raise BadRequest("plugins: web takes include_domains or exclude_domains, not both.")
    return found if found.enabled else None


def is_native(plugin: dict[str, Any]) -> bool:
    """True if a `web` plugin wants the provider's own search."""
    engine = plugin.get("engine")
    return engine is None or engine in ENGINES


def spoken(endpoint: Endpoint, surface: str) -> str | None:
    """The dialect in which that endpoint is asked to search for callers of that surface; None where it cannot."""
    dialect, known = endpoint.provider.spoken_with(surface), endpoint.supported_parameters
    listed = known is not None and OPTIONS in known
    if known is not None and not listed and "tools" not in known:
        return None
    if dialect in NATIVE or (dialect == "openai_chat" and listed):
        return dialect
    return RESPONSES if RESPONSES in endpoint.provider.also else None
