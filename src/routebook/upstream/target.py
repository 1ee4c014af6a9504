"""A request as bytes: where it goes (`Target`), the head that goes first, and both together (`Payload`).

Nothing a caller can put in a URL or a header may change the framing: names are tokens, values hold no control
character, and the headers that decide about framing or the connection are ours alone.
Source of the rules: RFC 9110 sections 5.1, 5.5 and 7.2, RFC 9112 sections 3.2 and 6.3.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from routebook import __version__
from routebook.upstream.faults import Refused
from routebook.upstream.proxy import Proxies, Proxy
from routebook.wire.bulk import Piece
from routebook.wire.http import HttpRequest

USER_AGENT = f"routebook/{__version__}"

_PORTS = {"http": 80, "https": 443}
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_VISIBLE = re.compile(r"[\x21-\x7e]+").fullmatch
_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search
_OURS = frozenset(
    ["connection", "expect", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"]
)
_DEFAULTED = frozenset(["host", "content-length", "accept-encoding", "user-agent"])
_BODY_METHODS = frozenset(["POST", "PUT", "PATCH"])
_KEEP = 1024
_STARTS_KEPT = 64
"""Sets of headers remembered for one URL: a credential that callers bring makes one each."""
_LENGTH = b"\r\nContent-Length: "
_ONE_WRITE = 64 * 1024
"""Bytes of a body up to which it is sent together with its head."""

Headers = tuple[tuple[str, str], ...]
Payload = bytes | tuple[Piece, ...]
"""A request as it is sent: whole, or the pieces of a large one, which take turns with others."""

_names: dict[str, str] = {}


class Target:
    """Where one URL leads. `host` is ASCII, lower case, without brackets; `path` has the query, never a fragment.

    `proxy` is the plain HTTP proxy that carries its requests; a tunnel through one is the connection's business.
    """

    __slots__ = (
        "_starts",
        "authority",
        "default_lines",
        "defaults",
        "host",
        "label",
        "origin",
        "path",
        "port",
        "proxy",
        "scheme",
    )

    def __init__(self, scheme: str, host: str, port: int, path: str) -> None:
        self.scheme = scheme
        self.host = host
        self.port = port
        self.path = path
        self.origin = (scheme, host, port)
        bracketed = f"[{host}]" if ":" in host else host
        self.label = f"{bracketed}:{port}"
        """The only part of a URL that may appear in a message."""
        self.authority = bracketed if _PORTS[scheme] == port else self.label
        """The value of the Host header."""
        self.default_lines = (
            ("host", f"Host: {self.authority}\r\n"),
            ("accept-encoding", "Accept-Encoding: identity\r\n"),
            ("user-agent", f"User-Agent: {USER_AGENT}\r\n"),
        )
        """Headers that are sent unless the request has its own."""
        self.defaults = "".join(line for _, line in self.default_lines)
        self.proxy: Proxy | None = None
        self._starts: dict[Headers, bytes] = {}

    def payload(self, request: HttpRequest) -> Payload:
        """The whole request. Raises `Refused`.

        Of the requests to one URL only the body differs, as a rule, so all but its length is checked and written once.
        """
        body = request.body
        length = len(body)
        if length > _ONE_WRITE or request.bulk:
            return (self.head(request), *request.pieces())
        if request.method == "POST":
            start = self._starts.get(request.headers)
            if start is not None:
                return b"%b%d\r\n\r\n%b" % (start, length, body)
        return self.head(request) + body

    def head(self, request: HttpRequest) -> bytes:
        """Request line and headers, to the empty line. Remembers what is the same for the next request."""
        if request.method != "POST":
            return render_head(request, self)
        start = self._starts.get(request.headers)
        if start is None:
            rendered = render_head(request, self)
            if any(name.lower() == "content-length" for name, _ in request.headers):
                return rendered
            if len(self._starts) >= _STARTS_KEPT:
                self._starts.clear()
            start = self._starts[request.headers] = rendered[: rendered.rindex(_LENGTH) + len(_LENGTH)]
        return b"%b%d\r\n\r\n" % (start, request.size)

    def forget(self) -> None:
        """Drop what was remembered: there are credentials in it."""
        self._starts.clear()


def parse_target(url: str) -> Target:
    """An absolute http or https URL, taken apart. Raises `Refused` with a sentence that never quotes the URL."""
    if not _VISIBLE(url) and not url.isprintable():
        raise Refused("the URL has control characters in it; correct the provider's base_url")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise Refused("the URL is not valid; correct the provider's base_url") from error
    if parts.scheme not in _PORTS or not host:
        raise Refused("the URL is not an absolute http or https URL; correct the provider's base_url")
    if "@" in parts.netloc:
        raise Refused("the URL has a user name or password in it; put the credential into api_key")
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError as error:
            raise Refused("the URL's host name is not valid; correct the provider's base_url") from error
    path = parts.path or "/"
    if parts.query:
        path = f"{path}?{parts.query}"
    if not _VISIBLE(path) or not path.startswith("/") or not _VISIBLE(host):
        raise Refused("the URL has characters that must be percent-encoded; correct the provider's base_url")
    return Target(parts.scheme, host, _PORTS[parts.scheme] if port is None else port, path)


class Targets:
    """`parse_target` with a memory: a gateway sends to few URLs, many times. Also knows which proxy carries what."""

    def __init__(self, proxies: Proxies | None = None) -> None:
        self._proxies = proxies or Proxies()
        self.known: dict[str, Target] = {}
        """By URL; for reading."""

    def get(self, url: str) -> Target:
        """Raises `Refused`."""
        target = self.known.get(url)
        if target is None:
            target = parse_target(url)
            if target.scheme == "http":
                target.proxy = self._proxies.choose(*target.origin)
            if len(self.known) >= _KEEP:
                self.known.clear()
            self.known[url] = target
        return target

    def forget(self, origin: tuple[str, str, int]) -> None:
        """Nothing has been sent there for a while: keep no credentials for it."""
        for target in self.known.values():
            if target.origin == origin:
                target.forget()


def render_head(request: HttpRequest, target: Target) -> bytes:
    """Request line and headers, to the empty line; our own Content-Length is the last. Raises `Refused`.

    A plain HTTP proxy wants the absolute form of the URL, and its own credential (RFC 9112 section 3.2.2).
    """
    if not _TOKEN(request.method):
        raise Refused("the request's method is not a token")
    proxy = target.proxy
    path = target.path if proxy is None else f"http://{target.authority}{target.path}"
    lines = [f"{request.method} {path} HTTP/1.1\r\n"]
    special: set[str] = set()
    for name, value in request.headers:
        lower = _names.get(name) or _learn(name)
        if not value.isprintable() and _FORBIDDEN(value):
            raise Refused(f"the value of the request header {lower} has a line break or control character in it")
        if lower in _DEFAULTED:
            if lower in special:
                raise Refused(f"the request has more than one {lower} header")
            if lower == "content-length" and value != str(request.size):
                raise Refused("the request's Content-Length is not the length of its body")
            special.add(lower)
        lines.append(f"{name}: {value}\r\n")
    if not special:
        lines.append(target.defaults)
    else:
        lines += [line for name, line in target.default_lines if name not in special]
    if proxy is not None and proxy.authorization is not None:
        lines.append(f"Proxy-Authorization: {proxy.authorization}\r\n")
    if "content-length" not in special and (request.body or request.method in _BODY_METHODS):
        lines.append(f"Content-Length: {request.size}\r\n")
    lines.append("\r\n")
    try:
        return "".join(lines).encode("latin-1")
    except UnicodeEncodeError as error:
        raise Refused("a request header has a character that HTTP cannot carry (outside Latin-1)") from error


def _learn(name: str) -> str:
    """Check a header name once and remember its lower case."""
    if not _TOKEN(name):
        raise Refused("the name of a request header is not a token")
    lower = name.lower()
    if lower in _OURS:
        raise Refused(f"the request header {lower} belongs to the transport and cannot be set")
    if len(_names) >= _KEEP:
        _names.clear()
    _names[name] = lower
    return lower
