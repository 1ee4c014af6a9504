"""The guarded fetch: the one way to read a URL that a caller names.

Spelling first, then every address the name resolves to, then a connection to exactly the checked addresses: between
the check and the connection nobody is asked again. Redirects stay on the host and pass the same checks. The
environment's proxies are not used, because a proxy would resolve the name anew, out of our sight.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

from routebook.core.errors import BadRequest, UpstreamFault
from routebook.upstream.client import Client
from routebook.upstream.guard import PORTS, Forbidden, Place, check_redirect, check_url, is_public
from routebook.upstream.port import Line
from routebook.upstream.resolve import Address, Resolver
from routebook.wire.http import HttpHead, HttpRequest

MAX_BYTES = 20 * 2**20
DEADLINE = 10.0
"""Seconds for everything: name, connection, redirects, the whole body."""
REDIRECTS = 3
_REDIRECT = frozenset([301, 302, 303, 307, 308])


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was there. `content_type` is the media type in lower case, empty if the server named none."""

    content_type: str
    data: bytes = field(repr=False)


async def fetch(
    url: str,
    *,
    max_bytes: int = MAX_BYTES,
    timeout: float = DEADLINE,
    resolver: Resolver | None = None,
    tls: ssl.SSLContext | None = None,
    allow: Callable[[str, int], bool] | None = None,
) -> Fetched:
    """Fetch a public http or https URL with GET.

    `allow(ip, port)` may permit an address and port that the rules refuse; without it nothing is permitted.
    Raises `BadRequest` with error_type `image_download_failed` and `metadata["host"]` for whatever goes wrong.
    """
    host = ""
    try:
        async with asyncio.timeout(timeout):
            place = check_url(url)
            host = place.host
            for _ in range(REDIRECTS + 1):
                addresses = await _addresses(place, resolver or Resolver(), allow)
                head, data = await _get(place, addresses, tls, max_bytes, timeout)
                if head.status not in _REDIRECT:
                    break
                place = check_redirect(place, head.headers.get("location", ""))
            else:
                raise Forbidden(f"the server redirected more than {REDIRECTS} times")
    except Forbidden as error:
        raise _failed(host, str(error)) from error
    except TimeoutError:
        raise _failed(host, f"the server did not deliver it within {timeout:g} seconds") from None
    except UpstreamFault as error:
        raise _failed(host, error.message.rstrip(".")) from error
    if head.status != 200:
        raise _failed(host, f"the server answered with status {head.status}")
    return Fetched(head.content_type, data)


async def _addresses(place: Place, resolver: Resolver, allow: Callable[[str, int], bool] | None) -> list[Address]:
    """All addresses of a host, if every one of them may be connected to; raises `Forbidden` otherwise."""
    try:
        addresses = await resolver.resolve(place.host, place.port)
    except (OSError, UnicodeError) as error:
        raise Forbidden("the host name cannot be resolved") from error
    for address in addresses:
        if allow is not None and allow(address.ip, place.port):
            continue
        if not is_public(address.ip):
            raise Forbidden("the host is not on the public Internet")
        if place.port not in PORTS:
            raise Forbidden(f"the port must be one of {', '.join(map(str, sorted(PORTS)))}")
    return addresses


async def _get(
    place: Place, addresses: list[Address], tls: ssl.SSLContext | None, max_bytes: int, timeout: float
) -> tuple[HttpHead, bytes]:
    """One GET over a connection of its own to the given addresses; the body of a redirect is not read."""
    client = Client(tls=tls, resolver=_Pinned(addresses))
    collector = _Collector(max_bytes)
    try:
        request = HttpRequest("GET", place.url, (("Accept", "*/*"),))
        collector.line = client.send(request, collector, connect_timeout=timeout)
        return await collector.done
    finally:
        if collector.line is not None:
            collector.line.close()
        await client.aclose()


class _Pinned(Resolver):
    """Resolves to what was checked, whatever the name means by now."""

    def __init__(self, addresses: list[Address]) -> None:
        super().__init__()
        self._addresses = addresses

    async def resolve(self, host: str, port: int) -> list[Address]:
        return self._addresses


class _Collector:
    """A sink that gathers a bounded body. `done` gets head and body, or the reason why not."""

    def __init__(self, max_bytes: int) -> None:
        self.done: asyncio.Future[tuple[HttpHead, bytes]] = asyncio.get_running_loop().create_future()
        self.line: Line | None = None
        self._left = max_bytes
        self._max = max_bytes
        self._head: HttpHead | None = None
        self._parts: list[bytes] = []

    def sent(self) -> None:
        """Nothing is billed here."""

    def head(self, head: HttpHead) -> None:
        self._head = head
        length = head.headers.get("content-length", "")
        if head.status in _REDIRECT:
            self._stop()
            self.done.set_result((head, b""))
        elif length.isdecimal() and int(length) > self._max:
            self._too_large()

    def data(self, chunk: bytes) -> None:
        self._left -= len(chunk)
        if self._left < 0:
            self._too_large()
        else:
            self._parts.append(chunk)

    def end(self) -> None:
        if self._head is not None and not self.done.done():
            self.done.set_result((self._head, b"".join(self._parts)))

    def lost(self, fault: UpstreamFault) -> None:
        if not self.done.done():
            self.done.set_exception(fault)

    def _too_large(self) -> None:
        self._stop()
        self._parts.clear()
        self.done.set_exception(Forbidden(f"it is larger than {self._max} bytes"))

    def _stop(self) -> None:
        if self.line is not None:
            self.line.close()


def _failed(host: str, reason: str) -> BadRequest:
    where = f"the URL at {host}" if host else "the URL"
    return BadRequest(
        f"Could not download {where}: {reason}. Send the content inline as a data URL, or name another URL.",
        error_type="image_download_failed",
        metadata={"host": host} if host else {},
    )
