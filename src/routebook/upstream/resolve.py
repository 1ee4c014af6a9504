"""Names to socket addresses, off the loop, remembered for a short while."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from dataclasses import dataclass

TTL = 30.0
"""Seconds an answer is used. The system's resolver does not say how long it is good for."""
_KEEP = 1024


@dataclass(frozen=True, slots=True)
class Address:
    """What a socket connects to: the family and the tuple that `connect` wants."""

    family: int
    sockaddr: tuple[str, int] | tuple[str, int, int, int]

    @property
    def ip(self) -> str:
        return self.sockaddr[0]


class Resolver:
    """The system's resolver with a cache. Many calls for one name at a time cost one look-up."""

    def __init__(self, *, ttl: float = TTL) -> None:
        self._ttl = ttl
        self._known: dict[tuple[str, int], tuple[float, list[Address]]] = {}
        self._running: dict[tuple[str, int], asyncio.Task[list[Address]]] = {}

    async def resolve(self, host: str, port: int) -> list[Address]:
        """Addresses to try, families alternating, never empty. Raises `OSError` or `UnicodeError`."""
        literal = literal_address(host, port)
        if literal is not None:
            return [literal]
        key = (host, port)
        loop = asyncio.get_running_loop()
        known = self._known.get(key)
        if known is not None and loop.time() < known[0]:
            return known[1]
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = loop.create_task(self._look_up(key))
            task.add_done_callback(_retrieve)
        return await asyncio.shield(task)

    async def _look_up(self, key: tuple[str, int]) -> list[Address]:
        try:
            addresses = _alternate(await self._ask_system(*key))
            if not addresses:
                raise OSError("the name has no address")
            if len(self._known) >= _KEEP:
                self._known.clear()
            self._known[key] = (asyncio.get_running_loop().time() + self._ttl, addresses)
            return addresses
        finally:
            del self._running[key]

    async def _ask_system(self, host: str, port: int) -> list[Address]:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [Address(family, _sockaddr(where)) for family, _, _, _, where in found]


def literal_address(host: str, port: int) -> Address | None:
    """The address of a host that is written as one, None for a name."""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return None
    if ip.version == 4:
        return Address(socket.AF_INET, (str(ip), port))
    if getattr(ip, "scope_id", None):
        return None  # only the system knows the number of a zone
    return Address(socket.AF_INET6, (str(ip), port, 0, 0))


def _sockaddr(
    where: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes],
) -> tuple[str, int] | tuple[str, int, int, int]:
    if len(where) == 4:
        return where
    host, port = where
    return str(host), int(port)


def _alternate(addresses: list[Address]) -> list[Address]:
    """The system's order with alternating families: a dead one costs one attempt (RFC 8305 section 4)."""
    unique = list(dict.fromkeys(addresses))
    if not unique:
        return []
    first = [a for a in unique if a.family == unique[0].family]
    second = [a for a in unique if a.family != unique[0].family]
    mixed: list[Address] = []
    for index in range(max(len(first), len(second))):
        mixed += first[index : index + 1]
        mixed += second[index : index + 1]
    return mixed


def _retrieve(task: asyncio.Task[list[Address]]) -> None:
    """Look at the outcome, so that a look-up whose callers have all gone is not reported as a lost exception."""
    if not task.cancelled():
        task.exception()
