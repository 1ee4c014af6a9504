"""Which app, origin and agent a request names in its headers. Pure. Source: generation record, sections 2.1 and 5."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

import msgspec

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0"})


class Attribution(msgspec.Struct, frozen=True):
    """What the headers say of who built the caller. `app_url` is None where no app is to be tracked."""

    origin: str = ""
    http_referer: str | None = None
    user_agent: str | None = None
    app_url: str | None = None
    app_title: str | None = None


def attribution(headers: Mapping[str, str]) -> Attribution:
    """From lower-case header names. `HTTP-Referer` (the documented header) wins over the standard `Referer`."""
    referer = headers.get("http-referer") or headers.get("referer") or None
    title = headers.get("x-openrouter-title") or headers.get("x-title") or None
    return _attribution(headers.get("origin"), referer, title, headers.get("user-agent"))


@lru_cache(maxsize=1024)
def _attribution(origin: str | None, referer: str | None, title: str | None, agent: str | None) -> Attribution:
    """Clients are few and calls are many."""
    return Attribution(
        origin=_origin(origin, referer),
        http_referer=referer,
        user_agent=agent,
        app_url=_app_url(referer, title),
        app_title=title,
    )


def _origin(origin: str | None, referer: str | None) -> str:
    if origin and origin != "null":
        return origin if origin.endswith("/") else origin + "/"
    site, _, _ = _site(referer)
    return f"{site}/" if site else ""


def _app_url(referer: str | None, title: str | None) -> str | None:
    """scheme://host[:port][/path], host in lower case; a local URL counts only with a title."""
    site, host, path = _site(referer)
    if not site.startswith(("http://", "https://")):
        return None
    return None if host in LOCAL_HOSTS and not title else site + path.rstrip("/")


def _site(url: str | None) -> tuple[str, str, str]:
    """(scheme://host[:port], host, path) of a URL, empty where it has none. A user or password in it is left out."""
    try:
        parts = urlsplit(url or "")
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:  # anybody may write anything into a header
        return "", "", ""
    if not parts.scheme or not host:
        return "", "", ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}", host, parts.path
