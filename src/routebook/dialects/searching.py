"""A search of the web, written into a request that is ready for its provider.

It is done to the finished body, so that it holds for callers of every surface, those whose words travel as they are
among them. A search that the caller has asked for in the provider's own words already is left alone.
Sources, read 2026-11: platform.claude.com "Web search tool" (`web_search_20250305`: max_uses, allowed_domains or
blocked_domains, user_location); ai.google.dev "Grounding with Google Search" (`googleSearch`, which models before
Gemini 3 refuse beside functions); developers.openai.com "Web search" (`web_search` with filters and user_location in
the responses API, `web_search_options` in chat); inference API, sections 5 and 11 (`max_results` and `max_uses` are
ignored by searches that have no such thing).
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from routebook.core.call import Losses
from routebook.policy.search import ONLINE, OPTIONS, RESPONSES, Search
from routebook.wire import codec
from routebook.wire.http import HttpRequest


def with_search(request: HttpRequest, dialect: str | None, search: Search, losses: Losses) -> HttpRequest:
    """The request with the provider's own search in it. `dialect`: what `policy.search.spoken` gave.

    Raises CannotExpress, if losses are strict, where there is none or it cannot be told what the plugin says.
    """
    body: dict[str, codec.Raw] = codec.decode_as(request.body, dict[str, codec.Raw])
    if "plugins" in body:  # the provider is a router itself, and reads what its caller wrote
        return request
    kind = "gemini" if "contents" in body else "anthropic" if dialect == "vertex" else dialect
    if kind == "openai_chat":
        body.setdefault(OPTIONS, codec.Raw(codec.encode(_in_chat(search, losses))))
        return replace(request, body=codec.encode(body))
    tools: list[codec.Raw] = codec.decode_as(bytes(body["tools"]), list[codec.Raw]) if "tools" in body else []
    known = [codec.decode(bytes(tool)) for tool in tools]
    if any(map(_searches, known)):
        return request
    if kind == "gemini" and any("functionDeclarations" in tool for tool in known):
        losses.unsupported(_name(search), "Gemini takes no search of the web beside functions")
        return request
    tool = _tool(kind, search, losses)
    if tool is None:
        losses.unsupported(_name(search), "this provider has no search of the web, and the gateway runs none")
        return request
    body["tools"] = codec.Raw(codec.encode([*tools, tool]))
    return replace(request, body=codec.encode(body))


def _name(search: Search) -> str:
    """What asked for it: the plugin, or the variant of the model."""
    return "model" if search is ONLINE else "plugins.web"


def _searches(tool: Any) -> bool:
    """True for a search in any of these dialects' words."""
    if not isinstance(tool, dict):
        return False
    return str(tool.get("type")).startswith("web_search") or any(
        name in tool for name in ("googleSearch", "google_search", "googleSearchRetrieval", "google_search_retrieval")
    )


def _tool(kind: str | None, search: Search, losses: Losses) -> dict[str, Any] | None:
    if kind == "anthropic":
        tool = {
            "type": "web_search_20250305",
            "name": "web_search",
            "max_uses": search.max_uses,
            "allowed_domains": search.include_domains,
            "blocked_domains": search.exclude_domains,
            "user_location": search.user_location,
        }
        _lost(search, losses, "max_results", "mode", "search_prompt")
    elif kind == RESPONSES:
        filters = {"allowed_domains": search.include_domains} if search.include_domains else None
        tool = {"type": "web_search", "filters": filters, "user_location": search.user_location}
        _lost(search, losses, "max_results", "max_uses", "mode", "search_prompt", "exclude_domains")
    elif kind == "gemini":
        tool = {"googleSearch": {}}
        names = ("max_results", "max_uses", "mode", "search_prompt", "include_domains", "exclude_domains")
        _lost(search, losses, *names, "user_location")
    else:
        return None
    return {name: value for name, value in tool.items() if value is not None}


def _in_chat(search: Search, losses: Losses) -> dict[str, Any]:
    """`web_search_options`: the place is told one level deeper than anywhere else."""
    _lost(search, losses, "max_results", "max_uses", "mode", "search_prompt", "include_domains", "exclude_domains")
    if search.user_location is None:
        return {}
    place = {name: value for name, value in search.user_location.items() if name != "type"}
    return {"user_location": {"type": "approximate", "approximate": place}}


_COUNTS = ("max_results", "max_uses")


def _lost(search: Search, losses: Losses, *names: str) -> None:
    for name in names:
        if getattr(search, name):
            if name in _COUNTS:
                losses.mapped(f"plugins.web.{name}", "the provider decides how much it searches", agreed=True)
            else:
                losses.unsupported(f"plugins.web.{name}", "the provider's own search has no such option")
