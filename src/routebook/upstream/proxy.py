"""Outbound HTTP proxies, as the environment names them: HTTP_PROXY, HTTPS_PROXY, NO_PROXY.

Loopback hosts are never proxied: a model on this machine is not reachable from elsewhere.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True)
class Proxy:
    """One plain HTTP proxy. `authorization` is the value of Proxy-Authorization."""

    host: str
    port: int
    authorization: str | None = field(default=None, repr=False)

    @property
    def label(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Proxies:
    """Which proxy carries what. `bypass` holds the entries of NO_PROXY in lower case."""

    http: Proxy | None = None
    https: Proxy | None = None
    bypass: tuple[str, ...] = ()

    def choose(self, scheme: str, host: str, port: int) -> Proxy | None:
        """The proxy for a target, None for a direct connection."""
        proxy = self.https if scheme == "https" else self.http
        if proxy is None or _is_loopback(host) or any(_matches(entry, host, port) for entry in self.bypass):
            return None
        return proxy


def proxies_from_environment(environ: Mapping[str, str]) -> Proxies:
    """Read the usual variables, lower case first. An unusable one is a `ValueError` whose text never has the value."""

    def variable(name: str) -> str:
        lower = environ.get(name.lower())
        # A CGI host puts the request header "Proxy" into HTTP_PROXY; no caller may choose our proxy.
        if lower is None and name == "HTTP_PROXY" and "REQUEST_METHOD" in environ:
            return ""
        return (environ.get(name, "") if lower is None else lower).strip()

    entries = (entry.strip().lower() for entry in variable("NO_PROXY").replace(" ", ",").split(","))
    return Proxies(
        http=_parse(variable("HTTP_PROXY"), "HTTP_PROXY"),
        https=_parse(variable("HTTPS_PROXY"), "HTTPS_PROXY"),
        bypass=tuple(entry for entry in entries if entry),
    )


def _parse(value: str, name: str) -> Proxy | None:
    if not value:
        return None
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{name} is not a valid URL; write http://host:port") from error
    if parts.scheme != "http" or not host:
        raise ValueError(f"{name} must be an http:// proxy; other kinds are not supported")
    authorization = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode("ascii")
    return Proxy(host, 80 if port is None else port, authorization)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _matches(entry: str, host: str, port: int) -> bool:
    """One NO_PROXY entry: `*`, a domain (itself and all below), an address or a network; a port may follow."""
    if entry == "*":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is not None:
        try:
            return address in ipaddress.ip_network(entry.strip("[]"), strict=False)
        except ValueError:
            pass
    name, colon, digits = entry.rpartition(":")
    if colon and digits.isdecimal():
        if int(digits) != port:
            return False
        entry = name.strip("[]")
    entry = entry.removeprefix("*").lstrip(".")
    return bool(entry) and (host == entry or host.endswith("." + entry))
