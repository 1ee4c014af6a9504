"""AWS Signature Version 4 for a request whose whole body is known. Pure: the time is a value.

Source: AWS, "Create a signed AWS API request" (IAM user guide, read 2026-11). Paths are encoded once more than they
are sent, as every service but S3 wants it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, datetime
from urllib.parse import quote, unquote, urlsplit

import msgspec

from routebook.wire.http import HttpRequest

_UNRESERVED = "-_.~"
_BLANKS = re.compile(r" +")
_SIGNED = ("content-type",)
"""headers that are signed besides `host` and all `x-amz-…`: a proxy may change the others on the way"""
_REGION = re.compile(r"(?:^|[.-])((?:[a-z]{2}|us-gov|us-iso[a-z]?|eusc-[a-z]{2})-[a-z]+-[0-9])(?=\.|$)")


class AwsCredential(msgspec.Struct, frozen=True):
    """An access key with its secret; `token` is the session's, for a temporary key. The repr shows none."""

    access_key: str
    secret_key: str
    token: str | None = None

    def __repr__(self) -> str:
        return "AwsCredential(…)"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return []


def credential(text: str) -> AwsCredential | None:
    """`ACCESS_KEY:SECRET_KEY` or `ACCESS_KEY:SECRET_KEY:SESSION_TOKEN`; None for anything else, such as a bearer
    token, which has no colon."""
    parts = text.split(":")
    if len(parts) not in (2, 3) or not all(parts):
        return None
    return AwsCredential(*parts)


def region_of(host: str) -> str | None:
    """The region that the name of a host tells (`bedrock-runtime.eu-west-1.amazonaws.com`), None if it does not."""
    found = _REGION.search(host.lower())
    return found[1] if found else None


class Signer(msgspec.Struct, frozen=True):
    """Signs requests for one service in one region: `HttpRequest.seal` of what goes to AWS."""

    credential: AwsCredential
    region: str
    service: str

    def __call__(self, request: HttpRequest, at: int) -> HttpRequest:
        """The request with its signature, valid for minutes around `at` (unix seconds)."""
        stamp = datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")
        headers = [(name, value) for name, value in request.headers if name.lower() not in _OURS]
        headers.append(("x-amz-date", stamp))
        if self.credential.token is not None:
            headers.append(("x-amz-security-token", self.credential.token))
        scope = f"{stamp[:8]}/{self.region}/{self.service}/aws4_request"
        canonical, names = _canonical(request, headers)
        to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = f"AWS4{self.credential.secret_key}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
        told = f"Credential={self.credential.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
        headers.append(("authorization", f"AWS4-HMAC-SHA256 {told}"))
        return msgspec.structs.replace(request, headers=tuple(headers), seal=None)


_OURS = frozenset({"authorization", "x-amz-date", "x-amz-security-token"})


def _canonical(request: HttpRequest, headers: list[tuple[str, str]]) -> tuple[str, str]:
    """(canonical request, names of the signed headers)."""
    url = urlsplit(request.url)
    signed = {"host": _host(request.url)}
    for name, value in headers:
        lower = name.lower()
        if lower in _SIGNED or lower.startswith("x-amz-"):
            signed[lower] = _BLANKS.sub(" ", value.strip())
    names = ";".join(sorted(signed))
    lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
    path = quote(url.path or "/", safe=f"/{_UNRESERVED}")
    digest = hashlib.sha256()
    for piece in request.pieces():
        digest.update(piece)
    return "\n".join((request.method, path, _query(url.query), lines, names, digest.hexdigest())), names


def _host(url: str) -> str:
    """The value of the Host header: as the transport sends it, without a scheme's own port."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    own = {"http": 80, "https": 443}.get(parts.scheme)
    return host if parts.port in (None, own) else f"{host}:{parts.port}"


def _query(query: str) -> str:
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    encoded = [(quote(unquote(k), safe=_UNRESERVED), quote(unquote(v), safe=_UNRESERVED)) for k, _, v in pairs]
    return "&".join(f"{name}={value}" for name, value in sorted(encoded))
