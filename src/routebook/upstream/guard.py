"""Which URLs that a caller names may be fetched: pure rules on spellings and addresses.

A spelling that different programs read differently is refused, whatever it might mean; an address is refused unless
it is public. The list is the IANA special-purpose address registries (IPv4 and IPv6, RFC 6890, read 2026-11) plus
multicast; it is written out because what `ipaddress` calls global differs between Python releases.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

LONGEST = 8192
PORTS = frozenset([80, 443, 8080, 8443])
"""Ports of public web servers; anything else would make this a port scanner."""

_SAFE = "%/:=&?~#+!$,;'@()*[]"
_BRACKETED = re.compile(r"\[[^\[\]]*\](?::[0-9]+)?").fullmatch
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?").fullmatch
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*").fullmatch
_LOCAL_NAMES = ("localhost", "local", "internal", "home.arpa", "localdomain")

_CLOSED4 = [
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
]
_GLOBAL6 = ipaddress.IPv6Network("2000::/3")
_CLOSED6 = [
    ipaddress.IPv6Network(text)
    for text in ("2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20")  # 2001::/23 has Teredo and ORCHID
]
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_6TO4 = ipaddress.IPv6Network("2002::/16")


class Forbidden(ValueError):
    """This URL may not be fetched; the text says why and never quotes it."""


@dataclass(frozen=True, slots=True)
class Place:
    """A URL that passed the spelling rules; `host` is lower case without a final dot, `url` is put together anew."""

    scheme: str
    host: str
    port: int
    url: str


def is_public(address: str) -> bool:
    """Whether an address is public; one that carries another (mapped, 6to4, NAT64) is as public as that."""
    if "%" in address:
        return False
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv4Address):
        return not any(ip in network for network in _CLOSED4)
    if ip.ipv4_mapped is not None:
        return is_public(str(ip.ipv4_mapped))
    if ip in _NAT64:
        return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
    if ip in _6TO4:
        return is_public(str(ipaddress.IPv4Address(int(ip) >> 80 & 0xFFFFFFFF)))
    return ip in _GLOBAL6 and not any(ip in network for network in _CLOSED6)


def check_url(url: str) -> Place:
    """Take a caller's URL apart, strictly; raises `Forbidden`. Port and addresses are judged after resolving."""
    if len(url) > LONGEST:
        raise Forbidden("the URL is too long")
    if not url.isprintable() or " " in url or "\\" in url:
        raise Forbidden("the URL has spaces, control characters or backslashes in it")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Forbidden("the URL is not valid") from error
    if parts.scheme not in ("http", "https"):
        raise Forbidden("only http and https URLs can be fetched")
    if "@" in parts.netloc:
        raise Forbidden("the URL must not have a user name or password in it")
    if parts.netloc.endswith(":") or port == 0 or ("[" in parts.netloc and not _BRACKETED(parts.netloc)):
        raise Forbidden("the URL's host or port is not valid")
    host = _check_host(parts.hostname or "", bracketed="[" in parts.netloc)
    if port is None:
        port = 443 if parts.scheme == "https" else 80
    authority = f"[{host}]" if ":" in host else host
    path = quote(parts.path or "/", safe=_SAFE)
    if not path.startswith("/"):
        raise Forbidden("the URL is not valid")
    query = "?" + quote(parts.query, safe=_SAFE) if parts.query else ""
    return Place(parts.scheme, host, port, f"{parts.scheme}://{authority}:{port}{path}{query}")


def check_redirect(place: Place, location: str) -> Place:
    """Where a redirect leads: the same host, never from https to http. Raises `Forbidden`."""
    if not location or not location.isprintable():
        raise Forbidden("the server redirected to nowhere")
    try:
        joined = urljoin(place.url, location)
    except ValueError as error:
        raise Forbidden("the server redirected to a URL that is not valid") from error
    target = check_url(joined)
    if target.host != place.host:
        raise Forbidden("the server redirected to another host; name the final URL instead")
    if place.scheme == "https" and target.scheme == "http":
        raise Forbidden("the server redirected from https to http; name the final URL instead")
    return target


def _check_host(host: str, *, bracketed: bool) -> str:
    """The host in its one good spelling: an IPv6 literal, a dotted quad, or a name of letters, digits and hyphens."""
    if bracketed:
        try:
            if "%" in host:
                raise Forbidden("the URL's IPv6 address must not name a zone")
            return str(ipaddress.IPv6Address(host))
        except ValueError as error:
            raise Forbidden("the URL's IPv6 address is not valid") from error
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii").lower()
        except UnicodeError as error:
            raise Forbidden("the URL's host name is not valid") from error
    host = host.removesuffix(".")
    labels = host.split(".")
    if not host or len(host) > 253 or not all(_LABEL(label) and len(label) <= 63 for label in labels):
        raise Forbidden("the URL's host name is not valid")
    if _NUMBER(labels[-1]):  # a URL parser reads every such name as an address, in decimal, octal or hex
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError as error:
            raise Forbidden("the URL's host is an oddly written address; write it as four decimal numbers") from error
    if any(host == name or host.endswith("." + name) for name in _LOCAL_NAMES):
        raise Forbidden("the URL's host is a local name")
    return host
